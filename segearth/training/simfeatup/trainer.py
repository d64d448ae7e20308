"""The loop: steps, processes, checkpoints, log."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segearth.checkpoints import load_strictly, read_state_dict
from segearth.clips.upsamplers import TRAINED, identify_upsampler
from segearth.compute import PRECISIONS
from segearth.distributed.ranks import ONE_RANK, Ranks
from segearth.errors import UserError, UserNotice, option
from segearth.jobs.locks import locked
from segearth.models.simfeatup import radius_of
from segearth.provenance import checksum, named_file
from segearth.training.simfeatup import checkpoint
from segearth.training.simfeatup.checkpoint import Files
from segearth.training.simfeatup.images import Crops, batches, check_folders, find_images, usable_images
from segearth.training.simfeatup.log import Log, Row
from segearth.training.simfeatup.recipe import FEATURES, STARTS, UpsamplerRecipe
from segearth.training.simfeatup.step import IMAGE_WEIGHT, Features, Trainee, accumulate, check_crop

# all from SimFeatUp's training
LEARNING_RATE = 1e-3
WARM_UP = 10  # first steps, whose gradient is clipped to a norm of
WARM_UP_NORM = 1e-4
SAVE_EVERY = 100

# ours
SAVE_SECONDS = 600.0  # where steps are slow, what is lost with a process is this much at most
USUAL_SIZE = 0.4  # root mean square of the features of OpenAI's CLIP, for which the recipe was made
FEW_STEPS = 1000


@dataclass(frozen=True)
class TrainingRun:
    """A training run, but for the model and the images.

    Attributes:
        steps: optimiser steps; None for one pass over the images.
        batch: images of a step in all processes together.
        crop: side of the crops in pixels.
        seed: of all that is random.
        workers: processes that read images ahead, for each training process.
        save_every: steps between checkpoints.
        learning_rate: of NAdam.
        precision: of the frozen CLIP: "fp32", "bf16", "fp16", or "auto" (fp16 on a CUDA device, else fp32).
        init: an upsampler's checkpoint to begin with, or None.
        resume: whether to go on from the last checkpoint, if one was written.
        exclude: patterns of images that are not trained on, see `find_images`.
        clip: file of the CLIP's weights, where it is the user's own: it is never overwritten, and a resumed run must
            have the same.
        architecture: of such a CLIP, as `segearth.loading.load_clip` takes it.
    """

    steps: int | None = None
    batch: int = 4
    crop: int = 224
    seed: int = 0
    workers: int = 0
    save_every: int = SAVE_EVERY
    learning_rate: float = LEARNING_RATE
    precision: str = "auto"
    init: Path | None = None
    resume: bool = False
    exclude: tuple[str, ...] = ()
    clip: Path | None = None
    architecture: str | None = None


def train(
    clip: nn.Module,
    model: str,
    images: Sequence[Path],
    out: Path,
    run: TrainingRun,
    recipe: UpsamplerRecipe,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
    ranks: Ranks = ONE_RANK,
) -> Trainee:
    """Trains an upsampler and writes it.

    Args:
        clip: an `open_clip.CLIP`; its image tower is moved to the device, cast to the precision and frozen.
        model: what it is called, for the files' notes.
        images: folders of images.
        out: file to write, see `Files`.
        run: how long, on what, from where.
        recipe: what is trained.
        device: where; of several processes with GPUs each takes its own.
        say: shows a line; in the first process only.
        ranks: the processes that do this together, see `segearth.distributed.launch.joined`.

    Returns:
        What was trained.

    Raises:
        UserError: an option out of range, no usable image, a disk that is full, another run to resume or at work.
    """
    files = check(run, recipe, images, out)
    device = torch.device(device)
    if ranks.gpus is not None:
        if device.index is not None:
            raise UserError(
                f"{option('device', str(device))}: each of several processes takes a GPU of its own; "
                f"use {option('device', 'cuda')}"
            )
        device = torch.device("cuda", ranks.local_rank)
    if run.batch < ranks.size:
        raise UserError(
            f"a batch of {run.batch} images for {ranks.size} processes: expected at least one image each; "
            f"use {option('batch', ranks.size)}"
        )
    say = say if ranks.is_main else _silent
    paths = find_images(images, run.exclude, warn=ranks.is_main)
    say(f"looking at {len(paths)} files: {_places(paths)}")
    paths, left_out = usable_images(paths, run.crop)
    warner = Warner(ranks.is_main)
    warner(left_out)
    if not paths:
        raise UserError(
            f"no usable image in {', '.join(map(str, images))}: {len(left_out)} files were looked at; the first "
            f"one: {next(iter(left_out.values()))}"
        )
    crops = Crops(paths, run.crop, run.seed)
    busy = f"another run trains {out}: expected one at a time; wait for its end, or give another {option('out')}"
    with locked(files.resume, 0, busy) if ranks.is_main else nullcontext():
        if run.resume and not any(ranks.gather(files.resume.is_file())):
            say(f"there is no {files.resume} to go on from: all begins anew")
            run = replace(run, resume=False)
        trainee = _train(clip, model, crops, files, run, recipe, ranks, device, warner, say)
    say(f"written: {out}; the log is {files.log}")
    return trainee


def _train(
    clip: nn.Module,
    model: str,
    crops: Crops,
    files: Files,
    run: TrainingRun,
    recipe: UpsamplerRecipe,
    ranks: Ranks,
    device: torch.device,
    warner: Warner,
    say: Callable[[str], None],
) -> Trainee:
    """One process's part in `train`."""
    features = Features(clip, recipe.features)
    dim, patch = features.encoder.dim, features.encoder.patch_size
    if run.precision == "auto":
        run = replace(run, precision="fp16" if device.type == "cuda" else "fp32")
    precision = PRECISIONS[run.precision]
    features.encoder.visual.to(device, precision).eval().requires_grad_(False)
    fresh = run.init is None and not run.resume  # else another upsampler takes the place of the first
    trainee = Trainee(dim, patch, recipe if fresh else replace(recipe, start="random"), run.seed)
    check_crop(run.crop, patch, trainee.upsampler)
    if run.init is not None and not run.resume:
        begin_with(trainee, run.init, recipe)
    trainee.to(device)
    ranks.broadcast(trainee.parameters())  # machines of different kinds differ in the last digits of a start
    optimiser = torch.optim.NAdam(trainee.parameters(), lr=run.learning_rate)
    steps = run.steps or math.ceil(len(crops) / run.batch)
    facts = describe(model, run, recipe, crops.paths) | {"width": dim, "patch": patch}
    done = checkpoint.restore(files, trainee, optimiser, facts) if run.resume else 0
    if done > steps:
        raise UserError(
            f"{files.resume} has {done} steps already, {steps} were asked for: use a larger {option('steps')}"
        )
    if done == steps:
        say(f"all {steps} steps are done already")
        return trainee
    log = Log(files.log, files.board, steps, done, say) if ranks.is_main else None
    if fresh and recipe.start == "random" and steps < FEW_STEPS:
        say(
            f"note: {steps} steps from a random start give a blur, worse than bilinear: use {option('steps')} of some "
            f"thousands, or {option('start', 'bilateral', typed='init')}"
        )
    say(
        f"{model}: features of width {dim}, patches of {patch} pixels; {len(crops)} images; "
        f"steps {done + 1} to {steps} of {run.batch} crops on {ranks.size} × {device}"
    )
    started = saved_at = time.perf_counter()
    pinned = device.type == "cuda"
    order = batches(crops, run.batch, range(done, steps), ranks.rank, ranks.size, run.workers, pinned)
    for batch in order:
        for unreadable in ranks.gather(batch.left_out):
            warner(unreadable)
        batch = batch._replace(images=batch.images.to(device, non_blocking=pinned))
        step = batch.step
        if step == done:
            say(_size(features(batch.images[:1]), recipe.scale))
        optimiser.zero_grad(set_to_none=False)
        losses = accumulate(trainee, features, batch, recipe, run.seed)
        gradient_norm = reduce_clip_step(trainee, losses, optimiser, step, ranks)
        reconstruction, image, norm = torch.cat([losses, gradient_norm[None]]).tolist()  # the only wait for a GPU
        loss = reconstruction + IMAGE_WEIGHT * image
        late = log is not None and time.perf_counter() - saved_at > SAVE_SECONDS
        saved = late or (step + 1) % run.save_every == 0 or step + 1 == steps
        if not math.isfinite(loss + norm) or (saved and not all(p.isfinite().all() for p in trainee.parameters())):
            raise UserError(  # in all processes alike
                f"step {step + 1} went wrong: its loss is {loss:g}, its gradient's norm {norm:g}, and all of these and "
                f"the weights must be finite; begin anew with a smaller {option('learning_rate', typed='lr')}, or "
                f"{option('precision', 'fp32')}, and another {option('out')}"
            )
        if log is None:
            continue
        seconds, started = time.perf_counter() - started, time.perf_counter()
        log.add(Row(step + 1, loss, reconstruction, image, norm, seconds))
        if saved:
            checkpoint.save(files, trainee, optimiser, step + 1, facts)
            saved_at = time.perf_counter()
    if log is not None:
        log.close()
    return trainee


