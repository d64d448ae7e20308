"""Every command and every line of Python in the README works as it stands there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import load_script
from test_benchmark import benchmark, small_models
from test_tiny_training import SMALLER

from segearth.loading import load_upsampler
from segearth.models.attention import METHODS
from segearth.paper.comparison import AVERAGE
from segearth.paper.methods import select_methods
from tiny_clip import evaluation

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


COMMANDS = [line.partition("  #")[0].strip() for block in blocks("bash") for line in block.splitlines() if line.strip()]

DATA = [command for command in COMMANDS if re.search(r"_dataset\.py|make_sample_data\.py", command)]


@pytest.fixture(autouse=True)
def newcomer(tmp_path, monkeypatch):
    """A folder with a scene.tif and data/LoveDA in it, no network, and tiny in place of the real CLIP."""
    from PIL import Image

    from segearth import weights

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setitem(weights.MODELS, "clip-vit-b16", weights.MODELS["tiny"])
    scene = Image.open(weights.packaged("scene.jpg")).resize((200, 160))
    scene.save("scene.tif")
    for name, labels in (("LoveDA", "png"), ("OpenEarthMap", "tif")):
        for kind in ("img_dir", "ann_dir"):
            Path(f"data/{name}/{kind}/val").mkdir(parents=True)
        scene.save(f"data/{name}/img_dir/val/0.{labels}")
        Image.new("L", scene.size, 3).save(f"data/{name}/ann_dir/val/0.{labels}")
    shutil.copytree(ROOT / "configs", "configs")
    for kind in ("images", "masks"):
        Path(f"training-data/gsi_road/{kind}").mkdir(parents=True)
        scene.save(f"training-data/gsi_road/{kind}/0.png")


def test_there_are_commands():
    assert {"make demo", "make test"} <= set(COMMANDS)
    assert len(COMMANDS) > 6


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, capsys, monkeypatch):
    program, *arguments = shlex.split(command)
    if re.search(r"dist_test|eval(_all)?\.py", command):
        pytest.importorskip("mmengine")
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert set(arguments) <= set(targets)
    elif program == "source":
        assert arguments == [".venv/bin/activate"]
        assert "VENV ?= .venv" in (ROOT / "Makefile").read_text()
    elif arguments[0] == "tools/benchmark.py":
        monkeypatch.setattr(benchmark, "models", small_models)
        monkeypatch.setattr(benchmark, "measure_memory", benchmark.peak_memory)
        monkeypatch.setattr(benchmark, "FULL_SIDES", (224,))
        assert benchmark.main([*arguments[1:], "--rounds", "1", "--side", "224", "--memory", "224"])["windows"] == 1
    elif arguments[0] == "tools/train_simfeatup.py":
        Path("DIR").mkdir()
        shutil.copy("scene.tif", "DIR")
        quick = "--steps 1 --batch 1 --jitters 1 --crop 64"
        assert load_script("tools/train_simfeatup.py").main([*arguments[1:], *quick.split()]) == 0
        assert load_upsampler("simfeatup.safetensors").feat_dim == 128
    elif command in DATA:  # each goes on from the one before
        for step in DATA[: DATA.index(command) + 1]:
            _, script, *argv = shlex.split(step)
            assert load_script(script).main(argv) == 0
    elif arguments[0] == "tools/draw_scenes.py":
        assert load_script("tools/draw_scenes.py").main([*arguments[1:], "--size", "64"]) == 0
        assert len(list(Path("drawn").glob("*_labels.png"))) == 4
    elif program == "pip":
        assert all((ROOT / name).is_file() for name in arguments if name.endswith(".txt"))
    elif arguments[0] in ("tools/train_tiny_clip.py", "tools/evaluate_tiny_clip.py"):
        monkeypatch.setattr(evaluation, "METHODS", {"SegEarth": METHODS["SegEarth"]})
        monkeypatch.setattr(evaluation, "LONG_SIDES", (64, 80, 96))
        Path("small.json").write_text(json.dumps(SMALLER))
        quick = "--steps 1 --text-steps 1 --batch 2 --scenes 1 --scene-size 64 --workers 0 --teacher hash"
        quick = [*quick.split(), "--config", "small.json"] if "train" in arguments[0] else []
        assert load_script(arguments[0]).main([*arguments[1:], *quick]) == 0
        assert Path(arguments[-1]).is_file()
    elif program == "./dist_test.sh":
        monkeypatch.setenv("PYTHON", sys.executable)
        command = ["bash", str(ROOT / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(Path("work_dirs/cfg_loveda/results.json").read_text())[0]["processes"] == 2
    elif arguments[0] == "eval_all.py":
        eval_all = pytest.importorskip("eval_all")
        monkeypatch.setattr(eval_all, "select_methods", lambda names: select_methods(names)[-1:])
        assert eval_all.main([*arguments[1:], "--model", "tiny"]) == int("--datasets" not in arguments)
        rows = json.loads(Path("work_dirs/all/results.json").read_text())["results"]
        assert [row["Dataset"] for row in rows if row["Result"] is not None] == ["OpenEarthMap", "LoveDA", AVERAGE]
    else:
        assert program == "python"
        script, *argv = arguments
        if script == "demo.py":
            import demo as module
        else:
            assert script == "eval.py"
            module = pytest.importorskip("eval")
            if "--model" not in argv:
                argv += ["--model", "tiny"]
        code = module.main(argv)
        captured = capsys.readouterr()
        assert code == 0, captured.err


@pytest.mark.parametrize("block", blocks("python"))
def test_python(block):
    exec(compile(block, "README.md", "exec"), {})


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
