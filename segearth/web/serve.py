"""Starts and stops the parts of `segearth web`: the socket, the worker process, the server."""

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
_EXAMPLE_SIDE = 448  # long side of the model's input, as in the paper: a few windows


@dataclass(frozen=True)
class Address:
    """The address of the server.

    Attributes:
        listener: the bound socket.
        host: host as given by the user.
        token: the token for other computers; None if only this computer can reach the server.
    """

    listener: socket.socket
    host: str
    token: str | None

    @property
    def port(self) -> int:
        """The port number."""
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The URL for a browser."""
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def bind(host: str, port: int) -> Address:
    """Binds a socket.

    Args:
        host: a name or address of this computer.
        port: the port; 0: any free port.

    Raises:
        UserError: the address cannot be used.
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
    """The system's error message, without additions of Python."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


@contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """Yields a new folder for the files of a server, and deletes it at the end.

    Args:
        parent: its parent folder; None: that of temporary files.

    Raises:
        UserError: it cannot be created.
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
    """A uvicorn server that ends event streams at shutdown.

    Args:
        service: handles requests.
        address: the bound address.
        images: paths of images for all sessions.
        example: whether to add the packaged scene and map it.
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
        """Starts to listen, and opens the images for all sessions."""
        await super().startup(sockets)
        for path in self._images:
            await self._service.open_image(None, path, path.name)
        if self._example:
            await self._map_example()
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the event streams, then the server."""
        self._service.closing.set()
        await super().shutdown(sockets)

    async def _map_example(self) -> None:
        image = await self._service.open_image(None, weights.packaged(EXAMPLE), EXAMPLE)
        classes = "; ".join(",".join(names) for names in LAND_COVER)
        options = {"scale": _EXAMPLE_SIDE / max(image.size)}
        self._service.add_job(None, image, Vocabulary.from_string(classes), classes, options=options)


def serve(
    options: WebOptions, setup: ModelSetup, address: Address, images: Sequence[Path], ready: Callable[[], object]
) -> None:
    """Loads the model, and serves until the process is stopped.

    Args:
        options: options of the server.
        setup: the model to load.
        address: the bound address.
        images: paths of images for all sessions.
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
    """As `serve`, with an existing worker."""

    async def main() -> None:
        server = Server(Service(options, worker), address, images)
        server.ready = ready
        await server.serve([address.listener])

    asyncio.run(main())
