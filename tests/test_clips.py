"""The table of CLIPs and the one resolver: names, pairs of configs, paths, addresses of the hub, plug-ins."""

import re
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import open_clip
import pytest
import torch

from segearth import clips, plugins
from segearth.architectures import build_clip, clip_config, config_of
from segearth.clip_names import sizes_of
from segearth.clips import CLIPS, STATISTICS, Spec, known, register, resolve, resolving
from segearth.errors import UserError, UserNotice
from segearth.files import File, Packaged

QUICK = {"CLIP", "MetaCLIP"}  # whose pairs the official code builds with quick GELU; all others with the exact one
# By our names: what the weights were trained with. The rest of a family that is not named here is exact.
TRAINED_QUICK = {
    *("clip-vit-b32", "clip-vit-b16", "clip-vit-l14", "clip-vit-l14-336"),
    *("metaclip-vit-b32", "metaclip-vit-b16", "metaclip-vit-l14", "metaclip-vit-h14"),
    *("georsclip-vit-b32", "georsclip-vit-l14", "georsclip-vit-l14-336", "skyclip-vit-l14"),
}
DIFFERENT = {"georsclip-vit-b32", "georsclip-vit-l14", "georsclip-vit-l14-336", "skyclip-vit-l14", "openclip-vit-l14"}


@pytest.fixture
def table(monkeypatch) -> dict[str, Spec]:
    """A table that a test may add to."""
    own = dict(CLIPS)
    for module in (clips, resolving):
        monkeypatch.setattr(module, "CLIPS", own)
    return own


def test_families():
    towers: dict[str, list[str]] = {}
    for row in CLIPS.values():
        towers.setdefault(row.family, []).append(row.vit_type.removeprefix("ViT-"))
    assert towers == {
        "CLIP": ["B/32", "B/16", "L/14", "L/14@336"],
        "OpenCLIP": ["B/32", "B/16", "L/14", "H/14"],
        "DataComp": ["B/32", "B/16", "L/14"],
        "MetaCLIP": ["B/32", "B/16", "L/14", "H/14"],
        "RemoteCLIP": ["B/32", "L/14"],
        "GeoRSCLIP": ["B/32", "L/14", "L/14@336", "H/14"],
        "SkyCLIP": ["B/32", "L/14"],
        "ALIP": ["B/32"],
        "tiny": ["tiny"],
    }


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "tiny"])
def test_which_activation_each_route_takes(name):
    """A name: that of the training; a pair of a config: that of the official code. Both are what open_clip builds."""
    row = resolve(name)
    pair = resolve((row.family, row.vit_type))
    assert (row.activation == "quick GELU") == (name in TRAINED_QUICK)
    assert (pair.activation == "quick GELU") == (row.family in QUICK)
    for spec in (row, pair):
        assert clip_config(spec.architecture).get("quick_gelu", False) == (spec.activation == "quick GELU")
    assert pair.statistics == STATISTICS
    assert (pair.name, pair.file, pair.trained) == (name, row.file, row)


@pytest.mark.parametrize("name", CLIPS)
def test_where_the_routes_differ_it_is_said(name):
    row = resolve(name)
    pair = resolve((row.family, row.vit_type))
    same = (row.architecture, row.statistics) == (pair.architecture, pair.statistics)
    assert same == (not row.difference) == (name not in DIFFERENT)
    assert pair.remark == row.remark
    assert ("as the official code does; the name" in row.remark) == (not same)


