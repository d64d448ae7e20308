import hashlib
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.errors import NotGeoreferencedWarning  # noqa: E402

from segearth import outputs  # noqa: E402
from segearth.errors import UserError  # noqa: E402
from segearth.scenes.assemble import assemble  # noqa: E402
from segearth.scenes.block_files import block_path, block_writer  # noqa: E402
from segearth.scenes.grid import blocks  # noqa: E402
from segearth.scenes.layers import CONFIDENCE, dequantised, labels_layer, quantised, scores_layer  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402
from segearth.windows import Window  # noqa: E402

WORDS = Vocabulary.from_string("road; tree,forest; Gebäude & <Dächer>")
UTM = Affine(0.5, 0, 356_000.25, 0, -0.5, 5_645_000)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def drawn(size, classes=3, seed=0):
    """Labels, confidence and scores of patches of 7 pixels, in the values of their layers; some nodata."""
    rng = np.random.default_rng(seed)
    small = rng.random((classes, -(-size[0] // 7), -(-size[1] // 7)), np.float32)
    scores = small.repeat(7, axis=1).repeat(7, axis=2)[:, : size[0], : size[1]]
    scores = scores + 0.05 * rng.random(scores.shape, np.float32)
    scores = scores / scores.sum(axis=0)
    valid = np.ones(size, bool)
    valid[: size[0] // 5, : size[1] // 3] = False
    layer = labels_layer(WORDS, False)
    labels = np.where(valid, scores.argmax(axis=0), layer.nodata).astype(layer.type)
    return {
        "labels": labels,
        "confidence": quantised(scores.max(axis=0), valid),
        "scores": quantised(scores, valid),
    }


def layers(*names, unclassified=False):
    known = {"labels": labels_layer(WORDS, unclassified), "confidence": CONFIDENCE, "scores": scores_layer(WORDS)}
    return [known[name] for name in names or known]


def written(folder, maps, side, kinds, area=None, rows=50):
    """Parts of maps, in blocks of a side; blocks without any valid pixel have none."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = maps["labels"].shape
    made = []
    for block in blocks(area or Window(0, height, 0, width), side):
        top, bottom, left, right = block.area
        if (maps["labels"][top:bottom, left:right] == 255).all():
            continue
        with block_writer(folder, block, kinds) as writer:
            for start in range(top, bottom, rows):
                part = slice(start, min(bottom, start + rows)), slice(left, right)
                writer.write({layer.name: maps[layer.name][(..., *part)] for layer in kinds})
        assert writer.sizes == {layer.name: block_path(folder, block, layer).stat().st_size for layer in kinds}
        made.append(block)
    return made


def build(tmp_path, maps, side=448, kinds=None, transform=UTM, crs=25832, area=None, tags=None, name="city"):
    kinds = kinds or layers("labels")
    height, width = maps["labels"].shape
    area = area or Window(0, height, 0, width)
    parts = written(tmp_path / f"parts{side}", maps, side, kinds, area)
    out = tmp_path / f"out{side}"
    out.mkdir()
    places = {layer.name: out / f"{name}.{layer.name}.tif" for layer in kinds}
    system = CRS.from_epsg(crs) if isinstance(crs, int) else crs
    files = assemble(tmp_path / f"parts{side}", parts, area, transform, system, kinds, places, tags)
    assert sorted(files) == sorted(out.iterdir())
    return places


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_equal_maps_are_equal_bytes_whatever_the_blocks(tmp_path):
    maps = drawn((700, 803))
    first = build(tmp_path, maps, 448, layers(), tags={"model": "tiny"})
    for side in (336, 1204):
        with rasterio.Env(GDAL_NUM_THREADS="4"):  # not the variable: rasterio would keep it for good
            other = build(tmp_path, maps, side, layers(), tags={"model": "tiny"}, name="another name")
        for name, path in first.items():
            assert digest(other[name]) == digest(path), (side, name)
            with rasterio.open(path) as file:
                np.testing.assert_array_equal(file.read().squeeze(), maps[name].squeeze())
    qml, aux = (sorted(first["labels"].parent.glob(f"*{suffix}")) for suffix in (".qml", ".aux.xml"))
    assert [path.name for path in (*qml, *aux)] == ["city.labels.qml", "city.labels.tif.aux.xml"]


def test_a_map_keeps_its_place_palette_names_and_overviews(tmp_path):
    maps = drawn((1100, 1203))
    path = build(tmp_path, maps, tags={"model": "tiny", "note": "a < b & ç"})["labels"]
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (file.crs, file.transform, file.shape) == (CRS.from_epsg(25832), UTM, (1100, 1203))
        assert file.bounds == (356_000.25, 5_645_000 - 550, 356_000.25 + 601.5, 5_645_000)
        assert (file.dtypes, file.nodata, file.descriptions) == (("uint8",), 255, ("labels",))
        assert file.tags()["model"] == "tiny"
        assert file.tags()["note"] == "a < b & ç"
        assert [file.tags(1)[f"class_{i}"] for i in range(3)] == ["road", "tree", "Gebäude & <Dächer>"]
        palette = file.colormap(1)
        assert [palette[i][:3] for i in range(3)] == [tuple(colour) for colour in WORDS.palette]
        assert palette[255] == (255, 255, 255, 0)
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(512, 512)]
    for level in (0, 1):
        with rasterio.open(path, overview_level=level) as file:
            values = file.read(1)
        assert set(np.unique(values)) <= {0, 1, 2, 255}
        assert len(np.unique(values)) > 2


def test_scores_can_be_read_as_scores(tmp_path):
    maps = drawn((600, 700))
    places = build(tmp_path, maps, 448, layers())
    with rasterio.open(places["scores"]) as file:
        assert file.descriptions == WORDS.names
        assert file.nodatavals == (0, 0, 0)
        assert [value.name for value in file.colorinterp] == ["gray"] * 3
        np.testing.assert_allclose(
            file.read(masked=True)[1] * file.scales[1] + file.offsets[1], dequantised(maps["scores"][1]), atol=1e-6
        )
    with rasterio.open(places["confidence"], overview_level=0) as file:
        small = file.read(1)
    assert (small[:50, :100] == 0).all()  # nodata stays nodata
    assert (small[200:, 200:] > 0).all()
    assert len(np.unique(small)) > 100  # the mean, not one of four


def test_values_of_scores():
    scores = np.array([[0, 1, 0.5, 1 / 254, 0.25]], np.float32)
    values = quantised(scores, np.array([[True, True, True, True, False]]))
    assert values.tolist() == [[1, 255, 128, 2, 0]]
    np.testing.assert_allclose(dequantised(values)[0, :4], scores[0, :4], atol=1e-7)
    every = np.linspace(0, 1, 1001, dtype=np.float32)[None]
    assert np.abs(dequantised(quantised(every, np.ones_like(every, bool))) - every).max() <= 1 / 508 + 1e-7


@pytest.mark.parametrize(
    ("size", "transform", "crs"),
    [
        ((1, 1), UTM, 25832),
        ((1, 5000), UTM, 25832),
        ((3000, 1), UTM, 25832),
        ((30, 40), Affine(0.4, 0.3, 356_000, 0.3, -0.4, 5_645_000), 25832),  # rotated
        ((30, 40), Affine.identity(), None),
        ((30, 40), Affine(2, 0, 5, 0, -2, 7), None),  # a place in no system
        ((30, 40), Affine(0.1, 0, 179, 0, -0.1, 10), 4326),  # across the antimeridian
        ((30, 40), Affine(30, 0, 779_000, 0, -30, 6_600_000), 3857),
        ((30, 40), Affine(2, 0, 980_000, 0, -2, 200_000), 2263),  # US feet
        ((30, 40), Affine(2, 0, 0, 0, -2, 0), CRS.from_wkt('LOCAL_CS["site",UNIT["foot",0.3048]]')),
    ],
)
def test_odd_shapes_and_places(tmp_path, size, transform, crs):
    maps = drawn(size)
    maps["labels"][-1, -1] = 2
    path = build(tmp_path, maps, 448, transform=transform, crs=crs)["labels"]
    with rasterio.open(path) as file:
        assert file.shape == size
        assert file.transform.almost_equals(transform, precision=0)
        assert file.crs == (CRS.from_epsg(crs) if isinstance(crs, int) else crs)
        np.testing.assert_array_equal(file.read(1), maps["labels"])


def test_an_area_has_the_same_pixels_at_the_same_place(tmp_path):
    maps = drawn((900, 900))
    area = Window(130, 801, 77, 650)
    path = build(tmp_path, maps, 336, area=area)["labels"]
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), maps["labels"][130:801, 77:650])
        assert file.transform == Affine(0.5, 0, 356_000.25 + 77 * 0.5, 0, -0.5, 5_645_000 - 130 * 0.5)


def test_nothing_valid_at_all(tmp_path):
    maps = {"labels": np.full((60, 60), 255, np.uint8)}
    with rasterio.open(build(tmp_path, maps)["labels"]) as file:
        assert (file.read(1) == 255).all()


def test_more_classes_than_a_byte_holds(tmp_path):
    words = Vocabulary.from_list([f"class {i}" for i in range(300)])
    layer = labels_layer(words, True)
    labels = np.arange(40 * 50).reshape(40, 50).astype(np.uint16) % 300
    labels[0, :3] = 65535, 65534, 299
    path = build(tmp_path, {"labels": labels}, kinds=[layer])["labels"]
    with rasterio.open(path) as file:
        assert (file.dtypes, file.nodata) == (("uint16",), 65535)
        np.testing.assert_array_equal(file.read(1), labels)
        palette = file.colormap(1)
        assert palette[299][:3] == tuple(words.palette[299])
        assert palette[65534][:3] == (160, 160, 160)
        assert file.tags(1)["class_65534"] == "unclassified"


def test_a_missing_or_damaged_part_never_becomes_nodata(tmp_path):
    maps = drawn((300, 300))
    kinds = layers("labels")
    parts = written(tmp_path / "parts", maps, 112, kinds)
    place = tmp_path / "city.labels.tif"
    place.write_text("an earlier map")
    whole = Window(0, 300, 0, 300)
    part = block_path(tmp_path / "parts", parts[3], kinds[0])
    content = part.read_bytes()
    for damaged in (content[: len(content) // 2], b""):
        part.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cannot write .*city.labels.tif \(GDAL: .*free some space"):
            assemble(tmp_path / "parts", parts, whole, UTM, None, kinds, {"labels": place})
        assert place.read_text() == "an earlier map"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["city.labels.tif", "parts"]


def test_the_disk_is_looked_at_before(tmp_path, monkeypatch):
    maps = drawn((300, 300))
    kinds = layers("labels")
    parts = written(tmp_path / "parts", maps, 112, kinds)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="needs about 1.07 MB in .* 1 kB left.* what was computed is kept"):
        assemble(tmp_path / "parts", parts, Window(0, 300, 0, 300), UTM, None, kinds, {"labels": tmp_path / "a.tif"})
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


KILLED = """
import os, signal, sys
from pathlib import Path
import rasterio.shutil
from affine import Affine
from segearth.scenes.assemble import assemble
from segearth.scenes.grid import blocks
from segearth.scenes.layers import CONFIDENCE
from segearth.windows import Window

copy = rasterio.shutil.copy
def killed(source, target, **options):
    Path(target + ".ovr.tmp").write_text("GDAL's overviews")
    copy(source, target, **options)
    os.kill(os.getpid(), signal.SIGKILL)
rasterio.shutil.copy = killed
folder, area = Path(sys.argv[1]), Window(0, 300, 0, 300)
place = {"confidence": folder / "a.tif"}
assemble(folder / "parts", blocks(area, 112), area, Affine.identity(), None, [CONFIDENCE], place)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_assembly_starts_again_and_leaves_nothing(tmp_path):
    maps, area = drawn((300, 300)), Window(0, 300, 0, 300)
    (tmp_path / "parts").mkdir()
    for block in blocks(area, 112):
        top, bottom, left, right = block.area
        with block_writer(tmp_path / "parts", block, [CONFIDENCE]) as writer:
            writer.write({"confidence": maps["confidence"][top:bottom, left:right]})
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, tmp_path], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    (tmp_path / "a.tif.aux.xml").write_text("statistics of an earlier map")
    outputs._cleaned.clear()  # as in a new process
    place = {"confidence": tmp_path / "a.tif"}
    assemble(tmp_path / "parts", blocks(area, 112), area, Affine.identity(), None, [CONFIDENCE], place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "parts"]
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(1), maps["confidence"])


@pytest.mark.parametrize("early", [ValueError, KeyboardInterrupt, OSError("the input")])
def test_a_part_is_whole_or_not_there(tmp_path, early):
    maps = drawn((200, 200))
    (block,) = blocks(Window(0, 200, 0, 200), 448)
    kind = early if isinstance(early, type) else type(early)
    with pytest.raises(kind) as found, block_writer(tmp_path, block, layers()) as writer:
        writer.write({name: values[..., :100, :] for name, values in maps.items()})
        raise early
    assert found.type is kind  # no word of files that cannot be written
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="the block has 200 rows"), block_writer(tmp_path, block, layers()) as writer:
        writer.write({name: values[..., :100, :] for name, values in maps.items()})
    with pytest.raises(ValueError, match="labels: int64"), block_writer(tmp_path, block, layers()) as writer:
        writer.write({name: values.astype(np.int64) for name, values in maps.items()})
    assert not list(tmp_path.iterdir())


FULL = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from segearth.scenes.grid import blocks
from segearth.scenes.layers import CONFIDENCE
from segearth.scenes.block_files import block_writer
from segearth.scenes.assemble import assemble
from segearth.windows import Window
from affine import Affine
from segearth import outputs  # noqa: E402
from segearth.errors import UserError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, area = Path(sys.argv[1]), Window(0, 700, 0, 700)
noise = np.random.default_rng(0).integers(1, 255, (700, 700)).astype(np.uint8)
parts = blocks(area, 448)
for limit in (50_000, 150_000, 199_000, None):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit or resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for block in parts:
        top, bottom, left, right = block.area
        try:
            with block_writer(folder, block, [CONFIDENCE]) as writer:
                writer.write({"confidence": noise[top:bottom, left:right]})
        except UserError as error:
            print(limit, error)
for limit in (100_000, 300_000, 489_000, 500_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        assemble(folder, parts, area, Affine.identity(), None, [CONFIDENCE], {"confidence": folder / "map.tif"})
    except UserError as error:
        print(limit, error)
    assert not (folder / "map.tif").exists()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL, tmp_path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    for limit in (50_000, 150_000, 199_000):
        assert any(line.startswith(f"{limit} cannot write ") and "free some space" in line for line in lines)
    assert [line.split()[0] for line in lines if "map.tif" in line] == ["100000", "300000", "489000", "500000"]
    assert not [path.name for path in tmp_path.iterdir() if ".part" in path.name]
