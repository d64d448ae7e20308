"""Images that are nearly all padding are told, as figures on them say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparing import CHECK, PREPARE, made

from segearth.datasets import DATASETS, padding
from segearth.datasets.check import check
from segearth.errors import UserError


def inria(folder: Path, side: int) -> Path:
    """One gray tile of that side, with a label."""
    for kind, mode in (("images", "RGB"), ("gt", "L")):
        (folder / "train" / kind).mkdir(parents=True)
        Image.new(mode, (side, side), (90,) * 3 if mode == "RGB" else 255).save(folder / "train" / kind / "austin1.tif")
    return folder


def test_tiles_that_are_nearly_all_padding(tmp_path, capsys):
    """Windows of 1000 × 1000 around images of 300 × 300; of 320 × 320 there is enough."""
    spec, data = DATASETS["inria"], tmp_path / "data"
    assert PREPARE.main(["inria", str(inria(tmp_path / "dl", 300)), "-o", str(data), "-j", "1"]) == 0
    said = "1 of 1 images are over 90% black, such as austin1_0_0_1000_1000"
    assert f"warning: {said}: expected the published images, such as of 5000 × 5000" in capsys.readouterr().err
    assert "smaller than 1000 × 1000 is padded" in " ".join(check(spec, data, quiet=True).warnings)
    assert CHECK.main(["inria", "--data-root", str(data)]) == 0
    assert f"warning: {said}.png" in capsys.readouterr().err
    enough = made("inria", inria(tmp_path / "larger", 320), tmp_path / "out")
    assert not any("black" in warning for warning in enough.manifest["warnings"])
    assert not any("black" in warning for warning in check(spec, tmp_path / "out", quiet=True).warnings)


def test_photographs_that_are_copied(tmp_path):
    for kind, suffix, mode in (("Images", "jpg", "RGB"), ("Masks", "jpg", "L")):
        (tmp_path / "dl" / kind).mkdir(parents=True)
        Image.new(mode, (64, 64)).save(tmp_path / "dl" / kind / f"water_body_8.{suffix}")
    (warning,) = [w for w in made("wbs-si", tmp_path / "dl", tmp_path / "out").manifest["warnings"] if "black" in w]
    assert warning.startswith("1 of 1 images are over 90% black, such as water_body_8")


def test_a_warning_is_an_error_where_that_is_asked_for(tmp_path):
    for kind, mode in (("image", "RGB"), ("label", "L")):
        (tmp_path / "dl/val" / kind).mkdir(parents=True)
        Image.new(mode, (512, 512)).save(tmp_path / "dl/val" / kind / "0.tif")
    with pytest.raises(UserError, match="strict.*: 1 of 1 images are over 90% black"):
        made("whu_aerial", tmp_path / "dl", tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


def test_few_black_images_are_none_of_our_business():
    spec = DATASETS["iSAID"]
    assert padding.black_warning(spec, ["a"] * 10, 100) is None
    assert "11 of 100" in (padding.black_warning(spec, ["a"] * 11, 100) or "")
    image = np.full((10, 10, 3), 255, np.uint8)
    image[:9] = 0
    assert not padding.is_black(Image.fromarray(image))
    image[9, 0] = 0
    assert padding.is_black(Image.fromarray(image))
