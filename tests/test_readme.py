"""Every command and every line of Python in the README works as it stands there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from test_benchmark import benchmark, small_models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


COMMANDS = [line.partition("  #")[0].strip() for block in blocks("bash") for line in block.splitlines() if line.strip()]


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


def test_there_are_commands():
    assert {"make demo", "make test"} <= set(COMMANDS)
    assert len(COMMANDS) > 6


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, capsys, monkeypatch):
    program, *arguments = shlex.split(command)
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
