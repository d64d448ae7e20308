"""Triton's kernels are compiled for the GPUs that they are meant for, where there is none."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton comes with torch for Linux")

from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from segearth.models.triton_kernels import call_all

CPU = torch.device("cpu")
MOST_SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes of shared memory that a block may have


class NoGPU:
    """What Triton asks of a driver before it compiles."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_device(self):
        return self.capability  # what is compiled is kept by device

    def get_current_stream(self, _=None):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)


# with both types of maps for both of them it takes twice as long and compiles the same lines
@pytest.mark.parametrize(("capability", "dtype"), [(80, torch.float32), (90, torch.float16)])
def test_kernels_compile(capability, dtype, tmp_path, monkeypatch):
    """As they are called: with the types, constants and strides of their launches, down to machine code."""
    compiled, run = {}, JITFunction.run

    def compile_only(self, *args, **options):
        compiled[self.__name__] = run(self, *args, **options | {"warmup": True})

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(driver, "_active", NoGPU(capability))
    call_all(CPU, dtype)
    assert set(compiled) == {f"{name}_kernel" for name in ("keys", "taps", "fold", "upsample2x", "norms")}
    for kernel in compiled.values():
        assert kernel.metadata.target == GPUTarget("cuda", capability, 32)
        assert kernel.asm["cubin"][:4] == b"\x7fELF"  # the assembler took it
        assert kernel.metadata.shared <= MOST_SHARED[capability]
