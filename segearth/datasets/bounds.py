"""Limits on what an archive may hold, checked while it is read: before a false size fills memory or a disk."""

from __future__ import annotations

from pathlib import Path

from segearth.errors import UserError

MAX_MEMBERS = 2_000_000
MAX_BYTES = 2 << 30  # of one member: over twice the 13,000 × 13,000 RGB of the largest image, uncompressed
# Of all content to the archive's own size. Uncompressed label maps are packed 150 to 1, and deflate reaches 1032 on
# nothing but zeros; what is beyond (bzip2 makes 850,000 zeros a byte) is made to fill a disk.
MAX_RATIO = 1000
ALWAYS = 256 << 20  # bytes that may be claimed by any archive, however small: bzip2 unpacks them in two seconds
MAX_HEADER = 4 << 20  # bytes about one member of a tar file: its long name, its extended header, its map of holes
AGAIN = "the download is incomplete or damaged: compare its size and checksum with the source's, and download it again"


class Bounds:
    """Counts what an archive claims and what was unpacked of it.

    Args:
        archive: the file.
    """

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.most = max(ALWAYS, MAX_RATIO * archive.stat().st_size)
        self.members = self.claimed = self.unpacked = 0

    def claim(self, name: str, size: int) -> None:
        """Counts a member; to be called before its content is read or passed over.

        Raises:
            UserError: too many, too large a member, or more than the archive can hold.
        """
        digits = shown if len(shown := f"{size:,}") < 40 else f"{shown[:25]}..."  # headers may lie with 400 digits
        self.members += 1
        self.claimed += size
        if self.members > MAX_MEMBERS:
            raise UserError(f"{self.archive} holds more than {MAX_MEMBERS:,} files: {AGAIN}")
        if not 0 <= size <= MAX_BYTES:
            raise UserError(f"{name} in {self.archive} claims {digits} bytes, expected at most {MAX_BYTES:,}: {AGAIN}")
        if self.claimed > self.most:
            raise self._too_much(f"claims to hold {self.claimed:,} bytes or more")

    def unpack(self, size: int) -> None:
        """Counts decompressed bytes, those between members included.

        Raises:
            UserError: more than the archive can hold.
        """
        self.unpacked += size
        if self.unpacked > self.most:
            raise self._too_much(f"unpacks to more than {self.most:,} bytes")

    def _too_much(self, what: str) -> UserError:
        size = self.archive.stat().st_size
        return UserError(
            f"{self.archive} has {size:,} bytes and {what}: expected at most {MAX_RATIO} times its size; this is no "
            "archive of the publisher, download it from the source"
        )
