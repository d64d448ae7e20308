"""A download goes on where it stopped, begins anew where that cannot be, and is made by one process at a time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from serving import Server, answer, file_route

from segearth import downloads
from segearth.downloads import download, received
from segearth.errors import UserError
from segearth.files import File

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TENSORS = save({"w": torch.arange(3000, dtype=torch.float32)})
OTHER = save({"w": torch.arange(3000, dtype=torch.float32) + 1})
ROOT = Path(__file__).parents[1]


@pytest.fixture
def server(monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "SEGEARTH_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    running = Server()
    yield running
    running.close()


def pinned(server):
    return File("w", f"{server.url}/w", size=len(CONTENT), sha256=SHA256)


def unpinned(server):
    return File("w.safetensors", f"{server.url}/w", about_size=len(TENSORS))


def get(file, target):
    download(file, target, advice="", progress=False)


def stops(server, file, target, route):
    """The first part of a download comes, and stays."""
    server.routes["/w"] = route
    with pytest.raises(UserError, match=r"The 5,000 bytes that came are kept, and the next try goes on from there\."):
        get(file, target)
    assert received(target) == 5000
    server.headers.clear()


def ranges(server):
    return [(headers.get("Range"), headers.get("If-Range")) for headers in server.headers]


def test_a_download_goes_on_where_it_stopped(server, tmp_path, capsys):
    file, target = pinned(server), tmp_path / "w"
    stops(server, file, target, file_route(CONTENT, stop=5000))
    server.routes["/w"] = file_route(CONTENT)
    download(file, target, advice="")
    assert ranges(server) == [("bytes=5000-", '"v1"')]
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert "10.2k/10.2k" in capsys.readouterr().err  # the bar counts what was here


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_a_pinned_hash_is_enough_to_go_on(server, tmp_path, etag):
    file, target = pinned(server), tmp_path / "w"
    stops(server, file, target, file_route(CONTENT, etag=etag, stop=5000))
    server.routes["/w"] = file_route(CONTENT, etag=etag)
    get(file, target)
    assert ranges(server) == [("bytes=5000-", None)]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"v1"', '"two words"', '"' + "x" * 300 + '"'])
def test_nothing_is_kept_that_nothing_identifies(server, tmp_path, etag):
    server.routes["/w"] = file_route(TENSORS, etag=etag, stop=5000)
    with pytest.raises(UserError, match="ended after 5,000 of"):
        get(unpinned(server), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_another_content_by_now_is_received_as_a_whole(server, tmp_path):
    """The server says so by sending the whole, as If-Range asks it to."""
    file, target = unpinned(server), tmp_path / "w.safetensors"
    stops(server, file, target, file_route(TENSORS, stop=5000))
    server.routes["/w"] = file_route(OTHER, etag='"v2"')
    get(file, target)
    assert ranges(server) == [("bytes=5000-", '"v1"')]
    assert target.read_bytes() == OTHER


def lying(body, content_range, length=None):
    """A route: to a Range it gives the rest, and says what it wants of it; else the whole."""

    def route(handler):
        if "Range" in handler.headers:
            answer(body[5000:], status=206, length=length, Content_Range=content_range)(handler)
        else:
            file_route(body)(handler)

    return route


def ignoring(body):
    """A route: a server that knows no ranges."""
    return answer(body, ETag='"v1"')


@pytest.mark.parametrize(
    ("route", "requests"),
    [
        (ignoring(CONTENT), 1),
        (lying(CONTENT, "bytes 5000-10239/*"), 1),
        (lying(CONTENT, "bytes 5000-10239/10240", length=False), 1),
        (lying(CONTENT, ""), 2),
        (lying(CONTENT, "\x1b[2J"), 2),
        (lying(CONTENT, "bytes 0-5239/5240"), 2),
        (lying(CONTENT, "bytes 5001-10239/10240"), 2),
        (lying(CONTENT, "bytes 5000-10238/10240"), 2),
        (lying(CONTENT, "bytes 5000-10239/10240", length=7), 2),
        (lying(CONTENT, f"bytes 5000-{'9' * 5000}/*"), 2),
    ],
)
def test_servers_that_go_on_otherwise(server, tmp_path, route, requests):
    file, target = pinned(server), tmp_path / "w"
    stops(server, file, target, file_route(CONTENT, stop=5000))
    server.routes["/w"] = route
    get(file, target)
    assert target.read_bytes() == CONTENT
    assert len(server.headers) == requests
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_part_of_another_content_is_found_by_the_hash_of_the_whole(server, tmp_path):
    file, target = pinned(server), tmp_path / "w"
    stops(server, file, target, file_route(b"x" * 5000 + CONTENT[5000:], stop=5000))
    server.routes["/w"] = file_route(CONTENT)
    get(file, target)
    assert ranges(server) == [("bytes=5000-", '"v1"'), (None, None)]
    assert target.read_bytes() == CONTENT


def test_a_wrong_content_is_asked_for_twice_at_most(server, tmp_path):
    file, target = pinned(server), tmp_path / "w"
    wrong = b"x" * len(CONTENT)
    stops(server, file, target, file_route(wrong, stop=5000))
    server.routes["/w"] = file_route(wrong)
    with pytest.raises(UserError, match="SHA-256 is"):
        get(file, target)
    assert len(server.headers) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_became_shorter(server, tmp_path):
    """The server has nothing after what is here (416), and then something else as a whole."""
    file, target = File("w.safetensors", f"{server.url}/w", sha256=hashlib.sha256(OTHER).hexdigest()), tmp_path / "w"
    server.routes["/w"] = file_route(OTHER + bytes(9000), etag=None, stop=len(OTHER) + 5)
    with pytest.raises(UserError, match="are kept"):
        get(file, target)
    server.routes["/w"] = file_route(OTHER, etag=None)
    get(file, target)
    assert target.read_bytes() == OTHER


def hub(server, body, declared, route):
    server.routes["/o/r/resolve/main/w.safetensors"] = answer(
        b"", status=302, Location="/w", X_Linked_Etag=f'"{declared}"', X_Linked_Size=len(body)
    )
    server.routes["/w"] = route
    return File("w.safetensors", hub=("o/r", "w.safetensors"), about_size=len(body))


def test_a_file_of_the_hub_goes_on(server, tmp_path, monkeypatch):
    """Its redirects declare the whole's hash; the storage behind them gives the part."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    target, sha256 = tmp_path / "w.safetensors", hashlib.sha256(TENSORS).hexdigest()
    file = hub(server, TENSORS, sha256, file_route(TENSORS, etag=None, stop=5000))
    with pytest.raises(UserError, match="are kept"):
        get(file, target)
    server.headers.clear()
    hub(server, TENSORS, sha256, file_route(TENSORS, etag=None))
    get(file, target)
    assert [headers.get("Range") for headers in server.headers] == ["bytes=5000-"] * 2  # also after the redirect
    assert target.read_bytes() == TENSORS

    target.unlink()
    hub(server, TENSORS, sha256, file_route(TENSORS, etag=None, stop=5000))
    with pytest.raises(UserError, match="are kept"):
        get(file, target)
    server.headers.clear()
    hub(server, OTHER, hashlib.sha256(OTHER).hexdigest(), file_route(OTHER, etag=None))  # uploaded anew meanwhile
    get(file, target)
    assert [headers.get("Range") for headers in server.headers] == ["bytes=5000-"] * 2 + [None] * 2
    assert target.read_bytes() == OTHER


