"""Which way something is mapped: as a scene or as a picture."""

import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasters import noise, write

from segearth.errors import UserError, called_as
from segearth.scenes.input_kind import scene_reason


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.bmp", "a.gif", "a.jp2"])
def test_pictures(tmp_path, photo, name):
    Image.fromarray(photo).save(tmp_path / name)
    assert scene_reason(tmp_path / name) is None
    assert scene_reason(str(tmp_path / name)) is None
    assert scene_reason(f"file://{tmp_path / name}") is None


def test_rasters(tmp_path):
    def why(bands=3, dtype="uint8", crs=None, **profile):
        return scene_reason(write(tmp_path / "a.tif", noise(bands, 40, 50, dtype), crs=crs, **profile))

    assert why(4) is None
    assert why(crs="EPSG:32632") == "has the coordinate system EPSG:32632"
    assert why(5) == "has 5 bands"
    assert why(dtype="uint16") == "has samples of the type uint16"
    assert why(dtype="float32") == "has samples of the type float32"
    assert why(1, driver="HFA") == "is of the format HFA"


def test_coordinates_without_a_system(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n100\n200\n")
    assert scene_reason(tmp_path / "a.png") == "has coordinates"


def test_more_pixels_than_pillow_reads(tmp_path, photo, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", photo.size // 3 - 1)
    assert scene_reason(tmp_path / "a.png") == "has 11,700 pixels"


def test_addresses(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    (tmp_path / "a.vrt").write_text("<VRTDataset/>")
    (tmp_path / "item.json").write_text("{}")
    found = {
        address: scene_reason(address)
        for address in (
            "https://example.org/a.png", "s3://bucket/a.tif", "/vsicurl/https://example.org/a.tif",
            f"zip://{tmp_path}/a.zip!b.tif", "<VRTDataset/>", 'NETCDF:"a.nc":red', str(tmp_path / "a.vrt"),
            str(tmp_path / "item.json"),
        )
    }  # fmt: skip
    assert list(found.values()) == [
        *["is an address on a network"] * 3, "is a file within another one", "is XML that describes a raster",
        "is a raster within a file", "is a VRT", "is JSON, as STAC Items are",
    ]  # fmt: skip
    with pytest.raises(UserError, match="unknown scheme ftp://"):
        scene_reason("ftp://example.org/a.tif")


def test_what_cannot_be_opened_is_left_to_whoever_reads_pictures(tmp_path, capfd):
    (tmp_path / "a.tif").write_bytes(b"II*\0 and no more")
    (tmp_path / "b.png").write_bytes(b"")
    for path in (tmp_path / "a.tif", tmp_path / "b.png", tmp_path / "none.tif", tmp_path):
        assert scene_reason(path) is None
    assert capfd.readouterr().err == ""


def test_without_rasterio(tmp_path, photo, monkeypatch):
    here = write(tmp_path / "a.tif", noise(3, 20, 20, np.uint8))
    Image.fromarray(photo).save(tmp_path / "b.tif")
    (tmp_path / "c.tif").write_bytes(b"II*\0 and no more")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with called_as("segearth predict"), pytest.raises(UserError) as refused:
        scene_reason(here)
    assert 'pip install "segearth[geo]"' in str(refused.value)
    assert "--as picture" in str(refused.value)
    with pytest.raises(UserError, match=r"Predictor\.predict"):
        scene_reason(here)
    assert scene_reason(tmp_path / "b.tif") is None
    assert scene_reason(tmp_path / "c.tif") is None
