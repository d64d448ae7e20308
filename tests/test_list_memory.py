"""The memory that a GPU is said to need is what its tensors take: counted while they live, and without a GPU."""

from __future__ import annotations

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segearth.compute import GPU_MEMORY_MB
from segearth.models import JBUOne, JBUStack, SegEarth, factored
from segearth.models.flat import TorchOperations

CPU, META = torch.device("cpu"), torch.device("meta")  # tensors on "meta" have a size, but no numbers


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that were made and are not gone yet."""

    def __init__(self):
        super().__init__()
        self.live, self.peak = {}, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        with self:
            parts = operation.decompose(*args, **kwargs or {})
        if parts is not NotImplemented:
            return parts
        found = operation(*args, **kwargs or {})
        self.live = {key: one for key, one in self.live.items() if not one[0].expired()}
        given = {tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if torch.is_tensor(tensor)}
        for tensor in tree_leaves(found):
            if torch.is_tensor(tensor) and (storage := tensor.untyped_storage())._cdata not in given:
                self.live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return found


class Encoded(torch.nn.Module):
    """Features of the shape of a CLIP's."""

    has_cls, width = True, 32

    def __init__(self, dim, patch, dtype):
        super().__init__()
        self.dim, self.patch_size = dim, patch
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=dtype))

    def forward(self, image):
        n, _, height, width = image.shape
        grid = (height // self.patch_size, width // self.patch_size)
        return self.weight.new_empty(n, self.dim, *grid), self.weight.new_empty(n, self.dim)


@pytest.fixture(params=["PyTorch", "Triton"])
def operations(request, monkeypatch):
    """Those of a GPU; Triton's kernels only take their memory."""
    if request.param == "PyTorch":
        made = lambda _, __, scratch_mb=0.0: TorchOperations(scratch_mb)  # noqa: E731
    else:
        pytest.importorskip("triton")
        from segearth.models import triton_kernels

        for name in ("keys", "taps", "fold", "upsample2x", "norms"):
            kernel = type("Kernel", (), {"__getitem__": lambda self, _: lambda *_, **__: None})()
            monkeypatch.setattr(triton_kernels, f"{name}_kernel", kernel)
        made = lambda *_: triton_kernels.TritonOperations()  # noqa: E731
    monkeypatch.setattr(factored, "operations_for", made)
    return request.param


def model_of(kind=JBUOne, dim=512, queries=9, patch=16, dtype=torch.float32, **options):
    upsampler = kind(dim).requires_grad_(False).eval()
    return SegEarth(Encoded(dim, patch, dtype), torch.ones(queries, dim), torch.arange(queries), upsampler, **options)


@torch.inference_mode()
def measured(model, side, images, memory, device=META):
    """Bytes of the working set: at the most, beside the windows' sums and the logits that are returned."""
    image = torch.empty(images, 3, *side, device=device)
    model.to(device).logits(image[:1], side, max_memory_mb=memory)  # from then on tables are known
    with Live() as live:
        found = model.logits(image, side, max_memory_mb=memory)
    return live.peak - found.nbytes


@pytest.mark.parametrize(
    ("side", "images", "memory", "options"),
    [
        ((448, 448), 1, 2000, {}),
        ((448, 448), 1, 400, {}),
        ((448, 448), 2, 400, {"dtype": torch.float16}),
        ((300, 448), 1, 400, {"slide_stride": 75}),  # windows that share nothing
        ((300, 1000), 1, 800, {"queries": 60}),  # logits wait for their turn
        ((300, 448), 2, 400, {"kind": JBUStack, "dim": 768}),
        ((336, 336), 1, 400, {"patch": 8, "dtype": torch.bfloat16}),
        ((500, 500), 2, 2000, {"patch": 32, "slide_crop": 384, "slide_stride": 192}),
        ((60, 700), 1, 400, {"slide_crop": 0}),
    ],
)
def test_the_estimate_is_what_is_taken(operations, side, images, memory, options):
    model = model_of(**options)
    grid = model.grid(*side)
    window = model.memory(grid)
    expected = window.working_set(grid, memory, images)
    assert expected <= max(memory * 2**20, 1.3 * (window.upsampler + window.logits + window.fixed))
    found = measured(model, side, images, memory)
    assert found <= expected
    if operations == "PyTorch":  # Triton's count is of windows that share no kernels, and of the most taps
        assert found >= 0.4 * expected


@pytest.mark.usefixtures("operations")
def test_numbers_take_what_shapes_do():
    model = model_of(dim=96, slide_crop=64, slide_stride=32)
    found = measured(model, (96, 128), 2, 20, CPU)
    assert found == measured(model, (96, 128), 2, 20, META)


@pytest.mark.usefixtures("operations")
def test_windows_that_are_resized():
    """Patches of 14 pixels become 16, and windows are resized one after another (where "meta" takes other ways)."""
    model = model_of(patch=14, dim=96, slide_crop=70, slide_stride=35)
    expected = model.memory(model.grid(105, 105)).working_set(model.grid(105, 105), 60)
    assert measured(model, (105, 105), 1, 60, CPU) <= expected


@pytest.mark.usefixtures("operations")
def test_sixteen_images_fit_into_8_gb():
    """With what a GPU gets, 2000 MB; the sums of their windows and their logits included."""
    model = model_of()
    grid = model.grid(448, 448)
    logits = 16 * 4 * 9 * 448 * 448
    expected = model.memory(grid).working_set(grid, GPU_MEMORY_MB, 16) + 3 * logits
    assert measured(model, (448, 448), 16, GPU_MEMORY_MB) + logits <= expected <= 8e9
