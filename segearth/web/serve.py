"""Begins and ends all that `segearth web` consists of: the socket, the process that computes, the server."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from segearth import weights
from segearth.errors import UserError, option
from segearth.vocabulary import LAND_COVER, Vocabulary
from segearth.web.app import Service, WebOptions
from segearth.web.client import WorkerClient
from segearth.web.security import Guard, is_loopback
from segearth.web.worker import ModelSetup

EXAMPLE = "scene.jpg"
_EXAMPLE_SIDE = 448  # pixels of the model, as the paper has them: a few windows


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        listener: bound, so that nobody else has the port.
        host: as it was asked for.
        token: what others need; None where only this computer can reach it.
    """

    listener: socket.socket
    host: str
    token: str | None

    @property
    def port(self) -> int:
        """Its number."""
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """What a browser is given."""
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def bind(host: str, port: int) -> Address:
    """Takes a port.

    Args:
        host: a name or address of this computer.
        port: its number; 0: a free one.

    Raises:
        UserError: it cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"{option('port', port)}: expected 0 to 65535; 0 takes a free one")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=100)
    except OSError as error:
        raise UserError(
            f"{option('host', host)}, {option('port', port)} cannot be used ({_why(error)}): expected an "
            f"address of this computer and a free port; {option('port', 0)} takes one"
        ) from None
    return Address(listener, host, None if is_loopback(host) else secrets.token_urlsafe(24))


def _why(error: OSError) -> str:
    """What the system says, without what Python adds to it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


@contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """A folder of its own for the files of a server, which goes at the end.

    Args:
        parent: in which it is made; None: where temporary files are.

    Raises:
        UserError: it cannot be made.
    """
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="segearth-web-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {parent or tempfile.gettempdir()} ({error.strerror or error}): expected a folder for the "
            f"files of the server; give another one by {option('work')}"
        ) from None
    with folder as path:
        yield Path(path).resolve()


class Server(uvicorn.Server):
    """The server, which ends streams when it is to end.

    Args:
        service: answers requests.
        address: where.
        images: paths that are there for everybody.
        example: whether the packaged scene is there, and mapped.
    """

    def __init__(self, service: Service, address: Address, images: Sequence[Path] = (), example: bool = True) -> None:
        self._service, self._address, self._images, self._example = service, address, images, example
        guarded = Guard(service.app(), address.host, address.port, address.token)
        config = uvicorn.Config(
            guarded,
            lifespan="on",
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            ws="none",
            proxy_headers=False,
        )
        super().__init__(config)
        self.ready: Callable[[], object] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen, with the images that are there for everybody."""
        await super().startup(sockets)
        for path in self._images:
            await self._service.open_image(None, path, path.name)
        if self._example:
            await self._map_example()
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends: streams first, for they end by themselves."""
        self._service.closing.set()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Notes that the server is to end."""
        super().handle_exit(sig, frame)

    async def _map_example(self) -> None:
        image = await self._service.open_image(None, weights.packaged(EXAMPLE), EXAMPLE)
        classes = "; ".join(",".join(names) for names in LAND_COVER)
        options = {"scale": _EXAMPLE_SIDE / max(image.size)}
        self._service.add_job(None, image, Vocabulary.from_string(classes), classes, options=options)


def serve(
    options: WebOptions, setup: ModelSetup, address: Address, images: Sequence[Path], ready: Callable[[], object]
) -> None:
    """Loads the model, and serves until the process is asked to end.

    Args:
        options: of the server.
        setup: of the model.
        address: where.
        images: paths that are there for everybody.
        ready: called when the page can be opened.

    Raises:
        UserError: the model cannot be loaded.
    """
    worker = WorkerClient(setup)
    try:
        run(options, worker, address, images, ready)
    finally:
        worker.close()


def run(
    options: WebOptions, worker: Any, address: Address, images: Sequence[Path], ready: Callable[[], object]
) -> None:
    """As `serve`, with a process that computes and is there."""

    async def main() -> None:
        server = Server(Service(options, worker), address, images)
        server.ready = ready
        await server.serve([address.listener])

    asyncio.run(main())
