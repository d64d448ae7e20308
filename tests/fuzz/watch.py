"""The folder of a case, and what looks on while it runs."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What no case has a reason to do. Python tells them to every hook before they happen.
STARTS = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "webbrowser.open", "os.kill", "os.putenv", "os.chdir"),
}
CHANGES = {  # events with the places of the paths that they change, and of the folder that these are relative to
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "shutil.rmtree": ((0, 1),),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Case:
    """The folder of one case.

    Attributes:
        random: all that is random comes from it.
        root: everything of the case; the others lie three folders below.
        inputs: what is attacked reads.
        target: the only folder that it may write to, beside that of temporary files.
        secret: a file that nothing has a reason to read.
        marker: the path of a file that attacks try to write.
        trace: beside the root, where a case stands when it hangs.
    """

    random: random.Random
    root: Path

    @property
    def inputs(self) -> Path:
        return self.root / "a" / "b" / "inputs"

    @property
    def target(self) -> Path:
        return self.root / "a" / "b" / "target"

    @property
    def temporary(self) -> Path:
        return self.root / "a" / "b" / "tmp"

    @property
    def secret(self) -> Path:
        return self.root / "secret.txt"

    @property
    def marker(self) -> Path:
        return self.root / "marker"

    @property
    def trace(self) -> Path:
        return self.root.with_suffix(".trace")


class Watch:
    """An audit hook that refuses, and remembers, what a case must not do."""

    def __init__(self, case: Case) -> None:
        self.own = tuple(os.path.realpath(folder) + os.sep for folder in (case.target, case.temporary))
        self.secret = os.path.realpath(case.secret)
        self.seen: list[str] = []
        self.active = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in STARTS and not (event == "os.kill" and args[1] == 0):  # that asks whether a process lives
            self._refuse(f"{event} {args!r:.300}")
        elif event == "open":
            path, _, flags = args
            if isinstance(path, int) or not isinstance(flags, int):
                return
            if flags & _WRITING and not self._is_own(path) and os.fsdecode(path) != os.devnull:
                self._refuse(f"open for writing {path!r}")
            if os.path.realpath(path) == self.secret:
                self._refuse(f"open {path!r}")
        elif event in CHANGES:
            for place, folder in CHANGES[event]:
                below = args[folder] if folder is not None and folder < len(args) else None
                if not isinstance(args[place], int) and not self._is_own(args[place], below):
                    self._refuse(f"{event} {args!r:.300}")

    def _is_own(self, path: Any, folder: Any = None) -> bool:
        """Whether a path lies in a folder that the case may write to, or is that folder."""
        below = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else "."  # noqa: PTH115
        parent, last = os.path.split(Path(below, os.fsdecode(path)).absolute())
        return f"{os.path.realpath(parent)}{os.sep}{last}{os.sep}".startswith(self.own)

    def _refuse(self, what: str) -> None:
        self.seen.append(what)
        raise PermissionError(what)
