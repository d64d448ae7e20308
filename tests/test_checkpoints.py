"""Weights are read or refused; nothing in them is ever run."""

import argparse
import contextlib
import copy
import multiprocessing
import pickle
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segearth.checkpoints import load_strictly, read_state_dict
from segearth.errors import UserError
from segearth.loading import load_upsampler


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
    assert "expected" in message
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w"])
def test_the_content_tells_the_kind(tmp_path, state, name):
    save_file(state, tmp_path / name)
    torch.testing.assert_close(read_state_dict(tmp_path / name), state)
    for zipped in (True, False):
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=zipped)
        torch.testing.assert_close(read_state_dict(tmp_path / name), state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s, "optimizer_states": [{}]}])
def test_checkpoints_of_torch(tmp_path, state, wrap, zipped):
    torch.save(wrap(state), tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    torch.testing.assert_close(read_state_dict(tmp_path / "w.ckpt"), state)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_trainers_save_beside_weights(tmp_path, state, zipped):
    """Numbers of numpy, as open_clip's trainer saves them, and a command's options: passed over, not made."""
    beside = {
        "loss": np.float64(0.25),
        "losses": [np.float32(0.5), np.int64(3)],
        "curve": np.arange(3.0),
        "kind": np.dtype("float32"),
        "args": argparse.Namespace(lr=np.float64(1e-3), out=Path("somewhere")),
    }
    torch.save({"epoch": 3, **beside, "state_dict": state}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    allowed = set(torch.serialization.get_safe_globals())
    torch.testing.assert_close(read_state_dict(tmp_path / "w.pt"), state)
    torch.save({"state_dict": {**state, "b": np.arange(3.0)}}, tmp_path / "w.pt")
    refuses(tmp_path / "w.pt", "entry 'b' is no tensor")
    assert set(torch.serialization.get_safe_globals()) == allowed  # others were for these files only


@pytest.mark.parametrize(
    "names",
    [["state_dict"], ["model_state_dict"], ["model"], ["ema"], ["module"], ["model", "state_dict"], ["ema", "module"]],
)
def test_wrappers(tmp_path, state, names):
    content = state
    for name in reversed(names):
        content = {"epoch": 3, name: content, "optimizer": {}}
    torch.save(content, tmp_path / "w.pt")
    torch.testing.assert_close(read_state_dict(tmp_path / "w.pt"), state)


def test_of_two_wrapped_models_the_first_of_the_list_is_taken(tmp_path, state):
    torch.save({"ema": {"other": torch.rand(1)}, "model": state, "state_dict": "none"}, tmp_path / "w.pt")
    torch.testing.assert_close(read_state_dict(tmp_path / "w.pt"), state)
    endless = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "w.pt")
    refuses(tmp_path / "w.pt", "entry 'model' is no tensor but a dict")


@pytest.mark.parametrize("name", ["net", "model_ema", "ema_state_dict", "state_dict_ema"])
def test_names_of_wrapped_weights(tmp_path, state, name):
    torch.save({"epoch": 3, name: state}, tmp_path / "w.pt")
    torch.testing.assert_close(read_state_dict(tmp_path / "w.pt"), state)


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
    refuses(path, "damaged")


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
    for name in ("w.ckpt", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        refuses(tmp_path / name, "not a file of weights at all: neither of safetensors nor of torch")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.rand(2)], "holds a list instead of"),
        (torch.rand(2), "holds a Tensor instead of"),
        ({}, "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"mine": {"a": torch.rand(2)}}, "'mine' is no tensor but a dict; if the weights are in it, save it alone"),
        ({"epoch": 3}, "entry 'epoch' is no tensor but a int"),
        ({1: torch.rand(2)}, "a tensor is called 1 instead of by a name"),
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
    assert str(caught.value).startswith("the weights of w.ckpt do not fit: ")
    return str(caught.value)


def test_misfits_are_named(state):
    module = nn.ModuleDict({"a": nn.Linear(3, 4)})
    assert "they lack a.bias;" in misfit(module, {"a.weight": state["a.weight"]})
    assert "they have b, unknown to the model" in misfit(module, {**state, "b": torch.rand(1)})
    assert "a.weight is [4, 2], not [4, 3]" in misfit(module, {**state, "a.weight": torch.rand(4, 2)})
    others = {f"other.{i}": torch.rand(1) for i in range(9)}
    assert "other.0, other.1, other.2 and 6 more" in misfit(module, {**state, **others})


def test_an_upsampler_for_other_features():
    def upsampler(width):
        return nn.ModuleDict({"fixup_proj": nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(width, width, 1))})

    message = misfit(upsampler(32), upsampler(512).state_dict())
    assert "they were made for features of width 512, the model gives 32; " in message


