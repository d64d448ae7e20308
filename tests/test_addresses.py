"""Where rasters are: GDAL's names, archives, servers that fail and stall, clouds, STAC Items."""

import io
import json
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image
from serving import Server, answer, in_ranges

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasterio.env import get_gdal_config  # noqa: E402
from rasters import choose_spec, noise, write  # noqa: E402

from segearth.addresses import absolute_address, display_name, gdal_name, gdal_settings, is_remote  # noqa: E402
from segearth.batch.inputs import find_images  # noqa: E402
from segearth.errors import UserError  # noqa: E402
from segearth.scenes.naming import scene_name  # noqa: E402
from segearth.scenes.raster import ReadFailed, open_raster  # noqa: E402
from segearth.windows import Window  # noqa: E402

ALL = Window(0, 70, 0, 90)
PIXELS = noise(3, 70, 90, "uint8")


@pytest.fixture
def server(monkeypatch):
    """A server, and GDAL that does not wait long for it."""
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.02")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "2")
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def content(tmp_path):
    """A GeoTIFF as bytes; its pixels come after the first 16 kB, which GDAL takes to open it."""
    path = tmp_path / "a.tif"
    write(path, noise(3, 200, 200, "uint8", seed=1), interleave="band", colours=["red", "green", "blue"])
    return path.read_bytes()


def read(address, window=ALL, **options):
    spec, _ = choose_spec(address, **options)
    with open_raster(spec) as raster:
        return raster.read(window)


@pytest.mark.parametrize(
    ("address", "name", "remote"),
    [
        ("https://host/a b.tif?key=1", "/vsicurl/https://host/a b.tif?key=1", True),
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif", True),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif", True),
        ("az://box/b.tif", "/vsiaz/box/b.tif", True),
        ("zip+https://host/a.zip!in/b.tif", "/vsizip/{/vsicurl/https://host/a.zip}/in/b.tif", True),
        ("zip+s3://bucket/a.zip!b.tif", "/vsizip/{/vsis3/bucket/a.zip}/b.tif", True),
        ("/vsizip/a.zip/b.tif", "/vsizip/a.zip/b.tif", False),
        ("<VRTDataset/>", "<VRTDataset/>", False),
        ("<GDAL_WMS><ServerUrl>https://x/</ServerUrl></GDAL_WMS>",) * 2 + (True,),
        ('WMS:"https://x"', 'WMS:"https://x"', True),
    ],
)
def test_names(address, name, remote):
    assert gdal_name(address) == name
    assert is_remote(name) is remote


def test_local_names_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.nc", "c.zip", "NETCDF:x"):
        (tmp_path / name).touch()
    assert gdal_name("a.tif") == absolute_address("a.tif") == f"{tmp_path}/a.tif"
    assert gdal_name(f"file://{tmp_path}/a.tif") == f"{tmp_path}/a.tif"
    assert gdal_name("zip://c.zip!b.tif") == f"/vsizip/{{{tmp_path}/c.zip}}/b.tif"
    assert gdal_name('NETCDF:"b.nc":red') == absolute_address('NETCDF:"b.nc":red') == f'NETCDF:"{tmp_path}/b.nc":red'
    assert gdal_name("GTIFF_DIR:2:a.tif") == f"GTIFF_DIR:2:{tmp_path}/a.tif"
    assert gdal_name("NETCDF:x") == f"{tmp_path}/NETCDF:x"
    assert absolute_address("s3://a/b.tif") == "s3://a/b.tif"


@pytest.mark.parametrize("address", ["ftps://a/b.tif", "zip+ftp://a/b.zip!c.tif"])
def test_unknown_schemes(address):
    with pytest.raises(UserError, match="unknown scheme .*://.*expected https://, s3://"):
        gdal_name(address)


