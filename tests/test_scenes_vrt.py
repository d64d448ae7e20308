"""Mosaics: tiles as one raster."""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from processes import forked

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasterio.shutil import copy  # noqa: E402
from rasters import UTM, choose_spec, noise, write  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.scenes.raster import ReadFailed, open_raster  # noqa: E402
from segearth.scenes.vrt import mosaic_vrt  # noqa: E402
from segearth.windows import Window  # noqa: E402

WHOLE = Window(0, 70, 0, 90)
RGB = ["red", "green", "blue"]
MASK = noise(1, 70, 90, "uint8", 0, 2)[0] * 255
COLOURS = {0: (1, 2, 3, 255), 1: (200, 10, 20, 255), 2: (30, 220, 40, 255)}
KINDS = {
    "bytes": {"pixels": noise(3, 70, 90, "uint8"), "colours": RGB},
    "words": {"pixels": noise(4, 70, 90, "uint16"), "descriptions": ["blue", "green", "red", "nir"]},
    "large": {"pixels": noise(1, 70, 90, "int32", -(2**31), 2**31)},
    "nodata": {"pixels": noise(3, 70, 90, "int16", -4, 4), "nodata": 3},
    "nan": {"pixels": np.where(MASK, np.float32(np.nan), noise(1, 70, 90, "float32")), "nodata": np.nan},
    "alpha": {"pixels": np.stack([*noise(3, 70, 90, "uint8"), MASK]), "colours": [*RGB, "alpha"]},
    "mask": {"pixels": noise(3, 70, 90, "uint8"), "mask": MASK},
    "palette": {"pixels": noise(1, 70, 90, "uint8", 0, 3), "palette": COLOURS, "photometric": "palette"},
    "rotated": {"pixels": noise(3, 70, 90, "uint8"), "transform": rasterio.Affine(0.4, 0.3, 9, 0.3, -0.4, 5)},
}


def cut(folder, kind, columns=(0, 40, 90), **options):
    """Writes the parts of a raster between columns."""
    own = KINDS[kind] | options
    paths = []
    for start, end in pairwise(columns):
        a, b, c, d, e, f = own.get("transform", UTM)[:6]
        part = own | {
            "pixels": own["pixels"][:, :, start:end],
            "transform": rasterio.Affine(a, b, c + a * start, d, e, f + d * start),
        }
        if "mask" in own:
            part["mask"] = own["mask"][:, start:end]
        paths.append(write(folder / f"{start}.tif", **part))
    return paths


def read(source, size=(70, 90)):
    spec, _ = choose_spec(source)
    with open_raster(spec) as raster:
        return spec, raster.read(Window(0, size[0], 0, size[1])), raster


@pytest.mark.parametrize("kind", KINDS)
def test_a_mosaic_is_the_whole(tmp_path, kind):
    (tmp_path / "tiles").mkdir()
    spec, (pixels, valid), raster = read(write(tmp_path / "whole.tif", **KINDS[kind]))
    vrt, remarks = mosaic_vrt(cut(tmp_path / "tiles", kind)[::-1])
    found, (some, known), one = read(vrt)
    assert remarks == []
    assert np.array_equal(known, valid)
    assert np.array_equal(some, pixels)
    assert found == replace(spec, address=vrt)
    assert one.transform.almost_equals(raster.transform)
    assert (one.crs, one.size) == (raster.crs, raster.size)


def test_gaps_are_invalid(tmp_path):
    paths = cut(tmp_path, "bytes", (0, 30, 60, 90))
    _, (pixels, valid), _ = read(mosaic_vrt([paths[0], paths[2]])[0])
    assert valid[:, :30].all()
    assert not valid[:, 30:60].any()
    assert valid[:, 60:].all()
    assert np.array_equal(pixels[:, :, 60:], KINDS["bytes"]["pixels"][:, :, 60:])


def test_the_later_tile_is_above_but_not_its_invalid_pixels(tmp_path):
    below = write(tmp_path / "below.tif", np.full((4, 70, 90), 255, "uint8"), colours=[*RGB, "alpha"])
    above = write(tmp_path / "above.tif", **KINDS["alpha"])
    _, (pixels, valid), _ = read(mosaic_vrt([below, above])[0])
    assert valid.all()
    assert np.array_equal(pixels, np.where(MASK, KINDS["alpha"]["pixels"][:3], 255))
    assert (read(mosaic_vrt([above, below])[0])[1][0] == 255).all()


