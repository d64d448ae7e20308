"""`segearth calibrate`: a threshold and a scale for each class, from a few labelled images, as a class file.

    segearth calibrate "few/*.jpg" --labels few --label-suffix _labels.png -c classes.txt -o calibrated.txt
    segearth calibrate --config loveda --limit 20 --data-root data -o calibrated.txt

It uses labels: what is mapped with such a file is no zero-shot result.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segearth.cli.formatting import columns, count
from segearth.cli.method_options import add_method_options, method_changes, method_options
from segearth.cli.options import (
    DEFAULT_MODEL,
    add_max_memory,
    add_model_options,
    add_quiet,
    check_long_side,
    check_max_memory,
    check_model,
    evaluation_changes,
)
from segearth.clips import Spec, resolve
from segearth.config_files import check_syntax, find_config
from segearth.errors import UserError, option, printable
from segearth.exits import OK, quiet, say
from segearth.paths import user_path
from segearth.streams import input_lines
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segearth.calibration import Setting

    Labelled = tuple[str, NDArray[np.float32], NDArray[np.unsignedinteger]]

HELP = "Fit thresholds and scales of classes to a few labelled images."

MOST_IMAGES = 100  # of a split that are taken unasked: the time of leave-one-out grows with their square


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds images with labels or a config, classes, model, and the output file."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="pictures: files, folders, patterns; - reads a list")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="folder of their label maps, which have their names")
    parser.add_argument(
        "--label-suffix", default=".png", metavar="END", help="in place of an image's own ending (%(default)s)"
    )
    parser.add_argument("-c", "--classes", help="class names in the order of the labels; or a class file")
    parser.add_argument("--config", help="instead of images: a config file, or the name of one of ours, such as loveda")
    parser.add_argument("--split", help="of the config's set, a folder beside that of its table (train)")
    parser.add_argument(
        "--limit", type=int, metavar="N", help=f"only the first N images (all that are given; {MOST_IMAGES} of a split)"
    )
    parser.add_argument("--data-root", type=Path, help="a folder that stands for the leading data/ of data paths")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes to the config"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="class file to write")
    add_model_options(parser, f"the config's; {DEFAULT_MODEL}", with_config=True)
    add_method_options(parser, "the config's; SegEarth")
    parser.add_argument("--long-side", type=int, metavar="N", help="resize images to so many pixels; 0: not (448)")
    add_max_memory(parser, "400, on a GPU up to 2000")
    add_quiet(parser)


class _Task(NamedTuple):
    """Input of the calibration.

    Attributes:
        vocabulary: classes without settings.
        threshold: threshold of all classes before calibration.
        uncertain: the class of uncertain pixels, or C.
        with_thresholds: whether to fit thresholds, too.
        spec: the model.
        images: number of images.
        samples: name, scores and labels of each image.
        about: description of the images.
    """

    vocabulary: Vocabulary
    threshold: float
    uncertain: int
    with_thresholds: bool
    spec: Spec
    images: int
    samples: Iterable[Labelled]
    about: str


def run(args: argparse.Namespace) -> int:
    """Checks the arguments, predicts, fits, writes the class file and prints the results."""
    tell: Callable[[str], None] = quiet if args.quiet else say
    _check(args)
    args.out = user_path(args.out, "class file")

    from segearth.models.onednn import use_onednn
    from segearth.outputs import refuse_folder

    refuse_folder(args.out)
    use_onednn()
    task = _from_images(args) if args.config is None else _from_config(args, tell)
    _calibrate(task, args.out, tell)
    return OK


def _check(args: argparse.Namespace) -> None:
    """Checks the arguments before torch is imported."""
    if bool(args.images) == (args.config is not None):
        raise UserError(
            f"{'images and a config' if args.images else 'neither images nor a config'} given: expected one of them; "
            f"give images with {option('labels', 'DIR')} and {option('classes', 'NAMES')}, or "
            f"{option('config', 'NAME')}"
        )
    of_images, of_config = ("labels", "classes", "long_side"), ("split", "data_root", "cfg_options")
    wrong = [name for name in (of_config if args.images else of_images) if getattr(args, name) not in (None, [])]
    if wrong:
        raise UserError(
            f"{option(wrong[0])} is for {'a config' if args.images else 'images without a config'}: expected none "
            "here; leave it out"
        )
    for name in ("labels", "classes"):
        if args.images and getattr(args, name) is None:
            raise UserError(f"images without {option(name)}: expected their labels and the classes; give it, too")
    if args.labels is not None and not user_path(args.labels, "folder of labels").is_dir():
        raise UserError(
            f"no folder at {option('labels', args.labels)}: expected that of the label maps; correct the path"
        )
    check_model(args)
    check_max_memory(args)
    if args.long_side is not None:
        check_long_side(args)
    for change in args.cfg_options:
        check_syntax(change)
    if args.limit is not None:
        _check_number(args.limit)


def _check_number(images: int) -> None:
    from segearth.calibration import LEAST_IMAGES

    if images < LEAST_IMAGES:
        raise UserError(
            f"{count(images, 'labelled image')}: expected at least {LEAST_IMAGES}, as fewer say nothing of an image "
            "that is left out; label more"
        )


def _check_classes(vocabulary: Vocabulary, source: str, out: Path) -> Vocabulary:
    """Refuses classes with settings, as the fit would depend on them, and a class file that is the output file."""
    same = False
    with suppress(OSError, ValueError):  # no file, or names that no file can have
        same = out.samefile(source)
    if same:
        raise UserError(f"{option('out', out)} is the class file itself: expected another file; give one")
    if vocabulary.has_settings:
        raise UserError(
            f"{printable(source)} already sets thresholds or scales of classes: expected names alone; give the class "
            "file that it was made from, or remove them"
        )
    if len(vocabulary) > 254:
        raise UserError(f"{len(vocabulary)} classes: expected at most 254, as labels have 8 bits; give fewer")
    return vocabulary


def _from_images(args: argparse.Namespace) -> _Task:
    """Reads images and the label maps of the same names."""
    from segearth.batch.inputs import find_images
    from segearth.batch.label_maps import label_paths, read_label_map
    from segearth.loading import load_model

    vocabulary = _check_classes(Vocabulary.of(args.classes), args.classes, args.out)
    items = find_images(args.images, args.out, input_lines() if "-" in args.images else ())[: args.limit]
    pairs = label_paths(items, args.labels, args.label_suffix)
    _check_number(len(pairs))
    truths = [read_label_map(label, image, len(vocabulary)) for image, label in pairs]
    predictor = load_model(
        args.model or DEFAULT_MODEL,
        vocabulary,
        args.device or "auto",
        args.precision or "fp32",
        architecture=args.architecture,
        upsampler=args.upsampler or "default",
        **method_options(args),
    )
    long_side = 448 if args.long_side is None else args.long_side or None

    def predicted() -> Iterable[Labelled]:
        for (image, _), truth in zip(pairs, truths, strict=True):
            result = predictor.predict(image, long_side, False, args.max_memory)
            if result.scores is not None:
                yield str(image), result.scores, truth

    spec = resolve(args.model or DEFAULT_MODEL, args.architecture)
    uncertain = len(vocabulary) if vocabulary.background is None else vocabulary.background
    method = ", ".join(
        f"{key} {predictor.settings[key]}" for key in ("method", "upsampler", "tta") if key in predictor.settings
    )
    about = f"labels of {printable(args.labels)}, long side {long_side or 'of each image'}, {method}"
    return _Task(vocabulary, 0.0, uncertain, True, spec, len(pairs), predicted(), about)


def _from_config(args: argparse.Namespace, tell: Callable[[str], None]) -> _Task:
    """Reads the first images of another split of a config's data set."""
    from segearth.openmmlab import require
    from segearth.openmmlab.config import load_config
    from segearth.openmmlab.model_weights import fetch_weights, model_weights

    require()
    path, split = find_config(args.config), args.split or "train"
    changes = evaluation_changes(args, method_changes(args))
    config = load_config(path, changes, split)
    model, folder = config.model, config.test_dataloader.dataset.data_prefix["seg_map_path"]
    uncertain = int(model.get("bg_idx", 0))
    vocabulary = _check_classes(Vocabulary.from_file(model["name_path"], uncertain), model["name_path"], args.out)
    tell(f"images of the split {split}: labels in {folder}")

    from segearth.openmmlab.calibration_split import open_split, scores_and_labels

    dataset = open_split(config, args.limit or MOST_IMAGES)
    if args.limit is None and len(dataset) == MOST_IMAGES:
        tell(f"the first {MOST_IMAGES} images: {option('limit', 'N')} takes more, or fewer")
    _check_number(len(dataset))
    fetch_weights(config, path)
    named = Vocabulary.from_file(model["name_path"]).background == uncertain
    if not named:
        tell(
            f"only scales are fitted: evaluation makes uncertain pixels {vocabulary.background_name!r}, which is no "
            "background by its name, and maps would not do so"
        )
    about = ", ".join(
        [f"the split {split} of {path.name}", f"labels of {printable(folder)}", *map(printable, changes.options)]
    )
    threshold, spec = float(model.get("prob_thd", 0)), model_weights(model).source
    return _Task(vocabulary, threshold, uncertain, named, spec, len(dataset), scores_and_labels(config, dataset), about)


