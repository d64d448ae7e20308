"""Another map from the scores of a finished one, without the model: other thresholds, classes, names and colours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segearth.errors import UserError, first_line, option
from segearth.existing_results import check_summary, refuse_foreign
from segearth.extras import install_command
from segearth.hashes import fingerprint
from segearth.jobs.settings import settings_hash
from segearth.json_files import json_line, parse_json, read_json
from segearth.labels import has_unclassified, label_values
from segearth.outputs import bytes_writer, temporary_folder, write_all
from segearth.scenes.assemble import assemble, opened
from segearth.scenes.block_files import part_writer
from segearth.scenes.existing_files import refuse_changed_polygons, stale_files, whole_files
from segearth.scenes.grid import BLOCK, TILE, blocks
from segearth.scenes.layers import CONFIDENCE, Layer, labels_layer
from segearth.scenes.options import SceneResult
from segearth.scenes.reclassify import Changed, LabelChanges, Rules, change, reclassify, rules_of
from segearth.scenes.relabel_overlay import check_image, draw_overlay
from segearth.scenes.scene_summary import ClassSums, map_figures, summarise_scene
from segearth.summary import csv_table, json_writer
from segearth.vocabulary import Vocabulary, check_threshold, describe_settings
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from segearth.labels import Labels

SCORES = ".scores.tif"
FORMAT = 1
_VALUES = 1 << 26  # scores that are read at once
_STEP = 1 << 22  # scores that are compared at once: some ten arrays of so many numbers
_MOST_TILES = BLOCK // TILE

BlocksDone = Callable[[int, int], None]  # (blocks done, blocks in all)


@dataclass(frozen=True)
class _Source:
    """A finished map with scores.

    Attributes:
        scores: its raster, NAME.scores.tif.
        labels: its raster, which has the same pixels; None if it is gone.
        name: of the map.
        vocabulary: its classes.
        summary: of the map.
    """

    scores: Path
    labels: Path | None
    name: str
    vocabulary: Vocabulary
    summary: dict[str, Any]


def relabel_scene(
    scores: str | os.PathLike[str],
    output: str | os.PathLike[str],
    changes: LabelChanges | None = None,
    *,
    confidence: bool = False,
    overlay: bool = False,
    image: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: BlocksDone | None = None,
) -> SceneResult:
    """Makes another map from the scores of a finished one, with bounded memory and without the model.

    Scores in files have steps of 1/254: where the old label is possible under the new rules for scores that round to
    those in the file, it stays. Without changes the map is that which was there.

    Args:
        scores: NAME.scores.tif, beside its NAME.summary.json; with NAME.labels.tif beside it, see above.
        output: another folder, for NAME.labels.tif and its companions.
        changes: what is to be other; None: nothing.
        confidence: whether to write NAME.confidence.tif as well.
        overlay: whether to draw NAME.overlay.png as well.
        image: the raster that the map is of, which the overlay, drawn then, shows below the map; None: the map alone.
        overwrite: whether a map of other settings, or files of others, may be replaced.
        progress: called with (blocks done, blocks in all).

    Returns:
        The files; if the map of the same settings is there already, it is not made again.

    Raises:
        UserError: rasterio is missing, the files are no map of ours with scores, the changes do not fit its classes,
            the map is of another image, somebody has worked on the polygons of a map that is there, or the disk is
            full.
    """
    try:
        import rasterio  # noqa: F401
    except ImportError:
        raise UserError(f"scenes need rasterio, which is not installed: {install_command('geo')}") from None
    changes, begun = changes or LabelChanges(), time.perf_counter()
    source, folder = _source(Path(scores)), Path(output)
    if folder.exists() and folder.samefile(source.scores.parent):
        raise UserError(
            f"{option('out', folder)} has the map that {source.scores.name} belongs to, which would be lost: expected "
            "another folder"
        )
    changed = change(source.vocabulary, changes)
    old = source.summary["settings"]["threshold"]
    threshold = old if changes.threshold is None else check_threshold(changes.threshold)
    settings = _settings(source, changed, threshold)
    unclassified = has_unclassified(changed.vocabulary, threshold)
    layers = [labels_layer(changed.vocabulary, unclassified), *([CONFIDENCE] if confidence else [])]
    places = {layer.name: folder / f"{source.name}.{layer.name}.tif" for layer in layers}
    summary_file = folder / f"{source.name}.summary.json"
    picture = folder / f"{source.name}.overlay.png" if overlay or image is not None else None
    if not overwrite:
        found = _finished(summary_file, settings, source, [*places.values(), *([picture] if picture else [])])
        if found is not None and (image is None or found["overlay"].get("image")):
            return _result(found, places, [folder / name for name in found["files"]], summary_file)
    refuse_changed_polygons(summary_file)
    if image is not None:
        check_image(image, source.summary)

    folder.mkdir(parents=True, exist_ok=True)
    rules = rules_of(source.vocabulary, changed, threshold)
    files, sums = _write(source, rules, len(changed.vocabulary), layers, places, settings, summary_file, progress)
    figures = map_figures(places["labels"], changed.vocabulary, unclassified, sums)
    table = csv_table([{"image": source.name, "classes": figures.rows}]).encode(errors="backslashreplace")
    writers: dict[Path, Callable[[Path], object]] = {folder / f"{source.name}.summary.csv": bytes_writer(table)}
    about_picture: list[str] = []
    if picture is not None:
        drawn, about_picture = draw_overlay(image, source.summary, places["labels"], changed.vocabulary, figures.rows)
        writers[picture] = drawn.save
    files += write_all(writers)
    lost = f"{source.name}.labels.tif is not there: of equal scores the first class is taken"
    remarks = [*([] if source.labels is not None else [lost]), *about_picture]
    summary = summarise_scene(
        source.name,
        places["labels"],
        figures,
        files=files,
        settings=settings,
        overlay=None if picture is None else {"image": image is not None},
        seconds=time.perf_counter() - begun,
        remarks=remarks,
    )
    write_all({summary_file: json_writer(summary)})
    return _result(summary, places, files, summary_file)


def _source(scores: Path) -> _Source:
    """The map that a raster of scores belongs to."""
    what = f"expected NAME{SCORES} with NAME.summary.json beside it, as segearth predict --scores writes them"
    name = scores.name.removesuffix(SCORES)
    if name == scores.name or not scores.is_file():
        raise UserError(f"{scores} is {'no raster of scores' if scores.is_file() else 'not there'}: {what}")
    path = scores.with_name(f"{name}.summary.json")
    try:
        summary = dict(read_json(path))
        settings = summary["settings"]
        classes = settings["classes"]
        vocabulary = Vocabulary(
            [one["names"] for one in classes],
            False if settings["background"] is None else settings["background"],
            [(int(red), int(green), int(blue)) for red, green, blue in (one["colour"] for one in classes)],
            [one["threshold"] for one in classes],
            [one["scale"] for one in classes],
        )
        check_threshold(settings["threshold"])
        listed = summary["files"][scores.name]["bytes"]
    except FileNotFoundError:
        raise UserError(f"{path} is not there: {what}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"it has no {error}" if isinstance(error, LookupError) else first_line(error)
        raise UserError(f"{path} is no summary of a map with scores ({why}): {what}") from None
    if listed != scores.stat().st_size:
        raise UserError(f"{scores} is not the file that {path.name} is of, which has {listed:,} bytes: {what}")
    labels = scores.with_name(f"{name}.labels.tif")
    return _Source(scores, labels if labels.is_file() else None, name, vocabulary, summary)


def _settings(source: _Source, changed: Changed, threshold: float) -> dict[str, Any]:
    """What the map depends on: all that the old one did, and what is other."""
    vocabulary = changed.vocabulary
    old: Mapping[str, Any] = source.summary["settings"]
    own = {
        "relabelled": {
            "format": FORMAT,
            "scores": fingerprint(source.scores),
            "labels": None if source.labels is None else fingerprint(source.labels),
            "members": changed.members,
        },
        "classes": describe_settings(vocabulary),
        "background": vocabulary.background_name,
        "threshold": threshold,
    }
    return dict(parse_json(json_line({**old, **own})))


def _finished(
    summary: Path, settings: Mapping[str, Any], source: _Source, places: Sequence[Path]
) -> dict[str, Any] | None:
    """The summary of the map of these settings, if all of its files are there; None if it is to be made.

    Raises:
        UserError: there is another map, or there are files that are no map of ours.
    """
    if summary.exists():
        found = check_summary(summary, settings, source.scores)
        whole = whole_files(found, summary.parent)
        return found if whole and whole >= {*found["files"], *(path.name for path in places)} else None
    refuse_foreign(places, summary)
    return None


def _result(
    summary: dict[str, Any], places: Mapping[str, Path], files: Sequence[Path], summary_file: Path
) -> SceneResult:
    return SceneResult(places["labels"], places.get("confidence"), None, summary, {}, (*files, summary_file))


def _write(
    source: _Source,
    rules: Rules,
    classes: int,
    layers: Sequence[Layer],
    places: Mapping[str, Path],
    settings: Mapping[str, Any],
    summary: Path,
    progress: BlocksDone | None,
) -> tuple[list[Path], ClassSums]:
    """Writes the rasters; their files, and the sums over their pixels."""
    sums = ClassSums.total((), classes)
    with ExitStack() as stack:
        file = stack.enter_context(opened(source.scores))
        old = None if source.labels is None else stack.enter_context(opened(source.labels))
        _check(source, file, old)
        folder, area = stack.enter_context(temporary_folder(summary.parent)), Window(0, file.height, 0, file.width)
        tiles = max(1, min(_MOST_TILES, _VALUES // (file.count * TILE * TILE)))
        cut = blocks(area, tiles * TILE)
        for done, block in enumerate(cut, start=1):
            with part_writer(folder, block, layers) as part:
                for labels, confidence in _rows(block.area, file, old, rules, layers[0]):
                    part.write({"labels": labels, "confidence": confidence})
                    sums = ClassSums.total((sums, ClassSums.of(labels, confidence, classes)), classes)
            if progress is not None:
                progress(done, len(cut))
        tags = {"segearth_settings": settings_hash(settings)}
        stale = _stale(summary, places, settings)
        files = assemble(folder, cut, area, file.transform, file.crs, layers, places, tags, stale)
    return files, sums


def _stale(summary: Path, places: Mapping[str, Path], settings: Mapping[str, Any]) -> list[Path]:
    """What of an earlier map goes with it; of the same map polygons stay."""
    labels = places["labels"]
    try:
        same = labels.name in whole_files(check_summary(summary, settings, labels), summary.parent)
    except UserError:
        same = False
    name = labels.name.removesuffix(".labels.tif")
    confidence, overlay = (labels.with_name(f"{name}.{ending}") for ending in ("confidence.tif", "overlay.png"))
    others = [overlay, *([] if "confidence" in places else [confidence])]
    return stale_files(summary, others, polygons=not same)


def _rows(
    area: Window, file: DatasetReader, old: DatasetReader | None, rules: Rules, layer: Layer
) -> Iterator[tuple[Labels, NDArray[np.uint8]]]:
    """Yields labels and confidence of rows of an area, in the values of their layers, from top to bottom."""
    for top in range(area.top, area.bottom, TILE):
        bottom = min(area.bottom, top + TILE)
        window = ((top, bottom), (area.left, area.right))
        bands = file.read(window=window)
        stored = None if old is None else old.read(1, window=window)
        step = max(1, _STEP // (file.count * (area.right - area.left)))
        for row in range(0, bottom - top, step):
            rows = slice(row, row + step)
            labels, confidence = reclassify(bands[:, rows], None if stored is None else stored[rows], rules)
            yield labels.astype(layer.type), confidence


def _check(source: _Source, file: DatasetReader, old: DatasetReader | None) -> None:
    """Refuses rasters that do not belong together."""
    if file.count != len(source.vocabulary) or any(kind != "uint8" for kind in file.dtypes):
        raise UserError(
            f"{source.scores} has {file.count} bands of {file.dtypes[0]}: expected one of uint8 for each of the "
            f"{len(source.vocabulary)} classes of {source.name}.summary.json; map the scene anew"
        )
    if old is not None and (old.shape != file.shape or old.dtypes != (label_values(file.count).type.__name__,)):
        raise UserError(
            f"{source.labels} is no map of {file.width} × {file.height} pixels with these classes, as "
            f"{source.scores.name} is: expected the two of one map; map the scene anew, or move it away"
        )
