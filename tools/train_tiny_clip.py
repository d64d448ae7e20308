"""Trains `tiny`, the small CLIP in segearth/data, on drawn scenes.

    python tools/train_tiny_clip.py --out segearth/data/tiny.safetensors

It is a CLIP of the usual shape and learns from what CLIP is used with: class names in ImageNet's templates,
and images. Two losses: each pixel's upsampled dense feature (segearth.models.DenseCLIP) must match the name
of its class, and each image's embedding the names of what is in it. About 14 minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.loading import load_tokenizer
from segearth.metrics import confusion_matrix, iou_per_class
from segearth.models import Bilinear, DenseCLIP, SegEarth, encode_text
from segearth.predictor import Predictor, normalise
from segearth.synthetic import CLASSES, DEMO_SEED, Scene, draw_scene
from segearth.vocabulary import Vocabulary

CONFIG = Path(__file__).parents[1] / "segearth" / "data" / "tiny.json"
LOGIT_SCALE = 50.0  # of the inference (SegEarth's default), so that the softmax is the one trained
CLS_LAMBDAS = (0.0, -0.3)  # with and without the [CLS] token's share; -0.3 is the default of the inference
CELLS = 28  # side of the grid on which pixels are compared with names: cells of 8 × 8 pixels
POOL_SEEDS = 1000  # first seed of the scenes that are trained on
HELD_OUT = (2, 3, 4)  # scenes to measure on, beside the one that is shipped

Pool = list[tuple[Tensor, Tensor]]  # images (3, H, W) uint8 and labels (H, W) uint8


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Trains, saves and measures; returns the mIoU of the shipped and the held-out scenes."""
    parser = argparse.ArgumentParser(description="Train `tiny`, the small CLIP, on drawn scenes.")
    parser.add_argument("--out", type=Path, default=CONFIG.with_suffix(".safetensors"), help="weights to write")
    parser.add_argument("--config", type=Path, default=CONFIG, help="architecture, as open_clip's JSON")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=12, help="crops a step")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--scenes", type=int, default=128, help="scenes to draw crops from")
    parser.add_argument("--scene-size", type=int, default=1024, help="their side in pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw them; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    clip = open_clip.CLIP(**json.loads(args.config.read_text(encoding="utf-8")))
    pool = draw_pool(args.scenes, args.scene_size, args.workers)
    train(clip, pool, args.steps, args.batch, args.lr, args.seed)
    save(clip, args.out, {"seed": str(args.seed), "steps": str(args.steps)})

    clip.load_state_dict({name: value.half().float() for name, value in clip.state_dict().items()})
    results = [evaluate(clip, draw_scene(seed, args.scene_size, args.scene_size)) for seed in (DEMO_SEED, *HELD_OUT)]
    for seed, ious in zip((DEMO_SEED, *HELD_OUT), results, strict=True):
        print(f"scene {seed}: mIoU {np.nanmean(ious):.3f}; per class {' '.join(f'{iou:.2f}' for iou in ious)}")
    return [float(np.nanmean(ious)) for ious in results]


def draw_pool(count: int, size: int, workers: int) -> Pool:
    """Draws ``count`` square scenes of ``size`` pixels to cut crops from."""
    seeds, draw = range(POOL_SEEDS, POOL_SEEDS + count), partial(draw_scene, height=size, width=size)
    if workers:
        with ProcessPoolExecutor(workers) as executor:
            scenes = list(executor.map(draw, seeds))
    else:
        scenes = [draw(seed) for seed in seeds]
    return [(torch.from_numpy(s.image).permute(2, 0, 1), torch.from_numpy(s.labels)) for s in scenes]


def train(clip: nn.Module, pool: Pool, steps: int, batch: int, lr: float, seed: int) -> list[float]:
    """Trains a CLIP in place.

    Args:
        clip: an `open_clip.CLIP`.
        pool: the scenes.
        steps: optimiser steps.
        batch: crops a step.
        lr: highest learning rate; it rises over the first twentieth and falls to zero.
        seed: of crops, colours, names and templates.

    Returns:
        The loss of every step.
    """
    rng = np.random.default_rng(seed)
    dense = DenseCLIP(clip, method="SegEarth")
    prompts = tokenize(CLASSES)
    weights = class_weights(pool)
    decayed = [p for p in clip.parameters() if p.ndim >= 2]
    others = [p for p in clip.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1, pct_start=0.05)
    losses, start = [], time.monotonic()
    clip.train()
    for step in range(steps):
        images, targets = make_batch(rng, pool, batch)
        loss = compute_loss(rng, dense, clip, images, targets, pick_prompts(rng, prompts), weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            minutes = (time.monotonic() - start) / 60
            print(f"step {step + 1}/{steps}, loss {np.mean(losses[-50:]):.3f}, {minutes:.1f} min", flush=True)
    clip.eval()
    return losses


def compute_loss(
    rng: np.random.Generator, dense: DenseCLIP, clip: nn.Module, images: Tensor, targets: Tensor,
    tokens: Tensor, weights: Tensor,
) -> Tensor:  # fmt: skip
    """Cross-entropy of names for pixels, as the inference compares them, and for whole images.

    Args:
        rng: picks whether the [CLS] token's share is subtracted.
        dense: the dense readout of ``clip``.
        clip: the CLIP.
        images: (B, 3, 224, 224), normalised.
        targets: (B, C, CELLS, CELLS), the part of each cell that is of each class.
        tokens: (C, context length), one prompt a class.
        weights: (C,), of the classes in the pixels' loss.
    """
    text = F.normalize(clip.encode_text(tokens), dim=-1)  # type: ignore[operator]
    some = max(1, len(images) // 4)  # the whole-image loss is easy, and a second pass costs time
    with torch.autocast("cpu", torch.bfloat16):
        features, cls = dense(images)
        embedding = clip.encode_image(images[:some])  # type: ignore[operator]
    features, cls, embedding = features.float(), cls.float(), F.normalize(embedding.float(), dim=-1)
    pixels = F.normalize(F.interpolate(features, size=(CELLS, CELLS), mode="bilinear"), dim=1)
    share = F.normalize(cls, dim=-1) @ text.T  # (B, C)
    logits = torch.einsum("bdhw,cd->bchw", pixels, text) + rng.choice(CLS_LAMBDAS) * share[:, :, None, None]
    per_pixel = F.cross_entropy(LOGIT_SCALE * logits, targets, weight=weights)
    scale = clip.logit_scale.exp().clamp(max=100)  # type: ignore[operator]
    content = targets[:some].mean(dim=(2, 3))
    return per_pixel + 0.2 * F.cross_entropy(scale * embedding @ text.T, content)


def make_batch(rng: np.random.Generator, pool: Pool, batch: int) -> tuple[Tensor, Tensor]:
    """Normalised crops (B, 3, 224, 224) and class fractions (B, C, CELLS, CELLS)."""
    crops = [cut_crop(rng, *pool[rng.integers(len(pool))]) for _ in range(batch)]
    images = torch.stack([jitter(rng, image) for image, _ in crops])
    labels = torch.stack([labels for _, labels in crops])
    fractions = F.adaptive_avg_pool2d(F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float(), CELLS)
    return normalise(images), fractions


def cut_crop(rng: np.random.Generator, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A turned, mirrored 224 crop at a zoom of 0.3 to 1.2.

    Returns:
        (3, 224, 224) float in [0, 255] and (224, 224) int64.
    """
    height, width = labels.shape
    side = min(round(224 / np.exp(rng.uniform(np.log(0.3), np.log(1.2)))), height, width)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    window = (..., slice(top, top + side), slice(left, left + side))
    rgb = F.interpolate(image[window][None].float(), size=224, mode="bilinear")[0]  # the inference's way
    names = F.interpolate(labels[window][None, None].float(), size=224, mode="nearest-exact")[0, 0].long()
    turns, mirror = int(rng.integers(4)), rng.random() < 0.5
    rgb, names = rgb.rot90(turns, (1, 2)), names.rot90(turns, (0, 1))
    return (rgb.flip(2), names.flip(1)) if mirror else (rgb, names)


def jitter(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Another camera: brightness, contrast, saturation, colour balance, gamma, blur, noise; in [0, 255]."""
    grey, mean = image.mean(dim=0), image.mean()
    image = grey + rng.uniform(0.7, 1.3) * (image - grey)
    image = mean + rng.uniform(0.8, 1.2) * (image - mean)
    balance = torch.from_numpy(rng.uniform(0.94, 1.06, (3, 1, 1))).float()
    image = (image * rng.uniform(0.85, 1.15) * balance / 255).clamp(0, 1) ** rng.uniform(0.85, 1.2) * 255
    if rng.random() < 0.3:
        image = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="reflect"), 3, 1)[0]
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return (image + rng.uniform(0, 5) * noise).clamp(0, 255)


def class_weights(pool: Pool) -> Tensor:
    """(C,) weights that let rare classes count more: one over the root of the frequency, 1 on average."""
    counts = torch.stack([labels.flatten().long().bincount(minlength=len(CLASSES)) for _, labels in pool]).sum(0)
    weights = counts.clamp(min=1).float() ** -0.5
    return weights / weights.mean()


def tokenize(classes: tuple[tuple[str, ...], ...]) -> list[Tensor]:
    """Per class the tokens of all its names in all templates, (names · 80, context length)."""
    tokenizer, templates = load_tokenizer(77), open_clip.OPENAI_IMAGENET_TEMPLATES
    return [tokenizer([template(name) for name in names for template in templates]) for names in classes]


def pick_prompts(rng: np.random.Generator, prompts: list[Tensor]) -> Tensor:
    """(C, context length): a random name in a random template for each class."""
    return torch.stack([texts[rng.integers(len(texts))] for texts in prompts])


def save(clip: nn.Module, path: Path, about: dict[str, str]) -> None:
    """Writes the weights as float16; the file is there whole or not at all."""
    state = {name: value.half().contiguous() for name, value in clip.state_dict().items()}
    notes = {"about": "small CLIP trained on drawn scenes; not OpenAI's CLIP", **about}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(path.name + ".part")
    partial_path.write_bytes(to_bytes(state, metadata=notes))  # save_file would make it the owner's alone
    partial_path.replace(path)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


def evaluate(clip: nn.Module, scene: Scene, long_side: int = 448) -> NDArray[np.float64]:
    """IoU of every class, (C,), as a user gets it: windows of the image resized to ``long_side``; NaN if absent."""
    vocabulary = Vocabulary(scene.classes)
    queries = encode_text(clip, load_tokenizer(77), vocabulary)
    model = SegEarth(DenseCLIP(clip), queries, torch.tensor(vocabulary.query_to_class), upsampler=Bilinear())
    found = Predictor(model, vocabulary).predict(scene.image, long_side).labels
    return iou_per_class(confusion_matrix(found, scene.labels, len(vocabulary)))


if __name__ == "__main__":
    main()
