"""The manifest in the folder of a prepared data set: what the set is, and which files it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from segearth.datasets.description import Description
from segearth.errors import UserError
from segearth.json_files import read_json, schema_error

MANIFEST = "manifest.json"
VERSION = 2  # of what is written
_KINDS = {"stems": list, "images": int, "expected": list, "warnings": list, "complete": bool}


def make_manifest(spec: Description, records: Collection[Mapping[str, Any]], warnings: Sequence[str]) -> dict[str, Any]:
    """The manifest of a set; nothing in it depends on when or where the set was prepared.

    Args:
        spec: the set.
        records: what `segearth.datasets.convert.convert` returned for each pair.
        warnings: sentences about the download.
    """
    stems = sorted(stem for record in records for stem in record["stems"])
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record["counts"])
    return {
        "name": spec.name,
        "title": spec.title,
        "split": spec.split,
        "complete": len(stems) in spec.expected,
        "images": len(stems),
        "expected": list(spec.expected),
        "pairs": len(records),
        "unknown_pixels": sum(record["unknown"] for record in records),
        "warnings": list(warnings),
        "label_pixels": {value: counts[value] for value in sorted(counts, key=int)},
        "format": VERSION,
        "stems": stems,
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a set's folder; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / MANIFEST
    try:
        content = read_json(path)
        if (problem := schema_error(content, _KINDS)) is not None:
            raise ValueError(f"it {problem}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): remove {folder}, and prepare the set again") from None
    return dict(content)


def shortfall(spec: Description, manifest: Mapping[str, Any]) -> str:
    """How the number of images differs from the expected one: a sentence without its period."""
    expected = " or ".join(map(str, spec.expected))
    return f"{manifest['images']} images of {spec.title}: expected {expected}"
