"""Trains SimFeatUp, the upsampler, for a CLIP, on a folder of images without labels.

    python tools/train_simfeatup.py --model clip-vit-b16 --images DIR -o simfeatup.safetensors
    torchrun --nproc-per-node=2 tools/train_simfeatup.py --model clip-vit-b16 --images DIR -o simfeatup.safetensors
    python tools/train_simfeatup.py --model RemoteCLIP-ViT-L-14.pt --architecture ViT-L-14 --images DIR -o l14.ckpt

Beside the file that is asked for it writes simfeatup.ckpt (the published format), simfeatup.csv (the losses of each
step), simfeatup.resume.pt (--resume goes on from it) and, where TensorBoard is installed, simfeatup.tensorboard/.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.cli import run_script


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("train-upsampler", argv)


if __name__ == "__main__":
    sys.exit(main())
