"""`segearth web` on the command line: what is refused before anything starts, and how it ends."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rasterio", reason="scenes need the extra geo")
pytest.importorskip("uvicorn", reason="the page needs the extra web")

from segearth.cli import main
from segearth.web import worker

ROOT = Path(__file__).parents[1]
# the command with a stand-in for the process that computes: torch takes seconds
PROGRAM = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from webserving import NoWorker
from segearth.cli import main
from segearth.web import serve
class Stub(NoWorker):
    def __init__(self, setup):
        super().__init__()
    def close(self):
        print("the process that computes has ended", flush=True)
serve.WorkerClient = Stub
sys.exit(main(["web", "--no-browser", *sys.argv[1:]]))
"""


@pytest.fixture
def no_worker(monkeypatch):
    """Nothing may be loaded."""
    monkeypatch.setattr("segearth.web.client.WorkerClient._start", lambda _: pytest.fail("the model is loaded"))


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], "--port 70000: expected 0 to 65535"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1, --port 8000 cannot be used"),
        (["--root", "nowhere"], "no folder at"),
        (["nothing.tif"], "no file at"),
        (["scene.vrt"], "scene.vrt is no image that can be mapped"),
        (["--max-upload", "0"], "--max-upload 0.0: expected a number above 0"),
        (["--max-memory", "-1"], "--max-memory -1.0"),
        (["--threads", "0"], "--threads 0"),
        (["--model", "clip-vit-z"], "clip-vit-z"),
        (["--work", "scene.vrt/x"], "cannot write to"),
    ],
)
def test_what_cannot_be_is_a_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("scene.vrt").write_text("<VRTDataset/>")
    assert main(["web", "--no-browser", *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.usefixtures("no_worker")
def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["web", "--no-browser", "--port", str(other.getsockname()[1])]) == 2
    assert "(Address already in use): expected" in capsys.readouterr().err


class Line:
    """A connection on which the server never says anything."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)

    def recv(self):
        threading.Event().wait()


def test_weights_that_are_not_there(tmp_path, monkeypatch, capsys):
    """Told before the page opens, and nothing stays."""
    for name, value in {"SEGEARTH_OFFLINE": "1", "SEGEARTH_HOME": str(tmp_path), "HF_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "segearth.web.worker.signal", SimpleNamespace(signal=lambda *_: None, SIGINT=None, SIG_IGN=None)
    )
    line, work = Line(), tmp_path / "work"
    worker.run_worker(line, worker.ModelSetup("clip-vit-b16"))
    assert [what for what, _ in line.sent] == ["unready"]
    assert "--model tiny" in line.sent[0][1]

    def started(_):
        ours, theirs = multiprocessing.Pipe()
        theirs.send(line.sent[0])
        return ours, SimpleNamespace(join=lambda: None)

    monkeypatch.setattr("segearth.web.client.WorkerClient._start", started)
    assert main(["web", "--no-browser", "--port", "0", "--work", str(work)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"loading clip-vit-b16\nerror: {line.sent[0][1]}\n"
    assert list(work.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_all(tmp_path, number, code):
    """Also while somebody listens to events, and while somebody sends a file."""
    work = tmp_path / "work"
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--work", str(work), "--root", str(tmp_path)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "DISPLAY": ""}, **streams) as server:
        url = re.fullmatch(r"segearth web: (http://127\.0\.0\.1:\d+/)\n", server.stdout.readline())[1]
        port = int(url.rpartition(":")[2].strip("/"))
        with urllib.request.urlopen(f"{url}api/jobs") as answer:
            example = answer.read().decode()
        assert '"example":true' in example
        assert len(list(work.glob("*/jobs/*"))) == 1
        job = re.search(r'"id":"([^"]+)"', example)[1]
        with (
            socket.create_connection(("127.0.0.1", port)) as listening,
            socket.create_connection(("127.0.0.1", port)) as sending,
        ):
            listening.sendall(f"GET /api/jobs/{job}/events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
            assert b"event: job" in listening.recv(1 << 16) + listening.recv(1 << 16)
            head = f"POST /api/images HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 1000\r\n"
            sending.sendall((head + "Content-Type: multipart/form-data; boundary=xyz\r\n\r\n--xyz").encode())
            server.send_signal(number)
            out, err = server.communicate(timeout=300)
    assert server.returncode == code
    assert out == "the process that computes has ended\n"
    assert err.splitlines()[-1].endswith("the page is closed, and its files are removed")
    assert "Traceback" not in err
    assert list(work.iterdir()) == []
