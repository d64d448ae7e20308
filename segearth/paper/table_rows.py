"""The rows of the paper's tables, and some beyond it: each is a few changes to a data set's config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segearth.errors import UserError, option

_THRESHOLD = "threshold of the config, the paper's is not published"  # the configs have SegEarth-OV's
_BEYOND = "beyond the paper"
_NO_UPSAMPLER = {"model.feature_up": "False"}
_NO_BIAS = {"model.cls_token_lambda": "0"}


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        name: on the command line, in folders, and in `segearth/data/published.csv`.
        title: for people.
        changes: to the config, as `--cfg-options` has them.
        upsampler: kind of its upsampler, where that is not the config's.
        weights: of that upsampler: a key of `segearth.clips.UPSAMPLER_FILES`, or where `training` is given, the name of
            a file (without its ending) that is looked for in the folder `--upsamplers`.
        training: how such weights are made: options of tools/train_simfeatup.py.
        datasets: columns of the paper's table; empty: all.
        note: what a reader of its numbers should know.
    """

    name: str
    title: str
    changes: dict[str, str]
    upsampler: str | None = None
    weights: str | None = None
    training: str = ""
    datasets: tuple[str, ...] = ()
    note: str = ""


def _baseline(name: str, title: str, model_type: str, *, ignore_residual: bool = True) -> TableRow:
    """Another method of dense features, as it was before: without upsampler and bias alleviation."""
    own = {"model.model_type": model_type, "model.ignore_residual": str(ignore_residual)}
    return TableRow(name, title, own | _NO_UPSAMPLER | _NO_BIAS, note=_THRESHOLD)


def _plus(name: str, title: str, model_type: str) -> TableRow:
    """Another method with SimFeatUp and global bias alleviation."""
    changes = {"model.model_type": model_type}
    return TableRow(name, title, changes, datasets=("openearthmap", "whu_aerial", "wbs-si"), note=_THRESHOLD)


def _beyond(name: str, title: str, **changes: str) -> TableRow:
    """SegEarth-OV with something that the paper does not have."""
    return TableRow(name, title, {f"model.{key}": value for key, value in changes.items()}, note=_BEYOND)


def _step(name: str, title: str, changes: dict[str, str], upsampler: str, training: str, weights: str = "") -> TableRow:
    """A row of the ablation; its own upsampler is in a file of its name, unless `weights` says otherwise."""
    name = f"ablation-{name}"
    title = f"ablation: {title}"
    return TableRow(name, title, changes, upsampler, weights or name, training, _ABLATION_SETS)


MAIN = (
    _baseline("clip", "CLIP", "vanilla", ignore_residual=False),
    _baseline("maskclip", "MaskCLIP", "MaskCLIP"),
    _baseline("sclip", "SCLIP", "SCLIP"),
    _baseline("gem", "GEM", "GEM"),
    _baseline("clearclip", "ClearCLIP", "ClearCLIP"),
    TableRow("segearth-ov", "SegEarth-OV", {}),
)
LARGER = (TableRow("segearth-ov-896", "SegEarth-OV, 896", {"test_dataloader.dataset.pipeline.1.scale": "(896,896)"}),)
PLUG_AND_PLAY = (
    _plus("maskclip-plus", "MaskCLIP + SimFeatUp + bias alleviation", "MaskCLIP"),
    _plus("sclip-plus", "SCLIP + SimFeatUp + bias alleviation", "SCLIP"),
    _plus("clearclip-plus", "ClearCLIP + SimFeatUp + bias alleviation", "ClearCLIP"),
)
# Each step of the ablation adds to the one before. Weights of the steps in between were never published: train them.
_ABLATION_SETS = ("openearthmap", "whu_sat_II", "wbs-si")
_STACK, _ONE = "--upsampler jbu_stack --radius 3 --no-image-loss", "--radius 3"  # options of their training
_PHOTOS = ", on everyday photographs"
ABLATION = (
    TableRow("ablation-baseline", "ablation: no upsampler", _NO_UPSAMPLER | _NO_BIAS, datasets=_ABLATION_SETS),
    _step("featup", "FeatUp (CLIP)", _NO_BIAS, "jbu_stack", "", "clip_jbu_stack_cocostuff"),
    _step("featup-maskclip", "FeatUp (MaskCLIP)", _NO_BIAS, "jbu_stack", "", "maskclip_jbu_stack_cocostuff"),
    _step("last-block", "trained on the last block's input", _NO_BIAS, "jbu_stack", _STACK + _PHOTOS),
    _step("aerial", "+ remote-sensing images", _NO_BIAS, "jbu_stack", _STACK),
    _step("shared", "+ one shared JBU", _NO_BIAS, "jbu_one", f"{_ONE} --no-image-loss"),
    _step("reconstruction", "+ image reconstruction", _NO_BIAS, "jbu_one", _ONE),
    _step("bias", "+ global bias alleviation", {}, "jbu_one", _ONE, "ablation-reconstruction"),
    TableRow("ablation-kernel", "ablation: + 11 × 11 kernel", {}, datasets=_ABLATION_SETS),
)
# Not of the paper: only who asks for these gets them.
BEYOND = (
    _beyond("naclip", "NACLIP + SimFeatUp + bias alleviation", model_type="NACLIP"),
    _beyond("cls-column-zero", "SegEarth-OV, patches without [CLS]", cls_column_zero="True"),
    _beyond("cls-row", "SegEarth-OV, [CLS] of layers 6 to 9", cls_row_layers="(6,9)"),
    _beyond("cls-both", "SegEarth-OV, both of these", cls_column_zero="True", cls_row_layers="(6,9)"),
    _beyond("tta-flips", "SegEarth-OV, mean of 4 flips", tta="flips"),
    _beyond("tta-turns", "SegEarth-OV, mean of 4 quarter turns", tta="turns"),
    _beyond("tta-all", "SegEarth-OV, mean of 8 flips and turns", tta="all"),
)
PAPER = (*MAIN, *LARGER, *PLUG_AND_PLAY, *ABLATION)
ROWS = {one.name: one for one in (*PAPER, *BEYOND)}
GROUPS = {"main": MAIN, "plug-and-play": PLUG_AND_PLAY, "ablation": ABLATION, "all": PAPER, "beyond": BEYOND}


def select_rows(names: Sequence[str]) -> list[TableRow]:
    """Rows by name or group, each once, in the order given; upper and lower case are the same.

    Raises:
        UserError: an unknown name.
    """
    chosen: dict[str, TableRow] = {}
    for name in names:
        wanted = name.lower()
        if wanted in GROUPS:
            chosen.update((one.name, one) for one in GROUPS[wanted])
        elif wanted in ROWS:
            chosen[wanted] = ROWS[wanted]
        else:
            known = ", ".join([*ROWS, *GROUPS])
            raise UserError(
                f"unknown method {name!r}: expected one of {known}; give such names for {option('methods')}"
            )
    return list(chosen.values())
