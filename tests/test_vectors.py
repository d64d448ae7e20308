"""Polygons of label maps: those of the whole map, whatever its tiles are."""

import warnings

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="vectors need the extra geo")
shapely = pytest.importorskip("shapely", reason="vectors need the extra geo")

from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as arrays  # noqa: E402
from rasterio.features import shapes as gdal_shapes  # noqa: E402

from segearth.vectors.assembly import assemble_polygons  # noqa: E402
from segearth.vectors.groups import connected_components, order_linked_lists  # noqa: E402
from segearth.vectors.partition import Partition  # noqa: E402
from segearth.vectors.pieces import number_pieces  # noqa: E402
from segearth.vectors.rings import Polygons  # noqa: E402

PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FEW = settings(max_examples=25, deadline=None)
MAPS = arrays.arrays(np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-1, 2))
RING = np.pad(np.pad([[1]], 1, constant_values=0), 1, constant_values=1)  # a hole with an island
KNOT = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]])  # the 0 touches itself, and so does the hole its frame
PINCH = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]])


class Drawn:
    """A label map in memory."""

    def __init__(self, values):
        self.drawn, self.size = np.asarray(values, np.int32), np.shape(values)

    def values(self, window):
        return self.drawn[window.top : window.bottom, window.left : window.right]

    def sums(self, numbers, count, *_):
        return np.bincount(numbers.ravel(), minlength=count)[:, None]


def vectors(values, side, small_pixels=0, tolerance=0.0):
    """The pieces of a map, and their polygons in pixels."""
    is_small = (lambda pieces: pieces.pixels < small_pixels) if small_pixels else None
    partition = Partition(Drawn(values), side, is_small)
    wanted = np.ones(len(partition.pieces), bool)
    parts = list(assemble_polygons(partition, values.shape[1], side, wanted, tolerance))
    if not parts:
        return partition.pieces, np.empty(0, object)
    found = Polygons.joined(parts)
    found = found.in_groups(found.piece)
    assert found.piece.tolist() == list(range(len(partition.pieces)))  # each piece is one polygon
    return partition.pieces, found.geometries(PIXELS)


def whole(values):
    """GDAL's polygons of the whole map in one go: (value, normalised polygon), sorted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(gdal_shapes(values.astype(np.int16), values >= 0, connectivity=4))
    return sorted((int(value), plain(shapely.geometry.shape(shape))) for shape, value in found)


def plain(shape):
    """A polygon without points on straight lines, in a form that can be compared."""
    return shapely.normalize(shapely.simplify(shapely.make_valid(shape), 0)).wkt


@FEW
@given(MAPS)
@example(np.array(RING))
@example(KNOT)
@example(PINCH)
@example(np.full((3, 3), -1))
@example(np.indices((6, 6)).sum(axis=0) % 2)
def test_polygons_are_those_of_the_whole_map(values):
    expected = None
    for side in (100, 1, 2, 5):
        pieces, shapes = vectors(values, side)
        assert shapely.is_valid(shapes).all()
        assert shapely.area(shapes).tolist() == pieces.pixels.tolist()
        assert shapely.coverage_is_valid(shapes)
        found = [*zip(pieces.values.tolist(), pieces.pixels.tolist(), shapely.to_wkb(shapes).tolist(), strict=True)]
        expected = found if expected is None else expected
        assert found == expected
    mine = sorted((value, plain(shape)) for value, shape in zip(pieces.values.tolist(), shapes, strict=True))
    assert mine == whole(values)


@FEW
@given(MAPS)
def test_every_pixel_is_in_exactly_one_polygon(values):
    pieces, shapes = vectors(values, 3)
    rows, columns = np.indices(values.shape).reshape(2, -1)
    points = shapely.points(columns + 0.5, rows + 0.5)
    point, piece = shapely.STRtree(shapes).query(points, predicate="within")
    assert point.tolist() == np.flatnonzero(values.ravel() >= 0).tolist() if len(point) else (values < 0).all()
    assert pieces.values[piece].tolist() == values.ravel()[point].tolist()


def sieved_one_by_one(values, small_pixels):
    """The sieve as it is told, one piece after the other."""
    values = values.copy()
    while True:
        numbers, count = number_pieces(values)
        going = []
        for piece in range(count):
            here = numbers == piece
            value = int(values[here][0])
            lengths = {}
            for axis in (0, 1):
                for one, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
                    a, b = (
                        ((one, slice(None)), (other, slice(None)))
                        if axis == 0
                        else ((slice(None), one), (slice(None), other))
                    )
                    for beside in values[b][here[a] & ~here[b]].tolist():
                        lengths[beside] = lengths.get(beside, 0) + 1
            lengths.pop(-1, None)
            if value >= 0 and here.sum() < small_pixels and lengths:
                going.append((int(here.sum()), value, piece, max(lengths, key=lambda key: (lengths[key], -key))))
        if not going:
            return values
        _, _, piece, to = min(going)
        values[numbers == piece] = to


@FEW
@given(MAPS, st.integers(2, 9))
def test_the_sieve_is_that_of_the_whole_map(values, small_pixels):
    expected = sieved_one_by_one(values, small_pixels)
    for side in (100, 1, 2, 4):
        pieces, shapes = vectors(values, side, small_pixels)
        alone, same = vectors(expected, 100)
        assert pieces.values.tolist() == alone.values.tolist()
        assert pieces.pixels.tolist() == alone.pixels.tolist()
        assert shapely.to_wkb(shapes).tolist() == shapely.to_wkb(same).tolist()


def drawn_fields(seed, size):
    noise = np.random.default_rng(seed).normal(size=size)
    for _ in range(3):
        noise = sum(np.roll(noise, by, axis) for by in (-1, 0, 1) for axis in (0, 1))
    return np.digitize(noise, np.quantile(noise, [0.1, 0.4, 0.7])) - 1


@pytest.mark.parametrize("side", [100, 16, 7])
def test_simpler_borders_are_shared(side):
    values = drawn_fields(0, (45, 38))
    _, shapes = vectors(values, side, tolerance=2.0)
    _, all_corners = vectors(values, side)
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert len(shapes) == len(all_corners)
    assert shapely.get_num_coordinates(shapes).sum() < 0.8 * shapely.get_num_coordinates(all_corners).sum()
    frame = shapely.box(0, 0, 38, 45)
    assert shapely.area(shapely.difference(shapely.union_all(shapes), frame)) == 0
    assert shapely.area(shapes).sum() == pytest.approx((values >= 0).sum(), rel=0.05)


def test_groups_and_orders():
    groups, count = connected_components(6, np.array([4, 1, 5]), np.array([1, 3, 2]))
    assert (groups.tolist(), count) == ([0, 1, 2, 1, 1, 2], 3)
    order, first = order_linked_lists(np.array([2, 1, 4, 5, 0, -1, 3]))
    assert order.tolist() == [0, 2, 4, 1, 6, 3, 5]
    assert first.tolist() == [0, 0, 0, 1, 6, 6, 6]
