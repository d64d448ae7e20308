"""Cosine logits of upsampled features without the D-channel pixel map: exact, at a fraction of the work.

Let F (N × D) be a window's patch features, U (P × N) the upsampling to P pixels, W and b the weight and bias of the
upsampler's last 1 × 1 convolution. The definition is

    z = U F,    o = z + 0.1 (z Wᵀ + b),    logits[p, q] = o_p · t_q / ‖o_p‖    for unit queries t_q.

1. U acts on pixels and W on channels, so they commute: o = U Y + 1 cᵀ with Y = F (I + 0.1 Wᵀ) on the N patches and
   c = 0.1 b. (The rows of U do not sum to 1, so c is added after U.)
2. With S = [Y; cᵀ] and its Gram matrix S Sᵀ = L Lᵀ (Cholesky), S = L Qᵀ with an orthonormal Q (D × r), r = N + 1, so
   that ‖o_p‖ = ‖Qᵀ o_p‖ and o_p · t_q = Qᵀ o_p · Qᵀ t_q: the r-vectors Qᵀ o_p = L_Yᵀ U_pᵀ + l_c are all that is needed.
   (For N + 1 ≥ D they would be no shorter.)
3. So U is applied to r channels instead of D. The Q products of the numerator join them as channels of their own
   before the last step, which ends in logits, tile by tile.
4. The norms do not depend on the queries. Where they are kept (`pixel_norms`), other queries on the same image need
   the Q channels U (Y t) alone (`query_products`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.models.flat import MOST_PIXELS, SCRATCH_MB, Operations, Upsampled, operations_for
from segearth.models.precision import true_float32
from segearth.models.simfeatup import JBUStep, LinearUpsampler, pool
from segearth.models.tile_kernels import TILE
from segearth.models.tiles import untile, upsample2x, upsample_tiles

# number of a window, and its upsampled channels (..., C): the channels (..., K) that are made of them
Finish: TypeAlias = Callable[[int, Tensor], Tensor]


class Reduced(NamedTuple):
    """A window's features in the r dimensions that matter (and some of zeros).

    Attributes:
        source: (h, w, r), to be upsampled.
        shift: (r,), to be added to every pixel afterwards.
        queries: (r, Q).
    """

    source: Tensor
    shift: Tensor
    queries: Tensor

    def with_products(self, maps: Tensor) -> Tensor:
        """Maps (..., r) with their products with the queries as Q more channels: cheaper before they are upsampled."""
        return torch.cat([maps, maps @ self.queries], dim=-1)

    def norms(self, upsampled: Tensor) -> Tensor:
        """Lengths (..., 1) of the features, at least 1e-12, from their upsampled channels (..., r), in their place."""
        return torch.linalg.vector_norm(upsampled.add_(self.shift), dim=-1, keepdim=True).clamp_(min=1e-12)

    def logits(self, upsampled: Tensor) -> Tensor:
        """Cosines (..., Q) from what `with_products` gave, upsampled, (..., r + Q), in its place."""
        rank = len(self.shift)
        norms = self.norms(upsampled[..., :rank])
        return upsampled[..., rank:].add_(self.shift @ self.queries).div_(norms)


def is_linear(upsampler: nn.Module | None) -> TypeGuard[LinearUpsampler]:
    """Whether the upsampler's kernels depend on the image alone, so that its norms can be kept for other queries."""
    return bool(getattr(upsampler, "linear", False))


def reduce(features: Tensor, upsampler: LinearUpsampler, queries: Tensor) -> list[Reduced]:
    """Folds the last convolution into the patch features and rotates them into r = min(D, N + 1) dimensions.

    Args:
        features: (n, D, h, w), of n windows.
        upsampler: one that `is_linear`.
        queries: (Q, D), of length 1.
    """
    # one by one: products of several windows may be rounded in another way than those of one
    return [_reduce(window, upsampler, queries) for window in features.split(1)]


