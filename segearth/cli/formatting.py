"""Text formatting for a terminal: columns, paths, sizes, counts and durations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Formats rows as aligned columns, two spaces apart."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def short_path(path: Path) -> str:
    """A path with `~` for the home folder, which hides the user name."""
    home = Path.home()
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def megabytes(size: float) -> str:
    """A size in bytes for display, in MB (10^6 bytes), or kB if small."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def count(number: int, noun: str) -> str:
    """A number with its noun in singular or plural: "1 class", "2,000 classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Seconds for display, with two significant digits."""
    if seconds < 60:
        return f"{float(f'{seconds:.2g}'):g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
