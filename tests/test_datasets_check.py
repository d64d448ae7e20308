"""The check of a prepared folder finds what would make an evaluation wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from preparing import made

from segearth.datasets import DATASETS
from segearth.datasets.check import check


def test_check_finds_defects(small, tmp_path):
    of, data = DATASETS["loveda"], tmp_path / "data"
    made("loveda", small, data)
    folder = data / of.out_labels
    assert check(of, data, quiet=True).errors == []
    for path in folder.iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8)).save(path)
    assert any("nothing but 0 and 1" in text for text in check(of, data, quiet=True).warnings)
    Image.new("L", (320, 320), 9).save(folder / "2522.png")
    Image.new("L", (8, 6), 1).save(folder / "2523.png")
    (folder / "3514.png").unlink()
    errors = " ".join(check(of, data, quiet=True).errors)
    for part in ("no label", "another size", "values other than 1 to 7 and 0: 2522.png"):
        assert part in errors


def test_a_truncated_photograph_is_found(sample, tmp_path):
    """Its header is whole, and so is its size."""
    of, data = DATASETS["wbs-si"], tmp_path / "data"
    made("wbs-si", sample("wbs-si", extracted=True)[0], data)
    assert check(of, data, quiet=True).errors == []
    photograph = sorted((data / of.out_images).glob("*.jpg"))[0]
    photograph.write_bytes(photograph.read_bytes()[:-200])
    (error,) = check(of, data, quiet=True).errors
    assert photograph.name in error


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_isprs_labels_with_boundaries_are_warned_of(sample, tmp_path, name):
    of, data = DATASETS[name], tmp_path / "data"
    made(name, sample(name, extracted=True)[0], data)
    assert not any("boundaries" in text for text in check(of, data, quiet=True).warnings)
    for path in (data / of.out_labels).iterdir():
        label = np.array(Image.open(path))
        label[label == of.ignore] = 1
        Image.fromarray(label).save(path)
    assert any("labels with boundaries" in text for text in check(of, data, quiet=True).warnings)
