"""What is measured with: the machine, random models of the usual size, and pictures."""

from __future__ import annotations

import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segearth.compute import PRECISIONS
from segearth.models import DenseCLIP, JBUOne, SegEarth
from segearth.predictor import Predictor
from segearth.transfer import normalise
from segearth.vocabulary import Vocabulary
from segearth.windows import sliding_windows

CLASSES = "background; bareland; grass; pavement; road; tree; water; cropland; building"
ARCHITECTURE = "ViT-B-16-quickgelu"


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """The processor, threads, versions and date; and a GPU, where it is meant."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = f"{len(names)} × {names[0]}" if names else processor
    found = {
        "processor": processor,
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }
    if device is not None and device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu memory": properties.total_memory // 2**20, "cuda": torch.version.cuda}
        try:
            found["triton"] = version("triton")
        except PackageNotFoundError:
            found["triton"] = None
    elif device is not None and device.type != "cpu":
        found["gpu"] = device.type
    return found


def models(
    precisions: tuple[str, ...] = ("fp32", "bf16"), device: str | torch.device = "cpu"
) -> tuple[Any, dict[str, Predictor]]:
    """A random ViT-B/16, and predictors with it and a random SimFeatUp, by precision of the encoder."""
    torch.manual_seed(0)
    clip = _clip()
    upsampler = JBUOne(512).eval().requires_grad_(False).to(device)
    vocabulary = Vocabulary.from_string(CLASSES)
    queries = F.normalize(torch.randn(len(vocabulary.queries), 512), dim=-1)
    predictors = {}
    for precision in precisions:
        encoder = DenseCLIP(clip)
        if precision != "fp32":
            half = _clip()
            half.load_state_dict(clip.state_dict())
            encoder = DenseCLIP(half).to(PRECISIONS[precision])
        model = SegEarth(encoder, queries, torch.tensor(vocabulary.query_to_class), upsampler)
        predictors[precision] = Predictor(model.to(device), vocabulary)
    return clip.to(device), predictors


def _clip() -> Any:
    return open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE)).eval().requires_grad_(False)


def picture(side: int) -> NDArray[np.uint8]:
    """A smooth random picture (side, side, 3)."""
    small = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 1)
    return (255 * large[0].permute(1, 2, 0)).byte().numpy()


def picture_tensor(side: int) -> Tensor:
    """The picture as the model takes it, (1, 3, side, side)."""
    return normalise(torch.from_numpy(picture(side)).permute(2, 0, 1)[None])


def window_batch(side: int) -> Tensor:
    """All windows of the picture, (n, 3, 224, 224)."""
    image = picture_tensor(side)
    return torch.cat([image[:, :, w.top : w.bottom, w.left : w.right] for w in sliding_windows(side, side, 224, 112)])
