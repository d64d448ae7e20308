"""The whole method on tensors: windows, upsampling, [CLS] subtraction, scores, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError, option
from segearth.models.dense_clip import DenseCLIP
from segearth.models.factored import cosine_logits, is_linear, pixel_norms, query_products
from segearth.models.precision import no_autocast, true_float32
from segearth.models.replay import Replay
from segearth.models.tiles import TILE
from segearth.windows import CROP, STRIDE, Window, padding, window_blocks

# Keeps the prediction of a 448 × 448 image with ViT-B/16 and SimFeatUp within the model plus 600 MB.
MAX_MEMORY_MB = 400

WindowsDone = Callable[[int, int], None]  # (windows done, windows in all)


class EncodedBlock(NamedTuple):
    """What the queries do not change, of n windows that share the upsampler's kernels.

    Attributes:
        windows: where they lie in the image.
        features: (n, D, h, w) of their patches, as the encoder gives them.
        cls: (n, D) float32, their [CLS] vectors; None without.
        norms: (n, 1, height, width) float32, lengths of the upsampled features; None where they are not known.
    """

    windows: list[Window]
    features: Tensor
    cls: Tensor | None
    norms: Tensor | None


class EncodedImage(NamedTuple):
    """An image as `SegEarth.encode` leaves it, for any queries.

    Attributes:
        image: (1, 3, H, W), normalised.
        blocks: of its windows.
    """

    image: Tensor
    blocks: list[EncodedBlock]


class _Placed(NamedTuple):
    """A block of windows, each padded with zeros to whole patches.

    Attributes:
        picture: (3, H, W), the part of the image that holds them.
        offsets: (top, left) of each in it.
        size: (height, width) of each.
        inner: the rows and columns of each that are of the image.
    """

    picture: Tensor
    offsets: list[tuple[int, int]]
    size: tuple[int, int]
    inner: tuple[slice, slice]


class SegEarth(nn.Module):
    """SegEarth-OV (Li et al., CVPR 2025, arXiv 2410.01768).

    logits(x, q) = f(x) · q + λ · [CLS] · q for every pixel x and query q, with f the upsampled patch
    features, all L2-normalised; averaged over sliding windows.
    """

    query_features: Tensor
    query_to_class: Tensor

    def __init__(
        self,
        encoder: DenseCLIP,
        query_features: Tensor,
        query_to_class: Tensor,
        upsampler: nn.Module | None = None,
        cls_token_lambda: float = -0.3,
        logit_scale: float = 50.0,
        prob_thd: float = 0.0,
        bg_idx: int = 0,
        slide_crop: int = CROP,
        slide_stride: int = STRIDE,
    ) -> None:
        """Assembles the parts.

        Args:
            encoder: the dense image encoder.
            query_features: (Q, D), normalised text features, one a query (a class name or a synonym).
            query_to_class: (Q,) int64, the class of each query; every class 0..C-1 has at least one.
            upsampler: module (source (B, D, h, w), guidance (B, 3, H, W)) -> (B, D, H, W); None takes
                logits on the patch grid and interpolates those.
            cls_token_lambda: factor λ of the [CLS] token's share; negative subtracts it (paper, "global
                bias alleviation"; -0.3 from its released settings).
            logit_scale: factor before the softmax (50 in the released settings).
            prob_thd: pixels whose best score is below become `bg_idx`; in [0, 1], tuned per data set.
            bg_idx: the class that such pixels get.
            slide_crop: side of a window in pixels; 0 takes the whole image in one pass.
            slide_stride: step between windows in pixels, at most `slide_crop`.

        Raises:
            UserError: an option out of its range, or a [CLS] factor with a method that has no [CLS].
        """
        super().__init__()
        numbers = {"cls_token_lambda": cls_token_lambda, "logit_scale": logit_scale, "prob_thd": prob_thd}
        whole = {"bg_idx": bg_idx, "slide_crop": slide_crop, "slide_stride": slide_stride}
        for name, value in (numbers | whole).items():
            number = isinstance(value, int if name in whole else int | float) and not isinstance(value, bool)
            if not number or (isinstance(value, float) and not math.isfinite(value)):
                kind = "whole" if name in whole else "finite"
                raise UserError(f"{name} is {value!r}: expected a {kind} number; change it")
        if not encoder.has_cls and cls_token_lambda != 0:
            raise UserError(
                f"{encoder.method} has no [CLS] token, but cls_token_lambda is {cls_token_lambda:g}: "
                "expected 0; pass cls_token_lambda=0 with this method"
            )
        _check_queries(query_features, query_to_class, encoder.dim)
        classes = int(query_to_class.max()) + 1
        if not 0 <= bg_idx < classes:
            raise UserError(f"bg_idx {bg_idx} is not one of the {classes} classes: use 0 to {classes - 1}")
        if not 0 <= prob_thd <= 1:
            raise UserError(f"prob_thd {prob_thd:g} is no probability: use a value between 0 and 1")
        if slide_crop != 0 and not 1 <= slide_stride <= slide_crop:
            raise UserError(
                f"slide_crop {slide_crop} with slide_stride {slide_stride} leaves pixels out: "
                "expected 1 ≤ slide_stride ≤ slide_crop, or slide_crop=0 for the whole image at once"
            )
        width = getattr(upsampler, "feat_dim", encoder.dim)
        if width != encoder.dim:
            raise UserError(
                f"the upsampler was made for features of width {width}, this CLIP gives {encoder.dim}: "
                "use the upsampler trained for this CLIP, or 'bilinear'"
            )
        self.encoder = encoder
        self.replay = Replay()
        self.upsampler = upsampler
        self.register_buffer("query_features", query_features.float(), persistent=False)
        self.register_buffer("query_to_class", query_to_class.long(), persistent=False)
        self.num_classes = classes
        self.cls_token_lambda = cls_token_lambda
        self.logit_scale = logit_scale
        self.prob_thd = prob_thd
        self.bg_idx = bg_idx
        self.slide_crop = slide_crop
        self.slide_stride = slide_stride

    def forward(self, image: Tensor, out_size: tuple[int, int] | None = None) -> Tensor:
        """Labels (B, height, width) of normalised images (B, 3, H, W); `out_size` defaults to (H, W)."""
        return self.labels(self.scores(self.logits(image, out_size or (image.shape[-2], image.shape[-1]))))

    @torch.no_grad()  # nothing here is trained
    def logits(
        self,
        image: Tensor,
        out_size: tuple[int, int],
        progress: WindowsDone | None = None,
        max_memory_mb: float = MAX_MEMORY_MB,
    ) -> Tensor:
        """Similarity of every pixel with every query.

        Args:
            image: (B, 3, H, W), normalised with CLIP's mean and standard deviation.
            out_size: (height, width) of the result; the windows' mean is resized to it bilinearly.
            progress: called with (windows done, windows in all).
            max_memory_mb: bound of the working set beside the model, the image and the result, in MB: more
                windows at once are faster. The result does not depend on it. One window is the least, also the
                one window that `slide_crop=0` makes of a whole image.

        Returns:
            (B, Q, height, width) float32, before `logit_scale` and softmax.
        """
        if self._on_patch_grid(image):
            logits = self._patch_logits(*self._encode(image))
            if progress is not None:
                progress(len(image), len(image))
        else:
            logits = self._mean(image, self._window_logits(image, max_memory_mb), progress)
        return _resized(logits, out_size)

    @torch.no_grad()
    def encode(
        self, image: Tensor, progress: WindowsDone | None = None, max_memory_mb: float = MAX_MEMORY_MB
    ) -> EncodedImage:
        """Computes what the queries do not change.

        Args:
            image: (1, 3, H, W), as in `logits`.
            progress: called with (windows done, windows in all).
            max_memory_mb: as in `logits`; beside it, features and norms of all windows are kept: 0.6 MB a window of
                224 pixels with ViT-B/16.
        """
        if self._on_patch_grid(image):
            features, cls = self._encode(image)
            whole = Window(0, image.shape[-2], 0, image.shape[-1])
            return EncodedImage(image, [EncodedBlock([whole], features, cls, None)])
        blocks = []
        done, windows = 0, self._window_count(image)
        for _, block, placed, features, cls in self._encoded_blocks(image, max_memory_mb):
            norms = None
            if self.upsampler is not None and is_linear(self.upsampler):
                picture, patch = placed.picture.float(), self.encoder.patch_size
                norms = pixel_norms(self.upsampler, features, picture, placed.offsets, patch)
            blocks.append(EncodedBlock(block, features, cls, norms))
            done += len(block)
            if progress is not None:
                progress(done, windows)
        return EncodedImage(image, blocks)

    @torch.no_grad()
    def encoded_logits(
        self, encoded: EncodedImage, out_size: tuple[int, int], progress: WindowsDone | None = None
    ) -> Tensor:
        """`logits` of an encoded image: for other queries, at the price of upsampling Q channels.

        Equal to `logits` to rounding: the queries' products go through all steps of the upsampler, not only the last.

        Args:
            encoded: of `encode`, by a model with the same encoder and upsampler.
            out_size: (height, width) of the result.
            progress: called with (windows done, windows in all).

        Returns:
            (1, Q, height, width) float32.
        """
        image, blocks = encoded
        if self._on_patch_grid(image):
            return _resized(self._patch_logits(blocks[0].features, blocks[0].cls), out_size)
        parts = (
            (0, block.windows, self._block_logits(self._place(image, 0, block.windows), *block[1:])) for block in blocks
        )
        return _resized(self._mean(image, parts, progress), out_size)

    def with_queries(
        self, query_features: Tensor, query_to_class: Tensor, bg_idx: int = 0, prob_thd: float | None = None
    ) -> SegEarth:
        """The same model, sharing all weights, for other queries; arguments as of the class."""
        other = SegEarth(
            self.encoder,
            query_features,
            query_to_class,
            self.upsampler,
            self.cls_token_lambda,
            self.logit_scale,
            self.prob_thd if prob_thd is None else prob_thd,
            bg_idx,
            self.slide_crop,
            self.slide_stride,
        ).train(self.training)
        other.replay = self.replay
        return other

    def scores(self, logits: Tensor) -> Tensor:
        """Scores per class: softmax over all queries, then the best query of each class.

        Args:
            logits: (B, Q, H, W).

        Returns:
            (B, C, H, W) in [0, 1], not renormalised: they sum to 1 only where no class has synonyms.

        Raises:
            UserError: logits that are not finite.
        """
        probabilities = (logits * self.logit_scale).softmax(dim=1)
        if bool((lost := probabilities[:, 0].isnan()).any()):  # a softmax is NaN in all queries or in none
            raise UserError(
                f"the model gives no numbers as scores (NaN, at {int(lost.sum()):,} of {lost.numel():,} pixels): "
                "expected scores from 0 to 1; its weights are damaged or too large for its arithmetic: use other "
                f"weights, or {option('precision', 'fp32')} where it is another"
            )
        index = self.query_to_class[None, :, None, None].expand_as(probabilities)
        scores = probabilities.new_zeros(len(logits), self.num_classes, *logits.shape[-2:])
        return scores.scatter_reduce_(1, index, probabilities, reduce="amax")

    def labels(self, scores: Tensor) -> Tensor:
        """The best class of every pixel (the first of equals), or `bg_idx` below `prob_thd`.

        Args:
            scores: (B, C, H, W) in [0, 1].

        Returns:
            (B, H, W) int64.
        """
        best, labels = scores.max(dim=1)
        return labels.masked_fill(best < self.prob_thd, self.bg_idx)

    def _mean(
        self, image: Tensor, parts: Iterator[tuple[int, list[Window], Tensor]], progress: WindowsDone | None
    ) -> Tensor:
        """Mean over the windows at every pixel, (B, Q, H, W).

        Args:
            image: (B, 3, H, W).
            parts: the number of an image, windows in it, and their logits (n, Q, h, w).
            progress: called with (windows done, windows in all).
        """
        height, width = image.shape[-2:]
        total = image.new_zeros(len(image), len(self.query_features), height, width, dtype=torch.float32)
        count = total.new_zeros(height, width)
        done, windows = 0, self._window_count(image)
        for b, block, logits in parts:
            for w, own in zip(block, logits, strict=True):
                place = slice(w.top, w.bottom), slice(w.left, w.right)
                total[(b, slice(None), *place)].add_(own)
                if b == 0:
                    count[place].add_(1)
            done += len(block)
            if progress is not None:
                progress(done, windows)
        return total.div_(count)

    def _window_count(self, image: Tensor) -> int:
        height, width = image.shape[-2:]
        return len(image) * sum(len(block) for block in self._blocks(height, width, 1))

    def _window_logits(self, image: Tensor, max_memory_mb: float) -> Iterator[tuple[int, list[Window], Tensor]]:
        """Yields the number of an image (B, 3, H, W), windows in it, and their logits (n, Q, h, w)."""
        for b, block, placed, features, cls in self._encoded_blocks(image, max_memory_mb):
            yield b, block, self._block_logits(placed, features, cls)

    def _encoded_blocks(
        self, image: Tensor, max_memory_mb: float
    ) -> Iterator[tuple[int, list[Window], _Placed, Tensor, Tensor | None]]:
        """Runs the encoder: yields the number of an image, a block of windows in it, its features and [CLS] vectors."""
        height, width = image.shape[-2:]
        at_once = self._windows_at_once(height, width, max_memory_mb)
        blocks = self._blocks(height, width, math.isqrt(at_once))
        for batch in _batches([(b, block) for b in range(len(image)) for block in blocks], at_once):
            places = [self._place(image, b, block) for b, block in batch]
            features, cls = self._encode(
                torch.stack(
                    [
                        placed.picture[:, y : y + placed.size[0], x : x + placed.size[1]]
                        for placed in places
                        for y, x in placed.offsets
                    ]
                )
            )
            counts = [len(block) for _, block in batch]
            all_cls = [None] * len(batch) if cls is None else cls.split(counts)
            for (b, block), placed, own, own_cls in zip(batch, places, features.split(counts), all_cls, strict=True):
                yield b, block, placed, own, own_cls

    def images_at_once(self, height: int, width: int, max_memory_mb: float) -> int:
        """How many images of a size give the encoder a full batch within the memory, at least 1."""
        windows = sum(len(block) for block in self._blocks(height, width, 1))
        return max(1, self._windows_at_once(height, width, max_memory_mb) // windows)

    def _windows_at_once(self, height: int, width: int, max_memory_mb: float) -> int:
        """How many windows fit into the memory, counted by the largest tensors of one."""
        crop = self.slide_crop or max(height, width)
        pixels = min(height, crop) * min(width, crop)
        tokens = pixels / self.encoder.patch_size**2
        rank = min(self.encoder.dim, tokens + 1) + len(self.query_features)
        activations = 16 * tokens * self.encoder.width  # q, k, v, their attentions, the FFN of four widths
        maps = pixels * 0.35 * rank  # the last step's source has a quarter of the pixels, the one before 1/16
        guidance = pixels * 40  # 32 keys and 3 colours, with borders
        logits = pixels * 2.25 * len(self.query_features)  # with the copies on the way
        windows = max_memory_mb * 2**20 / (4 * (activations + maps + guidance + logits))
        return int(min(max(1, windows), 1e6))

    def _blocks(self, height: int, width: int, side: int) -> list[list[Window]]:
        """The windows of an image, in blocks that share the upsampler's kernels where their tiles fall alike."""
        if self.slide_crop == 0:
            return [[Window(0, height, 0, width)]]
        if any(min(length, self.slide_crop) % self.encoder.patch_size for length in (height, width)):
            side = 1  # every window is padded with zeros on its own
        return window_blocks(height, width, self.slide_crop, self.slide_stride, TILE, side)

    def _place(self, image: Tensor, b: int, block: list[Window]) -> _Placed:
        """A block of windows of image b of (B, 3, H, W), padded with zeros to whole patches."""
        first = block[0]
        height, width = first.bottom - first.top, first.right - first.left
        patch = self.encoder.patch_size
        (top, bottom), (left, right) = padding(height, patch), padding(width, patch)
        return _Placed(
            F.pad(image[(b, slice(None), *_bounds(block))], [left, right, top, bottom]),
            [(w.top - first.top, w.left - first.left) for w in block],
            (top + height + bottom, left + width + right),
            (slice(top, top + height), slice(left, left + width)),
        )

    def _block_logits(
        self, placed: _Placed, features: Tensor, cls: Tensor | None, norms: Tensor | None = None
    ) -> Tensor:
        """Logits (n, Q, h, w) of a block of windows, without their padding; `norms` as in `EncodedBlock`."""
        if self.upsampler is None:
            logits = F.interpolate(self._similarity(features), size=placed.size, mode="bilinear", align_corners=False)
        else:
            where = (placed.picture.float(), placed.offsets, self.query_features, self.encoder.patch_size)
            if norms is None:
                logits = cosine_logits(self.upsampler, features, *where)
            else:
                logits = query_products(self.upsampler, features, *where) / norms
        if (share := self._cls_share(cls)) is not None:
            logits += share
        return logits[(slice(None), slice(None), *placed.inner)]

    def _on_patch_grid(self, image: Tensor) -> bool:
        """Whether the logits of the whole image stay on its patch grid: without windows and upsampler.

        A remainder that fills no patch is then dropped, as the official system does. With an upsampler they are per
        pixel of the padded image, cut back.
        """
        return self.slide_crop == 0 and self.upsampler is None and min(image.shape[-2:]) >= self.encoder.patch_size

    def _patch_logits(self, features: Tensor, cls: Tensor | None) -> Tensor:
        """Logits (n, Q, h, w) of patch features."""
        share = self._cls_share(cls)
        return self._similarity(features) if share is None else self._similarity(features) + share

    def _encode(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patch features (n, D, h, w) as the encoder gives them, and [CLS] vectors (n, D) in float32, or None."""
        with no_autocast():
            features, cls = self.replay(self.encoder, image)
        return features, None if cls is None else cls.float()

    @true_float32()
    def _cls_share(self, cls: Tensor | None) -> Tensor | None:
        """The [CLS] token's share λ · [CLS] · q, (n, Q, 1, 1); None where there is none."""
        if cls is None or self.cls_token_lambda == 0:
            return None
        return (self.cls_token_lambda * F.normalize(cls, dim=-1) @ self.query_features.T)[:, :, None, None]

    @true_float32()
    def _similarity(self, features: Tensor) -> Tensor:
        """Cosine of features (n, D, h, w) and queries: (n, Q, h, w)."""
        return torch.einsum("ndhw,qd->nqhw", F.normalize(features.float(), dim=1), self.query_features)


def _batches(jobs: list[tuple[int, list[Window]]], windows: int) -> Iterator[list[tuple[int, list[Window]]]]:
    """Cuts jobs into batches of at most so many windows, or one job."""
    batch: list[tuple[int, list[Window]]] = []
    for job in jobs:
        if batch and sum(len(block) for _, block in batch) + len(job[1]) > windows:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (B, Q, H, W) at another size."""
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _bounds(block: list[Window]) -> tuple[slice, slice]:
    """Rows and columns of the rectangle that a block of windows fills."""
    return slice(block[0].top, block[-1].bottom), slice(block[0].left, block[-1].right)


def _check_queries(query_features: Tensor, query_to_class: Tensor, dim: int) -> None:
    """Refuses queries that do not fit the encoder or each other."""
    if query_features.ndim != 2 or query_features.shape[1] != dim or not len(query_features):
        raise UserError(
            f"query_features have the shape {tuple(query_features.shape)}: expected (Q, {dim}) with Q ≥ 1; "
            "encode the vocabulary with the text tower of the same CLIP"
        )
    found = query_to_class.unique().tolist()
    if query_to_class.shape != query_features.shape[:1] or found != list(range(len(found))):
        raise UserError(
            f"query_to_class has the shape {tuple(query_to_class.shape)} and the classes {found}: expected one "
            f"class for each of the {len(query_features)} queries, 0 to C-1 without gaps"
        )
