"""Random numbers by key: what is drawn depends on what it is for, not on who draws it or when.

A draw for a sample in a step is the same in whatever process or worker it is made, and after a restart.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a draw is for; a part of its key, so that no two purposes share numbers."""

    ORDER = 0
    CROP = 1
    JITTER = 2
    PROJECTION = 3
    UPSAMPLER_DROPOUT = 4
    PATCHES = 5
    PIXEL_DROPOUT = 6
    INITIAL = 7


def key(seed: int, purpose: Purpose, *numbers: int) -> int:
    """A 64-bit key of a draw.

    Args:
        seed: the run's seed, at least 0.
        purpose: what is drawn.
        *numbers: step, sample, jitter, as far as they apply; each at least 0.
    """
    # the length keeps (1,) and (1, 0) apart, which a seed sequence alone would not
    words = np.random.SeedSequence([seed, int(purpose), len(numbers), *numbers]).generate_state(2, np.uint32)
    return int(words[0]) << 32 | int(words[1])


def generator(seed: int, purpose: Purpose, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one draw; see `key`. On the CPU it is the same on every machine."""
    return torch.Generator(device=device).manual_seed(key(seed, purpose, *numbers))
