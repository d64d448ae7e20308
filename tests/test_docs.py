"""Every command, every block of Python, every link and the notebook of the documents work as they stand there."""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import open_clip
import pytest
import torch
import yaml
from conftest import load_script
from mmdata import TINY, random_tiny  # noqa: F401 (a fixture)
from PIL import Image
from safetensors.torch import load_file
from test_benchmark import benchmark, small_models
from test_simfeatup_benchmark import OPTIONS as SMALL_STEP
from test_simfeatup_benchmark import benchmark as benchmark_simfeatup
from test_tiny_training import SMALLER

import segearth as package
from segearth import architectures, cli, weights
from segearth.cli import eval_all as eval_all_verb
from segearth.clips import CLIPS, UPSAMPLER_FILES
from segearth.datasets import DATASETS
from segearth.datasets.samples import draw_pairs, drawing, write_sample
from segearth.models.attention import METHODS
from segearth.openmmlab import model_weights
from segearth.paper.table_rows import select_rows
from segearth.synthetic import Scene
from tiny_clip import evaluation, report

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "dataset_prepare.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
NOTEBOOK = ROOT / "docs/quickstart.ipynb"
PACKAGED = weights.packaged
ONE_STEP = ["--steps", "1", "--jitters", "1", "--crop", "64"]  # of the upsampler's training
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERB = re.compile(rf"segearth (?:{'|'.join(cli.VERBS)})\b.*")