def test_keys_are_not_shown():
    assert display_name("https://me:secret@host/a.tif?sig=secret") == "https://host/a.tif"
    assert display_name("/vsicurl/https://host/a.tif?sig=secret") == "/vsicurl/https://host/a.tif"
    assert display_name("https://me:se@cret@host/a b.tif?box=1,2&sig=secret") == "https://host/a b.tif"
    assert (
        display_name("/vsizip/{/vsicurl/https://me:secret@host/a.zip}/b.tif")
        == "/vsizip/{/vsicurl/https://host/a.zip}/b.tif"
    )
    assert display_name("https://host/a@2.tif") == "https://host/a@2.tif"
    assert display_name("is it this?.tif") == "is it this?.tif"
    assert display_name("<VRTDataset>" + "x" * 1000) == "the VRT"


@pytest.mark.parametrize(
    "address",
    [
        "https://me:secret@host/a/scene.tif?sig=secret",
        "/vsicurl/https://me:secret@host/a/scene.tif",
        "zip+https://me:secret@host/a.zip!in/scene.tif",
        'WMS:"https://me:secret@host/wms?key=secret"',
        "WMS:https://me:secret@host/wms?key=secret",
        "https://me:secret@host",
    ],
)
def test_keys_are_in_no_name(tmp_path, address):
    items = find_images([address, address.replace("host", "other")], tmp_path)
    assert items[0].name != items[1].name
    for item in items:
        assert "secret" not in f"{item.name} {item.image} {item.shown} {scene_name(item.source)}"
    assert "host" in items[0].name


def test_a_stac_item_is_named_without_keys(server):
    server.routes["/item.json?sig=secret"] = answer(b"{")
    with pytest.raises(UserError, match="STAC Item http://127.0.0.1:[0-9]*/item.json cannot be read") as error:
        choose_spec(f"{server.url}/item.json?sig=secret")
    assert "secret" not in str(error.value)


def test_settings_of_the_user_win(monkeypatch):
    for name in ("GDAL_HTTP_MAX_RETRY", "GDAL_CACHEMAX"):
        monkeypatch.delenv(name, raising=False)
    with gdal_settings("/a.tif"):
        assert get_gdal_config("GDAL_HTTP_MAX_RETRY") == 4
        assert get_gdal_config("GDAL_CACHEMAX") == 128 * 2**20
        assert get_gdal_config("GDAL_DISABLE_READDIR_ON_OPEN") is None
    with gdal_settings("/vsis3/a/b.tif"):
        assert get_gdal_config("GDAL_DISABLE_READDIR_ON_OPEN") == "EMPTY_DIR"
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "7")
    with gdal_settings("/a.tif"):
        assert get_gdal_config("GDAL_HTTP_MAX_RETRY") == 7
    monkeypatch.delenv("GDAL_HTTP_MAX_RETRY")
    with rasterio.Env(GDAL_HTTP_MAX_RETRY=9), gdal_settings("/a.tif"):
        assert get_gdal_config("GDAL_HTTP_MAX_RETRY") == 9


def test_zip(tmp_path):
    path = write(tmp_path / "a.tif", PIXELS)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/a.tif")
        archive.writestr("readme.txt", "hello")
    assert np.array_equal(read(f"zip://{tmp_path}/a.zip!in/a.tif")[0], PIXELS)
    with pytest.raises(UserError, match=r"a.zip!b.tif cannot be opened as a raster"):
        choose_spec(f"zip://{tmp_path}/a.zip!b.tif")
    with pytest.raises(UserError, match="no raster at .*b.zip"):
        choose_spec(f"zip://{tmp_path}/b.zip!b.tif")


def test_a_vrt_beside_its_raster(tmp_path):
    write(tmp_path / "a.tif", PIXELS)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        f"</SourceFilename><SourceBand>{4 - i}</SourceBand></SimpleSource></VRTRasterBand>" for i in (1, 2, 3)
    )  # fmt: skip
    (tmp_path / "b.vrt").write_text(f'<VRTDataset rasterXSize="90" rasterYSize="70">{bands}</VRTDataset>')
    assert np.array_equal(read(tmp_path / "b.vrt")[0], PIXELS[::-1])


def test_a_raster_on_a_server(server, content):
    server.routes["/a.tif"] = in_ranges(content)
    whole = noise(3, 200, 200, "uint8", seed=1)
    spec, remarks = choose_spec(f"{server.url}/a.tif")
    assert (spec.address, remarks) == (f"{server.url}/a.tif", [])
    with open_raster(spec) as raster:
        assert raster.is_remote
        found, _ = raster.read(Window(100, 150, 30, 130))
    assert np.array_equal(found, whole[:, 100:150, 30:130])
    assert {path for _, path in server.requests} == {"/a.tif"}  # nothing that may lie beside it was asked for