def _reduce(features: Tensor, upsampler: LinearUpsampler, queries: Tensor) -> Reduced:
    """`reduce` for one window, (1, D, h, w)."""
    _, dim, h, w = features.shape
    tokens, bias = upsampler.fold(features)
    shift, projected = bias[None, None], queries.T[None]
    if h * w + 1 < dim:
        lower, projected = rotate(torch.cat([tokens, shift], dim=1), projected)
        tokens, shift = lower.split([h * w, 1], dim=1)
    # channels of zeros change nothing, and matrix products like multiples of 16
    zeros = -(tokens.shape[2] + len(queries)) % 16
    maps = F.pad(tokens[0], [0, zeros]).reshape(h, w, -1)
    return Reduced(maps, F.pad(shift[0, 0], [0, zeros]), F.pad(projected[0], [0, 0, 0, zeros]))


def rotate(vectors: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of M vectors in a basis of their own span, by Cholesky's decomposition of their Gram matrix.

    In float64, where squaring leaves enough digits, this is as exact as a QR decomposition in float32, a little faster
    on a processor, and ten times faster on a GPU, where PyTorch decomposes one window after another. Vectors that
    depend on each other, or are zero, do no harm: to the unit diagonal is added what rounding can take from it.

    Args:
        vectors: (n, M, D) float32, M ≤ D.
        queries: (n, D, Q).

    Returns:
        (n, M, M) with the same products among each other as the vectors, and (n, M, Q), the queries: their products
        with the coordinates are those with the vectors.
    """
    count, dim = vectors.shape[1:]
    # a GPU of Apple's has no float64
    exact = vectors.cpu().double() if vectors.device.type == "mps" else vectors.double()
    lengths = torch.linalg.vector_norm(exact, dim=2, keepdim=True).clamp(min=1e-150)
    exact = exact / lengths
    gram = exact @ exact.transpose(1, 2)
    gram.diagonal(dim1=1, dim2=2).add_((count + dim) * torch.finfo(torch.float64).eps)
    lower, _ = torch.linalg.cholesky_ex(gram)
    products = exact @ queries.to(exact.device).to(exact.dtype)  # not at once: Apple's GPU would convert
    projected = torch.linalg.solve_triangular(lower, products, upper=False)
    return (lengths * lower).to(vectors), projected.to(vectors)


@torch.no_grad()  # for prediction; training has `segearth.training.simfeatup.kernels`
@true_float32()
def cosine_logits(
    upsampler: nn.Module,
    features: Tensor,
    picture: Tensor,
    offsets: list[tuple[int, int]],
    queries: Tensor,
    patch: int,
    scratch_mb: float = SCRATCH_MB,
) -> Tensor:
    """Cosines of every pixel's upsampled feature and every query, for windows of one picture.

    Equal, to rounding, to `normalize(upsampler(features, guidance))` times the queries for each window alone.

    Args:
        upsampler: `JBUOne`, `JBUStack`, `Bilinear`, or any module (source, guidance) -> (n, D, H, W).
        features: (n, D, h, w), the patch features of n windows.
        picture: (3, H, W), the normalised image that holds the windows.
        offsets: (top, left) of each window, in pixels.
        queries: (Q, D), of length 1.
        patch: side of a patch in pixels.
        scratch_mb: of `operations_for`.

    Returns:
        (n, Q, h · patch, w · patch).

    Raises:
        ValueError: a window that does not lie in the picture.
    """
    if not is_linear(upsampler):
        h, w = features.shape[-2:]
        guides = _guides(picture, offsets, (h * patch, w * patch))
        maps = [upsampler(f[None].float(), g[None]) for f, g in zip(features, guides, strict=True)]
        return torch.cat([torch.einsum("ndhw,qd->nqhw", F.normalize(m, dim=1), queries) for m in maps])
    where = ([picture], [offsets], patch)
    if (flat := _flat(upsampler, features, *where, queries, scratch_mb)) is not None:
        norms, products = flat
        return products.div_(norms)
    reduced = reduce(features, upsampler, queries)
    return _upsample(
        upsampler,
        [window.source for window in reduced],
        picture,
        offsets,
        patch,
        lambda i, pixels: reduced[i].logits(pixels),
        lambda i, source: reduced[i].with_products(source),
    )


def listed(
    upsampler: nn.Module | None, device: torch.device, dtype: torch.dtype, scratch_mb: float = SCRATCH_MB
) -> Operations | None:
    """The operations of `flat`, where the tiles of all windows are better one list: on a GPU. Else None.

    Args:
        upsampler: as in `cosine_logits`.
        device: the model's.
        dtype: of features. Maps of those of 16 bits are kept in float16, which moves cosines by less than 3e-4.
        scratch_mb: of `operations_for`.
    """
    storage = torch.float32 if dtype == torch.float32 else torch.float16
    doubles = is_linear(upsampler) and upsampler.radius is not None
    return operations_for(device, storage, scratch_mb) if doubles else None


@torch.no_grad()
@true_float32()
def joined_logits(
    upsampler: nn.Module,
    features: Tensor,
    pictures: list[Tensor],
    places: list[list[tuple[int, int]]],
    queries: Tensor,
    patch: int,
    scratch_mb: float = SCRATCH_MB,
) -> Tensor:
    """`cosine_logits` of windows of several pictures, on a GPU all at once.

    Args:
        upsampler: as in `cosine_logits`.
        features: (n, D, h, w) of all windows, picture by picture.
        pictures: (3, H, W) each.
        places: (top, left) of the windows in each picture.
        queries: as in `cosine_logits`.
        patch: likewise.
        scratch_mb: likewise.

    Returns:
        (n, Q, h · patch, w · patch).
    """
    where = (pictures, places, patch)
    if is_linear(upsampler) and (flat := _flat(upsampler, features, *where, queries, scratch_mb)) is not None:
        norms, products = flat
        return products.div_(norms)
    parts = zip(features.split([len(offsets) for offsets in places]), pictures, places, strict=True)
    return torch.cat([cosine_logits(upsampler, *part, queries, patch, scratch_mb) for part in parts])


@torch.no_grad()
@true_float32()
def pixel_norms(
    upsampler: LinearUpsampler,
    features: Tensor,
    picture: Tensor,
    offsets: list[tuple[int, int]],
    patch: int,
    scratch_mb: float = SCRATCH_MB,
) -> Tensor:
    """Lengths ‖o_p‖ of the upsampled features, (n, 1, h · patch, w · patch); arguments as of `cosine_logits`.

    Args:
        upsampler: one that `is_linear`.
        features: (n, D, h, w).
        picture: (3, H, W).
        offsets: (top, left) of each window.
        patch: side of a patch in pixels.
        scratch_mb: of `operations_for`.
    """
    none = picture.new_empty(0, features.shape[1])
    if (flat := _flat(upsampler, features, [picture], [offsets], patch, none, scratch_mb)) is not None:
        return flat[0]
    reduced = reduce(features, upsampler, none)
    sources = [window.source for window in reduced]
    return _upsample(upsampler, sources, picture, offsets, patch, lambda i, pixels: reduced[i].norms(pixels))


@torch.no_grad()
@true_float32()
def query_products(
    upsampler: LinearUpsampler,
    features: Tensor,
    picture: Tensor,
    offsets: list[tuple[int, int]],
    queries: Tensor,
    patch: int,
    scratch_mb: float = SCRATCH_MB,
) -> Tensor:
    """Products o_p · t_q of every pixel and query; divided by `pixel_norms` they are `cosine_logits`.

    Args:
        upsampler: one that `is_linear`.
        features: (n, D, h, w).
        picture: (3, H, W).
        offsets: (top, left) of each window.
        queries: (Q, D), of length 1.
        patch: side of a patch in pixels.
        scratch_mb: of `operations_for`.

    Returns:
        (n, Q, h · patch, w · patch).
    """
    if (flat := _flat(upsampler, features, [picture], [offsets], patch, queries, scratch_mb, norms=False)) is not None:
        return flat[1]
    count = len(queries)
    sources, shift = [], picture.new_zeros(count)
    for window in features.split(1):  # as in `reduce`
        tokens, bias = upsampler.fold(window)
        sources.append(F.pad(tokens[0] @ queries.T, [0, -count % 16]).unflatten(0, features.shape[-2:]))
        shift = bias @ queries.T
    return _upsample(upsampler, sources, picture, offsets, patch, lambda _, pixels: pixels[..., :count] + shift)


def _flat(
    upsampler: LinearUpsampler,
    features: Tensor,
    pictures: list[Tensor],
    places: list[list[tuple[int, int]]],
    patch: int,
    queries: Tensor,
    scratch_mb: float,
    norms: bool = True,
) -> tuple[Tensor, Tensor] | None:
    """On a GPU all windows at once: `pixel_norms` (zeros where they are not wanted) and `query_products`; else None."""
    n, dim, h, w = features.shape
    operations = listed(upsampler, features.device, features.dtype, scratch_mb)
    if operations is None or min(h, w) < upsampler.min_patches:
        return None
    if h * w * patch**2 > MOST_PIXELS:
        return None
    size = (h * patch, w * patch)
    guides = [_guides(picture, offsets, size) for picture, offsets in zip(pictures, places, strict=True)]
    windows = torch.stack([window for picture_windows in guides for window in picture_windows])
    tokens, bias = upsampler.fold(features)
    vectors = torch.cat([tokens, bias.expand(n, 1, -1)], dim=1)
    if not norms:
        vectors = vectors[..., :0]
    elif h * w + 1 < dim:
        vectors, _ = rotate(vectors, queries.new_empty(n, dim, 0))
    # channels of zeros change nothing, and matrix products like multiples of 16
    vectors, projected = (F.pad(part, [0, -part.shape[2] % 16]) for part in (vectors, tokens @ queries.T))
    rank, shift = vectors.shape[2], vectors[:, -1]
    maps = torch.cat([vectors[:, :-1], projected], dim=2).unflatten(1, (h, w))
    scale = None
    if features.dtype != torch.float32:  # each window within the range of float16; undone below
        scale = maps.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-20)
        maps, shift = (maps / scale).half(), shift / scale[:, 0, 0]
    pixels = Upsampled(upsampler, maps, windows, tuple(map(tuple, places)), operations)
    lengths = pixels.norms(shift) if norms else tokens.new_zeros(n, 1, 1, 1)
    products = pixels.channels(slice(rank, rank + len(queries)))
    if scale is not None:
        lengths, products = lengths * scale, products * scale
    return lengths.clamp_(min=1e-12), products.add_((bias @ queries.T)[:, None, None])


def _upsample(
    upsampler: LinearUpsampler,
    sources: list[Tensor],
    picture: Tensor,
    offsets: list[tuple[int, int]],
    patch: int,
    finish: Finish,
    before_last: Finish | None = None,
) -> Tensor:
    """Upsamples the maps (h, w, C) of windows of one picture, and finishes them tile by tile: (n, K, H, W).

    Args:
        upsampler: one that `is_linear`.
        sources: a map for each window.
        picture: (3, H, W).
        offsets: (top, left) of each window.
        patch: side of a patch in pixels.
        finish: makes the result of the upsampled channels, pixel by pixel.
        before_last: changes a map before the last step; None: it stays.
    """
    h, w = sources[0].shape[:2]
    size = (h * patch, w * patch)
    guides = _guides(picture, offsets, size)
    if upsampler.radius is not None and min(h, w) >= upsampler.min_patches:
        return _tiled(upsampler, sources, picture, offsets, size, finish, before_last)
    if before_last is not None:
        sources = [before_last(i, source) for i, source in enumerate(sources)]
    maps = (  # one after another: each has all channels at full size
        upsampler.interpolate(source.permute(2, 0, 1)[None], guide[None])[0].permute(1, 2, 0)
        for source, guide in zip(sources, guides, strict=True)
    )
    return torch.stack([finish(i, pixels) for i, pixels in enumerate(maps)]).permute(0, 3, 1, 2)


def _guides(picture: Tensor, offsets: list[tuple[int, int]], size: tuple[int, int]) -> list[Tensor]:
    """The windows (3, H, W) of a picture."""
    if any(y + size[0] > picture.shape[-2] or x + size[1] > picture.shape[-1] for y, x in offsets):
        raise ValueError(f"windows of {size} pixels at {offsets} do not lie in a picture of {tuple(picture.shape)}")
    return [picture[:, y : y + size[0], x : x + size[1]] for y, x in offsets]


def _tiled(
    upsampler: LinearUpsampler,
    maps: list[Tensor],
    picture: Tensor,
    offsets: list[tuple[int, int]],
    size: tuple[int, int],
    finish: Finish,
    before_last: Finish | None,
) -> Tensor:
    """All steps in tiles; the last one is finished there, so that no map of all channels is made at full size.

    Where the steps do not end at the windows' size, for a patch side that is no power of two, such a map is made after
    all, and resized.
    """
    *steps, last = upsampler.steps(size[0] / len(maps[0]))
    for step in steps:
        maps = _upsample2x_all(step, maps, picture, offsets, size)
    if before_last is not None:
        maps = [before_last(i, source) for i, source in enumerate(maps)]
    height, width = 2 * maps[0].shape[0], 2 * maps[0].shape[1]
    if (height, width) != size:
        pixels = [
            F.interpolate(doubled.permute(2, 0, 1)[None], size=size, mode="bilinear", align_corners=False)
            for doubled in _upsample2x_all(last, maps, picture, offsets, size)
        ]
        finished = [finish(i, window[0].permute(1, 2, 0)) for i, window in enumerate(pixels)]
        return torch.stack(finished).permute(0, 3, 1, 2)
    done: Tensor | None = None
    for members, guidance, places in _shared(picture, offsets, size, size):
        for number, rows, tiles in upsample_tiles(last, [maps[i] for i in members], guidance, places):
            band = untile(finish(members[number], tiles))
            if done is None:
                done = band.new_empty(len(maps), *size, band.shape[-1])
            done[members[number], rows] = band[: height - rows.start, :width]
    assert done is not None  # there is a window
    return done.permute(0, 3, 1, 2)


def _upsample2x_all(
    step: JBUStep,
    maps: list[Tensor],
    picture: Tensor,
    offsets: list[tuple[int, int]],
    size: tuple[int, int],
) -> list[Tensor]:
    """Doubles the maps of all windows, in the groups that share kernels."""
    doubled = (2 * maps[0].shape[0], 2 * maps[0].shape[1])
    return [
        source
        for members, guidance, places in _shared(picture, offsets, size, doubled)
        for source in upsample2x(step, [maps[i] for i in members], guidance, places)
    ]


def _shared(
    picture: Tensor, offsets: list[tuple[int, int]], size: tuple[int, int], doubled: tuple[int, int]
) -> list[tuple[list[int], Tensor, list[tuple[int, int]]]]:
    """Groups the windows that share kernels in a step: all where pooling and tiles are aligned, else each alone.

    Args:
        picture: (3, H, W).
        offsets: of the windows, in pixels.
        size: the windows' (height, width) in pixels.
        doubled: their size after the step.

    Returns:
        For each group: its windows in order, their common guidance at the step's resolution, their offsets in it.
    """
    factor = size[0] // doubled[0]
    aligned = (
        factor > 0
        and (factor * doubled[0], factor * doubled[1]) == size
        and all(side % TILE == 0 for side in doubled)  # else the border's kernels reach into the last tile but one
        and min(doubled) >= 3 * TILE  # fewer tiles are border all over: there is nothing to share
        and all(offset % (TILE * factor) == 0 for pair in offsets for offset in pair)
    )
    if aligned:
        height, width = (side // factor for side in picture.shape[-2:])
        pooled = pool(picture[:, : height * factor, : width * factor], (height, width))
        return [(list(range(len(offsets))), pooled, [(y // factor, x // factor) for y, x in offsets])]
    return [
        ([i], pool(picture[:, y : y + size[0], x : x + size[1]], doubled), [(0, 0)]) for i, (y, x) in enumerate(offsets)
    ]
