"""How many operations a GPU is asked for: counted without one, on tensors that have a shape but no numbers."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import open_clip
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segearth.models import DenseCLIP, JBUOne, SegEarth, factored
from segearth.models.flat import TorchOperations

DIM = 208  # more than a window has patches, as in every CLIP
META = torch.device("meta")


class Launches(TorchDispatchMode):
    """Counts operations that write a tensor: no views, no allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        with self:
            parts = operation.decompose(*args, **kwargs or {})
        if parts is not NotImplemented:
            return parts
        view = any(a.alias_info is not None and not a.alias_info.is_write for a in operation._schema.arguments)
        name = operation._schema.name
        self.count += not (view or "empty" in name or name == "aten::_unsafe_view")
        return operation(*args, **kwargs or {})


class Kernel:
    """Stands for a Triton kernel."""

    def __init__(self, launches: Launches) -> None:
        self.launches = launches

    def __getitem__(self, _):
        return self

    def __call__(self, *_, **__):
        self.launches.count += 1


class Encoded(torch.nn.Module):
    """The shapes that a ViT-B/16 gives; its own launches are counted apart."""

    dim, width, patch_size, has_cls = DIM, 768, 16, True

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        n, _, height, width = image.shape
        grid = (height // 16, width // 16)
        return image.new_empty(n, DIM, *grid), image.new_empty(n, DIM)


def encoder_launches() -> int:
    """Of a ViT with the twelve blocks of ViT-B/16; they do not depend on its width."""
    vision = {"image_size": 224, "layers": 12, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
    encoder = DenseCLIP(open_clip.CLIP(DIM, vision, text, quick_gelu=True).eval()).requires_grad_(False)
    with torch.inference_mode(), Launches() as launches:
        encoder(torch.zeros(1, 3, 224, 224))
    return launches.count


def map_launches(launches: Launches, image=(448, 448), queries=9) -> int:
    """From windows to labels, for an image whose tables are known from one before it."""
    model = SegEarth(Encoded(), torch.ones(queries, DIM), torch.arange(queries), JBUOne(DIM).requires_grad_(False))
    with torch.inference_mode():
        model.scores(torch.ones(1, queries, 2, 2))
        with launches:  # these look at numbers
            model.labels(model.scores(torch.ones(1, queries, 2, 2)))
        counted = launches.count
        model.to(META)
        model.logits(torch.empty(1, 3, *image, device=META), image, max_memory_mb=2000)
        launches.count, model.encoder.calls = counted, 0
        with launches:
            model.logits(torch.empty(1, 3, *image, device=META), image, max_memory_mb=2000)
    return launches.count + model.encoder.calls * encoder_launches()


@pytest.fixture
def launches():
    return Launches()


def test_a_gpu_is_asked_for_few_operations(monkeypatch, launches):
    """Of one image of nine windows."""
    monkeypatch.setattr(factored, "operations_for", lambda _, __, scratch_mb=0.0: TorchOperations(scratch_mb))
    count = map_launches(launches)
    assert 250 < count <= 400


def test_with_triton_even_fewer(monkeypatch, launches):
    pytest.importorskip("triton")
    from segearth.models import triton_kernels

    for name in ("keys", "taps", "fold", "upsample2x", "norms"):
        monkeypatch.setattr(triton_kernels, f"{name}_kernel", Kernel(launches))
    monkeypatch.setattr(factored, "operations_for", lambda *_: triton_kernels.TritonOperations())
    on, gpu_of = [], triton_kernels.gpu_of
    monkeypatch.setattr(triton_kernels, "gpu_of", lambda tensor: on.append(tensor.device) or gpu_of(tensor))
    count = map_launches(launches)
    assert 150 < count <= 300
    assert len(on) >= 3 * 4  # matrices, double and norms: each on the GPU of what it is given
    assert isinstance(gpu_of(torch.empty(0)), nullcontext)
    assert gpu_of(SimpleNamespace(device=torch.device("cuda:1"))).idx == 1


def test_many_names_are_summed_in_few_operations(launches):
    """Each pixel by itself, and to the same scores as on a processor."""
    from segearth.models.scores import softmax, sum_of_halves

    for count in (1, 2, 3, 9, 64, 77):
        powers = torch.rand(2, count, 3, 5, generator=torch.Generator().manual_seed(count))
        total = sum_of_halves(powers.clone())
        torch.testing.assert_close(total, powers.sum(dim=1, keepdim=True), atol=0, rtol=1e-6)
        assert torch.equal(sum_of_halves(powers[..., 1:3].clone()), total[..., 1:3])
    with torch.inference_mode(), launches:
        softmax(torch.empty(1, 77, 8, 8, device=META))
    assert launches.count <= 16
