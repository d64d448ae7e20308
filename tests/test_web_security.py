"""What others may try with the page's server: nothing gets through, and it goes on."""

import io
import os
import shutil
import socket
import struct
import threading
import time
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from rasters import noise, write
from webserving import Client, NoWorker, form, serving

from segearth.errors import UserError
from segearth.web.images import Root
from segearth.web.rasters import check_size, open_plain
from segearth.web.uploads import Pace

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")


def tiff(side=32):
    with rasterio.MemoryFile() as file:
        write(file.name, noise(3, side, side, "uint8"))
        return file.read()


def png(side=8):
    out = io.BytesIO()
    Image.fromarray(noise(3, side, side, "uint8").transpose(1, 2, 0)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of images, and what lies beside it."""
    whole = tmp_path_factory.mktemp("whole")
    root = whole / "root"
    (root / "inner").mkdir(parents=True)
    for path in (root / "field.tif", root / "inner/deep.tif", whole / "secret.tif", root / "kept.tif"):
        write(path, noise(3, 40, 50, "uint8"))
    (root / "out.tif").symlink_to(whole / "secret.tif")
    (root / "outside").symlink_to(whole)
    (root / "circle").symlink_to(root / "circle")
    (root / "within.tif").symlink_to(root / "field.tif")
    (root / ".hidden.tif").symlink_to(root / "field.tif")
    os.mkfifo(root / "pipe.tif")
    (root / "secret.vrt").write_text(vrt("/etc/passwd"))
    (root / "secret.tif").write_text(vrt("/etc/passwd"))
    return whole


@pytest.fixture(scope="module")
def client(folders, tmp_path_factory):
    """A server that gives a second for 20 kB, of whose images none is larger than a megabyte."""
    options = {"root": Root.of(folders / "root"), "max_upload_mb": 1, "pace": Pace(0.6, 1e6)}
    with serving(tmp_path_factory.mktemp("work"), NoWorker(), **options) as found:
        yield found


def vrt(path):
    return (
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1" '
        f'subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="0">{path}</SourceFilename><ImageOffset>0'
        "</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>8</LineOffset></VRTRasterBand></VRTDataset>"
    )


def sentence(reply, status, words, field=None, given=""):
    """Whether an answer is an error of one sentence, without anything of ours in it."""
    assert reply.status == status, reply.body[:500]
    assert reply.headers["Content-Type"] == "application/json"
    found = reply.json
    found["error"] = found["error"].replace(given, "")
    assert words in found["error"]
    assert found["field"] == field
    assert not any(bad in found["error"] for bad in ("Traceback", 'File "', "/tmp/", "site-packages"))


# hosts, sites, sessions, tokens


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1:1", "localhost", "127.0.0.1.evil.example:{port}", "[::2]:{port}",
     "localhost:{port}@evil.example", "evil.example:{port}@localhost:{port}", "0.0.0.0:{port}", "localhost.:{port}",
     "localhost:{port}:{port}", "localhost:0x50", "10.0.0.1:{port}"],
)  # fmt: skip
def test_names_that_were_bound_to_this_computer_are_refused(client, host):
    host = host.format(port=client.port)
    sentence(client.get("/api", Host=host), 421, "is not")
    assert "Set-Cookie" not in client.get("/", Host=host).headers


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
def test_its_own_names_are_known(client, host):
    assert client.get("/api", Host=host.format(port=client.port)).status == 200


def test_no_host_or_two_are_refused(client):
    for lines in (b"", b"Host: localhost:%d\r\nHost: evil.example\r\n" % client.port):
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            connection.sendall(b"GET /api HTTP/1.1\r\n" + lines + b"\r\n")
            assert connection.recv(4096).split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://localhost:{port}"},
        {"Origin": "http://localhost:{port}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:{port}", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/images"), ("POST", "/api/jobs"), ("DELETE", "/api/jobs/x")]
)
def test_other_sites_change_nothing(client, headers, method, path):
    headers = {name: value.format(port=client.port) for name, value in headers.items()}
    body, kind = form(tiff())
    before = len(client.get("/api/images").json)
    sentence(client(method, path, body, {"Content-Type": kind, **headers}), 403, "another web site")
    assert len(client.get("/api/images").json) == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", None, "text/plain; application/json"]
)
@pytest.mark.parametrize("path", ["/api/images", "/api/jobs"])
def test_only_json_is_json(client, kind, path):
    """What a form of another site can send is no JSON by its type."""
    sentence(client("POST", path, b'{"path": "field.tif"}', {"Content-Type": kind}), 415, "expected application/json")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"path":' * 9999, b"1" * ((1 << 20) + 1)])
def test_bodies_that_are_no_object(client, body):
    reply = client("POST", "/api/jobs", body, {"Content-Type": "application/json"})
    sentence(reply, 413 if len(body) > 1 << 20 else 400, "expected" if len(body) < 1 << 20 else "too long")


def test_every_answer_has_the_headers(client):
    wanted = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    wanted += "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    for path in ("/", "/api", "/static/no.js", "/nothing", "/api/images/none"):
        for more in ({}, {"Host": "evil.example"}):
            headers = client.get(path, **more).headers
            assert headers["Content-Security-Policy"] == wanted
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert not {"Server", "Access-Control-Allow-Origin"} & set(headers)


def test_a_session_sees_its_own_alone(client):
    one, other = Client(client.port), Client(client.port)
    image = one.send(tiff()).json["id"]
    job = one.post("/api/jobs", image=image, classes="road; tree").json["id"]
    assert other.get("/api/images").json == other.get("/api/jobs").json == []
    for path in ("", "/tiles/0/0/0.png"):
        sentence(other.get(f"/api/images/{image}{path}"), 404, "no such image", "image")
    for path in ("", "/tiles/0/0/0.png", "/events", "/histogram", "/pixel?row=0&column=0", "/files/labels.tif"):
        sentence(other.get(f"/api/jobs/{job}{path}"), 404, "no such map", "job")
    sentence(other("DELETE", f"/api/images/{image}"), 404, "no such image", "image")
    sentence(other("DELETE", f"/api/jobs/{job}"), 404, "no such map", "job")
    sentence(other.post("/api/jobs", image=image, classes="road"), 404, "no such image", "image")
    assert len(Client(client.port, one.cookies).get("/api/jobs").json) == 1  # a second tab


def test_a_session_that_this_server_did_not_give_is_none(client):
    name = f"segearth_session_{client.port}"
    given = client.get("/api").headers["Set-Cookie"] or f"{name}={client.cookies[name]}"
    assert given.startswith(name)
    own = client.cookies[name]
    for forged in ("", "x", "x.y", own.partition(".")[0], own[:-1] + ("0" if own[-1] != "0" else "1"), "é." + own):
        fresh = Client(client.port, {name: forged}) if forged.isascii() else Client(client.port)
        reply = fresh.get("/api")
        cookie = reply.headers["Set-Cookie"]
        assert reply.status == 200
        assert fresh.cookies[name] not in (forged, own)
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")


def test_links_of_other_sites_lead_to_the_session_that_there_is(client):
    own = Client(client.port)
    image = own.send(tiff()).json["id"]
    visit = own.get("/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert "Set-Cookie" not in visit.headers
    assert [found["id"] for found in own.get("/api/images").json] == [image]
    # a picture in a page of another site comes without the cookie: it is given none that would replace it
    bare = Client(client.port).get("/api/images", **{"Sec-Fetch-Site": "cross-site"})
    assert (bare.json, bare.headers["Set-Cookie"]) == ([], None)
    assert Client(client.port).get("/api", **{"Sec-Fetch-Site": "same-origin"}).headers["Set-Cookie"]


def test_other_computers_need_the_token(tmp_path):
    with serving(tmp_path, NoWorker(), host="0.0.0.0") as client:
        token, port = client.address.token, client.port
        assert f"?token={token}" in client.address.url
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {token}"}, {"Authorization": "é"}):
            for path in ("/", "/api", "/static/x.js", "/?token=x", f"/?TOKEN={token}"):
                reply = Client(port)("GET", path, headers={k: v.encode("latin-1") for k, v in headers.items()})
                sentence(reply, 401, "a token is needed")
        assert client("GET", "/api", headers={"Authorization": f"Bearer {token}"}).status == 200
        sentence(client("POST", f"/api/images?token={token}", b""), 401, "a token is needed")
        reply = client.get(f"//evil.example/?token={token}&a=1")
        assert (reply.status, reply.headers["Location"]) == (303, "/evil.example/?a=1")
        assert token not in reply.headers["Location"]
        assert client.get("/api").status == 200  # by the cookie
        assert client.get("/api", Host=f"192.0.2.7:{port}").status == 200  # an address cannot be bound anew
        sentence(client.get("/api", Host=f"evil.example:{port}"), 421, "is not")


@pytest.mark.parametrize(
    ("host", "secret"), [("127.0.0.1", False), ("localhost", False), ("::1", False), ("127.0.0.2", False)]
)
def test_this_computer_needs_no_token(host, secret):
    from segearth.web.security import is_loopback

    assert is_loopback(host) is not secret
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert not is_loopback("localhost.evil.example")


# paths

OUTSIDE = [
    "../secret.tif", "inner/../../secret.tif", "..", "/etc/passwd", "{whole}/secret.tif", "out.tif", "", ".", "inner",
    "outside/secret.tif", "circle", "pipe.tif", "field.tif\0", "\0", "%2e%2e/secret.tif", "..%2fsecret.tif", "~/x",
    "..\\secret.tif", "/vsicurl/http://127.0.0.1:9/a.tif", "/vsizip/a.zip", "http://127.0.0.1:9/a.tif",
    "file:///etc/passwd", "GTIFF_DIR:1:{whole}/secret.tif", "<VRTDataset/>", "a" * 5000, "field.tif/", "\ud800",
    "nothing.tif",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_lead_nowhere_else(client, folders, path):
    reply = client.post("/api/images", path=path.format(whole=folders))
    if path == "field.tif/":  # the file itself, or none
        assert reply.status in (201, 404)
        return
    sentence(reply, 404, "expected one below root", "path", path.format(whole=folders))


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../",
        "outside",
        "/",
        "/etc",
        "inner/../..",
        "%2e%2e",
        "%2e%2e%2f",
        "%00",
        "field.tif",
        "circle",
        "nothing",
    ],
)
def test_folders_lead_nowhere_else(client, path):
    sentence(client.get(f"/api/files?path={path}"), 404, "no folder", "path")


def test_what_is_below_the_root_can_be_opened(client):
    listing = client.get("/api/files").json
    assert listing["folders"] == ["inner"]
    assert [file["name"] for file in listing["files"]] == ["field.tif", "kept.tif", "secret.tif", "within.tif"]
    assert client.get("/api/files?path=inner").json["files"][0]["name"] == "deep.tif"
    for path in ("field.tif", "inner/deep.tif", "inner/../field.tif", "within.tif"):
        assert client.post("/api/images", path=path).status == 201
    for path in ("secret.vrt", "secret.tif"):
        sentence(client.post("/api/images", path=path), 422, "no image that can be mapped", "path")
    for value in (None, 1, ["field.tif"], {}):
        sentence(client.post("/api/images", path=value), 400, "no path", "path")


def test_what_is_left_out_has_no_share_of_a_long_list(tmp_path, monkeypatch):
    monkeypatch.setattr("segearth.web.images._MOST_LISTED", 3)
    for name in (".a.tif", "a.txt", "b.txt", "c.txt", "d.TIF", "e.tif", "f.tif"):
        (tmp_path / name).touch()
    listing = Root.of(tmp_path).listing("")
    assert [file["name"] for file in listing["files"]] == ["d.TIF", "e.tif", "f.tif"]
    assert listing["more"] is False
    (tmp_path / "g.txt").touch()
    assert Root.of(tmp_path).listing("")["more"] is False
    (tmp_path / "da").mkdir()
    listing = Root.of(tmp_path).listing("")
    assert listing["folders"] == ["da"]
    assert [file["name"] for file in listing["files"]] == ["d.TIF", "e.tif"]
    assert listing["more"] is True


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/%00",
     "/static/%2e%2e%5capp.py", "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/", "/static"],
)  # fmt: skip
def test_static_files_lead_nowhere_else(client, path):
    assert client.get(path).status in (404, 405, 307)


def test_without_a_root_no_path_can_be_given(tmp_path):
    with serving(tmp_path, NoWorker()) as client:
        assert client.get("/api").json["root"] is None
        sentence(client.get("/api/files"), 404, "no folder of images", "path")
        sentence(client.post("/api/images", path="field.tif"), 404, "no folder of images", "path")


# files that are sent


def sparse(side, **profile):
    """A TIFF of a few bytes that says that it is very large."""
    with rasterio.MemoryFile() as file:
        profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "SPARSE_OK": True, **profile}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            rasterio.open(file.name, "w", height=side, width=side, **profile).close()
        return file.read()


def png_bomb(side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(1 << 16), 9)
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def polyglot():
    """A JPEG whose first bytes are the XML of a VRT, too."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    comment = vrt("/etc/passwd").encode()
    return b"\xff\xd8\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + out.getvalue()[2:]


def referring():
    """A TIFF whose metadata name another file for its overviews."""
    with rasterio.MemoryFile() as file:
        write(file.name, noise(1, 64, 64, "uint8"))
        with rasterio.open(file.name, "r+") as image:
            image.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/etc/passwd")
        return file.read()


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("field.tif", tiff())
    return out.getvalue()


NO_IMAGES = {
    "empty.tif": b"",
    "picture.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "page.tif": b"<!DOCTYPE html><script>alert(1)</script>",
    "all.zip": zipped(),
    "scene.vrt": vrt("/etc/passwd").encode(),
    "scene.tif": b"  " + vrt("/vsicurl/http://127.0.0.1:9/").encode(),
    "tiles.xml": b'<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>',
    "cut.tif": tiff()[:100],
    "cut.png": png()[:20],
    "animated.gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_refused(client, name):
    sentence(client.send(NO_IMAGES[name], name), 422, f"{name} is no image that can be mapped", "file")
    assert not list(client.service.options.work.glob("images/*/image"))[3:]


def test_bombs_are_refused(client):
    """A file says that it is a thousand times what it can hold: nothing of it is read."""
    sentence(client.send(sparse(100_000, tiled=True, blockxsize=1024, blockysize=1024)), 422, "more than its", "file")
    sentence(client.send(sparse(30_000, blockysize=30_000)), 422, "more than its", "file")
    sentence(client.send(png_bomb(50_000), "a.png"), 422, "more than its", "file")


def test_large_parts_and_formats_without_parts_are_refused_by_path_too(tmp_path):
    path = tmp_path / "parts.tif"
    path.write_bytes(sparse(32_768, tiled=True, blockxsize=16_384, blockysize=16_384, compress="deflate"))
    with open_plain(path, "parts.tif") as image, pytest.raises(UserError, match="stored in parts of .* MB"):
        check_size(image, "parts.tif", None)
    path.write_bytes(png_bomb(50_000))
    with open_plain(path, "a.png") as image, pytest.raises(UserError, match="in one piece"):
        check_size(image, "a.png", None)


def test_files_that_are_two_things_are_images_or_nothing(client):
    """GDAL by itself would take it for a VRT, and read what that names."""
    found = client.send(polyglot(), "two.jpg").json
    assert (found["width"], found["height"], found["bands"]) == (8, 8, 3)
    assert client.until(f"/api/images/{found['id']}", "ready", "failed")["state"] == "ready"


def test_files_that_refer_to_others_are_refused(client):
    sentence(client.send(referring(), "a.tif"), 422, "a.tif refers to another file", "file")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>.tif", "../../etc/passwd", "a\"b'&.tif", "\u202egnp.tif", "x" * 3000 + ".tif", "..",
     "C:\\a\\b.tif"],
)  # fmt: skip
def test_names_are_data(client, name):
    found = client.send(tiff(), name).json
    assert "/" not in found["name"]
    assert "\\" not in found["name"].replace("\\u202e", "")
    assert len(found["name"]) <= 200
    assert "\u202e" not in found["name"]
    reply = client.post("/api/jobs", image=found["id"], classes='<img src=x onerror="alert(1)">; tree\u2028; &amp;')
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.status in (202, 400)
    if "<script>" in name:
        assert found["name"] == "script>.tif"  # what is behind the last slash
        assert reply.status == 400  # of a line that a name cannot have
        job = client.post("/api/jobs", image=found["id"], classes='<img src=x onerror="alert(1)">; &amp;').json
        assert job["classes"][0]["name"] == '<img src=x onerror="alert(1)">'


