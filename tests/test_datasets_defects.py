"""One test for each defect of the usual converters: it fails on a converter that has it."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparing import CHECK, PREPARE, ROOT, made, read, tree

from dataset_files import page
from segearth.datasets import DATASETS, archives, prepare
from segearth.datasets.convert import cuts
from segearth.datasets.labels import histogram
from segearth.errors import UserError
from segearth.jobs.folder import open_job


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


def test_masks_of_wbs_si_are_not_jpeg(sample, tmp_path):
    """Defect: 0/1 labels saved as JPEG, which come back as 0, 1 and 2."""
    of = DATASETS["wbs-si"]
    made(of.name, sample(of.name, extracted=True)[0], tmp_path / "data")
    for path in (tmp_path / "data" / of.out_labels).iterdir():
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            assert set(np.unique(np.asarray(image))) <= {0, 1}


@pytest.mark.parametrize(
    "name", ["whu_aerial", "whu_sat_II", "xBD", "udd5", "vdd", "wbs-si", "massachusetts_road", "spacenet_road"]
)
def test_images_are_written_beside_labels(name, sample, tmp_path):
    """Defect: no converter, or one for labels only; images had to be renamed by hand."""
    of = DATASETS[name]
    made(name, sample(name, extracted=True)[0], tmp_path / "data")
    images = {p.name.removesuffix(of.image_suffix) for p in (tmp_path / "data" / of.out_images).iterdir()}
    assert images == {p.name.removesuffix(of.label_suffix) for p in (tmp_path / "data" / of.out_labels).iterdir()}
    assert len(images) == 3


@pytest.mark.parametrize("name", ["inria", "chn6-cug"])
def test_any_level_of_the_download_is_found(name, sample, tmp_path, capsys):
    """Defect: the documented input folder is wrong: 0 files and "Done!", or FileNotFoundError."""
    top = sample(name, extracted=True)[0]
    inner = next(
        path for path in top.rglob("gt") if path.parent.name in ("train", "val") and len(list(path.iterdir())) > 2
    )
    levels = [inner.parent, *(level for level in inner.parents if level.is_relative_to(top))]
    found = []
    for i, level in enumerate(dict.fromkeys(levels)):
        made(name, level, tmp_path / str(i))
        found.append(tree(tmp_path / str(i)))
    assert len(found) > 1
    assert all(each == found[0] for each in found)
    (tmp_path / "empty").mkdir()
    assert PREPARE.main([name, str(tmp_path / "empty"), "-o", str(tmp_path / "data")]) == 1
    assert "expected files like" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["inria", "chn6-cug", "deepglobe_road", "whu_aerial", "xBD", "wbs-si"])
def test_the_default_output_is_where_the_config_reads(name, sample, tmp_path, monkeypatch):
    """Defect: the default -o differs from the config's path."""
    pytest.importorskip("mmengine")
    from mmengine.config import Config

    monkeypatch.chdir(tmp_path)
    assert PREPARE.main([name, str(sample(name)[0]), "-j", "1"]) == 0
    for folder in Config.fromfile(ROOT / f"configs/cfg_{name}.py").test_dataloader.dataset.data_prefix.values():
        assert any(Path(folder).iterdir())


@pytest.mark.parametrize("name", ["udd5", "loveda", "whu_sat_II", "wbs-si"])
def test_one_folder_name_everywhere(name):
    """Defect: folder names in the document, the config and the archive disagree."""
    of = DATASETS[name]
    config = (ROOT / f"configs/cfg_{name}.py").read_text(encoding="utf-8").replace('root + "', f'"data/{of.folder}')
    for folder in (of.out_images, of.out_labels):
        assert f"`data/{folder}`" in page()
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
    found, unknown = read(name, Image.fromarray(pixels), tmp_path)
    assert (found.max(), unknown) == (0, 1)


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_only_the_right_archives_and_tiles(name, sample, tmp_path):
    """Defects: all zips are taken in the order of the disk; unknown tiles go to val.

    The samples have labels with boundaries and images with four bands beside the right ones.
    """
    of = DATASETS[name]
    source, pairs = sample(name)
    other = {"stem": "2_11"} if name == "potsdam" else {"area": "11"}
    with zipfile.ZipFile(tmp_path / "0_more.zip", "w") as file:
        for kind in (*of.labels, of.images):
            file.writestr(kind.member(other), b"not even an image")
        file.writestr("top_potsdam_2_13_IRRG.tif", b"nor is this")
    done = prepare.prepare(of, [tmp_path, source], tmp_path / "data", quiet=True)
    assert {stem.rsplit("_", 4)[0] for stem in done.manifest["stems"]} == set(pairs)
    assert not any("boundary" in warning for warning in done.manifest["warnings"])


