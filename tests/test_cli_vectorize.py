"""`segearth vectorize` and `segearth predict --vector`: files that GIS programs open, and figures that agree."""

import json
import math
import os
import signal
import sqlite3
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="vectors need the extra geo")
pytest.importorskip("pyogrio", reason="vectors need the extra geo")

import pyogrio  # noqa: E402
import shapely  # noqa: E402
from processes import forked  # noqa: E402
from rasterio.features import geometry_mask  # noqa: E402
from rasters import write  # noqa: E402

from segearth import cli, loading  # noqa: E402
from segearth.errors import UserError  # noqa: E402
from segearth.scenes.scene_summary import map_statistics  # noqa: E402
from segearth.vectors import formats, vectorize, vectorizer  # noqa: E402
from segearth.vectors.options import VectorOptions  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402

LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'
WORDS = Vocabulary.from_string("road; tree,forest; water")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, and tiles so small that there are some."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vectorizer, "TILE", 16)
    return tmp_path


def town(path="town.labels.tif", **profile):
    """A label map of three classes with nodata; returns its values."""
    rng = np.random.default_rng(0)
    values = np.kron(rng.integers(0, 3, (9, 8)), np.ones((5, 6), int)).astype(np.uint8)
    values[:7, :9] = 255
    values[rng.random(values.shape) < 0.02] = 1
    Path(path).parent.mkdir(exist_ok=True)
    palette = {0: (200, 200, 200, 255), 1: (10, 120, 20, 255), 2: (0, 0, 250, 255)}
    write(Path(path), values[None], nodata=255, palette=palette, **{"photometric": "PALETTE"} | profile)
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, class_0="road", class_1="tree", class_2="water")
    return values


def run(*arguments):
    return cli.main(["vectorize", *map(str, arguments)])


def rows(path, layer="town"):
    """The coordinate system, shapes, and fields of a file."""
    meta, _, shapes, columns = pyogrio.raw.read(path, layer=layer)
    assert tuple(meta["fields"]) == ("class", "class_id", "pixels", "area_m2", "mean_confidence", "source")
    return meta, shapely.from_wkb(shapes), dict(zip(meta["fields"], columns, strict=True))


def test_a_geopackage(capsys):
    values = town()
    scores = np.random.default_rng(1).integers(1, 256, values.shape).astype(np.uint8)
    write(Path("town.confidence.tif"), scores[None], nodata=0)
    assert run("town.labels.tif") == 0
    meta, shapes, fields = rows("town.polygons.gpkg")
    assert (meta["crs"], meta["geometry_type"]) == ("EPSG:32632", "Polygon")
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert set(zip(fields["class"], fields["class_id"], strict=True)) == {("road", 0), ("tree", 1), ("water", 2)}
    assert set(fields["source"]) == {"town.labels.tif"}
    np.testing.assert_array_equal(shapely.area(shapes), fields["area_m2"])
    with rasterio.open("town.labels.tif") as file:
        for shape, of, mean in zip(shapes, fields["class_id"], fields["mean_confidence"], strict=True):
            inside = geometry_mask([shape], values.shape, file.transform, invert=True)
            assert (values[inside] == of).all()
            assert mean == pytest.approx((scores[inside].astype(int) - 1).mean() / 254, abs=1e-4)
    printed = capsys.readouterr()
    assert printed.out == f"{len(shapes)} polygons of 0.05245 ha in town.polygons.gpkg\n"
    assert printed.err == ""
    summary = json.loads(Path("town.polygons.gpkg.json").read_text())
    assert (summary["polygons"], summary["pixels"]) == (len(shapes), int((values != 255).sum()))
    assert summary["classes"][2]["colour"] == [0, 0, 250]
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []


