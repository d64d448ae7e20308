"""The training of the small CLIP: first its text tower, then, with that one fixed, its image tower."""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from segearth.errors import UserError
from segearth.models import DenseCLIP
from segearth.outputs import atomic
from segearth.transfer import normalise
from tiny_clip.crops import cut_crop, jitter
from tiny_clip.language import load_teacher, read_glossary, targets, train_text
from tiny_clip.losses import CELLS, Words, image_loss, region_loss
from tiny_clip.sources import Sample
from tiny_clip.tasks import TASKS

SHARES = {"drawn": 8, "dubai": 11, "gsi_road": 2, "amazon_forest": 1, "eurosat100": 2}  # crops of 24
WEIGHT_DECAY = 0.05  # of matrices
IMAGE_LOSS = 0.2  # its weight; naming a whole image is the easier half
IMAGES_EMBEDDED = 6  # crops a step for it, each once more through the last block


@dataclass(frozen=True)
class ClipRecipe:
    """What decides the result, beside the data.

    Attributes:
        steps: optimiser steps of the image tower.
        text_steps: of the text tower.
        batch: crops a step.
        lr: highest learning rate of what is not a block's matrix.
        muon_lr: highest learning rate of the blocks' matrices.
        seed: of everything that is drawn; every step has a generator of its own.
        teacher: see `language.load_teacher`.
    """

    steps: int = 5000
    text_steps: int = 800
    batch: int = 24
    lr: float = 1.2e-3
    muon_lr: float = 0.015
    seed: int = 0
    teacher: str = "minilm"


def train(config: Path, samples: list[Sample], recipe: ClipRecipe, checkpoint: Path, every: int = 250) -> nn.Module:
    """Trains a CLIP, or goes on where a checkpoint stands.

    Args:
        config: the architecture, open_clip's JSON.
        samples: what to learn from.
        recipe: how.
        checkpoint: read if it is there, and written every ``every`` steps, whole or not at all.
        every: steps between two checkpoints.

    Returns:
        The trained `open_clip.CLIP`, in evaluation mode.

    Raises:
        UserError: the checkpoint is of another recipe, architecture or data.
    """
    torch.manual_seed(recipe.seed)
    clip = open_clip.CLIP(**json.loads(config.read_text(encoding="utf-8")))
    facts = {**asdict(recipe), "config": config.read_text(encoding="utf-8"), "samples": len(samples)}
    about = json.dumps(facts, allow_nan=False)
    saved = read_checkpoint(checkpoint, about) if checkpoint.exists() else None
    losses: list[float] = []
    if saved is None:
        phrases, places = targets(read_glossary(), load_teacher(recipe.teacher), int(clip.text_projection.shape[1]))
        train_text(clip, phrases, places, recipe.text_steps, recipe.seed)
        first = 0
    else:
        clip.load_state_dict(saved["clip"])
        first, losses = saved["step"], saved["losses"]
        print(f"going on at step {first} of {checkpoint}", flush=True)
    clip.requires_grad_(False)
    clip.visual.requires_grad_(True)
    clip.logit_scale.requires_grad_(True)
    movers = make_optimizers(clip, recipe)
    if saved is not None:
        for part, state in zip(movers, saved["optimizers"], strict=True):
            part.load_state_dict(state)
    dense, words, pool = DenseCLIP(clip), Words.of(clip), Pool(samples)
    start, began = time.monotonic(), first
    clip.train()
    for step in range(first, recipe.steps):
        rng = np.random.default_rng([recipe.seed, 1, step])
        loss = compute_loss(rng, dense, clip, words, pool, recipe.batch)
        clip.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in clip.parameters() if p.requires_grad], 1.0)
        for part in movers:
            part.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == recipe.steps:
            rate = (time.monotonic() - start) / (step + 1 - began)
            left = rate * (recipe.steps - step - 1) / 60
            print(f"step {step + 1}/{recipe.steps}, loss {np.mean(losses[-50:]):.3f}, {left:.0f} min left", flush=True)
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            states = [part.state_dict() for part in movers]
            state = {"clip": clip.state_dict(), "optimizers": states, "step": step + 1, "losses": losses}
            write_checkpoint(checkpoint, {**state, "about": about})
    return clip.eval()


def make_optimizers(clip: nn.Module, recipe: ClipRecipe) -> list[torch.optim.Optimizer | LambdaLR]:
    """Muon for the matrices of the blocks, AdamW for all else, and then the course of their learning rates.

    Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) reaches a loss in some two thirds of the steps
    that AdamW needs, when a small ViT begins from nothing.
    """
    blocks = [p for p in clip.visual.transformer.parameters() if p.requires_grad and p.ndim == 2]  # type: ignore
    rest = [p for p in clip.parameters() if p.requires_grad and all(p is not q for q in blocks)]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(blocks, lr=recipe.muon_lr, weight_decay=WEIGHT_DECAY),
        torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98)),
    ]
    schedules = [LambdaLR(optimizer, partial(course, steps=recipe.steps)) for optimizer in optimizers]
    return [*optimizers, *schedules]


