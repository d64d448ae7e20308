"""The device of a config."""

from __future__ import annotations

import re
import warnings

import torch

from segearth.compute import choose_device
from segearth.errors import UserError, UserNotice, option


def device_of(named: str | torch.device | None) -> torch.device:
    """Chooses the device; a config that asks for CUDA also runs on a computer without it.

    Args:
        named: the config's `model.device`; None is "auto".

    Raises:
        UserError: one that is not here, or none.
    """
    device = "auto" if named is None else str(named)
    if device.startswith("cuda") and not torch.cuda.is_available():
        instead = choose_device("auto")
        used = "the CPU" if instead.type == "cpu" else "Apple's GPU (mps)"
        warnings.warn(
            f"the config asks for {device}, but there is no CUDA GPU here: {used} is used", UserNotice, stacklevel=1
        )
        return instead
    number = re.fullmatch(r"cuda:(\d+)", device)
    missing = device == "mps" and not torch.backends.mps.is_available()
    if missing or (number is not None and int(number[1]) >= torch.cuda.device_count()):
        raise UserError(
            f"model.device is {device}, which is not here: expected one of this computer's "
            f"{torch.cuda.device_count()} CUDA devices, or the CPU; use "
            f"{option('options', 'model.device=cpu', 'cfg_options')}"
        )
    return choose_device(device)
