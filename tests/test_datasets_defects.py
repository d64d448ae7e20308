"""One test for each defect of the usual converters: it fails on a converter that has it."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_datasets import CHECK, PREPARE, ROOT, download, label, made, tree

from segearth.datasets import DATASETS, archives, prepare
from segearth.datasets.convert import cuts
from segearth.datasets.guide import guide
from segearth.datasets.labels import histogram
from segearth.errors import UserError


@pytest.mark.parametrize("name", ["iSAID", "uavid"])
def test_labels_are_gray_and_keep_their_values(name, tmp_path):
    """Defect: mode P without a palette, which new versions of Pillow save with one bit a pixel."""
    of = DATASETS[name]
    for kind, pixels in ((of.images, None), (of.labels[0], np.array([c for c, _ in of.colours], np.uint8))):
        path = tmp_path / "dl" / (kind.path.format(**of.examples[0]) + kind.types[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.zeros((4, len(of.colours), 3), np.uint8) if pixels is None else np.tile(pixels, (4, 1, 1))
        Image.fromarray(picture).save(path)
    made(name, tmp_path / "dl", tmp_path / "data")
    (result,) = (tmp_path / "data" / of.out_labels).iterdir()
    with Image.open(result) as image:
        assert image.mode == "L"
        found = np.asarray(image)
    assert (found[:4, : len(of.colours)] == [value for _, value in of.colours]).all()


def test_masks_of_wbs_si_are_not_jpeg(tmp_path):
    """Defect: 0/1 labels saved as JPEG, which come back as 0, 1 and 2."""
    of = DATASETS["wbs-si"]
    download(of, tmp_path / "dl", archive=False)
    made(of.name, tmp_path / "dl", tmp_path / "data")
    for path in (tmp_path / "data" / of.out_labels).iterdir():
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            assert set(np.unique(np.asarray(image))) <= {0, 1}


@pytest.mark.parametrize(
    "name", ["whu_aerial", "whu_sat_II", "xBD", "udd5", "vdd", "wbs-si", "massachusetts_road", "spacenet_road"]
)
def test_images_are_written_beside_labels(name, tmp_path):
    """Defect: no converter, or one for labels only; images had to be renamed by hand."""
    of = DATASETS[name]
    download(of, tmp_path / "dl", archive=False)
    made(name, tmp_path / "dl", tmp_path / "data")
    images = {p.name.removesuffix(of.image_suffix) for p in (tmp_path / "data" / of.out_images).iterdir()}
    assert images == {p.name.removesuffix(of.label_suffix) for p in (tmp_path / "data" / of.out_labels).iterdir()}
    assert len(images) == 3


@pytest.mark.parametrize("name", ["inria", "chn6-cug"])
def test_any_level_of_the_download_is_found(name, tmp_path, capsys):
    """Defect: the documented input folder is wrong: 0 files and "Done!", or FileNotFoundError."""
    of = DATASETS[name]
    download(of, tmp_path / "dl", archive=False)
    inner = next(p for p in (tmp_path / "dl").rglob("*") if p.name in ("images", "gt")).parent
    wanted = None
    for i, level in enumerate((inner, *inner.parents)):
        if level == tmp_path:
            break
        made(name, level, tmp_path / str(i))
        wanted = wanted or tree(tmp_path / str(i))
        assert tree(tmp_path / str(i)) == wanted
    (tmp_path / "empty").mkdir()
    assert PREPARE.main([name, str(tmp_path / "empty"), "-o", str(tmp_path / "data")]) == 1
    assert "expected files like" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["inria", "chn6-cug", "deepglobe_road", "whu_aerial", "xBD", "wbs-si"])
def test_the_default_output_is_where_the_config_reads(name, tmp_path, monkeypatch):
    """Defect: the default -o differs from the config's path."""
    pytest.importorskip("mmengine")
    from mmengine.config import Config

    download(DATASETS[name], tmp_path / "dl", archive=False)
    monkeypatch.chdir(tmp_path)
    assert PREPARE.main([name, "dl", "-j", "1"]) == 0
    for folder in Config.fromfile(ROOT / f"configs/cfg_{name}.py").test_dataloader.dataset.data_prefix.values():
        assert any(Path(folder).iterdir())


@pytest.mark.parametrize("name", ["udd5", "loveda", "whu_sat_II", "wbs-si"])
def test_one_folder_name_everywhere(name):
    """Defect: folder names in the document, the config and the archive disagree."""
    of = DATASETS[name]
    config = (ROOT / f"configs/cfg_{name}.py").read_text(encoding="utf-8").replace('folder + "', f'"data/{of.folder}')
    for folder in (of.out_images, of.out_labels):
        assert f"`data/{folder}`" in guide()
        assert f"data/{folder}" in config


