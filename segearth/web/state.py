"""The state of the server: images and maps with their owners, and the queue of maps."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.vocabulary import Vocabulary
from segearth.web.maps import MapFiles
from segearth.web.preview import View, max_zoom
from segearth.web.responses import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_WINDOWS = 2000  # equal to that of `segearth.scenes.encoding_cache`, which needs torch
MOST_WAITING = 20  # queued maps of a session
MOST_IMAGES = 100  # of a session
MOST_JOBS = 200  # of a session
# of all sessions, as a client without cookies gets a new session with each request
ALL_WAITING = 100
ALL_IMAGES = 200
ALL_JOBS = 1000
_MAKE_ROOM = "remove some, or start the server again, which removes all"
ENDED = ("done", "failed", "cancelled")


@dataclass(eq=False)
class WebImage:
    """An image that can be mapped.

    Attributes:
        id: its id.
        owner: the session that added it; None: visible to all sessions.
        name: its name for display.
        path: path of the file.
        folder: folder of its preview, and of an uploaded file.
        facts: its description, as JSON.
        state: "preparing", "ready" or "failed".
        error: why it failed.
        remarks: one sentence each.
        view: how its tiles are read; None until it is ready.
    """

    id: str
    owner: str | None
    name: str
    path: Path
    folder: Path
    facts: dict[str, Any]
    state: str = "preparing"
    error: str | None = None
    remarks: list[str] = field(default_factory=list)
    view: View | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.facts["height"], self.facts["width"]

    def json(self) -> dict[str, Any]:
        """The image in the REST interface."""
        return {
            "id": self.id,
            "name": self.name,
            **self.facts,
            "keeps_encoding": self.facts["windows"] <= KEPT_WINDOWS,
            "max_zoom": max_zoom(self.size),
            "state": self.state,
            "error": self.error,
            "remarks": self.remarks,
            "example": self.owner is None,
        }


@dataclass(eq=False)
class WebJob:
    """A map: queued, in progress or ended.

    Attributes:
        id: its id.
        owner: the session that requested it; None: visible to all sessions.
        image: its image.
        vocabulary: its classes.
        text: the classes as given by the user.
        threshold: for classes without a threshold of their own.
        options: further `SceneOptions`.
        folder: folder of its files.
        name: name of its files.
        state: "queued", "running", "done", "failed" or "cancelled".
        histogram: (C, 256), pixels by best class and its score.
        side: side of its blocks, once it has started.
    """

    id: str
    owner: str | None
    image: WebImage
    vocabulary: Vocabulary
    text: str
    threshold: float
    options: dict[str, Any]
    folder: Path
    name: str
    state: str = "queued"
    error: str | None = None
    remarks: list[str] = field(default_factory=list)
    reused: bool | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    histogram: NDArray[np.int64] | None = None
    side: int | None = None
    revision: int = 0
    failed_blocks: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def files(self) -> MapFiles | None:
        """The files of the map; None before it has started."""
        if self.side is None:
            return None
        return MapFiles(self.folder, self.name, self.image.size, self.side, self.vocabulary, self.threshold)

    def json(self, position: int | None) -> dict[str, Any]:
        """The map in the REST interface.

        Args:
            position: position in the queue, from 1; None: not queued.
        """
        height, width = self.image.size
        rows = zip(self.vocabulary.classes, self.vocabulary.palette, self.vocabulary.thresholds, strict=True)
        return {
            "id": self.id,
            "image": self.image.id,
            "state": self.state,
            "position": position,
            "error": self.error,
            "remarks": self.remarks,
            "reused": self.reused,
            "progress": self.progress or _NO_PROGRESS,
            "classes": [
                {
                    "index": i,
                    "name": names[0],
                    "names": list(names),
                    "colour": "#{:02X}{:02X}{:02X}".format(*colour),
                    "background": i == self.vocabulary.background,
                    "threshold": threshold,
                }
                for i, (names, colour, threshold) in enumerate(rows)
            ],
            "classes_text": self.text,
            "threshold": self.threshold,
            "width": width,
            "height": height,
            "max_zoom": max_zoom(self.image.size),
            "revision": self.revision,
            "failed_blocks": self.failed_blocks,
            "example": self.owner is None,
        }

    def notify(self) -> None:
        """Wakes the event streams that wait for a change."""
        self.changed.set()
        self.changed = asyncio.Event()


_NO_PROGRESS = {
    "done": 0,
    "total": 0,
    "megapixels": 0.0,
    "megapixels_total": 0.0,
    "seconds": 0.0,
    "seconds_left": None,
}


class State:
    """All images and maps; used only by the thread of the event loop.

    Args:
        work: the folder for all files.
        submit: submits a map to the worker.
        cancel: cancels the running map, by its id.
    """

    def __init__(self, work: Path, submit: Callable[[WebJob], None], cancel: Callable[[str], None]) -> None:
        self.work = work
        self._submit, self._cancel = submit, cancel
        self._images: dict[str, WebImage] = {}
        self._jobs: dict[str, WebJob] = {}
        self._waiting: dict[str | None, deque[WebJob]] = {}  # queues by session, in the order of their turns
        self._running: WebJob | None = None

    def new_folder(self, kind: str) -> tuple[str, Path]:
        """Creates a folder with a new id; returns both."""
        name = secrets.token_urlsafe(12)
        folder = self.work / kind / name
        folder.mkdir(parents=True)
        return name, folder

    def check_images(self, session: str) -> None:
        """Refuses another image if the session, or all sessions together, have too many.

        Raises:
            RequestError: too many images.
        """
        if sum(image.owner == session for image in self._images.values()) >= MOST_IMAGES:
            raise RequestError(429, f"there are {MOST_IMAGES} images already: expected fewer; remove some first")
        if sum(image.owner is not None for image in self._images.values()) >= ALL_IMAGES:
            raise RequestError(429, f"there are {ALL_IMAGES} images of all sessions: expected fewer; {_MAKE_ROOM}")

    def add_image(self, image: WebImage) -> None:
        """Adds an image."""
        self._images[image.id] = image

    def images(self, session: str) -> list[WebImage]:
        """Those of a session, newest first, then those for all sessions."""
        seen = [image for image in reversed(self._images.values()) if image.owner == session]
        return seen + [image for image in self._images.values() if image.owner is None]

    def image(self, session: str, name: str) -> WebImage:
        """An image by its id.

        Raises:
            RequestError: the session has no such image.
        """
        image = self._images.get(name)
        if image is None or image.owner not in (None, session):
            raise RequestError(404, "there is no such image: expected one of this session; open it again", "image")
        return image

    def remove_image(self, image: WebImage) -> list[Path]:
        """Removes an image and its maps; returns the folders to delete."""
        del self._images[image.id]
        folders = [image.folder]
        for job in [job for job in self._jobs.values() if job.image is image]:
            self.cancel(job)
            del self._jobs[job.id]
            if job.state != "running":  # otherwise `on_message` returns it when the map has ended
                folders.append(job.folder)
        return folders

    def add_job(self, job: WebJob) -> None:
        """Adds a map to the queue.

        Raises:
            RequestError: too many queued or existing maps of its session, or of all sessions.
        """
        queue = self._waiting.get(job.owner, deque())
        if job.owner is not None and len(queue) >= MOST_WAITING:
            raise RequestError(
                429, f"{MOST_WAITING} maps are waiting: expected fewer; wait until some are made, or cancel some"
            )
        if job.owner is not None and sum(other.owner == job.owner for other in self._jobs.values()) >= MOST_JOBS:
            raise RequestError(429, f"there are {MOST_JOBS} maps already: expected fewer; remove some first")
        if job.owner is not None and sum(map(len, self._waiting.values())) >= ALL_WAITING:
            raise RequestError(429, f"{ALL_WAITING} maps of all sessions are waiting: expected fewer; try again later")
        if job.owner is not None and len(self._jobs) >= ALL_JOBS:
            raise RequestError(429, f"there are {ALL_JOBS} maps of all sessions: expected fewer; {_MAKE_ROOM}")
        self._jobs[job.id] = job
        self._waiting.setdefault(job.owner, queue).append(job)
        self.start_next()

    def jobs(self, session: str) -> list[WebJob]:
        """Those of a session, newest first, then those for all sessions."""
        seen = [job for job in reversed(self._jobs.values()) if job.owner == session]
        return seen + [job for job in self._jobs.values() if job.owner is None]

    def job(self, session: str, name: str) -> WebJob:
        """A map by its id.

        Raises:
            RequestError: the session has no such map.
        """
        job = self._jobs.get(name)
        if job is None or job.owner not in (None, session):
            raise RequestError(404, "there is no such map: expected one of this session; make it anew", "job")
        return job

    def position(self, job: WebJob) -> int | None:
        """Position of a queued map, from 1, as sessions take turns; None if it is not queued."""
        if job.state != "queued":
            return None
        index = self._waiting[job.owner].index(job)
        turn = list(self._waiting).index(job.owner)
        before = (
            min(len(queue), index + (number < turn))
            for number, queue in enumerate(self._waiting.values())
            if number != turn
        )
        return index + sum(before) + 1

    def start_next(self) -> None:
        """Starts the next map, if none is running."""
        if self._running is not None or not self._waiting:
            return
        session, queue = next(iter(self._waiting.items()))
        job = queue.popleft()
        del self._waiting[session]
        if queue:
            self._waiting[session] = queue  # after all others
        self._running, job.state = job, "running"
        self._notify_queued()
        job.notify()
        self._submit(job)

    def cancel(self, job: WebJob) -> None:
        """Cancels a queued map at once, or a running one soon."""
        if job.state == "queued":
            queue = self._waiting[job.owner]
            queue.remove(job)
            if not queue:
                del self._waiting[job.owner]
            job.state = "cancelled"
            job.notify()
            self._notify_queued()
        elif job.state == "running":
            self._cancel(job.id)

    def remove_job(self, job: WebJob) -> Path:
        """Removes a map that has ended; returns the folder to delete."""
        del self._jobs[job.id]
        return job.folder

    def on_message(self, kind: str, job_id: str, fields: dict[str, Any]) -> Path | None:
        """Handles a message of the worker about a map.

        Args:
            kind: "progress" or "ended".
            job_id: id of the map.
            fields: attributes of `WebJob` to set.

        Returns:
            A folder to delete, of a map that was removed while it was running; else None.
        """
        job = self._running
        if job is None or job.id != job_id:
            return None
        for key, value in fields.items():
            setattr(job, key, value)
        if kind == "progress":
            job.notify()
            return None
        self._running = None
        job.notify()
        self.start_next()
        return job.folder if job.id not in self._jobs else None

    def _notify_queued(self) -> None:
        """Notifies all queued maps, as their positions have changed."""
        for queue in self._waiting.values():
            for job in queue:
                job.notify()


def remove_folder(folder: Path) -> None:
    """Deletes a folder; errors are ignored."""
    shutil.rmtree(folder, ignore_errors=True)
