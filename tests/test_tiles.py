import pytest
import torch
from torch.testing import assert_close

from segearth.models.simfeatup import JBUStep
from segearth.models.tile_kernels import axis
from segearth.models.tiles import upsample2x


def random_step(radius):
    torch.manual_seed(0)
    step = JBUStep(radius)
    for parameter in step.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape) + (1.0 if parameter is step.sigma_spatial else 0.0)
    return step.eval().requires_grad_(False)


@pytest.mark.parametrize("length", [3, 4, 5, 9, 14, 28, 33])
@pytest.mark.parametrize("radius", [3, 5])
def test_axis_is_bicubic_enlargement_with_a_reflected_border(length, radius):
    line = torch.randn(1, 1, length, 1, dtype=torch.double)
    enlarged = torch.nn.functional.interpolate(line, size=(2 * length, 1), mode="bicubic")
    enlarged = torch.nn.functional.pad(enlarged, [0, 0, radius, radius], mode="reflect")[0, 0, :, 0]
    table = axis(length, radius, torch.device("cpu"))
    for tile, (weights, positions) in enumerate(zip(table.weights, table.positions, strict=True)):
        ours = weights.double() @ line[0, 0, positions, 0]
        known = len(enlarged) - 8 * tile  # beyond the border is the last tile's overhang
        assert_close(ours[:known], enlarged[8 * tile : 8 * tile + len(ours)], atol=1e-6, rtol=0)
    assert table.positions.min() >= 0
    assert table.positions.max() == length - 1


@pytest.mark.parametrize("radius", [3, 5])
@pytest.mark.parametrize(("h", "w"), [(3, 3), (3, 7), (4, 6), (14, 14), (5, 20), (28, 10)])
def test_equals_the_plain_step(radius, h, w):
    step = random_step(radius)
    source, guidance = torch.randn(1, 4, h, w), torch.randn(1, 3, 2 * h, 2 * w)
    (doubled,) = upsample2x(step, [source[0].permute(1, 2, 0)], guidance[0], [(0, 0)])
    assert_close(doubled.permute(2, 0, 1)[None], step(source, guidance), atol=1e-5, rtol=0)


@pytest.mark.parametrize("radius", [3, 5])
@pytest.mark.parametrize("size", [24, 32, 48])
def test_shared_kernels_are_those_of_each_window_alone(radius, size):
    """Also at the windows' borders, where reflection makes kernels their own."""
    step = random_step(radius)
    picture = torch.randn(3, size + 16, size + 32)
    offsets = [(0, 0), (0, 16), (0, 32), (16, 0), (8, 24), (16, 32)]
    sources = [torch.randn(size // 2, size // 2, 5) for _ in offsets]
    together = upsample2x(step, sources, picture, offsets)
    for (y, x), source, ours in zip(offsets, sources, together, strict=True):
        alone = step(source.permute(2, 0, 1)[None], picture[None, :, y : y + size, x : x + size])
        assert_close(ours.permute(2, 0, 1)[None], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [26, 28, 30, 36])
def test_parts_that_are_not_made_of_tiles_are_refused(size):
    """Reflection at such a window's border reaches into its last tile but one."""
    sources = [torch.randn(size // 2, size // 2, 5)] * 2
    with pytest.raises(ValueError, match="not made of tiles"):
        upsample2x(random_step(5), sources, torch.randn(3, size + 8, size), [(0, 0), (8, 0)])