def test_a_tile_off_the_grid_is_moved_and_said(tmp_path):
    near = write(tmp_path / "a.tif", KINDS["bytes"]["pixels"])
    off = write(
        tmp_path / "b.tif", KINDS["bytes"]["pixels"], transform=rasterio.Affine(0.5, 0, 500045.1, 0, -0.5, 5500000)
    )
    vrt, remarks = mosaic_vrt([near, off])
    assert remarks == [f"{off} lies 0.20 pixels off the grid of {near} and is moved onto it"]
    with open_raster(vrt) as raster:
        assert raster.size == (70, 180)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("bytes", {"crs": "EPSG:32633"}, "coordinate systems, EPSG:32632 and EPSG:32633"),
        ("bytes", {"transform": rasterio.Affine(0.25, 0, 9, 0, -0.25, 5)}, "sizes of pixels, 0.5 × 0.5 and 0.25"),
        ("bytes", {"pixels": noise(1, 70, 90, "uint8"), "colours": None}, "numbers of bands, 3 and 1"),
        ("bytes", {"pixels": noise(3, 70, 90, "uint16")}, "types of samples, uint8 and uint16"),
        ("bytes", {"colours": RGB[::-1]}, "colours of bands, red, green, blue and blue, green, red"),
        ("bytes", {"nodata": 0}, "nodata values, None and 0.0"),
        ("palette", {"palette": COLOURS | {1: (9, 9, 9, 255)}}, "tables of colours, one and another"),
    ],
)  # fmt: skip
def test_tiles_that_do_not_fit(tmp_path, kind, options, message):
    one = write(tmp_path / "a.tif", **KINDS[kind])
    other = write(tmp_path / "b.tif", **KINDS[kind] | options)
    with pytest.raises(
        UserError, match=f"a.tif and .*b.tif cannot be one mosaic, as they have different {message}.*: expected"
    ):
        mosaic_vrt([one, other])


def vrts_of(folder):
    """A VRT of a file, one of that VRT, and a mosaic of both."""
    tile = write(folder / "a.tif", **KINDS["bytes"])
    copy(tile, folder / "a.vrt", driver="VRT")
    outer = folder / "outer.vrt"
    copy(tile, outer, driver="VRT")
    outer.write_text(outer.read_text().replace("a.tif", "a.vrt"))
    return tile, [folder / "a.vrt", outer, mosaic_vrt([tile])[0], mosaic_vrt([outer])[0]]


def test_a_missing_source_is_refused_and_named(tmp_path):
    tile, vrts = vrts_of(tmp_path)
    with rasterio.open(vrts[0]) as dataset:
        tile.unlink()
        for vrt in (*vrts, dataset):
            with pytest.raises(UserError, match=r"takes pixels from .*a.tif, which cannot be found: expected .*; put"):
                open_raster(vrt)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("no raster")])
@pytest.mark.parametrize("number", [0, 2])
def test_a_source_that_is_lost_fails_at_every_read_until_it_is_back(tmp_path, change, number):
    tile, vrts = vrts_of(tmp_path)
    content = tile.read_bytes()
    with open_raster(vrts[number], choose_spec(tile)[0]) as raster:
        change(tile)
        for window in (WHOLE, WHOLE, Window(40, 50, 40, 50), Window(0, 9, 0, 9)):
            with pytest.raises(ReadFailed):
                raster.read(window)
        tile.write_bytes(content)
        assert np.array_equal(raster.read(WHOLE)[0], KINDS["bytes"]["pixels"])


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("number", [1, 3])
def test_a_source_of_a_vrt_in_a_vrt_stays_lost(tmp_path, number):
    """In a copy of this process: GDAL keeps the failure, and gives whatever is in the memory for later reads."""
    tile, vrts = vrts_of(tmp_path)
    content, spec = tile.read_bytes(), choose_spec(tile)[0]

    def work():
        with open_raster(vrts[number], spec) as raster:
            tile.write_text("no raster")
            for window in (WHOLE, WHOLE, Window(40, 50, 40, 50)):
                with pytest.raises(ReadFailed):
                    raster.read(window)
            tile.write_bytes(content)
            with pytest.raises(ReadFailed, match="a.tif is gone, or was while it was read"):
                raster.read(WHOLE)
        return 0

    process = forked(work, tmp_path / "log")
    process.join(60)
    assert process.exitcode == 0, (tmp_path / "log").read_text()
