"""Downloads one file: limited in time and size, resumable, and verified before use.

    download(file, target, advice="Put it there yourself.")

During a download, `NAME.part` beside the target has the bytes received so far, and `NAME.part.json` identifies the
content. An interrupted download leaves both, and the next one resumes. If the server provides nothing that identifies
the content, both are deleted.
"""

import errno
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from segearth.downloads.answer import Answer, Broken, CannotResume, ask
from segearth.downloads.connection import Unusable, is_offered, reason
from segearth.downloads.part import Content, Part
from segearth.errors import UserError
from segearth.files import File, is_whole_safetensors, is_whole_zip
from segearth.jobs.locks import locked
from segearth.progress import switched_off

RETRY_BYTES = 1_000_000  # a connection that broke is opened again if it delivered at least this many bytes


def offline() -> bool:
    """Whether the environment forbids all requests (`SEGEARTH_OFFLINE` or `HF_HUB_OFFLINE`)."""
    values = (os.environ.get(name, "") for name in ("SEGEARTH_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in {"1", "on", "yes", "true"} for value in values)


def reachable(file: File, timeout: float = 5.0) -> bool:
    """Whether a server offers the file: one HEAD request, never repeated, redirects not followed.

    Args:
        file: The file.
        timeout: Total seconds, including name resolution.
    """
    return not offline() and is_offered(file.address, timeout)


def received(target: Path) -> int:
    """Bytes of an unfinished download that can be resumed."""
    return Part(target).size


def download(
    file: File,
    target: Path,
    *,
    advice: str,
    progress: bool = True,
    timeout: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Downloads a file, verifies it, and then renames it to `target`.

    A file without a pinned hash is verified by the SHA-256 that the hub declares. One process downloads to `target` at
    a time; others wait. If the first address fails, the mirrors are tried for the remaining bytes.

    Args:
        file: The file.
        target: Path of the copy; its folder is created.
        advice: The end of an error message: what to do next.
        progress: Whether to draw a progress bar on stderr.
        timeout: Seconds to reach the server.
        clock: A monotonic clock in seconds.

    Raises:
        UserError: No network, unexpected content, or a folder that cannot be written.
    """
    part = Part(target)
    try:
        if offline():
            raise Unusable("SEGEARTH_OFFLINE or HF_HUB_OFFLINE is set, so no request is made")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "its folder may only be read")
        waiting = f"{file.name} is being downloaded by another process: waiting for it"
        with locked(target, patience=math.inf, waiting=waiting) as waited:
            if waited and target.is_file() and file.is_complete(target) and file.damage(target) is None:
                return
            try:
                _from_anywhere(file, part, progress, timeout, clock)
            finally:
                part.tidy()
    except Unusable as why:
        kept = f"The {part.size:,} bytes that came are kept, and the next try goes on from there. " if part.size else ""
        raise UserError(
            f"Could not download {file.name} from {_shown(file.address)}: {why}. Expected a file of {file.size_text}. "
            f"{kept}{advice}"
        ) from None
    except OSError as error:  # network errors are `Unusable`: this is an error of the disk
        raise UserError(
            f"Could not write {target}: {reason(error)}. Expected a folder that can be written, with room "
            f"for {file.size_text}. Set SEGEARTH_HOME to such a folder."
        ) from None


def _shown(address: str) -> str:
    """An address without a password."""
    return re.sub("//[^/]*@", "//", address)


def _from_anywhere(file: File, part: Part, progress: bool, timeout: float, clock: Callable[[], float]) -> None:
    """Completes the file from its address, or from the first mirror that works.

    Raises:
        Unusable: None works; with the reason of each.
    """
    reasons: list[str] = []
    for address in (file.address, *file.mirrors):
        source = file if address == file.address else replace(file, url=address, hub=None)
        try:
            return _complete(source, part, progress, timeout, clock)
        except Unusable as why:
            reasons.append(f"nor from {_shown(address)}: {why}" if reasons else str(why))
    raise Unusable("; ".join(reasons))


def _complete(file: File, part: Part, progress: bool, timeout: float, clock: Callable[[], float]) -> None:
    """Receives the missing bytes, retries while that makes progress, verifies the file and renames it.

    If the part of an earlier run does not fit, the whole file is received again.
    """
    whole = part.size == 0  # whether all bytes are received in this run
    while True:
        before = part.size
        try:
            expected = _receive(file, part, progress, timeout, clock)
        except Broken:
            if part.size - before < RETRY_BYTES:
                raise
            continue
        except CannotResume:
            if whole:
                raise
        else:
            problem = _problem(expected, part.path)
            if problem is None:
                part.path.replace(part.target)
                part.remove()
                return
            if whole:
                part.remove()
                raise Unusable(problem)
        part.remove()
        whole = True


def _problem(expected: File, path: Path) -> str | None:
    """Why the received content is wrong; None if it is right."""
    if (damage := expected.damage(path)) is not None:
        return f"the content is not the right one: {damage}"
    if not expected.pinned and not is_whole_safetensors(path) and not is_whole_zip(path):
        return "no hash is known, and the content is neither a complete safetensors file nor a complete zip archive"
    return None


def _receive(file: File, part: Part, progress: bool, timeout: float, clock: Callable[[], float]) -> File:
    """Requests the missing bytes and appends them; returns the file with its size, and hash if declared."""
    start, content = part.size, part.content
    if content is not None and start == content.size:  # an earlier run was killed before it verified the file
        return _described(file, content)
    token = os.environ.get("HF_TOKEN") if file.hub else None
    etag = content.etag if content is not None else None
    with closing(ask(file.address, start=start, etag=etag, token=token, timeout=timeout)) as answer:
        offered = _content(file, answer)
        if answer.start == 0:
            part.begin(offered, keep=bool(file.pinned or offered.sha256 or offered.etag))
        elif content is None or (offered.size, offered.sha256) != (content.size, content.sha256):
            raise CannotResume("the server has another content by now than the one that came so far")
        missing = offered.size - answer.start
        if (free := shutil.disk_usage(part.path.parent).free) < missing:
            raise OSError(errno.ENOSPC, f"{missing / 1e6:,.0f} MB more are needed, and {free / 1e6:,.0f} MB are free")
        _append(answer, part.path, offered.size, file.name, progress, clock)
    return _described(file, offered)


def _content(file: File, answer: Answer) -> Content:
    """The content that the server offers.

    Raises:
        Unusable: It differs from the expected file, or its size is unknown.
    """
    size = file.size if answer.size is None else answer.size
    if size is None:
        raise Unusable("the server does not say how long the file is, so a whole copy cannot be told")
    if not file.may_have(size):
        known = file.size_text if file.size is None else f"{file.size:,}"
        raise Unusable(f"the server offers {size:,} bytes, expected {known}")
    return Content(size, answer.etag, file.sha256 if file.pinned else answer.sha256)


def _described(file: File, content: Content) -> File:
    """The file with the size and hash of the offered content."""
    return replace(file, size=content.size, sha256=content.sha256)


def _append(answer: Answer, path: Path, size: int, name: str, progress: bool, clock: Callable[[], float]) -> None:
    """Writes the body at its position in the file of `size` bytes.

    Raises:
        Broken: The body ended early.
        Unusable: The body is longer.
    """
    from tqdm import tqdm

    received, hidden = answer.start, not progress or switched_off()
    with (
        path.open("r+b" if received else "wb") as sink,
        tqdm(total=size, initial=received, unit="B", unit_scale=True, desc=name, disable=hidden) as bar,
    ):
        sink.seek(received)
        for block in answer.blocks(clock):
            received += len(block)
            if received > size:
                sink.truncate(0)  # nothing is kept
                raise Unusable(f"the server sent more than the expected {size:,} bytes")
            sink.write(block)
            sink.flush()  # so that a killed process loses nothing
            bar.update(len(block))
    if received < size:
        raise Broken(f"the connection ended after {received:,} of {size:,} bytes")
