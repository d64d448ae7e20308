"""The jitter as matrices is the jitter as it is described."""

import pytest
import simfeatup_reference as plain
import torch
from torch.testing import assert_close

from segearth.training.simfeatup.draws import Purpose, generator, key
from segearth.training.simfeatup.jitter import (
    Jitter,
    blocks,
    blur_matrix,
    draw_jitter,
    fit_matrix,
    resample,
    support,
)


def picture(size, channels=2):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def applied(maps, rows, columns, side):
    out = resample(maps.permute(0, 2, 3, 1).contiguous(), blocks(rows, side), blocks(columns, side))
    return out.permute(0, 3, 1, 2)


@pytest.mark.parametrize("number", range(12))
def test_drawn_jitters(number):
    maps = picture(48)
    jitter = draw_jitter(torch.Generator().manual_seed(number), 48)
    rows, columns = jitter.matrices(48)
    expected = plain.jittered(maps, *jitter)
    assert_close(applied(maps, rows, columns, 16), expected, atol=1e-12, rtol=1e-12)
    blur = blur_matrix(48)
    assert_close(applied(maps, blur @ rows, blur @ columns, 16), plain.blurred(expected), atol=1e-12, rtol=1e-12)


def test_jitters_are_distributed_as_described():
    drawn = [draw_jitter(torch.Generator().manual_seed(number), 224) for number in range(2000)]
    zooms = torch.tensor([one.zoom for one in drawn])
    assert (zooms == 1).float().mean() == pytest.approx(0.5, abs=0.06)
    assert zooms[zooms > 1].mean() == pytest.approx(1.5, abs=0.05)
    assert sum(one.flip for one in drawn) == pytest.approx(1000, abs=120)
    still = [one for one in drawn if one.zoom == 1]
    assert {one.top for one in still} == {one.left for one in still} == set(range(41))
    assert all(one.top <= int(264 * one.zoom) - 224 for one in drawn)


def test_only_what_is_seen_is_needed():
    maps = picture(48)
    rows, columns = Jitter(1.9, 30, 41, True).matrices(48)
    (top, bottom), (left, right) = support(rows), support(columns)
    assert bottom - top < 30
    part = maps[:, :, top:bottom, left:right].permute(0, 2, 3, 1).contiguous()
    out = resample(part, blocks(rows, 16).after(top), blocks(columns, 16).after(left)).permute(0, 3, 1, 2)
    assert_close(out, applied(maps, rows, columns, 16))


def test_fit_is_torchs_bilinear_resizing():
    maps = picture(64)
    expected = torch.nn.functional.interpolate(maps, size=(56, 56), mode="bilinear", align_corners=False)
    assert_close(applied(maps, fit_matrix(64, 56), fit_matrix(64, 56), 14), expected)


def test_gradcheck():
    maps = picture(24, channels=1)[:1].permute(0, 2, 3, 1).contiguous().requires_grad_()
    rows, columns = (blocks(one, 8) for one in Jitter(1.3, 20, 11, True).matrices(24))
    assert torch.autograd.gradcheck(lambda m: resample(m, rows, columns), (maps,), fast_mode=True)


def test_keys_differ():
    keys = {
        key(seed, purpose, *numbers) for seed in (0, 1) for purpose in Purpose for numbers in ((), (0,), (0, 0), (1,))
    }
    assert len(keys) == 2 * len(Purpose) * 4
    assert generator(1, Purpose.CROP, 5).initial_seed() == key(1, Purpose.CROP, 5)