def test_checksums(tmp_path):
    """A flipped byte in the weights: torch would load it."""
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1000)}}, path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.ones(4).numpy().tobytes())
    content[place + 1] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="checksums do not fit"):
        read_state_dict(path)


ODD_TENSORS = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(3, 3, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.rand(3, 3), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
    "buffer": lambda: nn.Buffer(torch.rand(3, 3)),
}


@pytest.mark.parametrize("kind", ODD_TENSORS)
def test_tensors_that_are_not_dense_are_refused(tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"a.weight": ODD_TENSORS[kind]()}, tmp_path / "w.pt")
    if kind == "buffer":  # a plain tensor to torch
        assert read_state_dict(tmp_path / "w.pt")["a.weight"].shape == (3, 3)
    else:
        refuses(tmp_path / "w.pt", "entry 'a.weight' is a .* tensor, not a dense one|would have to be run|damaged")


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2]
)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_that_are_no_floating_point_numbers_are_refused(tmp_path, state, kind, name):
    """Cast, they would load and give a wrong map."""
    state["a.weight"] = (10 * state["a.weight"]).to(kind)
    save_file(state, tmp_path / name) if name == "w.safetensors" else torch.save(state, tmp_path / name)
    message = misfit(nn.ModuleDict({"a": nn.Linear(3, 4)}), read_state_dict(tmp_path / name))
    assert f"a.weight is of {str(kind).removeprefix('torch.')}, not of float32, float16, bfloat16 or" in message
    assert "use those that were not quantized" in message


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_floating_point_numbers_of_any_size_are_taken(state, kind):
    module = nn.ModuleDict({"a": nn.Linear(3, 4)})
    load_strictly(module, {name: value.to(kind) for name, value in state.items()}, "w.ckpt")
    assert torch.equal(module["a"].weight, state["a.weight"].to(kind).float())
    load_strictly(nn.ParameterDict({"a": torch.rand(4, 0)}), {"a": torch.rand(4, 0)}, "w.ckpt")  # has no extremes