# large and slow ones


def test_no_file_is_larger_than_allowed(client):
    work = client.service.options.work
    before = len(list(work.glob("images/*")))
    large = bytes(1_200_000)
    sentence(client.send(large), 413, "larger than 1 MB", "file")
    body, kind = form(large)
    pieces = (body[i : i + 60_000] for i in range(0, len(body), 60_000))
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    reply = client("POST", "/api/images", chunked, {"Content-Type": kind, "Transfer-Encoding": "chunked"})
    sentence(reply, 413, "larger than 1 MB", "file")
    assert len(list(work.glob("images/*"))) == before
    # a header that lies: what it does not count is no part of the file
    reply = client.send(tiff(), **{"Content-Length": "200"})
    sentence(reply, 400, "no whole file", "file")
    assert len(list(work.glob("images/*"))) == before


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary="),
        (b"nothing of that", "multipart/form-data; boundary=xyz"),
        (form(b"x", field="other")[0], "multipart/form-data; boundary=xyz"),
        (form(b"x")[0][:-9], "multipart/form-data; boundary=xyz"),
        (
            b'--xyz\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--xyz--',
            "multipart/form-data; boundary=xyz",
        ),
        (b"--xyz\r\n" + b"A: " + b"b" * 900_000, "multipart/form-data; boundary=xyz"),
    ],
)
def test_forms_without_a_file(client, body, kind):
    reply = client("POST", "/api/images", body, {"Content-Type": kind})
    assert reply.status == 400
    assert reply.json["field"] == "file"


