"""From a drawn download of each of the sets to a checked folder, every pixel compared with what was drawn."""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from preparing import CHECK, PREPARE, SAMPLE, tree

from segearth.datasets import DATASETS
from segearth.datasets.convert import cuts
from segearth.datasets.samples import NOTICE, draw_sample
from segearth.datasets.samples.extras import encoded
from segearth.datasets.samples.things import THINGS

FORMATS = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG", ".JPG": "JPEG"}


def expected_windows(spec, pairs):
    """The stem, image and label of everything that should be written, padded where a window ends beyond the image."""
    for key, pair in pairs.items():
        for stem, w in cuts(key, pair.values.shape, spec.windows):
            image = np.zeros((w.bottom - w.top, w.right - w.left, 3), np.uint8)
            label = np.full(image.shape[:2], spec.ignore, np.uint8)
            part = pair.values[w.top : w.bottom, w.left : w.right]
            label[: part.shape[0], : part.shape[1]] = part
            image[: part.shape[0], : part.shape[1]] = pair.image[w.top : w.bottom, w.left : w.right]
            yield stem, image, label


@pytest.mark.parametrize("name", DATASETS)
def test_download_prepare_check(name, sample, tmp_path, capsys):
    spec, data = DATASETS[name], tmp_path / "data"
    source, pairs = sample(name)
    assert PREPARE.main([name, str(source), "-o", str(data), "-j", "1"]) == 0
    stems = set()
    for stem, pixels, label in expected_windows(spec, pairs):
        stems.add(stem)
        path = data / spec.out_images / f"{stem}{spec.image_suffix}"
        with Image.open(path) as image, Image.open(data / spec.out_labels / f"{stem}{spec.label_suffix}") as result:
            assert (image.mode, result.mode) == ("RGB", "L")
            assert (image.format, result.format) == (FORMATS[spec.image_suffix], FORMATS[spec.label_suffix[-4:]])
            np.testing.assert_array_equal(np.asarray(result), label)
            if spec.image_suffix.lower() == ".jpg":  # copied as it is
                assert path.read_bytes() == encoded(Image.fromarray(pixels), ".jpg")
            else:
                np.testing.assert_array_equal(np.asarray(image), pixels)
    for folder, suffix in ((spec.out_images, spec.image_suffix), (spec.out_labels, spec.label_suffix)):
        assert {path.name for path in (data / folder).iterdir()} == {stem + suffix for stem in stems}
    manifest = json.loads((data / spec.folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["complete"], manifest["images"], manifest["pairs"]) == (False, len(stems), 3)
    assert manifest["unknown_pixels"] == (10 if name == "iSAID" else 0)
    counted = np.bincount(np.concatenate([pair.values.ravel() for pair in pairs.values()]))
    assert manifest["label_pixels"] == {str(value): int(counted[value]) for value in np.flatnonzero(counted)}
    assert not list(data.rglob("*.part*"))
    assert CHECK.main([name, "--data-root", str(data)]) == 0
    captured = capsys.readouterr()
    assert f"expected {spec.expected[0]}" in captured.err
    assert "error" not in captured.err
    with Image.open(data / spec.folder / "contact_sheet.jpg") as sheet:
        assert sheet.width >= 800
    assert PREPARE.main([name, str(source), "-o", str(tmp_path / "again"), "-j", "1", "--strict"]) == 1
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", DATASETS)
def test_samples_show_every_class_and_say_what_they_are(name, sample):
    spec = DATASETS[name]
    source, pairs = sample(name)
    assert list(pairs) == [spec.key.format(**example) for example in spec.examples]
    shown = set(np.unique(np.concatenate([pair.values.ravel() for pair in pairs.values()])).tolist())
    assert set(spec.values) <= shown <= {*spec.values, spec.ignore}
    for pair in pairs.values():
        assert pair.image.shape == (*pair.values.shape, 3)
        assert pair.image.std() > 20
    assert "not the data set" in (source / NOTICE).read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_bytes(sample, tmp_path):
    for name in ("xBD", "wbs-si"):  # a tar, a zip
        draw_sample(DATASETS[name], tmp_path / name)
        assert tree(tmp_path / name) == tree(sample(name)[0])
    draw_sample(DATASETS["wbs-si"], tmp_path / "wbs-si", seed=1)
    assert tree(tmp_path / "wbs-si") != tree(sample("wbs-si")[0])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="zipfile reads names in other encodings since 3.11")
def test_names_of_sat_ii_are_in_gbk(sample):
    """As a Chinese Windows writes them, without the mark of UTF-8."""
    (archive,) = sample("whu_sat_II")[0].glob("*.zip")
    with zipfile.ZipFile(archive, metadata_encoding="gbk") as file:
        assert all(info.flag_bits & 0x800 == 0 for info in file.infolist())
        assert sum(name.startswith("Satellite dataset Ⅱ (East Asia)/1. ") for name in file.namelist()) == 10


def test_things_are_those_of_the_sets():
    assert set(THINGS) == {name for spec in DATASETS.values() for name in spec.classes if name in THINGS}


def test_the_tool(tmp_path, capsys):
    assert SAMPLE.main(["UDD5", "-o", str(tmp_path / "out"), "--extracted"]) == 0
    assert "not the data sets" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["udd5"]
    assert (tmp_path / "out/udd5/UDD/UDD5/val/src/DJI_0285.JPG").is_file()
    assert SAMPLE.main(["none", "-o", str(tmp_path / "out")]) == 2
    assert "expected one of" in capsys.readouterr().err
    (tmp_path / "wbs-si").mkdir()
    (tmp_path / "wbs-si/mine").touch()
    assert SAMPLE.main(["wbs-si", "-o", str(tmp_path)]) == 2
    assert "something other than a drawn sample" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "wbs-si").iterdir()] == ["mine"]
