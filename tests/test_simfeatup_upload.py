"""Many small tensors in one copy."""

from typing import NamedTuple

import torch
from torch.testing import assert_close

from segearth.training.simfeatup import upload as module
from segearth.training.simfeatup.upload import upload


def test_on_the_cpu_nothing_is_copied():
    one, other = torch.rand(3, 2), torch.arange(4)
    first, second = upload([one, other], torch.device("cpu"), torch.float32)
    assert first is one
    assert_close(second, torch.tensor([0.0, 1.0, 2.0, 3.0]))


class Pair(NamedTuple):
    tensor: torch.Tensor
    number: int


class Device:
    """Stands for a GPU: takes the copy and keeps it on the CPU."""

    type = "cuda"

    def __init__(self):
        self.copies = []


def test_one_copy_that_nothing_waits_for(monkeypatch):
    device, real = Device(), torch.Tensor.to

    def to(tensor, target, **options):
        if target is device:
            device.copies.append((tensor, options))
            return tensor.clone()
        return real(tensor, target, **options)

    pinned = []
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    pair = Pair(torch.rand(3, 2, dtype=torch.double), 7)
    tree = [pair, (torch.arange(33), torch.tensor(5)), [torch.zeros(0, 4)], None, "text"]
    found = upload(tree, device, torch.float32)
    assert len(device.copies) == len(pinned) == 1
    assert device.copies[0][1] == {"non_blocking": True}
    assert device.copies[0][0].dtype == torch.float32, "converted before: not every GPU has float64"
    (first, seven), (second, third), [fourth], none, text = found
    assert (type(found[0]), seven, none, text) == (Pair, 7, None, "text")
    for one, other in zip((first, second, third, fourth), (pair.tensor, *tree[1], *tree[2]), strict=True):
        assert_close(one, other.float(), atol=0, rtol=0)
        assert one.storage_offset() % module.ALIGNED == 0
    assert upload([], device, torch.float32) == []