def test_slow_uploads_end_and_others_are_served_meanwhile(client, monkeypatch):
    monkeypatch.setattr("segearth.web.app.MOST_UPLOADS", 51)
    body, kind = form(tiff())
    head = f"POST /api/images HTTP/1.1\r\nHost: localhost:{client.port}\r\nContent-Type: {kind}\r\n"
    begun = time.monotonic()
    connections = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(50)]
    for connection in connections:
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body[:50])
    assert client.get("/api").status == 200
    assert client.send(tiff()).status == 201
    answers = []
    for connection in connections:
        connection.settimeout(20)
        answers.append(connection.makefile("rb").read())
        connection.close()
    assert all(b" 408 " in answer.splitlines()[0] for answer in answers)
    assert b"too slow" in answers[0]
    assert time.monotonic() - begun >= 0.6


def test_few_files_are_sent_at_a_time(client, monkeypatch):
    monkeypatch.setattr("segearth.web.app.MOST_UPLOADS", 1)
    body, kind = form(tiff())
    end = time.monotonic() + 20

    def until(count):
        while client.service.uploads != count:
            assert time.monotonic() < end
            time.sleep(0.01)

    until(0)
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        head = f"POST /api/images HTTP/1.1\r\nHost: localhost:{client.port}\r\nContent-Type: {kind}\r\n"
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body[:50])
        until(1)
        sentence(Client(client.port).send(tiff()), 429, "1 files are being sent", "file")
    until(0)
    assert client.send(tiff()).status == 201


