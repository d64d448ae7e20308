"""`segearth predict` of scenes: from files, folders and addresses to georeferenced maps."""

import csv
import io
import json
import sys
import zipfile
from argparse import Namespace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rasterio", reason="scenes need the extra geo")

import rasterio
from rasters import UTM, break_tile, write

from segearth import cli, loading
from segearth.batch.inputs import Item
from segearth.cli import predict_scenes
from segearth.cli.predict_progress import scene_progress
from segearth.exits import say
from segearth.hashes import sha256_of
from segearth.jobs.shards import Shard
from segearth.scenes.options import SceneOptions, SceneProgress
from segearth.synthetic import draw_scene

WORDS = ["-c", "road; tree,forest; water", "--model", "tiny"]


@pytest.fixture(scope="module")
def drawn():
    """Pixels (3, 120, 150)."""
    return np.asarray(draw_scene(0, 160).image)[:120, :150].transpose(2, 0, 1)


small_windows = cache(partial(loading.load_model, slide_crop=64, slide_stride=32))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder; and a model with small windows, of which there are more in a small scene."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_model", small_windows)
    return tmp_path


@pytest.fixture(autouse=True)
def town(here, drawn):
    """A scene in UTM zone 32, with pixels of half a metre."""
    return write(here / "town.tif", drawn)


def predict(*arguments):
    return cli.main(["predict", *map(str, arguments)])


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def summary(place):
    return json.loads(Path(place).read_text(encoding="utf-8"))


def test_a_scene(town, here, capsys):
    assert predict("town.tif", *WORDS, "--confidence", "--scores") == 0
    found = summary("out/town.summary.json")
    assert set(names(here / "out")) >= {"summary.csv", "town.summary.json", "town.overlay.png", *found["files"]}
    with rasterio.open("out/town.labels.tif") as labels, rasterio.open(town) as scene:
        assert (labels.crs, labels.transform, labels.shape) == (scene.crs, scene.transform, scene.shape)
        pixels = np.bincount(labels.read(1).ravel(), minlength=3)[:3].tolist()
    rows = list(csv.DictReader((here / "out/summary.csv").open(encoding="utf-8")))
    assert [row["class"] for row in rows] == ["road", "tree", "water"]
    assert [int(row["pixels"]) for row in rows] == pixels
    areas = [float(row["area_m2"]) for row in rows]
    assert areas == [row["area_m2"] for row in found["classes"]]
    assert sum(areas) == pytest.approx(120 * 150 / 4, rel=0.01)
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "1 scene (town.tif has the coordinate system EPSG:32632), 3 classes, model tiny",
        "town.tif: 1 window, 150 × 120 pixels, 0.5 m a pixel: a window is 112 m",
    ]
    assert printed.out.splitlines()[0].endswith("ha")
    assert printed.out.splitlines()[-1] == "1 map written to out; all in figures: summary.csv"


def test_running_again(here, capsys):
    assert predict("town.tif", *WORDS) == 0
    stamp = (here / "out/town.labels.tif").stat().st_mtime_ns
    assert predict("town.tif", *WORDS, "--block", "64", "--max-memory", "500") == 0
    assert (here / "out/town.labels.tif").stat().st_mtime_ns == stamp
    assert capsys.readouterr().out.splitlines()[-1] == "the map is in out already"
    assert predict("town.tif", *WORDS, "--blend", "hann") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "made with blend" in error
    assert "--overwrite" in error
    assert predict("town.tif", *WORDS, "--blend", "hann", "--overwrite", "-q") == 0
    assert summary("out/town.summary.json")["settings"]["blend"] == "hann"
    assert capsys.readouterr().err == ""


