"""The whole method on tensors: an image's windows to logits, scores and labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError, option
from segearth.models.averaging import VIEWS, View, check_views, mean_of_views
from segearth.models.blend import Blend
from segearth.models.checks import check_numbers, check_queries
from segearth.models.dense_clip import DenseCLIP
from segearth.models.encoded_windows import EncodedGroup, EncodedImage
from segearth.models.replay import Replay
from segearth.models.scores import class_scores
from segearth.models.simfeatup import check_width
from segearth.models.window_memory import MAX_MEMORY_MB
from segearth.models.window_model import WindowModel
from segearth.windows import CROP, STRIDE, Window

WindowsDone = Callable[[int, int], None]  # (windows done, windows in all)


class SegEarth(WindowModel):
    """SegEarth-OV (Li et al., CVPR 2025, arXiv 2410.01768).

    logits(x, q) = f(x) · q + λ · [CLS] · q for every pixel x and query q, with f the upsampled patch
    features, all L2-normalised; averaged over sliding windows.
    """

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
        check_numbers(
            cls_token_lambda=cls_token_lambda,
            logit_scale=logit_scale,
            prob_thd=prob_thd,
            bg_idx=bg_idx,
            slide_crop=slide_crop,
            slide_stride=slide_stride,
        )
        if not encoder.has_cls and cls_token_lambda != 0:
            raise UserError(
                f"{encoder.method} has no [CLS] token, but cls_token_lambda is {cls_token_lambda:g}: "
                "expected 0; pass cls_token_lambda=0 with this method"
            )
        classes = check_queries(query_features, query_to_class, encoder.dim, bg_idx)
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
            # one shape for all
            whole = [self._pixel_logits.on_patch_grid(*self._encode(one)) for one in image.split(1)]
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
    def encode(
        self, image: Tensor, progress: WindowsDone | None = None, max_memory_mb: float = MAX_MEMORY_MB
    ) -> EncodedImage:
        """Computes everything that does not depend on the queries.

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
        for part in self._encoded_parts(image, windows, batch, max_memory_mb):
            group, features = part.group, part.features
            _, scratch_mb = self._together(len(group.windows), windows, max_memory_mb)
            norms = self._pixel_logits.norms(group, features, scratch_mb)
            groups.append(EncodedGroup(group.windows, features, part.cls, norms))
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
            return _resized(self._pixel_logits.on_patch_grid(groups[0].features, groups[0].cls), out_size)
        grid, blend = self.grid(*image.shape[-2:]), self._blend(image)
        parts = self.encoded_window_logits(image[0], grid.windows(), groups)
        for done, (window, own) in enumerate(parts, start=1):
            blend.add(window, own)
            if progress is not None:
                progress(done, grid.count)
        return _resized(blend.take(grid.height)[None], out_size)

    @property
    def beyond_paper(self) -> dict[str, Any]:
        """Options in use that the paper does not have, for the settings of a map."""
        return {**self.encoder.beyond_paper, **({} if self.tta is None else {"tta": self.tta})}

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
        """Scores (B, C, H, W) in [0, 1] of the classes, from logits (B, Q, H, W); see `class_scores`."""
        return class_scores(logits * self.logit_scale, self.query_to_class, self.num_classes)

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

    def _on_patch_grid(self, image: Tensor) -> bool:
        """Whether the logits of the whole image stay on its patch grid: without windows and upsampler.

        A remainder that fills no patch is then dropped, as the official system does. With an upsampler they are per
        pixel of the padded image, cut back.
        """
        return self.slide_crop == 0 and self.upsampler is None and min(image.shape[-2:]) >= self.encoder.patch_size


def _part_of(progress: WindowsDone, number: int, parts: int, done: int, count: int) -> None:
    """Reports the progress of one of several equal parts as progress of the whole."""
    progress(number * count + done, parts * count)


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (B, Q, H, W) at another size."""
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
