"""The trained upsampler computes what the plain one computes, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from segearth.clips.upsamplers import upsampler_class
from segearth.models import JBUOne, JBUStack, tile_kernels
from segearth.models.tile_kernels import axis
from segearth.training.simfeatup import adaptive_conv, kernels
from segearth.training.simfeatup.adaptive_conv import axis_positions, convolve_tiles, gather, reads, scatter
from segearth.training.simfeatup.kernels import draw_drops, mix_channels, upsample
from segearth.training.simfeatup.upload import upload


def upsampler(kind, dim=3, radius=None, dtype=torch.double):
    generator = torch.Generator().manual_seed(0)
    model = upsampler_class(kind)(dim) if radius is None else upsampler_class(kind)(dim, radius)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 0)
    return model.to(dtype)


def channels_last(maps):
    return maps.permute(0, 2, 3, 1).contiguous()


def tiled(model, source, guidance, drops=None, **options):
    mixed, shift = mix_channels(model, channels_last(source), drops)
    (out,), corner = upsample(model, [mixed], guidance, drops, **options)
    return (out + shift).permute(0, 3, 1, 2), corner


def convolution_by_unfolding(source, taps, radius):
    """(B, C, h, w) and (B, T, 2h, 2w): enlarge, reflect, unfold, multiply, sum."""
    size = taps.shape[-2:]
    enlarged = F.interpolate(source, size=size, mode="bicubic", align_corners=False)
    patches = F.unfold(F.pad(enlarged, [radius] * 4, mode="reflect"), 2 * radius + 1)
    return (patches.view(len(source), source.shape[1], -1, *size) * taps[:, None]).sum(dim=2)


def convolution_over_tiles(source, taps, radius):
    """The same by way of tiles; both axes have whole ones."""
    h, w = source.shape[-2:]
    rows, columns = (axis(side, radius, source.device) for side in (h, w))
    down_positions, across_positions = (axis_positions(side, radius)[1] for side in (h, w))
    tiles = taps.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
    batch, ty, tx = tiles.shape[:3]
    across = columns.weights.to(source)[None, None].expand(batch, ty, -1, -1, -1).flatten(0, 2)
    down = rows.weights.to(source)[None, :, None].expand(batch, -1, tx, -1, -1).flatten(0, 2)
    matrices = tile_kernels._ActOnSource.apply(tiles.flatten(0, 3), across, down, radius, None)
    matrices = matrices.unflatten(0, (batch, ty, tx))
    out = convolve_tiles(channels_last(source), matrices, down_positions, across_positions)
    return out.permute(0, 3, 1, 2)


@pytest.mark.parametrize("radius", [3, 5])
@pytest.mark.parametrize("band_floats", [1, 1 << 22])
def test_convolution_and_its_gradients_agree_with_an_unfold(radius, band_floats, monkeypatch):
    monkeypatch.setattr(adaptive_conv, "BAND_FLOATS", band_floats)
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.double, requires_grad=True)
    taps = torch.randn(2, (2 * radius + 1) ** 2, 16, 24, generator=generator, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, 3, 16, 24, generator=generator, dtype=torch.double)
    results = []
    for convolve in (convolution_by_unfolding, convolution_over_tiles):
        out = convolve(source, taps, radius)
        results.append([out, *torch.autograd.grad((out * weight).sum(), [source, taps])])
    for plain, ours in zip(*results, strict=True):
        assert_close(ours, plain, atol=1e-12, rtol=1e-12)


def test_gradcheck_of_the_convolution():
    generator = torch.Generator().manual_seed(0)
    rows, columns = axis_positions(4, 1)[1], axis_positions(8, 1)[1]
    sides = len(rows[0]), len(columns[0])
    assert sides[0] < sides[1]  # a map smaller than a halo
    source = torch.randn(1, 4, 8, 2, generator=generator, dtype=torch.double, requires_grad=True)
    shape = (1, 1, 2, 64, sides[0] * sides[1])
    matrices = torch.randn(shape, generator=generator, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, m: convolve_tiles(s, m, rows, columns), (source, matrices), fast_mode=True
    )


def test_gradcheck_of_taps_and_gathering():
    generator = torch.Generator().manual_seed(0)
    rows = axis(8, 1, torch.device("cpu"))
    taps = torch.randn(128, 9, generator=generator, dtype=torch.double, requires_grad=True)
    weights = rows.weights.double()
    act_on_source, take_taps = tile_kernels._ActOnSource.apply, tile_kernels._TakeTaps.apply
    assert torch.autograd.gradcheck(lambda t: act_on_source(t, weights, weights, 1, None), (taps,), fast_mode=True)
    products = torch.randn(2, 64, 100, generator=generator, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: take_taps(p, 1), (products,), fast_mode=True)
    maps = torch.randn(2, 16, 16, 1, generator=generator, dtype=torch.double, requires_grad=True)
    enlarged, _ = axis_positions(8, 1)
    assert torch.autograd.gradcheck(lambda m: gather(m, enlarged, enlarged), (maps,), fast_mode=True)


def scattered_tile_by_tile(pieces, rows, columns, out):
    strips = out.new_zeros(*pieces.shape[:2], pieces.shape[3], *out.shape[2:])
    for number, positions in enumerate(columns):
        strips.index_add_(3, torch.tensor(positions), pieces[:, :, number])
    for number, positions in enumerate(rows):
        out.index_add_(1, torch.tensor(positions), strips[:, number])


@pytest.mark.parametrize("radius", [3, 5])
@pytest.mark.parametrize("number", [0, 1], ids=["enlarged", "source"])
def test_scatter_sums_in_the_order_of_the_tiles(number, radius):
    """To the last bit; a GPU does so as well, because no turn adds to a position twice."""
    (h, w), parts = (11, 24), (slice(1, 3), slice(0, 5))  # of 3 and 6 tiles; the last rows' tile reaches beyond the map
    rows, columns = (axis_positions(side, radius)[number] for side in (h, w))
    generator = torch.Generator().manual_seed(0)
    size = (2 * h, 2 * w) if number == 0 else (h, w)
    for down, across in ((rows, columns), (rows[parts[0]], columns[parts[1]])):
        pieces = torch.randn(2, len(down), len(across), len(down[0]), len(across[0]), 3, generator=generator)
        ours, expected = (torch.randn(2, *size, 3, generator=torch.Generator().manual_seed(1)) for _ in range(2))
        scatter(pieces, down, across, ours)
        scattered_tile_by_tile(pieces, down, across, expected)
        assert torch.equal(ours, expected)
        for one in (down, across):
            turns = reads(one, torch.device("cpu")).turns
            assert all(len(positions.unique()) == len(positions) for positions, _, _ in turns)
            assert sum(len(positions) for positions, _, _ in turns) == len(one) * len(one[0])


@pytest.mark.parametrize(("length", "most"), [(14, 6), (28, 4), (56, 4), (112, 4)])
def test_scatter_takes_few_turns(length, most):
    """However many tiles there are; a radius of 5, a crop of 224 pixels."""
    for positions in axis_positions(length, 5):
        assert len(reads(positions, torch.device("cpu")).turns) <= most


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize(("kind", "radius"), [("jbu_one", None), ("jbu_stack", None), ("jbu_one", 3), ("jbu_stack", 5)])
def test_outputs_and_gradients_are_those_of_the_plain_upsampler(kind, radius, recompute, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK_TILES", 5)
    model = upsampler(kind, radius=radius).eval()
    generator = torch.Generator().manual_seed(1)
    source = torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.double, requires_grad=True)
    guidance = torch.randn(2, 3, 48, 64, generator=generator, dtype=torch.double)
    weight = torch.randn(2, 3, 48, 64, generator=generator, dtype=torch.double)
    wanted = [source, *model.parameters()]
    plain = model(source, guidance)
    ours, corner = tiled(model, source, guidance, recompute=recompute)
    assert corner == (0, 0)
    assert_close(ours, plain, atol=1e-11, rtol=1e-11)
    gradients = [torch.autograd.grad((out * weight).sum(), wanted) for out in (plain, ours)]
    for by_plain, by_ours in zip(*gradients, strict=True):
        assert_close(by_ours, by_plain, atol=1e-9, rtol=1e-9)
        assert by_plain.abs().max() > 0


@pytest.mark.parametrize(("patch", "size"), [(14, 16), (16, 16), (32, 32)])
def test_patch_sides(patch, size):
    """The last doubling of 14 overshoots: the plain upsampler resizes then, the trained one leaves it to the jitter."""
    model = upsampler("jbu_one").eval()
    source, guidance = torch.randn(1, 3, 3, 3).double(), torch.randn(1, 3, 3 * patch, 3 * patch).double()
    ours, _ = tiled(model, source, guidance)
    assert ours.shape[-2:] == (3 * size, 3 * size)
    ours = F.interpolate(ours, size=(3 * patch, 3 * patch), mode="bilinear", align_corners=False)
    assert_close(ours, model(source, guidance), atol=1e-11, rtol=1e-11)


def test_a_window_is_a_part_of_the_whole():
    model = upsampler("jbu_one")
    source, guidance = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 64, 64).double()
    whole, _ = tiled(model, source, guidance)
    part, (top, left) = tiled(model, source, guidance, window=(11, 40, 30, 57))
    assert (top, left, *part.shape[-2:]) == (8, 24, 32, 40)
    assert_close(part, whole[:, :, 8:40, 24:64], atol=1e-12, rtol=1e-12)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("kind", [JBUOne, JBUStack])
def test_dropout_is_that_of_the_modules(kind, monkeypatch):
    """With the drawn channels put in place of `Dropout2d`'s, the plain upsampler gives the same."""
    model = upsampler("jbu_one" if kind is JBUOne else "jbu_stack")
    source, guidance = torch.randn(2, 3, 3, 3).double(), torch.randn(2, 3, 48, 48).double()
    drops = upload(draw_drops(model, 4, generators(1, 2)), source.device, source.dtype)
    ours, _ = tiled(model, source, guidance, drops)
    # in the order in which the plain modules ask for them
    asked = []
    for keys, fixups in zip(drops.keys, drops.fixups, strict=True):
        asked += [keys, fixups]
    asked.append(drops.channels)
    monkeypatch.setattr(torch.nn.Dropout2d, "forward", lambda _, x: x * asked.pop(0)[:, :, None, None])
    assert_close(ours, model(source, guidance), atol=1e-11, rtol=1e-11)
    assert not asked


def test_dropout_of_an_image_is_its_own():
    model = upsampler("jbu_one", dim=64)
    both = draw_drops(model, 4, generators(1, 2))
    second = draw_drops(model, 4, generators(2))
    assert_close(both.channels[1:], second.channels)
    assert_close(both.fixups[3][1:], second.fixups[3])
    assert not torch.equal(both.channels[0], both.channels[1])
    fixups = torch.cat([draw_drops(model, 4, generators(seed)).fixups[0] for seed in range(60)])
    assert fixups.unique().tolist() == [0.0, pytest.approx(1 / 0.9)]
    assert (fixups > 0).float().mean() == pytest.approx(0.9, abs=0.02)  # of 7260 draws: 5 sigma are 0.018


def test_tables_do_not_depend_on_the_callers_default_device():
    with torch.device("meta"):
        tables = reads(((0, 1), (1, 2)), torch.device("cpu"))
    assert tables.positions.tolist() == [[0, 1], [1, 2]]
