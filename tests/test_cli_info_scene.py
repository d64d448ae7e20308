"""`segearth info` of scenes: what the raster is, how it would be read, what its map would cost."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasters import break_tile, noise, write  # noqa: E402
from test_cli_info import facts  # noqa: E402

from segearth import load_model, weights  # noqa: E402
from segearth.cli import info_scene, main  # noqa: E402
from segearth.scenes.aoi import Area  # noqa: E402
from segearth.scenes.blocks import map_block  # noqa: E402
from segearth.scenes.grid import Frame  # noqa: E402
from segearth.windows import Window  # noqa: E402


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tell(capsys):
    """The rows that are printed of one raster."""

    def tell(path, *options, code=0):
        assert main(["info", str(path), "--model", "tiny", *options]) == code
        captured = capsys.readouterr()
        assert captured.out.startswith(f"{path}\n")
        return facts(captured.out)

    return tell


def test_what_a_scene_is(tell):
    samples = noise(13, 600, 700, "uint16", 0, 3000)
    samples[:, :300, :350] = 9
    names = [f"B{number}" for number in range(1, 14)]
    path = write(Path("s2.tif"), samples, nodata=9, descriptions=names)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    found = tell(path)
    assert found["file"].startswith("GTiff, DEFLATE, tiles of 32 × 32 pixels, ")
    assert found["overviews"] == "1/2, 1/4"
    assert found["size"] == "700 × 600 pixels (width × height)"
    assert found["coordinates"] == "WGS 84 / UTM zone 32N (EPSG:32632)"
    assert found["extent"] == "500000 to 500350, 5499700 to 5500000"
    assert found["pixel"].startswith("0.5 m (in the plane of WGS 84 / UTM zone 32N")
    assert found["bands"].startswith("13 of uint16: 1 B1, 2 B2, 3 B3, ")
    assert found["nodata"] == "9"
    assert found["colours"] == "bands 4, 3 and 2 as red, green and blue"
    low, high = (np.percentile(samples[3][(samples != 9).any(axis=0)], percent) for percent in (2, 98))
    assert found["stretch"].startswith(f"red {low:g} to {high:g}, green ")
    assert found["stretch"].endswith(" as 0 to 255, percentiles 2 and 98")
    assert found["valid"] == "75 % of 420,000 pixels that were looked at"
    assert found["the model sees"].startswith("700 × 600 pixels, 0.5 m a pixel: a window is 112 m")
    assert found["windows"].startswith("30 of 224 × 224 pixels, 9")  # one or two of them see nothing
    assert found["blocks"] == "1 × 1 of up to 700 × 600 pixels"
    assert found["memory"].startswith("up to ")
    assert found["predict"].startswith("can be mapped as a scene; bands 4 (B4), 3 (B3) and 2 (B2) are red, green")
    assert "time" not in found


def test_without_coordinates_with_alpha_or_a_palette(tell):
    path = write(
        Path("a.tif"), noise(4, 40, 50, "uint16"), crs=None, colours=["red", "green", "blue", "alpha"], ALPHA="YES"
    )
    found = tell(path)
    assert (found["coordinates"], found["pixel"]) == ("no system", "it has no coordinate system")
    assert found["nodata"] == "alpha, band 4"
    assert "extent" not in found
    assert "its map has none, and areas are in pixels" in found["predict"]
    colours = {value: (value, 2 * value, 0, 255) for value in range(4)}
    found = tell(write(Path("p.tif"), noise(1, 40, 50, "uint8", 0, 4), palette=colours))
    assert found["colours"] == "the palette of band 1"
    assert found["stretch"] == "none: samples are taken as 0 to 255"
    found = tell(write(Path("c.tif"), np.full((1, 9, 9), 7, np.int16), mask=np.full((9, 9), 255, np.uint8)))
    assert (found["colours"], found["nodata"]) == ("band 1, three times", "a mask")
    assert found["stretch"] == "7 everywhere as 0 to 255, percentiles 2 and 98"


def test_several_of_which_one_is_refused(photo, capsys):
    from PIL import Image

    write(Path("a.tif"), noise(3, 40, 50, "uint8"))
    write(Path("radar.tif"), np.ones((2, 40, 50), np.complex64))
    Image.fromarray(photo).save("b.png")
    files = ["a.tif", "radar.tif", "b.png", "http://127.0.0.1:9/c.tif?key=secret"]
    assert main(["info", *files, "--model", "tiny", "--no-cost"]) == 1
    out = capsys.readouterr().out
    assert out.count("can be mapped as a scene") == 1
    assert out.count("refused: ") == 2
    assert "band 1 of" in out
    assert "has complex numbers" in out
    assert "is an address on a network" in out
    assert "secret" not in out
    assert "130 × 90 pixels" in out
    assert main(["info", "radar.tif"]) == 2


def test_what_options_change(tell):
    path = write(Path("a.tif"), noise(4, 900, 1200, "uint16", 0, 3000))
    found = tell(path, "--gsd", "1", "--bands", "4,3,2", "--stretch", "0,2000", "--max-memory", "300")
    assert found["the model sees"].startswith("1,200 × 900 pixels, seen as 600 × 450, 1 m a pixel: a window is 224 m")
    assert found["windows"] == "20 of 224 × 224 pixels"
    assert found["colours"] == "bands 4, 3 and 2 as red, green and blue"
    assert found["stretch"] == "0 to 2000 as 0 to 255"
    assert "part" not in found
    found = tell(path, "--bbox", "500100,5499800,500300,5499900", "--block", "112")
    assert found["part"] == "400 × 200 pixels from column 200 and row 200 on"
    assert found["windows"] == "24 of 224 × 224 pixels"
    assert found["blocks"].startswith("5 × 3 of up to 112 × 112 pixels, which compute ")
    assert tell(path, "--overview", "3", code=2)["predict"].startswith("refused: a.tif has no overview 3")


def test_options_that_cannot_be(capsys):
    write(Path("a.tif"), noise(3, 40, 50, "uint8"))
    for options, part in (
        (["--max-memory", "0"], "--max-memory 0.0: expected"),
        (["--bbox-crs", "EPSG:4326"], "is of no box"),
        (["--gsd", "-1"], "--gsd -1.0: expected a number above 0"),
    ):
        assert main(["info", "a.tif", *options]) == 2
        captured = capsys.readouterr()
        assert part in captured.err
        assert captured.out == ""


def test_damage_is_told(tell):
    path = write(Path("a.tif"), noise(3, 64, 64, "uint8"), interleave="pixel")
    break_tile(path, 1, 0, 0)
    assert "is damaged: about 25 % of it cannot be read" in tell(path)["predict"]


def test_time_is_that_of_windows_that_are_mapped(monkeypatch, tell):
    mapped = []

    def noted(area, *arguments):
        mapped.append(area)
        return map_block(area, *arguments)

    monkeypatch.setattr(info_scene, "map_block", noted)
    samples = noise(3, 224, 1120, "uint8", 1)
    samples[:, :, 224:] = 0  # with the middle
    path = write(Path("a.tif"), samples, nodata=0)
    found = tell(path, "--time", "-c", "road; tree")
    assert found["time"].startswith("about ")
    assert " in one process: 2 of the windows took " in found["time"]  # those that see the left part
    assert f"with tiny (its own weights) on cpu in fp32, threads: {torch.get_num_threads()}; " in found["time"]
    assert [area.left < 224 for area in mapped] == [False, True, True, *[True] * (len(mapped) - 3)]
    samples[:] = 0
    assert tell(write(path, samples, nodata=0), "--time")["time"].startswith("unknown: ")


def test_a_model_that_is_not_here_is_counted_and_timed(monkeypatch, tell):
    monkeypatch.setattr(weights, "find", lambda _: None)
    path = write(Path("a.tif"), noise(3, 40, 50, "uint8"))
    assert "(random weights, which cost the same)" in tell(path, "--time")["time"]


def test_an_outline_counts_as_the_model():
    """Without weights: the same windows, batch and memory."""
    args = info_scene.argparse.Namespace(model="tiny", architecture=None, upsampler=None, precision="fp32")
    model = load_model("tiny", "road; tree,forest", "cpu").model
    outline, size = info_scene.model_without_weights(args, info_scene.Vocabulary.of("road; tree,forest"))
    assert {parameter.device.type for parameter in outline.parameters()} == {"meta"}
    grid = model.grid(1000, 1000)
    assert outline.grid(1000, 1000) == grid
    assert outline.memory(grid) == model.memory(grid)
    assert outline.batch(grid) == model.batch(grid)
    assert size > sum(parameter.nbytes for parameter in model.encoder.parameters())


@pytest.mark.parametrize("size", [(1, 1), (300, 250), (5000, 100), (3000, 3000)])
@pytest.mark.parametrize("scale", [0.4, 1, 2.3])
def test_parts_that_are_timed_lie_within_and_fill_a_call(size, scale):
    frame = Frame.create(size, scale, 224, 112)
    for area in info_scene._areas(SimpleNamespace(frame=frame, area=Area(Window(0, size[0], 0, size[1])))):
        assert 0 <= area.top < area.bottom <= size[0]
        assert 0 <= area.left < area.right <= size[1]
        windows = len(frame.grid.windows(frame.model_area(area)))
        assert windows <= 25  # where the last ones are pulled back
        if min(frame.model_size) >= 1000:
            assert windows == 16
