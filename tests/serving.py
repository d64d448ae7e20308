"""A server on this computer that answers as a test wants it to."""

import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers by path: `routes[path](handler)`; notes what it was asked for."""

    def __init__(self, host="127.0.0.1", family=socket.AF_INET):
        self.routes = {}
        self.requests = []
        self.headers = []
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.command, self.path))
                server.headers.append(dict(self.headers))
                server.routes.get(self.path, answer(b"", status=404))(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        class Httpd(ThreadingHTTPServer):
            daemon_threads = True
            address_family = family

            def handle_error(self, *_):
                """A client that goes away is what some tests are about."""

        self.httpd = Httpd((host, 0), Handler)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.httpd.server_port}"
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


def file_route(body, etag='"v1"', stop=None, **headers):
    """A route that gives a file, or the rest of it, as storage servers do.

    `stop` closes the connection when that byte of the file would come.
    """

    def route(handler):
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range") in (None, etag)
        start = int(asked[1]) if asked and same else 0
        more = {"ETag": etag} if etag else {}
        if start >= len(body):
            answer(b"", status=416, Content_Range=f"bytes */{len(body)}")(handler)
        elif start:
            more["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            answer(body[start:stop], status=206, length=len(body) - start, **more, **headers)(handler)
        else:
            answer(body[:stop], length=len(body), **more, **headers)(handler)

    return route


def in_ranges(body, trouble=None, etag='"v1"'):
    """A route that gives any range of bytes; `trouble(handler, start)` may answer in its place and return True."""

    def route(handler):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if trouble and trouble(handler, start):
            return
        end = min(len(body), int(asked[2]) + 1) if asked and asked[2] else len(body)
        more = {"Content_Range": f"bytes {start}-{end - 1}/{len(body)}"} if asked else {}
        answer(body[start:end], status=206 if asked else 200, Accept_Ranges="bytes", ETag=etag, **more)(handler)

    return route


def failing_ranges(content, down):
    """A route that gives ranges of some bytes, but for the first one only while an event is not set."""

    def trouble(handler, start):
        if down.is_set() and start > 0:
            answer(b"", status=500)(handler)
        return down.is_set() and start > 0

    return in_ranges(content, trouble)
