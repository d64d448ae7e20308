"""Models for tests of scenes: a tiny random one, and stubs whose windows are known in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from conftest import mini_clip
from torch import Tensor

from segearth.clips import STATISTICS
from segearth.models import DenseCLIP, SegEarth
from segearth.models.window_memory import WindowMemory
from segearth.predictor import Predictor
from segearth.vocabulary import Vocabulary
from segearth.windows import Grid, Window

CROP, STRIDE = 64, 32


def mini_predictor(classes: str = "road; tree,forest; water; building", **options: object) -> Predictor:
    """A random model of the usual architecture, without upsampler: a window takes some 2 ms."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_string(classes)
    to_class = torch.tensor(vocabulary.query_to_class)
    queries = torch.nn.functional.normalize(torch.randn(len(to_class), 16), dim=-1)
    encoder = DenseCLIP(mini_clip())
    model = SegEarth(encoder, queries, to_class, slide_crop=CROP, slide_stride=STRIDE, **options)
    return Predictor(model.requires_grad_(False), vocabulary, settings={"model": "mini"})


class StubModel(torch.nn.Module):
    """Has the parts of `SegEarth` that scenes use; logits of a window are any function of its pixels."""

    def __init__(self, logits: Callable[[Tensor], Tensor], queries: int, crop: int, stride: int, *, softmax: bool):
        """Takes the function.

        Args:
            logits: (3, h, w) pixels from 0 to 255 -> (Q, h, w) float32.
            queries: Q, each a class.
            crop: side of a window.
            stride: step between windows.
            softmax: whether scores are a softmax of logits, or the logits themselves.
        """
        super().__init__()
        self.register_buffer("query_features", torch.zeros(queries, 1))
        self.query_to_class, self.num_classes, self.logit_scale = torch.arange(queries), queries, 1.0
        self.prob_thd, self.slide_crop, self.slide_stride = 0.0, crop, stride
        self._logits, self._softmax = logits, softmax
        self.encoder = None
        self.windows = 0  # computed so far

    def batch(self, grid: Grid, *_: float) -> int:
        """As many windows as there are, at most 4."""
        return min(4, grid.count)

    def memory(self, _: Grid) -> WindowMemory:
        """Next to nothing."""
        return WindowMemory(1, 1, 1)

    def window_logits(self, image: Tensor, windows: Sequence[Window], *_: float) -> Iterator[tuple[Window, Tensor]]:
        """As `SegEarth.window_logits`."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS)
        pixels = image * std + mean
        for window in windows:
            self.windows += 1
            top, bottom, left, right = window
            yield window, self._logits(pixels[:, top:bottom, left:right].contiguous())

    def scores(self, logits: Tensor) -> Tensor:
        """As `SegEarth.scores`."""
        return SegEarth.scores(self, logits) if self._softmax else logits


def stub_predictor(
    logits: Callable[[Tensor], Tensor], classes: int, crop: int = CROP, stride: int = STRIDE, *, softmax: bool = True
) -> Predictor:
    """A predictor of a `StubModel`; arguments as there."""
    vocabulary = Vocabulary.from_list([f"class {i}" for i in range(classes)])
    return Predictor(StubModel(logits, classes, crop, stride, softmax=softmax), vocabulary, settings={"model": "stub"})


def colour_predictor() -> Predictor:
    """Three classes by how red, green and blue a pixel is beside its window, so that windows differ."""
    return stub_predictor(lambda pixels: (pixels - pixels.mean(dim=(1, 2), keepdim=True)) / 30, 3)