@pytest.mark.parametrize("value", [1e300, -1e300, 3.5e38, float("nan"), float("inf"), -float("inf")])
def test_values_beyond_float32_are_refused(state, value):
    module = nn.ModuleDict({"a": nn.Linear(3, 4)})
    before = module["a"].weight.clone()
    state = {name: tensor.double() for name, tensor in state.items()}
    state["a.bias"][2] = value
    with pytest.raises(UserError, match=r"weights of w.ckpt cannot be used: a.bias holds .* too large for float32"):
        load_strictly(module, state, "w.ckpt")
    assert torch.equal(module["a"].weight, before)  # nothing was loaded
    state["a.bias"][2] = 3.4e38
    load_strictly(module, state, "w.ckpt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_names_never_command_a_terminal(tmp_path, name):
    """Names of tensors are shown, on one line and of a length that can be read."""
    odd = "\x1b[31mred\r\n\x07" + "x" * 5000
    state = {odd: torch.rand(2), "\x9b2J": torch.rand(2), "ok": torch.tensor([[1, 2]])}
    save_file(state, tmp_path / name) if name == "w.safetensors" else torch.save(state, tmp_path / name)
    messages = [misfit(nn.ModuleDict({"a": nn.Linear(3, 4)}), read_state_dict(tmp_path / name))]
    with pytest.raises(UserError) as caught:
        load_upsampler(tmp_path / name)
    messages.append(str(caught.value))
    torch.save({odd: 1}, tmp_path / name)
    messages.append(refuses(tmp_path / name, "is no tensor"))
    for message in messages:
        assert message.isprintable()
        assert r"\x1b[31mred\r\n\x07xxx" in message.replace(r"\\", "\\")
        assert len(message) < 1000


def rewritten(path, change):
    """A checkpoint whose entries were changed, with right checksums: a function of name and content."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


class Bytes:
    """Unpickling this makes an array of a billion bytes."""

    def __reduce__(self):
        return bytearray, (10**9,)


def claims(folder):
    """Small files that claim much: a part of the message by name."""
    one, many = torch.ones(1), (500_000_000).to_bytes(4, "little")
    torch.save({"a": one.expand(2**15, 2**15)}, folder / "stride_0.pt")
    torch.save({"a": one.expand(2**15, 2**15)}, folder / "stride_0_legacy.pt", _use_new_zipfile_serialization=False)
    shared = torch.ones(100_000)
    torch.save({str(i): shared.view(1, -1) for i in range(100)}, folder / "shared.pt")
    torch.save({"a": torch.ones(7)}, folder / "numel.pt")
    rewritten(folder / "numel.pt", lambda name, content: content.replace(b"K\x07", b"J" + many))
    torch.save({"a": torch.ones(7)}, folder / "numel_legacy.pt", _use_new_zipfile_serialization=False)
    content = (folder / "numel_legacy.pt").read_bytes()
    (folder / "numel_legacy.pt").write_bytes(content.replace(b"K\x07", b"J" + many))
    for zipped in (True, False):
        name = "bytes.pt" if zipped else "bytes_legacy.pt"
        torch.save({"a": one, "b": Bytes()}, folder / name, _use_new_zipfile_serialization=zipped)
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("bomb/data.pkl", b"")
        with archive.open("bomb/data/0", "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(bytes(10**6))
    torch.save({"a": torch.ones(100_000)}, folder / "overlap.pt")
    with zipfile.ZipFile(folder / "overlap.pt", "a") as archive:
        large = archive.getinfo("overlap/data/0")
        for i in range(1, 1000):  # names of one and the same place
            archive.filelist.append(copy.copy(large))
            archive.filelist[-1].filename = f"overlap/data/{i}"
        archive._didModify = True
    header = b'{"a":{"dtype":"F32","shape":[1048576,1048576],"data_offsets":[0,4398046511104]}}'
    (folder / "shape.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    (folder / "header.safetensors").write_bytes((99_000_000).to_bytes(8, "little") + b'{"a":' + bytes(64))
    wide = {"fixup_proj.1.weight": torch.ones(10**5, 1), "up.range_temp": one}
    torch.save({**wide, "up.fixup_proj.3.bias": torch.ones(10**5)}, folder / "upsampler.pt")
    return {
        "stride_0.pt": "entry 'a' claims 1,073,741,824 values, of which the file holds fewer",
        "stride_0_legacy.pt": "entry 'a' claims 1,073,741,824 values",
        "shared.pt": "its tensors claim more values than its",
        "numel.pt": "damaged or incomplete",
        "numel_legacy.pt": "damaged or incomplete",
        "bytes.pt": "would have to be made (bytearray)",
        "bytes_legacy.pt": "would have to be made (bytearray)",
        "bomb.pt": "its entries are compressed, which torch does not do",
        "overlap.pt": "its entries claim more than its",
        "shape.safetensors": "damaged or incomplete",
        "header.safetensors": "damaged or incomplete",
        "upsampler.pt": "do not fit",
    }


def peak_mb():
    """The most memory that this process ever had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def refusals(paths, answers):
    """What `load_upsampler` says of files, and how many MB more than before the process then had."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before, found = peak_mb(), {}
    for path in paths:
        try:
            load_upsampler(path)
        except UserError as error:
            found[path.name] = str(error)
        except BaseException as error:
            found[path.name] = repr(error)
    answers.put((found, peak_mb() - before))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
def test_claims_cost_no_memory(tmp_path):
    """4 GB and more are claimed; shapes and types are looked at before anything is read or built."""
    messages = claims(tmp_path)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=refusals, args=([tmp_path / name for name in messages], answers))
    child.start()
    found, growth = answers.get(timeout=60)
    child.join()
    for name, part in messages.items():
        assert part in found[name], found[name]
    assert growth < 40
