"""`segearth info` for scenes: the raster, how it would be read, and the cost of its map."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from segearth.addresses import display_name
from segearth.cli.cost import TIMED_PIXELS, megapixel_seconds, model_without_weights, timed_model
from segearth.cli.formatting import duration, megabytes
from segearth.compute import Compute
from segearth.errors import UserError, UserNotice, printable, without_warnings
from segearth.exits import say
from segearth.predictor import Predictor
from segearth.scenes.blocks import map_block
from segearth.scenes.georeference import Georeference, bounds
from segearth.scenes.inspection import Inspection, inspect_raster
from segearth.scenes.layout import describe_model_input, fit_block_side, working_set
from segearth.scenes.options import SceneOptions
from segearth.scenes.plan import Plan
from segearth.scenes.raster import Raster, ReadFailed, open_raster
from segearth.scenes.stretch import parse_stretch
from segearth.scenes.workload import Workload, estimate_workload
from segearth.vocabulary import Vocabulary
from segearth.windows import Window

if TYPE_CHECKING:
    from segearth.models import SegEarth

MOST_BANDS = 20  # that are listed
PROCESS_BYTES = 0.9e9  # Python, torch, and GDAL with its cache of 128 MB
TIMED_STEPS = 3  # strides along each side of the timed part: 4 × 4 windows, one batch of the encoder
_PLACES = (
    (0.5, 0.5),
    *((y, x) for y in (0.25, 0.75) for x in (0.25, 0.75)),
)  # centre of the timed part


def scene_facts(
    address: str, why: str, options: SceneOptions, args: argparse.Namespace, vocabulary: Vocabulary
) -> tuple[dict[str, str], bool]:
    """All facts on a scene.

    Args:
        address: address of the raster.
        why: why it is a scene, as the end of a sentence.
        options: options of the map.
        args: the options of `segearth.cli.options.add_model_options`, and `time`: whether to time windows.
        vocabulary: the classes.

    Returns:
        The facts; and whether it can be mapped.
    """
    facts = {"scene": why}
    try:
        with open_raster(address, overview=options.overview) as raster:
            facts |= raster_facts(raster)
            choice = inspect_raster(raster, options.bands, options.stretch, options.stretch_from)
            facts |= choice_facts(raster, choice, options)
            model, model_bytes = model_without_weights(args, vocabulary)
            plan = Plan.create(raster, _predictor(model, vocabulary), options, inspection=choice)
            counts = estimate_workload(
                plan.frame, plan.area.window, fit_block_side(plan.frame, model, options), choice.valid
            )
            facts |= cost_facts(raster, plan, counts, model, model_bytes, options)
            if args.time:
                facts["time"] = _time(raster, plan, counts, args, vocabulary)
    except (UserError, ReadFailed) as error:
        return facts | {"predict": f"refused: {error}"}, False
    remarks = [remark.removeprefix(f"{raster.name}: ").removeprefix(f"{raster.name} ") for remark in plan.remarks]
    return facts | {"predict": "; ".join(["can be mapped as a scene", *remarks])}, True


def _predictor(model: SegEarth, vocabulary: Vocabulary) -> Predictor:
    """A predictor for counting and timing, without warnings on the classes."""
    with without_warnings(UserNotice):
        return Predictor(model, vocabulary)


def raster_facts(raster: Raster) -> dict[str, str]:
    """Facts in the header of a raster."""
    height, width = raster.size
    ground = Georeference.from_rasterio(raster.transform, raster.crs)
    path = Path(raster.source)
    size = f", {megabytes(path.stat().st_size)}" if path.is_file() else ""
    smaller = ", ".join(f"1/{factor}" for factor in raster.overviews)
    facts = {
        "file": f"{raster.stored}{size}",
        "overviews": smaller or "none",
        "size": f"{width:,} × {height:,} pixels (width × height)",
        "coordinates": ground.name if ground else "no system",
    }
    if not raster.transform.is_identity:
        west, south, east, north = bounds(raster.transform, raster.size)
        facts["extent"] = f"{west:.10g} to {east:.10g}, {south:.10g} to {north:.10g}"
    pixel = raster.pixel_size
    facts["pixel"] = pixel.method if pixel.side_m is None else f"{pixel.side_m:.4g} m ({pixel.method})"
    facts["bands"] = _bands(raster)
    alpha = [str(band.number) for band in raster.bands if band.colour == "alpha"]
    if raster.has_mask:
        facts["nodata"] = f"alpha, band {', '.join(alpha)}" if alpha else "a mask"
    else:
        facts["nodata"] = "none" if raster.nodata is None else f"{raster.nodata:.10g}"
    return facts


def _bands(raster: Raster) -> str:
    """All bands; the type is named once if all are equal."""
    types = {band.dtype for band in raster.bands}
    names = []
    for band in raster.bands[:MOST_BANDS]:
        name = band.description or (band.colour if band.colour != "undefined" else "")
        unit = f" in {band.unit}" if band.unit else ""
        kind = f" {band.dtype}" if len(types) > 1 else ""
        names.append(" ".join(filter(None, [str(band.number), printable(f"{name}{unit}").strip()])) + kind)
    more = f" and {len(raster.bands) - MOST_BANDS} more" if len(raster.bands) > MOST_BANDS else ""
    same = f" of {types.copy().pop()}" if len(types) == 1 else ""
    return f"{len(raster.bands)}{same}: {', '.join(names)}{more}"


def choice_facts(raster: Raster, choice: Inspection, options: SceneOptions) -> dict[str, str]:
    """Bands, stretch and valid pixels that would be used."""
    spec, valid = choice.spec, choice.valid
    red, green, blue = spec.bands
    if spec.palette:
        colours = f"the palette of band {red}"
    elif red == green == blue:
        colours = f"band {red}, three times"
    else:
        colours = f"bands {red}, {green} and {blue} as red, green and blue"
    if spec.stretch is None:
        stretch = "none: samples are taken as 0 to 255"
    else:
        names = [""] if len(set(spec.stretch)) == 1 else ["red ", "green ", "blue "]
        ranges = [f"{name}{_range(low, high)}" for name, (low, high) in zip(names, spec.stretch, strict=False)]
        asked = parse_stretch(options.stretch)
        is_given = asked.kind == "range" or all(raster.bands[number - 1].bits for number in spec.bands)
        how = "" if is_given else f", percentiles {asked.low:g} and {asked.high:g}"
        where = f" of {display_name(options.stretch_from)}" if options.stretch_from else ""
        stretch = f"{', '.join(ranges)} as 0 to 255{how}{where}"
    share = 100 * float(valid.mean())
    return {
        "colours": colours,
        "stretch": stretch,
        "valid": f"{_share(share)} % of {valid.size:,} pixels that were looked at",
    }


def _range(low: float, high: float) -> str:
    return f"{low:.6g} to {high:.6g}" if low < high else f"{low:.6g} everywhere"


def _share(percent: float) -> str:
    """A percentage that is never rounded to 0 or 100."""
    if 0 < percent < 0.1:
        return "below 0.1"
    return "over 99.9" if 99.9 < percent < 100 else f"{percent:.3g}"


def cost_facts(
    raster: Raster, plan: Plan, counts: Workload, model: SegEarth, model_bytes: int, options: SceneOptions
) -> dict[str, str]:
    """Windows, blocks and memory of the map."""
    frame, window = plan.frame, plan.area.window
    facts = {"the model sees": describe_model_input(frame, raster.pixel_size)}
    high, broad = window.bottom - window.top, window.right - window.left
    if (high, broad) != frame.output_size:
        shape = "the window of some polygons, " if plan.area.polygons else ""
        facts["part"] = f"{shape}{broad:,} × {high:,} pixels from column {window.left:,} and row {window.top:,} on"
    tall, wide = frame.grid.window_size
    empty = "" if counts.valid_share == 1 else f", {_share(100 * counts.valid_share)} % of them with valid pixels"
    facts["windows"] = f"{counts.windows:,} of {wide} × {tall} pixels{empty}"
    side, (rows, columns) = fit_block_side(frame, model, options), counts.blocks
    more = f", which compute {100 * counts.overhead:.2g} % more windows" if rows * columns > 1 else ""
    size = f"{min(side, broad):,} × {min(side, high):,} pixels"
    facts["blocks"] = f"{columns:,} × {rows:,} of up to {size}{more}"
    work = working_set(frame, round(side * frame.model_size[1] / frame.output_size[1]), model, options)
    facts["memory"] = (
        f"up to {(work + model_bytes + PROCESS_BYTES) / 1e9:.1f} GB a process: {work / 1e9:.2g} GB to work, "
        f"{model_bytes / 1e9:.2g} GB the model, {PROCESS_BYTES / 1e9:.2g} GB Python, torch and GDAL"
    )
    return facts


def _time(raster: Raster, plan: Plan, counts: Workload, args: argparse.Namespace, vocabulary: Vocabulary) -> str:
    """Estimates the time of the map from some windows, mapped from reading to labels."""
    compute = Compute.choose(args.device, args.precision)
    args.precision = compute.precision
    say(f"timing {args.model} on {raster.name} ...")
    model, weights = timed_model(args, vocabulary, compute.device)
    predictor = _predictor(model, vocabulary)
    for area in _areas(plan):
        timings = [_seconds(area, plan, raster, predictor)]
        if timings[0][1]:
            rounds = 1 if timings[0][0] > 1 else 3  # the first round is slower
            timings += [_seconds(area, plan, raster, predictor) for _ in range(rounds)]
            break
    else:
        return "unknown: the parts that were looked at have no valid pixel"
    labels = megapixel_seconds(model) / TIMED_PIXELS
    pixels = (area.bottom - area.top) * (area.right - area.left)
    seconds, windows = min(timings)
    batch = plan.blocks.batch
    window = max(seconds - pixels * labels, 0) / (-(-windows // batch) * batch)  # the last batch is padded
    top, bottom, left, right = plan.area.window
    whole = counts.computed_windows * counts.valid_share * window + (bottom - top) * (right - left) * labels
    threads = f", threads: {torch.get_num_threads()}" if compute.device.type == "cpu" else ""
    return (
        f"about {duration(whole)} in one process: {windows} of the windows took {seconds:.2g} s with {args.model} "
        f"({weights}) on {compute.device} in {args.precision}{threads}; loading the model and writing files are not "
        "in it"
    )


def _areas(plan: Plan) -> Iterator[Window]:
    """Parts of the output that a square of windows covers, the centre first."""
    frame, wanted = plan.frame, plan.area.window
    stride = frame.grid.stride
    for place in _PLACES:
        sides = []
        for share, model, output, (begin, end) in zip(
            place, frame.model_size, frame.output_size, (wanted[:2], wanted[2:]), strict=True
        ):
            middle = (begin + share * (end - begin)) * model / output
            start = max(0, round(middle / stride - TIMED_STEPS / 2)) * stride
            # without the outermost pixels, whose interpolation needs further windows
            inset = 1 + output / model
            first, last = start * output / model + inset, (start + TIMED_STEPS * stride) * output / model - inset
            top = min(max(math.ceil(first), begin), end - 1)
            sides.append((top, max(top + 1, min(math.floor(last), end))))
        yield Window(*sides[0], *sides[1])


def _seconds(area: Window, plan: Plan, raster: Raster, predictor: Predictor) -> tuple[float, int]:
    """Seconds for a part of a map, and its number of windows; 0 windows if no pixel is valid."""
    windows: list[int] = []
    started = time.perf_counter()
    for _ in map_block(area, plan.frame, raster.read, predictor, plan.blocks, windows.append):
        pass
    return time.perf_counter() - started, sum(windows)
