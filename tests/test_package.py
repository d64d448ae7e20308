"""The package as a user gets it: built, installed where the extras are not, and used from another folder."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import load_script

import segearth
from segearth import weights
from segearth.config_files import configs_folder

ROOT = Path(__file__).parents[1]
DIST_INFO = f"segearth-{segearth.__version__}.dist-info"

# What comes with the extras alone. Returning None from the finder is what Python does for a module that is absent.
WITHOUT_EXTRAS = """
import sys
from importlib.machinery import PathFinder

ABSENT = {"cv2", "folium", "geopandas", "matplotlib", "mmcv", "mmengine", "mmseg", "openpyxl", "pandas", "scipy"}
ABSENT |= {"tensorboard"}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in ABSENT else super().find_spec(fullname, path, target)

sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""


def call(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """Runs a command as a user would, with nothing of this checkout on the path; its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SEGEARTH"))}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=clean | {"SEGEARTH_OFFLINE": "1", "OMP_NUM_THREADS": "1"},  # one thread: see conftest.py
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def build(kind: str, source: Path, folder: Path) -> Path:
    """An sdist, a wheel or an editable wheel, with the setuptools that is installed here."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    call(sys.executable, "-c", code, cwd=source)
    [built] = folder.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return built


def environment(folder: Path, wheel: Path, *hooks: str) -> Path:
    """A new environment with this wheel alone that sees what is installed here; the folder of its programs."""
    venv.create(folder, symlinks=os.name != "nt")
    call(
        *(sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-index", "--no-deps", wheel),
        cwd=folder,
    )
    [site_packages] = folder.glob("[Ll]ib/**/site-packages")
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site_packages / "seen.pth").write_text("\n".join(seen))  # after pip, which would find another segearth there
    for number, hook in enumerate(hooks):
        (site_packages / f"hook{number}.py").write_text(hook)
        (site_packages / f"hook{number}.pth").write_text(f"import hook{number}")
    return folder / ("Scripts" if os.name == "nt" else "bin")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the checkout: building leaves build/ and segearth.egg-info/ behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("LICENSES", "configs", "segearth", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """Built from the sdist, as PyPI's users without a wheel do."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(build("sdist", source, folder), folder)
    [unpacked] = (path for path in folder.iterdir() if path.is_dir())
    assert not (unpacked / "tests").exists()
    return build("wheel", unpacked, folder)


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> Path:
    """The programs of an environment that has the wheel and none of the extras."""
    return environment(tmp_path_factory.mktemp("installed"), wheel, WITHOUT_EXTRAS)


def test_the_wheel_holds_the_package_its_data_and_the_configs_and_nothing_else(wheel):
    def below(folder: str) -> set[str]:
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(ROOT / folder).as_posix() for path in files}

    expected = {f"segearth/{name}" for name in below("segearth")}
    expected |= {f"segearth/configs/{name}" for name in below("configs")}
    about = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    expected |= {f"{DIST_INFO}/{name}" for name in about}
    expected |= {f"{DIST_INFO}/licenses/LICENSES/{name}" for name in below("LICENSES")}
    expected.add(f"{DIST_INFO}/licenses/segearth/web/static/leaflet/LICENSE")
    with zipfile.ZipFile(wheel) as file:
        assert set(file.namelist()) == expected
        assert "segearth = segearth.cli:main" in file.read(f"{DIST_INFO}/entry_points.txt").decode()
    assert {"segearth/py.typed", "segearth/data/wbs-si_val.txt", "segearth/configs/cls_loveda.txt"} <= expected


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as file:
        metadata = email.message_from_bytes(file.read(f"{DIST_INFO}/METADATA"))
    assert metadata["Version"] == segearth.__version__
    assert metadata["License-Expression"] == "Apache-2.0 AND BSD-2-Clause AND GPL-2.0-or-later"
    needed = {re.split(r"[>=\[ ]", line)[0] for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    core = "exceptiongroup filelock huggingface_hub numpy open_clip_torch pillow safetensors torch torchvision tqdm"
    assert needed == set(core.split())
    assert {"all", "dev", "eval", "geo", "train"} <= set(metadata.get_all("Provides-Extra"))
    targets = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    assert targets
    assert all(target.startswith(("https://", "#")) for target in targets), targets


def test_the_readmes_links_lead_to_the_repository_or_nowhere():
    portable = load_script("setup.py").portable
    readme = "![a map](docs/a.jpg) [card](b.md) [top](#top) [paper](https://a.org) ![far](https://a.org/c.png)"
    same = "[top](#top) [paper](https://a.org) ![far](https://a.org/c.png)"
    assert portable(readme, None) == f" card {same}"
    at = "https://github.com/a/b"
    assert portable(readme, at) == f"![a map]({at}/raw/main/docs/a.jpg) [card]({at}/blob/main/b.md) {same}"


def test_every_bound_has_its_reason_and_is_what_the_oldest_environment_gets(tmp_path):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    bounds = re.findall(r'^ *"[\w-]+>=.*$', text, flags=re.MULTILINE)
    assert len(bounds) > 12
    assert all("  # " in line for line in bounds)
    (tmp_path / "constraints.txt").write_text("# tried\ntorch==2.14.1\ntorchvision==0.29.1\n")
    (tmp_path / "pyproject.toml").write_text(
        "[project]\ndependencies = ['numpy>=1.26', 'torch>=2.6']\n"
        "[project.optional-dependencies]\nall = ['a[dev]']\ndev = ['b>=9', 'b>=10', 'numpy>=1.9']\n"
    )
    pytest.importorskip("tomllib", reason="of Python 3.11")
    lower_bounds = load_script("tools/lower_bounds.py").lower_bounds
    assert lower_bounds(["dev"], tmp_path) == ["b==10", "numpy==1.26", "torch==2.14.1"]
    assert lower_bounds([], tmp_path) == ["numpy==1.26", "torch==2.14.1"]


def test_python_predicts_and_finds_configs_without_the_extras(programs, tmp_path):
    shutil.copy(weights.packaged("scene.jpg"), tmp_path)
    (tmp_path / "program.py").write_text(
        "import importlib.util, json, segearth\n"
        "from segearth import load_model\n"
        "from segearth.config_files import config_names, configs_folder\n"
        "from segearth.openmmlab.places import resolve\n"
        "labels = load_model('tiny', 'road; tree,forest').predict('scene.jpg').labels\n"
        "class_file = resolve('./configs/cls_loveda.txt', configs_folder())\n"
        "assert not [name for name in ('cv2', 'mmcv', 'pandas') if importlib.util.find_spec(name)]\n"
        "print(json.dumps([segearth.__file__, str(class_file), config_names(), labels.max().item()]))\n"
    )
    output = call(programs / "python", "program.py", cwd=tmp_path)
    package, class_file, names, highest = json.loads(output.splitlines()[-1])
    assert Path(package).is_relative_to(programs.parent)
    assert Path(class_file) == Path(package).parent / "configs" / "cls_loveda.txt"
    assert len(names) == len(list((ROOT / "configs").glob("cfg_*.py")))
    assert highest == 1


def test_segearth_predicts_without_the_extras(programs, tmp_path):
    shutil.copy(weights.packaged("scene.jpg"), tmp_path)
    version = call(programs / "segearth", "--version", cwd=tmp_path)
    assert segearth.__version__ in version
    assert version == call(programs / "python", "-m", "segearth", "--version", cwd=tmp_path)
    options = ("-c", "road; tree,forest", "-o", "out", "--model", "tiny")
    call(programs / "segearth", "predict", "scene.jpg", *options, cwd=tmp_path)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"scene.labels.png", "scene.overlay.png", "scene.summary.json"} <= written


def test_eval_says_which_extra_it_needs(programs, tmp_path):
    assert 'pip install "segearth[eval]"' in call(programs / "segearth", "eval", "loveda", cwd=tmp_path, code=2)


def test_an_editable_install_and_the_checkout_use_the_configs_beside_the_package(source, tmp_path):
    assert configs_folder() == ROOT / "configs"
    programs = environment(tmp_path / "installed", build("editable", source, tmp_path))
    code = "from segearth.config_files import configs_folder; print(configs_folder())"
    assert Path(call(programs / "python", "-c", code, cwd=tmp_path).strip()) == source / "configs"
