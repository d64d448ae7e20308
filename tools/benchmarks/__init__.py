"""What the benchmarks share: models and pictures to measure with, clocks, and the published upsampling."""