def _calibrate(task: _Task, out: Path, tell: Callable[[str], None]) -> None:
    """Fits the settings, writes the class file and prints the results."""
    from segearth.calibration import confusion, fit, leave_one_out, mean_iou_of, sample, unchanged
    from segearth.outputs import atomic, writable_folder

    writable_folder(out.parent)
    samples, images = [], []
    for image, scores, truth in task.samples:
        scored = sample(scores, truth, task.images)
        if scored is None:
            tell(f"note: {printable(image)} has no labelled pixel, and is left out")
            continue
        samples.append(scored)
        images.append(image)
        tell(f"{len(samples)} of {task.images}: {printable(image)}")
    _check_number(len(samples))
    start = unchanged(len(task.vocabulary), task.threshold)
    setting = fit(samples, start, task.uncertain, task.with_thresholds)
    left_out = []
    for matrix in leave_one_out(samples, start, task.uncertain, task.with_thresholds):
        left_out.append(matrix)
        if len(left_out) % 10 == 0:
            tell(f"leave-one-out: {len(left_out)} of {len(samples)}")
    alone = [mean_iou_of(confusion([scored], start, task.uncertain)) for scored in samples]
    better = sum(mean_iou_of(matrix) > before for matrix, before in zip(left_out, alone, strict=True))
    before, after = (mean_iou_of(confusion(samples, values, task.uncertain)) for values in (start, setting))
    figures = _miou_lines(before, after, mean_iou_of(sum(left_out[1:], left_out[0])), better, len(samples))
    header = [*_origin(task, images), *figures]
    with atomic(out) as part:
        lines = [f"# {line}" for line in header] + _lines(task.vocabulary, setting)
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [("class", "threshold", "scale")]
    rows += [
        (name, f"{threshold:g}", f"{scale:g}")
        for name, scale, threshold in zip(task.vocabulary.names, *setting, strict=True)
    ]
    print("\n".join([columns(rows), "", *figures, "", f"written to {printable(out)}"]))


