"""Bad downloads: one sentence that says what to do, and nothing written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from preparing import PREPARE, made

from segearth.errors import UserError

MISTAKES = {
    "label missing": (lambda d: (d / "Val/Rural/masks_png/2522.png").unlink(), "1 of 3 images have no label: 2522"),
    "image missing": (lambda d: (d / "Val/Rural/images_png/2522.png").unlink(), "1 of 3 labels have no image: 2522"),
    "no labels": (lambda d: [p.unlink() for p in d.rglob("masks_png/*.png")], "no labels of LoveDA"),
    "wrong split": (lambda d: shutil.rmtree(d / "Val"), "This is LoveDA's Train.zip"),
    "nothing": (
        lambda d: [shutil.rmtree(d / split) for split in ("Train", "Val")],
        "no images or labels of LoveDA among the 2 files",
    ),
    "size": (
        lambda d: Image.new("L", (9, 9), 1).save(d / "Val/Rural/masks_png/2522.png"),
        "is 9 × 9, its image 320 × 320",
    ),
    "damaged": (lambda d: (d / "Val/Rural/images_png/2522.png").write_bytes(b"x"), "damaged or no image"),
    "cut off": (
        lambda d: (p := (d / "Val/Rural/images_png/2522.png")).write_bytes(p.read_bytes()[:-400]),
        "2522.png is damaged (image file is truncated)",
    ),
    "other palette": (
        lambda d: Image.new("RGB", (320, 320), (128, 64, 128)).save(d / "Val/Rural/masks_png/2522.png"),
        "coloured label",
    ),
    "16 bits": (
        lambda d: Image.fromarray(np.zeros((320, 320), np.uint16)).save(d / "Val/Rural/images_png/2522.png"),
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


def test_truncated_zip(sample, tmp_path, capsys):
    archive = tmp_path / "Val.zip"
    archive.write_bytes((sample("loveda")[0] / "Val.zip").read_bytes()[:-200])
    assert PREPARE.main(["loveda", str(archive), "-o", str(tmp_path / "data")]) == 1
    assert "incomplete or damaged: compare its size and checksum" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "command"), [("a.7z.001", "7z x '{0}/a.7z.001' -o'{0}/a'"), ("a.rar", "unrar x '{0}/a.rar' '{0}/a/'")]
)
def test_archives_that_other_programs_unpack(tmp_path, capsys, name, command):
    """Given by name, and found in a folder without the set's files."""
    (tmp_path / name).write_bytes(b"an archive")
    for source in (tmp_path / name, tmp_path):
        assert PREPARE.main(["inria", str(source), "-o", str(tmp_path / "data")]) == 1
        assert command.format(tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_another_sets_download(sample, tmp_path, capsys):
    source = sample("vaihingen", extracted=True)[0]
    assert PREPARE.main(["potsdam", str(source), "-o", str(tmp_path / "data")]) == 1
    assert "no images or labels of ISPRS Potsdam" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_rotated_photo(sample, tmp_path):
    source = shutil.copytree(sample("udd5", extracted=True)[0], tmp_path / "dl")
    photo = source / "UDD/UDD5/val/src/DJI_0285.JPG"
    exif = Image.Exif()
    exif[274] = 6
    Image.open(photo).save(photo, "JPEG", exif=exif)
    with pytest.raises(UserError, match="DJI_0285.JPG has the EXIF orientation 6.*exiftool"):
        made("udd5", source, tmp_path / "data")
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


def test_vaihingens_labels_without_their_folder(tmp_path):
    """Images and labels with boundaries have the same names."""
    for name in ("top/top_mosaic_09cm_area2.tif", "labels/top_mosaic_09cm_area2.tif"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    with pytest.raises(UserError, match="in one called ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"):
        made("vaihingen", tmp_path, tmp_path / "data")


def test_copies_are_told_apart_by_their_content(tmp_path):
    """Uncompressed files are all of one size, so that a size says nothing."""
    for release, value in (("a", 0), ("b", 255)):
        for kind, mode in (("image", "RGB"), ("label", "L")):
            folder = tmp_path / "dl" / release / "val" / kind
            folder.mkdir(parents=True)
            Image.new(mode, (512, 512), value if mode == "L" else (value,) * 3).save(folder / "0.tif")
    with pytest.raises(UserError, match="two different files for 0"):
        made("whu_aerial", tmp_path / "dl", tmp_path / "out")
    shutil.rmtree(tmp_path / "dl/b")
    shutil.copytree(tmp_path / "dl/a", tmp_path / "dl/copy")
    assert made("whu_aerial", tmp_path / "dl", tmp_path / "out").manifest["images"] == 1


def test_images_of_other_splits_may_lie_there_in_any_state(sample, tmp_path):
    """Two different releases of a training tile are no reason to refuse the tiles of the split."""
    source, pairs = sample("potsdam", extracted=True)
    shutil.copytree(source, tmp_path / "dl")
    for i, folder in enumerate(("x", "y")):
        (tmp_path / "dl" / folder).mkdir()
        Image.new("RGB", (60 + i, 60)).save(tmp_path / "dl" / folder / "top_potsdam_7_10_label.tif")
    assert made("potsdam", tmp_path / "dl", tmp_path / "out").manifest["pairs"] == len(pairs)