def reduce_clip_step(
    trainee: Trainee, losses: Tensor, optimiser: torch.optim.Optimizer, step: int, ranks: Ranks
) -> Tensor:
    """Sums gradients and losses over the processes, clips the gradient in the first steps, and takes a step.

    Args:
        trainee: with the gradients of this process.
        losses: of this process; in place.
        optimiser: of the trainee's weights.
        step: number of the step.
        ranks: the processes.

    Returns:
        The gradient's norm before it is clipped, on the device.
    """
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trainee.parameters()]
    ranks.all_reduce([*gradients, losses])
    norm = nn.utils.get_total_norm(gradients)
    if step < WARM_UP:
        nn.utils.clip_grads_with_norm_(trainee.parameters(), WARM_UP_NORM, norm)
    optimiser.step()
    return norm


def check(run: TrainingRun, recipe: UpsamplerRecipe, images: Sequence[Path], out: Path) -> Files:
    """Checks everything that can be checked without the model and the images.

    Returns:
        The files that the run writes.

    Raises:
        UserError: an option out of range, a path that is not a folder, files that would be overwritten.
    """
    numbers: tuple[tuple[str, float | None, str | None], ...] = (
        ("steps", run.steps, None),
        ("batch", run.batch, None),
        ("crop", run.crop, None),
        ("save_every", run.save_every, None),
        ("jitters", recipe.jitters, None),
        ("radius", recipe.radius, None),
        ("learning_rate", run.learning_rate, "lr"),
        ("scale", recipe.scale, "feature_scale"),
    )
    for name, number, typed in numbers:
        if number is not None and not 0 < number < math.inf:
            raise UserError(f"{option(name, number, typed)}: expected a number above 0")
    if run.learning_rate > 1:
        raise UserError(
            f"{option('learning_rate', run.learning_rate, 'lr')}: expected at most 1, of which every step moves every "
            "weight"
        )
    for name, number in (("workers", run.workers), ("seed", run.seed)):
        if number < 0:
            raise UserError(f"{option(name, number)}: expected 0 or more")
    if run.init is not None and recipe.start != "random":
        raise UserError(f"{run.init} and {recipe.start} are two beginnings: leave one of them away")
    choices = (
        ("upsampler", recipe.upsampler, TRAINED, None),
        ("start", recipe.start, STARTS, "init"),
        ("features", recipe.features, FEATURES, None),
        ("precision", run.precision, ("auto", *PRECISIONS), None),
    )
    for name, choice, known, typed in choices:
        if choice not in known:
            raise UserError(f"{option(name, choice, typed)}: use one of {', '.join(known)}")
    check_folders(images)
    files = Files(out)
    files.check([run.clip, run.init], run.resume)
    return files


