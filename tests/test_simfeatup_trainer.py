"""Whole runs: they end the same however they are cut up, and errors cost nothing that was there."""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import types
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from conftest import load_script
from PIL import Image
from processes import ROOT, pair
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from segearth.errors import UserError, UserNotice
from segearth.jobs.locks import locked
from segearth.loading import load_clip, load_model, load_upsampler, read_upsampler
from segearth.training.simfeatup import checkpoint, step, trainer
from segearth.training.simfeatup.images import Batch, Crops, find_images
from segearth.training.simfeatup.log import Log, Row, duration
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.step import Features, Trainee, accumulate
from segearth.training.simfeatup.trainer import TrainingRun, train

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 60, "width": 8, "heads": 2, "layers": 1},
}
RUN = TrainingRun(steps=4, batch=2, crop=48, save_every=2)
RECIPE = UpsamplerRecipe(jitters=2, radius=3)


def small_clip():
    torch.manual_seed(0)
    return open_clip.CLIP(**CONFIG).eval()


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch):
    """Runs write the same files whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def run(images, out, options=RUN, recipe=RECIPE, **changes):
    said = []
    train(small_clip(), "small", [images], out, _with(options, changes), recipe, say=said.append)
    return said


def _with(options, changes):
    return type(options)(**{**vars(options), **changes})


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_both_formats_and_a_table(images, tmp_path):
    said = run(images, tmp_path / "new" / "up.safetensors")
    folder = tmp_path / "new"
    assert {path.name for path in folder.iterdir()} >= {"up.safetensors", "up.ckpt", "up.resume.pt", "up.csv"}
    assert not list(folder.glob(".*"))
    ours, published = read_upsampler(folder / "up.safetensors"), load_upsampler(folder / "up.ckpt")
    assert type(ours).__name__ == type(published).__name__ == "JBUOne"
    assert ours.radius == published.radius == 3
    assert_close(ours.state_dict(), published.state_dict(), atol=0, rtol=0)
    names = torch.load(folder / "up.ckpt", weights_only=True)["state_dict"]
    assert {"upsampler.up.range_temp", "upsampler.fixup_proj.1.weight"} <= set(names)
    initial = Trainee(8, 16, RECIPE).upsampler.state_dict()
    assert (ours.state_dict()["up.range_proj.0.weight"] - initial["up.range_proj.0.weight"]).abs().max() > 1e-4
    table = rows(folder / "up.csv")
    assert [row["step"] for row in table] == ["1", "2", "3", "4"]
    for row in table:
        assert float(row["loss"]) == pytest.approx(float(row["reconstruction"]) + 0.1 * float(row["image"]), abs=1e-5)
        assert float(row["seconds"]) > 0
    assert "step 4/4" in said[-2]
    assert said[-1].startswith(f"written: {folder / 'up.safetensors'}; the log is {folder / 'up.csv'}")
    assert "0 s left" in said[-2]


def test_training_lowers_the_loss(images, tmp_path):
    """On one and the same step, with all its draws, before and after."""
    features, recipe = Features(small_clip()), _with(RECIPE, {"jitters": 4})
    crops = torch.stack([Crops(find_images([images]), 48, 0)[number].image for number in range(5)])
    batch = Batch(99, [*range(5)], crops, 5)
    untrained = Trainee(8, 16, RECIPE)
    options = _with(RUN, {"steps": 40, "save_every": 40, "learning_rate": 3e-3})
    trained = train(small_clip(), "small", [images], tmp_path / "up.ckpt", options, RECIPE, say=lambda _: None)
    before, after = (accumulate(one, features, batch, recipe, 0) for one in (untrained, trained))
    assert after[0] < before[0] - 0.02
    assert after[1] < before[1] - 0.02


def test_killed_and_resumed_equals_undisturbed(images, tmp_path):
    """Bit for bit, dropout and all, on one machine; steps after the last checkpoint are done again.

    Both before and after the first ten steps, whose gradients are clipped.
    """
    run(images, tmp_path / "whole.ckpt", steps=13, workers=1)
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import os, signal, torch
torch.set_num_threads(1)
import test_simfeatup_trainer as t
from pathlib import Path
def kill(line):
    if line.startswith("step 11"):
        os.kill(os.getpid(), signal.SIGKILL)
from segearth.training.simfeatup import log
log.SHOW_EVERY = 0.0
t.train(t.small_clip(), "small", [Path({str(images)!r})], Path({str(tmp_path / "cut.ckpt")!r}),
        t._with(t.RUN, {{"steps": 13}}), t.RECIPE, say=kill)
"""
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert died.returncode == -9, died.stderr
    assert len(rows(tmp_path / "cut.csv")) == 11
    with pytest.raises(UserError, match="give resume=True"):
        run(images, tmp_path / "cut.ckpt", steps=13)
    run(images, tmp_path / "cut.ckpt", steps=13, resume=True)
    whole, resumed = (torch.load(tmp_path / f"{name}.resume.pt", weights_only=True) for name in ("whole", "cut"))
    assert_close(resumed["trainee"], whole["trainee"], atol=0, rtol=0)
    assert_close(resumed["optimiser"]["state"], whole["optimiser"]["state"], atol=0, rtol=0)
    tables = [[{**row, "seconds": ""} for row in rows(tmp_path / f"{name}.csv")] for name in ("whole", "cut")]
    assert tables[0] == tables[1]


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_resumed_numbers_that_the_processor_reads_are_not_on_the_gpu(images, tmp_path):
    """NAdam would wait for the GPU twice for every weight in every step; the meta device stands for it."""
    run(images, tmp_path / "up.ckpt", steps=1)
    files, trainee = checkpoint.Files(tmp_path / "up.ckpt"), Trainee(8, 16, RECIPE).to("meta")
    optimiser = torch.optim.NAdam(trainee.parameters())
    checkpoint.restore(files, trainee, optimiser, {})
    assert len(optimiser.state) > 10
    for state in optimiser.state.values():
        assert (state["step"].item(), state["exp_avg"].device.type) == (1, "meta")
        assert 0 < state["mu_product"].item() < 1


