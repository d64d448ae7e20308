"""Blocks of a scene against the whole: the same bits, whatever is cut."""

import numpy as np
import pytest
import torch
from conftest import mini_clip

from segearth.models import DenseCLIP, JBUOne, SegEarth
from segearth.predictor import Predictor
from segearth.scenes.blocks import BlockSettings, map_block
from segearth.scenes.grid import Frame, block_side, blocks
from segearth.scenes.layers import quantised
from segearth.vocabulary import Vocabulary
from segearth.windows import Window

SIZE = (210, 170)
CROP, STRIDE = 64, 32


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(4, 16), dim=-1)
    vocabulary = Vocabulary.from_string("road; tree,forest; water")
    model = SegEarth(
        DenseCLIP(mini_clip()), queries, torch.tensor(vocabulary.query_to_class), JBUOne(16).eval(),
        slide_crop=CROP, slide_stride=STRIDE, prob_thd=0.4,
    )  # fmt: skip
    return Predictor(model.requires_grad_(False), vocabulary)


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (3, 21, 17)), np.ones((10, 10))).astype(np.uint8)


def reader(pixels, valid):
    return lambda area: (
        pixels[:, area.top : area.bottom, area.left : area.right],
        valid[area.top : area.bottom, area.left : area.right],
    )


def mapped(predictor, pixels, valid, side, scale=1.0, output_is_model=False, area=None, **settings):
    """Labels, confidence and scores of a scene, block by block, and how many windows were computed."""
    frame = Frame.create(SIZE, scale, CROP, STRIDE, output_is_model=output_is_model)
    height, width = frame.output_size
    area = area or Window(0, height, 0, width)
    labels = np.full((height, width), 255, np.uint8)
    confidence, scores, done = np.zeros((height, width), np.uint8), np.zeros((3, height, width), np.uint8), []
    chosen = BlockSettings(predictor.model.batch(frame.grid), (100.0, 90.0, 80.0), scores=True, **settings)
    for block in blocks(area, side):
        expected = block.area.top
        for rows in map_block(block.area, frame, reader(pixels, valid), predictor, chosen, done.append):
            assert (rows.area.top, rows.area.left, rows.area.right) == (expected, block.area.left, block.area.right)
            place = slice(rows.area.top, rows.area.bottom), slice(rows.area.left, rows.area.right)
            layers = rows.layers()
            labels[place], confidence[place] = layers["labels"], layers["confidence"]
            scores[(slice(None), *place)] = layers["scores"]
            expected = rows.area.bottom
        assert expected in (block.area.bottom, block.area.top)  # all rows, or none
    return labels, confidence, scores, sum(done)


def test_a_scene_in_one_block_is_the_prediction(predictor, pixels):
    valid = np.ones(SIZE, bool)
    labels, confidence, scores, windows = mapped(predictor, pixels, valid, 224)
    result = predictor.predict(np.ascontiguousarray(pixels.transpose(1, 2, 0)), None)
    assert np.array_equal(labels, result.labels)
    assert np.array_equal(scores, quantised(result.scores, valid))
    assert np.array_equal(confidence, quantised(result.confidence, valid))
    assert len(np.unique(labels)) >= 3
    assert windows == predictor.model.grid(*SIZE).count


@pytest.mark.parametrize("blend", ["mean", "hann"])
@pytest.mark.parametrize(("scale", "output_is_model"), [(1.0, False), (0.6, False), (0.6, True), (1.5, False)])
def test_blocks_have_the_bits_of_the_whole(predictor, pixels, scale, output_is_model, blend):
    valid = np.ones(SIZE, bool)
    valid[:, :40] = False
    valid[100:, 120:] = False
    whole = mapped(predictor, pixels, valid, 1000, scale, output_is_model, blend=blend)
    for side, memory in ((96, 1), (37, 400)):
        parts = mapped(predictor, pixels, valid, side, scale, output_is_model, blend=blend, max_memory_mb=memory)
        for part, expected in zip(parts[:3], whole[:3], strict=True):
            assert np.array_equal(part, expected)
    if not output_is_model:
        assert np.array_equal(whole[0] == 255, ~valid)
        assert np.array_equal(whole[1] == 0, ~valid)


def test_an_area_has_the_labels_of_the_whole(predictor, pixels):
    valid = np.ones(SIZE, bool)
    whole = mapped(predictor, pixels, valid, 96)[0]
    area = Window(33, 150, 71, 90)
    part = mapped(predictor, pixels, valid, 96, area=area)[0]
    assert np.array_equal(part[33:150, 71:90], whole[33:150, 71:90])
    assert (part[:, :71] == 255).all()


def test_windows_without_a_valid_pixel_are_not_computed(predictor, pixels):
    valid = np.zeros(SIZE, bool)
    assert mapped(predictor, pixels, valid, 96)[3] == 0
    valid[0, 0] = True
    labels, _, _, windows = mapped(predictor, pixels, valid, 1000)
    assert windows == 1
    assert (labels != 255).sum() == 1


def test_a_lone_valid_pixel_gets_a_label_at_any_scale(predictor, pixels):
    valid = np.zeros(SIZE, bool)
    valid[105, 87] = True
    for scale in (0.2, 0.6, 1.7):
        assert mapped(predictor, pixels, valid, 96, scale)[0][105, 87] != 255


def test_sides_of_blocks():
    assert block_side(None, 112) == 3584
    assert block_side(1000, 112) == 1008
    assert block_side(None, 56) == 3584
    assert block_side(None, 100) == 3500
    for stride in range(1, 300, 7):
        assert block_side(None, stride) % stride == 0
