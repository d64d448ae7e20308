"""Union-find, and the order of linked lists, for whole arrays at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]


def grouped(count: int, one: NDArray[np.integer], other: NDArray[np.integer]) -> tuple[Numbers, int]:
    """Numbers things so that those that are linked, directly or through others, have the same number.

    Args:
        count: of things, numbered from 0.
        one: (n,) a thing of each link.
        other: (n,) the other one.

    Returns:
        (count,) the group of each, numbered from 0 in the order of their first things; and how many groups there are.
    """
    parent = np.arange(count, dtype=np.int32)
    while True:
        one, other = parent[one], parent[other]
        apart = one != other
        if not apart.any():
            break
        one, other = one[apart], other[apart]
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))
        while ((up := parent[parent]) != parent).any():
            parent = up
    first = parent == np.arange(count)
    numbers = np.cumsum(first, dtype=np.int32) - 1
    return numbers[parent], int(first.sum())


def in_order(following: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Puts the things of linked lists, open or closed, in their order.

    Args:
        following: (n,) which thing follows each; -1 where none does. No two things have the same follower.

    Returns:
        (n,) the things, list by list; and (n,) the first thing of the list of each of these. A closed list begins with
        the lowest number in it.
    """
    count = len(following)
    own = np.arange(count, dtype=np.int32)
    before = own.copy()
    linked = following >= 0
    before[following[linked]] = own[linked]
    opens = before == own
    opens[following[(following == own)]] = False  # alone in a closed list
    # each step doubles how far back is seen: to the first thing of an open list, or once around a closed one
    jump, lowest = before, own
    for _ in range(count.bit_length()):
        lowest = np.minimum(lowest, lowest[jump])
        jump = jump[jump]
        if (opens[jump] | (lowest == lowest[before])).all():
            break
    first = np.where(opens[jump], jump, lowest) if count else own
    before = np.where(first == own, own, before)
    distance = (before != own).astype(np.int32)
    while ((further := before[before]) != before).any():
        distance = distance + distance[before]
        before = further
    order = np.lexsort((distance, first))
    return order, first[order].astype(np.intp)
