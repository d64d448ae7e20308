"""Everything against a server on this computer; nothing here touches a network."""

import hashlib
import io
import queue
import socket
import threading
import time
from email.message import Message
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save
from serving import Server, answer

from segearth import downloads
from segearth.downloads import connection, download, reachable, received
from segearth.downloads.answer import MinimumRate
from segearth.downloads.connection import Redirects, Unusable, request_of
from segearth.errors import UserError
from segearth.files import File

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TENSORS = save({"w": torch.arange(600, dtype=torch.float32)})


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


def fails(file, target, match, kept=0, **options):
    """The download ends in a UserError of three parts, and leaves nothing, or what can be continued."""
    with pytest.raises(UserError, match=match) as caught:
        download(file, target, advice="Do this next.", progress=False, **options)
    message = str(caught.value)
    assert file.name in message
    assert "Expected" in message
    assert message.endswith("Do this next.") or "Set SEGEARTH_HOME" in message
    assert "\n" not in message
    assert not target.exists()
    left = sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []
    assert left == ([f"{target.name}.part", f"{target.name}.part.json"] if kept else [])
    assert received(target) == kept
    assert (f"The {kept:,} bytes that came are kept" in message) == (kept > 0)
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


WEB_PAGE = answer(b"<html>Accept our terms", Content_Type="text/html; charset=utf-8")
ESCAPES = "\x1b]0;title\x07\x1b[2J\u202e"


def refusal(code, phrase="", **headers):
    """A route: an answer with a phrase of its own."""

    def route(handler):
        handler.wfile.write(f"HTTP/1.1 {code} {phrase}\r\n".encode())
        handler.wfile.write("".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items()).encode())
        handler.wfile.write(b"Content-Length: 0\r\n\r\n")

    return route


@pytest.mark.parametrize(
    ("route", "match"),
    [
        (answer(CONTENT[:-1] + b"!"), "SHA-256 is [0-9a-f]{64}, expected " + SHA256),
        (answer(CONTENT + b"more"), "offers 10,244 bytes, expected 10,240"),
        (answer(CONTENT, length=10_000_000_000_000), "offers 10,000,000,000,000 bytes, expected 10,240"),
        (answer(CONTENT, length="9" * 5000), r"gives 9+\.\.\. as the length"),
        (answer(CONTENT, length="-1"), "gives -1 as the length"),
        (answer(CONTENT, content_length="7"), "gives 10240, 7 as the length"),
        (answer(CONTENT + b"more", length=False), "more than the expected 10,240 bytes"),
        (answer(b"gone", status=404), "answered 404 Not Found"),
        (answer(b"", status=503), "answered 503"),
        (answer(b"", status=204), "answered 204 No Content to a plain request"),
        (answer(b"", status=304), "answered 304"),
        (answer(CONTENT, status=206, Content_Range="bytes 0-10239/10240"), "answered 206 .* to a plain request"),
        (WEB_PAGE, "sends a web page"),
        (answer(CONTENT, Content_Encoding="gzip"), "encoded as gzip, which was not asked for"),
        (refusal(429, "Too Many Requests", Retry_After="120"), "429 Too Many Requests and asks to wait 120 s"),
        (refusal(503, "Busy", Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"), "asks to wait Fri, 31 Dec 1999"),
        (refusal(503, ESCAPES, Retry_After=ESCAPES), r"503 \\x1b\]0;title\\x07\\x1b\[2J"),
        (refusal(503, "!" * 9000), r"503 !{100}\.\.\.\. Expected"),
        (refusal("x", ESCAPES), r"HTTP/1.1 x"),
        (lambda handler: handler.wfile.write(b"\x1b[2J no HTTP\r\n\r\n"), r"x1b\[2J no HTTP"),
        (lambda _: None, "closed connection without response"),
        (refusal(302, Location="/w"), "302 redirects without end"),
        (refusal(302, Location="file:///etc/passwd"), "302 .*file:///etc/passwd.* not allowed"),
        (refusal(302, Location="ftp://127.0.0.1/w"), "redirects from http to ftp://127.0.0.1, which is not followed"),
        (refusal(302, Location="http://127.0.0.1:1/w\x1b[2J"), "refused"),
        (refusal(302, Location="http://["), "Invalid IPv6|302"),
    ],
)
def test_bad_answers(server, tmp_path, route, match):
    server.routes["/w"] = route
    file = File("w", f"{server.url}/w", size=len(CONTENT), sha256=SHA256)
    assert fails(file, tmp_path / "cache" / "w", match).isprintable()
    assert set(server.requests) == {("GET", "/w")}
    assert len(server.requests) == (1 if "without end" not in match else 5)  # never repeated


def test_the_length_of_a_file_whose_exact_size_is_not_known(server, tmp_path):
    file = File("w.safetensors", f"{server.url}/w", about_size=2_500, sha256=hashlib.sha256(TENSORS).hexdigest())
    for length in (10_000_000_000_000, 3_000, 2_000):
        server.routes["/w"] = answer(TENSORS, length=length)
        fails(file, tmp_path / "cache" / "w.safetensors", f"offers {length:,} bytes, expected about 0 MB")
    server.routes["/w"] = answer(TENSORS)
    download(file, tmp_path / "w.safetensors", advice="", progress=False)
    assert (tmp_path / "w.safetensors").read_bytes() == TENSORS


def test_a_disk_without_room(server, tmp_path, monkeypatch):
    server.routes["/w"] = answer(CONTENT)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_000))
    file = File("w", f"{server.url}/w", size=len(CONTENT), sha256=SHA256)
    fails(file, tmp_path / "cache" / "w", r"Could not write .*0 MB more are needed, and 0 MB are free.*SEGEARTH_HOME")


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
    fails(
        hub_routes(server, CONTENT, None),
        tmp_path / "a" / "w",
        "neither a complete safetensors file",
    )
    server.routes["/storage"] = answer(TENSORS, length=False)
    fails(File("w", hub=("o/r", "w.safetensors")), tmp_path / "a" / "w", "does not say how long")


