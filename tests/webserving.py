"""A server of the page in a thread of the tests, a process that computes or a stand-in for it, and a client."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

pytest.importorskip("starlette", reason="the page needs the extra web")
pytest.importorskip("uvicorn", reason="the page needs the extra web")

from segearth.web.app import Service, WebOptions
from segearth.web.serve import Server, bind


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class NoWorker:
    """Takes tasks and computes nothing: a test says what becomes of them."""

    def __init__(self):
        self.tasks, self.cancelled = [], []
        self.listener = lambda *_: None

    def listen(self, listener):
        self.listener = listener

    def submit(self, task):
        self.tasks.append(task)

    def cancel(self, job):
        self.cancelled.append(job)
        self.listener("ended", job, {"state": "cancelled"})

    def end(self, **told):
        self.listener("ended", self.tasks[-1].job, {"state": "done", **told})


class Client:
    """A browser without a screen: it keeps cookies. Each request is a connection."""

    def __init__(self, port, cookies=None):
        self.port, self.cookies = port, {} if cookies is None else cookies

    def __call__(self, method, address, body=None, headers=None, own=None):
        headers = {"Host": f"localhost:{self.port}", **(headers or {})}
        if own is not None:
            body, headers["Content-Type"] = json.dumps(own).encode(), "application/json"
        if self.cookies:
            headers.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, address, skip_host=True, skip_accept_encoding=True)
            if body is not None and "Transfer-Encoding" not in headers:
                headers.setdefault("Content-Length", str(len(body)))
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # it was refused before its end: why is answered
                connection.endheaders(body)
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for cookie in reply.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return reply

    def get(self, address, **headers):
        return self("GET", address, headers=headers)

    def post(self, address, /, **own):
        return self("POST", address, own=own)

    def send(self, content, name="image.tif", **headers):
        """Uploads a file, as a browser does."""
        body, kind = form(content, name)
        return self("POST", "/api/images", body, {"Content-Type": kind, **headers})

    def until(self, path, *states, seconds=600.0):
        """What is at an address when its state is one of these."""
        end = time.monotonic() + seconds
        while (found := self.get(path).json)["state"] not in states:
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return found


def form(content, name="image.tif", field="file"):
    """The body of a form with a file, and its type."""
    quoted = name.replace('"', "%22")
    begin = f'--xyz\r\nContent-Disposition: form-data; name="{field}"; filename="{quoted}"\r\n\r\n'
    return begin.encode() + content + b"\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz"


@contextmanager
def serving(work, worker, host="127.0.0.1", images=(), example=False, **options):
    """A server while the block runs: yields a client, with `address` and `service`."""
    address = bind(host, 0)
    service = Service(WebOptions(work, "tiny", **options), worker)
    server = Server(service, address, images, example=example)
    begun = threading.Event()
    server.ready = begun.set
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([address.listener])), daemon=True)
    thread.start()
    try:
        assert begun.wait(60)
        client = Client(address.port)
        client.address, client.service, client.server = address, service, server
        yield client
    finally:
        server.should_exit = True
        thread.join(30)
        address.listener.close()
        assert not thread.is_alive()
