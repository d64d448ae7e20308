"""The REST interface: routes and request handlers."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import segearth
from segearth.errors import UserError
from segearth.scenes.raster import ReadFailed
from segearth.vocabulary import Vocabulary
from segearth.web import preview
from segearth.web.downloads import Downloads
from segearth.web.images import Root, file_name, inspect
from segearth.web.presets import presets
from segearth.web.requests import colours_of, job_settings, number_of, threshold_of
from segearth.web.responses import RequestError, error_response, json_response, tile_response
from segearth.web.state import ENDED, State, WebImage, WebJob, remove_folder
from segearth.web.statistics import histogram, pixel
from segearth.web.uploads import Pace, display_name, is_form, read_json, save_file
from segearth.web.worker import MapTask, hide_path

T = TypeVar("T")

STATIC = Path(__file__).parent / "static"
MOST_UPLOADS = 8  # at the same time, of all sessions
_KEEP_TILES_S = 3600
_EVENT_S = 0.25  # minimum time between two events of a job
_ALIVE_S = 15.0  # a stream without events sends a comment after this time
_IMAGE_ERRORS = (UserError, ReadFailed)


class _TileNumber(IntegerConvertor):
    """A number in the URL of a tile, of limited length, as Python refuses to parse very long numbers."""

    regex = "[0-9]{1,10}"


register_url_convertor("tile", _TileNumber())


@dataclass(frozen=True)
class WebOptions:
    """Options of the server.

    Attributes:
        work: the folder for all files.
        model: name of the model.
        models: names of available models.
        root: the folder of images that can be opened by path; None: no image can be opened by path.
        max_upload_mb: maximum size of an uploaded file.
        max_memory_mb: working memory of the worker process, in addition to the model; None: the default.
        pace: minimum speed of requests.
    """

    work: Path
    model: str
    models: tuple[str, ...] = ()
    root: Root | None = None
    max_upload_mb: float = 2000
    max_memory_mb: float | None = None
    pace: Pace = field(default_factory=Pace)


class Service:
    """Handles requests.

    Args:
        options: options of the server.
        worker: the worker process, with `submit`, `cancel` and `listen` of `WorkerClient`.
    """

    def __init__(self, options: WebOptions, worker: Any) -> None:
        self.options, self._worker = options, worker
        self.state = State(options.work, self._submit, worker.cancel)
        self._preparing = ThreadPoolExecutor(1, "prepare")
        self._making = ThreadPoolExecutor(2, "downloads")
        self._reading = ThreadPoolExecutor(8, "tiles")
        self._downloads = Downloads()
        self.uploads = 0  # number of running uploads
        self.closing = asyncio.Event()

    def app(self) -> Starlette:
        """The Starlette application."""
        image, job = "/api/images/{image}", "/api/jobs/{job}"
        tiles = "/tiles/{z:tile}/{x:tile}/{y:tile}.png"
        routes: list[Any] = [
            Route("/", self._page),
            Route("/api", self._about),
            Route("/api/files", self._files),
            Route("/api/images", self._images),
            Route("/api/images", self._new_image, methods=["POST"]),
            Route(image, self._image),
            Route(image, self._remove_image, methods=["DELETE"]),
            Route(image + tiles, self._image_tile),
            Route("/api/jobs", self._jobs),
            Route("/api/jobs", self._new_job, methods=["POST"]),
            Route(job, self._job),
            Route(job, self._remove_job, methods=["DELETE"]),
            Route(job + "/cancel", self._cancel_job, methods=["POST"]),
            Route(job + "/events", self._events),
            Route(job + tiles, self._job_tile),
            Route(job + "/histogram", self._histogram),
            Route(job + "/pixel", self._pixel),
            Route(job + "/files/{file}", self._file),
        ]
        if STATIC.is_dir():
            routes.append(Mount("/static", StaticFiles(directory=STATIC)))
        handlers: dict[Any, Any] = {
            RequestError: lambda _, why: error_response(why.status, why.sentence, why.field),
            UserError: lambda _, why: error_response(400, str(why)),
            ReadFailed: lambda _, why: error_response(409, str(why)),
            HTTPException: _http_error,
            Exception: _defect,
        }
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def forward(kind: str, job: str, fields: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._on_message, kind, job, fields)

        self._worker.listen(forward)
        yield
        self._worker.listen(lambda *_: None)  # the event loop ends
        for threads in (self._preparing, self._making, self._reading):
            threads.shutdown(wait=False, cancel_futures=True)

    def _on_message(self, kind: str, job: str, fields: dict[str, Any]) -> None:
        folder = self.state.on_message(kind, job, fields)
        if folder is not None:
            self._preparing.submit(remove_folder, folder)

    def _submit(self, job: WebJob) -> None:
        """Submits a map to the worker process."""
        options = dict(job.options)
        if self.options.max_memory_mb is not None:
            options["max_memory_mb"] = self.options.max_memory_mb
        image = job.image
        self._worker.submit(
            MapTask(
                job.id,
                image.id,
                image.path,
                image.name,
                job.folder,
                job.name,
                job.vocabulary,
                job.threshold,
                image.facts["windows"],
                image.size,
                options,
            )
        )

    # handlers of routes

    async def _page(self, _: Request) -> Response:
        index = STATIC / "index.html"
        if not index.is_file():
            raise RequestError(
                404, "this installation has no page: expected segearth/web/static; install segearth again"
            )
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    async def _about(self, _: Request) -> Response:
        options, examples = self.options, [image.id for image in self.state.images("") if image.owner is None]
        return json_response(
            {
                "version": segearth.__version__,
                "model": options.model,
                "models": list(options.models),
                "max_upload_mb": options.max_upload_mb,
                "root": None if options.root is None else options.root.folder.name or "/",
                "presets": presets(),
                "examples": examples,
            }
        )

    async def _files(self, request: Request) -> Response:
        return json_response(await self._read(self._root().listing, request.query_params.get("path", "")))

    async def _images(self, request: Request) -> Response:
        return json_response([image.json() for image in self.state.images(_session(request))])

    async def _new_image(self, request: Request) -> Response:
        session = _session(request)
        self.state.check_images(session)
        if is_form(request):
            image = await self._sent_image(request, session)
        else:
            body = await read_json(request, self.options.pace)
            if not isinstance(path := body.get("path"), str):
                raise RequestError(400, "there is no path: expected a text such as field.tif; give one", "path")
            place = await self._read(partial(self._root().find, path, folder=False))
            image = await self.open_image(session, place, display_name(place.name), field="path")
        return json_response(image.json(), 201)

    async def _sent_image(self, request: Request, session: str) -> WebImage:
        if self.uploads >= MOST_UPLOADS:
            raise RequestError(
                429, f"{MOST_UPLOADS} files are being sent: expected fewer at a time; send this one in a moment", "file"
            )
        name, folder = self.state.new_folder("images")
        self.uploads += 1
        try:
            most = round(self.options.max_upload_mb * 1e6)
            shown = await save_file(request, folder / "image", most, self.options.pace)
            return await self.open_image(session, folder / "image", shown, (name, folder), field="file")
        except BaseException:
            await asyncio.shield(run_in_threadpool(remove_folder, folder))
            raise
        finally:
            self.uploads -= 1

    async def open_image(
        self,
        session: str | None,
        path: Path,
        shown: str,
        upload: tuple[str, Path] | None = None,
        field: str | None = None,
    ) -> WebImage:
        """Adds an image, and starts to prepare it for display.

        Args:
            session: the owner; None: visible to all sessions.
            path: path of the file.
            shown: its name for display.
            upload: id and folder of an uploaded file; None for a file that was opened by path.
            field: field of the request, for errors.

        Raises:
            RequestError: it cannot be mapped.
        """
        try:
            facts = await self._read(partial(inspect, path, shown, sent=upload is not None))
        except UserError as why:
            raise RequestError(422, hide_path(str(why), path, shown), field) from None
        name, folder = upload or self.state.new_folder("images")
        image = WebImage(name, session, shown, path, folder, facts)
        self.state.add_image(image)
        loop = asyncio.get_running_loop()
        ready = loop.run_in_executor(self._preparing, preview.prepare, path, shown, folder)
        ready.add_done_callback(partial(_prepared, image))
        return image

    async def _image(self, request: Request) -> Response:
        return json_response(self._image_of(request).json())

    async def _remove_image(self, request: Request) -> Response:
        image = self._image_of(request)
        if image.owner is None:
            raise RequestError(
                403, f"{image.name} is there for everybody: expected an image of yours; it stays", "image"
            )
        for folder in self.state.remove_image(image):
            self._preparing.submit(remove_folder, folder)
        return Response(status_code=204)

    async def _image_tile(self, request: Request) -> Response:
        image, key = self._image_of(request), request.path_params
        if image.view is None:
            raise RequestError(409, f"{image.name} is not ready: expected it to be; ask again in a moment", "image")
        read = partial(preview.image_tile, image.view, key["z"], key["x"], key["y"])
        return tile_response(await self._read_image(image, read), keep_s=_KEEP_TILES_S)

    async def _jobs(self, request: Request) -> Response:
        return json_response([self._json(job) for job in self.state.jobs(_session(request))])

    async def _new_job(self, request: Request) -> Response:
        session = _session(request)
        body = await read_json(request, self.options.pace)
        image = self.state.image(session, str(body.get("image")))
        vocabulary, text, threshold, options = await self._read(partial(job_settings, body, image))
        return json_response(self._json(self.add_job(session, image, vocabulary, text, threshold, options)), 202)

    def add_job(
        self,
        session: str | None,
        image: WebImage,
        vocabulary: Vocabulary,
        text: str,
        threshold: float = 0.0,
        options: dict[str, Any] | None = None,
    ) -> WebJob:
        """Adds a map to the queue; for the arguments see `WebJob`."""
        name, folder = self.state.new_folder("jobs")
        job = WebJob(name, session, image, vocabulary, text, threshold, options or {}, folder, file_name(image.name))
        try:
            self.state.add_job(job)
        except RequestError:
            folder.rmdir()
            raise
        return job

    async def _job(self, request: Request) -> Response:
        return json_response(self._json(self._job_of(request)))

    async def _cancel_job(self, request: Request) -> Response:
        """Cancels a job; one that has ended stays, so that cancelling never loses a map."""
        job = self._writable_job_of(request)
        if job.state not in ENDED:
            self.state.cancel(job)
        return json_response(self._json(job))

    async def _remove_job(self, request: Request) -> Response:
        job = self._writable_job_of(request)
        if job.state not in ENDED:
            raise RequestError(409, f"the map is {job.state}: expected one that has ended; cancel it first", "job")
        self._preparing.submit(remove_folder, self.state.remove_job(job))
        return Response(status_code=204)

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(
            self._stream(self._job_of(request)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _stream(self, job: WebJob) -> AsyncIterator[str]:
        sent = ""
        while not self.closing.is_set():
            changed, now = job.changed, json.dumps(self._json(job), allow_nan=False)
            if now != sent:
                yield f"event: job\ndata: {now}\n\n"
                sent = now
            if job.state in ENDED:
                return
            closing = asyncio.ensure_future(self.closing.wait())
            waiting = asyncio.ensure_future(changed.wait())
            try:
                done, _ = await asyncio.wait((waiting, closing), timeout=_ALIVE_S, return_when="FIRST_COMPLETED")
            finally:
                waiting.cancel()
                closing.cancel()
            if not done:
                yield ": alive\n\n"
            await asyncio.sleep(_EVENT_S)

    async def _job_tile(self, request: Request) -> Response:
        job, key = self._job_of(request), request.path_params
        if job.files is None:
            return tile_response(None, keep_s=0)
        png = await self._read_image(job.image, partial(job.files.tile, key["z"], key["x"], key["y"]))
        return tile_response(png, keep_s=_KEEP_TILES_S if "r" in request.query_params else 0)

    async def _histogram(self, request: Request) -> Response:
        return json_response(await self._read(partial(histogram, self._job_of(request))))

    async def _pixel(self, request: Request) -> Response:
        job = self._job_of(request)
        row, column = (number_of(request.query_params, key) for key in ("row", "column"))
        return json_response(await self._read_image(job.image, partial(pixel, job, row, column)))

    async def _file(self, request: Request) -> Response:
        job, query = self._job_of(request), request.query_params
        threshold, colours = threshold_of(query), colours_of(query, job.vocabulary)
        loop = asyncio.get_running_loop()
        make = partial(self._downloads.make, job, request.path_params["file"], threshold, colours)
        try:
            path, name, kind = await loop.run_in_executor(self._making, make)
        except UserError as why:
            raise RequestError(409, hide_path(str(why), job.folder, job.image.name)) from None
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return FileResponse(path, media_type=kind, headers=headers)

    # helpers of handlers

    def _root(self) -> Root:
        if self.options.root is None:
            raise RequestError(
                404, "no folder of images was given when this server was started: expected one; send a file", "path"
            )
        return self.options.root

    def _image_of(self, request: Request) -> WebImage:
        return self.state.image(_session(request), request.path_params["image"])

    def _writable_job_of(self, request: Request) -> WebJob:
        job = self._job_of(request)
        if job.owner is None:
            raise RequestError(403, "this map is there for everybody: expected one of yours; it stays", "job")
        return job

    def _job_of(self, request: Request) -> WebJob:
        return self.state.job(_session(request), request.path_params["job"])

    def _json(self, job: WebJob) -> dict[str, Any]:
        return job.json(self.state.position(job))

    async def _read(self, read: Callable[..., T], *arguments: Any) -> T:
        """Calls a function that reads files in a thread, so that the event loop never waits for a disk."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, read, *arguments)

    async def _read_image(self, image: WebImage, read: Callable[[], T]) -> T:
        """As `_read`; errors name the image instead of its path."""
        try:
            return await self._read(read)
        except _IMAGE_ERRORS as why:
            raise RequestError(409, hide_path(str(why), image.path, image.name), "image") from None


def _prepared(image: WebImage, ready: asyncio.Future[tuple[preview.View, list[str]]]) -> None:
    """Stores the result of preparing an image, or why it failed."""
    if ready.cancelled():
        return
    why = ready.exception()
    if why is None:
        image.view, image.remarks = ready.result()
        image.state = "ready"
        return
    image.state = "failed"
    if isinstance(why, _IMAGE_ERRORS):
        image.error = hide_path(str(why), image.path, image.name)
    else:
        traceback.print_exception(why)
        image.error = f"{image.name} cannot be shown: expected a whole image; what happened is on the server's terminal"


def _session(request: Request) -> str:
    session: str = request.scope["session_id"]
    return session


async def _http_error(_: Request, why: Exception) -> Response:
    assert isinstance(why, HTTPException)
    sentence = {
        404: "there is nothing at this address: expected one of those in docs/web.md; correct it",
        405: "this address does not take such a request: expected another method, see docs/web.md; use that",
    }.get(why.status_code, str(why.detail))
    return error_response(why.status_code, sentence, headers=dict(why.headers or {}))


def _defect(_: Request, why: Exception) -> Response | Awaitable[Response]:
    traceback.print_exception(why)
    return error_response(500, "the server made a mistake: expected none; what happened is on its terminal")