def test_resuming_another_run_is_refused(images, tmp_path):
    out = tmp_path / "up.ckpt"
    run(images, out, steps=2)
    with pytest.raises(UserError, match="seed was 0 and is 1"):
        run(images, out, resume=True, seed=1)
    with pytest.raises(UserError, match="2 steps already"):
        run(images, out, resume=True, steps=1)
    with pytest.raises(UserError, match="of another run: other images; resume with"):
        Image.new("RGB", (90, 90)).save(images / "0.png")
        run(images, out, resume=True)
    (images / "0.png").unlink()
    with pytest.raises(UserError, match="images was 5 and is 4"):
        run(images, out, resume=True)
    content = bytearray((tmp_path / "up.resume.pt").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "up.resume.pt").write_bytes(content)
    with pytest.raises(UserError, match="cannot resume from"):
        run(images, out, resume=True)


def test_resuming_begins_where_nothing_is_there_and_ends_where_all_is_done(images, tmp_path):
    out = tmp_path / "up.ckpt"
    assert any("all begins anew" in line for line in run(images, out, steps=2, resume=True))
    before = out.stat().st_mtime_ns
    assert any("all 2 steps are done already" in line for line in run(images, out, steps=2, resume=True))
    assert out.stat().st_mtime_ns == before
    for name in ("up.resume.pt", "up.csv"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match="is there already"):  # of somebody, without a sign of a run
        run(images, out, steps=2, resume=True)


