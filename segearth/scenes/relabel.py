"""Makes a new map from the scores of a finished one, without the model: other thresholds, classes and colours."""

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
from segearth.extras import install_command
from segearth.hashes import fingerprint
from segearth.jobs.existing_results import check_summary, complete_files, refuse_foreign
from segearth.jobs.settings import settings_hash
from segearth.json_files import json_line, parse_json, read_json
from segearth.labels import has_unclassified, label_values
from segearth.outputs import bytes_writer, temporary_folder, write_all
from segearth.scenes.assemble import assemble, open_map
from segearth.scenes.block_files import block_writer
from segearth.scenes.existing_files import refuse_changed_polygons, stale_files
from segearth.scenes.grid import BLOCK, TILE, blocks
from segearth.scenes.layers import CONFIDENCE, Layer, labels_layer
from segearth.scenes.options import SceneResult
from segearth.scenes.reclassify import ChangedClasses, LabelChanges, Rules, change_classes, make_rules, reclassify
from segearth.scenes.relabel_overlay import check_image, draw_overlay
from segearth.scenes.scene_summary import ClassSums, map_statistics, summarise_scene
from segearth.summary import csv_table, json_writer
from segearth.vocabulary import Vocabulary, check_threshold, describe_settings
from segearth.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from segearth.labels import Labels

SCORES = ".scores.tif"
FORMAT = 1
_MAX_READ = 1 << 26  # scores per read
_MAX_COMPARED = 1 << 22  # scores per comparison, which needs about ten arrays of this size
_MAX_TILES = BLOCK // TILE

BlocksDone = Callable[[int, int], None]  # (blocks done, blocks in all)


