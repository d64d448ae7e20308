"""The command `segearth`: what every verb has in common."""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import segearth
from segearth import cli
from segearth.cli import eval as eval_verb
from segearth.errors import SCRIPTS, UserError, called_as, command
from segearth.exits import MISTAKE, OK, SOME_FAILED, run
from segearth.extras import EXTRAS, install_command

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numpy", "PIL", "open_clip", "cv2", "mmengine", "mmseg", "pandas", "tqdm"}


@pytest.fixture
def failing(monkeypatch):
    """Makes `segearth eval` end in the given way."""

    def go(error: BaseException | None = None, code: int = 0) -> int:
        def verb(_: argparse.Namespace) -> int:
            if error is not None:
                raise error
            return code

        monkeypatch.setattr(eval_verb, "run", verb)
        return cli.main(["eval", "loveda"])

    return go


def test_help_of_every_verb_imports_nothing_heavy():
    code = (
        "import sys\nfrom segearth.cli import VERBS, main\n"
        "for arguments in [[], *([verb] for verb in VERBS)]:\n"
        "    try: main([*arguments, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        f"assert not {HEAVY} & set(sys.modules), {HEAVY} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in cli.VERBS:
        assert f"usage: segearth {verb} " in done.stdout
        assert re.search(rf"^    {verb}\s", done.stdout, flags=re.MULTILINE)


def test_version_and_module(tmp_path):
    command = [sys.executable, "-m", "segearth", "--version"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"segearth {segearth.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["evall"], ["no verb 'evall'", "did you mean eval?", "prepare"]),
        (["eval", "loveda", "--data-rot", "x"], ["--data-rot", "did you mean --data-root?"]),
        (["eval", "loveda", "vdd"], ["segearth eval does not know vdd"]),
        (["--verbose"], ["segearth does not know --verbose"]),
        (["demo", "new\nline\x1b[31m.tif"], ["does not know new\\nline\\x1b[31m.tif"]),
        (["demo", "--precision", "fp8"], ["fp8", "bf16", "segearth demo --help"]),
        (["sample-data"], ["-o/--out"]),
    ],
)
def test_wrong_usage_is_one_sentence(capsys, arguments, parts):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def test_no_verb_shows_the_verbs(capsys):
    assert cli.main([]) == MISTAKE
    assert "train-upsampler" in capsys.readouterr().err


def test_exit_codes(failing, capsys):
    assert failing() == OK
    assert failing(code=SOME_FAILED) == 1
    assert failing(UserError("no such thing")) == 2
    assert capsys.readouterr().err == "error: no such thing\n"
    assert failing(KeyboardInterrupt()) == 130
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


INSTALL = 'run: pip install "segearth[{0}]", or, in the folder that it was installed from: pip install ".[{0}]"'


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("mmengine.config", "mmengine is not installed here: " + INSTALL.format("eval")),
        ("pandas", "pandas is not installed here: " + INSTALL.format("eval")),
        ("tensorboard", "tensorboard is not installed here: " + INSTALL.format("train")),
        ("torch", "torch is not installed here: install segearth again"),
    ],
)
def test_a_missing_package_names_the_line_that_installs_it(failing, capsys, package, line):
    assert failing(ModuleNotFoundError(name=package)) == 2
    assert capsys.readouterr().err == f"error: the Python package {line}\n"


def test_scripts_name_what_a_checkout_has(capsys):
    def fails():
        raise ModuleNotFoundError(name="pandas")

    assert run(fails, name="eval.py") == 2
    assert "pip install -r requirements.txt" in capsys.readouterr().err
    with called_as("tools/prepare_dataset.py"):
        assert command("check") == "python tools/check_dataset.py"
    for name in ("segearth prepare", None):
        with called_as(name) if name else called_as("segearth"):
            assert command("check") == "segearth check"
    assert install_command("eval") == INSTALL.format("eval")
    assert {"eval", "train"} <= set(EXTRAS)


@pytest.mark.parametrize("verb", SCRIPTS)
def test_scripts_are_there(verb):
    text = (ROOT / SCRIPTS[verb]).read_text(encoding="utf-8")
    assert f'run_script("{verb}", argv)' in text
    assert verb in cli.VERBS


def test_a_config_by_path_by_name_or_as_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(eval_verb, "find_config", lambda config: asked.append(config) or stop())

    def stop():
        raise UserError("far enough")

    for arguments in (["loveda"], ["--config", "loveda"]):
        assert cli.main(["eval", *arguments]) == 2
    assert asked == ["loveda", "loveda"]
    capsys.readouterr()
    for arguments, part in ((["loveda", "--config", "vdd"], "two configs given"), ([], "no config given")):
        assert cli.main(["eval", *arguments]) == 2
        assert part in capsys.readouterr().err
    assert len(asked) == 2


def test_mistakes_speak_of_what_was_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for arguments, part in (
        (["eval", "loveda", "-o", "file"], "--out file is a file"),
        (["eval", "loveda", "--work-dir", "file"], "--out file is a file"),
        (["eval", "lovedo"], "no config lovedo"),
        (["eval-all", "--tables-only", "-o", "nowhere"], "no folder at --out nowhere"),
        (["check", "loveda", "--data-root", "nowhere"], "the folder that segearth prepare wrote to"),
        (["prepare", "loveda", "nowhere"], "no file or folder at nowhere"),
        (["demo", "--model", "huge"], "unknown model 'huge'"),
        (["train-upsampler", "--model", "tiny", "--images", ".", "-o", "a.ckpt", "--init", "no"], "--init no: no such"),
    ):
        assert cli.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert part in line


def test_from_a_drawn_download_to_a_checked_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample-data", "udd5", "-o", "samples"]) == 0
    assert "next: segearth prepare udd5 samples/udd5 -o data" in capsys.readouterr().out
    assert cli.main(["prepare", "udd5", "samples/udd5", "-o", "data", "-j", "1", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "check them: segearth check udd5 --data-root data" in captured.out
    assert "unpacking" not in captured.err
    assert cli.main(["check", "udd5", "--quiet"]) == 0
    assert cli.main(["prepare", "loveda", "samples/udd5", "-o", "other", "-q"]) == 1
    assert capsys.readouterr().err.count("error: ") == 1


def test_demo_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--model", "tiny", "-c", "road; sea", "--long-side", "64"]) == 0
    assert "segearth demo --model clip-vit-b16 --classes 'road; sea'" in capsys.readouterr().out
    assert sorted(path.name for path in Path("out").iterdir()) == ["labels.png", "overlay.png", "summary.json"]


def test_who_reads_no_further_sees_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m segearth weights list | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith("name")
    assert done.stderr == ""