def test_qgis_finds_a_style():
    town()
    assert run("town.labels.tif") == 0
    with sqlite3.connect("town.polygons.gpkg") as database:
        ((table, column, style, default),) = database.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        )
        ((known,),) = database.execute("SELECT count(*) FROM gpkg_contents WHERE table_name = 'layer_styles'")
    assert (table, column, default, known) == ("town", "geom", 1, 1)
    assert '<category value="2" symbol="2" label="water"' in style
    assert 'name="color" value="0,0,250,255"' in style
    assert run("town.labels.tif", "--vector", "fgb") == 0
    assert Path("town.polygons.qml").read_text() == style


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"crs": "EPSG:4326", "transform": rasterio.Affine(0.001, 0, 7, 0, -0.001, 51)},
        {"crs": "EPSG:3857", "transform": rasterio.Affine(30, 0, 779_000, 0, -30, 6_600_000)},
    ],
)
def test_areas_are_those_of_the_summary(profile):
    town(**profile)
    figures = map_statistics(Path("town.labels.tif"), WORDS, False)
    assert run("town.labels.tif", "-q") == 0
    _, _, fields = rows("town.polygons.gpkg")
    summary = json.loads(Path("town.polygons.gpkg.json").read_text())
    for row, own in zip(figures.rows, summary["classes"], strict=True):
        of = fields["class_id"] == row["label"]
        assert int(fields["pixels"][of].sum()) == row["pixels"] == own["pixels"]
        assert float(f"{math.fsum(fields['area_m2'][of]):.12g}") == row["area_m2"] == own["area_m2"]
    assert summary["area_m2"] == figures.area_m2


@pytest.mark.parametrize("of", ["geojson", "fgb"])
def test_other_formats_have_the_same_polygons(of):
    town()
    assert run("town.labels.tif", "-q") == 0
    assert run("town.labels.tif", "--vector", of, "-o", "other") == 0
    _, shapes, fields = rows("town.polygons.gpkg")
    meta, others, same = rows(f"other/town.polygons.{of}")
    order, other = np.lexsort((fields["area_m2"], fields["class"])), np.lexsort((same["area_m2"], same["class"]))
    for name in ("class", "class_id", "pixels", "area_m2"):
        assert fields[name][order].tolist() == same[name][other].tolist()
    if of == "fgb":
        assert meta["crs"] == "EPSG:32632"
        assert sorted(shapely.to_wkt(shapely.normalize(shapes))) == sorted(shapely.to_wkt(shapely.normalize(others)))
    else:
        assert meta["crs"] == "EPSG:4326"
        assert shapely.coverage_is_valid(others)
        west, south, east, north = shapely.total_bounds(others)
        assert 9 <= west < east < 9.001
        assert 49.65 < south < north < 49.66
        assert all(shape.exterior.is_ccw for shape in others)


def test_fewer_polygons(capsys):
    values = town()
    assert run("town.labels.tif", "-o", "all") == 0
    assert run("town.labels.tif", "-o", "large", "--min-area", "3", "--simplify", "1") == 0
    _, all_shapes, before = rows("all/town.polygons.gpkg")
    _, shapes, fields = rows("large/town.polygons.gpkg")
    assert before["area_m2"].min() == 0.25
    assert fields["area_m2"].min() >= 3
    assert fields["pixels"].sum() == before["pixels"].sum()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.get_num_coordinates(shapes).sum() < shapely.get_num_coordinates(all_shapes).sum()
    assert run("town.labels.tif", "-o", "some", "--only", "water,1") == 0
    _, _, some = rows("some/town.polygons.gpkg")
    assert set(some["class"]) == {"water", "tree"}
    assert some["pixels"].sum() == np.isin(values, (1, 2)).sum()
    assert run("town.labels.tif", "-o", "classes", "--dissolve", "--vector", "fgb") == 0
    meta, shapes, classes = rows("classes/town.polygons.fgb")
    assert meta["geometry_type"] == "MultiPolygon"
    assert shapely.is_valid(shapes).all()
    assert sorted(classes["class"]) == ["road", "tree", "water"]
    np.testing.assert_array_equal(shapely.area(shapes), classes["area_m2"])
    capsys.readouterr()
    assert run("town.labels.tif", "-o", "none", "--only", "tre") == 2
    assert "--only tre: town.labels.tif has no class of this name: did you mean 'tree'?" in capsys.readouterr().err


