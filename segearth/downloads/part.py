"""The received part of an unfinished download, kept so that it can be resumed."""

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from segearth.downloads.answer import EXACT_ETAG
from segearth.json_files import read_json, write_json


@dataclass(frozen=True)
class Content:
    """Identifies the content that a part file belongs to.

    Attributes:
        size: Bytes of the whole file.
        etag: Its strong ETag; None if there is none.
        sha256: Its SHA-256, pinned or declared by the hub; None if neither.
    """

    size: int
    etag: str | None
    sha256: str | None


class Part:
    """The part file beside a target, and the note that identifies its content."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        """Number of bytes that can be resumed from."""
        content = self.content
        if content is None or self.path.is_symlink() or not self.path.is_file():
            return 0
        size = self.path.stat().st_size
        return size if size <= content.size else 0

    @property
    def content(self) -> Content | None:
        """The content of the part file; None if unknown."""
        try:
            content = Content(**read_json(self.note))
        except (OSError, ValueError, TypeError):
            return None
        valid = (
            type(content.size) is int
            and (content.etag is None or EXACT_ETAG.fullmatch(str(content.etag)))
            and (content.sha256 is None or re.fullmatch("[0-9a-f]{64}", str(content.sha256)))
        )
        return content if valid else None

    def begin(self, content: Content, keep: bool) -> None:
        """Deletes the old part, and if `keep` writes the note for the new one."""
        self.remove()
        if keep:
            write_json(self.note, asdict(content))

    def remove(self) -> None:
        """Deletes the part, and leftovers of killed downloads of earlier versions."""
        for path in (self.path, self.note, *self.target.parent.glob(f".{self.target.name}.*.part")):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Deletes the part unless it can be resumed."""
        if self.size == 0:
            with suppress(OSError):
                self.remove()