def test_every_option_arrives(town, here, monkeypatch):
    (here / "other.tif").write_bytes(town.read_bytes())
    seen = {}

    def record(source, output, **given):
        seen.update(given, source=source, output=output)

    monkeypatch.setattr(predict_scenes, "predict_scene", record)
    given = (
        "--bands 3,2,1 --stretch -5,250 --stretch-from other.tif --gsd 0.6 --resampling bilinear --output-grid model "
        "--blend hann --block 448 --batch 4 --max-memory 700 --confidence --scores --keep-parts --bbox -1,40,30,60 "
        "--bbox-crs EPSG:4326 -j 3 --shard 1/4 --overwrite"
    )
    assert predict("town.tif", *WORDS, *given.split(), "-o", "maps/here") == 0
    assert seen["options"] == SceneOptions(
        bands="3,2,1", stretch="-5,250", stretch_from=Path("other.tif"), gsd=0.6, resampling="bilinear",
        output_grid="model", blend="hann", block=448, batch=4, max_memory_mb=700, confidence=True, scores=True,
        keep_parts=True, bbox="-1,40,30,60", bbox_crs="EPSG:4326",
    )  # fmt: skip
    assert (seen["source"], seen["output"], seen["name"]) == (Path("town.tif"), Path("maps/here"), "town")
    assert (seen["workers"], seen["shard"], seen["overwrite"]) == (3, Shard(1, 4), True)
    box = {"type": "Polygon", "coordinates": [[[8, 49], [10, 49], [10, 50], [8, 50], [8, 49]]]}
    (here / "area.geojson").write_text(json.dumps(box))
    assert predict("town.tif", *WORDS, "--long-side", "75", "--aoi", "area.geojson") == 0
    assert (seen["options"].scale, seen["options"].aoi) == (0.5, "area.geojson")
    assert predict("town.tif", *WORDS, "--scale", "2", "--opacity", "0.3", "--no-outline") == 0
    assert (seen["options"].scale, seen["options"].opacity, seen["options"].outline) == (2, 0.3, False)


def test_many_scenes_and_pictures(here, drawn, capsys):
    for place in ("in/a.tif", "in/north/b.tif", "in/bad.tif"):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        write(here / place, drawn[:, :70, :80])
    (here / "in/bad.tif").write_bytes((here / "in/bad.tif").read_bytes()[:2000])
    Image.fromarray(drawn.transpose(1, 2, 0)[:40, :40]).save("in/c.png")
    assert predict("in", *WORDS, "--long-side", "64") == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[:2] == [
        "1 picture, long side 64, 1 window, 3 classes, model tiny",
        "3 scenes (in/a.tif has the coordinate system EPSG:32632), 3 classes, model tiny",
    ]
    assert sum(line.startswith("failed: ") for line in printed.err.splitlines()) == 1
    lines = printed.out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["scene", "size"], ["a", "written"], ["bad", "failed"], ["north/b", "written"]
    ]  # fmt: skip
    assert lines[-1] == "3 maps written to out, 1 failed; all in figures: summary.csv"
    rows = list(csv.DictReader((here / "out/summary.csv").open(encoding="utf-8")))
    assert [row["image"] for row in rows][::3] == ["a", "c.png", "north/b"]
    assert [bool(row["area_m2"]) for row in rows][::3] == [True, False, True]
    assert predict("in", *WORDS, "--long-side", "64", "--progress", "none") == 1
    assert "0 maps written to out, 3 were there, 1 failed" in capsys.readouterr().out
    Path("d.png").write_bytes(Path("in/c.png").read_bytes()[:50])
    assert predict("in/a.tif", "d.png", *WORDS, "--long-side", "64") == 1  # the only picture, but not all
    assert "0 maps written to out, 1 was there, 1 failed" in capsys.readouterr().out


def test_two_scenes_of_one_name(here, drawn, capsys):
    for place in ("x/a.tif", "y/a.tif"):
        Path(place).parent.mkdir()
        write(here / place, drawn[:, :40, :50])
    assert predict("x/a.tif", "y/a.tif", *WORDS, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" -> ")[2] for line in lines] == ["out/x/a.tif.labels.tif", "out/y/a.tif.labels.tif"]
    assert not Path("out").exists()
    assert predict("x/a.tif", *WORDS) == 0
    write(here / "y/a.tif", drawn[:, 10:50, :50])
    assert predict("y/a.tif", *WORDS) == 2
    assert "of another image than" in capsys.readouterr().err.splitlines()[-1]


