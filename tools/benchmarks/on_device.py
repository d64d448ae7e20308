"""A prediction on any device: by precision, way of computing, size and batch, with the published method beside it.

All is synchronised. Rows are saved as soon as they are known, the smallest first, so that a run that is stopped has
been worth its time.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.clocks import peak_mb, started, timed
from benchmarks.cuda_operator import Convolution
from benchmarks.published import Published, convolution_for
from benchmarks.workload import machine, picture, picture_tensor, window_batch
from segearth.compute import memory_for
from segearth.errors import UserError
from segearth.models import SegEarth, factored
from segearth.models.flat import Operations, TorchOperations
from segearth.predictor import Predictor

WARM_UP = 3  # calls: a CUDA graph is made in the third
LONG = 3.0  # seconds after which a row has no further round
VISUAL_BATCH = 64  # windows in a call of open_clip's visual

Models = Callable[[tuple[str, ...], torch.device], tuple[Any, dict[str, Predictor]]]


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        sides: of images, in pixels.
        batches: images at once.
        rounds: of a row, at most; medians count.
        warm_up: calls before them.
        seconds: after which no other row is begun.
    """

    sides: Sequence[int] = (448, 896, 1792)
    batches: Sequence[int] = (1, 4, 16)
    rounds: int = 10
    warm_up: int = WARM_UP
    seconds: float = 300.0


QUICK = Extent((224,), (1, 2), rounds=1, warm_up=0)


class Mode(NamedTuple):
    """An arithmetic.

    Attributes:
        precision: of the encoder.
        tf32: whether its float32 products may be rounded to TF32.
        rest: the type of the published method after the encoder.
    """

    precision: str
    tf32: bool
    rest: torch.dtype


class Row(NamedTuple):
    """A row of a table that is to be measured."""

    table: str
    settings: dict[str, Any]
    mode: Mode
    figures: Callable[[], dict[str, Any]]


def modes(device: torch.device) -> dict[str, Mode]:
    """The arithmetics that a device has, by name."""
    fp32, half = Mode("fp32", False, torch.float32), Mode("fp16", False, torch.float16)
    bf16 = Mode("bf16", False, torch.bfloat16)
    if device.type == "cuda":
        return {"fp32": fp32, "TF32": Mode("fp32", True, torch.float32), "fp16": half, "bf16": bf16}
    return {"fp32": fp32, "fp16": half} if device.type == "mps" else {"fp32": fp32, "bf16": bf16}


def ways(device: torch.device) -> dict[str, Operations | None]:
    """How the upsampling may be computed on a device, by name."""
    found: dict[str, Operations | None] = {"bands": None, "flat": TorchOperations()}
    if device.type == "cuda" and find_spec("triton") is not None:
        from segearth.models.triton_kernels import TritonOperations

        found["Triton"] = TritonOperations()
    return found


