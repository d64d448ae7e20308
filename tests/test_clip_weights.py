"""Every CLIP of the table with small random weights: saved, loaded by name and by path, and mapped with."""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from standins import PUBLISHED, WIDTH, cache, put, save, small, state_of  # noqa: F401 (a fixture)

from segearth import building, weights
from segearth.clips import CLIPS, STATISTICS, UPSAMPLER_FILES, resolve
from segearth.errors import UserError
from segearth.hashes import sha256_of
from segearth.loading import load_clip, load_model
from segearth.models import JBUOne, JBUStack, encode_text
from segearth.provenance import model_settings
from segearth.transfer import normalise
from segearth.vocabulary import Vocabulary

PATCHES = ["clip-vit-b32", "clip-vit-b16", "openclip-vit-l14", "clip-vit-l14-336"]  # one of each grid


def is_quick(clip) -> bool:
    blocks = (*clip.visual.transformer.resblocks, *clip.transformer.resblocks)
    (kind,) = {type(block.mlp.gelu) for block in blocks}
    return kind is QuickGELU


@pytest.mark.parametrize("name", PUBLISHED)
def test_by_name_by_pair_and_by_path(cache, monkeypatch, name):  # noqa: F811
    """The same tensors by each way, with the activation that each stands for; the summary has the hash of the file."""
    path = put(CLIPS[name], cache, monkeypatch)
    row = resolve(name)
    expected = state_of(row)
    pair = resolve((row.family, row.vit_type))
    by_path = resolve(path, row.architecture)
    for spec in (row, by_path) if pair.architecture == row.architecture else (row, pair, by_path):
        clip = load_clip(spec)
        assert all(torch.equal(value, expected[key]) for key, value in clip.state_dict().items())
        assert is_quick(clip) == (spec.activation == "quick GELU")
        settings = model_settings(spec, "bilinear", "fp32")
        assert settings["weights_sha256"] == sha256_of(path)
        assert settings["architecture"] == spec.architecture


@pytest.fixture(scope="module")
def random_upsampler(tmp_path_factory):
    """Gives the path of a random upsampler of a kind and a width; each is made once."""
    folder = tmp_path_factory.mktemp("upsamplers")

    @functools.cache
    def save_random(kind: type[JBUOne | JBUStack], width: int) -> Path:
        torch.manual_seed(2)
        path = folder / f"{kind.__name__}-{width}.safetensors"
        save_file(kind(width, radius=1).state_dict(), path)
        return path

    return save_random