def test_a_list_with_an_address(town, here, capsys, monkeypatch):
    with zipfile.ZipFile("all.zip", "w") as archive:
        archive.write(town, "deep/village.tif")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"town.tif\nzip://{here}/all.zip!deep/village.tif\n"))
    assert predict("-", *WORDS, "--progress", "json", "--vector", "gpkg") == 0
    assert {"town.labels.tif", "village.labels.tif"} <= set(names(here / "out"))
    assert sha256_of(here / "out/town.labels.tif") != ""
    with rasterio.open("out/town.labels.tif") as one, rasterio.open("out/village.labels.tif") as other:
        assert np.array_equal(one.read(), other.read())
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert set(events[0]) == {
        *("scene", "scenes_done", "scenes", "blocks_done", "blocks", "megapixels_done", "megapixels"),
        *("megapixels_per_second", "seconds_left"),
    }
    blocks = [event for event in events if "blocks" in event]
    steps = dict.fromkeys((event["scenes_done"], event["blocks_done"], event["blocks"]) for event in blocks)
    assert list(steps) == [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1)]
    assert blocks[-1]["megapixels"] == blocks[-1]["megapixels_done"] == 0.018
    assert blocks[-1]["seconds_left"] == 0
    tiles = [(event["scenes_done"], event["tiles_done"], event["tiles"]) for event in events if "tiles" in event]
    assert tiles == [(0, 1, 2), (0, 2, 2), (1, 1, 2), (1, 2, 2)]
    ends = [event for event in events if "files" in event]
    assert [event["scenes_done"] for event in ends] == [1, 2]
    assert ends[1] is events[-1]
    assert {str(here / "out" / f"town.{end}") for end in ("labels.tif", "summary.json", "polygons.gpkg")} <= {
        *ends[0]["files"]
    }


def test_a_part_of_a_mosaic(here, drawn, capsys):
    folder = here / "tiles"
    folder.mkdir()
    for name, columns in (("a", slice(0, 70)), ("b", slice(70, 150))):
        move = rasterio.Affine.translation(columns.start / 2, 0)
        write(folder / f"{name}.tif", drawn[:, :, columns], transform=move @ UTM if columns.start else UTM)
    box = "500010,5499950,500060,5499990"
    assert predict("town.tif", *WORDS, "--bbox", box) == 0
    assert predict("tiles", *WORDS, "--mosaic", "--bbox", box, "-o", "maps") == 0
    with rasterio.open("out/town.labels.tif") as one, rasterio.open("maps/tiles.labels.tif") as other:
        assert (one.shape, one.transform) == (other.shape, other.transform)
        assert one.shape == (80, 100)
        assert np.array_equal(one.read(), other.read())
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("town.tif: 1 window, a part of 100 × 80 of 150 × 120 pixels")
    assert lines[2].startswith("the mosaic of 2 tiles (tiles/a.tif has the coordinate system EPSG:32632), 3 classes")
    assert lines[3].startswith("the mosaic of 2 tiles: 1 window, a part of 100 × 80 of 150 × 120 pixels")


def test_shards_by_hand(here, capsys):
    assert predict("town.tif", *WORDS, "-o", "whole") == 0
    assert predict("town.tif", *WORDS, "--block", "64", "--shard", "0/2") == 0
    assert not Path("out/town.labels.tif").exists()
    last = "the share of this process is computed; one map waits for those of others"
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert predict("town.tif", *WORDS, "--block", "64", "--shard", "1/2") == 0
    assert sha256_of(here / "out/town.labels.tif") == sha256_of(here / "whole/town.labels.tif")


def test_a_dask_cluster(here):
    distributed = pytest.importorskip("distributed", reason="clusters need the extra dask")
    assert predict("town.tif", *WORDS, "-o", "whole", "--scores") == 0
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        place = ["--executor", "dask", "--scheduler", cluster.scheduler_address]
        assert predict("town.tif", *WORDS, "--block", "64", "--scores", *place) == 0
    for name in ("town.labels.tif", "town.scores.tif"):
        assert sha256_of(here / "out" / name) == sha256_of(here / "whole" / name)


def test_damage_is_named_and_tried_again(town, capsys):
    content = town.read_bytes()
    break_tile(town, 1, 3, 4)
    code = predict("town.tif", *WORDS, "--block", "64")
    printed = capsys.readouterr()
    assert code == 1
    assert "failed: town.tif, block b0001_0002: rows " in printed.err
    assert "of town.tif failed; nothing is known there (nodata in the map)" in printed.err
    assert printed.out.splitlines()[-1].startswith("1 map written to out, 1 with parts that failed")
    with rasterio.open("out/town.labels.tif") as labels:
        assert (labels.read(1)[64:, 128:] == 255).all()
        assert (labels.read(1)[:64, :64] != 255).all()
    town.write_bytes(content)
    assert predict("town.tif", *WORDS) == 2  # another raster than the damaged one


def test_ctrl_c_and_going_on(here, capsys, monkeypatch):
    original = predict_scenes.predict_scene

    def interrupted(*args, progress, **kwargs):
        def stop(step):
            progress(step)
            if step.done == 3:
                raise KeyboardInterrupt

        return original(*args, progress=stop, **kwargs)

    monkeypatch.setattr(predict_scenes, "predict_scene", interrupted)
    assert predict("town.tif", *WORDS, "--block", "64") == 130
    assert capsys.readouterr().err.splitlines()[-1] == ("interrupted: what is finished stays; the same command goes on")
    assert names(here / "out")[0].startswith("town.segearth/")
    monkeypatch.setattr(predict_scenes, "predict_scene", original)
    assert predict("town.tif", *WORDS, "--progress", "json") == 0
    first = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("{"))
    assert json.loads(first)["blocks_done"] == 3


