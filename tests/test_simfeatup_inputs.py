"""What a step draws and computes beforehand goes to a GPU in one copy; PyTorch's meta device stands for the GPU."""

from collections import Counter

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segearth.training.simfeatup import inputs, losses
from segearth.training.simfeatup.draws import generator
from segearth.training.simfeatup.images import Batch
from segearth.training.simfeatup.inputs import step_inputs
from segearth.training.simfeatup.recipe import UpsamplerRecipe
from segearth.training.simfeatup.step import Trainee, accumulate

CPU = torch.device("cpu")


class Operations(TorchDispatchMode):
    """Counts what a GPU is asked to do, and of it what is between it and the CPU."""

    def __init__(self):
        super().__init__()
        self.launches, self.copies = Counter(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        devices = {one.device.type for one in tree_leaves((args, kwargs, out)) if isinstance(one, torch.Tensor)}
        if "meta" not in devices:
            return out
        if len(devices) > 1 or func is torch.ops.aten._local_scalar_dense.default:
            self.copies.append((str(func), (kwargs or {}).get("non_blocking", False)))
        returns = func._schema.returns
        is_view = bool(returns) and all(one.alias_info and not one.alias_info.is_write for one in returns)
        if not is_view and func.overloadpacket not in (torch.ops.aten._unsafe_view, torch.ops.aten.empty):
            self.launches[str(func)] += 1
        return out


def test_a_step_on_a_gpu_takes_one_copy_and_waits_for_nothing(monkeypatch):
    """One jitter of two crops of 112 pixels; the features are narrow."""
    monkeypatch.setattr(inputs, "generator", lambda *numbers, device="cpu": generator(*numbers))
    monkeypatch.setattr(losses, "draw_pixels", lambda shape, _: torch.empty(shape, dtype=torch.bool, device="meta"))
    recipe = UpsamplerRecipe(jitters=1)
    trainee, images = Trainee(8, 16, recipe).to("meta"), torch.empty(2, 3, 112, 112, device="meta")

    def count(step):
        with Operations() as operations:
            accumulate(trainee, lambda x: x.new_empty(len(x), 8, 7, 7), Batch(step, [0, 1], images, 2), recipe, 0)
        return operations

    count(0)  # the bicubic weights are copied once in a training
    new = count(1)  # another cut of the map: tables of positions are copied, once
    assert set(new.copies) == {("aten._to_copy.default", True)}
    assert len(new.copies) < 12
    again = count(1)
    assert again.copies == [("aten._to_copy.default", True)]
    assert again.launches["aten.index_add_.default"] <= 12 * 2 * 5, "twelve scatters along two axes, in some turns each"


@pytest.mark.parametrize("dropout", [True, False])
def test_draws_belong_to_samples_and_not_to_parts(dropout):
    recipe = UpsamplerRecipe(jitters=2, dropout=dropout)
    upsampler = Trainee(8, 16, recipe).upsampler

    def made(samples, *parts):
        batch = Batch(3, samples, torch.empty(len(samples), 3, 48, 48, device=CPU), 2)
        return step_inputs(upsampler, batch, [slice(*part) for part in parts], 16, recipe, 5)

    for whole, apart in zip(made([4, 7], (0, 2)), made([4, 7], (0, 1), (1, 2)), strict=True):
        assert whole.matrices.window == apart.matrices.window
        (both,), pair = whole.parts, apart.parts
        for name in ("projection", "kept"):
            assert_close(getattr(both, name), torch.cat([getattr(one, name) for one in pair]), atol=0, rtol=0)
        seeds = [one.initial_seed() for part in pair for one in part.pixels]
        assert [one.initial_seed() for one in both.pixels] == seeds
        assert len(set(seeds)) == 2 * dropout
        assert (both.drops is not None) == dropout
    first, second = made([4], (0, 1))
    assert not torch.equal(first.parts[0].projection, second.parts[0].projection)
    with torch.device("meta"):
        assert_close(made([4], (0, 1))[0].parts[0].kept, first.parts[0].kept, atol=0, rtol=0)