def test_a_server_that_fails_at_times(server, content):
    failed = []

    def trouble(handler, start):
        if start > 0 and start not in failed:
            failed.append(start)
            answer(b"", status=503)(handler)
            return True
        return False

    server.routes["/a.tif"] = in_ranges(content, trouble)
    found, valid = read(f"{server.url}/a.tif", Window(0, 200, 0, 200))
    assert failed
    assert np.array_equal(found, noise(3, 200, 200, "uint8", seed=1))
    assert valid.all()


@pytest.mark.parametrize("seconds", [0, 30])
def test_a_server_that_breaks_off_or_stalls_amid_an_answer(server, content, monkeypatch, seconds):
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    stalled = []

    def trouble(handler, start):
        if start > 0 and not stalled:
            stalled.append(start)
            answer(b"abc", status=206, length=1000, Content_Range=f"bytes {start}-{start + 999}/{len(content)}")(
                handler
            )
            handler.wfile.flush()
            server.released.wait(seconds)
            return True
        return False

    server.routes["/a.tif"] = in_ranges(content, trouble)
    found, _ = read(f"{server.url}/a.tif", Window(0, 200, 0, 200), stretch="none")
    assert stalled
    assert np.array_equal(found, noise(3, 200, 200, "uint8", seed=1))


def test_a_server_that_fails_for_good(server, content):
    broken = threading.Event()

    def trouble(handler, start):
        if broken.is_set() and start > 0:
            answer(b"", status=500)(handler)
        return broken.is_set() and start > 0

    server.routes["/a.tif"] = in_ranges(content, trouble)
    address = f"{server.url}/a.tif?key=secret"
    server.routes["/a.tif?key=secret"] = server.routes["/a.tif"]
    with open_raster(address, choose_spec(f"{server.url}/a.tif")[0]) as raster:
        broken.set()
        with pytest.raises(ReadFailed, match="rows 100 to 199, columns 0 to 199 cannot be read: ") as error:
            raster.read(Window(100, 200, 0, 200))
        broken.clear()
        assert raster.read(Window(100, 200, 0, 200))[1].all()  # the same handle goes on
    assert "secret" not in str(error.value)
    broken.set()
    server.routes["/b.tif"] = in_ranges(content, trouble)
    with pytest.raises(ReadFailed):
        choose_spec(f"{server.url}/b.tif")  # no stretch from half of a raster because the network is down
    with pytest.raises(UserError, match=r"c.tif cannot be opened as a raster \(HTTP response code: 404"):
        choose_spec(f"{server.url}/c.tif")


@pytest.mark.parametrize("signed", [False, True])
def test_s3(server, content, monkeypatch, signed):
    monkeypatch.setenv("AWS_S3_ENDPOINT", server.url.partition("://")[2])
    monkeypatch.setenv("AWS_HTTPS", "NO")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
    monkeypatch.setenv("AWS_REGION", "here")
    if signed:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    else:
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    name = f"bucket/{signed}.tif"
    server.routes[f"/{name}"] = in_ranges(content)
    found, _ = read(f"s3://{name}", Window(0, 200, 0, 200))
    assert np.array_equal(found, noise(3, 200, 200, "uint8", seed=1))
    assert all(("Authorization" in headers) is signed for headers in server.headers)


def test_zip_on_a_server(server, tmp_path):
    path = write(tmp_path / "a.tif", PIXELS)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    server.routes["/a.zip"] = in_ranges((tmp_path / "a.zip").read_bytes())
    assert np.array_equal(read(f"zip+{server.url}/a.zip!a.tif")[0], PIXELS)