@pytest.mark.parametrize("points", [1, 60, 1_000_000])
def test_classes_become_multipolygons_some_at_a_time(monkeypatch, points):
    """Whatever tiles and portions they come from; each has the pieces of its class, in their order."""
    values = town()
    monkeypatch.setattr(vectorizer, "_POINTS", points)
    done = vectorize.vectorize("town.labels.tif", options=VectorOptions(dissolve=True, only=["tree", "water"]))
    _, shapes, fields = rows("town.polygons.gpkg")
    assert fields["class_id"].tolist() == [1, 2]
    with rasterio.open("town.labels.tif") as file:
        for shape, of, row in zip(shapes, (1, 2), done.summary["classes"], strict=True):
            assert shapely.is_valid(shape)
            inside = geometry_mask([shape], values.shape, file.transform, invert=True)
            assert np.array_equal(inside, values == of)
            assert (row["label"], row["polygons"], row["pieces"]) == (of, 1, len(shape.geoms))
            tops = [(-part.bounds[3], part.bounds[0]) for part in shape.geoms]
            assert [top for top, _ in tops] == sorted(top for top, _ in tops)
    assert fields["pixels"].tolist() == [row["pixels"] for row in done.summary["classes"]]


def test_classes_are_called_by_any_of_their_names(capsys):
    """Also between other arguments, in capitals, and with a comma in the name of another program's class."""
    town("a.labels.tif")
    town()
    of = [{"label": 1, "name": "tree", "names": ["tree", "forest"]}, {"label": 2, "name": "sea", "names": ["lake"]}]
    Path("town.summary.json").write_text(json.dumps({"classes": of}))
    assert run("--only", "WATER", "Forest", "town.labels.tif", "-o", "out") == 0
    assert run("town.labels.tif", "--only", "tree", "water", "-o", "out") == 0
    assert set(rows("out/town.polygons.gpkg")[2]["class"]) == {"water", "tree"}
    assert run("town.labels.tif", "--only", "tree,water", "-o", "out") == 0
    assert capsys.readouterr().out.endswith("already\n")
    for name, part in (("forrest", "did you mean 'forest'?"), ("lake", "expected some of road, tree, water")):
        assert run("town.labels.tif", "-o", "none", "--only", name) == 2
        assert f"--only {name}: town.labels.tif has no class of this name: {part}" in capsys.readouterr().err
    assert run("a.labels.tif", "--only", "forest") == 2
    with rasterio.open("a.labels.tif", "r+") as file:
        file.update_tags(1, class_0="Forest, dense")
    assert run("a.labels.tif", "--only", "forest, dense", "--only", "2") == 0
    assert set(rows("a.polygons.gpkg", "a")[2]["class"]) == {"Forest, dense", "water"}


def test_running_again(capsys):
    town()
    assert run("town.labels.tif") == 0
    written = Path("town.polygons.gpkg").read_bytes()
    assert run("town.labels.tif") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("in town.polygons.gpkg already")
    assert run("town.labels.tif", "--min-area", "3") == 2
    assert "was made with min_area 0.0, not 3.0" in capsys.readouterr().err
    assert Path("town.polygons.gpkg").read_bytes() == written
    assert run("town.labels.tif", "--min-area", "3", "--overwrite") == 0
    Path("town.polygons.gpkg.json").unlink()
    assert run("town.labels.tif") == 2
    assert "so it is no file of ours" in capsys.readouterr().err
    town(transform=rasterio.Affine(2, 0, 0, 0, -2, 0))
    assert run("town.labels.tif", "--overwrite") == 0
    town()
    assert run("town.labels.tif") == 2
    assert "is of another image than town.labels.tif" in capsys.readouterr().err