@pytest.mark.parametrize("name", CLIPS)
def test_a_map_with_each_upsampler(cache, monkeypatch, photo, random_upsampler, name):  # noqa: F811
    """Every row with every kind of upsampler, of an image of 300 × 421 pixels; the default is the row's own."""
    if name != "tiny":
        put(CLIPS[name], cache, monkeypatch)
    row, other_width = resolve(name), 24
    width = row.width if name == "tiny" else WIDTH
    own = row.upsampler if row.upsampler_file is None else "its own file"
    choices = {
        "none": None,
        "default": "default",
        "bilinear": "bilinear",
        "bilateral": "bilateral",
        "jbu_one": random_upsampler(JBUOne, width),
        "jbu_stack": random_upsampler(JBUStack, width),
        "kernels of jbu_one": f"kernels:{random_upsampler(JBUOne, other_width)}",
        "kernels of jbu_stack": f"kernels:{random_upsampler(JBUStack, other_width)}",
        "published kernels": "simfeatup-kernels",
    }
    clip = load_clip(name)  # and its words are encoded once for all of them
    texts = encode_text(clip, building.load_tokenizer(row.context), Vocabulary.of("road; tree; water"))
    monkeypatch.setattr(building, "load_clip", lambda *_, **__: clip)
    monkeypatch.setattr(building, "encode_text", lambda *_: texts)
    image = np.tile(photo, (4, 4, 1))[:300, :421]
    scores = {}
    for kind, choice in choices.items():
        predictor = load_model(name, "road; tree; water", "cpu", upsampler=choice)
        long_side = 240 if name in PATCHES and kind == "default" else 112  # of more windows than one, or of one
        result = predictor.predict(image, long_side=long_side)
        assert result.labels.shape == (300, 421)
        assert result.scores.shape == (3, 300, 421)
        assert np.isfinite(result.scores).all()
        assert (predictor.model.slide_crop, predictor.model.slide_stride) == (row.size, row.size // 2)
        scores[kind] = predictor.predict(image, long_side=112).scores if long_side != 112 else result.scores
    same = [kind for kind in scores if kind != "default" and np.array_equal(scores[kind], scores["default"])]
    assert same == [own] * (row.upsampler_file is None)
    assert len({values.tobytes() for values in scores.values()}) == len(scores) - len(same)


def test_a_name_takes_its_own_mean(cache, monkeypatch, photo):  # noqa: F811
    """LAION's L/14 alone was trained with 0.5; its pair in a config takes OpenAI's as all do."""
    path = put(CLIPS["openclip-vit-l14"], cache, monkeypatch)
    own, by_path = (
        load_model(model, "road; tree", "cpu", architecture=architecture)
        for model, architecture in (("openclip-vit-l14", None), (path, "ViT-L-14"))
    )
    assert own.statistics == ((127.5,) * 3, (127.5,) * 3)
    assert by_path.statistics == resolve(("OpenCLIP", "ViT-L/14")).statistics == STATISTICS
    pixel = torch.full((1, 3, 1, 1), 255.0)
    assert torch.equal(normalise(pixel, own.statistics), torch.ones(1, 3, 1, 1))
    assert own.with_classes("sea; hill").with_threshold(0.1).statistics == own.statistics
    first, second = (one.predict(photo, long_side=100).scores for one in (own, by_path))
    assert np.abs(first - second).max() > 1e-5


def test_a_stand_in_is_no_published_file(cache, monkeypatch):  # noqa: F811
    """Of another length it is as good as not there; of that length its hash tells."""
    row = CLIPS["remoteclip-vit-b32"]
    path = cache / row.file.name
    save(row, path)
    size = path.stat().st_size
    with pytest.raises(UserError, match=rf"not complete: {size:,} bytes"):
        load_clip(row.name)
    monkeypatch.setitem(CLIPS, row.name, replace(row, file=replace(row.file, size=size)))
    with pytest.raises(UserError, match=rf"is damaged: its SHA-256 is {sha256_of(path)}, expected 60014e395d"):
        load_clip(row.name)


def test_a_file_without_a_known_hash_must_be_whole(cache):  # noqa: F811
    """A hash is known of half of them; of the others a half-downloaded copy is told by its length or its end."""
    row = CLIPS["skyclip-vit-b32"]
    path = cache / row.file.name
    save(row, path)
    assert weights.find(row.file) == path
    path.write_bytes(path.read_bytes()[:-100])
    assert weights.find(row.file) is None
    georsclip = CLIPS["georsclip-vit-b32"].file
    (cache / georsclip.name).write_bytes(bytes(1000))
    assert weights.find(georsclip) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", r"damaged or incomplete|is damaged"),
        ("text", r"not a file of weights at all"),
        ("other", r"they are of a CLIP for images of 224 pixels \(14 × 14 patches\)"),
        ("upsampler", r"the weights of .* do not fit: they lack"),
        ("missing", r"unknown model"),
    ],
)
def test_files_that_are_something_else(cache, damage, message):  # noqa: F811
    """By path: half of one, a web page, those of another row, an upsampler, none."""
    path = cache / "mine.pt"
    row = CLIPS["openclip-vit-b32"]
    save(CLIPS["openclip-vit-b16"] if damage == "other" else row, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "text":
        path.write_text("<html>")
    elif damage == "upsampler":
        path = cache / UPSAMPLER_FILES["xclip_jbu_one_million_aid"].name
    elif damage == "missing":
        path = Path("none.pt")
    with pytest.raises(UserError, match=message):
        load_clip(path, "ViT-B-32")


def test_an_upsampler_of_another_width(cache, monkeypatch, tmp_path):  # noqa: F811
    put(CLIPS["clip-vit-b16"], cache, monkeypatch)
    save_file(JBUOne(32, radius=1).state_dict(), tmp_path / "up.safetensors")
    with pytest.raises(UserError, match="was made for features of width 32, this CLIP gives 64"):
        load_model("clip-vit-b16", "road; tree", "cpu", upsampler=tmp_path / "up.safetensors")
