"""Numbers that a caller in Python gives: of the right kind and in range, or a sentence."""

from __future__ import annotations

import math
from numbers import Integral, Real

from segearth.errors import UserError

_MOST = 2**31 - 1  # no side and no image has more pixels than that: larger numbers would overflow


def side_in_pixels(value: object) -> int | None:
    """The long side that an image is resized to.

    Args:
        value: a whole number of any type, also numpy's; None for the image's own size.

    Raises:
        UserError: something else.
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and 1 <= int(value) <= _MOST:
        return int(value)
    raise UserError(
        f"long side {value!r}: expected a whole number of pixels, or None for the image's own size; give such a number"
    )


def number_of_pixels(value: object) -> int | None:
    """The most pixels that an image file may have.

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


def megabytes(value: object) -> float:
    """A bound of memory.

    Args:
        value: a number above 0 of any type, also numpy's.

    Raises:
        UserError: something else.
    """
    if isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf:
        return float(value)
    raise UserError(f"max_memory_mb {value!r}: expected a number of megabytes, such as 400; give such a number")
