"""Checkpoints: files of torch, old and new, and safetensors, with odd content, and with code that must not run."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save
from torch import Tensor

from fuzz.children import Case
from fuzz.mutations import NUMBERS, members, mutated, zipped
from segearth.checkpoints import read_notes, read_state_dict
from segearth.files import is_whole_safetensors
from segearth.loading import load_clip, read_upsampler
from segearth.models import JBUOne

ARCHITECTURE = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 8, "heads": 1, "layers": 1},
}
DTYPES = tuple(kind for kind in vars(torch).values() if isinstance(kind, torch.dtype))
_BOMB = 1 << 26  # bytes of zeros, which deflate makes a thousandth of


class Call:
    """Pickled, it is a call: whoever unpickles it makes that."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Checkpoints:
    """Cases of checkpoints."""

    name = "checkpoints"

    def __init__(self, _: Path) -> None:
        torch.manual_seed(0)
        self.clip = open_clip.CLIP(**ARCHITECTURE).state_dict()
        self.upsampler = JBUOne(8, radius=1).state_dict()
        self.bomb = zipped({"archive/data/0": bytes(_BOMB)}, zipfile.ZIP_DEFLATED)

    def prepare(self, case: Case) -> Callable[[], object]:
        """Writes weights, and the architecture that they are said to have."""
        random = case.random
        of_clip = random.random() < 0.6
        state: Any = dict(self.clip if of_clip else self.upsampler)
        if random.random() < 0.6:
            state = _odd(random, state, case)
        data = self._changed(random, _saved(random, state))
        path = case.inputs / f"weights{random.choice(('.pt', '.safetensors', '.bin', '', '.txt', '.JSON'))}"
        path.write_bytes(data)
        architecture = case.inputs / "architecture.json"
        text = json.dumps(_odd_config(random) if random.random() < 0.2 else ARCHITECTURE).encode()
        architecture.write_bytes(mutated(random, text) if random.random() < 0.1 else text)

        def attack() -> None:
            way = random.randrange(10)
            if way == 0:
                is_whole_safetensors(path)
                read_state_dict(path)
                if data[8:9] == b"{":
                    read_notes(path)
            elif of_clip:
                finite = [one.isfinite().all() for one in load_clip(path, str(architecture)).parameters()]
                assert all(finite)
            else:
                read_upsampler(path)

        return attack

    def _changed(self, random: Random, data: bytes) -> bytes:
        """The file after what happens to files."""
        chance = random.random()
        if chance < 0.3:
            return data
        if zipfile.is_zipfile(io.BytesIO(data)) and chance < 0.7:
            return self._other_zip(random, data)
        if data[8:9] == b"{" and chance < 0.7:
            return _other_header(random, data)
        return mutated(random, data, (self.bomb[:200],))

    def _other_zip(self, random: Random, data: bytes) -> bytes:
        """A zip of torch with a member that is another one, and right checksums."""
        content = members(data)
        name = random.choice(list(content))
        if random.random() < 0.6:
            name = next((one for one in content if one.endswith("data.pkl")), name)
        way = random.randrange(6)
        if way == 0:
            content.pop(name)
        elif way == 1:
            content[random.choice(("../../evil", "/evil", "archive/constants.pkl", "archive/code/x.py"))] = content[name]
        elif way == 2:
            content[name] = bytes(_BOMB)
            return zipped(content, zipfile.ZIP_DEFLATED)
        else:
            content[name] = mutated(random, content[name])
        compression = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        return zipped(content, compression)


def _saved(random: Random, state: Any) -> bytes:
    """Bytes of a file of one of the kinds."""
    buffer = io.BytesIO()
    if isinstance(state, dict) and random.random() < 0.3:
        try:
            return save(state, metadata=random.choice((None, {"a\x1b[31m": "b\n"})))
        except Exception:  # not everything can be in such a file
            pass
    try:
        torch.save(state, buffer, _use_new_zipfile_serialization=random.random() < 0.7)
    except Exception:
        buffer = io.BytesIO(pickle.dumps("nothing that torch can save", protocol=random.randint(0, 4)))
    return buffer.getvalue()


def _odd(random: Random, state: dict[str, Tensor], case: Case) -> Any:
    """Weights that are not as they should be."""
    name = random.choice(list(state))
    value = state[name]
    way = random.randrange(16)
    if way == 0:
        state[name] = _of_dtype(value, random.choice(DTYPES))
    elif way == 1:
        state = {key: _of_dtype(one, random.choice(DTYPES)) for key, one in state.items()}
    elif way == 2:
        state[name] = random.choice(_LAYOUTS)(value.float())
    elif way == 3:
        shape = random.choice(((), (0,), (1,), (2**40,), (3, 0, 5), (2**20, 2**20), (1,) * 60, (2**61,)))
        state[name] = torch.zeros(()).expand(shape)
    elif way == 4:
        state[name] = value.float() * random.choice((float("nan"), float("inf"), 3e38))
    elif way == 5:
        state[name] = value.double() * 1e300
    elif way == 6:
        state.pop(name)
    elif way == 7:
        other = random.choice(("a\x1b[31mb", "a\nb", "\udc80", "x" * 10_000, "", "../a", "module." * 50 + name, name + "2"))
        state[other] = state.pop(name)
    elif way == 8:
        return {random.choice(("state_dict", "model", "ema", "module", "weights")): state, "epoch": 3, "args": {"a": [1]}}
    elif way == 9:
        prefix = random.choice(("module.", "model.", "clip.", "_orig_mod.", "module.module."))
        return OrderedDict((prefix + key, one) for key, one in state.items())
    elif way == 10:
        return random.choice((list(state.values()), value, name, 7, None, {1: value}, {name: 1.5}, {name: state}, set()))
    elif way == 11:
        return {"state_dict": state, "loss": np.float64(0.5), "array": np.arange(3), "kind": np.dtype("f4")}
    elif way == 12:
        nested: Any = state
        for _ in range(random.choice((1, 5, 900))):
            nested = {"model": nested}
        return nested
    elif way == 13:
        state.update((f"extra.{i}", torch.zeros(())) for i in range(random.choice((1, 3000))))
    else:
        return _code(random, state, case)
    return state