def test_mean_and_deviation_are_open_clips_own():
    """Of what open_clip knows: OpenAI's to the thousandth of a grey level that the official code has, LAION's L/14."""
    for name, tag in (
        ("clip-vit-b16", "openai"),
        ("openclip-vit-b32", "laion2b_s34b_b79k"),
        ("openclip-vit-b16", "laion2b_s34b_b88k"),
        ("openclip-vit-l14", "laion2b_s32b_b82k"),
        ("openclip-vit-h14", "laion2b_s32b_b79k"),
        ("datacomp-vit-l14", "datacomp_xl_s13b_b90k"),
        ("metaclip-vit-h14", "metaclip_fullcc"),
    ):
        row = resolve(name)
        theirs = open_clip.get_pretrained_cfg(row.architecture.removesuffix("-quickgelu"), tag)
        for ours, values in zip(row.statistics, (theirs["mean"], theirs["std"]), strict=True):
            assert ours == pytest.approx([255 * value for value in values], abs=5.1e-4)
        assert row.file.hub[0] == theirs["hf_hub"].rstrip("/")


@pytest.mark.parametrize("architecture", sorted({row.architecture for row in CLIPS.values()}))
def test_names_and_shapes_on_the_meta_device(architecture):
    """Patch, width, size and context of each row are those of its tensors, and so is the length of its file."""
    rows = [row for row in CLIPS.values() if row.architecture == architecture]
    with torch.device("meta"):
        state = build_clip(config_of(rows[0]), architecture).state_dict()
    sizes = sizes_of(state)
    float32 = 4 * sum(tensor.numel() for tensor in state.values())
    for row in rows:
        assert (row.patch, row.width, row.size, row.context) == (
            *(sizes.patch_size, sizes.embed_dim, sizes.image_size, sizes.context_length),
        )
        size = row.file.size or row.file.about_size if isinstance(row.file, File) else 0
        assert not size or abs(size / float32 - 1) < 0.003


@pytest.mark.parametrize("spelling", ["ViT-B/32", "ViT-B-32", "vit_b_32", "B/32", "ViT-B32", " vit-b/32"])
def test_spellings_of_a_pair(spelling):
    assert resolve(("RemoteCLIP", spelling)).name == resolve(("remoteclip", spelling)).name == "remoteclip-vit-b32"


def test_other_spellings():
    for spelling in ("ViT-L/14@336", "ViT-L-14-336", "ViT-L/14@336px"):
        assert resolve(("CLIP", spelling)).name == "clip-vit-l14-336"
    assert resolve(("tiny", "tiny")).name == "tiny"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("remoteclip-b32", r"unknown model 'remoteclip-b32'.*did you mean remoteclip-vit-b32\?"),
        ("huge", r"'huge'.*clip-vit-b16, .*tiny.*segearth weights list"),
        (("RemoteCLIP", "ViT-B/16"), r"vit_type='ViT-B/16': expected one of ViT-B/32, ViT-L/14 of this"),
        (("BLIP", "large"), r"clip_type='BLIP'.*\(BLIP's towers are not CLIP's.*change the config"),
        (("Foo", "ViT-B/16"), r"expected one of these pairs: CLIP with ViT-B/32, ViT-B/16.*tiny with tiny"),
        (("CLIP", ""), r"vit_type=''"),
        ("hf://owner/file", r"is no address of a file on the hub"),
        ("hf://o/r/../../x", r"is no address of a file on the hub"),
        ("https://example.org/w.pt", r"is an address"),
        (3, r"model 3: expected a name"),
    ],
)  # fmt: skip
def test_what_cannot_be_resolved(asked, message):
    with pytest.raises(UserError, match=message):
        resolve(asked)


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.pt").touch()
    spec = resolve("mine.pt", "ViT-L-14-quickgelu")
    assert (spec.name, spec.file, spec.architecture) == ("mine.pt", Path("mine.pt"), "ViT-L-14-quickgelu")
    assert (spec.own, spec.activation, spec.upsampler, spec.remark) == (True, "quick GELU", "bilinear", "")
    assert resolve(spec) is spec
    assert resolve(Path("mine.pt"), "x.json").activation == ""
    with pytest.raises(UserError, match="mine.pt.* is a file: tell its architecture, too"):
        resolve("mine.pt")
    with pytest.raises(UserError, match="architecture ViT-B-32: the model tiny has its own"):
        resolve("tiny", "ViT-B-32")
    Path("RemoteCLIP-ViT-B-32.pt").touch()
    with pytest.raises(UserError, match="as the file of remoteclip-vit-b32 it is ViT-B-32"):
        resolve("RemoteCLIP-ViT-B-32.pt")
    Path("tiny").touch()
    assert isinstance(resolve("tiny").file, Packaged)  # a name is a name