def test_one_run_at_a_time_trains_a_file(images, tmp_path):
    with locked(tmp_path / "up.resume.pt"), pytest.raises(UserError, match="another run trains .*up.ckpt"):
        run(images, tmp_path / "up.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_nothing_foreign_is_overwritten(images, tmp_path):
    """Neither what the run reads, nor what is there and no log of an earlier one."""
    clip = tmp_path / "clip.ckpt"
    clip.write_bytes(b"weights")
    for changes in ({"clip": clip}, {"init": clip}):
        with pytest.raises(UserError, match=r"clip.ckpt is read by this run and would be overwritten: use another out"):
            run(images, tmp_path / "clip.safetensors", **changes)
    for name in ("up.ckpt", "up.safetensors", "up.csv"):
        (tmp_path / name).write_text("of somebody")
        with pytest.raises(UserError, match=f"{name} is there already: give another out, or delete it"):
            run(images, tmp_path / "up.ckpt", resume=name == "up.csv")
        assert (tmp_path / name).read_text() == "of somebody"
        (tmp_path / name).unlink()
    assert clip.read_bytes() == b"weights"


def test_a_run_that_diverges_writes_no_checkpoint(images, tmp_path, monkeypatch):
    reduce_clip_step = trainer.reduce_clip_step

    def break_a_weight(trainee, *rest):
        norm = reduce_clip_step(trainee, *rest)
        trainee.upsampler.up.range_temp.data.fill_(float("nan"))
        return norm

    monkeypatch.setattr(trainer, "reduce_clip_step", break_a_weight)
    with pytest.raises(UserError, match="step 1 went wrong: .* smaller learning_rate"):
        run(images, tmp_path / "up.ckpt", steps=1)
    with pytest.raises(UserError, match="step 2 went wrong: its loss is nan"):
        run(images, tmp_path / "up.ckpt", steps=5, save_every=9)
    assert {path.name for path in tmp_path.glob("up.*")} == {"up.csv"}
    for rate in (float("inf"), 1e38):
        with pytest.raises(UserError, match="learning_rate=.*: expected"):
            run(images, tmp_path / "up.ckpt", learning_rate=rate)


def test_what_could_not_be_written_at_the_end_is_written_by_resuming(images, tmp_path, monkeypatch):
    real = checkpoint.safetensors_bytes
    run(images, tmp_path / "up.ckpt", steps=2)

    def full(*_, **__):
        raise UserError("No space left")

    monkeypatch.setattr(checkpoint, "safetensors_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        run(images, tmp_path / "up.ckpt", steps=4, resume=True)
    monkeypatch.setattr(checkpoint, "safetensors_bytes", real)
    run(images, tmp_path / "up.ckpt", steps=4, resume=True)
    assert_close(load_file(tmp_path / "up.safetensors"), _own(tmp_path / "up.ckpt"), atol=0, rtol=0)
    assert torch.load(tmp_path / "up.ckpt", weights_only=True)["global_step"] == 4


def _own(path):
    state = torch.load(path, weights_only=True)["state_dict"]
    return {name.removeprefix("upsampler."): value for name, value in state.items()}


def gradients(images, recipe, parts):
    """Of one step, from its batch cut into parts."""
    trainee, clip = Trainee(8, 16, recipe), small_clip()
    found = [
        accumulate(trainee, Features(clip), Batch(3, part, images[part], len(images)), recipe, seed=0) for part in parts
    ]
    return sum(found), [p.grad for p in trainee.parameters()]


@pytest.mark.parametrize("recipe", [RECIPE, _with(RECIPE, {"at_once": 3}), _with(RECIPE, {"recompute": True})])
def test_neither_parts_nor_memory_change_the_gradients(recipe):
    """Dropout included: all draws belong to a sample. To 1e-5 of the largest gradient."""
    images = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    whole, wanted = gradients(images, RECIPE, [[0, 1, 2]])
    parts, found = gradients(images, recipe, [[1], [2, 0]])
    assert_close(parts, whole, atol=1e-5, rtol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, atol=1e-5 * max(1, other.abs().max().item()), rtol=0)
    assert max(one.abs().max() for one in wanted) > 1e-3


TOOL = str(ROOT / "tools" / "train_simfeatup.py")


def tool(arguments):
    command = [sys.executable, TOOL, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def weights(tmp_path):
    save_file(small_clip().state_dict(), tmp_path / "clip.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(CONFIG))
    return ["--model", tmp_path / "clip.safetensors", "--architecture", tmp_path / "clip.json", "--device", "cpu"]


def test_two_processes_equal_one(images, weights, tmp_path):
    """By the program, over gloo, with dropout; parameters to 2e-4 of a step's change after three steps."""
    (images / "broken.png").write_bytes((images / "0.png").read_bytes()[:3000])
    options = [*weights, "--images", images, "--crop", 48, "--batch", 3, "--jitters", 2, "--radius", 3, "--steps", 3]
    one = tool([*options, "-o", tmp_path / "one.safetensors"])
    assert one.returncode == 0, one.stderr
    two = pair([TOOL, *map(str, options), "-o", "two.safetensors"], tmp_path)
    assert [code for code, _, _ in two] == [0, 0], two
    assert "2 × cpu" in two[0][2]
    for stderr in (one.stderr, two[0][2] + two[1][2]):
        assert stderr.count("left out") == 1
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name, value in first.items():
        assert_close(second[name], value, atol=2e-7, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    for row, other in zip(rows(tmp_path / "one.csv"), rows(tmp_path / "two.csv"), strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), abs=1e-5)


def test_half_an_environment_of_torchrun(weights, images, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = [*weights, "--images", images, "--crop", "48", "-o", tmp_path / "up.ckpt"]
    assert load_script("tools/train_simfeatup.py").main(list(map(str, arguments))) == 2
    assert "error: WORLD_SIZE is 2, but RANK is not set" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "no CLIP can be built"),
        ("{}", "no CLIP can be built"),
        ("{", "cannot read the architecture"),
        (json.dumps({**CONFIG, "vision_cfg": {"depth": 3}}), "no CLIP can be built .*depth"),
        (json.dumps({**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "patch_size": 0}}), "no CLIP can be built"),
        (json.dumps({**CONFIG, "text_cfg": {"hf_model_name": "roberta-base"}}), "roberta-base of Hugging Face's"),
    ],
)
def test_architectures_that_are_none(weights, tmp_path, content, message):
    (tmp_path / "clip.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_clip(weights[1], str(weights[3]))


def test_a_clip_of_ones_own_from_training_to_a_map(weights, images, tmp_path):
    """By load_model and demo.py; its architecture is in the files, and another one is refused."""
    _, clip, _, config, *_ = map(str, weights)
    with pytest.raises(UserError, match="knows 60 tokens: expected the 49408 of CLIP's own tokenizer"):
        load_model(clip, "road; tree", "cpu", architecture=config)
    readable = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "vocab_size": 49408}}
    Path(config).write_text(json.dumps(readable))
    save_file(open_clip.CLIP(**readable).state_dict(), clip)
    options = ["--images", images, "--crop", "48", "--batch", "2", "--jitters", "1", "--radius", "1"]
    command = [*weights, *options, "-o", tmp_path / "up.safetensors"]
    tool_main = load_script("tools/train_simfeatup.py").main
    assert tool_main(list(map(str, [*command, "--steps", "1"]))) == 0
    with safe_open(tmp_path / "up.safetensors", "pt") as file:
        assert re.fullmatch(r"clip.json [0-9a-f]{12}", file.metadata()["architecture"])
    pixels = np.asarray(Image.open(images / "0.png"))
    predictor = load_model(clip, "road; tree", "cpu", architecture=config, upsampler=tmp_path / "up.safetensors")
    labels = predictor.predict(pixels, 48).labels
    arguments = ["--model", clip, "--architecture", config, "--upsampler", tmp_path / "up.safetensors"]
    arguments += ["--image", images / "0.png", "--classes", "road; tree", "--device", "cpu", "--long-side", 48]
    assert load_script("demo.py").main(list(map(str, [*arguments, "--out", tmp_path / "out"]))) == 0
    assert (np.asarray(Image.open(tmp_path / "out/labels.png")) == labels).all()
    plain = load_model(clip, "road; tree", "cpu", architecture=config)
    assert plain.settings["upsampler"] == "bilateral"
    Path(config).write_text(json.dumps({**readable, "quick_gelu": True}))
    with pytest.raises(UserError, match="of another run: architecture was 'clip.json"):
        trainer.train(
            load_clip(clip, config),
            Path(clip).name,
            [images],
            tmp_path / "up.safetensors",
            replace(RUN, crop=48, batch=2, steps=2, save_every=100, clip=Path(clip), architecture=config, resume=True),
            UpsamplerRecipe(jitters=1, radius=1),
        )


