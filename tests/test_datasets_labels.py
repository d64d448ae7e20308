"""Label files of every kind as class indices."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparing import made, read
from test_tiff import sparse

from segearth.datasets import DATASETS, archives, convert, labels
from segearth.datasets.samples.extras import band_tiff
from segearth.errors import UserError


def test_label_modes(tmp_path):
    truth = np.arange(5, dtype=np.uint8).reshape(1, 5)
    palette = Image.fromarray(truth)
    palette.putpalette([200, 10, 10, 10, 200, 10, 5, 5, 5, 90, 90, 90, 7, 8, 9])
    assert palette.mode == "P"
    assert (read("udd5", palette, tmp_path)[0] == truth).all()
    coloured = Image.fromarray(np.array([DATASETS["udd5"].palette], np.uint8))
    assert (read("udd5", coloured, tmp_path)[0] == truth).all()
    reordered = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    reordered.putpalette([0, 63, 0, 0, 0, 0, 0, 100, 155])
    assert read("iSAID", reordered, tmp_path)[0].tolist() == [[3, 0, 15]]
    for top, expected in ((1, [[0, 1]]), (255, [[0, 1]])):
        assert read("xBD", Image.fromarray(np.array([[0, top]], np.uint8)), tmp_path)[0].tolist() == expected
        assert read("inria", Image.fromarray(np.array([[0, top]], np.uint8)), tmp_path)[0].tolist() == expected
    assert read("whu_aerial", Image.fromarray(np.array([[False, True]])), tmp_path)[0].tolist() == [[0, 1]]
    edge = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))
    assert read("whu_aerial", edge, tmp_path)[0].tolist() == [[0, 0, 1, 1]]
    noisy = Image.new("L", (16, 16), 1)
    assert read("wbs-si", noisy, tmp_path, ".jpg")[0].max() == 0
    with pytest.raises(UserError, match="values up to 100: expected a mask of 0 and 255"):
        read("wbs-si", Image.new("L", (16, 16), 100), tmp_path, ".jpg")


def test_unknown_colours_are_ignored_and_counted(tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[0, 0] = (1, 2, 3)
    found, unknown = read("iSAID", Image.fromarray(pixels), tmp_path)
    assert (found[0, 0], unknown, int((found == 255).sum())) == (255, 1, 1)
    # equal sums 2B + 3G + 4R are no equal colours
    pixels[:] = (0, 170, 0)
    with pytest.raises(UserError, match=r"100.0% of the pixels .*\(0, 170, 0\)"):
        read("potsdam", Image.fromarray(pixels), tmp_path)


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
        read(name, Image.fromarray(pixels), tmp_path)


def test_polygons_of_xbd(tmp_path):
    spec = DATASETS["xBD"]
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    stem = spec.examples[0]["stem"]
    Image.new("RGB", (40, 30)).save(tmp_path / f"images/{stem}.png")
    ring = "POLYGON ((2.2 3.4, 10 3, 10 8, 2 8, 2.2 3.4), (4 4, 5 4, 5 5, 4 4))"
    (tmp_path / f"labels/{stem}.json").write_text(json.dumps({"features": {"xy": [{"wkt": ring}]}}))
    done = made("xBD", tmp_path, tmp_path / "data")
    result = np.asarray(Image.open(tmp_path / "data" / spec.out_labels / f"{stem}.png"))
    assert (result[3:9, 2:11] == 1).all()
    assert result.sum() == 54
    assert "JSON polygons" in done.manifest["warnings"][0]


def test_a_picture_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MAX_PIXELS", 100)
    with pytest.raises(UserError, match="larger than 100 pixels"):
        read("loveda", Image.new("L", (20, 20)), tmp_path)


def tiny_bomb(path: Path) -> archives.Member:
    """A PNG of few bytes that claims 15,000 × 15,000 RGB pixels."""
    Image.new("RGB", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 15_000, 15_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return archives.Member(str(path), path.name, len(data), path)


def test_a_file_that_lies_about_its_size_is_not_decoded(tmp_path):
    member = tiny_bomb(tmp_path / "a.png")
    for read_it in (labels.image_size, labels.label_size):
        with pytest.raises(UserError, match=r"a.png claims 15000 × 15000 pixels in \d\d bytes"):
            read_it(member)


def test_a_map_that_is_larger_than_pillows_limit_is_written_and_read(tmp_path, monkeypatch):
    """The limit of our own is another."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    convert._write_label(tmp_path / "a.png", np.full((30, 30), 3, np.uint8))
    with labels.opened(archives.Member("a", "a", 0, tmp_path / "a.png")) as image:
        assert np.asarray(image).tolist() == [[3] * 30] * 30
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_sparse_label_is_not_the_head_of_its_file(tmp_path):
    """GDAL may leave out tiles of zeros; Pillow reads what lies at place 0 in their stead."""
    path = sparse(tmp_path / "a.tif", np.ones((32, 32), np.uint8), tile=(16, 16))
    member = archives.Member("a.tif", "a.tif", 0, path)
    with pytest.raises(UserError, match=r"a\.tif is a sparse TIFF, .* gdal_translate -co SPARSE_OK=FALSE"):
        labels.read_label(member, DATASETS["udd5"], (32, 32))


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_documents_that_start_other_programs_are_no_images(tmp_path, monkeypatch, name):
    """Pillow hands EPS to Ghostscript."""
    monkeypatch.setattr("subprocess.check_call", pytest.fail)
    (tmp_path / name).write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%BeginProlog\n%%EndProlog\nshowpage\n%%EOF\n"
    )
    member = archives.Member(name, name, 0, tmp_path / name)
    with pytest.raises(UserError, match=f"{name} is damaged or no image: expected a PNG, TIFF, JPEG or BMP file"):
        labels.image_size(member)


def test_damaged_exif_says_nothing_of_the_pixels(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert labels.image_size(archives.Member("a", "a", 0, tmp_path / "a.jpg")) == (6, 8)


def test_classes_that_are_not_scored_become_ignored(tmp_path):
    """FLAIR #1 has 19 classes, of which 12 are evaluated."""
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    found, unknown = read("flair1", Image.fromarray(values), tmp_path, ".tif")
    assert (found == np.where(values > 12, 0, values)).all()
    assert unknown == 0
    with pytest.raises(UserError, match=r"label values 20: expected 1 to 12 \(or 0, 13, 14, .*19, ignored\)"):
        read("flair1", Image.fromarray(values + 1), tmp_path, ".tif")


@pytest.mark.parametrize("bands", [5, 6])
def test_images_of_five_bands(tmp_path, bands):
    """They are red, green and blue first; other numbers of bands are of another set."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, bands), np.uint8)
    path = tmp_path / "a.tif"
    path.write_bytes(band_tiff(pixels))
    member = archives.Member(str(path), path.name, 0, path)
    if bands == 6:
        with pytest.raises(UserError, match="no image"):
            labels.image_size(member, 5)
        return
    assert labels.image_size(member, 5) == (6, 7)
    with labels.opened(member, bands=5) as image:
        assert (np.asarray(image.convert("RGB")) == pixels[..., :3]).all()
    with pytest.raises(UserError, match="no image"):
        labels.image_size(member)
    Image.fromarray(pixels[..., :3]).save(path)  # a copy without the other bands
    assert labels.image_size(member, 5) == (6, 7)
