import copy

import pytest
import torch
from conftest import mini_clip

from segearth.models import DenseCLIP
from segearth.models.replay import Replay


def test_on_a_processor_the_encoder_is_called_as_it_is():
    encoder, image = DenseCLIP(mini_clip()), torch.randn(2, 3, 64, 64)
    replay = Replay()
    for _ in range(4):
        for ours, expected in zip(replay(encoder, image), encoder(image), strict=True):
            assert torch.equal(ours, expected)
    assert not replay.graphs
    assert not copy.deepcopy(replay).seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_graphs_give_the_encoders_numbers():
    """Also after a change of the weights, in place or not, and for shapes that come back."""
    encoder, replay = DenseCLIP(mini_clip()).eval().cuda().half(), Replay()
    for turn in range(12):
        if turn == 6:
            encoder.visual.conv1.weight.data.mul_(0.5)
        if turn == 8:
            encoder.visual.conv1.weight.data = encoder.visual.conv1.weight.data * 3
        image = torch.randn(1 + turn // 4, 3, 64, 64, device="cuda")
        for ours, expected in zip(replay(encoder, image), encoder(image), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)
    assert replay.graphs
