"""Estimates time and memory of a map on this computer, from a few timed windows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segearth import weights
from segearth.architectures import build_clip, config_of
from segearth.clips import Spec, resolve
from segearth.clips.upsamplers import TRAINED, upsampler_class
from segearth.compute import PRECISIONS, Compute, memory_for
from segearth.loading import load_model, load_upsampler
from segearth.models import DenseCLIP, SegEarth
from segearth.models.onednn import use_onednn
from segearth.vocabulary import Vocabulary

TIMED_SIDE = 336  # 2 × 2 windows of 224 pixels
TIMED_PIXELS = 1 << 20
ROUNDS = 2  # the fastest counts: the first may allocate memory


@dataclass(frozen=True)
class Cost:
    """The cost of a model.

    Attributes:
        model: the model on its device.
        window_s: seconds per window.
        pixel_s: seconds per pixel of the map, from logits to labels.
        source: how the cost was measured, in sentences.
    """

    model: SegEarth
    window_s: float
    pixel_s: float
    source: str

    def windows(self, height: int, width: int) -> int:
        """Number of windows of an image."""
        return self.model.grid(height, width).count

    def seconds(self, scaled: tuple[int, int], size: tuple[int, int]) -> float:
        """Estimated seconds of a map, without reading the image and writing files.

        Args:
            scaled: (height, width) of the model's input.
            size: (height, width) of the map.
        """
        return self.windows(*scaled) * self.window_s + size[0] * size[1] * self.pixel_s

    def memory(self, scaled: tuple[int, int], size: tuple[int, int]) -> float:
        """Estimated maximum bytes: the model, the working set of windows, the image and its scores.

        Args:
            scaled: (height, width) of the model's input.
            size: (height, width) of the map.
        """
        model = sum(tensor.nbytes for tensor in (*self.model.parameters(), *self.model.buffers()))
        grid = self.model.grid(*scaled)
        working = self.model.memory(grid).working_set(grid, memory_for(self.model.query_features.device))
        queries, classes = len(self.model.query_features), self.model.num_classes
        inside, outside = scaled[0] * scaled[1], size[0] * size[1]
        image = 3 * outside + 12 * inside
        logits = 4 * queries * (inside + (outside if scaled != size else 0))
        return model + working + image + logits + outside * (4 * classes + 4 + 1)


def measure(args: argparse.Namespace, vocabulary: Vocabulary) -> Cost:
    """Times a few windows, and a megapixel from logits to labels.

    Args:
        args: the options of `segearth.cli.options.add_model_options`, with a model.
        vocabulary: the classes.

    Raises:
        UserError: a model or device that is not available.
    """
    compute = Compute.choose(args.device, args.precision)
    device, args.precision = compute.device, compute.precision
    model, kind = timed_model(args, vocabulary, device)
    side = model.slide_crop or TIMED_SIDE
    model.logits(torch.zeros(1, 3, side, side, device=device), (side, side))  # the first call is slower
    picture = torch.rand(1, 3, TIMED_SIDE, TIMED_SIDE, device=device)
    windows = _timed(lambda: model.logits(picture, (TIMED_SIDE, TIMED_SIDE)))
    pixels = megapixel_seconds(model)
    cost = Cost(model, 0.0, pixels / TIMED_PIXELS, "")
    count = cost.windows(TIMED_SIDE, TIMED_SIDE)
    threads = f" (threads: {torch.get_num_threads()})" if device.type == "cpu" else ""
    source = (
        f"Time: {count} windows of {args.model} ({kind}) were timed on {device}{threads}, in {args.precision}: "
        f"{windows / count:.3g} s each; and {pixels:.3g} s a megapixel of the map. Reading the image, loading the "
        "model and writing files are not in it.\nMemory: what the model, the windows at work, the image and the "
        f"scores of {model.num_classes} classes take at the most, beside some 0.8 GB of Python and torch."
    )
    return Cost(model, windows / count, pixels / TIMED_PIXELS, source)


def timed_model(args: argparse.Namespace, vocabulary: Vocabulary, device: torch.device) -> tuple[SegEarth, str]:
    """The model, with random weights if its own are missing, as they cost the same; and a note on its weights."""
    use_onednn()
    spec = resolve(args.model, args.architecture)
    needed = [file for file in (spec.file, spec.upsampler_file) if file is not None]
    if args.upsampler is not None:
        needed = needed[:1]
    if all(weights.find(file) is not None for file in needed):
        upsampler = args.upsampler or "default"
        predictor = load_model(
            args.model, vocabulary, args.device, args.precision, architecture=args.architecture, upsampler=upsampler
        )
        return predictor.model, "its own weights"
    clip = build_clip(config_of(spec), spec.architecture)
    model = _assembled(clip, spec, args.upsampler, vocabulary)
    model.encoder.to(PRECISIONS[args.precision])
    return model.to(device), "random weights, which cost the same"


def model_without_weights(args: argparse.Namespace, vocabulary: Vocabulary) -> tuple[SegEarth, int]:
    """The model on the meta device, which needs no weights, time or memory; and the bytes of its weights.

    Args:
        args: the options of `segearth.cli.options.add_model_options`, with a model.
        vocabulary: the classes.
    """
    spec = resolve(args.model, args.architecture)
    with torch.device("meta"):
        clip = build_clip(config_of(spec), spec.architecture)
        model = _assembled(clip, spec, None if args.upsampler is None else "bilinear", vocabulary)
    return model, sum(tensor.nbytes for tensor in clip.parameters())


def _assembled(clip: Any, spec: Spec, upsampler: str | None, vocabulary: Vocabulary) -> SegEarth:
    """Assembles a model from a CLIP, with random queries.

    Args:
        clip: the CLIP.
        spec: its specification.
        upsampler: None: the default kind for this CLIP; "bilinear", or a file.
        vocabulary: the classes.
    """
    upsampler = spec.upsampler if upsampler is None else upsampler
    encoder = DenseCLIP(clip.eval())
    upsample = upsampler_class(upsampler)(encoder.dim) if upsampler in TRAINED else load_upsampler(upsampler)
    classes = torch.tensor(vocabulary.query_to_class, device="cpu")
    queries = F.normalize(torch.randn(len(classes), encoder.dim, device="cpu"), dim=-1)
    windows: dict[str, Any] = {"slide_crop": spec.window, "slide_stride": spec.window // 2}
    return SegEarth(encoder, queries, classes, upsample, **windows).eval()


def megapixel_seconds(model: SegEarth) -> float:
    """Seconds for a megapixel of a map, from logits to labels."""
    side = model.slide_crop or TIMED_SIDE
    logits = torch.rand(1, len(model.query_features), side, side, device=model.query_features.device) / 10
    return _timed(lambda: _labels(model, logits))


def _labels(model: SegEarth, logits: Tensor) -> Tensor:
    """Labels of a megapixel from logits of a window, as a map is made."""
    side = round(TIMED_PIXELS**0.5)
    return model.labels(model.scores(F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)))


@torch.inference_mode()
def _timed(call: Callable[[], Tensor]) -> float:
    """The minimum seconds of several calls."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call().sum().item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return min(seconds)