def test_an_upload_that_breaks_off_leaves_nothing(client):
    body, kind = form(tiff())
    before = set(client.service.options.work.glob("images/*"))
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        head = f"POST /api/images HTTP/1.1\r\nHost: localhost:{client.port}\r\nContent-Type: {kind}\r\n"
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body[:50])
    end = time.monotonic() + 20
    while set(client.service.options.work.glob("images/*")) - before:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_fifty_maps_at_once_are_too_many(tmp_path):
    worker = NoWorker()
    with serving(tmp_path, worker) as client:
        image = client.send(tiff()).json["id"]
        replies = []
        ask = lambda: replies.append(client.post("/api/jobs", image=image, classes="road; tree"))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = [reply.json for reply in replies if reply.status == 202]
        assert len(taken) == 21  # one is made, the others wait
        for reply in replies:
            if reply.status != 202:
                sentence(reply, 429, "20 maps are waiting")
        assert len(worker.tasks) == 1
        # another session's turn comes first, and then each other one
        other = Client(client.port)
        second = other.send(tiff()).json["id"]
        job = other.post("/api/jobs", image=second, classes="road").json
        assert job["position"] == 2
        waiting = [found["position"] for found in client.get("/api/jobs").json if found["state"] == "queued"]
        assert sorted(waiting) == [1, *range(3, 22)]
        for found in client.get("/api/jobs").json:
            client.post(f"/api/jobs/{found['id']}/cancel")
        assert other.until(f"/api/jobs/{job['id']}", "running")["position"] is None


