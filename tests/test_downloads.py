"""Everything against a server on this computer; nothing here touches a network."""

import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save

from segearth import downloads
from segearth.downloads import download, reachable
from segearth.errors import UserError
from segearth.files import File

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TENSORS = save({"w": torch.arange(600, dtype=torch.float32)})


class Server:
    """Answers by path: `routes[path](handler)`; notes what it was asked for."""

    def __init__(self):
        self.routes = {}
        self.requests = []
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.command, self.path))
                server.routes.get(self.path, answer(b"", status=404))(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()


def answer(body, status=200, length=None, **headers):
    """A route: `length` is what Content-Length claims (the true one by default, False for none)."""

    def route(handler):
        handler.send_response(status)
        if length is not False:
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    return route


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "SEGEARTH_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")


def fails(file, target, match, **options):
    """The download ends in a UserError of three parts, and leaves no file behind."""
    with pytest.raises(UserError, match=match) as caught:
        download(file, target, advice="Do this next.", progress=False, **options)
    message = str(caught.value)
    assert file.name in message
    assert "Expected" in message
    assert message.endswith("Do this next.") or "Set SEGEARTH_HOME" in message
    assert "\n" not in message
    assert not target.exists()
    assert not target.parent.exists() or list(target.parent.iterdir()) == []
    return message


def test_download_of_a_pinned_file(server, tmp_path, capsys):
    server.routes["/w"] = answer(CONTENT)
    target = tmp_path / "new" / "cache" / "w.bin"
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    file = File("w.bin", f"{server.url}/w", size=len(CONTENT), sha256=SHA256, git_blob=blob)
    download(file, target, advice="")
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["w.bin"]
    assert server.requests == [("GET", "/w")]
    out, err = capsys.readouterr()
    assert out == ""
    assert "w.bin" in err


def test_no_progress_bar(server, tmp_path, capsys):
    server.routes["/w"] = answer(CONTENT)
    download(File("w", f"{server.url}/w", sha256=SHA256), tmp_path / "w", advice="", progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_wrong_copy_is_replaced(server, tmp_path):
    server.routes["/w"] = answer(CONTENT)
    target = tmp_path / "w"
    target.write_bytes(b"interrupted")
    download(File("w", f"{server.url}/w", sha256=SHA256), target, advice="", progress=False)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("route", "match"),
    [
        (answer(CONTENT[:-1] + b"!"), "SHA-256 is [0-9a-f]{64}, expected " + SHA256),
        (answer(CONTENT + b"more"), "offers 10,244 bytes, expected 10,240"),
        (answer(CONTENT[:5000], length=len(CONTENT)), "ended after 5,000 of 10,240 bytes|broke"),
        (answer(CONTENT + b"more", length=False), "more than the expected 10,240 bytes"),
        (answer(b"gone", status=404), "answered 404 Not Found"),
        (answer(b"", status=503), "answered 503"),
    ],
)
def test_bad_answers(server, tmp_path, route, match):
    server.routes["/w"] = route
    file = File("w", f"{server.url}/w", size=len(CONTENT), sha256=SHA256)
    fails(file, tmp_path / "cache" / "w", match)
    assert len(server.requests) == 1  # never repeated


def test_git_blob_is_checked(server, tmp_path):
    server.routes["/w"] = answer(CONTENT)
    fails(File("w", f"{server.url}/w", git_blob="0" * 40), tmp_path / "w", "git blob id is [0-9a-f]{40}, expected 0")


def hub_routes(server, body, declared):
    """As the hub answers: a redirect that declares the content, to a storage server that does not."""
    headers = {"X_Linked_Etag": f'"{declared}"', "X_Linked_Size": len(body)} if declared else {}
    server.routes["/o/r/resolve/main/w.safetensors"] = answer(b"", status=302, Location="/storage", **headers)
    server.routes["/storage"] = answer(body, ETag='"storage"', X_Linked_Etag='"' + "1" * 64 + '"')
    if not declared:
        server.routes["/storage"] = answer(body)
    return File("mine.safetensors", hub=("o/r", "w.safetensors"))


