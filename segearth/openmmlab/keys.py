"""Rules for the keys of a config, in one table, for files and for changes on the command line.

Keys that are not in the table may hold anything. A dictionary that is `closed` may have no others: a wrong name there
would silently leave the default.
"""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from segearth.clips.upsamplers import TRAINED
from segearth.models.attention import METHODS, is_method
from segearth.models.averaging import VIEWS
from segearth.models.trunk import COUNTED_IN


class Rule(NamedTuple):
    """The values that a key may have.

    Attributes:
        expected: in words, after "expected".
        fits: whether a value is of this kind.
        keys: of a dictionary: the rules of its keys.
        required: of a dictionary: the keys that it must have.
        closed: of a dictionary: whether it has no other keys.
        items: of a list: the rule of its elements; of a dictionary: that of keys without a rule.
    """

    expected: str
    fits: Callable[[Any], bool]
    keys: Mapping[str, Rule] = {}
    required: tuple[str, ...] = ()
    closed: bool = False
    items: Rule | None = None


class Problem(NamedTuple):
    """A problem of a config.

    Attributes:
        key: with those above it and dots between them.
        what: what is wrong with it.
        expected: the rest of the sentence: what may be there.
        of_value: whether it is the key's value, as it is written there.
    """

    key: str
    what: str
    expected: str
    of_value: bool = False


def problems(value: Any, rule: Rule, key: str = "") -> Iterator[Problem]:
    """The problems of a value.

    Args:
        value: of the key, with all that is in it.
        rule: what it may hold.
        key: its name, with those above it and dots between them; "" for a whole config.
    """
    below = f"{key}." if key else ""
    if not rule.fits(value):
        yield Problem(key, f"{key} is {reprlib.repr(value)}", f"expected {rule.expected}", of_value=True)
    elif isinstance(value, dict):
        for name, element in value.items():
            if name in rule.keys:
                yield from problems(element, rule.keys[name], f"{below}{name}")
            elif rule.closed and not str(name).startswith("_"):  # such as mmengine's _scope_
                yield Problem(f"{below}{name}", f"unknown key {name!r} in {key}", near(str(name), rule))
            elif rule.items is not None:
                yield from problems(element, rule.items, f"{below}{name}")
        for name in rule.required:
            if name not in value:
                yield Problem(key, f"{below}{name} is missing", f"expected {rule.keys[name].expected}")
    elif rule.items is not None and isinstance(value, list | tuple):
        for i, element in enumerate(value):
            yield from problems(element, rule.items, f"{below}{i}")