class Block(NamedTuple):
    """A fenced block: its language, the name of the file that it is to be saved as, and its text."""

    language: str
    file: str
    text: str

    @property
    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        return [command for line in lines if (command := re.split(r"\s+# ", line)[0].strip())]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    found = re.findall(r"^```(\w*) ?(\S*)\n(.*?)^```$", read(page), flags=re.DOTALL | re.MULTILINE)
    return [Block(*groups) for groups in found]


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def newcomer(tmp_path, monkeypatch, random_tiny) -> None:  # noqa: F811
    """A folder with images and data in it, no network, and a small random CLIP in place of all others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))
    Path("data-home/QGIS/QGIS3/profiles/default").mkdir(parents=True)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def packaged(name: str) -> Path:
        return random_tiny / name if name.startswith("tiny") and not name.endswith(".md") else PACKAGED(name)

    monkeypatch.setattr(weights, "packaged", packaged)
    own = replace(CLIPS["tiny"], name="clip-vit-b16", family="CLIP", vit_type="ViT-B/16")
    monkeypatch.setitem(CLIPS, "clip-vit-b16", own)
    monkeypatch.setitem(CLIPS, "remoteclip-vit-l14", replace(own, name="remoteclip-vit-l14"))
    known = architectures.read_architecture
    monkeypatch.setattr(architectures, "read_architecture", lambda name: TINY if name == "ViT-L-14" else known(name))
    torch.save(load_file(random_tiny / "tiny.safetensors"), "RemoteCLIP-ViT-L-14.pt")
    shutil.copy(random_tiny / "tiny_simfeatup.safetensors", "simfeatup.safetensors")
    published = weights.File("published.safetensors", url="http://127.0.0.1:9/published.safetensors")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))
    shutil.copytree(random_tiny, "cache")
    shutil.copy("simfeatup.safetensors", weights.cache_path(published))
    monkeypatch.setitem(UPSAMPLER_FILES, "xclip_jbu_one_million_aid", published)
    monkeypatch.setattr(model_weights, "resolve_weights", lambda *_: weights.fetch(published))

    scene = Image.open(PACKAGED("scene.jpg")).resize((100, 80))
    for path in ("scene.tif", "photo.jpg", "tiles/a.tif", "tiles/b.tif", "more/c.jpg", "photos/1.tif", "photos/2.tif"):
        save(scene, path)
    for name, suffix in (("LoveDA", "png"), ("OpenEarthMap", "tif")):
        save(scene, f"data/{name}/img_dir/val/0.{suffix}")
        save(Image.new("L", scene.size, 3), f"data/{name}/ann_dir/val/0.{suffix}")
    for kind in ("images", "masks"):
        save(scene, f"training-data/gsi_road/{kind}/0.png")
    corners = [[-14.9998615, 49.652453], [-14.9991688, 49.652363], [-14.9995844, 49.6520032]]  # of the drawn scene
    field = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    Path("field.geojson").write_text(json.dumps(field))
    Path("classes.txt").write_text("road\nwater,river | colour=#2060A0\ntree | threshold=0.2\n")
    shutil.copytree(ROOT / "configs", "configs")


def save(image: Image.Image, path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("newcomer")
def test_a_page_from_top_to_bottom(page, request, monkeypatch, capfd):
    """Blocks of Python share their names; commands find what those before have written."""
    if page == "docs/web.md":
        ask_the_server(request)
        return
    if page == "docs/evaluate.md":
        pytest.importorskip("mmseg", reason='pip install ".[eval]"')
    if page == "dataset_prepare.md":
        draw_downloads(monkeypatch)
    names: dict = {}
    for block in blocks(page):
        assert block.language in ("bash", "python", "sbatch", "toml", "yaml", "text", "mermaid"), (
            f"{block.language} in {page}"
        )
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, page, "exec"), names)
        elif block.language == "bash":
            for command in block.commands:
                code, expected = run(command, monkeypatch), failing_sets(command)
                assert code == expected, f"{command}\n{capfd.readouterr().err}"
        elif block.language in ("sbatch", "yaml"):
            for command in script(block).commands:
                check_arguments(command)


def ask_the_server(request: pytest.FixtureRequest) -> None:
    """All blocks of the page on the server, in one shell, which asks a server that is there."""
    pytest.importorskip("rasterio", reason="scenes need the extra geo")
    webserving = pytest.importorskip("webserving", reason="the page needs the extra web")
    from segearth.web.images import Root

    lines = []
    for command in (one for block in blocks("docs/web.md") for one in block.commands):
        assert command.startswith(("pip ", "segearth ", "curl ", "IMAGE=$(curl ", "JOB=$(curl ")), command
        if command.startswith("pip "):
            assert pip(shlex.split(command)[1:], None) == 0
        elif command.startswith("segearth "):
            check_arguments(command)
        else:
            lines.append(f"{command}; echo")
    assert len(lines) > 12
    worker = request.getfixturevalue("web_worker")
    with webserving.serving(Path("work").resolve(), worker, root=Root.of(Path())) as client:
        text = "\n".join(lines).replace("curl ", "curl --fail-with-body ").replace(":8000/", f":{client.port}/")
        done = subprocess.run(["bash", "-euo", "pipefail"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert '"name":"a.tif"' in said
    assert '"state": "done"' in said
    assert '"scores":[{"index":' in said
    with Image.open("scene.labels.tif") as labels, Image.open("scene.tif") as scene:
        assert labels.size == scene.size
    assert Image.open("overlay.png").width >= 100
    assert Image.open("tile.png").size == (256, 256)
    assert len(json.loads(Path("histogram.json").read_text())["classes"]) == 3
    assert Path("certain.gpkg").read_bytes().startswith(b"SQLite format 3")


def script(block: Block) -> Block:
    """What a shell is given of a block: of a job of Kubernetes, what its container runs."""
    if block.language != "yaml":
        return block
    (container,) = yaml.safe_load(block.text)["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["/bin/bash", "-c"]
    return block._replace(text="".join(container["args"]))


@pytest.mark.parametrize("page", PAGES)
def test_a_shell_understands_commands_and_job_files(page):
    for block in blocks(page):
        if block.language in ("bash", "sbatch", "yaml"):
            subprocess.run(["bash", "-n"], input=script(block).text, text=True, check=True)


class Cluster(ThreadPoolExecutor):
    """In place of all that dask and MPI have: clusters, clients and executors."""

    num_workers = 8

    def __init__(self, *_, **options):
        super().__init__(1, initializer=options.get("initializer"))

    def scale(self, jobs):
        assert jobs == self.num_workers

    def get_executor(self, **options):
        assert options == {"pure": False, "retries": 2}
        return self


def test_programs_of_job_files_map_a_scene(monkeypatch):
    """They run with stand-ins for the cluster; that segearth's functions take such arguments, too, is looked at."""
    pytest.importorskip("rasterio", reason="scenes need the extra geo")
    signature = inspect.signature(package.predict_scene)
    spec = {"worker": {"spec": {"containers": [{}]}}}
    stands = {
        "dask_jobqueue": {"SLURMCluster": Cluster},
        "dask_kubernetes.operator": {"KubeCluster": Cluster, "make_cluster_spec": lambda **_: {"spec": spec}},
        "distributed": {"Client": Cluster},
        "mpi4py.futures": {"MPIPoolExecutor": Cluster},
    }
    for name, content in stands.items():
        for module in (name.partition(".")[0], name):
            monkeypatch.setitem(sys.modules, module, SimpleNamespace(**content))
    mapped = []

    def map_scene(*arguments, **options):
        given = signature.bind(*arguments, **options).arguments
        mapped.append((given["predictor"], given["executor"].submit(str, 1).result(), given["workers"]))

    monkeypatch.setattr(package, "predict_scene", map_scene)
    monkeypatch.setattr(package, "load_model", lambda name, classes: (name, classes))
    for block in blocks("docs/cluster.md"):
        if block.language == "python":
            exec(compile(block.text, block.file, "exec"), {"__name__": "__main__"})
    assert mapped == 3 * [(("clip-vit-b16", "/data/classes.txt"), "1", 8)]
    assert spec["worker"]["spec"]["containers"][0]["volumeMounts"]