@pytest.mark.parametrize(
    ("model", "architecture", "message"),
    [
        (
            "RemoteCLIP-ViT-L-14",
            None,
            "expected a name \\(clip-vit-b32, .* their architecture; .* remoteclip-vit-l14",
        ),
        ("clip.safetensors", None, "tell its architecture, too, such as ViT-L-14 .*with it as for OpenAI and MetaCLIP"),
        ("clip.safetensors", "ViT-L/14", "unknown architecture 'ViT-L/14': expected a name of open_clip.list_models"),
        ("tiny", "ViT-L-14", "the model tiny has its own"),
        ("script.pt", "clip.json", "TorchScript archive, .* open_clip.create_model"),
        ("half.safetensors", "clip.json", r"they lack positional_embedding, text_projection, .*, unknown to the model"),
    ],
)
@pytest.mark.usefixtures("weights")
def test_clips_that_cannot_be_loaded(tmp_path, monkeypatch, model, architecture, message):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"")
    save_file({"vision_model.head.probe": torch.zeros(3)}, "half.safetensors")  # of transformers, but no CLIPModel
    with pytest.raises(UserError, match=message):
        load_clip(model, architecture)


def test_a_clip_too_large_for_any_machine(weights, tmp_path):
    vision = {**CONFIG["vision_cfg"], "width": 2**40}
    (tmp_path / "clip.json").write_text(json.dumps({**CONFIG, "vision_cfg": vision}))
    with pytest.raises(UserError, match="not enough memory for a CLIP of the architecture .*clip.json"):
        load_clip(weights[1], str(weights[3]))