def measure(
    make: Models, device: torch.device, extent: Extent, save: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Measures all there is to measure on a device.

    Args:
        make: as `workload.models`.
        device: where.
        extent: how much.
        save: called with what is known so far, after every row.

    Returns:
        Tables by name, each a list of rows. A row that could not be measured has an `error`.
    """
    begun = time.perf_counter()
    found: dict[str, Any] = {"machine": machine(device), "device": str(device), "left out": 0}
    for row in _rows(make, device, extent):
        if time.perf_counter() - begun > extent.seconds:
            found["left out"] += 1
            continue
        try:
            # on a CPU the same setting is what chooses oneDNN
            with _tf32(row.mode.tf32) if device.type == "cuda" else nullcontext():
                figures = row.figures()
        except (UserError, torch.OutOfMemoryError) as error:
            figures = {"error": str(error).partition("\n")[0][:300]}
        found.setdefault(row.table, []).append({**row.settings, **figures})
        save(found)
    found["seconds"] = time.perf_counter() - begun
    save(found)
    return found


def _rows(make: Models, device: torch.device, extent: Extent) -> Iterator[Row]:
    named = modes(device)
    _, predictors = make(tuple(dict.fromkeys(mode.precision for mode in named.values())), device)
    side = extent.sides[0]
    image = picture_tensor(side).to(device)
    expected = _reference(predictors["fp32"].model, image)
    for name, mode in named.items():
        model = predictors[mode.precision].model
        for way, operations in ways(device).items():
            call = _with(operations, _logits(model, image, device))
            yield Row("ways", {"precision": name, "way": way}, mode, _compared(model, call, expected, device, extent))
    convolve, by = convolution_for(device)
    for name, mode in named.items():
        if not mode.tf32 and mode.precision != "bf16":
            yield _published(name, mode, predictors[mode.precision].model, image, convolve, by, expected, extent)
    for side in extent.sides:
        for batch in extent.batches:
            for name, mode in named.items():
                figures = _size(predictors[mode.precision], side, batch, device, extent)
                yield Row("sizes", {"side": side, "batch": batch, "precision": name}, mode, figures)


def _reference(model: SegEarth, image: Tensor) -> Tensor:
    """The logits on the CPU, in float32."""
    return copy.deepcopy(model).cpu().logits(image.cpu(), (image.shape[-2], image.shape[-1]))


def _logits(model: SegEarth, image: Tensor, device: torch.device) -> Callable[[], Tensor]:
    size, memory = (image.shape[-2], image.shape[-1]), memory_for(device)
    return lambda: model.logits(image, size, max_memory_mb=memory)


def _with(operations: Operations | None, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Makes the upsampling compute by some operations in a call."""

    def patched() -> Tensor:
        with patch.object(factored, "operations_for", lambda *_: operations):
            return call()

    return patched


def _published(
    name: str, mode: Mode, model: SegEarth, image: Tensor, convolve: Convolution, by: str, expected: Tensor,
    extent: Extent,
) -> Row:  # fmt: skip
    published = Published(model, convolve, mode.rest)
    figures = _compared(model, lambda: published.logits(image), expected, image.device, extent)
    return Row("published", {"precision": name, "by": by}, mode, figures)


def _compared(
    model: SegEarth, logits: Callable[[], Tensor], expected: Tensor, device: torch.device, extent: Extent
) -> Callable[[], dict[str, Any]]:
    """Measures a call from image to labels, and compares it with logits of the CPU."""

    def figures() -> dict[str, Any]:
        found = _figures(lambda: model.labels(model.scores(logits())), device, extent)
        ours = logits().cpu()
        same = ours.argmax(dim=1) == expected.argmax(dim=1)  # each class has one query
        difference = float((ours - expected).abs().max())
        return found | {"logit difference": difference, "labels agree": float(same.float().mean())}

    return figures


def _size(
    predictor: Predictor, side: int, batch: int, device: torch.device, extent: Extent
) -> Callable[[], dict[str, Any]]:
    """Measures images of a size: from tensors to labels, from pixels to maps, and the backbone alone."""

    def figures() -> dict[str, Any]:
        model, pixels = predictor.model, picture(side)
        images = picture_tensor(side).to(device).expand(batch, -1, -1, -1).contiguous()
        logits = _logits(model, images, device)
        found = _figures(lambda: model.labels(model.scores(logits())), device, extent)
        many = [pixels] * batch
        maps = _median(lambda: list(predictor.predict_many(many, side, False, scores=False)), device, extent)
        visual: Any = model.encoder.visual  # open_clip's own, with all of its last block
        one = window_batch(side).to(device, visual.conv1.weight.dtype)
        windows = one.repeat(batch, 1, 1, 1)  # of all images: many at once take less time each
        alone = _median(lambda: [visual(part) for part in windows.split(VISUAL_BATCH)], device, extent)
        return found | {
            "windows": len(one),
            "images a second": batch / found["seconds"],
            "maps a second": batch / maps,
            "visual": alone,
        }

    return figures


def _figures(call: Callable[[], object], device: torch.device, extent: Extent) -> dict[str, Any]:
    """Seconds, memory at the peak in MB, and what is started."""
    seconds = _median(call, device, extent)
    return {"seconds": seconds, "peak": peak_mb(call, device), **started(call, device)}


@torch.no_grad()
def _median(call: Callable[[], object], device: torch.device, extent: Extent) -> float:
    """Median seconds of some rounds, fewer of a long call."""
    begun = time.perf_counter()
    for _ in range(extent.warm_up):
        if time.perf_counter() - begun < LONG:
            timed(call, device)
    times: list[float] = []
    while len(times) < extent.rounds and sum(times) < LONG:
        times.append(timed(call, device))
    return statistics.median(times)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Sets whether float32 products may be rounded to TF32, the encoder's convolution among them."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