def failing_sets(command: str) -> int:
    """The exit code of a command: of all sets, most are not there."""
    return int("eval-all" in command and "--datasets" not in command)


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs a command as it is, or as little of it as shows that it works; its exit code."""
    if command.startswith("ls "):
        listing, _, command = command.partition(" | ")
        done = subprocess.run(listing, shell=True, capture_output=True, text=True, check=True)
        monkeypatch.setattr(sys, "stdin", io.StringIO(done.stdout))
    words = shlex.split(command)
    if "./dist_test.sh" in words:
        return dist_test(words, monkeypatch)
    program, *arguments = words
    return {
        "make": make,
        "source": source,
        "pip": pip,
        "segearth": segearth,
        "python": python,
        **dict.fromkeys(("ruff", "mypy", "pytest"), partial(checker, program)),
    }[program](arguments, monkeypatch)


def make(arguments: list[str], _: pytest.MonkeyPatch) -> int:
    assert set(arguments) <= set(re.findall(r"^(\w[\w-]*):", MAKEFILE, flags=re.MULTILINE))
    return 0


def source(arguments: list[str], _: pytest.MonkeyPatch) -> int:
    assert arguments == [".venv/bin/activate"]
    assert "VENV ?= .venv" in MAKEFILE
    return 0


def checker(program: str, arguments: list[str], _: pytest.MonkeyPatch) -> int:
    """The checks are those of `make test`."""
    paths = [word for word in arguments if word.endswith(".py")]
    assert all((ROOT / path).is_file() for path in paths)
    command = " ".join([program, *(word for word in arguments if word not in paths)])
    assert re.search(rf"\b{re.escape(command)}( -n .*)?$", MAKEFILE, flags=re.MULTILINE)
    return 0


def pip(arguments: list[str], _: pytest.MonkeyPatch) -> int:
    verb, *wanted = arguments
    assert verb == "install"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    extras = re.findall(r"^(\w+) = \[", project.partition("\n[")[0], flags=re.MULTILINE)
    for word in wanted:
        if word.endswith(".txt"):
            assert (ROOT / word).is_file()
        elif word.startswith("."):
            assert word in {".", *(f".[{extra}]" for extra in extras)}
        else:
            assert word in ("torch", "torchvision", "-r", "--index-url", "https://download.pytorch.org/whl/cpu")
    return 0


def segearth(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch:
        if arguments[0] in ("doctor", "weights"):  # its figure, and its hash, are those of the real tiny
            patch.setattr(weights, "packaged", PACKAGED)
        elif arguments[0] == "train-upsampler":
            Path(arguments[arguments.index("-o") + 1]).unlink(missing_ok=True)
            arguments = [*arguments, *ONE_STEP, "--batch", "1"]
        elif arguments[0] == "prepare":
            arguments = [*arguments, "--jobs", "1"]
        elif arguments[:2] == ["sample-data", "scene"]:
            arguments = [*arguments, "--size", "300"]
        elif "-j" in arguments:
            arguments = [*arguments, "-j", "1"]  # other processes would load the real tiny
        elif arguments[0] == "eval-all":
            patch.setattr(eval_all_verb, "select_rows", lambda names: select_rows(names)[-1:])
        return cli.main(arguments)


def check_arguments(command: str) -> None:
    """Refuses a command for segearth, started by something else, that has a wrong verb or option."""
    if found := VERB.search(command):
        verb, *arguments = shlex.split(found[0])[1:]
        cli.verb_parser(verb).parse_args(arguments)


def dist_test(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """A python that notes what it would start; that processes share their work is tested elsewhere."""
    place = words.index("./dist_test.sh")
    Path("noted").write_text('#!/bin/sh\n[ "$1" = -c ] && echo 4 || printf "%s\\n" "$@" > started\n')
    Path("noted").chmod(0o755)
    with monkeypatch.context() as patch:
        for name, value in {**dict(word.split("=") for word in words[:place]), "PYTHON": "./noted"}.items():
            patch.setenv(name, value)
        done = subprocess.run(["bash", ROOT / "dist_test.sh", *words[place + 1 :]], check=False)
    started = Path("started").read_text().split()
    script = next(word for word in started if word.endswith(("eval.py", "eval_all.py")))
    rest = [str(Path(word).expanduser()) if word[0] == "~" else word for word in started[started.index(script) + 1 :]]
    cli.verb_parser("eval-all" if "all" in script else "eval").parse_args(rest)
    return done.returncode


def python(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    script, *argv = arguments
    if script == "-m":
        assert argv[0] == "segearth.distributed.torchrun"
        check_arguments(" ".join(argv))
        if "train-upsampler" not in argv:  # that eval runs so is tested elsewhere
            return 0
        return subprocess.run([sys.executable, "-m", *argv, *ONE_STEP, "--batch", "2"], check=False).returncode
    if script == "tools/benchmark.py":
        monkeypatch.setattr(benchmark, "models", small_models)
        monkeypatch.setattr(benchmark, "measure_memory", benchmark.peak_memory)
        monkeypatch.setattr(benchmark, "FULL_SIDES", (224,))
        if "--device" in argv:  # the processor is everywhere
            return int(benchmark.main(["--device", "cpu", "--quick", "--seconds", "0"])["left out"] == 0)
        return int(benchmark.main([*argv, "--rounds", "1", "--side", "224", "--memory", "224"])["windows"] != 1)
    if script == "tools/benchmark_simfeatup.py":
        return int(benchmark_simfeatup.main([*argv, *SMALL_STEP, "--variant", "as it is"]))
    module = load_script(script)
    if script == "tools/draw_scenes.py":
        argv += ["--size", "64"]
    elif script == "tools/model_tables.py":  # its result is compared below
        return 0
    elif script == "tools/reference_options.py":
        monkeypatch.setattr(module, "REFERENCE", Path(shutil.copy(ROOT / "docs/reference.md", "reference.md")))
        module.REFERENCE.write_text(module.updated(module.REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    elif script == "tools/train_tiny_clip.py":
        Path("small.json").write_text(json.dumps(SMALLER))
        quick = "--steps 1 --text-steps 1 --batch 2 --scenes 1 --scene-size 64 --workers 0 --teacher hash"
        argv += [*quick.split(), "--config", "small.json"]
    elif script == "tools/evaluate_tiny_clip.py":
        argv += ["--weights", "out/tiny/tiny.safetensors", "--config", "small.json"]  # of the command before
        module.report_on = partial(module.report_on, scene_size=64)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "METHODS", {"SegEarth": METHODS["SegEarth"]})
        patch.setattr(evaluation, "LONG_SIDES", (64, 80, 96))
        patch.setattr(evaluation, "HELD_OUT_SCENES", evaluation.HELD_OUT_SCENES[:1])
        patch.setattr(report, "FLOOR_SCENES", 1)
        return int(module.main(argv))


def draw_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands of dataset_prepare.md find in the folder: coloured squares, faster than drawn scenes."""

    def squares(seed: int, height: int, width: int) -> Scene:
        few = np.random.default_rng(seed).integers(0, 8, (height // 16 + 1, width // 16 + 1), dtype=np.uint8)
        labels = np.kron(few, np.ones((16, 16), np.uint8))[:height, :width]
        objects = np.zeros_like(labels)
        objects[:20, :20] = 1
        return Scene(np.stack([30 * labels, 20 * labels, 255 - 30 * labels], axis=-1), labels, objects)

    shutil.rmtree("data")
    monkeypatch.setattr(drawing, "draw_scene", squares)
    for one in DATASETS.values():
        write_sample(one, Path("samples", one.name), draw_pairs(one))
        for path in Path("samples", one.name).iterdir():
            if path.is_dir():
                shutil.copytree(path, path.name, dirs_exist_ok=True)
            else:
                shutil.copy(path, path.name)
    Path("DOWNLOADS").symlink_to(Path("samples", "iSAID"))


def test_there_are_commands():
    commands = {
        page: [one for block in blocks(page) if block.language == "bash" for one in block.commands] for page in PAGES
    }
    assert {"make demo", "make test", "pip install ."} <= set(commands["README.md"])
    assert len(commands["dataset_prepare.md"]) == 2 * len(DATASETS)
    used = " ".join(one for several in commands.values() for one in several)
    assert all(f"segearth {verb}" in used for verb in cli.VERBS)


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_exist(page):
    for command in re.findall(r"`(segearth [^`]+)`", prose(page).replace("\n", " ")):
        verb, *arguments = command.split()[1:]
        if verb in ("VERB", "--help", "--version"):
            continue
        assert verb in cli.VERBS, command
        options = cli.verb_parser(verb)._option_string_actions
        assert all(word in options for word in arguments if word.startswith("-")), command


def test_the_page_of_models_has_the_present_tables():
    """Architectures are built and run on the meta device, one layer deep, by the version that the page names."""
    text = read("docs/models.md")
    tool = load_script("tools/model_tables.py")
    assert re.search(r"^\| open_clip \S+ builds \(48 of 144\) \| works \(32\) \|$", text, flags=re.MULTILINE)
    if f"open_clip {open_clip.__version__} builds" not in text:
        pytest.skip("another version of open_clip than that of the page")
    assert tool.updated(text) == text, "run: python tools/model_tables.py"


def test_the_reference_has_the_present_options():
    text = read("docs/reference.md")
    assert load_script("tools/reference_options.py").updated(text) == text, "run: python tools/reference_options.py"
    assert re.findall(r"<!-- options: (\S+) -->", text) == re.findall(r"^## segearth (\S+)$", text, flags=re.MULTILINE)
    assert set(re.findall(r"<!-- options: (\S+) -->", text)) == set(cli.VERBS)


def test_the_reference_has_all_environment_variables():
    known = set(re.findall(r"`([A-Z][A-Z_]+)(?:=[01])?`", read("docs/reference.md")))
    sources = [*(ROOT / "segearth").rglob("*.py"), ROOT / "dist_test.sh"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r'"((?:SEGEARTH|HF|XDG|SLURM|OMPI|MASTER|LOCAL|CUDA|OMP|WORLD)_[A-Z_]+|RANK)"', code))
    used |= set(re.findall(r"\$\{([A-Z_]+):-", code))
    own = {"SEGEARTH_LAUNCHER_SPEAKS"}  # between two processes of ours
    assert {"SEGEARTH_HOME", "SLURM_PROCID", "NNODES"} <= used
    assert used - own <= known


@pytest.mark.parametrize("page", [*PAGES, "docs/quickstart.ipynb"])
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, target


def test_the_notebook(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear all outputs before saving"
    if importlib.util.find_spec("rasterio") is None:
        notebook.cells = [cell for cell in notebook.cells if "geo" not in cell.metadata.get("tags", ())]
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300, resources=where).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("<table" in str(data.get("text/html")) for data in shown) >= 3
    if importlib.util.find_spec("folium") is not None:
        assert sum("<iframe" in str(data.get("text/html")) for data in shown) >= 3
    written = {path.name for path in (tmp_path / "maps").iterdir()}
    assert {"map.overlay.png", "certain.npz", "tile_0.labels.png", "tile_512.summary.json"} <= written
