"""The Processing script for QGIS: its own parts everywhere, and in QGIS itself where that is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from segearth import cli, weights
from segearth.cli.options import PRECISIONS
from segearth.cli.qgis_script import SCRIPT
from segearth.clips import CLIPS

PATH = weights.packaged(SCRIPT)
PYTHON_OF_QGIS = "/usr/bin/python3"
DRIVER = Path(__file__).with_name("qgis_driver.py")


class Stubs(types.ModuleType):
    """In place of a module of QGIS: every name is a class that can be derived from, and its settings are empty."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        base = Exception if name.endswith("Exception") else object
        made = type(name, (base,), {"value": lambda self, key, default: default})
        setattr(self, name, made)
        return made


@pytest.fixture
def script(monkeypatch):
    for name in ("qgis", "qgis.core", "qgis.PyQt", "qgis.PyQt.QtCore"):
        monkeypatch.setitem(sys.modules, name, Stubs(name))
    spec = importlib.util.spec_from_file_location("segearth_qgis", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_is_one_that_segearth_understands(script):
    request = script.Request(
        "/data/a b.tif",
        "# land\nroad\n\n tree,forest | colour=#19732A;\nwater",
        "/out",
        "tiny",
        0.25,
        gsd=0.6,
        box=((-1.5, 50.0, 2.0, 51.25), "EPSG:4326"),
        polygons="gpkg",
        min_area=25.0,
        confidence=True,
        overwrite=True,
        extra_options=("--bands", "4,3,2"),
    )
    args = cli.verb_parser("predict").parse_args(request.arguments()[1:])
    assert args.images == ["/data/a b.tif"]
    assert args.classes == "road; tree,forest | colour=#19732A; water"
    assert (args.model, args.way, str(args.out), args.progress) == ("tiny", "scene", "/out", "json")
    assert (args.threshold, args.gsd, args.scale) == (0.25, 0.6, None)
    assert (args.bbox, args.bbox_crs) == ("-1.5,50.0,2.0,51.25", "EPSG:4326")
    assert (args.vector, args.min_area, args.confidence, args.overwrite) == ("gpkg", 25, True, True)
    assert args.bands == "4,3,2"


def test_what_is_left_empty_is_not_on_the_command_line(script):
    words = script.Request("a.tif", "-road", "out", box=((0.0, 0.0, 1.0, 1.0), ""), min_area=5.0).arguments()
    args = cli.verb_parser("predict").parse_args(words[1:])
    assert args.classes == "-road"  # and no option
    assert args.bbox == "0.0,0.0,1.0,1.0"
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given == {"--classes", "--as", "--model", "--device", "--precision", "--bbox", "--progress"}


def test_choices_are_those_of_segearth(script):
    from segearth.vectors.formats import FORMATS

    assert list(script.MODELS) == list(CLIPS)
    assert script.PRECISIONS == PRECISIONS
    assert list(script.POLYGONS) == [script.NO_POLYGONS, *FORMATS]


def test_lines_of_progress(script):
    event = script.parse_event(
        '{"blocks_done": 1, "blocks": 4, "megapixels_done": 2.5, "megapixels": 10, "seconds_left": 95}'
    )
    assert script.progress_percent(event, False) == 25
    assert script.progress_percent(event, True) == 25 * 0.95
    assert script.progress_text(event) == "block 2 of 4, about 2 min left"
    last = {**event, "blocks_done": 4, "megapixels_done": 10}
    assert (script.progress_percent(last, True), script.progress_text(last)) == (95, "putting the map together")
    polygons = script.parse_event('{"tiles_done": 1, "tiles": 2}')
    assert (script.progress_percent(polygons, True), script.progress_text(polygons)) == (97.5, "polygons")
    files = script.parse_event('{"scene": "a.tif", "files": ["/out/a.labels.tif", "/out/a.polygons.gpkg"]}')
    assert (script.progress_percent(files, True), script.progress_text(files)) == (None, "")
    assert [script.file_kind(path) for path in files["files"]] == ["labels.tif", "polygons.gpkg"]
    assert script.parse_event("note: {}") is None
    assert script.parse_event("{broken") is None
    assert [script.format_duration(seconds) for seconds in (3, 89, 600, 7200)] == ["3 s", "89 s", "10 min", "2 h"]


def test_lines_that_come_in_pieces(script):
    lines = script._LineBuffer()
    assert lines.feed(b"one\r\ntw") == ["one"]
    assert lines.feed("o ä\n".encode()[:-2]) == []
    assert lines.feed("ä\nlast".encode()[1:], end=True) == ["two ä", "last"]


def test_nothing_of_qgis_reaches_the_program(script):
    of_qgis = {"PYTHONHOME": "C:\\QGIS", "PYTHONPATH": "/usr/share/qgis/python", "PROJ_LIB": "a", "GDAL_DATA": "b"}
    own = {"PATH": "/usr/bin", "SEGEARTH_HOME": "/cache", "AWS_ACCESS_KEY_ID": "c"}
    assert script.shell_environment({**of_qgis, **own}) == {**own, "PYTHONIOENCODING": "utf-8"}


def test_further_options(script):
    assert script.split_options('--stretch 0,3000 --aoi "C:\\my data\\a.geojson"') == (
        *("--stretch", "0,3000"),
        *("--aoi", "C:\\my data\\a.geojson"),
    )
    assert script.split_options("") == ()
    with pytest.raises(sys.modules["qgis.core"].QgsProcessingException, match="quote"):
        script.split_options('--aoi "a')


def test_the_program_is_found(script, tmp_path, monkeypatch):
    program = tmp_path / "env" / "bin" / "segearth"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script.saved_program() == ""
    assert script.program_path(str(program)) == script.program_path(str(tmp_path / "env")) == str(program)
    assert script.program_path(str(tmp_path / "nothing")) is None
    monkeypatch.setenv("PATH", str(program.parent))
    assert script.saved_program() == str(program)
    other = shutil.copy(program, tmp_path / "other")
    monkeypatch.setattr(script, "INSTALLED_BY", str(other))
    assert script.saved_program() == str(other)


def test_its_licence_is_that_of_qgis():
    head = PATH.read_text(encoding="utf-8").partition('"""')[0]
    assert "SPDX-License-Identifier: GPL-2.0-or-later" in head
    others = [path for path in PATH.parents[1].rglob("*.py") if path != PATH]
    assert len(others) > 100
    assert not any(re.search(r"^\s*(?:import|from) qgis", path.read_text(encoding="utf-8"), re.M) for path in others)


def test_its_place_is_printed_and_it_is_installed(tmp_path, monkeypatch, capsys):
    assert cli.main(["qgis-script"]) == 0
    assert capsys.readouterr().out.strip() == str(PATH)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cli.main(["qgis-script", "--install"]) == 2
    assert "no profile of QGIS at" in capsys.readouterr().err
    profile = tmp_path / "QGIS" / "QGIS3" / "profiles" / "default"
    profile.mkdir(parents=True)
    for _ in range(2):  # the second time over an earlier version
        assert cli.main(["qgis-script", "--install"]) == 0
        installed = Path(capsys.readouterr().out.strip())
        assert installed == profile / "processing" / "scripts" / SCRIPT
        (line,) = re.findall("^INSTALLED_BY = (.*?)  #", installed.read_text(encoding="utf-8"), re.M)
        assert line in ("''", repr(str(Path(sys.prefix, "bin", "segearth"))))
        installed.write_text(f"{installed.read_text(encoding='utf-8').splitlines()[0]}\n")
    installed.write_text("import mine\n")
    assert cli.main(["qgis-script", "--install", "--profile", str(profile)]) == 2
    assert "is not the script of segearth" in capsys.readouterr().err
    assert installed.read_text() == "import mine\n"
    assert cli.main(["qgis-script", "--profile", str(profile)]) == 2
    assert cli.main(["qgis-script", "--install", "--profile", str(tmp_path / "none")]) == 2


# What follows runs in QGIS. Programs of a few lines stand in for segearth, which one test runs itself.
SAYS = """#!{python}
import json, os, signal, sys, time
from pathlib import Path
out = Path(sys.argv[sys.argv.index("-o") + 1])
out.mkdir(exist_ok=True)
Path(out, "environment.json").write_text(json.dumps(dict(os.environ)))
def say(**event): print(json.dumps(event), file=sys.stderr, flush=True)
"""
MAKES = """
labels = out / "a.labels.tif"
labels.write_bytes(b"")
say(scene="a.tif", files=[str(labels), str(out / "a.summary.json")])
"""


@pytest.fixture
def in_qgis(tmp_path, monkeypatch):
    """Runs the algorithm in a QGIS with a profile of its own; gives what the driver noted."""
    known = subprocess.run([PYTHON_OF_QGIS, "-c", "import qgis.core"], capture_output=True, check=False)
    if known.returncode:
        pytest.skip(f"{PYTHON_OF_QGIS} has no QGIS")
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "town.tif")

    def run(body: str | None = None, program: Path = tmp_path / "segearth", **parameters: object) -> dict:
        if body is not None:
            program.write_text(SAYS.format(python=PYTHON_OF_QGIS) + body)
            program.chmod(0o755)
        given = {"INPUT": str(tmp_path / "town.tif"), "OUTPUT": str(tmp_path / "out"), "PROGRAM": str(program)}
        own = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("XDG")}
        done = subprocess.run(
            [PYTHON_OF_QGIS, DRIVER, PATH, json.dumps({**given, **parameters})],
            env={**clean, **own, "PYTHONPATH": "/usr/share/qgis/python", "PROJ_LIB": "/usr/share/proj"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def draw(path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")
    profile = {"driver": "GTiff", "width": 60, "height": 50, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", transform=rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5500000), **profile) as file:
        file.write(np.random.default_rng(0).integers(0, 256, (3, 50, 60), np.uint8))


def test_progress_and_results_in_qgis(in_qgis, tmp_path):
    found = in_qgis(
        "print('note: by hand', file=sys.stderr)\n"
        "say(blocks_done=0, blocks=2, megapixels_done=1, megapixels=4, seconds_left=None)\n" + MAKES,
        CLASSES="road\ntree,forest",
        EXTENT="500000,500010,5499980,5500000 [EPSG:32632]",
    )
    assert found["good"]
    assert found["said"] == ["note: by hand", "block 1 of 2"]
    assert found["progress"] == 25
    assert found["results"]["LABELS"] == str(tmp_path / "out" / "a.labels.tif")
    assert found["to_load"] == ["LABELS"]
    assert found["remembered"] == str(tmp_path / "segearth")
    environment = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert not {"PYTHONPATH", "PYTHONHOME", "PROJ_LIB"} & set(environment)
    again = in_qgis("sys.exit(3)", PROGRAM=None)  # it is remembered, and ends without a map
    assert again["errors"] == ["segearth ended with 3 and without a map; its last output: nothing"]


def test_mistakes_in_qgis_are_its_errors(in_qgis, tmp_path):
    found = in_qgis("print('error: no such class: expected another', file=sys.stderr); sys.exit(2)")
    assert (found["good"], found["errors"]) == (False, ["no such class: expected another"])
    found = in_qgis("print('failed: block 1: it is broken', file=sys.stderr)\n" + MAKES + "sys.exit(1)")
    assert found["good"]
    assert found["errors"][0] == "block 1: it is broken"
    assert found["to_load"] == ["LABELS"]
    found = in_qgis(PROGRAM=str(tmp_path / "nothing"))
    assert found["errors"][0].startswith(f"no program at {tmp_path / 'nothing'}: expected segearth in a Python")
    assert in_qgis(CLASSES="# nothing\n")["refused"].startswith("no class is given")


def test_cancel_is_ctrl_c(in_qgis, tmp_path):
    waits = "say(blocks_done=0, blocks=2, megapixels_done=1, megapixels=4)\ntime.sleep(60)\n"
    heeds = "def end(number, _): Path(out, 'signal').write_text(str(number)); sys.exit(130)\n"
    found = in_qgis(f"{heeds}signal.signal(signal.SIGINT, end)\n{waits}", CANCEL="block 1 of 2")
    assert (tmp_path / "out" / "signal").read_text() == "2"
    assert (found["good"], found["results"], found["to_load"]) == (True, {"OUTPUT": str(tmp_path / "out")}, [])
    assert "go on" in found["said"][-1]
    deaf = f"{heeds}signal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, end)\n{waits}"
    in_qgis(deaf, CANCEL="block 1 of 2", _INTERRUPTED_S=0.5)
    assert (tmp_path / "out" / "signal").read_text() == "15"


def test_a_scene_in_qgis(in_qgis, tmp_path):
    """The real program, whose results are drawn in the colours of their classes."""
    program = tmp_path / "segearth"
    root = Path(__file__).parents[1]
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} OMP_NUM_THREADS=1 exec {sys.executable} -m segearth "$@"\n')
    program.chmod(0o755)
    found = in_qgis(
        CLASSES="road | colour=#FF0000\nwater | colour=#0000FF", MODEL="tiny", POLYGONS="gpkg", CONFIDENCE=True
    )
    assert found["good"], found["errors"]
    assert {Path(found["results"][key].partition("|")[0]).name for key in ("LABELS", "SCORE", "SHAPES", "SUMMARY")} == {
        *("town.labels.tif", "town.confidence.tif", "town.polygons.gpkg", "town.summary.json")
    }
    assert found["progress"] == 100
    layers = found["layers"]
    assert set(layers) == {"town: classes", "town: score", "town: polygons"}
    assert layers["town: classes"]["renderer"] == "paletted"
    assert set(layers["town: classes"]["colours"]) <= {"#ff0000", "#0000ff"}
    assert layers["town: polygons"]["renderer"] == "categorizedSymbol"
    assert layers["town: polygons"]["colours"][0] == layers["town: classes"]["colours"][0]