def test_addresses_of_the_hub():
    spec = resolve("hf://laion/CLIP-x/sub/open_clip_model.safetensors", "ViT-B-32")
    assert spec.file.address.endswith("/laion/CLIP-x/resolve/main/sub/open_clip_model.safetensors")
    assert spec.file.name == "laion--CLIP-x--sub--open_clip_model.safetensors"
    pinned = resolve("hf://laion/CLIP-x@0123abc/w.pt", "ViT-B-32").file
    assert pinned.address.endswith("/laion/CLIP-x/resolve/0123abc/w.pt")
    assert pinned.name != resolve("hf://laion/CLIP-x/w.pt", "ViT-B-32").file.name
    with pytest.raises(UserError, match="tell its architecture, too"):
        resolve("hf://laion/CLIP-x/w.pt")


MINE = Spec(
    name="mine-vit-b16",
    family="Mine",
    vit_type="ViT-B/16",
    architecture="ViT-B-16",
    file=File("mine.safetensors", hub=("me/mine", "open_clip_model.safetensors"), licence="MIT"),
    patch=16,
    width=512,
    size=224,
)


@pytest.mark.usefixtures("table")
def test_a_clip_is_one_row():
    register(MINE)
    register(MINE)  # a module that is imported twice
    assert resolve("mine-vit-b16") is MINE
    assert resolve(("mine", "ViT-B-16")).architecture == "ViT-B-16"
    for row in (
        replace(MINE, family="Other"),
        replace(MINE, name="other"),
        replace(MINE, name="other", family="clip", vit_type="ViT-B-16"),
    ):
        with pytest.raises(UserError, match="has the name or the pair of"):
            register(row)
    with pytest.raises(UserError, match="lacks patch, width or size"):
        register(replace(MINE, name="other", patch=0))


@pytest.mark.parametrize("value", ["ROW", "rows"])
@pytest.mark.usefixtures("table")
def test_a_plug_in_gives_rows(monkeypatch, tmp_path, value):
    """An entry point of a package that is installed: a row, or a function that gives some."""
    (tmp_path / "plugged.py").write_text("from test_clips import MINE as ROW\ndef rows():\n    return [ROW]\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(name, f"plugged:{thing}", "segearth.clips") for name, thing in (("bad", "none"), ("p", value))]
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints(points if group == "segearth.clips" else []))
    resolving._load_plug_ins.cache_clear()
    try:
        with pytest.warns(UserNotice, match=r"plug-in bad cannot be used .*cannot be loaded \(AttributeError"):
            assert known()["mine-vit-b16"] == MINE
    finally:
        resolving._load_plug_ins.cache_clear()


def test_hashes_are_hashes():
    for row in CLIPS.values():
        sha256 = row.file.sha256
        assert sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256)
    known_hashes = [row.file.sha256 for row in CLIPS.values() if row.file.sha256]
    assert len(set(known_hashes)) == len(known_hashes) == 12


def test_addresses_of_the_hub_have_files_of_their_own():
    addresses = ("hf://o/n@v1/w.pt", "hf://o/n/v1/w.pt", "hf://o/n/v1--w.pt", "hf://o/n-/w.pt")
    assert len({resolve(address, "ViT-B-16").file.name for address in addresses}) == len(addresses)


def test_a_file_with_the_name_of_a_row_does_not_pass_as_that(tmp_path):
    (tmp_path / "clip-vit-b16").touch()
    assert resolve(str(tmp_path / "clip-vit-b16"), "ViT-L-14").name == str(tmp_path / "clip-vit-b16")
