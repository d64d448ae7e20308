"""A model that costs next to nothing, so that all else that happens to a scene can be checked and measured."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.models import DenseCLIP, SegEarth
from segearth.predictor import Predictor
from segearth.vocabulary import Vocabulary
from segearth.windows import CROP, STRIDE

CONSTANT = 1.5  # with it, directions differ so little that all scores count


class MeanColour(DenseCLIP):
    """In place of an image tower: the features of a patch are its mean colour and a constant."""

    patch_size, dim, width, has_cls = 16, 4, 4, False

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.method = "mean colour"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, 4, h, w) of images (B, 3, H, W), and no [CLS]."""
        colours = F.avg_pool2d(image, self.patch_size, ceil_mode=True)
        return torch.cat([colours, torch.full_like(colours[:, :1], CONSTANT)], dim=1), None


def stub_predictor(classes: int = 4, crop: int = CROP, stride: int = STRIDE) -> Predictor:
    """A predictor that tells colours apart.

    It has no recipe, so that it travels to other processes itself.

    Args:
        classes: C, each with one name.
        crop: side of a window in pixels.
        stride: step between windows in pixels.
    """
    vocabulary = Vocabulary.from_list([f"colour {i}" for i in range(classes)])
    colours = torch.randn(classes, 3, generator=torch.Generator().manual_seed(1))
    queries = F.normalize(torch.cat([colours, torch.full((classes, 1), CONSTANT)], dim=1), dim=-1)
    model = SegEarth(
        MeanColour(),
        queries,
        torch.tensor(vocabulary.query_to_class),
        cls_token_lambda=0,
        slide_crop=crop,
        slide_stride=stride,
    )
    return Predictor(model.requires_grad_(False), vocabulary, settings={"model": f"mean colour, {classes} classes"})
