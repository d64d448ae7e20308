"""Prints the lower bounds of pyproject.toml as requirements for pip: "numpy>=1.26" becomes "numpy==1.26".

    python tools/lower_bounds.py eval dev    # of the package and these extras

What constraints.txt pins keeps that version: torch and torchvision.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]


def lower_bounds(extras: Sequence[str], root: Path = ROOT) -> list[str]:
    """A line "name==version" for each requirement; the highest bound of those that are named twice.

    Args:
        extras: names of extras, besides what is always needed.
        root: the folder of pyproject.toml, whose requirements are "name>=version", and of constraints.txt.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    bounds: dict[str, str] = {}
    for name, version in (line.split(">=") for group in groups for line in group):
        bounds[name] = max(bounds.get(name, "0"), version, key=lambda text: [int(part) for part in text.split(".")])
    pinned = re.findall(r"^(\S+)==(\S+)$", (root / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    bounds.update((name, version) for name, version in pinned if name in bounds)
    return [f"{name}=={version}" for name, version in sorted(bounds.items())]


if __name__ == "__main__":
    print(*lower_bounds(sys.argv[1:]), sep="\n")