@pytest.mark.parametrize("name", ["potsdam", "vaihingen", "inria", "iSAID", "uavid"])
def test_windows_cover_every_pixel(name):
    """Defects: strides without effect, gaps, negative windows of small tiles, a pad test that misses equality."""
    of = DATASETS[name]
    h, w = of.windows.size
    for size in ((h, w), (h - 1, w), (h, w - 96), (h + 1, w + 1), (2 * h + 5, 3 * w), (1, 1)):
        seen = np.zeros((max(size[0], h), max(size[1], w)), np.uint8)
        stems = []
        for stem, window in cuts("k", size, of.windows):
            assert min(window) >= 0
            assert (window.bottom - window.top, window.right - window.left) == (h, w)
            seen[window.top : window.bottom, window.left : window.right] = 1
            stems.append(stem)
        assert seen.all()
        assert len(set(stems)) == len(stems)
        assert not any("-" in stem for stem in stems)


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_colours_with_equal_sums_are_told_apart(name, tmp_path):
    """Defect: colours hashed as 2B + 3G + 4R."""
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[0, 0] = (0, 170, 0)  # 510, as blue has
    found, unknown = label(name, Image.fromarray(pixels), tmp_path)
    assert (found.max(), unknown) == (0, 1)


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_only_the_right_archives_and_tiles(name, tmp_path):
    """Defects: all zips are taken in the order of the disk; unknown tiles go to val."""
    of = DATASETS[name]
    download(of, tmp_path)
    made(name, tmp_path, tmp_path / "a")
    known, other = of.examples[0], {"stem": "2_10"} if name == "potsdam" else {"area": "9"}
    with zipfile.ZipFile(tmp_path / "0_more.zip", "w") as file:
        for kind in (*of.labels, of.images):
            file.writestr(kind.member(other), b"not even an image")
        file.writestr(of.labels[1].member(known), b"nor is this")
        file.writestr("top_potsdam_2_13_RGBIR.tif", b"nor is this")
    made(name, tmp_path, tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize("name", ["iSAID", "uavid"])
def test_images_are_what_their_suffix_says(name, tmp_path):
    """Defects: BMP content in .png files, width and height crosswise."""
    of = DATASETS[name]
    (tmp_path / "dl").mkdir()
    download(of, tmp_path / "dl")
    made(name, tmp_path / "dl", tmp_path / "data")
    for path in (tmp_path / "data" / of.out_images).iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.size == of.windows.size[::-1]


def test_class_0_of_openearthmap_is_scored():
    """Defect: the docstring says that 0 is ignored; it is scored."""
    of = DATASETS["openearthmap"]
    assert (of.ignore, of.values[0], len(of.values)) == (255, 0, 9)
    assert "Class 0" in guide()


@pytest.mark.parametrize("name", [n for n, one in DATASETS.items() if one.encoding == "binary"])
def test_stray_files_and_missing_labels_of_masks(name, tmp_path):
    """Defects: every file of a folder is read; missing or unreadable ones end in a crash."""
    of = DATASETS[name]
    download(of, tmp_path / "dl", archive=False)
    suffix = of.labels[0].types[0]
    masks = [
        p for p in (tmp_path / "dl").rglob(f"*{suffix}") if of.pattern(of.labels[0].path, (suffix,)).search(str(p))
    ]
    for stray in ("Thumbs.db", ".DS_Store", "a.tfw", "._1.png"):
        (masks[0].parent / stray).write_bytes(b"junk")
    made(name, tmp_path / "dl", tmp_path / "data")
    masks[0].unlink()
    with pytest.raises(UserError, match=r"1 of 3 images have no label"):
        made(name, tmp_path / "dl", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_counts_are_checked_and_other_splits_left_alone(tmp_path, capsys):
    """Defects: no count check, whole archives extracted, not re-runnable."""
    of = DATASETS["chn6-cug"]
    (tmp_path / "dl").mkdir()
    download(of, tmp_path / "dl")
    with zipfile.ZipFile(tmp_path / "dl/CHN6-CUG.zip", "a") as file:
        file.writestr("CHN6-CUG/train/images/x_sat.jpg", b"not even an image")
    for _ in range(2):
        assert PREPARE.main([of.name, str(tmp_path / "dl"), "-o", str(tmp_path / "data"), "-j", "1"]) == 0
        assert "3 images of CHN6-CUG: expected 903" in capsys.readouterr().err
    assert len(list((tmp_path / "data").rglob("*"))) == 3 + 3 + 5 + 0
    assert CHECK.main([of.name, "--data-root", str(tmp_path / "data")]) == 0


def test_a_one_bit_label_is_read_as_it_is(tmp_path):
    """Defect of our own: 1 became 255, ignored."""
    found, _ = label("iSAID", Image.fromarray(np.array([[False, True]])), tmp_path)
    assert found.tolist() == [[0, 1]]


@pytest.mark.parametrize("above", ["train", "test", "images"])
@pytest.mark.parametrize("name", ["whu_aerial", "xBD", "chn6-cug", "inria"])
def test_folders_above_the_download_do_not_matter(name, above, tmp_path):
    """Defect: kinds and splits taken from anywhere in the path."""
    folder = tmp_path / above
    folder.mkdir()
    download(DATASETS[name], folder)
    (archive,) = folder.iterdir()
    assert made(name, archive, tmp_path / "data").manifest["pairs"] == 3


def test_damaged_xz(tmp_path):
    """The error of lzma is of a kind of its own."""
    (tmp_path / "a").write_bytes(np.random.default_rng(0).bytes(300_000))
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "a", "images/a.png")
    data = bytearray((tmp_path / "a.tar.xz").read_bytes())
    data[150_000:150_050] = bytes(50)
    (tmp_path / "a.tar.xz").write_bytes(data)
    with pytest.raises(UserError, match="incomplete or damaged"):
        archives.members([tmp_path / "a.tar.xz"])


def test_two_runs_at_once(tmp_path):
    """The second one is refused, and does no harm to the first."""
    of = DATASETS["loveda"]
    download(of, tmp_path / "dl", archive=False)
    with prepare._staging(tmp_path / "data" / of.folder, of.name) as staging:
        with pytest.raises(UserError, match="another run prepares this set"):
            made("loveda", tmp_path / "dl", tmp_path / "data")
        assert staging.is_dir()
    assert not (tmp_path / "data").exists()
    made("loveda", tmp_path / "dl", tmp_path / "data")


def test_histogram():
    labels = np.random.default_rng(0).integers(0, 256, (700, 9)).astype(np.uint8)
    assert (histogram(labels) == np.bincount(labels.ravel(), minlength=256)).all()
