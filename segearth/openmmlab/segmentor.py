"""SegEarth as a segmentor of mmsegmentation, with the keys of the official configs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from segearth.building import build_model
from segearth.clips import Statistics
from segearth.clips.upsamplers import KERNELS, TRAINED, upsampler_class
from segearth.compute import Compute
from segearth.errors import UserError
from segearth.labels import thresholds_of
from segearth.openmmlab.devices import device_of
from segearth.openmmlab.model_weights import model_weights
from segearth.vocabulary import Vocabulary


def preprocessing(statistics: Statistics) -> dict[str, Any]:
    """The data preprocessor of mmsegmentation for a CLIP's mean and standard deviation."""
    mean, std = (list(values) for values in statistics)
    return {"type": "mmseg.SegDataPreProcessor", "mean": mean, "std": std, "bgr_to_rgb": True}


@MODELS.register_module()
class SegEarthSegmentation(BaseSegmentor):  # type: ignore[misc]
    """Open-vocabulary segmentation in mmsegmentation's test loop; there is nothing to train.

    Args:
        name_path: class file, one class a line, commas between synonyms; a class's own threshold replaces `prob_thd`.
        clip_type: whose CLIP, such as "RemoteCLIP"; with `vit_type` a pair that `segearth.clips.resolve` takes, which
            is computed as the official code does.
        vit_type: such as "ViT-B/16".
        model_type: how dense features are taken, a name of `segearth.models.attention.METHODS`.
        device: "cpu", "cuda", "mps", ...; None or "auto": CUDA, else Apple's MPS, else the CPU. So does "cuda" where
            there is no such GPU.
        ignore_residual: see `segearth.models.DenseCLIP`.
        prob_thd: pixels whose best score is below become `bg_idx`; from 0 to 1.
        logit_scale: factor before the softmax.
        slide_stride: step between windows in pixels.
        slide_crop: side of a window in pixels; 0: the whole image at once.
        cls_token_lambda: factor of the [CLS] token's share in the logits; 0 leaves it out.
        bg_idx: the class of pixels below `prob_thd`.
        feature_up: whether features are upsampled; if not, the logits are.
        feature_up_cfg: `model_name` ("jbu_one", "jbu_stack", "bilinear") and `model_path`, a checkpoint;
            by default SimFeatUp's published weights.
        model: a name, a path or an address that `segearth.clips.resolve` takes; replaces `clip_type`, `vit_type` and
            `feature_up_cfg`, and is computed as it was trained.
        architecture: of a `model` given by path or address: a name of open_clip, or the path of its JSON file.
        upsampler: "bilinear", a name of `segearth.clips.UPSAMPLER_FILES` or the path of a checkpoint; replaces that of
            `model` or `feature_up_cfg`.
        precision: of the image encoder, "fp32", "bf16" or "fp16".
        max_memory_mb: bound of the working set of windows; by default what suits the device. Results do not depend
            on it.
        tta: test-time averaging, a name of `segearth.models.averaging.VIEWS`: "flips", "turns", "all", or None.
        cls_column_zero: see `segearth.models.trunk.Options`.
        cls_row_layers: likewise, such as (6, 9), or None.
        data_preprocessor: by default the CLIP's mean and standard deviation on BGR images.
        init_cfg: for mmengine; unused.

    Raises:
        UserError: an unknown name, weights that cannot be had, an option out of range.
    """

    def __init__(
        self,
        name_path: str | Path,
        clip_type: str = "CLIP",
        vit_type: str = "ViT-B/16",
        model_type: str = "SegEarth",
        device: str | torch.device | None = None,
        ignore_residual: bool = True,
        prob_thd: float = 0.0,
        logit_scale: float = 50.0,
        slide_stride: int = 112,
        slide_crop: int = 224,
        cls_token_lambda: float = 0.0,
        bg_idx: int = 0,
        feature_up: bool = True,
        feature_up_cfg: dict[str, Any] | None = None,
        model: str | None = None,
        architecture: str | None = None,
        upsampler: str | Path | None = None,
        precision: str = "fp32",
        max_memory_mb: float | None = None,
        tta: str | None = None,
        cls_column_zero: bool = False,
        cls_row_layers: tuple[int, int] | None = None,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        used = model_weights(
            {
                "model": model,
                "architecture": architecture,
                "upsampler": upsampler,
                "clip_type": clip_type,
                "vit_type": vit_type,
                "feature_up": feature_up,
                "feature_up_cfg": feature_up_cfg,
            }
        )
        super().__init__(data_preprocessor or preprocessing(used.source.statistics), init_cfg)
        self.source, kind, path = used.source, used.kind, used.files()["upsampler"]
        vocabulary = Vocabulary.from_file(name_path, bg_idx)
        compute = Compute.choose(device_of(device), precision, max_memory_mb)
        self.net, _ = build_model(
            self.source,
            vocabulary,
            compute,
            method=model_type,
            ignore_residual=ignore_residual,
            upsampler=used.upsampler,
            prob_thd=prob_thd,
            logit_scale=logit_scale,
            slide_stride=slide_stride,
            slide_crop=slide_crop,
            cls_token_lambda=cls_token_lambda,
            tta=tta,
            cls_column_zero=cls_column_zero,
            cls_row_layers=cls_row_layers,
        )
        self.vocabulary = vocabulary
        self._own: tuple[Tensor, Tensor] | None = None  # scales and thresholds of the classes, (C,) each
        if vocabulary.has_settings:
            self._own = torch.tensor(vocabulary.scales), torch.from_numpy(thresholds_of(vocabulary, prob_thd))
        if kind in TRAINED and not isinstance(self.net.upsampler, upsampler_class(kind)):
            raise UserError(
                f"feature_up_cfg says {kind}, but {path} holds a {type(self.net.upsampler).__name__}: "
                "change model_name or model_path"
            )
        kind = kind or next((name for name in TRAINED if isinstance(self.net.upsampler, upsampler_class(name))), None)
        self.upsampler = kind if path is None else f"{KERNELS * used.kernels}{kind} ({path.name})"
        self.precision = compute.precision
        self.max_memory_mb = compute.max_memory_mb
        self.to(compute.device)

    def test_step(self, data: dict[str, Any]) -> list[SegDataSample]:
        """Predicts a batch of the data loader, whose images need not have one size.

        Args:
            data: `inputs`, B images (3, H, W) uint8 BGR, and `data_samples`.

        Returns:
            The B data samples in their order, see `predict`.
        """
        inputs, samples = data["inputs"], data["data_samples"]
        done: dict[int, SegDataSample] = {}
        for members in _groups([tuple(image.shape) for image in inputs]):
            batch = {"inputs": [inputs[i] for i in members], "data_samples": [samples[i] for i in members]}
            done.update(zip(members, super().test_step(batch), strict=True))
        return [done[i] for i in range(len(inputs))]

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Predicts images of one size.

        Args:
            inputs: (B, 3, H, W), normalised.
            data_samples: B samples; `ori_shape` (height, width) in one's metainfo is the size of its result,
                by default (H, W).

        Returns:
            The samples with `seg_logits`, the scores (C, height, width) in [0, 1], and `pred_sem_seg`, the
            labels (1, height, width) int64.
        """
        samples = [SegDataSample() for _ in inputs] if data_samples is None else list(data_samples)
        sizes = [_original_size(sample, tuple(inputs.shape[-2:])) for sample in samples]
        for members in _groups(sizes):
            scores = self.net.scores(self._logits(inputs[members], sizes[members[0]]))
            for i, score, labels in zip(members, scores, self._labels(scores), strict=True):
                samples[i].set_data({"seg_logits": PixelData(data=score), "pred_sem_seg": PixelData(data=labels[None])})
        return samples

    def _labels(self, scores: Tensor) -> Tensor:
        """As `SegEarth.labels`, with the classes' own scales and thresholds, as prediction has them."""
        if self._own is None:
            return self.net.labels(scores)
        scales, thresholds = (values.to(scores.device) for values in self._own)
        best = (scores * scales[:, None, None]).max(dim=1).indices
        confidence = scores.gather(1, best[:, None])[:, 0]
        return best.masked_fill(confidence < thresholds[best], self.net.bg_idx)

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:  # noqa: ARG002 (of the base)
        """The scores (B, C, H, W) in [0, 1] of normalised images (B, 3, H, W), at their size."""
        height, width = inputs.shape[-2:]
        return self.net.scores(self._logits(inputs, (height, width)))

    def _logits(self, inputs: Tensor, size: tuple[int, int]) -> Tensor:
        return self.net.logits(inputs, size, max_memory_mb=self.max_memory_mb)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return self.encode_decode(inputs, data_samples)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """The patch features (B, D, h, w) of normalised images (B, 3, H, W)."""
        features: Tensor = self.net.encoder(inputs)[0]
        return features

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Raises NotImplementedError: the method needs no training."""
        raise NotImplementedError("SegEarth is not trained: use segearth eval, or mode='predict'")


def _groups(keys: Sequence[Hashable]) -> list[list[int]]:
    """Groups the positions of equal keys: ["a", "b", "a"] -> [[0, 2], [1]]."""
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _original_size(sample: SegDataSample, default: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a sample's result; refuses transforms that would have to be undone."""
    meta = sample.metainfo
    if meta.get("flip") or any(meta.get("img_padding_size") or meta.get("padding_size") or ()):
        raise UserError(
            "the pipeline flips or pads images, which SegEarthSegmentation does not undo: expected LoadImageFromFile, "
            "Resize, LoadAnnotations and PackSegInputs only; remove the other transforms from the config"
        )
    height, width = meta.get("ori_shape", default)[:2]
    return int(height), int(width)
