"""From the download of each of the 17 sets to a folder that was checked, and the downloads that are refused."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segearth.datasets import DATASETS, archives, describe, labels, prepare
from segearth.datasets.check import check
from segearth.datasets.convert import cuts
from segearth.datasets.description import Windows
from segearth.datasets.guide import guide
from segearth.errors import UserError
from segearth.vocabulary import Vocabulary

ROOT = Path(__file__).parents[1]


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PREPARE, CHECK = tool("prepare_dataset"), tool("check_dataset")


def values(of, size, seed):
    """Blocks of all values on disk (H, W) uint8; the ignored one as well where a palette can say it."""
    rng = np.random.default_rng(seed)
    known = np.array(sorted({*of.lookup.values()} if of.encoding == "palette" else of.values), np.uint8)
    small = rng.choice(known, (9, 11))
    small.flat[: len(known)] = known
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, small.shape, strict=True))
    return small[np.ix_(rows, columns)]


def encoded(of, truth) -> Image.Image:
    if of.encoding == "palette":
        colours = {value: colour for colour, value in reversed(of.colours)}
        table = np.zeros((256, 3), np.uint8)
        for value, colour in colours.items():
            table[value] = colour
        return Image.fromarray(table[truth])
    if of.encoding == "binary" and not of.any_value:
        truth = truth * np.uint8(255)
    return Image.fromarray(truth)


def size_of(of, i):
    if of.windows is None:
        return (64, 80)
    h, w = of.windows.size
    return (h + 24, w + 8) if i else (h - 40, w)


def download(of, folder: Path, archive: bool = True, change=None):
    """Draws the examples of a set in its published layout; gives the true values by key."""
    truth, packed = {}, {}
    for i, example in enumerate(of.examples):
        size, key = size_of(of, i), of.key.format(**example)
        rng = np.random.default_rng(100 + i)
        coarse = rng.integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), np.uint8)
        picture = Image.fromarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]])
        truth[key] = (np.asarray(picture), values(of, size, i))
        for kind, image in ((of.images, picture), (of.labels[0], encoded(of, truth[key][1]))):
            buffer = io.BytesIO()
            suffix = kind.types[0]
            image.save(buffer, {".tif": "TIFF", ".jpg": "JPEG", ".png": "PNG"}[suffix])
            packed.setdefault(kind.archive, {})[kind.member(example)] = buffer.getvalue()
    if of.split_files:
        lines = "".join(f"{example['stem']}.tif\n" for example in of.examples) + "xbd_1.tif\n"
        packed[of.images.archive][of.images.inside + "val.txt"] = lines.encode()
    for name, content in packed.items():
        content = (change or (lambda c: c))(content)
        content[f"{next(iter(content)).rpartition('/')[0]}/Thumbs.db".lstrip("/")] = b"junk"
        target = folder / name
        if not name or not archive:
            for member, data in content.items():
                (folder / member).parent.mkdir(parents=True, exist_ok=True)
                (folder / member).write_bytes(data)
        elif name.endswith(".tar.gz"):
            with tarfile.open(target, "w:gz") as tar:
                for member, data in content.items():
                    info = tarfile.TarInfo(f"./{member}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(target, "w") as file:
                for member, data in content.items():
                    file.writestr(member, data)
                    file.writestr(f"__MACOSX/{member}", b"junk")
    return truth


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def made(name, source, root, **options):
    return prepare.prepare(describe(name), [source], root, quiet=True, **options)


@pytest.fixture
def small(tmp_path):
    """Three pairs of LoveDA as an extracted folder."""
    download(DATASETS["loveda"], tmp_path / "dl", archive=False)
    return tmp_path / "dl"


# ---- all sets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_download_prepare_check(name, tmp_path, capsys):
    of = DATASETS[name]
    (tmp_path / "dl").mkdir()
    truth = download(of, tmp_path / "dl")
    data = tmp_path / "data"
    assert PREPARE.main([name, str(tmp_path / "dl"), "-o", str(data), "-j", "1"]) == 0
    written = set()
    for key, (pixels, label) in truth.items():
        for stem, w in cuts(key, label.shape, of.windows):
            written.add(stem)
            image = Image.open(data / of.out_images / f"{stem}{of.image_suffix}")
            result = Image.open(data / of.out_labels / f"{stem}{of.label_suffix}")
            assert (image.mode, result.mode, image.size) == ("RGB", "L", result.size)
            h, wd = label.shape
            expected = np.full((w.bottom - w.top, w.right - w.left), of.ignore, np.uint8)
            part = label[w.top : min(w.bottom, h), w.left : min(w.right, wd)]
            expected[: part.shape[0], : part.shape[1]] = part
            wrong = np.asarray(result) != expected
            # blocks that JPEG blurs are not cut exactly where they were drawn, the values are 0 and 1 all the same
            assert wrong.mean() < (0.02 if ".jpg" in of.labels[0].types else 1e-9)
            if of.image_suffix.lower() != ".jpg":
                shown = np.asarray(image)[: part.shape[0], : part.shape[1]]
                assert (shown == pixels[w.top : w.bottom, w.left : w.right]).all()
                assert not np.asarray(image)[part.shape[0] :].any()
    assert {p.name.removesuffix(of.image_suffix) for p in (data / of.out_images).iterdir()} == written
    assert {p.name.removesuffix(of.label_suffix) for p in (data / of.out_labels).iterdir()} == written
    manifest = json.loads((data / of.folder / "manifest.json").read_text())
    assert (manifest["complete"], manifest["images"], manifest["pairs"]) == (False, len(written), 3)
    assert not list(data.rglob("*.part*"))
    assert CHECK.main([name, "--data-root", str(data)]) == 0
    captured = capsys.readouterr()
    assert f"expected {of.expected[0]}" in captured.err
    assert "error" not in captured.err
    with Image.open(data / of.folder / "contact_sheet.jpg") as sheet:
        assert sheet.width >= 800
    before = tree(data)
    again = tmp_path / "again"
    assert PREPARE.main([name, str(tmp_path / "dl"), "-o", str(again), "-j", "1", "--strict"]) == 1
    assert not again.exists()
    assert tree(data) == before


@pytest.mark.parametrize("name", DATASETS)
def test_configs_read_what_is_written(name):
    pytest.importorskip("mmengine")
    from mmengine.config import Config

    of = DATASETS[name]
    config = Config.fromfile(ROOT / f"configs/cfg_{name}.py")
    dataset, model = config.test_dataloader.dataset, config.model
    assert dataset.data_prefix == {"img_path": f"data/{of.out_images}", "seg_map_path": f"data/{of.out_labels}"}
    assert dataset.type == of.dataset_class
    assert (model.prob_thd, model.get("bg_idx", 0), model.cls_token_lambda) == (
        of.prob_thd,
        of.bg_idx,
        of.cls_token_lambda,
    )
    assert Path(model.name_path).name == of.prompts
    assert len(Vocabulary.from_file(ROOT / "configs" / of.prompts)) == len(of.classes)


@pytest.mark.parametrize("name", DATASETS)
def test_classes_are_registered(name):
    from segearth.openmmlab import require

    require()
    from mmseg.registry import DATASETS as REGISTRY

    import segearth.openmmlab.datasets  # noqa: F401

    of = DATASETS[name]
    assert tuple(REGISTRY.get(of.dataset_class).METAINFO["classes"]) == of.classes
    assert [tuple(c) for c in REGISTRY.get(of.dataset_class).METAINFO["palette"]] == list(of.palette)


def test_official_names_of_sat_ii(tmp_path):
    from segearth.openmmlab.config import _find_data

    (tmp_path / "WHU_Sat_II/test/image").mkdir(parents=True)
    theirs = Path("data/WHU_Sat_II/Satellite_dataset_Ⅱ_East_Asia/1.cropped/test/image")
    assert _find_data(theirs, "img_path", Path("c.py"), tmp_path) == tmp_path / "WHU_Sat_II/test/image"


def test_journal_prompts():
    for name in ("potsdam", "vaihingen"):
        lines = (ROOT / f"configs/cls_{name}_journal.txt").read_text().splitlines()
        assert lines == ["road", "building", "grass", "tree", "car", "clutter,background"]
        assert f"cls_{name}_journal.txt" in (ROOT / f"configs/cfg_{name}_journal.py").read_text()


def test_guide_is_current():
    assert (ROOT / "dataset_prepare.md").read_text(encoding="utf-8") == guide(), (
        "run: python -m segearth.datasets.guide > dataset_prepare.md"
    )


def test_real_loveda_pairs(test_data, tmp_path):
    samples = test_data / "samples/LoveDA"
    if not samples.is_dir():
        pytest.skip(f"{samples} is not there")
    with zipfile.ZipFile(tmp_path / "Val.zip", "w") as file:
        for i, scene in enumerate(("Rural", "Urban")):
            file.write(samples / f"img_dir/val/{i}.png", f"Val/{scene}/images_png/{i}.png")
            file.write(samples / f"ann_dir/val/{i}.png", f"Val/{scene}/masks_png/{i}.png")
    made("loveda", tmp_path / "Val.zip", tmp_path / "data")
    for kind in ("img_dir", "ann_dir"):
        for i in range(2):
            mine, theirs = (Image.open(p / f"{kind}/val/{i}.png") for p in (tmp_path / "data/LoveDA", samples))
            assert (np.asarray(mine) == np.asarray(theirs)).all()


# ---- windows ----------------------------------------------------------------------------------------------


def stated(length, size, stride):
    length = max(length, size)
    starts = [s for s in range(0, length, stride) if s + size <= length]
    return starts + ([length - size] if starts[-1] + size < length else [])


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([d for d in DATASETS.values() if d.windows]))
def test_windows_follow_the_rule(height, width, of):
    (h, w), (dy, dx) = of.windows.size, of.windows.stride
    found = [window for _, window in cuts("k", (height, width), of.windows)]
    assert found == [(y, y + h, x, x + w) for y in stated(height, h, dy) for x in stated(width, w, dx)]
    assert len({stem for stem, _ in cuts("k", (height, width), of.windows)}) == len(found)


def test_window_counts_and_names():
    for name, sizes in (("potsdam", DATASETS["potsdam"].sizes * 14), ("vaihingen", DATASETS["vaihingen"].sizes)):
        of = DATASETS[name]
        assert len(sizes) == len(of.keys)
        assert sum(len(list(cuts("k", size, of.windows))) for size in sizes) == of.expected[0]
    assert len(list(cuts("k", (5000, 5000), DATASETS["inria"].windows))) * 27 == 675
    uavid = DATASETS["uavid"]
    assert [len(list(cuts("k", size, uavid.windows))) for size in uavid.sizes] == [6, 8]
    assert next(cuts("2_13", (600, 700), DATASETS["potsdam"].windows))[0] == "2_13_0_0_512_512"
    assert list(cuts("P1", (900, 896), DATASETS["iSAID"].windows))[1][0] == "P1_4_900_0_896"
    assert list(cuts("a", (1, 600), Windows((512, 512), (512, 512), "{left}")))[1][0] == "88"


# ---- labels -----------------------------------------------------------------------------------------------


def label(name, image, tmp_path, suffix=".png"):
    path = tmp_path / f"label{suffix}"
    image.save(path)
    member = archives.Member(str(path), path.name, 0, path)
    return labels.read_label(member, DATASETS[name], (image.height, image.width))


def test_label_modes(tmp_path):
    truth = np.arange(5, dtype=np.uint8).reshape(1, 5)
    palette = Image.fromarray(truth)
    palette.putpalette([200, 10, 10, 10, 200, 10, 5, 5, 5, 90, 90, 90, 7, 8, 9])
    assert palette.mode == "P"
    assert (label("udd5", palette, tmp_path)[0] == truth).all()
    coloured = Image.fromarray(np.array([DATASETS["udd5"].palette], np.uint8))
    assert (label("udd5", coloured, tmp_path)[0] == truth).all()
    reordered = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    reordered.putpalette([0, 63, 0, 0, 0, 0, 0, 100, 155])
    assert label("iSAID", reordered, tmp_path)[0].tolist() == [[3, 0, 15]]
    for top, expected in ((1, [[0, 1]]), (255, [[0, 1]])):
        assert label("xBD", Image.fromarray(np.array([[0, top]], np.uint8)), tmp_path)[0].tolist() == expected
        assert label("inria", Image.fromarray(np.array([[0, top]], np.uint8)), tmp_path)[0].tolist() == expected
    assert label("whu_aerial", Image.fromarray(np.array([[False, True]])), tmp_path)[0].tolist() == [[0, 1]]
    noisy = Image.new("L", (16, 16), 1)
    assert label("wbs-si", noisy, tmp_path, ".jpg")[0].max() == 0


def test_unknown_colours_are_ignored_and_counted(tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[0, 0] = (1, 2, 3)
    found, unknown = label("iSAID", Image.fromarray(pixels), tmp_path)
    assert (found[0, 0], unknown, int((found == 255).sum())) == (255, 1, 1)
    # equal sums 2B + 3G + 4R are no equal colours
    pixels[:] = (0, 170, 0)
    with pytest.raises(UserError, match=r"100.0% of the pixels .*\(0, 170, 0\)"):
        label("potsdam", Image.fromarray(pixels), tmp_path)


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("udd5", np.full((4, 4), 5, np.uint8), "label values 5: expected 0 to 4"),
        ("loveda", np.full((4, 4, 3), (1, 2, 3), np.uint8), "coloured label"),
        ("inria", np.full((4, 4, 3), (255, 0, 0), np.uint8), "coloured label"),
        ("inria", np.full((4, 4), 7, np.uint8), "values up to 7"),
        ("vaihingen", np.full((4, 4, 3), (128, 64, 128), np.uint8), "no class of ISPRS Vaihingen"),
        ("vdd", np.full((4, 4), 300, np.uint16), "expected 8 bits"),
    ],
)
def test_labels_of_another_set(tmp_path, name, pixels, message):
    with pytest.raises(UserError, match=message):
        label(name, Image.fromarray(pixels), tmp_path)


def test_polygons_of_xbd(tmp_path):
    of = DATASETS["xBD"]
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    stem = of.examples[0]["stem"]
    Image.new("RGB", (40, 30)).save(tmp_path / f"images/{stem}.png")
    ring = "POLYGON ((2.2 3.4, 10 3, 10 8, 2 8, 2.2 3.4), (4 4, 5 4, 5 5, 4 4))"
    (tmp_path / f"labels/{stem}.json").write_text(json.dumps({"features": {"xy": [{"wkt": ring}]}}))
    done = made("xBD", tmp_path, tmp_path / "data")
    result = np.asarray(Image.open(tmp_path / "data" / of.out_labels / f"{stem}.png"))
    assert (result[3:9, 2:11] == 1).all()
    assert result.sum() == 54
    assert "JSON polygons" in done.manifest["warnings"][0]


def test_a_large_label(tmp_path):
    """13,000 × 13,000 pixels: no limit of Pillow in the way, and less than 3 GB."""
    code = (
        "import sys, resource\nfrom pathlib import Path\nfrom PIL import Image\n"
        "from segearth.datasets import DATASETS, archives, labels\n"
        "path = Path(sys.argv[1])\nimage = Image.new('RGB', (13000, 13000), (0, 63, 255))\n"
        "image.save(path, compress_level=1); del image\n"
        "member = archives.Member(str(path), '', 0, path)\n"
        "found, unknown = labels.read_label(member, DATASETS['iSAID'], (13000, 13000))\n"
        "assert found.shape == (13000, 13000) and unknown == 0 and (found == 6).all()\n"
        "assert Image.MAX_IMAGE_PIXELS == 89478485\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "P0001.png")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(out.stdout) * (1 if sys.platform == "darwin" else 1024) < 3e9


def test_a_picture_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MAX_PIXELS", 100)
    with pytest.raises(UserError, match="larger than 100 pixels"):
        label("loveda", Image.new("L", (20, 20)), tmp_path)


# ---- archives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "C:\\out.png", "a/../../out.png"])
def test_paths_that_point_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "Val.zip", "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(UserError, match="points outside"):
        archives.members([tmp_path / "Val.zip"])
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UserError, match="points outside"):
        archives.members([tmp_path / "a.tar"])


def test_links(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="holds a link"):
        archives.members([tmp_path / "a.zip"])
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(UserError, match="holds a link"):
        archives.members([tmp_path / "a.tar"])


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("big.png", bytes(5000))
    with pytest.raises(UserError, match="claims 5,000 bytes"):
        archives.members([tmp_path / "a.zip"])


def test_gbk_names(tmp_path):
    path = "Satellite dataset Ⅱ (East Asia)/test/image/1.tif"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("x" * len(path.encode("gbk")))
        file.writestr(info, b"1")
    data = (tmp_path / "a.zip").read_bytes().replace(info.filename.encode(), path.encode("gbk"))
    (tmp_path / "a.zip").write_bytes(data)
    (member,), _ = archives.members([tmp_path / "a.zip"])
    assert member.below.endswith(path)
    assert member.open().read() == b"1"


# ---- bad downloads ----------------------------------------------------------------------------------------


MISTAKES = {
    "label missing": (lambda d: (d / "Val/Rural/masks_png/2522.png").unlink(), "1 of 3 images have no label: 2522"),
    "image missing": (lambda d: (d / "Val/Rural/images_png/2522.png").unlink(), "1 of 3 labels have no image: 2522"),
    "no labels": (lambda d: [p.unlink() for p in d.rglob("masks_png/*.png")], "no labels of LoveDA"),
    "wrong split": (lambda d: (d / "Val").rename(d / "Train"), "This is LoveDA's Train.zip"),
    "nothing": (lambda d: (d / "Val").rename(d / "Other"), "no images or labels of LoveDA among the 6 files"),
    "size": (
        lambda d: Image.new("L", (9, 9), 1).save(d / "Val/Rural/masks_png/2522.png"),
        "is 9 × 9, its image 80 × 64",
    ),
    "damaged": (lambda d: (d / "Val/Rural/images_png/2522.png").write_bytes(b"x"), "damaged or no image"),
    "cut off": (
        lambda d: (p := (d / "Val/Rural/images_png/2522.png")).write_bytes(p.read_bytes()[:-400]),
        "damaged or no image",
    ),
    "other palette": (
        lambda d: Image.new("RGB", (80, 64), (128, 64, 128)).save(d / "Val/Rural/masks_png/2522.png"),
        "coloured label",
    ),
    "16 bits": (
        lambda d: Image.fromarray(np.zeros((64, 80), np.uint16)).save(d / "Val/Rural/images_png/2522.png"),
        "not an 8-bit RGB image",
    ),
    "clash": (
        lambda d: [next((d / "Val/Urban" / k).iterdir()).rename(d / "Val/Urban" / k / "2522.png") for k in
                   ("images_png", "masks_png")],
        "two different files for 2522",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_bad_downloads(small, tmp_path, capsys, case):
    change, message = MISTAKES[case]
    change(small)
    code = PREPARE.main(["loveda", str(small), "-o", str(tmp_path / "data"), "-j", "1"])
    err = capsys.readouterr().err
    last = err.splitlines()[-1]
    assert code == 1
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in err
    assert not (tmp_path / "data").exists()


def test_truncated_zip_and_7z(tmp_path, capsys):
    (tmp_path / "dl").mkdir()
    download(DATASETS["loveda"], tmp_path / "dl")
    archive = tmp_path / "dl/Val.zip"
    archive.write_bytes(archive.read_bytes()[:-200])
    assert PREPARE.main(["loveda", str(archive), "-o", str(tmp_path / "data")]) == 1
    assert "incomplete or damaged: compare its size and checksum" in capsys.readouterr().err
    (tmp_path / "a.7z.001").write_bytes(b"7z")
    assert PREPARE.main(["inria", str(tmp_path / "a.7z.001"), "-o", str(tmp_path / "data")]) == 1
    assert f"7z x '{tmp_path}/a.7z.001' -o'{tmp_path}/a'" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_rotated_photo(tmp_path):
    of = DATASETS["udd5"]
    download(of, tmp_path, archive=False)
    photo = next(tmp_path.rglob("*.JPG"))
    exif = Image.Exif()
    exif[274] = 6
    Image.open(photo).save(photo, "JPEG", exif=exif)
    with pytest.raises(UserError, match="EXIF orientation 6.*exiftool"):
        made("udd5", tmp_path / "UDD", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_udd6_instance_masks_and_boundaries(tmp_path):
    for path in ("UDD6/val/src/a.JPG", "UDD6/val/gt/a.png"):
        (tmp_path / "u" / path).parent.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "u" / path)
    with pytest.raises(UserError, match="This is UDD6"):
        made("udd5", tmp_path / "u", tmp_path / "data")
    (tmp_path / "i/images").mkdir(parents=True)
    for name in ("P0003.png", "P0003_instance_id_RGB.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "i/images" / name)
    with pytest.raises(UserError, match="instance masks"):
        made("iSAID", tmp_path / "i", tmp_path / "data")
    (tmp_path / "p").mkdir()
    for name in ("top_potsdam_2_13_RGB.tif", "top_potsdam_2_13_label.tif", "top_potsdam_2_13_RGBIR.tif"):
        Image.new("RGB", (9, 9), (255, 0, 0)).save(tmp_path / "p" / name)
    done = made("potsdam", tmp_path / "p", tmp_path / "data")
    assert any("boundary pixels" in text for text in done.manifest["warnings"])
    assert (np.asarray(Image.open(tmp_path / "data/potsdam/ann_dir/val/2_13_0_0_512_512.png"))[:9, :9] == 6).all()


def test_gray_and_transparent_images_become_rgb(tmp_path):
    for stem, mode in (("P0003", "L"), ("P0004", "RGBA")):
        Image.new(mode, (896, 896)).save((tmp_path / stem).with_suffix(".png"))
        Image.new("RGB", (896, 896)).save(tmp_path / f"{stem}_instance_color_RGB.png")
    (tmp_path / "images").mkdir()
    for path in tmp_path.glob("*.png"):
        path.rename(tmp_path / "images" / path.name)
    made("iSAID", tmp_path / "images", tmp_path / "data")
    images = list((tmp_path / "data/iSAID/img_dir/val").iterdir())
    assert len(images) == 2
    assert {(Image.open(p).mode, Image.open(p).format) for p in images} == {("RGB", "PNG")}


def test_full_disk(small, tmp_path, monkeypatch):
    saved = Image.Image.save

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="No space left on device.*free some space"):
        made("loveda", small, tmp_path / "data")
    monkeypatch.setattr(Image.Image, "save", saved)
    assert not (tmp_path / "data").exists()


def test_files_of_others_are_not_touched(small, tmp_path):
    mine = tmp_path / "data/LoveDA/img_dir/val/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match="not written by this tool, such as mine.png"):
        made("loveda", small, tmp_path / "data")
    assert list(tree(tmp_path / "data")) == ["LoveDA/img_dir/val/mine.png"]


def test_wrong_command_lines(tmp_path, capsys):
    assert PREPARE.main(["nothing", str(tmp_path)]) == 2
    assert PREPARE.main(["loveda", str(tmp_path / "nowhere")]) == 2
    assert CHECK.main(["loveda", "--data-root", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("error: ") == 3
    assert CHECK.main(["loveda", "--data-root", str(tmp_path)]) == 1


# ---- again, after a kill, in several processes ------------------------------------------------------------


def test_runs_again_at_any_level_and_in_several_processes(small, tmp_path):
    made("loveda", small, tmp_path / "a")
    first = tree(tmp_path / "a")
    made("loveda", small, tmp_path / "a")
    assert tree(tmp_path / "a") == first
    made("loveda", small / "Val", tmp_path / "b", jobs=2)
    assert tree(tmp_path / "b") == first


@pytest.mark.parametrize("point", range(10))
def test_killed_and_started_again(small, tmp_path, point):
    made("loveda", small, tmp_path / "whole")
    # ends the process, as a kill does, before the n-th change of the file system that is renamed in place
    code = (
        "import os, sys, pathlib\nfrom segearth.datasets import DATASETS, prepare\n"
        "count = [int(sys.argv[3])]\n"
        "def hooked(name):\n"
        "    real = getattr(pathlib.Path, name)\n"
        "    def act(self, *a, **k):\n"
        "        count[0] -= 1\n"
        "        if count[0] < 0: os.kill(os.getpid(), 9)\n"
        "        return real(self, *a, **k)\n"
        "    setattr(pathlib.Path, name, act)\n"
        "hooked('replace'); hooked('rename')\n"
        "prepare.prepare(DATASETS['loveda'], [pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]), quiet=True)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, small, out, str(point)], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    made("loveda", small, out)
    assert tree(out) == tree(tmp_path / "whole")


def test_worker_ends_with_its_parent(tmp_path):
    code = (
        "import os, pathlib, sys, time\nfrom segearth.datasets import prepare\n"
        "if __name__ == '__main__':\n"
        "    for pid in prepare._parallel(prepare_test_work.work, [1, 2], 2):\n"
        "        print(pid, flush=True)\n        os.kill(os.getpid(), 9)\n"
    ).replace("import os,", "import prepare_test_work, os,", 1)
    (tmp_path / "prepare_test_work.py").write_text(
        "import os, time\ndef work(n):\n    time.sleep(0.3)\n    return os.getpid()\n",
        encoding="utf-8",
    )
    (tmp_path / "main.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    out = subprocess.run([sys.executable, tmp_path / "main.py"], env=env, capture_output=True, text=True, check=False)
    pid = int(out.stdout.split()[0])
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker still runs")


# ---- the check --------------------------------------------------------------------------------------------


def test_check_finds_defects(small, tmp_path):
    of, data = DATASETS["loveda"], tmp_path / "data"
    made("loveda", small, data)
    folder = data / of.out_labels
    assert check(of, data, quiet=True).errors == []
    for path in folder.iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8)).save(path)
    assert any("nothing but 0 and 1" in text for text in check(of, data, quiet=True).warnings)
    Image.new("L", (80, 64), 9).save(folder / "2522.png")
    Image.new("L", (8, 6), 1).save(folder / "2523.png")
    (folder / "3514.png").unlink()
    errors = " ".join(check(of, data, quiet=True).errors)
    for part in ("no label", "another size", "values other than 1 to 7 and 0: 2522.png"):
        assert part in errors