def begin_with(trainee: Trainee, path: Path, recipe: UpsamplerRecipe) -> None:
    """Loads an upsampler's checkpoint.

    Raises:
        UserError: it is damaged, of another kind or radius, or for other features.
    """
    name, state = identify_upsampler(read_state_dict(path))
    if name != recipe.upsampler:
        raise UserError(f"{path} holds a {name}, not a {recipe.upsampler}: use {option('upsampler', name)}")
    if (radius := radius_of(state)) != trainee.upsampler.radius:
        raise UserError(
            f"{path} has kernels of radius {radius}, not {trainee.upsampler.radius}: use "
            f"{option('radius', radius)}, or another {option('init')}"
        )
    load_strictly(trainee.upsampler, state, str(path))


def describe(model: str, run: TrainingRun, recipe: UpsamplerRecipe, images: Sequence[Path]) -> dict[str, Any]:
    """The settings in which a resumed run must agree; those that change no number (workers, processes) are left out."""
    listed = "".join(f"{path.name} {path.stat().st_size}\n" for path in images)
    facts = {
        "model": model,
        "clip_sha256": None if run.clip is None else checksum(run.clip),
        "architecture": None if run.architecture is None else named_file(run.architecture),
        "images": len(images),
        "images_sha256": hashlib.sha256(listed.encode()).hexdigest(),
        "batch": run.batch,
        "crop": run.crop,
        "seed": run.seed,
        "learning_rate": run.learning_rate,
        "precision": run.precision,
        "init": None if run.init is None else named_file(run.init),
        **asdict(recipe),
    }
    del facts["recompute"]
    return facts


def _places(paths: Sequence[Path]) -> str:
    """The folders of the images, for display: it shows whether masks are among them."""
    counts = Counter(path.parent for path in paths).most_common()
    shown = ", ".join(f"{count} in {folder}" for folder, count in counts[:4])
    return f"{shown} and {len(counts) - 4} folders more" if len(counts) > 4 else shown


def _size(features: Tensor, scale: float) -> str:
    """The size of the features, and advice where the losses are not made for such a size."""
    size = float(features.float().square().mean().sqrt())
    size_text = f"features of size {size:.2g} (root mean square), in the losses {size * scale:.2g}"
    if USUAL_SIZE / 4 < size * scale < USUAL_SIZE * 4:
        return size_text
    better = option("scale", float(f"{USUAL_SIZE / max(size, 1e-6):.2g}"), "feature_scale")
    return f"{size_text}; the recipe was made for {USUAL_SIZE}: use {better}"


class Warner:
    """Warns of each file that is left out, once."""

    def __init__(self, speaks: bool) -> None:
        self.speaks = speaks
        self.known: set[str] = set()

    def __call__(self, left_out: dict[str, str]) -> None:
        """Warns of those that are new: file -> why."""
        for path, why in left_out.items():
            if self.speaks and path not in self.known:
                warnings.warn(f"left out: {why}", UserNotice, stacklevel=2)
            self.known.add(path)


def _silent(_: str) -> None:
    """Shows nothing: the first process shows everything."""