def test_a_bar(capsys):
    args = Namespace(progress="bar", quiet=False)
    with scene_progress(args, say, Item(Path("town.tif"), "north/town", "town.tif"), 1, 3) as show:
        assert capsys.readouterr().err == ""  # nothing is drawn for a map that is there already
        show(SceneProgress(2, 6, 2.0, 6.0, 2.0, 0.1, ("bands 1, 2 and 3 are taken",)))
        show(SceneProgress(4, 6, 4.0, 6.0, 2.0, 4.0))
        assert "note: bands 1, 2 and 3 are taken" in capsys.readouterr().err.splitlines()
        show(SceneProgress(5, 6, 5.0, 6.0, 2.0, 6.0))
        shown = capsys.readouterr().err
        assert "2/3 town:  83%" in shown
        assert "5/6 megapixels" in shown
        assert "0.5 a second, 00:02 left" in shown
        show(SceneProgress(6, 6, 6.0, 6.0, 2.0, 8.0))
        assert "putting the map together" in capsys.readouterr().err


def test_the_way_that_is_asked_for(drawn, capsys):
    assert predict("town.tif", *WORDS, "--as", "picture", "--long-side", "64") == 0
    assert Path("out/town.labels.png").is_file()
    Image.fromarray(drawn.transpose(1, 2, 0)).save("plain.png")
    capsys.readouterr()
    assert predict("plain.png", *WORDS, "--as", "scene") == 0
    assert Path("out/plain.labels.tif").is_file()
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "1 scene, 3 classes, model tiny"


def test_without_rasterio(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert predict("town.tif", *WORDS) == 2
    assert 'pip install "segearth[geo]"' in capsys.readouterr().err
    assert predict("town.tif", *WORDS, "--as", "picture", "--long-side", "64") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("town.tif --shard 2/2", "--shard 2/2: expected I/N"),
        ("town.tif -j 0", "--workers 0"),
        ("town.tif --executor dask", "belong together"),
        ("town.tif --scale 0", "--scale 0"),
        ("town.tif --scale 1 --gsd 1", "not allowed with"),
        ("town.tif --long-side 9 --gsd 1", "one thing in two ways"),
        ("town.tif --bbox-crs EPSG:4326", "is of no box"),
        ("town.tif --max-pixels 9", "--max-pixels 9 is for pictures"),
        ("town.tif --bands 1,2,9", "9"),
        ("town.tif --stretch wide", "wide"),
        ("town.tif --stretch-from none.tif", "none.tif"),
        ("town.tif --overview 0", "has no overview 0"),
        ("town.tif --bbox 1,2,3,4", "no part of"),
        ("town.tif --aoi none.json", "no file at none.json"),
        ("p.png --gsd 1", "--gsd is for scenes, and p.png is a picture"),
        ("p.png town.tif --shard 0/2", "--shard is for scenes, and p.png is a picture"),
        ("p.png town.tif --mosaic", "--mosaic is for scenes, and p.png is a picture"),
        ("ftp://127.0.0.1/a.tif", "unknown scheme"),
        ("https://127.0.0.1:9/a.tif --as picture", "is an address"),
        ("zip://none.zip!a.tif", "none.zip"),
        ("none.tif", "no image at none.tif"),
        ("town.tif -o town.tif/x", "cannot write to the output folder"),
    ],
)
def test_mistakes(drawn, capsys, arguments, message):
    Image.fromarray(drawn.transpose(1, 2, 0)).save("p.png")
    try:
        code = predict(*arguments.split(), *WORDS)
    except SystemExit as end:
        code = end.code
    assert code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not Path("out").exists() or not names(Path("out"))


def test_another_method_and_test_time_averaging(here, capsys):
    assert predict("town.tif", *WORDS, "-o", "out", "--method", "NACLIP", "--tta", "turns") == 0
    settings = json.loads((here / "out" / "town.summary.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["method"], settings["tta"]) == ("NACLIP", "turns")
    assert predict("town.tif", *WORDS, "-o", "out", "--method", "NACLIP") == 2
    assert 'was made with tta "turns", not nothing' in capsys.readouterr().err
