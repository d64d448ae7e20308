"""What came of a file so far, kept for the next try."""

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from segearth.downloads.answer import EXACT_ETAG
from segearth.json_files import read_json, write_json


@dataclass(frozen=True)
class Content:
    """Which content the bytes in a part file belong to.

    Attributes:
        size: Bytes of the whole.
        etag: The server's name for it; None if it gave none.
        sha256: Its SHA-256, as pinned or as declared by the hub; None if neither.
    """

    size: int
    etag: str | None
    sha256: str | None


class Part:
    """What came of a file so far, beside the place where the whole will be."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that can be continued."""
        content = self.content
        if content is None or self.path.is_symlink() or not self.path.is_file():
            return 0
        size = self.path.stat().st_size
        return size if size <= content.size else 0

    @property
    def content(self) -> Content | None:
        """What the bytes belong to; None where that is not known."""
        try:
            content = Content(**read_json(self.note))
        except (OSError, ValueError, TypeError):
            return None
        known = (
            type(content.size) is int
            and (content.etag is None or EXACT_ETAG.fullmatch(str(content.etag)))
            and (content.sha256 is None or re.fullmatch("[0-9a-f]{64}", str(content.sha256)))
        )
        return content if known else None

    def begin(self, content: Content, keep: bool) -> None:
        """Throws away what is there, and notes what will be there, if that is worth keeping."""
        self.remove()
        if keep:
            write_json(self.note, asdict(content))

    def remove(self) -> None:
        """Deletes it, and what earlier versions left of downloads that were killed."""
        for path in (self.path, self.note, *self.target.parent.glob(f".{self.target.name}.*.part")):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Deletes it unless it can be continued."""
        if self.size == 0:
            with suppress(OSError):
                self.remove()
