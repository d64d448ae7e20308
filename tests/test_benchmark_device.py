"""The benchmark of a device: on the processor, at tiny sizes; and the kernel that it compiles for a GPU."""

import ctypes
import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import torch
from conftest import mini_clip
from test_benchmark import benchmark
from torch.utils import cpp_extension

from benchmarks import cuda_operator, on_device, published
from benchmarks.clocks import started
from benchmarks.device_report import device_report
from benchmarks.on_device import Extent, measure, modes
from benchmarks.published import Published, convolution_for, unfold_and_sum
from benchmarks.workload import picture_tensor
from segearth.models import DenseCLIP, JBUOne, SegEarth
from segearth.models.flat import TorchOperations
from segearth.models.simfeatup import adaptive_convolution
from segearth.predictor import Predictor
from segearth.vocabulary import Vocabulary

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def small_models(precisions=("fp32", "bf16"), _=None):
    """A mini CLIP for windows of 64 pixels, and fewer taps."""
    torch.manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(2, 16), dim=-1)
    upsampler = JBUOne(16, radius=3).eval()
    model = SegEarth(DenseCLIP(mini_clip()), queries, torch.tensor([0, 1]), upsampler)
    return model.encoder.visual, dict.fromkeys(precisions, Predictor(model, Vocabulary.from_string("road; tree")))


def test_report(tmp_path, capsys, monkeypatch):
    """Every table has its rows, and every figure is one; the ways and the published method agree."""
    monkeypatch.setattr(benchmark, "models", small_models)
    out = tmp_path / "b.json"
    options = ["--quick", "--sides", "64", "--batches", "2", "--seconds", "1e9", "--out", str(out)]
    found = benchmark.main(["--device", "cpu", *options])
    assert json.loads(out.read_text()) == found
    assert [(row["precision"], row["way"]) for row in found["ways"]] == [
        (precision, way) for precision in ("fp32", "bf16") for way in ("bands", "flat")
    ]
    bands, flat = found["ways"][:2]
    assert bands["logit difference"] == 0  # it is the reference
    assert bands["operations"] != flat["operations"]  # each way was really taken
    assert [row["precision"] for row in found["published"]] == ["fp32"]
    for row in (flat, found["published"][0]):
        assert 0 < row["logit difference"] < 1e-5
        assert row["labels agree"] > 0.999
    assert [(row["side"], row["batch"], row["precision"]) for row in found["sizes"]] == [
        (64, 2, "fp32"),
        (64, 2, "bf16"),
    ]
    for row in found["sizes"]:
        assert row["windows"] == 1
        assert row["images a second"] == pytest.approx(2 / row["seconds"])
        assert min(row["visual"], row["maps a second"], row["operations"]) > 0
    printed = capsys.readouterr().out
    for expected in ("× (a)", "bands, fp32", "side 64, batch 2, bf16", "by the published method", "times in fp32"):
        assert expected in printed


@pytest.mark.parametrize(("most", "calls"), [(64, [12]), (8, [8, 4])])
def test_the_backbone_is_measured_on_the_windows_of_the_whole_batch(most, calls, monkeypatch):
    """In calls as large as they can be: a multiple of one image's time would be too long."""
    clip, predictors = small_models(("fp32",))
    seen = []
    clip.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(on_device, "VISUAL_BATCH", most)
    monkeypatch.setattr(on_device, "window_batch", lambda _: torch.zeros(4, 3, 64, 64))
    figures = on_device._size(predictors["fp32"], 64, 3, CPU, Extent(rounds=1, warm_up=0))()
    assert seen == calls
    assert figures["windows"] == 4


def test_the_published_method_is_that_of_the_product():
    """Window by window, [CLS] token and mean over the windows included."""
    _, predictors = small_models(("fp32",))
    model, image = predictors["fp32"].model, picture_tensor(80)[:, :, :64]
    model.slide_crop, model.slide_stride = 64, 16
    ours = model.logits(image, (64, 80))
    assert torch.allclose(Published(model, unfold_and_sum, torch.float32).logits(image), ours, atol=1e-5)


