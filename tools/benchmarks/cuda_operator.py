"""The adaptive convolution as a CUDA kernel of one thread an output, compiled on the spot where nvcc is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

Convolution = Callable[[Tensor, Tensor], Tensor]
"""(padded (1, C, H + 2r, W + 2r), kernel (1, T, H, W)) -> (1, C, H, W)."""

KERNEL = Path(__file__).with_name("adaptive_convolution.cu")
# PyTorch compiles without implicit conversions of __half
HALF = """
#include <cuda_runtime.h>
#include <cuda_fp16.h>

__device__ inline float number(__half value) { return __half2float(value); }
__device__ inline void store(__half* to, float value) { *to = __float2half(value); }
"""
LAUNCH = """
extern "C" __global__ void adaptive_half(
    const __half* padded, const __half* kernel, __half* out, int channels, int height, int width, int side) {
  adaptive_convolution(padded, kernel, out, channels, height, width, side);
}

void launch(const void* p, const void* k, void* o, int c, int h, int w, int side, bool half, void* stream) {
  const int blocks = (int)(((long long)c * h * w + 255) / 256);
  const cudaStream_t on = (cudaStream_t)stream;
  if (half)
    adaptive_half<<<blocks, 256, 0, on>>>((const __half*)p, (const __half*)k, (__half*)o, c, h, w, side);
  else
    adaptive_float<<<blocks, 256, 0, on>>>((const float*)p, (const float*)k, (float*)o, c, h, w, side);
}
"""
CALL = """
#include <torch/extension.h>

void launch(const void* p, const void* k, void* o, int c, int h, int w, int side, bool half, void* stream);

torch::Tensor adaptive_convolution(torch::Tensor padded, torch::Tensor kernel, int64_t stream) {
  TORCH_CHECK(padded.is_cuda() && kernel.is_cuda() && padded.is_contiguous() && kernel.is_contiguous());
  TORCH_CHECK(padded.scalar_type() == kernel.scalar_type() && padded.size(0) == 1);
  TORCH_CHECK(padded.scalar_type() == torch::kFloat || padded.scalar_type() == torch::kHalf);
  const int c = padded.size(1), h = kernel.size(2), w = kernel.size(3), side = padded.size(2) - h + 1;
  TORCH_CHECK(kernel.size(1) == side * side && padded.size(3) == w + side - 1);
  auto out = torch::empty({1, c, h, w}, padded.options());
  launch(padded.data_ptr(), kernel.data_ptr(), out.data_ptr(), c, h, w, side,
         padded.scalar_type() == torch::kHalf, (void*)stream);
  return out;
}
"""


def compiled() -> Convolution:
    """Compiles it, which takes half a minute, for the GPUs that are there or those of `TORCH_CUDA_ARCH_LIST`.

    Raises:
        RuntimeError: there is no nvcc or no C++ compiler, or they fail.
    """
    from torch.utils.cpp_extension import CUDA_HOME, load_inline

    if CUDA_HOME is None:
        raise RuntimeError("there is no nvcc")
    module = load_inline(
        "segearth_published",
        cpp_sources=[CALL],
        cuda_sources=[HALF + KERNEL.read_text(encoding="utf-8") + LAUNCH],
        functions=["adaptive_convolution"],
        extra_cuda_cflags=["-O3"],
        no_implicit_headers=True,  # torch's headers take as long again in nvcc
    )

    def convolve(padded: Tensor, kernel: Tensor) -> Tensor:
        stream = torch.cuda.current_stream(padded.device).cuda_stream
        return module.adaptive_convolution(padded.contiguous(), kernel.contiguous(), stream)

    return convolve