def _code(random: Random, state: dict[str, Tensor], case: Case) -> Any:
    """Weights with something that runs when it is unpickled without care."""
    marker = str(case.marker)
    evil = random.choice(
        (
            Call(os.system, f"touch {marker}"),
            Call(builtins.open, marker, "w"),
            Call(builtins.eval, f"open({marker!r}, 'w')"),
            Call(builtins.exec, f"open({marker!r}, 'w')"),
            Call(subprocess.Popen, ["touch", marker]),
            Call(torch.load, str(case.secret)),
            Call(np.load, str(case.secret)),
            Call(getattr, os, "system"),
            Call(builtins.__import__, "antigravity"),
            Call(torch.hub.load, "a/b", "c"),
            Call(bytearray, 1 << 40),
        )
    )
    name = random.choice(list(state))
    return random.choice(({**state, name: evil}, {"state_dict": state, "optimizer": evil}, evil, [evil], {name: [evil]}))


def _of_dtype(value: Tensor, dtype: torch.dtype) -> Tensor:
    try:
        return value.to(dtype)
    except Exception:  # quantized types, for instance
        return value


_LAYOUTS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda value: value.to_sparse(),
    lambda value: value.reshape(-1, 1).to_sparse_csr(),
    lambda value: value.to("meta"),
    lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    lambda value: torch.nested.nested_tensor([value.reshape(-1), value.reshape(-1)[:1]]),
    lambda value: value.reshape(-1)[:1].expand(value.shape),
    lambda value: value.t() if value.ndim == 2 else value.flip(0) if value.ndim else value,
    lambda value: torch.nn.Parameter(value),
    lambda value: value.reshape(-1)[0],
)


def _other_header(random: Random, data: bytes) -> bytes:
    """A file of safetensors whose header says something else."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors = [name for name in header if name != "__metadata__"]
    if not tensors:
        return data
    one = header[random.choice(tensors)]
    way = random.randrange(6)
    if way == 0:
        one["dtype"] = random.choice(("F8_E4M3", "F8_E5M2", "I8", "U64", "BOOL", "C64", "F4", "X", "", None, 7))
    elif way == 1:
        one["shape"] = random.choice(([], [-1], [2**63], [2**40, 2**40], [0], "x", [1.5], [10**30], [1] * 3000))
    elif way == 2:
        one["data_offsets"] = random.choice(([0, 1], [1, 0], [-1, 4], [0, 2**62], [0], None, [4, 4]))
    elif way == 3:
        header["__metadata__"] = random.choice(({"a": 1}, {"a": "b" * 10**6}, [], "x", {"format": "tf"}))
    elif way == 4:
        header[random.choice(("", "a\0b", "\ud800", "x" * 5000))] = one
    text = json.dumps(header).encode()
    if way == 5:
        text = random.choice((b"[" * 100_000, b"{}", b"", b'{"a":' * 5000, text[:-1], text + b" " * 100))
    size = random.choice((*NUMBERS, 2**63, 2**64 - 1)) if random.random() < 0.1 else len(text)
    return struct.pack("<Q", size) + text + data[8 + length :]


def _odd_config(random: Random) -> Any:
    """An architecture that is not that of the weights, or of no CLIP."""
    config: Any = json.loads(json.dumps(ARCHITECTURE))
    part = config[random.choice(("vision_cfg", "text_cfg"))]
    way = random.randrange(5)
    if way == 0:
        part[random.choice(list(part))] = random.choice((0, -1, 1.5, None, "8", [8], 2**40, 10**30, float("nan"), True))
    elif way == 1:
        part[random.choice(("timm_model_name", "hf_model_name"))] = random.choice(("hf-hub:a/b", "local-dir:/etc", "x"))
    elif way == 2:
        config.pop(random.choice(list(config)))
    elif way == 3:
        return random.choice(([], 7, None, "CLIP", {"model_cfg": config}, {"model_cfg": 3}, {}))
    else:
        part[random.choice(("unknown", "patch_dropout", "attentional_pool", "pool_type", "no_ln_pre"))] = random.choice(
            (0, 1, True, "x", None, -1)
        )
    return config
