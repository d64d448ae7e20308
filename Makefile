# make demo   maps the drawn scene that comes with the package: no data, no weights, no GPU needed
# make test   checks style and types and runs the whole test suite
# make test-oldest   runs the tests with the lower bounds of pyproject.toml, all but torch's, in an environment of its
#                    own; EXTRAS="eval train dev" adds evaluation, which needs numpy 2
# JOBS=1        runs the tests in one process; 2 is what a machine of two cores and 8 GB bears
# TORCH_INDEX=https://download.pytorch.org/whl/cpu installs torch without CUDA: 3 GB less
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
INSTALL := bin/python -m pip install --quiet --disable-pip-version-check
PIP := $(VENV)/$(INSTALL)

OLDEST := $(VENV)-oldest
EXTRAS ?= train dev

# Golden values and real samples; the tests that need them say so where they are absent.
export SEGEARTH_TEST_DATA ?= $(abspath ../shared)

.PHONY: demo test test-oldest clean

demo: $(VENV)/.installed
	$(BIN)/python demo.py --model tiny --out out/demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

test-oldest:
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python tools/lower_bounds.py $(EXTRAS) > $(OLDEST)/requirements.txt
	$(if $(TORCH_INDEX),$(OLDEST)/$(INSTALL) -c constraints.txt torch torchvision --index-url $(TORCH_INDEX))
	$(OLDEST)/$(INSTALL) -r $(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pytest -q -n $(JOBS) --dist loadfile

$(VENV)/.installed: pyproject.toml setup.py requirements.txt constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) -c constraints.txt torch torchvision --index-url $(TORCH_INDEX))
	$(PIP) -c constraints.txt -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) -c constraints.txt -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) build segearth.egg-info out .mypy_cache .pytest_cache .ruff_cache
