from pathlib import Path

import pytest

from segearth import cli, config_files
from segearth.config_files import check_source, config_names, configs_folder, find_config
from segearth.errors import UserError
from segearth.openmmlab.config import load_config


def test_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "loveda" in config_names()
    for name in ("loveda", "cfg_loveda", "cfg_loveda.py", "LoveDA"):
        assert find_config(name) == configs_folder() / "cfg_loveda.py"
    Path("loveda").write_text("")  # a path that exists comes first
    assert find_config("loveda") == Path("loveda")
    with pytest.raises(UserError, match=r"no config lovedo.*loveda"):
        find_config("lovedo")
    with pytest.raises(UserError, match="no config"):
        find_config("elsewhere/loveda.py")


def test_an_installation_without_configs_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(config_files, "_PACKAGE", tmp_path / "segearth")
    with pytest.raises(UserError, match="install segearth again"):
        configs_folder()
    (tmp_path / "segearth" / "configs").mkdir(parents=True)
    (tmp_path / "segearth" / "configs" / "base_config.py").write_text("")
    assert configs_folder() == tmp_path / "segearth" / "configs"


# ---- what is read as a config ---------------------------------------------------------------------------

HIDDEN = "a: !!python/object/apply:pathlib.Path.touch [ !!python/object/apply:pathlib.Path [ran] ]\n"
IMPORTS = '{"custom_imports": {"imports": ["this_would_run"]}}'


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working directory, with a module that leaves a trace when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("this_would_run.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    return tmp_path


def refusal(path: str) -> str:
    """What is said about a config, without that anything of it runs."""
    with pytest.raises(UserError) as by_source:
        check_source(Path(path))
    with pytest.raises(UserError) as by_config:
        load_config(path)
    assert str(by_source.value) == str(by_config.value)
    assert "\n" not in str(by_source.value)
    assert not Path("ran").exists()
    return str(by_source.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("name", "text"), [("a.yaml", HIDDEN), ("a.yml", HIDDEN), ("a.json", IMPORTS), ("a", "")])
def test_only_python_files_are_configs(name, text, capfd):
    Path(name).write_text(text)
    assert refusal(name).startswith(f"{name} is no Python file: expected a config that ends in .py")
    assert cli.main(["eval", name]) == 2
    assert capfd.readouterr().err.startswith(f"error: {name} is no Python file")
    Path("on.py").write_text(f"_base_ = ['./{name}']\n")
    assert refusal("on.py").startswith(f"{name} (on.py builds on it) is no Python file")
    Path("further.py").write_text("_base_ = 'on.py'\n")
    assert "(on.py builds on it) is no Python file" in refusal("further.py")
    Path("further.py").write_text(f"_base_ = '{{{{ fileDirname }}}}/{name}'\n")
    assert "further.py builds on it) is no Python file" in refusal("further.py")
    Path("further.py").write_text("_base_ = ['{{fileDirname}}/on.py']\n")
    assert "on.py builds on it) is no Python file" in refusal("further.py")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"model = dict(\n\nslide crop=1)", "has an error in line 3 (invalid syntax"),
        (b"model = 1\n\0", "null bytes"),
        ("model = 'Stra\u00dfe'".encode("latin-1"), "save it as UTF-8"),
        (b"import this_would_run\n_base_ = '../_base_/schedule.py'", "there is no ../_base_/schedule.py"),
        (b"import this_would_run\n_base_ = 3", "_base_ of mine.py is 3: expected the path of a config, or a list"),
        (b"import this_would_run\n_base_ = ('a.py', 'b.py')", "expected the path of a config, or a list"),
        (b"import this_would_run\n_base_ = 'mine.py'", "mine.py builds on itself"),
        (b"import this_would_run\n_base_ = './a.yam' + 'l'", "_base_ of mine.py is computed ('./a.yam' + 'l')"),
        (b"import this_would_run\n_base_ = 'mmseg::a.yaml'", "mmseg::a.yaml, which is no Python file"),
        (b"import this_would_run\n_base_ = '{{$A:a.yaml}}'", "has an unknown variable ('{{$A:a.yaml}}')"),
        (b"import this_would_run\n_base_ = '~nosuchuser/a.py'", "there is no ~nosuchuser/a.py"),
        (b"import this_would_run\n_base_ = '" + b"n" * 400 + b"'", "there is no nnnn"),
    ],
)
def test_a_config_that_is_wrong_before_it_runs(text, expected):
    Path("mine.py").write_bytes(text)
    assert expected in refusal("mine.py")


def test_a_folder_is_no_config(here, capfd):
    Path("folder").mkdir()
    assert refusal("folder") == "folder is a folder: expected a config file; give the path of a .py file in it"
    assert cli.main(["eval", str(here)]) == 2
    assert "is a folder" in capfd.readouterr().err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\n1 / 0\n", "(mine.py, line 2, ZeroDivisionError: division by zero)"),
        ("model = nothing\n", "(mine.py, line 1, NameError: name 'nothing' is not defined)"),
        ("raise SystemExit(3)\n", "(mine.py, line 1, SystemExit: 3)"),
        ("with open('a') as file:\n    pass\n", "Only `read_base` context manager"),
        ("with read_base():\n    from .nothing import *\n", "nothing.py not found"),
        ("_base_ = 'nothing_such::a.py'\n", "(ValueError: "),
        ("import numpy\nsize = numpy.int64(3)\n", "a package that a config imports cannot be used in it"),
    ],
)
def test_a_config_that_fails_while_it_runs(text, expected):
    Path("mine.py").write_text(text)
    with pytest.raises(UserError, match="cannot read the config mine.py") as caught:
        load_config("mine.py")
    assert expected in str(caught.value)


@pytest.mark.usefixtures("here")
def test_read_base_and_classes_as_types():
    Path("base.py").write_text(
        "from mmseg.evaluation import IoUMetric\n"
        "model = dict(type='SegEarthSegmentation', slide_crop='a')\n"
        "test_evaluator = dict(type=IoUMetric)\n"
        "test_dataloader = dict(dataset=dict(type='LoveDADataset'))\n"
    )
    Path("mine.py").write_text(
        "from mmengine.config import read_base\nwith read_base():\n    from .base import *\nmodel.name_path = 'a.txt'\n"
    )
    with pytest.raises(UserError, match="mine.py: model.slide_crop is 'a'"):
        load_config("mine.py")


@pytest.mark.usefixtures("here")
def test_classes_of_modules_that_are_not_here():
    Path("theirs.py").write_text("from nothing import Other\nmodel = dict(type=Other)\ntest_dataloader = dict()\n")
    with pytest.raises(UserError, match="theirs.py is for Other: expected SegEarthSegmentation"):
        load_config("theirs.py")
    Path("mine.py").write_text(
        "from nothing import Fields\nmodel = dict(type='SegEarthSegmentation', name_path='a.txt')\n"
        "test_dataloader = dict(dataset=dict(type=Fields))\n"
    )
    with pytest.raises(UserError, match="mine.py imports what is not here .*import nothing.*PYTHONPATH"):
        load_config("mine.py")
