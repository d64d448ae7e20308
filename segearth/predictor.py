"""Images in, maps out: the part that knows both pictures and models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from segearth.errors import UserError
from segearth.images import ImageLike, read_image, resized_size
from segearth.models.segearth import MAX_MEMORY_MB, SegEarth
from segearth.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

# On 0-255 RGB, the same for every CLIP (SegEarth-OV's released settings; OpenAI's, rounded).
MEAN = (122.771, 116.746, 104.094)
STD = (68.501, 66.632, 70.323)

BAND_PIXELS = 1 << 20  # scores are computed for so many pixels at once: a large map has no second copy


@dataclass(frozen=True)
class Result:
    """A map at the image's own size.

    Attributes:
        labels: (H, W) class indices, uint8 (uint16 with more than 256 classes).
        confidence: (H, W) float32 in [0, 1], the best class's score, before `prob_thd` is applied.
        scores: (C, H, W) float32 in [0, 1], the score of every class.
        classes: the C class names, in index order.
        palette: (C, 3) uint8 RGB, a colour for every class.
        remarks: what was done to the image while reading it, one sentence each.
    """

    labels: NDArray[np.uint8 | np.uint16]
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: tuple[str, ...]
    palette: NDArray[np.uint8]
    remarks: tuple[str, ...] = ()


class Predictor:
    """A model with its vocabulary, ready for images. Made by `load_model`."""

    def __init__(self, model: SegEarth, vocabulary: Vocabulary) -> None:
        """Takes a model whose queries are the vocabulary's."""
        self.model = model.eval()
        self.vocabulary = vocabulary

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.query_features.device

    @torch.inference_mode()
    def predict(
        self,
        image: ImageLike,
        long_side: int | None = 448,
        progress: Callable[[int, int], None] | None = None,
        max_memory_mb: float = MAX_MEMORY_MB,
    ) -> Result:
        """Maps one image.

        Args:
            image: a path, a PIL image, or an array (H, W, 3) uint8 RGB.
            long_side: the image is resized so that its longer side has this many pixels before windows
                are cut, as evaluation does (448 in the paper); None keeps its own size.
            progress: called with (windows done, windows in all).
            max_memory_mb: bound of the working set beside the model, the image and the map; see `SegEarth.logits`.

        Returns:
            The map at the image's own size.

        Raises:
            UserError: an image that cannot be read, or a long side below 1.
        """
        if long_side is not None and long_side < 1:
            raise UserError(f"long side {long_side}: expected at least 1 pixel, or None for the image's own size")
        pixels, remarks = read_image(image)
        height, width = pixels.shape[:2]
        size = (height, width) if long_side is None else resized_size(height, width, long_side)
        if (limit := Image.MAX_IMAGE_PIXELS) is not None and size[0] * size[1] > limit:
            raise UserError(
                f"long side {long_side} makes the image {size[1]} × {size[0]} pixels, over the limit of {limit:,}: "
                "use a smaller long side"
            )
        tensor = normalise(resize(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], size))
        logits = self.model.logits(tensor.to(self.device), (height, width), progress, max_memory_mb)
        count = len(self.vocabulary)
        result = Result(
            labels=np.empty((height, width), np.uint8 if count <= 256 else np.uint16),
            confidence=np.empty((height, width), np.float32),
            scores=np.empty((count, height, width), np.float32),
            classes=self.vocabulary.names,
            palette=np.array(self.vocabulary.palette, np.uint8),
            remarks=tuple(remarks),
        )
        rows = max(1, BAND_PIXELS // width)
        for band in (slice(top, top + rows) for top in range(0, height, rows)):
            scores = self.model.scores(logits[:, :, band])
            result.labels[band] = self.model.labels(scores)[0].cpu().numpy()
            result.confidence[band] = scores.amax(dim=1)[0].cpu().numpy()
            result.scores[:, band] = scores[0].cpu().numpy()
        return result


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes as evaluation does: bilinear, not antialiased, rounded to grey levels.

    Agrees with OpenCV's INTER_LINEAR on uint8 to one grey level.

    Args:
        image: (B, 3, H, W) uint8.
        size: (height, width).

    Returns:
        (B, 3, height, width) float32, whole numbers from 0 to 255.
    """
    if image.shape[-2:] == size:
        return image.float()
    resized = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False)
    return resized.round().clamp(0, 255)


def normalise(image: Tensor) -> Tensor:
    """(B, 3, H, W) RGB from 0 to 255 to what CLIP expects: minus `MEAN`, divided by `STD`."""
    mean, std = (torch.tensor(values, device=image.device)[:, None, None] for values in (MEAN, STD))
    return (image.float() - mean) / std