def test_a_line_that_breaks_often(server, tmp_path, monkeypatch):
    """Each connection brings so much that another one is worth it, and one that brings less ends it."""
    monkeypatch.setattr(downloads, "RETRY_BYTES", 3000)
    file, target = pinned(server), tmp_path / "w"

    server.routes["/w"] = file_route(CONTENT, stop=3000)
    with pytest.raises(UserError, match="The 3,000 bytes that came are kept"):
        get(file, target)
    assert ranges(server) == [(None, None), ("bytes=3000-", '"v1"')]

    def brings(handler):
        start = int(handler.headers["Range"][6:-1])
        file_route(CONTENT, stop=start + 3000)(handler)

    server.headers.clear()
    server.routes["/w"] = brings
    get(file, target)
    assert [first for first, _ in ranges(server)] == ["bytes=3000-", "bytes=6000-", "bytes=9000-"]
    assert target.read_bytes() == CONTENT


def test_a_download_that_was_killed_at_its_very_end(server, tmp_path):
    file, target = pinned(server), tmp_path / "w"
    stops(server, file, target, file_route(CONTENT, stop=5000))
    (tmp_path / "w.part").write_bytes(CONTENT)
    get(file, target)
    assert server.headers == []  # no request is needed
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "note",
    [
        *("", "[]", "{}", "[" * 100_000, None),
        *(json.dumps({"size": size, "etag": None, "sha256": None}) for size in ("1", 99_999.5, True)),
        *(json.dumps({"size": 99_999, "etag": etag, "sha256": None}) for etag in (3, '"a\nb"', '"中"', "v1", "")),
        *(json.dumps({"size": 99_999, "etag": None, "sha256": text}) for text in (3, "", "z" * 64, "a" * 63)),
    ],
)
def test_parts_that_cannot_be_continued_are_removed(server, tmp_path, note):
    """So are those of earlier versions, whose names nobody else uses."""
    (tmp_path / "w.part").write_bytes(CONTENT[:5000])
    (tmp_path / ".w.0123456789abcdef0123456789abcdef.part").write_bytes(CONTENT[:5000])
    if note is not None:
        (tmp_path / "w.part.json").write_text(note, encoding="utf-8")
    server.routes["/w"] = file_route(CONTENT)
    assert received(tmp_path / "w") == 0
    get(pinned(server), tmp_path / "w")
    assert ranges(server) == [(None, None)]
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_link_in_the_place_of_a_part_is_not_written_through(server, tmp_path):
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    cache.mkdir()
    outside.write_bytes(CONTENT[:5000])
    (cache / "w.part").symlink_to(outside)
    (cache / "w.part.json").write_text(json.dumps({"size": len(CONTENT), "etag": None, "sha256": SHA256}))
    server.routes["/w"] = file_route(CONTENT)
    get(pinned(server), cache / "w")
    assert outside.read_bytes() == CONTENT[:5000]
    assert (cache / "w").read_bytes() == CONTENT


