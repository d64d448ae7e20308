"""What `SegEarth` is given, refused where it cannot be."""

from __future__ import annotations

import math

from torch import Tensor

from segearth.errors import UserError


def check_numbers(
    *,
    cls_token_lambda: float,
    logit_scale: float,
    prob_thd: float,
    bg_idx: int,
    slide_crop: int,
    slide_stride: int,
) -> None:
    """Refuses options of `SegEarth` that are no numbers of their kind, or out of their range.

    Raises:
        UserError: one of them is.
    """
    numbers = {"cls_token_lambda": cls_token_lambda, "logit_scale": logit_scale, "prob_thd": prob_thd}
    whole = {"bg_idx": bg_idx, "slide_crop": slide_crop, "slide_stride": slide_stride}
    for name, value in (numbers | whole).items():
        if isinstance(value, bool) or not isinstance(value, int if name in whole else int | float):
            raise UserError(f"{name} is {value!r}: expected a {'whole ' * (name in whole)}number; change it")
        if not math.isfinite(value):
            raise UserError(f"{name} is {value}: expected a finite number; change it")
    if not 0 <= prob_thd <= 1:
        raise UserError(f"prob_thd is {prob_thd:g}: expected a probability, from 0 to 1; change it")
    if slide_crop != 0 and not 1 <= slide_stride <= slide_crop:
        raise UserError(
            f"slide_crop {slide_crop} with slide_stride {slide_stride} leaves pixels out: expected 1 ≤ slide_stride ≤ "
            "slide_crop, or slide_crop=0 for the whole image at once; change one of them"
        )


def check_queries(query_features: Tensor, query_to_class: Tensor, dim: int, bg_idx: int) -> int:
    """Refuses queries that do not fit the encoder or each other, and a background that is none of their classes.

    Args:
        query_features: (Q, D).
        query_to_class: (Q,), the class of each query.
        dim: D of the encoder.
        bg_idx: the class that uncertain pixels get.

    Returns:
        The number of classes.

    Raises:
        UserError: they do not fit.
    """
    if query_features.ndim != 2 or query_features.shape[1] != dim or not len(query_features):
        raise UserError(
            f"query_features have the shape {tuple(query_features.shape)}: expected (Q, {dim}) with Q ≥ 1; "
            "encode the vocabulary with the text tower of the same CLIP"
        )
    classes = query_to_class.unique().tolist()
    if query_to_class.shape != query_features.shape[:1] or classes != list(range(len(classes))):
        raise UserError(
            f"query_to_class has the shape {tuple(query_to_class.shape)} and the classes {classes}: expected one "
            f"class for each of the {len(query_features)} queries, 0 to C-1 without gaps"
        )
    if not 0 <= bg_idx < len(classes):
        raise UserError(
            f"bg_idx is {bg_idx}: expected one of the {len(classes)} classes, 0 to {len(classes) - 1}; change it"
        )
    return len(classes)
