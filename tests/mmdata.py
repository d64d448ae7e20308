"""Made-up data sets and weights for the tests of evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from segearth import weights
from segearth.models import JBUOne

CONFIGS = Path(__file__).parent.parent / "configs"
TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def random_tiny(tmp_path_factory) -> Path:
    """A folder with a random CLIP and upsampler under the names of the packaged model."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**TINY).state_dict(), folder / "tiny.safetensors")
    save_file(JBUOne(TINY["embed_dim"], radius=1).state_dict(), folder / "tiny_simfeatup.safetensors")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    return folder


@pytest.fixture
def tiny(random_tiny, monkeypatch) -> Iterator[None]:
    """`--model tiny` is a random CLIP, so that these tests ask nothing of the packaged weights."""
    packaged = weights.packaged
    monkeypatch.setattr(
        weights, "packaged", lambda name: random_tiny / name if name.startswith("tiny") else packaged(name)
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model is slower with more
    yield
    torch.set_num_threads(threads)


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth random picture (H, W, 3) uint8 RGB."""
    small = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    return (255 * large[0].permute(1, 2, 0)).byte().numpy()


def loveda(root: Path, sizes: list[tuple[int, int]]) -> Path:
    """Draws pairs in LoveDA's layout below `root`/LoveDA; labels 0 (no data) to 7."""
    for kind in ("img_dir", "ann_dir"):
        (root / "LoveDA" / kind / "val").mkdir(parents=True)
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(picture(height, width, i)).save(root / f"LoveDA/img_dir/val/{i}.png")
        labels = np.random.default_rng(i).integers(0, 8, (height, width), dtype=np.uint8)
        Image.fromarray(labels).save(root / f"LoveDA/ann_dir/val/{i}.png")
    return root
