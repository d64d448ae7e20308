"""Checks of numbers that Python callers pass: their type and range."""

from __future__ import annotations

import math
from numbers import Integral, Real

from segearth.errors import UserError

_MAX_SIDE = 2**31 - 1  # larger numbers would overflow


def check_long_side(value: object) -> int | None:
    """Checks the long side that an image is resized to.

    Args:
        value: a whole number of any type, also numpy's; None for the image's own size.

    Raises:
        UserError: something else.
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and 1 <= int(value) <= _MAX_SIDE:
        return int(value)
    raise UserError(
        f"long side {value!r}: expected a whole number of pixels, or None for the image's own size; give such a number"
    )


def check_max_pixels(value: object) -> int | None:
    """Checks the maximum number of pixels of an image file.

    Args:
        value: a whole number of any type, also numpy's; None for the usual limit.

    Raises:
        UserError: something else.
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1:
        return int(value)
    raise UserError(
        f"max_pixels {value!r}: expected a whole number of pixels, or None for the usual limit; give such a number"
    )


def check_max_memory(value: object) -> float:
    """Checks a limit of working memory, in MB.

    Args:
        value: a number above 0 of any type, also numpy's.

    Raises:
        UserError: something else.
    """
    if isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf:
        return float(value)
    raise UserError(f"max_memory_mb {value!r}: expected a number of megabytes, such as 400; give such a number")
