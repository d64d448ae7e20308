"""The whole method on tensors: windows, upsampling, [CLS] subtraction, scores, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError
from segearth.models.dense_clip import DenseCLIP
from segearth.models.factored import cosine_logits
from segearth.models.tiles import TILE
from segearth.windows import Window, padding, window_blocks

# Keeps the prediction of a 448 × 448 image with ViT-B/16 and SimFeatUp within the model plus 600 MB.
MAX_MEMORY_MB = 400


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
        slide_crop: int = 224,
        slide_stride: int = 112,
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
            if isinstance(value, bool) or not isinstance(value, int if name in whole else int | float):
                raise UserError(f"{name} is {value!r}: expected a {'whole ' * (name in whole)}number; change it")
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
        progress: Callable[[int, int], None] | None = None,
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
        if self.slide_crop == 0:
            logits = self._whole(image)
            if progress is not None:
                progress(len(image), len(image))
        else:
            logits = self._slide(image, progress, max_memory_mb)
        if logits.shape[-2:] == out_size:
            return logits
        return F.interpolate(logits, size=out_size, mode="bilinear", align_corners=False)

    def scores(self, logits: Tensor) -> Tensor:
        """Scores per class: softmax over all queries, then the best query of each class.

        Args:
            logits: (B, Q, H, W).

        Returns:
            (B, C, H, W) in [0, 1], not renormalised: they sum to 1 only where no class has synonyms.
        """
        probabilities = (logits * self.logit_scale).softmax(dim=1)
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

    def _slide(self, image: Tensor, progress: Callable[[int, int], None] | None, max_memory_mb: float) -> Tensor:
        """Mean over the windows at every pixel, (B, Q, H, W)."""
        height, width = image.shape[-2:]
        at_once = self._windows_at_once(height, width, max_memory_mb)
        blocks = self._blocks(height, width, math.isqrt(at_once))
        total = image.new_zeros(len(image), len(self.query_features), height, width, dtype=torch.float32)
        count = total.new_zeros(height, width)
        for window in (window for block in blocks for window in block):
            count[window.top : window.bottom, window.left : window.right] += 1
        jobs = [(b, block) for b in range(len(image)) for block in blocks]
        done, windows = 0, len(image) * sum(map(len, blocks))
        for batch in _batches(jobs, at_once):
            for (b, block), logits in zip(batch, self._block_logits(image, batch), strict=True):
                for w, own in zip(block, logits, strict=True):
                    total[b, :, w.top : w.bottom, w.left : w.right] += own
            done += sum(len(block) for _, block in batch)
            if progress is not None:
                progress(done, windows)
        return total.div_(count)

    def _windows_at_once(self, height: int, width: int, max_memory_mb: float) -> int:
        """How many windows fit into the memory, counted by the largest tensors of one."""
        pixels = min(height, self.slide_crop) * min(width, self.slide_crop)
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
        if any(min(length, self.slide_crop) % self.encoder.patch_size for length in (height, width)):
            side = 1  # every window is padded with zeros on its own
        return window_blocks(height, width, self.slide_crop, self.slide_stride, TILE, side)

    def _block_logits(self, image: Tensor, batch: list[tuple[int, list[Window]]]) -> Iterator[Tensor]:
        """Yields the logits (windows, Q, h, w) of each of some blocks of windows of images (B, 3, H, W).

        Windows that are no whole number of patches are padded with zeros, and cut back.
        """
        first = batch[0][1][0]
        height, width = first.bottom - first.top, first.right - first.left
        patch = self.encoder.patch_size
        (top, bottom), (left, right) = padding(height, patch), padding(width, patch)
        pictures = [F.pad(image[(b, slice(None), *_bounds(block))], [left, right, top, bottom]) for b, block in batch]
        places = [[(w.top - block[0].top, w.left - block[0].left) for w in block] for _, block in batch]
        size = (top + height + bottom, left + width + right)
        crops = [
            picture[:, y : y + size[0], x : x + size[1]]
            for picture, offsets in zip(pictures, places, strict=True)
            for y, x in offsets
        ]
        features, shares = self._encode(torch.stack(crops))
        counts = [len(offsets) for offsets in places]
        for picture, offsets, own, share in zip(
            pictures, places, features.split(counts), shares.split(counts), strict=True
        ):
            if self.upsampler is None:
                logits = self._similarity(own)
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            else:
                logits = cosine_logits(self.upsampler, own, picture.float(), offsets, self.query_features, patch)
            logits += share
            yield logits[:, :, top : top + height, left : left + width]

    def _whole(self, image: Tensor) -> Tensor:
        """Logits of the whole image in one pass.

        Without upsampler they stay on the patch grid, and a remainder that fills no patch is dropped, as
        the official system does; with one, they are per pixel of the padded image, cut back.
        """
        height, width = image.shape[-2:]
        if self.upsampler is None and min(height, width) >= self.encoder.patch_size:
            features, share = self._encode(image)
            return self._similarity(features) + share
        whole = [Window(0, height, 0, width)]
        return torch.cat([next(self._block_logits(image, [(b, whole)])) for b in range(len(image))])

    def _encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Patch features (n, D, h, w) in float32, and the [CLS] token's share λ · [CLS] · q, (n, Q, 1, 1)."""
        features, cls = self.encoder(image)
        share = features.new_zeros(len(features), len(self.query_features), dtype=torch.float32)
        if cls is not None and self.cls_token_lambda != 0:
            share = self.cls_token_lambda * F.normalize(cls.float(), dim=-1) @ self.query_features.T
        return features.float(), share[:, :, None, None]

    def _similarity(self, features: Tensor) -> Tensor:
        """Cosine of features (n, D, h, w) and queries: (n, Q, h, w)."""
        return torch.einsum("ndhw,qd->nqhw", F.normalize(features, dim=1), self.query_features)


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
