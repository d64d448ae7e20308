"""What the image tower of the small CLIP is asked: the right words for regions and for whole images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.loading import load_tokenizer
from segearth.models.text import Tokenizer, encode_tokens
from tiny_clip.crops import SIZE
from tiny_clip.sources import IGNORE
from tiny_clip.tasks import ABSENT, TASKS

LOGIT_SCALE = 50.0  # of the inference (SegEarth's default), so that the softmax is the one trained
CLS_LAMBDAS = (0.0, -0.3)  # with and without the [CLS] token's share; -0.3 is the default of the inference
CELLS = 28  # side of the grid on which pixels are compared with names: cells of 8 × 8 pixels
TEXT_NOISE = 0.25  # length of the noise on names, of length 1: a place for words that are near them


@dataclass(frozen=True)
class Words:
    """The text tower's vectors of every name in every template, (80, D) each, and what captions are made of."""

    vectors: dict[str, Tensor]
    clip: nn.Module
    tokenizer: Tokenizer

    @classmethod
    @torch.no_grad()
    def of(cls, clip: nn.Module) -> Words:
        """Encodes the names of all tasks with a text tower that does not change any more."""
        tokenizer, templates = load_tokenizer(77), open_clip.OPENAI_IMAGENET_TEMPLATES
        names = {name for task in TASKS.values() for column in task.columns for name in column} | set(ABSENT)
        texts = {name: tokenizer([template(name) for template in templates]) for name in sorted(names)}
        return cls(
            {n: F.normalize(encode_tokens(clip, tokens), dim=-1) for n, tokens in texts.items()}, clip, tokenizer
        )

    def pick(self, rng: np.random.Generator, columns: tuple[tuple[str, ...], ...]) -> Tensor:
        """(K, D): for each column a random name in a random template, moved a little, of length 1."""
        names = [column[rng.integers(len(column))] for column in columns]
        rows = [self.vectors[name] for name in names]
        picked = torch.stack([row[rng.integers(len(row))] for row in rows])
        noise = torch.from_numpy(rng.standard_normal(picked.shape, dtype=np.float32)) * picked.shape[1] ** -0.5
        return F.normalize(picked + TEXT_NOISE * rng.uniform() * noise, dim=-1)

    @torch.no_grad()
    def captions(self, rng: np.random.Generator, names: list[tuple[str, ...]]) -> Tensor:
        """(B, D): unit vectors of "a photo of a house and grass", in a random template, for B images."""
        templates = open_clip.OPENAI_IMAGENET_TEMPLATES
        texts = [templates[rng.integers(len(templates))](" and ".join(some)) for some in names]
        return F.normalize(encode_tokens(self.clip, self.tokenizer(texts)), dim=-1)


def region_loss(
    rng: np.random.Generator, words: Words, source: str, pixels: Tensor, cls: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Cross-entropy of names for the cells of images, as the inference compares them, with partial labels.

    -log of the probability that all columns a label may be have together, in a softmax over the task's columns
    and some names that are nowhere.

    Args:
        rng: picks names, and whether the [CLS] token's share is subtracted (SegEarth-OV, arXiv 2410.01768,
            equation 8).
        words: the text vectors.
        source: a key of `TASKS`.
        pixels: (B, D, CELLS, CELLS) unit vectors.
        cls: (B, D) unit vectors.
        labels: (B, SIZE, SIZE) of the task's labels, or IGNORE.
        weights: (labels,) of the task.

    Returns:
        A number; 0 where nothing is labelled.
    """
    task = TASKS[source]
    text = words.pick(rng, task.columns + tuple((name,) for name in rng.choice(ABSENT, 6, replace=False)))
    share = cls @ text.T
    logits = torch.einsum("bdhw,kd->bkhw", pixels, text) + float(rng.choice(CLS_LAMBDAS)) * share[:, :, None, None]
    log_p = (LOGIT_SCALE * logits).log_softmax(dim=1)
    per_label = torch.stack([log_p[:, list(allowed)].logsumexp(dim=1) for allowed in task.allowed], dim=1)
    fractions = cell_fractions(labels, len(task.allowed))
    weighted = fractions * weights[:, None, None]
    return -(weighted * per_label).sum() / weighted.sum().clamp(min=1e-6)


def cell_fractions(labels: Tensor, count: int) -> Tensor:
    """(B, SIZE, SIZE) to the part of each cell that each of ``count`` labels has, (B, count, CELLS, CELLS)."""
    one_hot = torch.stack([labels == label for label in range(count)], dim=1).float()
    return F.avg_pool2d(one_hot, SIZE // CELLS)


def image_loss(words: Words, rng: np.random.Generator, embedding: Tensor, labels: Tensor, sources: list[str],
               scale: Tensor) -> Tensor:  # fmt: skip
    """CLIP's symmetric contrastive loss (Radford et al., arXiv 2103.00020, figure 3) of images and captions.

    A caption names the one to three things that fill most of an image; equal captions count as one.

    Args:
        words: the text tower.
        rng: of the names and templates.
        embedding: (B, D) unit vectors of the images.
        labels: (B, SIZE, SIZE).
        sources: B keys of `TASKS`.
        scale: CLIP's logit scale.
    """
    names, kinds = [], []
    for its, source in zip(labels, sources, strict=True):
        task = TASKS[source]
        counts = its[its != IGNORE].bincount(minlength=len(task.allowed))
        order = [int(i) for i in counts.argsort(descending=True)[:3] if counts[i] > 0.15 * its.numel()]
        named = [task.allowed[i][0] for i in order if len(task.allowed[i]) == 1]
        names.append(tuple(str(rng.choice(task.columns[i])) for i in named) or ("nothing",))
        kinds.append((len(task.columns), tuple(named)))
    same = torch.tensor([[a == b for b in kinds] for a in kinds]).float()
    target = same / same.sum(dim=1, keepdim=True)
    logits = scale * embedding @ words.captions(rng, names).T
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