def test_weights_and_architecture_as_others_save_them(weights, tmp_path):
    """The hub's layout of the architecture, and the prefix of training in several processes."""
    (tmp_path / "clip.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    state = {f"module.{name}": value for name, value in small_clip().state_dict().items()}
    state["module.input_resolution"] = torch.tensor(48)
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "clip.pt")
    clip = load_clip(tmp_path / "clip.pt", str(weights[3]))
    assert_close(clip.state_dict(), small_clip().state_dict(), atol=0, rtol=0)


def test_the_others_end_with_one_whose_disk_is_full(images, weights, tmp_path):
    """They wait for its gradients."""
    program = """
import runpy, sys
from segearth.errors import UserError
from segearth.training.simfeatup import checkpoint
def save(*_):
    raise UserError("the disk is full")
checkpoint.save = save
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
    options = [*weights, "--images", images, "--crop", 48, "--batch", 2, "--jitters", 1, "--steps", 99]
    command = ["-c", program, TOOL, *map(str, options), "--save-every", "1", "-o", "up.ckpt"]
    (first, _, reason), (second, _, err) = pair(command, tmp_path)
    assert (first, reason.strip().splitlines()[-1]) == (2, "error: the disk is full")
    last = err.strip().splitlines()[-1]
    assert second == 2
    assert re.match(r"error: another process died or cannot be reached \(.*\): .*; start the same command again", last)


def test_a_start_is_made_only_where_it_is_used(images, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(step, "begin_as_bilateral_filter", lambda *_: made.append(True))
    recipe = _with(RECIPE, {"start": "bilateral"})
    run(images, tmp_path / "up.ckpt", recipe=recipe, steps=1)
    run(images, tmp_path / "up.ckpt", recipe=recipe, steps=2, resume=True)
    assert len(made) == 1
    with pytest.raises(UserError, match="up.safetensors and bilateral are two beginnings"):
        run(images, tmp_path / "other.ckpt", recipe=recipe, init=tmp_path / "up.safetensors")


@pytest.mark.parametrize("init", ["random", "bilateral", "up.ckpt", "nowhere"])
def test_what_a_run_begins_with(weights, images, tmp_path, monkeypatch, capfd, init):
    """A name, or a checkpoint."""
    given = []
    monkeypatch.setattr(trainer, "train", lambda *all_: given.append(all_[4:6]))
    monkeypatch.chdir(tmp_path)
    Path("up.ckpt").touch()
    arguments = [*map(str, weights), "--images", str(images), "--init", init, "-o", "new.ckpt"]
    code = load_script("tools/train_simfeatup.py").main(arguments)
    if init == "nowhere":
        assert (code, given) == (2, [])
        assert (
            "error: --init nowhere: no such file, expected one, or random or bilateral; correct it"
            in capfd.readouterr().err
        )
        return
    ((options, recipe),) = given
    assert code == 0
    assert (options.init, recipe.start) == ((Path(init), "random") if init == "up.ckpt" else (None, init))


def test_no_usable_image_is_the_users_mistake(weights, tmp_path):
    folder = tmp_path / "unusable"
    folder.mkdir()
    Image.new("I;16", (100, 100)).save(folder / "deep.png")
    Image.new("RGB", (5, 5)).save(folder / "tiny.png")
    done = tool([*weights, "--images", folder, "--crop", 48, "-o", tmp_path / "up.ckpt"])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("warning: left out") == 2
    assert "no usable image" in done.stderr
    assert not list(tmp_path.glob("up*"))


def test_what_a_run_says_of_its_images_and_features(images, tmp_path):
    (images / "masks").mkdir()
    shutil.copy(images / "0.png", images / "masks")
    said = run(images, tmp_path / "up.ckpt", steps=1)
    assert said[0] == f"looking at 6 files: 5 in {images}, 1 in {images / 'masks'}"
    assert said[1].startswith("note: 1 steps from a random start give a blur")
    size = re.fullmatch(r"features of size (\S+) \(root mean square\), in the losses \1", said[3])
    assert size
    other = run(images, tmp_path / "other.ckpt", recipe=replace(RECIPE, start="bilateral"), steps=1)
    assert not any(line.startswith("note: ") for line in other)
    assert trainer._size(torch.full((1, 8, 3, 3), -4.0), 1.0) == (
        "features of size 4 (root mean square), in the losses 4; the recipe was made for 0.4: use scale=0.1"
    )
    assert trainer._size(torch.full((1, 8, 3, 3), -4.0), 0.1).endswith("in the losses 0.4")


def test_slow_steps_are_saved_by_the_clock(images, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda *args: saved.append(args[3]))
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0)
    run(images, tmp_path / "up.ckpt", steps=3, save_every=99)
    assert saved == [1, 2, 3]


def test_one_warning_for_each_file_left_out(images, tmp_path):
    (images / "broken.png").write_bytes((images / "0.png").read_bytes()[:3000])
    Image.new("I;16", (100, 100)).save(images / "deep.png")
    Image.new("RGB", (5, 5)).save(images / "tiny.png")
    Image.new("L", (60, 60), 99).save(images / "gray.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(images, tmp_path / "up.ckpt", steps=7)
    notices = [str(one.message) for one in caught if one.category is UserNotice]
    assert len(notices) == 3
    assert sorted(n for n in ("broken", "deep", "tiny", "gray") if any(n in text for text in notices)) == [
        "broken",
        "deep",
        "tiny",
    ]


def test_a_full_disk_loses_no_checkpoint(images, tmp_path, monkeypatch):
    out = tmp_path / "up.safetensors"
    run(images, out, steps=2)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("up.*")}
    write = Path.write_bytes

    def full(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        run(images, out, steps=4, resume=True)
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in tmp_path.glob("up.*")}
    assert {n: c for n, c in after.items() if n != "up.csv"} == {n: c for n, c in before.items() if n != "up.csv"}
    run(images, out, steps=4, resume=True)
    assert [row["step"] for row in rows(tmp_path / "up.csv")] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "recipe",
    [
        UpsamplerRecipe(upsampler="jbu_stack", jitters=1),
        UpsamplerRecipe(upsampler="jbu_stack", radius=5, jitters=1),
        UpsamplerRecipe(features="output", image_loss=False, jitters=1),
    ],
)
def test_variants_are_loaded_as_what_they_are(images, tmp_path, recipe):
    run(images, tmp_path / "up.safetensors", recipe=recipe, steps=1)
    upsampler = read_upsampler(tmp_path / "up.safetensors")
    assert upsampler.radius == (recipe.radius or {"jbu_one": 5, "jbu_stack": 3}[recipe.upsampler])
    run(images, tmp_path / "more.ckpt", recipe=recipe, steps=1, init=tmp_path / "up.safetensors")
    with pytest.raises(UserError, match=f"radius {upsampler.radius}, not 1: use radius={upsampler.radius}"):
        run(images, tmp_path / "other.ckpt", recipe=replace(recipe, radius=1), init=tmp_path / "up.safetensors")
    first = upsampler.state_dict()
    second = read_upsampler(tmp_path / "more.ckpt").state_dict()
    # one clipped step of NAdam away from where it began
    assert 0 < max((second[name] - first[name]).abs().max() for name in first) < 2e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch=0: expected a number above 0"),
        ({"workers": -1}, "workers=-1"),
        ({"crop": 50}, "multiple of 16"),
        ({"crop": 32, "steps": 1}, "at least 48"),
        ({"precision": "fp8"}, 'precision="fp8": use one of auto'),
        ({"init": Path("nowhere.ckpt")}, "no weights at nowhere.ckpt"),
    ],
)
def test_mistakes(images, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run(images, tmp_path / "up.ckpt", recipe=UpsamplerRecipe(jitters=1), **changes)
    with pytest.raises(UserError, match="expected .safetensors or .ckpt"):
        run(images, tmp_path / "up.pth")


def test_tensorboard_where_it_is_installed(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append((Path(folder).name, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    log = Log(tmp_path / "a.csv", tmp_path / "a.tensorboard", steps=9, done=4, say=lambda _: None)
    log.add(Row(5, 1.0, 0.9, 1.0, 0.1, 2.0))
    log.close()
    assert written[0] == ("a.tensorboard", 5)
    assert ("loss", 1.0, 5) in written
    assert written[-1] == "closed"


def test_durations():
    assert [duration(seconds) for seconds in (5, 300, 7500)] == ["5 s", "5 min", "2 h 05 min"]
