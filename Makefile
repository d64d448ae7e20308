# make demo   maps the drawn scene that comes with the package: no data, no weights, no GPU needed
# make test   checks style and types and runs the whole test suite
# TORCH_INDEX=https://download.pytorch.org/whl/cpu installs torch without CUDA: 3 GB less
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Golden values and real samples; the tests that need them say so where they are absent.
export SEGEARTH_TEST_DATA ?= $(abspath ../shared)

.PHONY: demo test clean

demo: $(VENV)/.installed
	$(BIN)/python demo.py --model tiny --out out/demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

$(VENV)/.installed: pyproject.toml setup.py requirements.txt constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) -c constraints.txt torch torchvision --index-url $(TORCH_INDEX))
	$(PIP) -c constraints.txt -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) -c constraints.txt -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) build segearth.egg-info out .mypy_cache .pytest_cache .ruff_cache
