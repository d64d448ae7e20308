"""What the tests of data sets share: the tools, and short ways to call what they call."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from PIL import Image

from segearth.datasets import DATASETS, archives, describe, labels, prepare

ROOT = Path(__file__).parents[1]


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PREPARE, CHECK, SAMPLE = tool("prepare_dataset"), tool("check_dataset"), tool("make_sample_data")


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
