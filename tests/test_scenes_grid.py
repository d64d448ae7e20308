"""Properties of the grid: whatever the sizes, blocks, strides and areas, every window counts once, and in its place."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenemodels import stub_predictor

shapely = pytest.importorskip("shapely", reason="scenes need the extra geo")
pytest.importorskip("rasterio", reason="scenes need the extra geo")

from segearth.models.blend import BLENDS, Blend  # noqa: E402
from segearth.scenes.aoi import Area  # noqa: E402
from segearth.scenes.blocks import BlockSettings, map_block  # noqa: E402
from segearth.scenes.grid import Frame, block_side, blocks  # noqa: E402
from segearth.scenes.resampling import interpolate, resample  # noqa: E402
from segearth.transfer import normalise  # noqa: E402
from segearth.windows import Grid, Window  # noqa: E402

FILL = (100.0, 90.0, 80.0)


def intervals(length):
    """A start and an end of at least one pixel."""
    return st.integers(0, length - 1).flatmap(
        lambda start: st.integers(start + 1, length).map(lambda end: (start, end))
    )


@st.composite
def grids(draw):
    """A grid of windows, a part of it that is wanted, and a side of blocks that cut this in at most some dozens."""
    crop = draw(st.integers(1, 60))
    height, width = (draw(st.integers(1, min(130, 7 * crop))) for _ in range(2))
    grid = Grid(height, width, crop, draw(st.integers(max(1, crop // 3), crop)))
    area = Window(*draw(intervals(height)), *draw(intervals(width)))
    longest = max(area.bottom - area.top, area.right - area.left)
    return grid, area, draw(st.integers(max(1, longest // 4), 150))


def reader(pixels, valid):
    return lambda area: (
        pixels[:, area.top : area.bottom, area.left : area.right].copy(),
        valid[area.top : area.bottom, area.left : area.right].copy(),
    )


def mapped(predictor, frame, read, area, side, **options):
    """Float scores (C, h, w) and labels of an area, block by block; NaN and -1 where no block has rows."""
    size = area.bottom - area.top, area.right - area.left
    scores = np.full((len(predictor.vocabulary), *size), np.nan, np.float32)
    labels = np.full(size, -1)
    for block in blocks(area, side):
        below = block.area.top
        chosen = BlockSettings(4, FILL, scores=True, **options)
        for rows in map_block(block.area, frame, read, predictor, chosen):
            assert rows.area == Window(below, rows.area.bottom, block.area.left, block.area.right)
            below = rows.area.bottom
            place = (
                slice(rows.area.top - area.top, below - area.top),
                slice(rows.area.left - area.left, rows.area.right - area.left),
            )
            assert (labels[place] == -1).all()
            scores[(slice(None), *place)], labels[place] = rows.scores, rows.labels
        assert below in (block.area.bottom, block.area.top)  # all rows, or none
    return scores, labels


@given(grids())
@settings(max_examples=150, deadline=None)
def test_blocks_cut_an_area_into_parts_that_lie_in_one_place_for_all_areas(drawn):
    grid, area, side = drawn
    whole = {block.name: block.area for block in blocks(Window(0, grid.height, 0, grid.width), side)}
    covered = np.zeros((grid.height, grid.width), int)
    for block in blocks(area, side):
        top, bottom, left, right = block.area
        covered[top:bottom, left:right] += 1
        own = whole[block.name]
        assert (top, left) == (max(own.top, area.top), max(own.left, area.left))
        assert (bottom, right) == (min(own.bottom, area.bottom), min(own.right, area.right))
    inside = np.zeros_like(covered)
    inside[area.top : area.bottom, area.left : area.right] = 1
    assert np.array_equal(covered, inside)


@given(grids(), st.sampled_from(sorted(BLENDS)))
@settings(max_examples=60, deadline=None)
def test_every_window_is_once_in_the_mean_of_every_pixel_that_it_covers(drawn, blend):
    """Each window says a random number of its own; it knows its place from its pixels, which are those places."""
    grid, area, side = drawn
    size = grid.height, grid.width
    own = np.random.default_rng(0).random(size, np.float32)

    def logits(pixels):
        row, column = (int(value) for value in pixels[:2, 0, 0].round())
        return torch.tensor([own[row, column], 1.0])[:, None, None].expand(-1, *pixels.shape[1:])

    predictor = stub_predictor(logits, 2, grid.crop, grid.stride, softmax=False)
    pixels, valid = np.stack([*np.mgrid[: size[0], : size[1]], np.zeros(size)]).astype(np.float32), np.ones(size, bool)
    found, _ = mapped(predictor, Frame(size, grid, size), reader(pixels, valid), area, side, blend=blend)
    rows, columns = (BLENDS[blend](length).numpy() for length in grid.window_size)
    sums, weights = np.zeros(size), np.zeros(size)
    for top, bottom, left, right in grid.windows():
        sums[top:bottom, left:right] += np.outer(rows, columns) * own[top, left]
        weights[top:bottom, left:right] += np.outer(rows, columns)
    wanted = slice(area.top, area.bottom), slice(area.left, area.right)
    np.testing.assert_allclose(found[0], (sums / weights)[wanted], rtol=1e-5)
    np.testing.assert_allclose(found[1], 1, atol=1e-6)


def local_logits(pixels):
    """Five classes by the colours of a pixel, and of the window as a whole."""
    mixed = torch.stack([pixels[0] - pixels[1], pixels[1] - pixels[2], pixels[2] - pixels[0], pixels[0], pixels[1]])
    return (mixed - pixels.mean(dim=(1, 2))[[0, 1, 2, 0, 1], None, None]) / 50


def by_hand(predictor, frame, pixels, valid, blend):
    """Scores of a whole scene in the memory, and which pixels of the model are valid."""
    whole = Window(0, frame.grid.height, 0, frame.grid.width)
    part = resample(reader(pixels, valid), frame.input_size, frame.model_size, whole, FILL)
    picture = normalise(torch.from_numpy(part.pixels)[None])[0]
    blended = Blend(frame.grid, 5, blend=blend)
    for window, logits in predictor.model.window_logits(picture, frame.grid.windows()):
        blended.add(window, logits)
    means = blended.take(frame.grid.height).numpy()
    logits = interpolate(
        means, whole, frame.model_size, frame.output_size, Window(0, frame.output_size[0], 0, frame.output_size[1])
    )
    return predictor.model.scores(torch.from_numpy(logits)[None])[0].numpy(), part.valid


@example(
    (Grid(20, 130, 60, 20), Window(0, 20, 0, 130), 15), 1.02, False, False, "mean", np.uint8, 0
)  # of one axis only
@example(
    (Grid(70, 60, 40, 20), Window(0, 70, 0, 60), 30), 3.5, False, True, "mean", np.uint8, 0
)  # the model has more rows
@given(
    grids(),
    st.floats(0.2, 2.5),
    st.booleans(),
    st.booleans(),
    st.sampled_from(sorted(BLENDS)),
    st.sampled_from([np.uint8, np.float32]),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_any_area_in_any_blocks_has_the_bits_of_the_whole_in_the_memory(
    drawn, scale, output_is_model, polygon, blend, kind, seed
):
    grid, area, side = drawn
    rng, size = np.random.default_rng(seed), (grid.height, grid.width)
    pixels = rng.integers(0, 256, (3, *size)).astype(kind)
    valid = np.kron(rng.random((9, 9)) < 0.6, np.ones((15, 15), bool))[: size[0], : size[1]]
    predictor = stub_predictor(local_logits, 5, grid.crop, grid.stride)
    frame = Frame.create(size, scale, grid.crop, grid.stride, output_is_model=output_is_model)
    if output_is_model:
        bottom, right = (min(end, length) for end, length in zip((area[1], area[3]), frame.output_size, strict=True))
        area = Window(min(area.top, bottom - 1), bottom, min(area.left, right - 1), right)
    aoi = None
    if polygon:
        corners = rng.random((3, 2)) * frame.output_size[::-1]
        aoi = Area(
            Window(0, frame.output_size[0], 0, frame.output_size[1]), (shapely.to_wkb(shapely.Polygon(corners)),)
        )
    scores, labels = mapped(predictor, frame, reader(pixels, valid), area, side, blend=blend, aoi=aoi)
    expected, known = by_hand(predictor, frame, pixels, valid, blend)
    wanted = slice(area.top, area.bottom), slice(area.left, area.right)
    known = (known if output_is_model else valid)[wanted]
    if aoi is not None:
        known = known & aoi.mask(area)
    expected = expected[(slice(None), *wanted)]
    assert np.array_equal(np.isin(labels, range(5)), known)
    assert np.array_equal(scores[:, known], expected[:, known])
    assert np.array_equal(labels[known], expected.argmax(axis=0)[known])


@given(grids(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_windows_are_computed_where_they_have_a_valid_pixel(drawn, seed):
    grid, _, _ = drawn
    size, rng = (grid.height, grid.width), np.random.default_rng(seed)
    valid = np.kron(rng.random((9, 9)) < 0.2, np.ones((15, 15), bool))[: size[0], : size[1]]
    predictor = stub_predictor(local_logits, 5, grid.crop, grid.stride)
    whole = Window(0, grid.height, 0, grid.width)
    mapped(predictor, Frame(size, grid, size), reader(np.zeros((3, *size), np.uint8), valid), whole, max(size))
    assert predictor.model.windows == sum(
        valid[top:bottom, left:right].any() for top, bottom, left, right in grid.windows()
    )


@given(st.integers(1, 400), st.integers(1, 10_000))
def test_sides_of_blocks_are_multiples_of_the_stride(stride, asked):
    assert asked <= block_side(asked, stride) < asked + stride
    assert block_side(asked, stride) % stride == block_side(None, stride) % stride == 0
