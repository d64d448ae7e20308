"""Encodes class names to unit vectors in CLIP's joint space, the text classifier."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor, nn

from segearth.errors import UserNotice
from segearth.vocabulary import Vocabulary

Tokenizer = Callable[..., Tensor]
TEXT_BATCH = 320  # texts at once: 4 queries × 80 templates, about 100 MB with ViT-B/16's text tower


@torch.no_grad()
def encode_text(clip: nn.Module, tokenizer: Tokenizer, vocabulary: Vocabulary) -> Tensor:
    """Encodes every query of a vocabulary with CLIP's 80 ImageNet templates.

    Each template's feature is L2-normalised, the 80 are averaged, and the average is normalised again
    (Radford et al., arXiv 2103.00020, section 3.1.4).

    Args:
        clip: an `open_clip.CLIP`.
        tokenizer: its tokenizer, texts -> (n, context length) int64.
        vocabulary: classes and synonyms, Q queries in all.

    Returns:
        (Q, D) float32 on the device of `clip`, every row of length 1.

    Warns:
        UserNotice: a query does not fit the context length in some template and is cut.
    """
    templates: Sequence[Callable[[str], str]] = OPENAI_IMAGENET_TEMPLATES
    texts = [template(query) for query in vocabulary.queries for template in templates]
    with torch.device("cpu"):  # whatever the caller's default is: open_clip's tokenizer names no device
        tokens = _tokenize(tokenizer, texts, clip, vocabulary)
    tokens = tokens.to(next(clip.parameters()).device)
    features = torch.cat([F.normalize(encode_tokens(clip, part).float(), dim=-1) for part in tokens.split(TEXT_BATCH)])
    features = features.unflatten(0, (len(vocabulary.queries), len(templates))).mean(dim=1)
    return F.normalize(features, dim=-1)


def _tokenize(tokenizer: Tokenizer, texts: list[str], clip: Any, vocabulary: Vocabulary) -> Tensor:
    """Tokens (n, context length), with a warning for each query that is cut."""
    length = int(clip.context_length)
    longer = tokenizer(["", *texts], context_length=length + 1)  # one token more shows what would be cut
    cut = longer[1:, length] != longer[0, length]  # the empty text ends in padding
    for query, lost in zip(vocabulary.queries, cut.unflatten(0, (len(vocabulary.queries), -1)), strict=True):
        if lost.any():
            warnings.warn(
                f"the class name {query!r} is longer than the {length} tokens that the text encoder sees, "
                "its end is cut off: use a shorter name",
                UserNotice,
                stacklevel=2,
            )
    return tokenizer(texts, context_length=length)


def encode_tokens(clip: Any, tokens: Tensor) -> Tensor:
    """`clip.encode_text`, without the padding where the tower is causal: a fifth of the work.

    In a causal tower no token sees a later one, so what follows the longest text changes nothing.
    """
    mask = getattr(clip, "attn_mask", None)
    if mask is None or getattr(clip, "text_pool_type", "argmax") != "argmax":
        features: Tensor = clip.encode_text(tokens)
        return features
    end = tokens.argmax(dim=-1)  # the end-of-text token has the highest number
    length = int(end.max()) + 1
    dtype = clip.transformer.get_cast_dtype()
    x = clip.token_embedding(tokens[:, :length]).to(dtype) + clip.positional_embedding[:length].to(dtype)
    x = clip.ln_final(clip.transformer(x, attn_mask=mask[:length, :length]))
    pooled: Tensor = x[torch.arange(len(x), device=x.device), end]
    projection = clip.text_projection
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