PROGRAM = """
import sys
from pathlib import Path
from segearth.downloads import download
from segearth.exits import run
from segearth.files import File
url, target, size, sha256 = sys.argv[1:]
file = File("w", url, size=int(size), sha256=sha256)
print("begins", flush=True)
sys.exit(run(lambda: download(file, Path(target), advice="", progress=False)))
"""


def process(server, target):
    """A process that downloads; it has begun when this returns."""
    begun = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, f"{server.url}/w", str(target), str(len(CONTENT)), SHA256],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert begun.stdout.readline() == "begins\n"
    return begun


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_killed_process_leaves_what_can_be_continued(server, tmp_path, number, code):
    came = threading.Event()

    def half(handler):
        file_route(CONTENT, stop=5000)(handler)
        handler.wfile.flush()
        came.set()
        server.released.wait(20)

    server.routes["/w"] = half
    target = tmp_path / "w"
    killed = process(server, target)
    assert came.wait(60)
    while received(target) == 0:  # until it is written
        assert killed.poll() is None
        server.released.wait(0.01)
    killed.send_signal(number)
    killed.communicate(timeout=60)
    assert killed.returncode == code
    lock = {".w.lock"} if number == signal.SIGKILL else set()
    assert {path.name for path in tmp_path.iterdir()} == {"w.part", "w.part.json"} | lock
    kept = received(target)
    server.headers.clear()
    server.routes["/w"] = file_route(CONTENT)
    get(pinned(server), target)
    assert ranges(server) == [(f"bytes={kept}-", '"v1"')]
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_the_second_process_waits_and_says_so(server, tmp_path):
    asked, free = threading.Event(), threading.Event()

    def route(handler):
        asked.set()
        free.wait(60)
        file_route(CONTENT)(handler)

    server.routes["/w"] = route
    target = tmp_path / "w"
    first = process(server, target)
    assert asked.wait(60)
    second = process(server, target)
    says = second.stderr.readline()
    assert "w is being downloaded by another process: waiting for it" in says
    free.set()
    for one in (first, second):
        one.communicate(timeout=60)
        assert one.returncode == 0
    assert len(server.requests) == 1
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


@pytest.mark.filterwarnings("ignore::segearth.errors.UserNotice")
def test_two_threads_get_a_file_once(server, tmp_path):
    server.routes["/w"] = file_route(CONTENT)
    threads = [threading.Thread(target=get, args=(pinned(server), tmp_path / "w")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