def test_many_images_are_too_many(client, monkeypatch):
    monkeypatch.setattr("segearth.web.state.MOST_IMAGES", 2)
    fresh = Client(client.port)
    assert [fresh.send(tiff()).status for _ in range(3)] == [201, 201, 429]
    fresh("DELETE", f"/api/images/{fresh.get('/api/images').json[0]['id']}")
    assert fresh.send(tiff()).status == 201


def test_without_a_cookie_there_are_limits_too(tmp_path, monkeypatch):
    """Each such request is a session of its own: what all of them have together counts."""
    worker = NoWorker()
    with serving(tmp_path, worker, example=True) as client:
        (example,) = client.get("/api").json["examples"]
        for name in ("IMAGES", "WAITING"):
            monkeypatch.setattr(f"segearth.web.state.ALL_{name}", 2)
        assert [Client(client.port).send(tiff()).status for _ in range(2)] == [201, 201]
        sentence(Client(client.port).send(tiff()), 429, "2 images of all sessions")

        def ask():
            return Client(client.port).post("/api/jobs", image=example, classes="road; tree")

        assert [ask().status for _ in range(2)] == [202, 202]  # that of the example is made
        sentence(ask(), 429, "2 maps of all sessions are waiting")
        assert len(list(tmp_path.glob("jobs/*"))) == 3
        worker.end()
        client.until(f"/api/jobs/{client.get('/api/jobs').json[-1]['id']}", "done")
        monkeypatch.setattr("segearth.web.state.ALL_JOBS", 3)
        sentence(ask(), 429, "3 maps of all sessions")


