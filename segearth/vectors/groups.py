"""Union-find, and the order of linked lists, for whole arrays at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]


def connected_components(count: int, one: NDArray[np.integer], other: NDArray[np.integer]) -> tuple[Numbers, int]:
    """Numbers the connected components of a graph.

    Args:
        count: of nodes, numbered from 0.
        one: (n,) a node of each edge.
        other: (n,) the other node of each edge.

    Returns:
        (count,) the component of each node, numbered from 0 in the order of their first nodes; and their number.
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


def order_linked_lists(following: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Puts the nodes of linked lists, open or closed, in their order.

    Args:
        following: (n,) the node that follows each; -1 where none does. No two nodes have the same follower.

    Returns:
        (n,) the nodes, list by list; and (n,) the first node of the list of each of these. A closed list begins with
        the lowest number in it.
    """
    count = len(following)
    nodes = np.arange(count, dtype=np.int32)
    before = nodes.copy()
    linked = following >= 0
    before[following[linked]] = nodes[linked]
    opens = before == nodes
    opens[following[(following == nodes)]] = False  # alone in a closed list
    # each step doubles how far back is seen: to the first thing of an open list, or once around a closed one
    jump, lowest = before, nodes
    for _ in range(count.bit_length()):
        lowest = np.minimum(lowest, lowest[jump])
        jump = jump[jump]
        if (opens[jump] | (lowest == lowest[before])).all():
            break
    first = np.where(opens[jump], jump, lowest) if count else nodes
    before = np.where(first == nodes, nodes, before)
    distance = (before != nodes).astype(np.int32)
    while ((further := before[before]) != before).any():
        distance = distance + distance[before]
        before = further
    order = np.lexsort((distance, first))
    return order, first[order].astype(np.intp)