@pytest.mark.parametrize("name", ["iSAID", "uavid"])
def test_images_are_what_their_suffix_says(name, sample, tmp_path):
    """Defects: BMP content in .png files, width and height crosswise."""
    of = DATASETS[name]
    made(name, sample(name)[0], tmp_path / "data")
    for path in (tmp_path / "data" / of.out_images).iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.size == of.windows.size[::-1]


def test_class_0_of_openearthmap_is_scored():
    """Defect: the docstring says that 0 is ignored; it is scored."""
    of = DATASETS["openearthmap"]
    assert (of.ignore, of.values[0], len(of.values)) == (255, 0, 9)
    assert "Class 0" in page()


@pytest.mark.parametrize("name", [n for n, one in DATASETS.items() if one.encoding == "binary"])
def test_stray_files_and_missing_labels_of_masks(name, sample, tmp_path):
    """Defects: every file of a folder is read; missing or unreadable ones end in a crash."""
    of = DATASETS[name]
    dl = shutil.copytree(sample(name, extracted=True)[0], tmp_path / "dl")
    member = of.labels[0].member(of.examples[0])
    (mask,) = (path for path in dl.rglob("*") if path.as_posix().endswith(member))
    for stray in ("Thumbs.db", ".DS_Store", "a.tfw", "._1.png"):
        (mask.parent / stray).write_bytes(b"junk")
    assert made(name, dl, tmp_path / "data").manifest["pairs"] == 3
    mask.unlink()
    for file in [*dl.rglob("labels/*.json")]:  # another kind of label would do
        file.unlink()
    with pytest.raises(UserError, match=r"1 of 3 images have no label"):
        made(name, tmp_path / "dl", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_counts_are_checked_and_other_splits_left_alone(sample, tmp_path, capsys):
    """Defects: no count check, whole archives extracted, not re-runnable."""
    of = DATASETS["chn6-cug"]
    shutil.copytree(sample("chn6-cug")[0], tmp_path / "dl")
    with zipfile.ZipFile(tmp_path / "dl/CHN6-CUG.zip", "a") as file:
        file.writestr("CHN6-CUG/train/images/x_sat.jpg", b"not even an image")
    for _ in range(2):
        assert PREPARE.main([of.name, str(tmp_path / "dl"), "-o", str(tmp_path / "data"), "-j", "1"]) == 0
        assert "3 images of CHN6-CUG: expected 903" in capsys.readouterr().err
    assert len(list((tmp_path / "data").rglob("*"))) == 3 + 3 + 5 + 0
    assert CHECK.main([of.name, "--data-root", str(tmp_path / "data")]) == 0


def test_a_one_bit_label_is_read_as_it_is(tmp_path):
    """Defect of our own: 1 became 255, ignored."""
    found, _ = read("iSAID", Image.fromarray(np.array([[False, True]])), tmp_path)
    assert found.tolist() == [[0, 1]]


@pytest.mark.parametrize("above", ["train", "test", "images"])
@pytest.mark.parametrize("name", ["whu_aerial", "xBD", "chn6-cug", "inria"])
def test_folders_above_the_download_do_not_matter(name, above, sample, tmp_path):
    """Defect: kinds and splits taken from anywhere in the path."""
    of = DATASETS[name]
    shutil.copytree(sample(name)[0], tmp_path / above)
    assert made(name, tmp_path / above / of.images.archive, tmp_path / "data").manifest["pairs"] == 3


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


def test_two_runs_at_once(small, tmp_path):
    """The second one is refused, and does no harm to the first."""
    of = DATASETS["loveda"]
    staging = tmp_path / "data" / of.folder / f".{of.name}.part"
    with open_job(staging, {"set": of.name}):
        with pytest.raises(UserError, match=r"another process works on .*loveda\.part: wait until it has ended"):
            made("loveda", small, tmp_path / "data")
        assert staging.is_dir()
    made("loveda", small, tmp_path / "data")


def test_histogram():
    labels = np.random.default_rng(0).integers(0, 256, (700, 9)).astype(np.uint8)
    assert (histogram(labels) == np.bincount(labels.ravel(), minlength=256)).all()
