import pytest
import torch

from segearth.compute import even_threads
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