def _miou_lines(before: float, after: float, left_out: float, better: int, images: int) -> list[str]:
    """The improvement in mIoU, and its reliability, in sentences."""
    lines = [
        f"mIoU of {images} images: before {100 * before:.2f}, fitted to all of them {100 * after:.2f}, leave-one-out "
        f"{100 * left_out:.2f} (each image with what the others gave; better than before on {better} of {images})",
    ]
    if left_out <= before:
        lines.append(
            "leave-one-out is not better than before: on other images such settings help no more than none; use the "
            "classes without them, or label more images"
        )
    return lines


def _origin(task: _Task, images: Sequence[str]) -> list[str]:
    """The data and model of the calibration, as comments of the class file."""
    from segearth import weights
    from segearth.provenance import checksum

    return [
        "calibrated on labels by segearth calibrate: maps made with this file are no zero-shot results",
        f"model {printable(task.spec.name)}, SHA-256 {checksum(weights.fetch(task.spec.file))}",
        f"{len(images)} images, {task.about}: {', '.join(printable(Path(image).name) for image in images)}",
    ]


def _lines(vocabulary: Vocabulary, setting: Setting) -> list[str]:
    """The lines of the class file."""
    lines = []
    for names, colour, scale, threshold in zip(vocabulary.classes, vocabulary.colours, *setting, strict=True):
        settings: list[Any] = [] if colour is None else ["colour=#{:02X}{:02X}{:02X}".format(*colour)]
        lines.append(" | ".join([",".join(names), *settings, f"threshold={threshold:g}", f"scale={scale:g}"]))
    return lines
