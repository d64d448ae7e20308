"""What the tests of data sets share: the tools, and short ways to call what they call."""

from __future__ import annotations

from pathlib import Path

from conftest import load_script
from PIL import Image

from segearth.datasets import DATASETS, archives, describe, labels, prepare

ROOT = Path(__file__).parents[1]


PREPARE = load_script("tools/prepare_dataset.py")
CHECK = load_script("tools/check_dataset.py")
SAMPLE = load_script("tools/make_sample_data.py")


def made(name: str, source: Path, root: Path, **options) -> prepare.Prepared:
    """Prepares a set without a word."""
    return prepare.prepare(describe(name), [source], root, quiet=True, **options)


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder and what they hold."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read(name: str, image: Image.Image, folder: Path, suffix: str = ".png"):
    """The values of a label that is saved first, and how many of its pixels were unknown."""
    path = folder / f"label{suffix}"
    image.save(path)
    member = archives.Member(str(path), path.name, 0, path)
    return labels.read_label(member, DATASETS[name], (image.height, image.width))
