import pytest
import torch

from segearth.compute import even_threads, memory_for
from segearth.models import DenseCLIP


@pytest.fixture
def threads():
    yield torch.set_num_threads
    torch.set_num_threads(1)


@torch.inference_mode()
def test_the_number_of_threads_does_not_change_a_bit(clip, threads):
    encoder = DenseCLIP(clip)
    windows = torch.randn(150, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = encoder(windows)
    for count in (2, 3, 5, 7, 8):
        threads(count)
        with even_threads():
            assert torch.get_num_threads() in (2, 4, 8)
            found = encoder(windows)
        assert torch.get_num_threads() == count
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


def test_threads_are_put_back_after_an_error(threads):
    threads(3)
    with pytest.raises(ValueError, match="so"), even_threads():
        raise ValueError("so")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("free", "kept", "expected"), [(60_000, 0, 2000), (900, 1100, 1000), (300, 100, 400)])
def test_memory_of_a_gpu(monkeypatch, free, kept, expected):
    """Half of what is free, together with what PyTorch keeps for itself; at least what a processor gets."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * 2**20, 80_000 * 2**20))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: (kept + 50) * 2**20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 50 * 2**20)
    assert memory_for(torch.device("cuda")) == expected
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: (free + kept + 50) * 2**20)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 50 * 2**20)
    assert memory_for(torch.device("mps")) == expected