def test_a_map_service(server):
    picture = io.BytesIO()
    Image.fromarray(np.full((256, 256, 3), (10, 120, 250), np.uint8)).save(picture, "png")
    server.routes["/0/0/0.png"] = answer(picture.getvalue(), Content_Type="image/png")
    xml = (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{server.url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>'
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>256</UpperLeftY><LowerRightX>256</LowerRightX>"
        "<LowerRightY>0</LowerRightY><TileLevel>0</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>"
        "</DataWindow><Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>"
        "<BandsCount>3</BandsCount></GDAL_WMS>"
    )
    found, _ = read(xml, Window(3, 9, 4, 7))
    assert found[:, 0, 0].tolist() == [10, 120, 250]


def item(assets, **more):
    return {"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": assets, **more}


def bands_in(folder, **options):
    """A file for each colour, and one of all."""
    for number, name in enumerate(["B04", "B03", "B02"]):
        write(folder / f"{name}.tif", PIXELS[number : number + 1], **options)
    write(folder / "visual.tif", PIXELS)


STAC = {
    "visual": {"visual": {"href": "./visual.tif"}, "red": {"href": "B02.tif"}},
    "keys": {"red": {"href": "B04.tif"}, "green": {"href": "B03.tif"}, "blue": {"href": "B02.tif"}, "n": {"href": "x"}},
    "1.0": {
        name: {"href": f"{name}.tif", "eo:bands": [{"common_name": colour}]}
        for name, colour in (("B02", "blue"), ("B03", "green"), ("B04", "red"))
    },
    "1.1": {
        name: {"href": f"{name}.tif", "bands": [{"eo:common_name": colour}]}
        for name, colour in (("B02", "blue"), ("B03", "green"), ("B04", "red"))
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", STAC)
def test_stac_items_on_a_disk(tmp_path, kind):
    bands_in(tmp_path, nodata=0)
    (tmp_path / "item.json").write_text(json.dumps(item(STAC[kind])))
    spec, remarks = choose_spec(tmp_path / "item.json")
    assert (spec.address, spec.bands, remarks) == (f"{tmp_path}/item.json", (1, 2, 3), [])
    with open_raster(spec) as raster, rasterio.open(tmp_path / "visual.tif") as file:
        found, valid = raster.read(ALL)
        assert (raster.transform, raster.crs) == (file.transform, file.crs)
        assert np.array_equal(valid, file.dataset_mask() > 0)
    assert np.array_equal(found[:, valid], PIXELS[:, valid])


@pytest.mark.parametrize("path", ["/c/items/x", "/item.json"])
def test_stac_items_on_a_server(server, tmp_path, path):
    bands_in(tmp_path)
    folder = path.rpartition("/")[0]
    for name in ("B02", "B03", "B04"):
        server.routes[f"{folder}/{name}.tif"] = in_ranges((tmp_path / f"{name}.tif").read_bytes())
    answers = [answer(b"", status=502), answer(json.dumps(item(STAC["keys"])).encode())]
    server.routes[path] = lambda handler: answers.pop(0)(handler) if len(answers) > 1 else answers[0](handler)
    found, valid = read(server.url + path)
    assert np.array_equal(found, PIXELS)
    assert valid.all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"STAC Item .*item.json cannot be read \(.*expected JSON"),
        (json.dumps(item({"B8": {"href": "a"}})), "json has the assets B8: expected visual, or red, green and blue"),
        (json.dumps(item({})), r"has the assets \(none\)"),
        (json.dumps({"type": "FeatureCollection", "features": []}), "item.json cannot be opened as a raster"),
        (json.dumps(item({"visual": {"href": "none.tif"}})), "no raster at .*none.tif"),
    ],
)  # fmt: skip
def test_stac_items_that_are_refused(tmp_path, content, message):
    (tmp_path / "item.json").write_text(content)
    with pytest.raises(UserError, match=message):
        choose_spec(tmp_path / "item.json")


def test_stac_items_with_bands_of_several_sizes(tmp_path):
    bands_in(tmp_path)
    write(tmp_path / "B02.tif", PIXELS[:1, ::2, ::2])
    (tmp_path / "item.json").write_text(json.dumps(item(STAC["keys"])))
    with pytest.raises(UserError, match=r"B02.tif and .*B04.tif do not have the same pixels: .*gdalwarp"):
        choose_spec(tmp_path / "item.json")
