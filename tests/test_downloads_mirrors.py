"""Several addresses of one file, and one file out of an archive: one good file, or a sentence."""

import errno
import hashlib
import io
import shutil
import threading
import zipfile
from dataclasses import replace

import pytest
from serving import Server, answer, file_route

from segearth import weights
from segearth.downloads import connection, download, received
from segearth.errors import UserError
from segearth.files import File, bytes_text

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "SEGEARTH_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path))
    running = Server()
    yield running
    running.close()


def mirrored(server):
    mirrors = (f"{server.url}/second", f"{server.url}/third")
    return File("w", f"{server.url}/first", size=len(CONTENT), sha256=SHA256, mirrors=mirrors)


def stalls(handler):
    """Sends the beginning, and then nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:3000])
    handler.wfile.flush()
    handler.close_connection = True
    handler.server.shutdown_request(handler.request)


TROUBLES = {
    "refuses": answer(b"", status=403),
    "drops": file_route(CONTENT, stop=5000),
    "drops the start": stalls,
    "lies": file_route(CONTENT[::-1]),
    "of another length": answer(CONTENT + b"x"),
    "a web page": answer(b"<html>", Content_Type="text/html"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_mirror_goes_on_where_the_first_fails(server, tmp_path, trouble):
    """The second ignores ranges and sends the whole; what came before is not in the way."""
    server.routes["/first"] = TROUBLES[trouble]
    server.routes["/second"] = answer(CONTENT)
    download(mirrored(server), tmp_path / "w", advice="", progress=False)
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert {path.name for path in tmp_path.iterdir()} == {"w"}
    assert server.requests[-1] == ("GET", "/second")


def test_what_came_is_not_asked_for_again(server, tmp_path):
    server.routes["/first"] = file_route(CONTENT, etag=None, stop=5000)
    server.routes["/second"] = file_route(CONTENT, etag=None)
    download(mirrored(server), tmp_path / "w", advice="", progress=False)
    assert server.headers[-1]["Range"] == "bytes=5000-"
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_all_fail(server, tmp_path, monkeypatch):
    """Each is named with its reason; a mirror that is silent ends, too."""
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    server.routes["/first"] = file_route(CONTENT, stop=5000)
    server.routes["/second"] = lambda handler: server.released.wait(30)
    server.routes["/third"] = file_route(CONTENT[::-1])
    with pytest.raises(UserError) as caught:
        download(mirrored(server), tmp_path / "w", advice="Do this.", progress=False, timeout=0.2)
    said = str(caught.value)
    assert f"from {server.url}/first: the connection ended after 5,000 of 10,240 bytes" in said
    assert f"nor from {server.url}/second: " in said
    assert f"nor from {server.url}/third: the content is not the right one" in said
    assert not (tmp_path / "w").exists()
    assert received(tmp_path / "w") == 0  # the last one's bytes were none of it


def archive(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name.replace("__", "/"), data)
    return content.getvalue()


TORCH = archive(archive__data="tensors")  # as torch's own files, a zip archive


def of_archive(server):
    return File("epoch.pt", f"{server.url}/set.zip", member="epoch_20.pt", licence="x")


@pytest.mark.filterwarnings("ignore::segearth.errors.UserNotice")
def test_a_file_out_of_an_archive(server, tmp_path):
    """The archive is fetched once, by two threads at once, and deleted; what was taken out of it is found."""
    server.routes["/set.zip"] = file_route(archive(set__epoch_20_pt=b"", **{"set__epoch_20.pt": TORCH}))
    file, found = of_archive(server), []
    threads = [threading.Thread(target=lambda: found.append(weights.fetch(file, progress=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "epoch.pt"] * 2
    assert found[0].read_bytes() == TORCH
    assert len(server.requests) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"epoch.pt"}
    assert weights.find(file) == tmp_path / "epoch.pt"
    found[0].write_bytes(TORCH[:-9])  # half-copied by hand: got again
    assert weights.find(file) is None


def test_an_archive_that_breaks_goes_on(server):
    content = archive(**{"set__epoch_20.pt": TORCH})
    server.routes["/set.zip"] = file_route(content, stop=len(content) // 2)
    with pytest.raises(UserError, match="bytes that came are kept, and the next try goes on from there"):
        weights.fetch(of_archive(server), progress=False)
    server.routes["/set.zip"] = file_route(content)
    assert weights.fetch(of_archive(server), progress=False).read_bytes() == TORCH
    assert server.headers[-1]["Range"].startswith("bytes=")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(readme="x"), r"set\.zip holds 0 files that end in epoch_20\.pt"),
        (archive(**{"a__epoch_20.pt": b"x", "b__epoch_20.pt": b"x"}), r"set\.zip holds 2 files"),
        (archive(**{"a__epoch_20.pt": bytes(9999)})[::-1], r"neither a complete safetensors file nor a complete zip"),
    ],
)
def test_archives_that_are_something_else(server, content, message):
    server.routes["/set.zip"] = answer(content)
    with pytest.raises(UserError, match=message):
        weights.fetch(of_archive(server), progress=False)


def test_a_disk_without_room_for_what_is_unpacked(server, tmp_path, monkeypatch):
    """The archive is not to blame: it is kept, and the next try makes no request."""

    def full(source, sink, _length):
        sink.write(source.read(9))
        raise OSError(errno.ENOSPC, "No space left on device")

    server.routes["/set.zip"] = file_route(archive(**{"set__epoch_20.pt": TORCH}))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(UserError, match=r"No space left on device.* room for .*kept.*SEGEARTH_HOME") as caught:
            weights.fetch(of_archive(server), progress=False)
    assert bytes_text(len(TORCH)) in str(caught.value)
    assert {path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")} == {"set.zip"}
    assert weights.fetch(of_archive(server), progress=False).read_bytes() == TORCH
    assert len(server.requests) == 1
    assert not (tmp_path / "set.zip").exists()


DEFLATED = archive(**{"set__epoch_20.pt": bytes(range(256)) * 40})
TABLE = DEFLATED.index(b"PK\1\2")  # of contents


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (60, bytes(20)),  # the compressed bytes
        (46, b"\xff"),  # their beginning: another kind of block
        (100, b"\xff" * 40),
        (30, b"XX"),  # the name before them
        (TABLE + 8, b"\x01"),  # encrypted, it says
        (TABLE + 10, b"\x63"),  # compressed by a method that there is not
        (TABLE + 42, b"\xff\xff\xff\x0f"),  # beyond the end
        (len(DEFLATED) - 6, b"\xff\xff"),  # the table begins beyond the end
    ],
)
def test_a_damaged_archive(server, tmp_path, place, damage):
    """Whatever of it is damaged: nothing is left of it."""
    content = bytearray(DEFLATED)
    content[place : place + len(damage)] = damage
    server.routes["/set.zip"] = answer(bytes(content))
    with pytest.raises(UserError, match=r"set\.zip from .* cannot be unpacked"):
        weights.fetch(of_archive(server), progress=False)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    assert not replace(of_archive(server), url=None).has_place
