"""What the server knows: images and maps, whose they are, and in which order maps are made."""

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
from segearth.web.answers import Refused
from segearth.web.maps import MapFiles
from segearth.web.preview import View, max_zoom

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_WINDOWS = 2000  # as of `segearth.scenes.encoding_cache`, which needs torch
MOST_WAITING = 20  # maps of a session
MOST_IMAGES = 100  # of a session
MOST_JOBS = 200  # of a session
# of all sessions: whoever keeps no cookie has a new one with each request
ALL_WAITING = 100
ALL_IMAGES = 200
ALL_JOBS = 1000
_MAKE_ROOM = "remove some, or start the server again, which removes all"
ENDED = ("done", "failed", "cancelled")


@dataclass(eq=False)
class WebImage:
    """An image that maps can be made of.

    Attributes:
        id: of it.
        owner: the session that brought it; None: it is there for everybody.
        name: what it is called.
        path: of its file.
        folder: of what is made of it, and of the file if it was sent.
        facts: what is known of it, as JSON.
        state: "preparing", "ready" or "failed".
        error: why it failed.
        remarks: on it, one sentence each.
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
        """As in the REST interface."""
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
    """A map that is made, was or will be.

    Attributes:
        id: of it.
        owner: the session that asked for it; None: it is there for everybody.
        image: of which it is.
        vocabulary: its classes.
        text: of the classes, as it was given.
        threshold: of classes without one of their own.
        options: more of `SceneOptions`.
        folder: of its files.
        name: of its files.
        state: "queued", "running", "done", "failed" or "cancelled".
        told: what the process that computes told last.
        histogram: (C, 256), pixels by best class and its score.
        side: of its blocks, when it has begun.
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
        """Its map, as far as there is one."""
        if self.side is None:
            return None
        return MapFiles(self.folder, self.name, self.image.size, self.side, self.vocabulary, self.threshold)

    def json(self, position: int | None) -> dict[str, Any]:
        """As in the REST interface.

        Args:
            position: how many maps are made before it, and 1; None: it does not wait.
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
                    "threshold": own,
                }
                for i, (names, colour, own) in enumerate(rows)
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

    def tell(self) -> None:
        """Wakes whoever waits for a change."""
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
    """All images and maps; only the thread of the event loop touches it.

    Args:
        work: the folder for all files.
        begin: hands a map to the process that computes.
        cancel: ends the map that it makes.
    """

    def __init__(self, work: Path, begin: Callable[[WebJob], None], cancel: Callable[[str], None]) -> None:
        self.work = work
        self._begin, self._cancel = begin, cancel
        self._images: dict[str, WebImage] = {}
        self._jobs: dict[str, WebJob] = {}
        self._waiting: dict[str | None, deque[WebJob]] = {}  # by session, in the order of their turns
        self._running: WebJob | None = None

    def new_folder(self, kind: str) -> tuple[str, Path]:
        """An id and a folder for it."""
        name = secrets.token_urlsafe(12)
        folder = self.work / kind / name
        folder.mkdir(parents=True)
        return name, folder

    def check_images(self, session: str) -> None:
        """Refuses a further image where a session has very many, or all of them together have.

        Raises:
            Refused: it has.
        """
        if sum(image.owner == session for image in self._images.values()) >= MOST_IMAGES:
            raise Refused(429, f"there are {MOST_IMAGES} images already: expected fewer; remove some first")
        if sum(image.owner is not None for image in self._images.values()) >= ALL_IMAGES:
            raise Refused(429, f"there are {ALL_IMAGES} images of all sessions: expected fewer; {_MAKE_ROOM}")

    def add_image(self, image: WebImage) -> None:
        """Takes an image."""
        self._images[image.id] = image

    def images(self, session: str) -> list[WebImage]:
        """Those of a session, newest first, then those that are there for everybody."""
        seen = [image for image in reversed(self._images.values()) if image.owner == session]
        return seen + [image for image in self._images.values() if image.owner is None]

    def image(self, session: str, name: str) -> WebImage:
        """An image by its id.

        Raises:
            Refused: the session has none.
        """
        image = self._images.get(name)
        if image is None or image.owner not in (None, session):
            raise Refused(404, "there is no such image: expected one of this session; open it again", "image")
        return image

    def remove_image(self, image: WebImage) -> list[Path]:
        """Forgets an image and its maps; the folders that can go."""
        del self._images[image.id]
        folders = [image.folder]
        for job in [job for job in self._jobs.values() if job.image is image]:
            self.cancel(job)
            del self._jobs[job.id]
            if job.state != "running":  # else it is told when that has ended
                folders.append(job.folder)
        return folders

    def add_job(self, job: WebJob) -> None:
        """Takes a map into the queue.

        Raises:
            Refused: very many of its session wait, or are there; or of all sessions.
        """
        own = self._waiting.get(job.owner, deque())
        if job.owner is not None and len(own) >= MOST_WAITING:
            raise Refused(
                429, f"{MOST_WAITING} maps are waiting: expected fewer; wait until some are made, or cancel some"
            )
        if job.owner is not None and sum(other.owner == job.owner for other in self._jobs.values()) >= MOST_JOBS:
            raise Refused(429, f"there are {MOST_JOBS} maps already: expected fewer; remove some first")
        if job.owner is not None and sum(map(len, self._waiting.values())) >= ALL_WAITING:
            raise Refused(429, f"{ALL_WAITING} maps of all sessions are waiting: expected fewer; try again later")
        if job.owner is not None and len(self._jobs) >= ALL_JOBS:
            raise Refused(429, f"there are {ALL_JOBS} maps of all sessions: expected fewer; {_MAKE_ROOM}")
        self._jobs[job.id] = job
        self._waiting.setdefault(job.owner, own).append(job)
        self.next()

    def jobs(self, session: str) -> list[WebJob]:
        """Those of a session, newest first, then those that are there for everybody."""
        seen = [job for job in reversed(self._jobs.values()) if job.owner == session]
        return seen + [job for job in self._jobs.values() if job.owner is None]

    def job(self, session: str, name: str) -> WebJob:
        """A map by its id.

        Raises:
            Refused: the session has none.
        """
        job = self._jobs.get(name)
        if job is None or job.owner not in (None, session):
            raise Refused(404, "there is no such map: expected one of this session; make it anew", "job")
        return job

    def position(self, job: WebJob) -> int | None:
        """How many maps are made before one that waits, and 1: sessions take turns."""
        if job.state != "queued":
            return None
        own = self._waiting[job.owner].index(job)
        turn = list(self._waiting).index(job.owner)
        before = (
            min(len(queue), own + (number < turn))
            for number, queue in enumerate(self._waiting.values())
            if number != turn
        )
        return own + sum(before) + 1

    def next(self) -> None:
        """Begins the next map, if none is at work."""
        if self._running is not None or not self._waiting:
            return
        session, own = next(iter(self._waiting.items()))
        job = own.popleft()
        del self._waiting[session]
        if own:
            self._waiting[session] = own  # behind all others
        self._running, job.state = job, "running"
        self._tell_all()
        job.tell()
        self._begin(job)

    def cancel(self, job: WebJob) -> None:
        """Ends a map that waits, now, or one that is made, soon."""
        if job.state == "queued":
            own = self._waiting[job.owner]
            own.remove(job)
            if not own:
                del self._waiting[job.owner]
            job.state = "cancelled"
            job.tell()
            self._tell_all()
        elif job.state == "running":
            self._cancel(job.id)

    def remove_job(self, job: WebJob) -> Path:
        """Forgets a map that has ended; the folder that can go."""
        del self._jobs[job.id]
        return job.folder

    def heard(self, what: str, name: str, told: dict[str, Any]) -> Path | None:
        """What the process that computes tells of a map.

        Args:
            what: "progress" or "ended".
            name: of the job.
            told: see `segearth.web.worker`.

        Returns:
            A folder that nobody needs any more, such as of a map that was removed while it was made.
        """
        job = self._running
        if job is None or job.id != name:
            return None
        for key, value in told.items():
            setattr(job, key, value)
        if what == "progress":
            job.tell()
            return None
        self._running = None
        job.tell()
        self.next()
        return job.folder if job.id not in self._jobs else None

    def _tell_all(self) -> None:
        """Positions have changed."""
        for own in self._waiting.values():
            for job in own:
                job.tell()


def remove(folder: Path) -> None:
    """Removes a folder, as far as that can be."""
    shutil.rmtree(folder, ignore_errors=True)