def test_hub_file_is_checked_against_the_declared_hash(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    file = hub_routes(server, TENSORS, hashlib.sha256(TENSORS).hexdigest())
    download(file, tmp_path / "mine.safetensors", advice="", progress=False)
    assert (tmp_path / "mine.safetensors").read_bytes() == TENSORS
    file = hub_routes(server, TENSORS, "0" * 64)
    fails(file, tmp_path / "other" / "mine.safetensors", "expected " + "0" * 64)


def test_hub_file_without_a_declared_hash(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    download(hub_routes(server, TENSORS, None), tmp_path / "w", advice="", progress=False)
    assert (tmp_path / "w").read_bytes() == TENSORS
    fails(hub_routes(server, CONTENT, None), tmp_path / "a" / "w", "not a complete safetensors file")
    server.routes["/storage"] = answer(TENSORS, length=False)
    fails(File("w", hub=("o/r", "w.safetensors")), tmp_path / "a" / "w", "does not say how long")


def test_a_stalled_body(server, tmp_path, monkeypatch):
    def half(handler):
        answer(CONTENT[:100], length=len(CONTENT))(handler)
        handler.wfile.flush()
        server.released.wait(5)

    monkeypatch.setattr(downloads, "STALL_S", 0.2)
    server.routes["/w"] = half
    fails(File("w", f"{server.url}/w", sha256=SHA256), tmp_path / "w", "connection broke: timed out")


def test_ctrl_c_leaves_nothing(server, tmp_path, monkeypatch):
    def blocks(_):
        yield CONTENT[:100]
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_blocks", blocks)
    server.routes["/w"] = answer(CONTENT)
    with pytest.raises(KeyboardInterrupt):
        download(File("w", f"{server.url}/w"), tmp_path / "w", advice="", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written(server, tmp_path):
    server.routes["/w"] = answer(CONTENT)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"Could not write .*file.*SEGEARTH_HOME"):
        download(File("w", f"{server.url}/w"), tmp_path / "file" / "w", advice="", progress=False)


def test_no_server_and_no_address(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: the connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/w"
        fails(File("w", url), tmp_path / "w", "refused")
        assert not reachable(File("w", url))
    monkeypatch.setenv("HF_ENDPOINT", "no address at all")
    fails(File("w", hub=("o/r", "w")), tmp_path / "w", "unknown url type")
    assert not reachable(File("w", hub=("o/r", "w")))


@pytest.mark.parametrize("variable", ["SEGEARTH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_makes_no_request(server, tmp_path, monkeypatch, variable):
    server.routes["/w"] = answer(CONTENT)
    monkeypatch.setenv(variable, "1")
    fails(File("w", f"{server.url}/w"), tmp_path / "w", f"{variable}.* no request")
    assert not reachable(File("w", f"{server.url}/w"))
    assert server.requests == []


def test_reachable_asks_once(server):
    server.routes["/yes"] = answer(CONTENT)
    server.routes["/moved"] = answer(b"", status=302, Location="/yes")
    assert reachable(File("w", f"{server.url}/yes"))
    assert reachable(File("w", f"{server.url}/moved"))
    assert not reachable(File("w", f"{server.url}/no"))
    assert server.requests == [("HEAD", "/yes"), ("HEAD", "/moved"), ("HEAD", "/no")]


def silent(server):
    """Accepts and never answers."""
    server.routes["/w"] = lambda _: server.released.wait(5)


def dripping(server):
    """Sends a header line now and then, for ever: no single read takes long."""

    def route(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(80):
            if server.released.wait(0.05):
                return
            handler.wfile.write(b"X-Patience: please\r\n")

    server.routes["/w"] = route


@pytest.mark.parametrize("behaviour", [silent, dripping])
def test_a_server_that_does_not_answer(server, tmp_path, behaviour):
    behaviour(server)
    file = File("w", f"{server.url}/w")
    start = time.monotonic()
    assert not reachable(file, timeout=0.3)
    fails(file, tmp_path / "w", "no answer within 0.3 s|timed out", timeout=0.3)
    assert time.monotonic() - start < 2


def test_a_name_server_that_does_not_answer(tmp_path, monkeypatch):
    released = threading.Event()
    asked = []

    def blocked(host, *_args, **_options):
        asked.append(host)
        released.wait(10)
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    file = File("w", "https://weights.example/w")
    start = time.monotonic()
    assert not reachable(file, timeout=0.3)
    fails(file, tmp_path / "w", "no answer within 0.3 s", timeout=0.3)
    assert time.monotonic() - start < 2
    assert asked == ["weights.example"] * 2
    released.set()