def test_what_is_refused(capsys, monkeypatch):
    values = town()
    town("plain.labels.tif", crs=None)
    write(Path("scores.tif"), np.zeros((2, 5, 5), np.uint8))
    write(Path("height.tif"), np.zeros((1, 5, 5), np.float32))
    Path("text.tif").write_text("no raster")
    write(Path("below.tif"), np.full((1, 5, 5), -3, np.int16), nodata=-1)
    write(Path("above.tif"), np.full((1, 5, 5), 2**31, np.uint32), nodata=2**32 - 1)
    town("local.tif", crs=LOCAL)
    monkeypatch.setattr(vectorizer, "MOST", 4)
    for arguments, part in (
        (["town.labels.tif", "--vector", "shp"], "convert it: ogr2ogr NAME.shp NAME.polygons.gpkg"),
        (["town.labels.tif", "--vector", "kml"], "--vector kml: expected gpkg, fgb, geojson"),
        (["town.labels.tif", "--min-area", "-1"], "--min-area -1.0: expected a number from 0 on"),
        (["town.labels.tif"], "pieces: expected at most 4, as more are noise; give --min-area 25 (in m²)"),
        (["town.labels.tif", "--min-area", "1"], "give a larger --min-area 25 (in m²)"),
        (["plain.labels.tif", "--vector", "geojson"], "write polygons in pixels by --vector gpkg"),
        (["missing.tif"], "no file at missing.tif"),
        (["scores.tif"], "scores.tif has 2 bands of uint8: expected a label map"),
        (["height.tif"], "height.tif has 1 band of float32: expected a label map, one band of whole numbers of"),
        (["text.tif"], "text.tif cannot be opened"),
        (["below.tif"], "below.tif has the value -3: expected labels from 0 to 2,147,483,647"),
        (["above.tif"], "above.tif has the value 2147483648: expected labels from 0 to 2,147,483,647"),
        (["local.tif", "--vector", "geojson"], "local.tif has a local coordinate system, whose place on the Earth is"),
    ):
        assert run(*arguments, "-o", "out") == 2
        assert part in capsys.readouterr().err
    assert list(Path("out").iterdir()) == []
    assert run("town.labels.tif", "text.tif", "--force", "-o", "out") == 1
    printed = capsys.readouterr()
    assert "failed: text.tif cannot be opened" in printed.err
    assert "polygons of" in printed.out
    write(Path("town.confidence.tif"), values[None, :5], nodata=0)
    assert run("town.labels.tif", "--overwrite", "--force") == 2
    assert "town.confidence.tif is not the confidence of town.labels.tif" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["gpkg", "geojson"])
def test_a_run_that_ends_early_leaves_nothing(monkeypatch, of):
    town()

    def full(*_, **__):
        raise pyogrio.errors.DataSourceError("disk full")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    with pytest.raises(UserError, match="cannot write .*town.polygons"):
        vectorize.vectorize("town.labels.tif", "out", VectorOptions(vector=of))
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize("of", ["fgb", "geojson"])
def test_all_is_written_in_the_output_folder(monkeypatch, of):
    """There is no other room, and what a kill leaves there is removed by the next run."""
    town()
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    whole = formats._convert

    def killed(source, *rest):
        assert source.parent == Path("out")
        whole(source, *rest)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(formats, "_convert", killed)
        process = forked(lambda: run("town.labels.tif", "--vector", of, "-o", "out"), Path("log"))
        process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert {path.suffix for path in Path("out").iterdir()} == {".gpkg", f".{of}"}
    assert run("town.labels.tif", "--vector", of, "-o", "out") == 0
    names = [f"town.polygons.{ending}" for ending in (of, f"{of}.json", "qml")]
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(names)


def test_a_map_of_nodata():
    write(Path("empty.labels.tif"), np.full((1, 20, 20), 255, np.uint8), nodata=255)
    for of in ("gpkg", "fgb", "geojson"):
        assert run("empty.labels.tif", "--vector", of) == 0
        assert pyogrio.read_info(f"empty.polygons.{of}", layer="empty", force_feature_count=True)["features"] == 0


