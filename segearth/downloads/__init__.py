"""Getting one file from the network: bounded in time and size, continued where it stopped, checked before it is used.

    download(file, target, advice="Put it there yourself.")

While a file comes, `NAME.part` beside it holds what came, and `NAME.part.json` which content that is a part of. A
download that ends early, however it ends, leaves these two, and the next one goes on from there. Where the server
gives nothing by which a part could be told from a part of another content, nothing is left.
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

from segearth.downloads.answer import Answer, Broken, NotContinued, ask
from segearth.downloads.connection import Unusable, is_offered, reason
from segearth.downloads.part import Content, Part
from segearth.errors import UserError
from segearth.files import File, is_whole_safetensors, is_whole_zip
from segearth.jobs.locks import locked
from segearth.progress import switched_off

GOES_ON_BYTES = 1_000_000  # a broken connection that brought so much is worth another one


def offline() -> bool:
    """Whether the environment forbids every request (`SEGEARTH_OFFLINE` or `HF_HUB_OFFLINE`)."""
    values = (os.environ.get(name, "") for name in ("SEGEARTH_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in {"1", "on", "yes", "true"} for value in values)


def reachable(file: File, timeout: float = 5.0) -> bool:
    """Whether a server offers the file: one HEAD request, never repeated, redirects not followed.

    Args:
        file: The file to ask for.
        timeout: Seconds for everything, resolving the host name included.
    """
    return not offline() and is_offered(file.address, timeout)


def received(target: Path) -> int:
    """Bytes of an unfinished download that the next one goes on from."""
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
    """Download a file, check it, and only then give it its name.

    A file without a pinned hash is checked against the SHA-256 that the hub declares for it. One process downloads
    to `target` at a time; another one waits for it, and says so. Where the first address fails, the mirrors are asked
    for what is still missing.

    Args:
        file: What to download.
        target: Where to put it; its folder is created.
        advice: The end of an error message: what to do next.
        progress: Whether to draw a progress bar on stderr.
        timeout: Seconds until the server must be reached.
        clock: Seconds of a clock that never goes back.

    Raises:
        UserError: No network, another content than expected, or a folder that cannot be written.
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
    except OSError as error:  # the network's errors were translated: this is the disk
        raise UserError(
            f"Could not write {target}: {reason(error)}. Expected a folder that can be written, with room "
            f"for {file.size_text}. Set SEGEARTH_HOME to such a folder."
        ) from None


def _shown(address: str) -> str:
    """An address without the password that may be in it."""
    return re.sub("//[^/]*@", "//", address)


def _from_anywhere(file: File, part: Part, progress: bool, timeout: float, clock: Callable[[], float]) -> None:
    """Completes the file from its address, or from the first mirror that can.

    Raises:
        Unusable: None of them can: why the first one cannot, and each of the others.
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
    """Receives what is missing, as often as that brings it forward, checks the whole, and moves it to its place.

    If what an earlier run left turns out not to be a part of it, the file is received once more, as a whole.
    """
    whole = part.size == 0  # whether all of it comes in this run
    while True:
        before = part.size
        try:
            expected = _receive(file, part, progress, timeout, clock)
        except Broken:
            if part.size - before < GOES_ON_BYTES:
                raise
            continue
        except NotContinued:
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
    """Why what came is not the file; None if it is."""
    if (damage := expected.damage(path)) is not None:
        return f"the content is not the right one: {damage}"
    if not expected.pinned and not is_whole_safetensors(path) and not is_whole_zip(path):
        return "no hash is known, and the content is neither a complete safetensors file nor a complete zip archive"
    return None


def _receive(file: File, part: Part, progress: bool, timeout: float, clock: Callable[[], float]) -> File:
    """Asks for what is missing and appends it; gives the file with its size, and a hash where one is declared."""
    start, content = part.size, part.content
    if content is not None and start == content.size:  # an earlier run was killed before it could check this
        return _described(file, content)
    token = os.environ.get("HF_TOKEN") if file.hub else None
    etag = content.etag if content is not None else None
    with closing(ask(file.address, start=start, etag=etag, token=token, timeout=timeout)) as answer:
        found = _content(file, answer)
        if answer.start == 0:
            part.begin(found, keep=bool(file.pinned or found.sha256 or found.etag))
        elif content is None or (found.size, found.sha256) != (content.size, content.sha256):
            raise NotContinued("the server has another content by now than the one that came so far")
        missing = found.size - answer.start
        if (free := shutil.disk_usage(part.path.parent).free) < missing:
            raise OSError(errno.ENOSPC, f"{missing / 1e6:,.0f} MB more are needed, and {free / 1e6:,.0f} MB are free")
        _append(answer, part.path, found.size, file.name, progress, clock)
    return _described(file, found)


def _content(file: File, answer: Answer) -> Content:
    """What the server offers.

    Raises:
        Unusable: It contradicts what is known, or says too little to tell a whole copy from a part.
    """
    size = file.size if answer.size is None else answer.size
    if size is None:
        raise Unusable("the server does not say how long the file is, so a whole copy cannot be told")
    if not file.may_have(size):
        known = file.size_text if file.size is None else f"{file.size:,}"
        raise Unusable(f"the server offers {size:,} bytes, expected {known}")
    return Content(size, answer.etag, file.sha256 if file.pinned else answer.sha256)


def _described(file: File, content: Content) -> File:
    """The file with what is known of its content by now."""
    return replace(file, size=content.size, sha256=content.sha256)


def _append(answer: Answer, path: Path, size: int, name: str, progress: bool, clock: Callable[[], float]) -> None:
    """Writes the body to where it belongs in the file of `size` bytes.

    Raises:
        Broken: It ended early.
        Unusable: It is longer than that.
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
                sink.truncate(0)  # none of it is worth keeping
                raise Unusable(f"the server sent more than the expected {size:,} bytes")
            sink.write(block)
            sink.flush()  # a kill loses nothing
            bar.update(len(block))
    if received < size:
        raise Broken(f"the connection ended after {received:,} of {size:,} bytes")
