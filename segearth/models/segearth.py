"""The whole method on tensors: windows, upsampling, [CLS] subtraction, scores, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, tee
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError, option
from segearth.models.averaging import VIEWS, View, check_views, mean_of_views
from segearth.models.blend import Blend
from segearth.models.dense_clip import DenseCLIP
from segearth.models.factored import (
    cosine_logits,
    is_linear,
    joined_logits,
    listed,
    pixel_norms,
    query_products,
)
from segearth.models.flat import MOST_PIXELS, SCRATCH_MB
from segearth.models.list_memory import ListMemory, list_memory
from segearth.models.precision import no_autocast, true_float32
from segearth.models.replay import Replay
from segearth.models.simfeatup import check_width
from segearth.models.window_groups import WindowGroup, cut, group_windows
from segearth.models.window_memory import CPU_BATCH, GPU_BATCH, MAX_MEMORY_MB, WindowMemory, window_memory
from segearth.windows import CROP, STRIDE, Grid, Window

WindowsDone = Callable[[int, int], None]  # (windows done, windows in all)

Key = TypeVar("Key", bound=Hashable)
Part: TypeAlias = "tuple[int, WindowGroup, Tensor, Tensor | None]"  # number of an image, windows, features, [CLS]


class EncodedGroup(NamedTuple):
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
        groups: of its windows.
    """

    image: Tensor
    groups: list[EncodedGroup]


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
        tta: str | None = None,
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
            tta: test-time averaging, a name of `segearth.models.averaging.VIEWS`: logits are the mean over the image
                flipped and turned in so many ways. None: the image as it is.

        Raises:
            UserError: an option out of its range, or a [CLS] factor with a method that has no [CLS].
        """
        super().__init__()
        numbers = {"cls_token_lambda": cls_token_lambda, "logit_scale": logit_scale, "prob_thd": prob_thd}
        whole = {"bg_idx": bg_idx, "slide_crop": slide_crop, "slide_stride": slide_stride}
        for name, value in (numbers | whole).items():
            if isinstance(value, bool) or not isinstance(value, int if name in whole else int | float):
                raise UserError(f"{name} is {value!r}: expected a {'whole ' * (name in whole)}number; change it")
            if not math.isfinite(value):
                raise UserError(f"{name} is {value}: expected a finite number; change it")
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
        check_views(tta)
        if upsampler is not None:
            check_width(upsampler, encoder.dim)
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
        self.tta = tta

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
        if (tta := self.tta) is None:
            return self._upright_logits(image, out_size, progress, max_memory_mb)

        def in_view(number: int, view: View, seen: Tensor) -> Tensor:
            part = None if progress is None else partial(_part_of, progress, number, len(VIEWS[tta]))
            return self._upright_logits(seen, view.size(out_size), part, max_memory_mb)

        return mean_of_views(tta, image, in_view)

    def _upright_logits(
        self, image: Tensor, out_size: tuple[int, int], progress: WindowsDone | None, max_memory_mb: float
    ) -> Tensor:
        """`logits` of images as they are, without test-time averaging."""
        if self._on_patch_grid(image):
            whole = [self._patch_logits(*self._encode(one)) for one in image.split(1)]  # one shape for all
            if progress is not None:
                progress(len(image), len(image))
            return _resized(torch.cat(whole), out_size)
        grid, blends = self.grid(*image.shape[-2:]), [self._blend(image) for _ in image]
        windows = grid.windows()
        parts = self._window_logits(image, windows, self.batch(grid, max_memory_mb), max_memory_mb)
        for done, (b, window, own) in enumerate(parts, start=1):
            blends[b].add(window, own)
            if progress is not None:
                progress(done, len(image) * len(windows))
        means = [blend.take(grid.height)[None] for blend in blends]
        if len(means) == 1:  # a large one is not copied
            return _resized(means[0], out_size)
        return _resized(torch.cat([image.new_empty(0, len(self.query_features), *image.shape[-2:]), *means]), out_size)

    @torch.no_grad()
    def window_logits(
        self,
        image: Tensor,
        windows: Sequence[Window],
        batch: int,
        max_memory_mb: float = MAX_MEMORY_MB,
        keep: Callable[[EncodedGroup], object] | None = None,
    ) -> Iterator[tuple[Window, Tensor]]:
        """Logits of some windows, one after another in the order given: what `Blend` takes.

        Args:
            image: (3, H, W), normalised, the part of an image or raster that holds the windows.
            windows: in pixels of `image`, row by row; some of the grid may be missing.
            batch: windows in a call of the encoder. The last call is padded with repeats, so that all have one shape:
                the logits have the same bits in whatever company their windows come. See `batch`.
            max_memory_mb: as in `logits`.
            keep: called with all that `encoded_window_logits` needs for other queries, group by group; never with
                test-time averaging, of which nothing can be kept.

        Yields:
            Each window, and its logits (Q, height, width) float32. With test-time averaging each window is flipped and
            turned by itself, unlike in `logits`, where the image is: the same but where the last windows of a row or
            column are pulled back to the border.
        """
        if self.tta is not None:
            for window in windows:
                crop = image[None, :, window.top : window.bottom, window.left : window.right]
                yield window, self._averaged_window(self.tta, crop, max_memory_mb)
            return
        for _, window, logits in self._window_logits(image[None], windows, batch, max_memory_mb, keep):
            yield window, logits

    def _averaged_window(self, tta: str, crop: Tensor, max_memory_mb: float) -> Tensor:
        """Logits (Q, height, width) of one window (1, 3, height, width): the mean over its views."""

        def in_view(_number: int, _view: View, seen: Tensor) -> Tensor:
            whole = Window(0, seen.shape[-2], 0, seen.shape[-1])
            return next(logits[None] for *_, logits in self._window_logits(seen, [whole], 1, max_memory_mb))

        return mean_of_views(tta, crop, in_view)[0]

    @torch.no_grad()
    def encoded_window_logits(
        self, image: Tensor, windows: Sequence[Window], groups: Iterable[EncodedGroup]
    ) -> Iterator[tuple[Window, Tensor]]:
        """`window_logits` without the encoder; of groups without norms the logits have the same bits.

        Args:
            image: as of `window_logits`, which was called with it.
            windows: likewise.
            groups: what that gave to `keep`, of a model with the same encoder and upsampler.

        Yields:
            As `window_logits`.
        """
        parts = (
            (window, own)
            for group in groups
            for window, own in zip(
                group.windows,
                self._group_logits(
                    cut(image, group.windows, self.encoder.patch_size), *group[1:], scratch_mb=MAX_MEMORY_MB / 4
                ),
                strict=True,
            )
        )
        yield from _in_order(windows, parts)

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

        Raises:
            UserError: the model averages over views.
        """
        if self.tta is not None:
            raise UserError(
                f"the model has {option('tta', self.tta)}, and what is kept of an image is of one view of it: expected "
                "a model without; predict maps of each list of classes, or load the model without it"
            )
        if self._on_patch_grid(image):
            features, cls = self._encode(image)
            whole = Window(0, image.shape[-2], 0, image.shape[-1])
            return EncodedImage(image, [EncodedGroup([whole], features, cls, None)])
        grid, groups, done = self.grid(*image.shape[-2:]), [], 0
        batch, windows = self.batch(grid, max_memory_mb), grid.windows()
        for _, group, features, cls in self._encoded_groups(image, windows, batch, max_memory_mb):
            norms = None
            if self.upsampler is not None and is_linear(self.upsampler):
                picture, patch = group.picture.float(), self.encoder.patch_size
                _, scratch_mb = self._listed(len(group.windows), windows, max_memory_mb)
                norms = pixel_norms(self.upsampler, features, picture, group.offsets, patch, scratch_mb)
            groups.append(EncodedGroup(group.windows, features, cls, norms))
            done += len(group.windows)
            if progress is not None:
                progress(done, len(windows))
        return EncodedImage(image, groups)

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
        image, groups = encoded
        if self._on_patch_grid(image):
            return _resized(self._patch_logits(groups[0].features, groups[0].cls), out_size)
        grid, blend = self.grid(*image.shape[-2:]), self._blend(image)
        parts = self.encoded_window_logits(image[0], grid.windows(), groups)
        for done, (window, own) in enumerate(parts, start=1):
            blend.add(window, own)
            if progress is not None:
                progress(done, grid.count)
        return _resized(blend.take(grid.height)[None], out_size)

    @property
    def beyond_paper(self) -> dict[str, Any]:
        """What was asked for that the paper does not have, and the layers of this CLIP that it takes; for settings."""
        return {**self.encoder.beyond_paper, **({} if self.tta is None else {"tta": self.tta})}

    def grid(self, height: int, width: int) -> Grid:
        """Where the windows of an image of (height, width) pixels lie; with `slide_crop` 0, one holds all."""
        crop = self.slide_crop or max(height, width, 1)
        return Grid(height, width, crop, self.slide_stride if self.slide_crop else crop)

    def batch(self, grid: Grid, max_memory_mb: float = MAX_MEMORY_MB) -> int:
        """How many windows of a grid a call of the encoder gets."""
        return self.memory(grid).batch(grid.count, max_memory_mb)

    def memory(self, grid: Grid) -> WindowMemory | ListMemory:
        """What a window of a grid takes."""
        encoder, device = self.encoder, self.query_features.device
        of = (grid.window_size, encoder.patch_size, encoder.width, encoder.dim, len(self.query_features))
        dtype = next(encoder.parameters(), self.query_features).dtype
        operations = listed(self.upsampler, device, dtype)
        if operations is not None and math.prod(grid.window_size) <= MOST_PIXELS:
            radius = int(self.upsampler.radius)  # type: ignore[union-attr, arg-type]
            return list_memory(*of, radius, 4 if dtype == torch.float32 else 2, operations.fixed)
        most = GPU_BATCH if device.type in ("cuda", "mps") else CPU_BATCH
        return window_memory(*of, self.upsampler is not None, most)

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
            self.tta,
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
        probabilities = _softmax(logits * self.logit_scale)
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

    def _blend(self, image: Tensor) -> Blend:
        """The mean over the windows of one image of (B, 3, H, W), with nothing added."""
        return Blend(self.grid(*image.shape[-2:]), len(self.query_features), device=image.device)

    def _window_logits(
        self,
        image: Tensor,
        windows: Sequence[Window],
        batch: int,
        max_memory_mb: float,
        keep: Callable[[EncodedGroup], object] | None = None,
    ) -> Iterator[tuple[int, Window, Tensor]]:
        """Yields the number of an image of (B, 3, H, W), a window in it, and its logits, in this order."""
        encoded = self._encoded_groups(image, windows, batch, max_memory_mb)
        if keep is not None:
            encoded = _noted(encoded, keep)
        together, scratch_mb = self._listed(len(image) * len(windows), windows, max_memory_mb)
        parts = (
            ((b, window), own)
            for joined in _joined(encoded, together)
            for (b, group, *_), logits in zip(joined, self._joined_logits(joined, scratch_mb), strict=True)
            for window, own in zip(group.windows, logits, strict=True)
        )
        for (b, window), own in _in_order([(b, window) for b in range(len(image)) for window in windows], parts):
            yield b, window, own

    def _encoded_groups(
        self, image: Tensor, windows: Sequence[Window], batch: int, max_memory_mb: float
    ) -> Iterator[Part]:
        """Runs the encoder: yields the number of an image, a group of its windows, their features, [CLS] vectors."""
        if not windows:
            return
        patch, (memory, columns) = self.encoder.patch_size, self._memory_of(windows)
        grouped = group_windows(windows, patch, *memory.group(columns, max_memory_mb))
        ahead, groups = tee((b, cut(own, members, patch)) for b, own in enumerate(image) for members in grouped)
        encoded = self._encoded((crop for _, group in ahead for crop in group.crops()), batch)
        for b, group in groups:
            features, cls = zip(*islice(encoded, len(group.windows)), strict=True)
            yield b, group, torch.stack(features), None if cls[0] is None else torch.stack(cls)

    def _encoded(self, crops: Iterable[Tensor], batch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Runs the encoder in calls of one shape: yields features (D, h, w) and [CLS] vector (D,) of each crop."""
        crops = iter(crops)
        while call := list(islice(crops, batch)):
            features, cls = self._encode(torch.stack(call + call[:1] * (batch - len(call))))
            for i in range(len(call)):
                yield features[i], None if cls is None else cls[i]

    def _memory_of(self, windows: Sequence[Window]) -> tuple[WindowMemory | ListMemory, int]:
        """What each of some windows of a grid takes, and the grid's columns, as far as they are there."""
        first = windows[0]
        size = (first.bottom - first.top, first.right - first.left)
        return self.memory(Grid(*size, *size)), sum(window.top == first.top for window in windows)

    def _listed(self, count: int, windows: Sequence[Window], max_memory_mb: float) -> tuple[int, float]:
        """How many of `count` windows, of several groups, are upsampled together (0: each group by itself).

        And the MB that may be gathered for that many.
        """
        if not windows:
            return 0, SCRATCH_MB
        memory, columns = self._memory_of(windows)
        if not isinstance(memory, ListMemory):
            return 0, SCRATCH_MB
        together = min(memory.together(columns, max_memory_mb), count)
        return together, memory.scratch_mb(together, columns, max_memory_mb)

    def _joined_logits(self, parts: list[Part], scratch_mb: float) -> list[Tensor]:
        """`_group_logits` of several groups."""
        if len(parts) == 1 or self.upsampler is None:
            return [self._group_logits(*part[1:], scratch_mb=scratch_mb) for part in parts]
        groups = [group for _, group, _, _ in parts]
        logits = joined_logits(
            self.upsampler,
            torch.cat([features for _, _, features, _ in parts]),
            [group.picture.float() for group in groups],
            [group.offsets for group in groups],
            self.query_features,
            self.encoder.patch_size,
            scratch_mb,
        )
        own = logits.split([len(group.windows) for group in groups])
        return [self._finished(*part) for part in zip(groups, own, (cls for *_, cls in parts), strict=True)]

    def _group_logits(
        self,
        group: WindowGroup,
        features: Tensor,
        cls: Tensor | None,
        norms: Tensor | None = None,
        *,
        scratch_mb: float,
    ) -> Tensor:
        """Logits (n, Q, h, w) of a group of windows, without their padding; `norms` as in `EncodedGroup`."""
        if self.upsampler is None:
            # one by one: products of several windows may be rounded in another way than those of one
            similarity = torch.cat([self._similarity(window) for window in features.split(1)])
            logits = F.interpolate(similarity, size=group.size, mode="bilinear", align_corners=False)
        else:
            where = (group.picture.float(), group.offsets, self.query_features, self.encoder.patch_size, scratch_mb)
            if norms is not None and is_linear(self.upsampler):
                logits = query_products(self.upsampler, features, *where) / norms
            else:
                logits = cosine_logits(self.upsampler, features, *where)
        return self._finished(group, logits, cls)

    def _finished(self, group: WindowGroup, logits: Tensor, cls: Tensor | None) -> Tensor:
        """Logits of a group's windows with the [CLS] token's share and without padding."""
        if (share := self._cls_share(cls)) is not None:
            logits += share
        return logits[(slice(None), slice(None), *group.inner)]

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
        # no matrix product, whose rounding depends on the number of windows
        products = (F.normalize(cls, dim=-1)[:, None] * self.query_features).sum(dim=-1)
        return (self.cls_token_lambda * products)[:, :, None, None]

    @true_float32()
    def _similarity(self, features: Tensor) -> Tensor:
        """Cosine of features (n, D, h, w) and queries: (n, Q, h, w)."""
        return torch.einsum("ndhw,qd->nqhw", F.normalize(features.float(), dim=1), self.query_features)


def _noted(parts: Iterable[Part], keep: Callable[[EncodedGroup], object]) -> Iterator[Part]:
    """Yields parts, each after it was given to `keep`."""
    for part in parts:
        _, group, features, cls = part
        keep(EncodedGroup(group.windows, features, cls, None))
        yield part


def _part_of(progress: WindowsDone, number: int, parts: int, done: int, count: int) -> None:
    """Tells the progress of one of several equal parts as that of the whole."""
    progress(number * count + done, parts * count)


def _joined(parts: Iterable[Part], most: int) -> Iterator[list[Part]]:
    """Puts parts together that have at most so many windows, or are one part."""
    held: list[Part] = []
    for part in parts:
        if held and sum(len(group.windows) for _, group, *_ in [*held, part]) > most:
            yield held
            held = []
        held.append(part)
    if held:
        yield held


def _in_order(order: Iterable[Key], parts: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
    """Yields parts in a given order; those that come early are held until it is their turn."""
    early: dict[Key, Tensor] = {}
    expected = iter(order)
    awaited = next(expected, None)
    for key, part in parts:
        early[key] = part
        while awaited is not None and awaited in early:
            yield awaited, early.pop(awaited)
            awaited = next(expected, None)


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over the queries of (B, Q, H, W); a pixel's bits depend on its own logits alone.

    PyTorch's own takes other instructions for the last pixels that a thread gets: blocks of a scene would differ in the
    last bit. Exponentials, sums and quotients of single values do not.
    """
    powers = (logits - logits.amax(dim=1, keepdim=True)).exp_()
    if logits.device.type != "cpu":
        return powers / _halved(powers)
    first, *others = powers.unbind(dim=1)
    total = first.clone()
    for other in others:
        total += other
    return powers / total[:, None]


def _halved(values: Tensor) -> Tensor:
    """Sums over the queries, (B, 1, H, W): one half is added to the other, in few operations, which a GPU waits for."""
    while (count := values.shape[1]) > 1:
        half = count // 2
        pairs = values[:, :half] + values[:, half : 2 * half]
        if count % 2:
            pairs[:, -1] += values[:, -1]
        values = pairs
    return values


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (B, Q, H, W) at another size."""
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


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
