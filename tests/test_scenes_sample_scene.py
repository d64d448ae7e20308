"""Drawn scenes of any size: georeferenced, with exact labels, the same for the same seed; no other file is replaced."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from segearth import cli  # noqa: E402
from segearth.errors import UserError  # noqa: E402
from segearth.scenes import sample_scene  # noqa: E402
from segearth.scenes.sample_scene import DRAWN_TILE, tile_seed, write_sample_scene  # noqa: E402
from segearth.synthetic import Scene, draw_scene  # noqa: E402
from segearth.vocabulary import LAND_COVER  # noqa: E402

FILES = ["scene.labels.qml", "scene.labels.tif", "scene.labels.tif.aux.xml", "scene.tif"]


@pytest.fixture
def squares(monkeypatch):
    """Coloured squares, which are drawn faster."""

    def drawn(seed, height, width):
        few = np.random.default_rng(seed).integers(0, 8, (height // 64, width // 64), dtype=np.uint8)
        labels = np.kron(few, np.ones((64, 64), np.uint8))
        return Scene(np.stack([30 * labels, 20 * labels, 255 - 30 * labels], -1), labels, np.zeros_like(labels))

    monkeypatch.setattr(sample_scene, "draw_scene", drawn)
    return drawn


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_a_scene_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample-data", "scene", "--size", "300", "-o", "drawn"]) == 0
    captured = capsys.readouterr()
    assert "300 × 300 pixels of 0.25 m: drawn/scene.tif, and its classes: drawn/scene.labels.tif" in captured.out
    assert "next: segearth predict drawn/scene.tif -c 'bareland,barren; grass; " in captured.out
    assert captured.err == ""
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == FILES
    expected = draw_scene(tile_seed(0, 0, 0))
    with rasterio.open("drawn/scene.tif") as picture, rasterio.open("drawn/scene.labels.tif") as labels:
        for file in (picture, labels):
            assert (file.shape, file.crs.to_epsg(), file.res) == ((300, 300), 32628, (0.25, 0.25))
            assert "no photograph, and no place" in file.tags()["TIFFTAG_IMAGEDESCRIPTION"]
        assert [colour.name for colour in picture.colorinterp] == ["red", "green", "blue"]
        found = picture.read().transpose(1, 2, 0).astype(int)
        assert np.abs(found - expected.image[:300, :300]).mean() < 4  # JPEG drops some of the sensor noise
        assert np.array_equal(labels.read(1), expected.labels[:300, :300])
        assert (labels.nodata, labels.descriptions) == (255, ("labels",))
        assert [labels.tags(1)[f"class_{i}"] for i in range(8)] == [names[0] for names in LAND_COVER]
        assert labels.colormap(1)[5] == (40, 105, 215, 255)


def test_tiles_lie_beside_each_other_and_a_small_scene_is_a_corner_of_a_large_one(tmp_path, squares):
    size = DRAWN_TILE + 500
    picture, labels = write_sample_scene(tmp_path / "large", size, seed=3)
    whole = read(labels)[0]
    for row in (0, 1):
        for column in (0, 1):
            here = whole[DRAWN_TILE * row : DRAWN_TILE * (row + 1), DRAWN_TILE * column : DRAWN_TILE * (column + 1)]
            drawn = squares(tile_seed(3, row, column), DRAWN_TILE, DRAWN_TILE).labels
            assert np.array_equal(here, drawn[: here.shape[0], : here.shape[1]])
    with rasterio.open(picture) as file:
        assert file.overviews(1) == [2, 4]
        assert file.profile["blockxsize"] == 512
    small = write_sample_scene(tmp_path / "small", DRAWN_TILE, seed=3)
    assert np.array_equal(read(small[0]), read(picture)[:, :DRAWN_TILE, :DRAWN_TILE])
    assert np.array_equal(read(small[1])[0], whole[:DRAWN_TILE, :DRAWN_TILE])


@pytest.mark.usefixtures("squares")
def test_the_same_seed_is_the_same_bytes(tmp_path):
    pairs = [write_sample_scene(tmp_path / str(number), 700, seed) for number, seed in enumerate((1, 1, 2))]
    first, again, other = ([path.read_bytes() for path in pair] for pair in pairs)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


@pytest.mark.usefixtures("squares")
def test_one_pixel(tmp_path):
    assert [read(path).shape for path in write_sample_scene(tmp_path, 1)] == [(3, 1, 1), (1, 1, 1)]


@pytest.mark.usefixtures("squares")
def test_progress_counts_tiles(tmp_path):
    told = []
    write_sample_scene(tmp_path, DRAWN_TILE + 1, progress=lambda *counts: told.append(counts))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.usefixtures("squares")
@pytest.mark.parametrize("name", ["scene.tif", "scene.labels.tif"])
def test_files_that_are_no_drawing_stay(tmp_path, name):
    write_sample_scene(tmp_path, 20)
    write_sample_scene(tmp_path, 30)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UserError, match=f"{name} exists and is no sample scene"):
        write_sample_scene(tmp_path, 40)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_drawing_that_ends_early_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_scene, "draw_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_sample_scene(tmp_path, 20)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_before_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    monkeypatch.setattr(sample_scene, "draw_scene", None)
    with pytest.raises(UserError, match="20,000 × 20,000 pixels needs about 0.24 GB"):
        write_sample_scene(tmp_path, 20_000)


def test_mistakes_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, part in (
        (["scene", "--size", "0"], "--size 0: expected the side in pixels"),
        (["scene", "--size", "1000001"], "--size 1000001: expected the side in pixels"),
        (["scene", "--seed", "-1"], "--seed -1: expected a whole number"),
        (["udd5", "--seed", "-1"], "--seed -1: expected a whole number"),
        (["udd5", "--size", "5"], "--size 5 is of a scene: expected the name scene"),
    ):
        assert cli.main(["sample-data", *arguments, "-o", "out"]) == 2
        assert part in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