def course(step: int, steps: int) -> float:
    """The learning rate's part of its highest: it rises over a twentieth of the steps, and falls as a cosine to 0."""
    rise = 0.05 * steps
    return (step + 1) / rise if step + 1 < rise else 0.5 + 0.5 * math.cos(math.pi * (step - rise) / (steps - rise))


class Pool:
    """The samples by source, larger images more often, with weights that let rare labels count more."""

    def __init__(self, samples: list[Sample]) -> None:
        self.sources = {s: [sample for sample in samples if sample.source == s] for s in SHARES}
        self.sources = {source: its for source, its in self.sources.items() if its}
        self._odds = {}
        self.weights = {}
        for source, its in self.sources.items():
            areas = np.array([sample.labels.numel() for sample in its], dtype=float)
            self._odds[source] = areas / areas.sum()
            count = len(TASKS[source].allowed)
            labels = sum(s.labels.flatten().long().bincount(minlength=256)[:count] for s in its)
            weights = torch.as_tensor(labels).clamp(min=1).float() ** -TASKS[source].rarity
            self.weights[source] = weights / weights.mean()

    def plan(self, batch: int) -> list[str]:
        """The source of each of ``batch`` crops, by `SHARES`, every source at least once if there is room."""
        shares = np.array([SHARES[source] for source in self.sources], dtype=float)
        ends = np.cumsum(shares) / shares.sum() * batch
        return [list(self.sources)[int(np.searchsorted(ends, i + 0.5))] for i in range(batch)]

    def cut(self, rng: np.random.Generator, source: str) -> tuple[Tensor, Tensor]:
        """A random crop of a source: image (3, SIZE, SIZE) in [0, 255] and labels (SIZE, SIZE)."""
        sample = self.sources[source][rng.choice(len(self.sources[source]), p=self._odds[source])]
        image, labels = cut_crop(rng, sample.image, sample.labels, TASKS[source].zoom)
        return jitter(rng, image), labels


def compute_loss(
    rng: np.random.Generator, dense: DenseCLIP, clip: nn.Module, words: Words, pool: Pool, batch: int
) -> Tensor:
    """The loss of one step: regions of the sources that have them, and the contrast of whole images."""
    sources = pool.plan(batch)
    crops = [pool.cut(rng, source) for source in sources]
    images = normalise(torch.stack([image for image, _ in crops]))
    labels = torch.stack([its for _, its in crops])
    regions = [i for i, source in enumerate(sources) if not TASKS[source].whole]
    # whole-image labels first, as they have no other loss
    chosen = sorted(range(batch), key=lambda i: (not TASKS[sources[i]].whole, rng.random()))[:IMAGES_EMBEDDED]
    with torch.autocast("cpu", torch.bfloat16):
        features, cls, embedding = dense.with_embedding(images, chosen)
    cls, embedding = F.normalize(cls[regions].float(), dim=-1), F.normalize(embedding.float(), dim=-1)
    pixels = F.interpolate(features[regions].float(), size=(CELLS, CELLS), mode="bilinear")
    pixels = F.normalize(pixels, dim=1)
    scale = clip.logit_scale.exp().clamp(max=100)  # type: ignore[operator]
    loss = IMAGE_LOSS * image_loss(words, rng, embedding, labels[chosen], [sources[i] for i in chosen], scale)
    for source, places in by_task(rng, [sources[i] for i in regions]):
        weights = pool.weights[sources[regions[places[0]]]]
        its = labels[[regions[i] for i in places]]
        part = region_loss(rng, words, source, pixels[places], cls[places], its, weights)
        loss = loss + part * len(places) / len(regions)
    return loss


def by_task(rng: np.random.Generator, sources: list[str]) -> Iterator[tuple[str, list[int]]]:
    """The crops of each task; a third of Dubai's is asked in the words of the drawn scenes."""
    tasks = ["dubai_cover" if source == "dubai" and rng.random() < 0.33 else source for source in sources]
    for task in dict.fromkeys(tasks):
        yield task, [i for i, its in enumerate(tasks) if its == task]


def write_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Saves tensors and plain values; the file is there whole or not at all."""
    with atomic(path) as part:
        torch.save(state, part)


def read_checkpoint(path: Path, about: str) -> dict[str, Any]:
    """Reads a checkpoint of the same training.

    Raises:
        UserError: it is of another one, or damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        raise UserError(f"{path} is no checkpoint or a damaged one: delete it to begin anew") from None
    if state.get("about") != about:
        raise UserError(f"{path} is the checkpoint of another training: give its options again, or delete it")
    return state