def test_predict_makes_polygons(monkeypatch, capsys):
    monkeypatch.setattr(loading, "load_model", cache(partial(loading.load_model, slide_crop=64, slide_stride=32)))
    write(Path("town.tif"), np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8))
    words = ["predict", "town.tif", "-c", "road; tree,forest; water", "--model", "tiny"]
    assert cli.main([*words, "--min-area", "2"]) == 2
    assert "--min-area 2.0 is of polygons: expected --vector gpkg, too" in capsys.readouterr().err
    assert cli.main([*words, "--vector", "shp"]) == 2
    assert "convert it: ogr2ogr" in capsys.readouterr().err
    write(Path("plain.tif"), np.zeros((3, 40, 50), np.uint8), crs=None)
    assert cli.main(["predict", "plain.tif", *words[2:], "--as", "scene", "--vector", "geojson", "-o", "none"]) == 2
    assert "plain.tif has no coordinate system, and GeoJSON" in capsys.readouterr().err
    assert not list(Path("none").iterdir())
    assert not Path("out/town.labels.tif").exists()
    assert cli.main([*words, "--vector", "gpkg", "--confidence"]) == 0
    _, _, fields = rows("out/town.polygons.gpkg")
    summary = json.loads(Path("out/town.summary.json").read_text())
    for row in summary["classes"]:
        of = fields["class"] == row["name"]
        assert (int(fields["pixels"][of].sum()), fields["area_m2"][of].sum()) == (row["pixels"], row["area_m2"])
        mean = (fields["mean_confidence"][of] * fields["pixels"][of]).sum() / max(1, row["pixels"])
        assert mean == pytest.approx(row["mean_confidence"] or 0, abs=2e-4)
    assert cli.main([*words, "--vector", "gpkg", "--confidence"]) == 0
    assert "polygons.gpkg already" in capsys.readouterr().err
    monkeypatch.setattr(vectorizer, "MOST", 0)
    assert cli.main([*words, "--vector", "fgb"]) == 1
    printed = capsys.readouterr()
    assert "failed: polygons of town.tif: town.labels.tif has " in printed.err
    assert printed.out.splitlines()[-1].startswith("0 maps written to out, 1 was there, 1 without polygons")
    other = [*words, "--overwrite", "--threshold", "0.9"]
    polygons = Path("out/town.polygons.gpkg")
    ours = polygons.read_bytes()
    polygons.write_bytes(ours + b"more")
    assert cli.main(other) == 2
    assert "town.polygons.gpkg was changed since it was written" in capsys.readouterr().err
    polygons.write_bytes(ours)
    Path("out/town.polygons.txt").write_text("of the user")
    assert cli.main(other) == 0
    assert [path.name for path in Path("out").glob("town.polygons.*")] == ["town.polygons.txt"]


def test_a_file_that_somebody_worked_on_is_not_replaced(capsys):
    town()
    assert run("town.labels.tif") == 0
    with sqlite3.connect("town.polygons.gpkg") as file:
        file.execute("CREATE TABLE notes AS SELECT randomblob(100000)")
    file.close()
    before = Path("town.polygons.gpkg").read_bytes()
    assert run("town.labels.tif") == 2
    assert "town.polygons.gpkg was changed since it was written" in capsys.readouterr().err
    Path("town.polygons.gpkg-wal").write_bytes(b"a")
    assert run("town.labels.tif", "--overwrite") == 2
    assert "is open in another program" in capsys.readouterr().err
    assert Path("town.polygons.gpkg").read_bytes() == before
    Path("town.polygons.gpkg-wal").unlink()
    assert run("town.labels.tif", "--overwrite") == 0


def test_a_style_that_somebody_made_is_not_replaced(capsys):
    """FlatGeobuf and GeoJSON of a map have one style, as QGIS looks for one file."""
    town()
    style = Path("town.polygons.qml")
    style.write_text("<qgis/>")
    assert run("town.labels.tif", "--vector", "fgb") == 2
    assert "town.polygons.qml is there, but no town.polygons." in capsys.readouterr().err
    assert (style.read_text(), list(Path().glob("*.fgb*"))) == ("<qgis/>", [])
    style.unlink()
    assert run("town.labels.tif", "--vector", "fgb", "--only", "water") == 0
    assert run("town.labels.tif", "--vector", "geojson") == 0
    ours = style.read_text()
    assert 'label="tree"' in ours
    style.write_text("<qgis/>")
    assert run("town.labels.tif", "--vector", "fgb", "--only", "water") == 0
    assert run("town.labels.tif", "--vector", "geojson") == 0
    Path("town.polygons.geojson").unlink()
    assert run("town.labels.tif", "--vector", "geojson") == 2
    assert "town.polygons.qml was changed since it was written" in capsys.readouterr().err
    assert style.read_text() == "<qgis/>"
    assert run("town.labels.tif", "--vector", "geojson", "--overwrite") == 0
    assert style.read_text() == ours
    style.unlink()
    assert run("town.labels.tif", "--vector", "geojson") == 0
    assert style.read_text() == ours


def test_maps_of_one_name_and_values_that_are_none(capsys):
    town("a/town.labels.tif")
    town("b/town.labels.tif")
    assert run("a/town.labels.tif", "b/town.labels.tif", "-o", "out") == 2
    assert "would both become town.polygons" in capsys.readouterr().err
    assert not Path("out").exists()
    assert run("a/town.labels.tif", "b/town.labels.tif") == 0
    for value in ("77", "99999999999"):
        assert run("a/town.labels.tif", "-o", "out", "--only", value) == 2
        assert f"--only {value}: town.labels.tif has no class of this name" in capsys.readouterr().err
