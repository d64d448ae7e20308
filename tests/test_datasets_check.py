"""The check of a prepared folder finds what would make an evaluation wrong."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from preparing import CHECK, made

from segearth.datasets import DATASETS
from segearth.datasets.check import check
from segearth.errors import UserError


def test_check_finds_defects(small, tmp_path):
    spec, data = DATASETS["loveda"], tmp_path / "data"
    made("loveda", small, data)
    folder = data / spec.out_labels
    assert check(spec, data, quiet=True).errors == []
    for path in folder.iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8)).save(path)
    assert any("nothing but 0 and 1" in text for text in check(spec, data, quiet=True).warnings)
    Image.new("L", (320, 320), 9).save(folder / "2522.png")
    Image.new("L", (8, 6), 1).save(folder / "2523.png")
    (folder / "3514.png").unlink()
    errors = " ".join(check(spec, data, quiet=True).errors)
    for part in ("no label", "another size", "values other than 1 to 7 and 0: 2522.png"):
        assert part in errors


def test_photographs_that_evaluation_refuses_are_found(sample, tmp_path):
    """Truncated ones, whose header is whole, and what is not 8-bit."""
    spec, data = DATASETS["wbs-si"], tmp_path / "data"
    made("wbs-si", sample("wbs-si", extracted=True)[0], data)
    assert check(spec, data, quiet=True).errors == []
    photograph = sorted((data / spec.out_images).glob("*.jpg"))[0]
    photograph.write_bytes(photograph.read_bytes()[:-200])
    (error,) = check(spec, data, quiet=True).errors
    assert photograph.name in error
    size = Image.open(photograph).size[::-1]
    tifffile.imwrite(photograph, np.zeros(size, np.int8))  # Pillow takes it for 8-bit gray; evaluation refuses it
    (error,) = check(spec, data, quiet=True).errors
    assert f"{photograph.name} is a signed 8-bit image" in error


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_isprs_labels_with_boundaries_are_warned_of(sample, tmp_path, name):
    spec, data = DATASETS[name], tmp_path / "data"
    made(name, sample(name, extracted=True)[0], data)
    assert not any("boundaries" in text for text in check(spec, data, quiet=True).warnings)
    for path in (data / spec.out_labels).iterdir():
        label = np.array(Image.open(path))
        label[label == spec.ignore] = 1
        Image.fromarray(label).save(path)
    assert any("labels with boundaries" in text for text in check(spec, data, quiet=True).warnings)


def test_a_contact_sheet_that_cannot_be_written(small, tmp_path, capsys):
    """In the data, which may be somebody else's, it is no fault of theirs; where one is asked for, it is a mistake."""
    data = tmp_path / "data"
    made("loveda", small, data)
    assert CHECK.main(["loveda", "--data-root", str(data), "--sheet", str(tmp_path / "sheet.xyz")]) == 2
    assert "sheet.xyz: expected a name that ends in .jpg or .png" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert CHECK.main(["loveda", "--data-root", str(data), "--sheet", str(tmp_path / "file" / "sheet.jpg")]) == 1
    (data / "LoveDA" / "contact_sheet.jpg").mkdir()
    assert CHECK.main(["loveda", "--data-root", str(data)]) == 0
    assert "--sheet FILE saves it elsewhere" in capsys.readouterr().err


def test_a_file_for_the_data_folder(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write to the output folder .*: expected .*give another folder"):
        made("loveda", small, tmp_path / "file")
