"""The check of a prepared folder finds what would make an evaluation wrong."""

from __future__ import annotations

import numpy as np
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