@dataclass(frozen=True)
class _ScoredMap:
    """A finished map with scores.

    Attributes:
        scores: NAME.scores.tif.
        labels: NAME.labels.tif, of the same size; None if it is missing.
        name: NAME.
        vocabulary: its classes.
        summary: content of its summary.
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
    """Makes a new map from the scores of a finished one, with bounded memory and without the model.

    Scores in files have steps of 1/254: the old label is kept where it is possible under the new rules for scores that
    round to those in the file. Without changes the new map equals the old one.

    Args:
        scores: NAME.scores.tif, in the folder of its NAME.summary.json and, to keep labels, NAME.labels.tif.
        output: another folder, for NAME.labels.tif and its companion files.
        changes: changes to the classes; None: none.
        confidence: whether to write NAME.confidence.tif as well.
        overlay: whether to draw NAME.overlay.png as well.
        image: the mapped raster, to draw an overlay of the map on it; None: the overlay shows only the map.
        overwrite: whether to replace a map with other settings, or other files.
        progress: called with (blocks done, total blocks).

    Returns:
        The files; an existing map with the same settings is not computed again.

    Raises:
        UserError: rasterio is missing, the files are no map with scores, the changes do not fit its classes, `image` is
            another raster, polygons of an existing map were edited, or the disk is full.
    """
    try:
        import rasterio  # noqa: F401
    except ImportError:
        raise UserError(f"scenes need rasterio, which is not installed: {install_command('geo')}") from None
    changes, start = changes or LabelChanges(), time.perf_counter()
    source, folder = _read_scored_map(Path(scores)), Path(output)
    if folder.exists() and folder.samefile(source.scores.parent):
        raise UserError(
            f"{option('out', folder)} contains the map of {source.scores.name}, which would be overwritten: expected "
            "another folder; give one"
        )
    changed = change_classes(source.vocabulary, changes)
    old_threshold = source.summary["settings"]["threshold"]
    threshold = old_threshold if changes.threshold is None else check_threshold(changes.threshold)
    settings = _settings(source, changed, threshold)
    unclassified = has_unclassified(changed.vocabulary, threshold)
    layers = [labels_layer(changed.vocabulary, unclassified), *([CONFIDENCE] if confidence else [])]
    paths = {layer.name: folder / f"{source.name}.{layer.name}.tif" for layer in layers}
    summary_file = folder / f"{source.name}.summary.json"
    picture = folder / f"{source.name}.overlay.png" if overlay or image is not None else None
    if not overwrite:
        existing = _finished_summary(summary_file, settings, source, [*paths.values(), *([picture] if picture else [])])
        if existing is not None and (image is None or existing["overlay"].get("image")):
            return _result(existing, paths, [folder / name for name in existing["files"]], summary_file)
    refuse_changed_polygons(summary_file)
    if image is not None:
        check_image(image, source.summary)

    folder.mkdir(parents=True, exist_ok=True)
    rules = make_rules(source.vocabulary, changed, threshold)
    classes = len(changed.vocabulary)
    files, sums = _write_rasters(source, rules, classes, layers, paths, settings, summary_file, progress)
    figures = map_statistics(paths["labels"], changed.vocabulary, unclassified, sums)
    table = csv_table([{"image": source.name, "classes": figures.rows}]).encode(errors="backslashreplace")
    writers: dict[Path, Callable[[Path], object]] = {folder / f"{source.name}.summary.csv": bytes_writer(table)}
    remarks: list[str] = []
    if source.labels is None:
        remarks.append(f"{source.name}.labels.tif is not there: of equal scores the first class is taken")
    if picture is not None:
        overlay_image, overlay_remarks = draw_overlay(
            image, source.summary, paths["labels"], changed.vocabulary, figures.rows
        )
        remarks += overlay_remarks
        writers[picture] = overlay_image.save
    files += write_all(writers)
    summary = summarise_scene(
        source.name,
        paths["labels"],
        figures,
        files=files,
        settings=settings,
        overlay=None if picture is None else {"image": image is not None},
        seconds=time.perf_counter() - start,
        remarks=remarks,
    )
    write_all({summary_file: json_writer(summary)})
    return _result(summary, paths, files, summary_file)


def _read_scored_map(scores: Path) -> _ScoredMap:
    """Reads the summary of the map that a raster of scores belongs to."""
    expected = f"expected NAME{SCORES} with NAME.summary.json beside it, as segearth predict --scores writes them"
    name = scores.name.removesuffix(SCORES)
    if name == scores.name or not scores.is_file():
        raise UserError(f"{scores} is {'no raster of scores' if scores.is_file() else 'not there'}: {expected}")
    path = scores.with_name(f"{name}.summary.json")
    try:
        summary = dict(read_json(path))
        settings = summary["settings"]
        classes = settings["classes"]
        vocabulary = Vocabulary(
            [entry["names"] for entry in classes],
            False if settings["background"] is None else settings["background"],
            [(int(red), int(green), int(blue)) for red, green, blue in (entry["colour"] for entry in classes)],
            [entry["threshold"] for entry in classes],
            [entry["scale"] for entry in classes],
        )
        check_threshold(settings["threshold"])
        size = summary["files"][scores.name]["bytes"]
    except FileNotFoundError:
        raise UserError(f"{path} is not there: {expected}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, LookupError) else first_line(error)
        raise UserError(f"{path} is no summary of a map with scores ({reason}): {expected}") from None
    if size != scores.stat().st_size:
        raise UserError(f"{scores} is not the file that {path.name} lists with {size:,} bytes: {expected}")
    labels = scores.with_name(f"{name}.labels.tif")
    return _ScoredMap(scores, labels if labels.is_file() else None, name, vocabulary, summary)


def _settings(source: _ScoredMap, changed: ChangedClasses, threshold: float) -> dict[str, Any]:
    """Returns the settings of the new map: those of the old map and the changes."""
    vocabulary = changed.vocabulary
    old: Mapping[str, Any] = source.summary["settings"]
    new = {
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
    return dict(parse_json(json_line({**old, **new})))


def _finished_summary(
    summary: Path, settings: Mapping[str, Any], source: _ScoredMap, paths: Sequence[Path]
) -> dict[str, Any] | None:
    """Returns the summary of an existing complete map with the same settings, or None.

    Raises:
        UserError: there is a map with other settings, or there are files of other programs.
    """
    if summary.exists():
        existing = check_summary(summary, settings, source.scores)
        complete = complete_files(existing, summary.parent)
        return existing if complete and complete >= {*existing["files"], *(path.name for path in paths)} else None
    refuse_foreign(paths, summary)
    return None


def _result(
    summary: dict[str, Any], paths: Mapping[str, Path], files: Sequence[Path], summary_file: Path
) -> SceneResult:
    return SceneResult(paths["labels"], paths.get("confidence"), None, summary, {}, (*files, summary_file))


def _write_rasters(
    source: _ScoredMap,
    rules: Rules,
    classes: int,
    layers: Sequence[Layer],
    paths: Mapping[str, Path],
    settings: Mapping[str, Any],
    summary: Path,
    progress: BlocksDone | None,
) -> tuple[list[Path], ClassSums]:
    """Writes the rasters; returns their files and the sums over their pixels."""
    sums = ClassSums.total((), classes)
    with ExitStack() as stack:
        file = stack.enter_context(open_map(source.scores))
        old = None if source.labels is None else stack.enter_context(open_map(source.labels))
        _check_rasters(source, file, old)
        folder, area = stack.enter_context(temporary_folder(summary.parent)), Window(0, file.height, 0, file.width)
        tiles = max(1, min(_MAX_TILES, _MAX_READ // (file.count * TILE * TILE)))
        all_blocks = blocks(area, tiles * TILE)
        for done, block in enumerate(all_blocks, start=1):
            with block_writer(folder, block, layers) as writer:
                for labels, confidence in _relabelled_rows(block.area, file, old, rules, layers[0]):
                    writer.write({"labels": labels, "confidence": confidence})
                    sums = ClassSums.total((sums, ClassSums.from_arrays(labels, confidence, classes)), classes)
            if progress is not None:
                progress(done, len(all_blocks))
        tags = {"segearth_settings": settings_hash(settings)}
        stale = _stale_files(summary, paths, settings)
        files = assemble(folder, all_blocks, area, file.transform, file.crs, layers, paths, tags, stale)
    return files, sums


def _stale_files(summary: Path, paths: Mapping[str, Path], settings: Mapping[str, Any]) -> list[Path]:
    """Returns the files of an earlier map to remove; polygons of the same map are kept."""
    labels = paths["labels"]
    try:
        same = labels.name in complete_files(check_summary(summary, settings, labels), summary.parent)
    except UserError:
        same = False
    name = labels.name.removesuffix(".labels.tif")
    confidence, overlay = (labels.with_name(f"{name}.{ending}") for ending in ("confidence.tif", "overlay.png"))
    others = [overlay, *([] if "confidence" in paths else [confidence])]
    return stale_files(summary, others, polygons=not same)


def _relabelled_rows(
    area: Window, file: DatasetReader, old: DatasetReader | None, rules: Rules, layer: Layer
) -> Iterator[tuple[Labels, NDArray[np.uint8]]]:
    """Yields label and confidence values of the rows of an area, from top to bottom."""
    for top in range(area.top, area.bottom, TILE):
        bottom = min(area.bottom, top + TILE)
        window = ((top, bottom), (area.left, area.right))
        bands = file.read(window=window)
        stored = None if old is None else old.read(1, window=window)
        step = max(1, _MAX_COMPARED // (file.count * (area.right - area.left)))
        for row in range(0, bottom - top, step):
            rows = slice(row, row + step)
            labels, confidence = reclassify(bands[:, rows], None if stored is None else stored[rows], rules)
            yield labels.astype(layer.type), confidence


def _check_rasters(source: _ScoredMap, file: DatasetReader, old: DatasetReader | None) -> None:
    """Refuses rasters of scores and labels that do not belong together."""
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
