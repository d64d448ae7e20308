"""Weights are read or refused; nothing in them is ever run."""

import contextlib
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segearth.checkpoints import load_strictly, read_state_dict
from segearth.errors import UserError


class Attack:
    """Unpickling this creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def state():
    return {"a.weight": torch.rand(4, 3), "a.bias": torch.rand(4)}


def refuses(path, match):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=match) as caught:
            read_state_dict(path)
    message = str(caught.value)
    assert str(path) in message
    assert "Expected" in message
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def test_safetensors(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    torch.testing.assert_close(read_state_dict(tmp_path / "w.safetensors"), state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s, "optimizer_states": [{}]}])
def test_checkpoints_of_torch(tmp_path, state, wrap, zipped):
    torch.save(wrap(state), tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    torch.testing.assert_close(read_state_dict(tmp_path / "w.ckpt"), state)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_code_is_never_run(tmp_path, state, kind):
    marker, path = tmp_path / "marker", tmp_path / "w.ckpt"
    content = {"state_dict": {**state, "b": Attack(marker)}}
    if kind == "bare":
        path.write_bytes(pickle.dumps(content["state_dict"]["b"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    message = refuses(path, "would have to be run|damaged")
    assert not marker.exists()
    assert "weights_only" not in message
    torch.load(path, weights_only=False) if kind != "bare" else pickle.loads(path.read_bytes())
    assert marker.exists()  # the attack is a real one


def test_an_object_that_is_refused_is_named(tmp_path):
    torch.save({"state_dict": {"b": Attack(tmp_path / "marker")}}, tmp_path / "w.ckpt")
    refuses(tmp_path / "w.ckpt", r"objects that would have to be run \([\w.]+\)")


def test_torchscript_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    refuses(tmp_path / "w.pt", "TorchScript archive, which is a program")


@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors"])
def test_missing(tmp_path, name):
    refuses(tmp_path / name, "there is no such file")
    (tmp_path / name).mkdir()
    refuses(tmp_path / name, "it is a folder")


@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors", "legacy.ckpt"])
@pytest.mark.parametrize("keep", [0, 1, 3, 20, 0.3, 0.9, -1])
def test_truncated(tmp_path, state, name, keep):
    path = tmp_path / name
    if name == "w.safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "w.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    refuses(path, "damaged|cannot be read|not a file of torch")


@pytest.mark.parametrize("start", range(0, 1200, 150))
def test_damaged_in_the_middle(tmp_path, state, start):
    """Either refused with a UserError or, where padding was hit, read; never anything else."""
    torch.save(state, tmp_path / "w.ckpt")
    content = bytearray((tmp_path / "w.ckpt").read_bytes())
    content[start : start + 60] = b"\x93" * len(content[start : start + 60])
    (tmp_path / "w.ckpt").write_bytes(content)
    with contextlib.suppress(UserError):
        assert read_state_dict(tmp_path / "w.ckpt").keys() == state.keys()


@pytest.mark.parametrize("content", [b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n", bytes(9999)])
def test_another_file_in_its_place(tmp_path, content):
    (tmp_path / "w.ckpt").write_bytes(content)
    refuses(tmp_path / "w.ckpt", "not a file of torch at all")
    (tmp_path / "w.safetensors").write_bytes(content)
    refuses(tmp_path / "w.safetensors", "damaged")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.rand(2)], "holds a list instead of"),
        (torch.rand(2), "holds a Tensor instead of"),
        ({}, "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"epoch": 3}, "entry 'epoch' is a int, not a tensor"),
        ({1: torch.rand(2)}, "entry 1 is a Tensor"),
    ],
)
def test_something_else_than_named_tensors(tmp_path, content, match):
    torch.save(content, tmp_path / "w.ckpt")
    refuses(tmp_path / "w.ckpt", match)


def test_strict_loading_casts(state):
    module = nn.ModuleDict({"a": nn.Linear(3, 4)})
    half = {name: tensor.half() for name, tensor in state.items()}
    load_strictly(module, half, "w.ckpt")
    assert module["a"].weight.dtype == torch.float32
    torch.testing.assert_close(module.state_dict()["a.weight"], half["a.weight"].float(), rtol=0, atol=0)


def misfit(module, state):
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_strictly(module, state, "w.ckpt")
    torch.testing.assert_close(dict(module.state_dict()), before)  # nothing was loaded
    assert str(caught.value).startswith("The weights of w.ckpt do not fit: ")
    return str(caught.value)


def test_misfits_are_named(state):
    module = nn.ModuleDict({"a": nn.Linear(3, 4)})
    assert "they lack a.bias." in misfit(module, {"a.weight": state["a.weight"]})
    assert "they have b, unknown to the model" in misfit(module, {**state, "b": torch.rand(1)})
    assert "a.weight is [4, 2], not [4, 3]" in misfit(module, {**state, "a.weight": torch.rand(4, 2)})
    others = {f"other.{i}": torch.rand(1) for i in range(9)}
    assert "other.0, other.1, other.2 and 6 more" in misfit(module, {**state, **others})


def test_an_upsampler_for_other_features():
    def upsampler(width):
        return nn.ModuleDict({"fixup_proj": nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(width, width, 1))})

    message = misfit(upsampler(32), upsampler(512).state_dict())
    assert "they were made for features of width 512, the model gives 32; " in message


def test_checksums_and_numbers(tmp_path):
    """A flipped byte in the weights, and weights that are no numbers: torch would load both."""
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1000)}}, path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.ones(4).numpy().tobytes())
    content[place + 1] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="checksums do not fit"):
        read_state_dict(path)
    torch.save({"a": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(UserError, match="'a' holds infinite numbers or none"):
        read_state_dict(path)
