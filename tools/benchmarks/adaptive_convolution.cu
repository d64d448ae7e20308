// One thread an output: out[c, y, x] = sum over the taps of kernel[dy * side + dx, y, x] * padded[c, y + dy, x + dx].

__device__ inline float number(float value) { return value; }
__device__ inline void store(float* to, float value) { *to = value; }

template <typename T>
__device__ void adaptive_convolution(
    const T* padded, const T* kernel, T* out, int channels, int height, int width, int side) {
  const long long plane = (long long)height * width;
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= plane * channels) return;
  const int c = (int)(i / plane), y = (int)(i % plane / width), x = (int)(i % width);
  const int padded_width = width + side - 1;
  const T* neighbours = padded + ((long long)c * (height + side - 1) + y) * padded_width + x;
  const T* taps = kernel + (long long)y * width + x;
  float sum = 0.f;
  for (int dy = 0; dy < side; ++dy)
    for (int dx = 0; dx < side; ++dx)
      sum += number(neighbours[dy * padded_width + dx]) * number(taps[(dy * side + dx) * plane]);
  store(out + i, sum);
}

extern "C" __global__ void adaptive_float(
    const float* padded, const float* kernel, float* out, int channels, int height, int width, int side) {
  adaptive_convolution(padded, kernel, out, channels, height, width, side);
}
