"""Scenes on a network from end to end: servers that fail and come back, archives, clouds, STAC Items."""

import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving import Server, answer, failing_ranges, in_ranges

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasters import noise, write  # noqa: E402
from scenemodels import colour_predictor  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.scenes.identity import raster_identity  # noqa: E402
from segearth.scenes.inspection import inspect_raster  # noqa: E402
from segearth.scenes.options import SceneOptions  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402
from segearth.scenes.raster import ReadFailed, open_raster  # noqa: E402
from segearth.scenes.vrt import mosaic_vrt  # noqa: E402

OPTIONS = SceneOptions(confidence=True, block=64)


@pytest.fixture
def server(monkeypatch):
    """A server, and GDAL that does not wait long for it."""
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.02")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def predictor():
    return colour_predictor()


@pytest.fixture
def raster(tmp_path):
    """Nine blocks of noise; its pixels come after the first 16 kB, which GDAL takes to open it."""
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "a.tif", noise(3, 190, 180, "uint8"), colours=["red", "green", "blue"])


def pixels_of(result):
    found = []
    for path in (result.labels, result.confidence):
        with rasterio.open(path) as file:
            found.append(file.read(1))
    return np.stack(found)


@pytest.fixture
def expected(raster, tmp_path, predictor):
    return pixels_of(predict_scene(raster, tmp_path / "local", predictor, options=OPTIONS))