@pytest.mark.parametrize("number", ["9" * 11, "9" * 5000])
def test_tiles_have_no_long_numbers(client, number):
    image = client.send(tiff()).json["id"]
    client.until(f"/api/images/{image}", "ready")
    for where in (f"{number}/0/0", f"0/{number}/0", f"0/0/{number}"):
        sentence(client.get(f"/api/images/{image}/tiles/{where}.png"), 404, "nothing at this address")
    assert client.get(f"/api/images/{image}/tiles/0/{'9' * 10}/0.png").status == 204


def test_a_disk_that_is_full_is_told(client, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segearth.web.uploads._Form._part_data", full)
    sentence(client.send(tiff()), 507, "free some space", "file")


def test_a_defect_is_told_without_what_it_is(client, monkeypatch, capfd):
    monkeypatch.setattr("segearth.web.app.presets", lambda: 1 / 0)
    sentence(client.get("/api"), 500, "made a mistake")
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_images_that_vanish_or_change(client, folders):
    image = client.post("/api/images", path="kept.tif").json["id"]
    client.until(f"/api/images/{image}", "ready")
    assert client.get(f"/api/images/{image}/tiles/0/0/0.png").status == 200
    path = folders / "root/kept.tif"
    write(path, np.zeros((3, 20, 20), np.uint8))
    sentence(client.get(f"/api/images/{image}/tiles/0/0/0.png"), 409, "has become another image", "image")
    path.unlink()
    sentence(client.get(f"/api/images/{image}/tiles/0/0/0.png"), 409, "kept.tif is no longer there", "image")
    shutil.copy(folders / "secret.tif", path)