def test_a_row_that_fails_and_rows_for_which_there_is_no_time(monkeypatch):
    """They cost no other row; the report tells of them."""
    clock = iter(range(10**6))
    monkeypatch.setattr(on_device, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(on_device, "_rows", lambda *_: iter(rows))

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    mode = modes(CPU)["fp32"]
    settings = [{"side": side, "batch": 1, "precision": "fp32"} for side in (448, 896, 1792)]
    rows = [on_device.Row("sizes", one, mode, full) for one in settings]
    saved = []
    found = measure(small_models, CPU, Extent(seconds=2), lambda known: saved.append(json.dumps(known)))
    assert found["sizes"] == [{**one, "error": "CUDA out of memory."} for one in settings[:2]]
    assert found["left out"] == 1
    assert len(saved) == 3  # after every row, and at the end
    text = device_report(found)
    assert "CUDA out of memory." in text
    assert "left out for lack of time: 1 rows" in text


def test_arithmetic_of_devices():
    assert list(modes(CPU)) == ["fp32", "bf16"]
    assert list(modes(torch.device("mps"))) == ["fp32", "fp16"]
    assert list(modes(CUDA)) == ["fp32", "TF32", "fp16", "bf16"]


@pytest.mark.parametrize("allowed", [True, False])
def test_only_the_row_meant_is_computed_in_tf32(allowed):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with on_device._tf32(allowed):
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
        assert torch.backends.cudnn.allow_tf32 is allowed
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_operations_are_counted_without_views():
    x = torch.zeros(2, 3)
    assert started(lambda: x.t()[0].view(2).add_(1).exp()) == {"operations": 2}
    with on_device.patch.object(on_device.factored, "operations_for", None):
        on_device._with(operations := TorchOperations(), lambda: check(operations))()


def check(operations):
    assert on_device.factored.operations_for(CPU, torch.float32) is operations


def test_without_a_compiler_the_plain_form_is_taken(monkeypatch):
    assert convolution_for(CPU) == (unfold_and_sum, "unfolded")
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    convolve, by = convolution_for(CUDA)
    assert convolve is published.unfold_and_sum
    assert by == "unfolded, for the CUDA kernel was not compiled: there is no nvcc"


def test_plain_form():
    padded, kernel = torch.randn(1, 4, 11, 9), torch.randn(1, 9, 9, 7)
    assert torch.allclose(unfold_and_sum(padded, kernel), adaptive_convolution(padded, kernel), atol=1e-5)


SHIM = """
struct Index { unsigned x; };
static Index blockIdx, threadIdx, blockDim;
#define __device__
#define __global__
"""
LOOP = """
extern "C" void run(const float* p, const float* k, float* o, int c, int h, int w, int side, int blocks) {
  blockDim.x = 64;
  for (blockIdx.x = 0; blockIdx.x < (unsigned)blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < 64; ++threadIdx.x) adaptive_float(p, k, o, c, h, w, side);
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="the kernel is compiled by g++")
def test_kernel_for_cuda_on_the_processor(tmp_path):
    """Its arithmetic, with loops in place of blocks and threads."""
    source, library = tmp_path / "kernel.cpp", tmp_path / "kernel.so"
    source.write_text(SHIM + cuda_operator.KERNEL.read_text() + LOOP)
    subprocess.run(["g++", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)
    channels, height, width, side = 3, 6, 5, 7
    padded, kernel = torch.randn(1, channels, height + 6, width + 6), torch.randn(1, 49, height, width)
    out = torch.full((1, channels, height, width), torch.nan)
    pointers = [ctypes.c_void_p(one.data_ptr()) for one in (padded, kernel, out)]
    ctypes.CDLL(str(library)).run(*pointers, channels, height, width, side, -(-out.numel() // 64))
    assert torch.allclose(out, adaptive_convolution(padded, kernel), atol=1e-5)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
def test_kernel_for_cuda_compiles(tmp_path):
    """Both types and the launch, without torch's headers, which take half a minute."""
    source = tmp_path / "kernel.cu"
    source.write_text(cuda_operator.HALF + cuda_operator.KERNEL.read_text() + cuda_operator.LAUNCH)
    flags = [*cpp_extension.COMMON_NVCC_FLAGS, "-arch=sm_90"]
    subprocess.run(["nvcc", *flags, "-cubin", source, "-o", tmp_path / "kernel.cubin"], check=True)
