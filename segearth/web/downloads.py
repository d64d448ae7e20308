"""Result files of a finished map: as made, or with another threshold and other colours, without the model."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from segearth.outputs import write_all
from segearth.scenes.raster import open_raster
from segearth.scenes.reclassify import LabelChanges
from segearth.scenes.relabel import relabel_scene
from segearth.scenes.scene_overlay import raster_thumbnail, scene_overlay
from segearth.vectors.options import MOST
from segearth.vectors.vectorize import vectorize
from segearth.vectors.vectorizer import TooManyPiecesError
from segearth.web.rasters import open_plain
from segearth.web.responses import RequestError
from segearth.windows import Window

if TYPE_CHECKING:
    from segearth.web.state import WebJob

FILES = {
    "labels.tif": "image/tiff",
    "scores.tif": "image/tiff",
    "polygons.gpkg": "application/geopackage+sqlite3",
    "overlay.png": "image/png",
    "summary.json": "application/json",
}
_KEPT = 4  # other versions kept of a map


class Downloads:
    """Makes files of maps, each once; for one map only one at a time."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[WebJob, threading.Lock] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def make(
        self, job: WebJob, file: str, threshold: float | None, colours: Mapping[int, str]
    ) -> tuple[Path, str, str]:
        """Makes a file of a map, if it does not exist.

        Args:
            job: the map.
            file: a key of `FILES`.
            threshold: threshold of all classes; None: those of the map.
            colours: "#rrggbb" by class index.

        Returns:
            Path, name for the user, and media type.

        Raises:
            RequestError: the map is not finished, or has no such file.
            UserError: the file cannot be made.
        """
        if file not in FILES:
            raise RequestError(404, f"a map has no such file: expected {', '.join(FILES)}; choose one of these")
        if job.state != "done":
            raise RequestError(
                409, f"the map is {job.state}: expected a finished one; wait until it is, or make it anew"
            )
        with self._lock:
            lock = self._locks.setdefault(job, threading.Lock())
        with lock:
            folder = job.folder if file == "scores.tif" else self._version(job, threshold, colours)
            name = f"{job.name}.{file}"
            # the overlay by relabel has no image, as it would open the image in any format
            seen = file == "overlay.png" and folder != job.folder
            path = folder / (f"{job.name}.seen.png" if seen else name)
            if not path.exists():
                self._add(job, folder, path)
        return path, name, FILES[file]

    def _version(self, job: WebJob, threshold: float | None, colours: Mapping[int, str]) -> Path:
        """The folder of the version of a map with this threshold and these colours."""
        vocabulary = job.vocabulary
        plain = {i: "#{:02x}{:02x}{:02x}".format(*colour) for i, colour in enumerate(vocabulary.palette)}
        others = {i: colour for i, colour in colours.items() if colour.lower() != plain[i]}
        if threshold == job.threshold and not any(value is not None for value in vocabulary.thresholds):
            threshold = None
        if threshold is None and not others:
            return job.folder
        key = json.dumps([threshold, sorted(others.items())], allow_nan=False)
        versions = job.folder / "versions"
        folder = versions / hashlib.sha256(key.encode()).hexdigest()[:16]
        if not folder.exists():
            versions.mkdir(exist_ok=True)
            for old in sorted(versions.iterdir(), key=lambda path: path.stat().st_mtime)[: -(_KEPT - 1)]:
                shutil.rmtree(old, ignore_errors=True)
        names = [name for name, value in zip(vocabulary.names, vocabulary.thresholds, strict=True) if value is not None]
        changes = LabelChanges(
            threshold,
            {} if threshold is None else dict.fromkeys(names, threshold),
            colours={vocabulary.names[i]: colour for i, colour in others.items()},
        )
        relabel_scene(job.folder / f"{job.name}.scores.tif", folder, changes, confidence=True)
        return folder

    def _add(self, job: WebJob, folder: Path, path: Path) -> None:
        """Makes the polygons or the overlay of a map."""
        labels, image = folder / f"{job.name}.labels.tif", job.image
        if path.suffix == ".gpkg":
            try:
                vectorize(labels)
            except TooManyPiecesError:  # its advice names options that the page does not have
                raise RequestError(
                    409,
                    f"the map has more than {MOST:,} polygons: expected fewer, as more are noise; download labels.tif, "
                    f"then run segearth vectorize {labels.name} --min-area 25",
                ) from None
            return
        rows = json.loads((folder / f"{job.name}.summary.json").read_bytes())["classes"]
        colours = {name: tuple(row["colour"]) for name, row in zip(job.vocabulary.names, rows, strict=False)}
        spec = None if image.view is None else image.view.spec
        with open_plain(image.path, image.name) as dataset, open_raster(dataset, spec) as raster:
            picture, _ = raster_thumbnail(raster, Window(0, raster.size[0], 0, raster.size[1]))
        write_all({path: scene_overlay(picture, labels, job.vocabulary.with_colours(colours), rows).save})
