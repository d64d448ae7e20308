"""Label maps of all kinds: where their polygons lie, which pixels have none, and what tells one map from another."""

import json
from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="vectors need the extra geo")
pytest.importorskip("pyogrio", reason="vectors need the extra geo")

import shapely  # noqa: E402
from rasterio.shutil import copy  # noqa: E402
from rasters import write  # noqa: E402
from test_cli_vectorize import LOCAL, here, rows, run, town  # noqa: E402, F401 (here is a fixture)

from segearth.vectors.vectorize import vectorize  # noqa: E402


def test_a_map_without_coordinates_is_in_pixels():
    values = town("plain.labels.tif", crs=None)
    assert run("plain.labels.tif", "--min-area", "12", "-q") == 0
    meta, shapes, fields = rows("plain.polygons.gpkg", "plain")
    assert meta["crs"] is None
    assert np.isnan(fields["area_m2"]).all()
    assert fields["pixels"].min() >= 12
    assert shapely.area(shapes).tolist() == fields["pixels"].tolist()
    assert shapely.total_bounds(shapes).tolist() == [0, -values.shape[0], values.shape[1], 0]


@pytest.mark.parametrize(("placed", "y"), [(False, -0.5), (True, 0.5)])
def test_polygons_lie_on_the_raster_in_qgis(placed, y):
    """QGIS 3.22 shows a raster without a transform with its rows at y = -0.5, ...; with the identity at 0.5, ..."""
    values = np.zeros((1, 4, 3), np.uint8)
    values[0, 0, 1] = 1
    profile = {"crs": None} if not placed else {"transform": rasterio.Affine.identity()}
    write(Path("a.labels.tif"), values, **profile)
    vectorize("a.labels.tif")
    _, shapes, fields = rows("a.polygons.gpkg", "a")
    assert fields["class_id"][shapely.covers(shapes, shapely.Point(1.5, y))].tolist() == [1]


def test_a_local_coordinate_system_stays():
    town("local.labels.tif", crs=LOCAL)
    assert run("local.labels.tif", "-q") == 0
    meta, shapes, _ = rows("local.polygons.gpkg", "local")
    assert "site" in meta["crs"]
    assert shapely.total_bounds(shapes)[0] == 500000


def test_a_map_of_another_program():
    """It has neither names nor a palette, and large numbers."""
    values = np.kron([[70_000, 3], [-1, 3]], np.ones((8, 8), int)).astype(np.int32)
    write(Path("fields.tif"), values[None], nodata=-1)
    assert run("fields.tif") == 0
    _, _, fields = rows("fields.polygons.gpkg", "fields")
    assert sorted(zip(fields["class"], fields["class_id"], fields["pixels"], strict=True)) == [
        ("3", 3, 128),
        ("70000", 70_000, 64),
    ]
    colours = [one["colour"] for one in json.loads(Path("fields.polygons.gpkg.json").read_text())["classes"]]
    assert colours[0] != colours[1]


@pytest.mark.parametrize("kind", ["inside", "beside", "alpha"])
def test_pixels_that_a_mask_hides_have_no_polygon(kind):
    values, known = np.ones((1, 20, 30), np.uint8), np.full((20, 30), 255, np.uint8)
    known[3:9, 20:] = 0
    values[0, 15:] = 9
    if kind == "alpha":
        write(Path("a.labels.tif"), np.concatenate([values, known[None]]), nodata=9, ALPHA="YES")
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "inside"):
            write(Path("a.labels.tif"), values, nodata=9, mask=known)
    assert Path("a.labels.tif.msk").exists() == (kind == "beside")
    pixels = vectorize("a.labels.tif").summary["classes"]
    assert [(row["label"], row["pixels"]) for row in pixels] == [(1, 15 * 30 - 60)]


def test_a_vrt_is_told_from_another_by_what_it_is_made_of(capsys):
    town("parts/a.labels.tif")
    copy("parts/a.labels.tif", "inner.vrt", driver="VRT")
    Path("town.labels.vrt").write_text(Path("inner.vrt").read_text().replace("parts/a.labels.tif", "inner.vrt"))
    assert run("town.labels.vrt") == 0
    assert run("town.labels.vrt") == 0
    assert capsys.readouterr().out.endswith("town.polygons.gpkg already\n")
    with rasterio.open("parts/a.labels.tif", "r+") as file:
        file.write(file.read(window=((0, 30), (0, 20)))[:, ::-1], window=((0, 30), (0, 20)))
    assert run("town.labels.vrt") == 2
    assert "is of another image than town.labels.vrt" in capsys.readouterr().err
    Path("town.labels.vrt").write_text(Path("town.labels.vrt").read_text().replace("inner.vrt", "gone.vrt"))
    assert run("town.labels.vrt", "-o", "out") == 2
    assert "gone.vrt: expected files on this computer" in capsys.readouterr().err


def test_what_lies_beside_a_map_counts_as_far_as_it_is_read(capsys):
    values = town()
    assert run("town.labels.tif") == 0
    beside = Path("town.labels.tif.aux.xml")
    statistics = '<MDI key="STATISTICS_MEAN">1</MDI>'
    text = '<PAMDataset><PAMRasterBand band="1"><Metadata>{}</Metadata></PAMRasterBand></PAMDataset>'
    beside.write_text(text.format(statistics))
    assert run("town.labels.tif") == 0
    beside.write_text(text.format('<MDI key="class_1">wood</MDI>'))
    assert run("town.labels.tif") == 2
    beside.unlink()
    assert run("town.labels.tif") == 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open("town.labels.tif", "r+") as file:
        file.write_mask(np.where(values == 1, 0, 255).astype(np.uint8))
    assert Path("town.labels.tif.msk").exists()
    assert run("town.labels.tif") == 2
    assert capsys.readouterr().err.count("is of another image than town.labels.tif") == 2