def everything_below(folder):
    """What may tell a key: the text of all files."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_server_gives_the_map_of_the_file_and_keys_are_kept_nowhere(
    server, raster, tmp_path, predictor, expected, capfd
):
    server.routes["/a.tif?sig=secret"] = in_ranges(raster.read_bytes())
    seen = []

    def on_progress(_):
        seen.append(everything_below(tmp_path / "out"))

    result = predict_scene(
        f"{server.url}/a.tif?sig=secret", tmp_path / "out", predictor, options=OPTIONS, progress=on_progress
    )
    assert result.labels.name == "a.labels.tif"
    assert np.array_equal(pixels_of(result), expected)
    assert {path for _, path in server.requests} == {"/a.tif?sig=secret"}  # nothing beside it is asked for
    assert not [text for text in (*seen, everything_below(tmp_path / "out")) if b"secret" in text]
    assert "secret" not in json.dumps(result.summary)
    assert "secret" not in "".join(capfd.readouterr())


def test_another_content_at_the_same_url_is_another_scene(server, raster, tmp_path, predictor):
    content = raster.read_bytes()
    server.routes["/a.tif"] = in_ranges(content)
    predict_scene(f"{server.url}/a.tif", tmp_path / "out", predictor, options=OPTIONS)
    again = predict_scene(f"{server.url}/a.tif", tmp_path / "out", predictor, options=OPTIONS)
    assert again.summary["nodata_pixels"] == 0

    server.routes["/a.tif"] = in_ranges(content, etag='"v2"')
    with pytest.raises(UserError, match=r"a.summary.json is of another image than .*a.tif"):
        predict_scene(f"{server.url}/a.tif", tmp_path / "out", predictor, options=OPTIONS)


@pytest.mark.parametrize("kind", ["archive", "item", "mosaic", "VRT"])
def test_another_content_is_noticed_through_whatever_leads_to_it(server, raster, tmp_path, predictor, kind):
    server.routes["/a.tif"] = in_ranges(raster.read_bytes())
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": {"visual": {"href": "./a.tif"}}}
    server.routes["/item.json"] = answer(json.dumps(item).encode())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(raster, "a.tif")
    server.routes["/a.zip"] = in_ranges((tmp_path / "a.zip").read_bytes())
    (tmp_path / "a.vrt").write_text(mosaic_vrt([f"{server.url}/a.tif"])[0])
    source = {
        "archive": f"zip+{server.url}/a.zip!a.tif",
        "item": f"{server.url}/item.json",
        "mosaic": [f"{server.url}/a.tif"],
        "VRT": tmp_path / "a.vrt",
    }[kind]
    predict_scene(source, tmp_path / "out", predictor, options=OPTIONS, name="a")
    asked = len(server.requests)
    predict_scene(source, tmp_path / "out", predictor, options=OPTIONS, name="a")
    assert len(server.requests) > asked
    for path, file in (("/a.tif", raster), ("/a.zip", tmp_path / "a.zip")):
        server.routes[path] = in_ranges(file.read_bytes(), etag='"v2"')
    with pytest.raises(UserError, match="is of another image than"):
        predict_scene(source, tmp_path / "out", predictor, options=OPTIONS, name="a")


def test_a_server_that_does_not_tell_a_version(server, raster, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_HEADERS", "X-Key: 1")
    statuses, asked = [], []

    def trouble(handler, _):
        first = handler.headers["Range"] == "bytes=0-0"  # not GDAL's
        if first:
            asked.append((handler.headers["Authorization"], handler.headers["X-Key"]))
        if first and statuses:
            answer(b"", status=statuses.pop(0))(handler)
            return True
        return False

    server.routes["/a.tif"] = in_ranges(raster.read_bytes(), trouble)
    with open_raster(f"{server.url.replace('://', '://me:se%40cret@')}/a.tif") as opened:
        whole = raster_identity(opened)["versions"]
        assert whole == [{"etag": '"v1"', "bytes": str(raster.stat().st_size)}]
        assert asked == [("Basic bWU6c2VAY3JldA==", "1")]
        statuses[:] = [503]
        assert raster_identity(opened)["versions"] == whole
        statuses[:] = [403]
        assert raster_identity(opened)["versions"] == [{}]
        statuses[:] = [503, 503]
        with pytest.raises(UserError, match=r"http://127.0.0.1:\d+/a.tif does not answer \(.*503.*: expected") as error:
            raster_identity(opened)
    assert "cret" not in str(error.value)


@pytest.mark.parametrize("kind", ["VRT", "service"])
def test_a_file_that_leads_to_a_server_that_fails_is_not_damaged(server, raster, tmp_path, predictor, kind):
    down = threading.Event()
    server.routes["/a.tif"] = failing_ranges(raster.read_bytes(), down)
    path = tmp_path / "a.xml"
    if kind == "VRT":
        path.write_text(mosaic_vrt([f"{server.url}/a.tif"])[0])
    else:
        path.write_text(
            f'<GDAL_WMS><Service name="TMS"><ServerUrl>{server.url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>'
            "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>256</UpperLeftY><LowerRightX>256</LowerRightX>"
            "<LowerRightY>0</LowerRightY><TileLevel>0</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>"
            "</DataWindow><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount>"
            "<ZeroBlockHttpCodes>404</ZeroBlockHttpCodes></GDAL_WMS>"
        )
        server.routes["/0/0/0.png"] = answer(b"", status=500)
    down.set()
    with open_raster(path) as opened:
        assert opened.is_remote
        with pytest.raises(ReadFailed):
            inspect_raster(opened)
    if kind == "VRT":
        down.clear()
        assert np.array_equal(
            pixels_of(predict_scene(path, tmp_path / "out", predictor, options=OPTIONS)),
            pixels_of(predict_scene(raster, tmp_path / "local", predictor, options=OPTIONS)),
        )


def test_a_server_that_fails_once_at_every_place(server, raster, tmp_path, predictor, expected):
    failed = set()

    def trouble(handler, start):
        if start == 0 or start in failed:
            return False
        failed.add(start)
        answer(b"", status=503)(handler)
        return True

    server.routes["/a.tif"] = in_ranges(raster.read_bytes(), trouble)
    result = predict_scene(f"{server.url}/a.tif", tmp_path / "out", predictor, options=OPTIONS)
    assert failed
    assert result.failed == {}
    assert np.array_equal(pixels_of(result), expected)


def test_a_server_that_goes_away_and_comes_back(server, raster, tmp_path, predictor, expected):
    down = threading.Event()
    server.routes["/a.tif"] = failing_ranges(raster.read_bytes(), down)

    def leave(step):
        if step.done == 4:
            down.set()

    address = f"{server.url}/a.tif"
    with ThreadPoolExecutor(1) as executor:  # each block opens it anew; what is open is cached
        first = predict_scene(address, tmp_path / "out", predictor, options=OPTIONS, progress=leave, executor=executor)
    assert len(first.failed) == 5
    assert all("cannot be read: " in why for why in first.failed.values())
    found = pixels_of(first)
    missing = found[0] == 255
    assert np.array_equal(found[:, ~missing], expected[:, ~missing])
    assert missing.sum() == sum((a[1] - a[0]) * (a[3] - a[2]) for a in (one["area"] for one in first.summary["failed"]))
    down.clear()
    counts = []
    second = predict_scene(
        address, tmp_path / "out", predictor, options=OPTIONS, progress=lambda step: counts.append(step.done)
    )
    assert counts[0] == 4
    assert second.failed == {}
    assert np.array_equal(pixels_of(second), expected)
    assert not (tmp_path / "out" / "a.segearth").exists()


def test_a_server_that_is_down_before_anything_is_read(server, raster, tmp_path, predictor):
    server.routes["/a.tif"] = in_ranges(raster.read_bytes(), lambda handler, start: start > 0 and not _gone(handler))
    with pytest.raises((UserError, ReadFailed), match="cannot be read"):
        predict_scene(f"{server.url}/a.tif", tmp_path / "out", predictor, options=OPTIONS)
    assert not list((tmp_path / "out").glob("a.*"))
    with pytest.raises(UserError, match=r"b.tif cannot be opened as a raster \(HTTP response code: 404"):
        predict_scene(f"{server.url}/b.tif", tmp_path / "out", predictor, options=OPTIONS)


def _gone(handler):
    answer(b"", status=500)(handler)


def test_s3(server, raster, tmp_path, predictor, expected, monkeypatch):
    for name, value in {
        "AWS_S3_ENDPOINT": server.url.partition("://")[2], "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_REGION": "here", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    server.routes["/bucket/scene.tif"] = in_ranges(raster.read_bytes())
    result = predict_scene("s3://bucket/scene.tif", tmp_path / "out", predictor, options=OPTIONS)
    assert result.labels.name == "scene.labels.tif"
    server.routes["/bucket/scene.tif"] = in_ranges(
        write(raster, noise(3, 190, 180, "uint8"), colours=["red", "green", "blue"], zlevel=1).read_bytes()
    )
    with pytest.raises(UserError, match="is of another image than s3://bucket/scene.tif"):
        predict_scene("s3://bucket/scene.tif", tmp_path / "out", predictor, options=OPTIONS)
    assert np.array_equal(pixels_of(result), expected)
    assert b"secret" not in everything_below(tmp_path / "out")


def test_an_archive_and_a_stac_item_on_a_server(server, raster, tmp_path, predictor, expected):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(raster, "in/a.tif")
    server.routes["/b.zip"] = in_ranges((tmp_path / "b.zip").read_bytes())
    server.routes["/a.tif"] = in_ranges(raster.read_bytes())
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": {"visual": {"href": "./a.tif"}}}
    server.routes["/item.json"] = answer(json.dumps(item).encode())
    for address, name in ((f"zip+{server.url}/b.zip!in/a.tif", "a"), (f"{server.url}/item.json", "item")):
        result = predict_scene(address, tmp_path / "out", predictor, options=OPTIONS)
        assert result.labels.name == f"{name}.labels.tif"
        assert np.array_equal(pixels_of(result), expected)


@pytest.mark.parametrize("kind", ["overview", "warped"])
def test_a_dataset_that_other_processes_would_not_open_alike(raster, tmp_path, predictor, kind):
    with rasterio.open(raster, "r+") as file:
        file.build_overviews([2])
    with rasterio.open(raster, OVERVIEW_LEVEL=0) as smaller, rasterio.open(raster) as file:
        with (
            rasterio.vrt.WarpedVRT(file, crs="EPSG:32633") as warped,
            ThreadPoolExecutor(1) as executor,
            pytest.raises(UserError, match=r"other processes cannot open .*a\.tif.* as it is open here: .*workers=1"),
        ):
            source = smaller if kind == "overview" else warped
            predict_scene(source, tmp_path / "out", predictor, name="a", options=OPTIONS, executor=executor)
        assert not list((tmp_path / "out").glob("a.*.tif"))
        result = predict_scene(smaller, tmp_path / "out", predictor, name="b", options=OPTIONS)
        assert pixels_of(result).shape == (2, 95, 90)


def test_a_dataset_that_is_open(raster, tmp_path, predictor, expected):
    with rasterio.open(raster) as file:
        result = predict_scene(file, tmp_path / "out", predictor, options=OPTIONS)
        assert np.array_equal(pixels_of(result), expected)
        assert not file.closed
    with rasterio.MemoryFile(raster.read_bytes()) as memory, memory.open() as file:
        result = predict_scene(file, tmp_path / "memory", predictor, name="m", options=OPTIONS)
        assert np.array_equal(pixels_of(result), expected)