def near(name: str, rule: Rule) -> str:
    """Suggests the key that was probably meant; lists all keys where none is similar."""
    close = difflib.get_close_matches(name, rule.keys, n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else f"expected one of {', '.join(rule.keys)}"


def type_name(value: Any) -> str:
    """The name of a class that a `type` gives, by its name with or without a scope, or as itself: "IoUMetric"."""
    return value.__name__ if isinstance(value, type) else str(value).rpartition(".")[2]


LARGEST = 2**31 - 1  # more is a slip, and further on it would be one of a 32-bit number


def whole(low: int, what: str = "", high: int = LARGEST) -> Rule:
    """A whole number from `low` to `high`."""
    bounds = f"{low} or more" if high == LARGEST else f"from {low} to {high}"
    what = f" of {what}" if what else ""
    return Rule(f"a whole number{what}, {bounds}", lambda value: type(value) is int and low <= value <= high)


def number(expected: str = "a number", low: float = -LARGEST, high: float = LARGEST) -> Rule:
    """A number from `low` to `high`; NaN is none."""
    return Rule(
        expected, lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def one_of(*names: str) -> Rule:
    """One of several words."""
    return Rule(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def kind(*names: str) -> Rule:
    """A `type`: one of some classes."""
    return Rule(" or ".join(names), lambda value: type_name(value) in names)


def or_none(rule: Rule) -> Rule:
    """The values of a rule, or None."""
    return rule._replace(expected=f"{rule.expected}, or None", fits=lambda value: value is None or rule.fits(value))


def table(keys: Mapping[str, Rule], *, required: tuple[str, ...] = (), closed: bool = False) -> Rule:
    """A dictionary with rules for its keys."""
    return Rule("a dictionary, dict(...)", lambda value: isinstance(value, dict), keys, required, closed)


def several(items: Rule, expected: str, count: int | None = None) -> Rule:
    """A list or tuple, of `count` elements or of at least one."""

    def fits(value: Any) -> bool:
        return isinstance(value, list | tuple) and (len(value) == count if count else len(value) > 0)

    return Rule(expected, fits, items=items)


def never(expected: str) -> Rule:
    """A key that is not supported: of wrapped data sets, or of mmsegmentation 0.x."""
    return Rule(expected, lambda value: False)  # noqa: ARG005


def moved(place: str) -> Rule:
    """A key of mmsegmentation 0.x that was moved in 1.0."""
    return never(f"{place} in its place, as in mmsegmentation 1.x")


FLAG = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("a text", lambda value: isinstance(value, str))
PATH = Rule("a path on this computer", lambda value: isinstance(value, str | Path) and "://" not in str(value))
FILE = PATH._replace(fits=lambda value: PATH.fits(value) and str(value) != "")
SUFFIX = Rule("the end of file names, such as .png", lambda value: isinstance(value, str) and value != "")
TYPE = Rule(
    "the name of a class",
    lambda value: isinstance(value, type) or (isinstance(value, str) and all(map(str.isidentifier, value.split(".")))),
)
FACTOR = number("a number above 0", math.ulp(0))
ANY = table({})
PART = table({"type": TYPE}, required=("type",))
START = one_of("fork", "spawn", "forkserver")
DEVICE = Rule(
    "cpu, cuda, cuda:N, mps or auto",
    lambda value: re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", str(value)) is not None,
)
SIDE = whole(1, "pixels")
SIZE = Rule(
    "a side in pixels, or a pair of them, each 1 or more",
    lambda value: SIDE.fits(value) or (isinstance(value, list | tuple) and len(value) == 2),
    items=SIDE,
)
LOCAL = or_none(table({"backend": one_of("local")}))
COLOURS = ("color", "grayscale", "unchanged", "color_ignore_orientation", "grayscale_ignore_orientation")
INTERPOLATION = one_of("nearest", "bilinear", "bicubic", "area", "lanczos")
STEP = PART._replace(
    keys={
        "type": TYPE,
        "scale": or_none(SIZE),
        "keep_ratio": FLAG,
        # steps of a user's own may have OpenCV's numbers
        "interpolation": INTERPOLATION._replace(fits=lambda value: type(value) is int or INTERPOLATION.fits(value)),
        "clip_object_border": FLAG,
        "imdecode_backend": or_none(one_of("cv2", "pillow", "turbojpeg", "tifffile")),
        "color_type": one_of(*COLOURS),
        "to_float32": FLAG,
        "ignore_empty": FLAG,
        "reduce_zero_label": or_none(FLAG),
        "backend_args": LOCAL,
        "meta_keys": several(TEXT, "a list of texts"),
    }
)
PREPROCESSOR = table(
    {
        "type": kind("SegDataPreProcessor"),
        "mean": or_none(several(number(), "three numbers", 3)),
        "std": or_none(several(FACTOR, "three numbers", 3)),
        "bgr_to_rgb": FLAG,
        "rgb_to_bgr": FLAG,
    },
    required=("type",),
)
MODEL = table(
    {
        "type": TYPE,
        "name_path": FILE._replace(expected="the path of a class file, one class a line"),
        "clip_type": TEXT,
        "vit_type": TEXT,
        "model_type": Rule(f"one of {', '.join(METHODS)}", is_method),
        "device": or_none(DEVICE),
        "ignore_residual": FLAG,
        "prob_thd": number("a number from 0 to 1", 0, 1),
        "logit_scale": FACTOR,
        "slide_stride": whole(1, "pixels"),
        "slide_crop": whole(0, "pixels"),
        "cls_token_lambda": number(),
        "bg_idx": whole(0),
        "feature_up": FLAG,
        "feature_up_cfg": or_none(
            table({"model_name": one_of(*TRAINED, "bilinear"), "model_path": or_none(PATH)}, closed=True)
        ),
        "model": or_none(TEXT),
        "architecture": or_none(TEXT),
        "upsampler": or_none(TEXT),
        "precision": one_of("fp32", "bf16", "fp16", "auto"),
        "max_memory_mb": or_none(FACTOR),
        "tta": or_none(one_of(*VIEWS)),
        "cls_column_zero": FLAG,
        "cls_row_layers": or_none(several(whole(1, high=COUNTED_IN), "the first and the last layer, (6, 9)", 2)),
        "data_preprocessor": or_none(PREPROCESSOR),
        "init_cfg": or_none(ANY),
    },
    required=("type", "name_path"),
    closed=True,
)
METAINFO = table(
    {
        "classes": several(TEXT, "a list of class names"),
        "palette": several(several(whole(0, high=255), "three numbers", 3), "a list of colours"),
    }
)
DATASET = table(
    {
        "type": TYPE,
        "data_root": or_none(PATH),
        "data_prefix": table({"img_path": PATH, "seg_map_path": PATH}, required=("img_path", "seg_map_path"))._replace(
            expected="a dictionary with the folders img_path and seg_map_path"
        ),
        "ann_file": or_none(PATH),
        "img_suffix": or_none(SUFFIX),
        "seg_map_suffix": or_none(SUFFIX),
        "reduce_zero_label": or_none(FLAG),
        "ignore_index": whole(0),
        "indices": or_none(
            Rule(
                "a number of images, or a list of indices",
                lambda value: SIDE.fits(value) or (isinstance(value, list | tuple) and len(value) > 0),
                items=whole(0),
            )
        ),
        "metainfo": or_none(METAINFO),
        "pipeline": several(STEP, "a list of steps, each a dict(type=...)"),
        "backend_args": LOCAL,
        "test_mode": FLAG,
        "lazy_init": FLAG,
        "serialize_data": FLAG,
        "dataset": never("one data set with its own type and paths, and no wrapper"),
        "datasets": never("one data set; evaluate each of them with a config of its own"),
        "img_dir": moved("data_prefix.img_path"),
        "ann_dir": moved("data_prefix.seg_map_path"),
        "split": moved("ann_file"),
        "classes": moved("metainfo.classes"),
        "palette": moved("metainfo.palette"),
    },
    required=("type", "data_prefix", "pipeline"),
)
LOADER = table(
    {
        "batch_size": whole(1, "images"),
        "num_workers": whole(0, "processes"),
        "persistent_workers": FLAG,
        "prefetch_factor": or_none(whole(1, "batches")),
        "pin_memory": FLAG,
        "timeout": number("a number of seconds, 0 or more", 0),
        "drop_last": FLAG,
        "dataset": DATASET,
        "sampler": or_none(ANY),
        "batch_sampler": or_none(ANY),
        "collate_fn": table({"type": kind("pseudo_collate")}, required=("type",)),
        "multiprocessing_context": or_none(START),
    },
    required=("dataset",),
    closed=True,
)
METRIC = table(
    {
        "type": kind("IoUMetric", "CountingIoUMetric")._replace(expected="IoUMetric"),
        "iou_metrics": Rule(
            "a list of mIoU, mDice, mFscore",
            lambda value: value == "mIoU" or isinstance(value, list | tuple),
            items=one_of("mIoU", "mDice", "mFscore"),
        ),
        "ignore_index": whole(0),
        "nan_to_num": or_none(number()),
        "beta": FACTOR,
        "collect_device": one_of("cpu", "gpu"),
        "output_dir": or_none(PATH),
        "format_only": FLAG,
        "prefix": or_none(TEXT),
    },
    required=("type",),
    closed=True,
)
CONFIG = table(
    {
        "model": MODEL,
        "test_dataloader": LOADER,
        "test_evaluator": METRIC._replace(
            expected="one IoUMetric, dict(type='IoUMetric')",
            fits=lambda value: isinstance(value, dict) or (isinstance(value, list | tuple) and len(value) == 1),
            items=METRIC,
        ),
        "test_cfg": or_none(table({"type": kind("TestLoop"), "fp16": FLAG}, closed=True)),
        "data_preprocessor": or_none(PREPROCESSOR),
        "default_hooks": or_none(ANY._replace(items=or_none(PART))),
        "custom_hooks": or_none(
            Rule(
                "a list of hooks, each a dict(type=...)",
                lambda value: isinstance(value, list | tuple),
                items=PART,
            )
        ),
        "custom_imports": or_none(
            table({"imports": several(TEXT, "a list of modules"), "allow_failed_imports": FLAG}, closed=True)
        ),
        "env_cfg": or_none(
            table(
                {
                    "cudnn_benchmark": FLAG,
                    "mp_cfg": table({"mp_start_method": START, "opencv_num_threads": whole(-1)}, closed=True),
                    "dist_cfg": table({"backend": TEXT}),
                }
            )
        ),
        "log_processor": or_none(table({"window_size": whole(1), "by_epoch": FLAG})),
        "load_from": Rule("None: this method has no trained segmentor", lambda value: value is None),
        "work_dir": or_none(PATH),
    },
    required=("model", "test_dataloader"),
)