def test_a_stalled_body(server, tmp_path, monkeypatch):
    def half(handler):
        answer(CONTENT[:100], length=len(CONTENT))(handler)
        handler.wfile.flush()
        server.released.wait(60)

    monkeypatch.setattr(connection, "STALL_S", 1.0)  # the first bytes have to come in that time, too
    server.routes["/w"] = half
    file = File("w", f"{server.url}/w", sha256=SHA256)
    fails(file, tmp_path / "w", "connection broke: timed out", kept=100)


class Clock:
    """Time passes when it is asked for."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def chunked(server):
    """A body in pieces: one of a byte, then the length of the next, digit by digit for ever."""

    def route(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        for _ in range(500):
            handler.wfile.write(b"0")
            if server.released.wait(0.01):
                return

    return route


def bytewise(server):
    """A byte now and then, for ever."""

    def route(handler):
        answer(b"", length=len(CONTENT))(handler)
        for _ in range(500):
            handler.wfile.write(b"x")
            if server.released.wait(0.01):
                return

    return route


@pytest.mark.parametrize("behaviour", [bytewise, chunked])
def test_a_body_that_comes_too_slowly(server, tmp_path, behaviour):
    server.routes["/w"] = behaviour(server)
    file = File("w", f"{server.url}/w", size=len(CONTENT), sha256=SHA256)
    with pytest.raises(UserError, match=r"only \d+ bytes? came in 6\d s, less than 1 kB/s"):
        download(file, tmp_path / "w", advice="", progress=False, clock=Clock(6.5))


@pytest.mark.parametrize(("rate", "ends"), [(2, 60), (900, 60), (1_100, None), (3_000, None)])
def test_pace(rate, ends):
    """A slow but honest line of a few kB/s is never ended; a byte every half second is, after a minute."""
    clock = Clock(0)
    pace = MinimumRate(clock)
    for second in range(1, 3600):
        clock.now = second
        pace.received += rate
        if second == ends:
            with pytest.raises(Unusable, match=f"only {60 * rate:,} bytes came in 60 s"):
                pace.check()
            return
        pace.check()


def test_a_slow_beginning_and_a_slow_end_count():
    clock = Clock(0)
    pace = MinimumRate(clock)
    pace.received = 10**9  # in the first minute
    clock.now = 60
    pace.check()
    clock.now = 119
    pace.received += 100
    pace.check()
    clock.now = 120
    with pytest.raises(Unusable, match="only 100 bytes came in 60 s"):
        pace.check()


def test_a_cache_that_cannot_be_written(server, tmp_path):
    server.routes["/w"] = answer(CONTENT)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"Could not write .*file.*SEGEARTH_HOME"):
        download(File("w", f"{server.url}/w"), tmp_path / "file" / "w", advice="", progress=False)


def test_a_cache_that_may_only_be_read(server, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # the superuser may write anywhere
    with pytest.raises(UserError, match=r"Could not write .*its folder may only be read.*SEGEARTH_HOME"):
        download(File("w", f"{server.url}/w"), tmp_path / "w", advice="", progress=False)
    assert list(tmp_path.iterdir()) == []
    assert server.requests == []


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
    server.routes["/w"] = lambda _: server.released.wait(60)


def dripping(server):
    """Sends a header line now and then, for ever: no single read takes long."""

    def route(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(95):  # http.client takes 100
            if server.released.wait(0.15):
                return
            handler.wfile.write(b"X-Patience: please\r\n")

    server.routes["/w"] = route


@pytest.mark.parametrize("behaviour", [silent, dripping])
def test_a_server_that_does_not_answer(server, tmp_path, monkeypatch, behaviour):
    behaviour(server)
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    file = File("w", f"{server.url}/w")
    start = time.monotonic()
    assert not reachable(file, timeout=0.3)
    fails(file, tmp_path / "w", r"no answer within 0\.[35] s|timed out", timeout=0.3)
    assert time.monotonic() - start < 12  # of the 14 s that it takes


def test_a_server_that_is_slow_to_answer(server, tmp_path):
    """As over a line of a few kB/s: it was reached, so the download waits for it; `reachable` does not."""

    def late(handler):
        server.released.wait(1.2)
        answer(CONTENT)(handler)

    server.routes["/w"] = late
    file = File("w", f"{server.url}/w", sha256=SHA256)
    assert not reachable(file, timeout=0.1)
    download(file, tmp_path / "w", advice="", progress=False, timeout=1.0)
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_a_name_server_that_does_not_answer(tmp_path, monkeypatch):
    released = threading.Event()
    asked = queue.Queue()

    def blocked(host, *_args, **_options):
        asked.put(host)
        released.wait(60)
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    file = File("w", "https://weights.example/w")
    start = time.monotonic()
    assert not reachable(file, timeout=0.3)
    fails(file, tmp_path / "w", "no answer within 0.3 s", timeout=0.3)
    assert time.monotonic() - start < 40
    assert [asked.get(timeout=60) for _ in range(2)] == ["weights.example"] * 2  # its threads may come late
    released.set()


def test_a_redirect_from_https_to_http_is_not_followed():
    def followed(address, location):
        return Redirects().redirect_request(request_of(address), io.BytesIO(), 302, "Found", Message(), location)

    assert followed("https://a.example/w", "https://b.example/w").full_url == "https://b.example/w"
    assert followed("http://a.example/w", "https://b.example/w").full_url == "https://b.example/w"
    assert followed("http://a.example/w", "http://b.example/w").full_url == "http://b.example/w"
    for location in ("http://user:secret@b.example/w?signed", "ftp://b.example/w", "file:///etc/passwd"):
        with pytest.raises(Unusable, match="redirects from https to (http|ftp|file)://(b.example)?, which") as caught:
            followed("https://a.example/w", location)
        assert "secret" not in str(caught.value)


def test_the_token_goes_to_the_hub_alone():
    request = request_of("https://hub.example/w", {"Range": "bytes=5-"}, token="hf_abc")
    request.add_header("Proxy-authorization", "Basic secret")
    assert request.get_header("Authorization") == "Bearer hf_abc"
    new = Redirects().redirect_request(request, io.BytesIO(), 302, "Found", Message(), "https://storage.example/w")
    assert new.get_header("Range") == "bytes=5-"
    assert not new.has_header("Authorization")
    assert not new.has_header("Proxy-authorization")
    assert not request_of("http://hub.example/w", token="hf_abc").has_header("Authorization")
    assert not request_of("https://hub.example/w", token="a\nb").has_header("Authorization")


@pytest.mark.parametrize("hub", [True, False])
def test_the_token_is_asked_for_by_files_of_the_hub(tmp_path, monkeypatch, hub):
    asked = []

    def ask(_, *, token, **__):
        asked.append(token)
        raise Unusable("asked")

    monkeypatch.setattr(downloads, "ask", ask)
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    file = File("w", hub=("o/r", "w")) if hub else File("w", "https://example.org/w")
    fails(file, tmp_path / "w", "asked")
    assert asked == ["hf_abc" if hub else None]


def test_addresses_that_are_not_asked(tmp_path, monkeypatch):
    secret = tmp_path / "o" / "r" / "resolve" / "main" / "w"
    secret.parent.mkdir(parents=True)
    secret.write_bytes(TENSORS)
    for endpoint, match in (
        (tmp_path.as_uri(), "unknown url type: file"),
        ("ftp://127.0.0.1", "unknown url type: ftp"),
        ("https://user:password@127.0.0.1", "a user name or a password in it is not supported"),
        ("http://[", "Invalid IPv6 URL"),
        ("http://127.0.0.1:port", "nonnumeric port"),
    ):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        message = fails(File("w", hub=("o/r", "w")), tmp_path / "cache" / "w", match)
        assert "password@" not in message
        assert "user:" not in message
        assert not reachable(File("w", hub=("o/r", "w")))


def test_ipv6_alone(tmp_path):
    try:
        running = Server("::1", socket.AF_INET6)
    except OSError:
        pytest.skip("this computer has no IPv6")
    running.routes["/w"] = answer(CONTENT)
    file = File("w", f"{running.url}/w", sha256=SHA256)
    assert reachable(file)
    download(file, tmp_path / "w", advice="", progress=False)
    running.close()
    assert (tmp_path / "w").read_bytes() == CONTENT
