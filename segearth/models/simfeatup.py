"""From the patch grid to pixels: learned joint bilateral upsampling (JBU).

FeatUp (Fu et al., arXiv 2403.10516) doubles a feature map step by step; in every step each output pixel
is a weighted sum of its neighbours in the bicubically enlarged map, and the weights come from the image
itself (the guidance). SimFeatUp (Li et al., SegEarth-OV, arXiv 2410.01768) shares one step with a wider
kernel between all doublings. Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segearth.errors import UserError

GUIDANCE_DIM = 3
KEY_DIM = 32


def adaptive_convolution(padded: Tensor, kernel: Tensor) -> Tensor:
    """Convolves with a kernel of its own at every pixel, the same for all channels.

    Args:
        padded: (B, C, H + 2r, W + 2r), the map with a border of the kernel's radius r.
        kernel: (B, T, H, W) with T = (2r + 1)² taps, row-major from the top left.

    Returns:
        (B, C, H, W) with out[y, x] = Σ_t kernel[t, y, x] · padded[y + dy(t), x + dx(t)].

    Raises:
        ValueError: the number of taps does not fit the border.
    """
    taps, height, width = kernel.shape[1:]
    side = padded.shape[-2] - height + 1
    if side * side != taps or padded.shape[-1] - width + 1 != side:
        raise ValueError(f"{taps} taps do not fit a map of {tuple(padded.shape[-2:])} for {height} × {width}")
    out = torch.zeros_like(padded[..., :height, :width])
    for t in range(taps):
        dy, dx = divmod(t, side)
        out = torch.addcmul(out, kernel[:, t : t + 1], padded[:, :, dy : dy + height, dx : dx + width])
    return out


def pool(guidance: Tensor, size: tuple[int, int]) -> Tensor:
    """`F.adaptive_avg_pool2d`, also where an Apple GPU does not have it: for sizes that do not divide each other.

    Args:
        guidance: (..., H, W), of three or four dimensions.
        size: (height, width) of the result.
    """
    divides = all(side % wanted == 0 for side, wanted in zip(guidance.shape[-2:], size, strict=True))
    if guidance.device.type != "mps" or divides:
        return F.adaptive_avg_pool2d(guidance, size)
    return pool_by_products(guidance, size)


def pool_by_products(guidance: Tensor, size: tuple[int, int]) -> Tensor:
    """`F.adaptive_avg_pool2d` to rounding, as two matrix products, for any device."""
    down, across = (_means(side, wanted, guidance) for side, wanted in zip(guidance.shape[-2:], size, strict=True))
    return down @ guidance @ across.T


def _means(length: int, wanted: int, like: Tensor) -> Tensor:
    """(wanted, length): the mean of the positions from ⌊i · length / wanted⌋ to before ⌈(i + 1) · length / wanted⌉."""
    place, mean = (torch.arange(count, device=like.device) for count in (length, wanted))
    first, end = mean * length // wanted, -(-(mean + 1) * length // wanted)
    inside = (place >= first[:, None]) & (place < end[:, None])
    return inside.to(like.dtype) / (end - first)[:, None]


def pointwise(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of a 1 × 1 convolution."""
    weight, bias = layer.weight, layer.bias
    return weight[:, :, 0, 0], bias  # type: ignore[index, return-value]


class JBUStep(nn.Module):
    """One doubling: the learned range kernel times the spatial kernel, and its correction."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        taps = (2 * radius + 1) ** 2
        self.radius = radius
        self.range_temp = nn.Parameter(torch.tensor(0.0))
        self.sigma_spatial = nn.Parameter(torch.tensor(1.0))
        self.range_proj = nn.Sequential(
            nn.Conv2d(GUIDANCE_DIM, KEY_DIM, 1), nn.GELU(), nn.Dropout2d(0.1), nn.Conv2d(KEY_DIM, KEY_DIM, 1)
        )
        self.fixup_proj = nn.Sequential(
            nn.Conv2d(taps + GUIDANCE_DIM, taps, 1), nn.GELU(), nn.Dropout2d(0.1), nn.Conv2d(taps, taps, 1)
        )

    def forward(self, source: Tensor, guidance: Tensor) -> Tensor:
        """Doubles a map; the reference for `segearth.models.tiles`, which is faster.

        Args:
            source: (B, C, h, w), any number of channels: every channel is treated alike.
            guidance: (B, 3, H, W), the normalised image, of any size.

        Returns:
            (B, C, 2h, 2w).
        """
        size = (2 * source.shape[-2], 2 * source.shape[-1])
        border = [self.radius] * 4
        guidance = pool(guidance, size)
        keys = F.pad(self.keys(guidance), border, mode="reflect")
        enlarged = F.interpolate(source, size=size, mode="bicubic", align_corners=False)
        return adaptive_convolution(F.pad(enlarged, border, mode="reflect"), self.kernel(keys, guidance))

    def keys(self, guidance: Tensor) -> Tensor:
        """The projected guidance without the projection's last bias: (B, 3, H, W) to (B, 32, H, W).

        A bias that all neighbours have in common changes no softmax, and without it rounding errors are smaller. It is
        added to the key of the pixel itself; see `key_bias`.
        """
        last = self.range_proj[3]
        return F.conv2d(self.range_proj[:3](guidance), last.weight)  # type: ignore[arg-type]

    @property
    def key_bias(self) -> Tensor:
        """(32,), see `keys`."""
        return pointwise(self.range_proj[3])[1]

    def kernel(self, keys: Tensor, guidance: Tensor) -> Tensor:
        """The weights of every pixel's neighbours.

        Args:
            keys: (B, 32, H + 2r, W + 2r), of `keys`, with a reflected border.
            guidance: (B, 3, H, W), pooled to the output's size.

        Returns:
            (B, T, H, W), T = (2r + 1)² taps, row-major from the top left. They sum to about 1, not to 1.
        """
        range_kernel = self._range_kernel(keys, *guidance.shape[-2:])
        kernel = range_kernel * self.spatial_kernel()[:, None, None]
        kernel = kernel / kernel.sum(dim=1, keepdim=True).clamp(min=1e-7)
        return kernel + 0.1 * self.fixup_proj(torch.cat([kernel, guidance], dim=1))

    def _range_kernel(self, keys: Tensor, height: int, width: int) -> Tensor:
        """Softmax over the taps of temperature · (pixel's key · neighbour's key)."""
        radius, side = self.radius, 2 * self.radius + 1
        centre = keys[:, :, radius : radius + height, radius : radius + width] + self.key_bias[:, None, None]
        products = [
            (centre * keys[:, :, dy : dy + height, dx : dx + width]).sum(dim=1)
            for dy in range(side)
            for dx in range(side)
        ]
        temperature = self.range_temp.exp().clamp(1e-4, 1e4)
        return (temperature * torch.stack(products, dim=1)).softmax(dim=1)

    def spatial_kernel(self) -> Tensor:
        """exp(-(dx² + dy²) / (2 σ²)) with dx, dy from -1 to 1 over the window; (T,)."""
        sigma = self.sigma_spatial
        line = torch.linspace(-1, 1, 2 * self.radius + 1, device=sigma.device, dtype=sigma.dtype)
        squared = line[:, None] ** 2 + line[None, :] ** 2
        return torch.exp(-squared / (2 * sigma**2)).flatten()


class LinearUpsampler(nn.Module):
    """An upsampler whose output is linear in the features, with kernels U that depend on the image alone.

    The fast path of `segearth.models.factored` serves all of these, by what a subclass declares here; any other module
    that is called as `forward` serves as well, without it.

    Attributes:
        linear: marks these upsamplers.
        feat_dim: D, the width of the features that it takes; None: any.
        radius: of the kernels of `steps`; None where there are none.
        min_patches: along each side, that the steps need.
    """

    linear = True
    feat_dim: int | None = None
    radius: int | None = None
    min_patches = 1

    def fold(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Folds all that acts on channels into the patch features and a constant.

        Args:
            features: (n, D, h, w).

        Returns:
            Y (n, N, D), N = h · w, and c (D,), float32, so that the output is U Y + c.
        """
        return features.float().flatten(2).transpose(1, 2), features.new_zeros(features.shape[1], dtype=torch.float32)

    def interpolate(self, source: Tensor, guidance: Tensor) -> Tensor:
        """U, which acts on pixels and leaves channels alone: (B, C, h, w) and (B, 3, H, W) to (B, C, H, W)."""
        raise NotImplementedError

    def steps(self, factor: float) -> list[JBUStep]:  # noqa: ARG002
        """The doublings that U consists of, to cover a factor (pixels a patch side); none: U is `interpolate` alone."""
        return []


class JBU(LinearUpsampler):
    """The base of `JBUOne` and `JBUStack`: z = U(guidance) · source, then z + 0.1 · W z.

    W has the width of a CLIP's features. U depends on the image alone: without W it serves any CLIP.

    Args:
        feat_dim: D, the width of the features; None: any, and there is no W.
        radius: of the kernels.
    """

    radius: int

    def __init__(self, feat_dim: int | None, radius: int) -> None:
        super().__init__()
        self.feat_dim = feat_dim
        self.radius = radius
        last = [] if feat_dim is None else [nn.Dropout2d(0.2), nn.Conv2d(feat_dim, feat_dim, 1)]
        self.fixup_proj = nn.Sequential(*last)
        # Reflected borders need 2h, 2w > radius in the first step.
        self.min_patches = radius // 2 + 1

    def fold(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Y = F (I + 0.1 Wᵀ) and c = 0.1 b, of the last convolution; see `LinearUpsampler`."""
        tokens, none = super().fold(features)
        if self.feat_dim is None:
            return tokens, none
        weight, bias = pointwise(self.fixup_proj[1])
        return tokens + 0.1 * tokens @ weight.T, 0.1 * bias

    def forward(self, source: Tensor, guidance: Tensor) -> Tensor:
        """Upsamples features to the guidance's pixels.

        Args:
            source: (B, D, h, w), patch features, not normalised.
            guidance: (B, 3, H, W), the normalised image that they were taken from.

        Returns:
            (B, D, H, W).

        Raises:
            UserError: features of another width than `feat_dim`.
        """
        check_width(self, source.shape[1])
        z = self.interpolate(source, guidance)
        return z if self.feat_dim is None else z + 0.1 * self.fixup_proj(z)

    def interpolate(self, source: Tensor, guidance: Tensor) -> Tensor:
        """The linear part U, which acts on pixels and leaves channels alone: (B, C, h, w) to (B, C, H, W).

        A map of fewer patches than the reflected border of the first step needs is padded with zeros
        (patches and guidance alike) and cut back.
        """
        (h, w), (height, width) = source.shape[-2:], guidance.shape[-2:]
        steps = self.steps(max(height / h, width / w))
        (top, bottom), (left, right) = (_missing(side, self.min_patches) for side in (h, w))
        if top + bottom + left + right:
            py, px = height / h, width / w
            border = [round(left * px), round(right * px), round(top * py), round(bottom * py)]
            source = F.pad(source, [left, right, top, bottom])
            guidance = F.pad(guidance, border)
        for step in steps:
            source = step(source, guidance)
        if source.shape[-2:] != guidance.shape[-2:]:  # a patch size that is no power of two
            source = F.interpolate(source, size=guidance.shape[-2:], mode="bilinear", align_corners=False)
        if top + bottom + left + right:
            source = source[:, :, border[2] : border[2] + height, border[0] : border[0] + width]
        return source


def check_width(upsampler: nn.Module, width: int) -> None:
    """Refuses features of another width than the upsampler's; one without a `feat_dim` takes any.

    Raises:
        UserError: another width.
    """
    expected = getattr(upsampler, "feat_dim", None)
    if expected is not None and expected != width:
        raise UserError(
            f"the upsampler was made for features of width {expected}, this CLIP gives {width}: expected the upsampler "
            'that was trained for this CLIP; or use the kernels of that one alone ("kernels:" before its name or '
            "path), 'bilateral' or 'bilinear'"
        )


def _missing(side: int, least: int) -> tuple[int, int]:
    """Patches to add (before, after) so that `side` becomes at least `least`; the smaller half before."""
    lack = max(0, least - side)
    return lack // 2, lack - lack // 2


class JBUOne(JBU):
    """SimFeatUp: one step of radius 5, repeated until the patch is covered (4 times for 16, 5 for 32)."""

    def __init__(self, feat_dim: int | None, radius: int = 5) -> None:
        super().__init__(feat_dim, radius)
        self.up = JBUStep(radius)

    def steps(self, factor: float) -> list[JBUStep]:
        """The one step, ⌈log₂ factor⌉ times."""
        return [self.up] * math.ceil(math.log2(factor))


class JBUStack(JBU):
    """FeatUp: four steps of radius 3, each with weights of its own, for patches of 16 pixels.

    Smaller patches need fewer steps, the first ones; for larger ones, which FeatUp does not know, the last is repeated.
    """

    def __init__(self, feat_dim: int | None, radius: int = 3) -> None:
        super().__init__(feat_dim, radius)
        self.up1, self.up2, self.up3, self.up4 = (JBUStep(radius) for _ in range(4))

    def steps(self, factor: float) -> list[JBUStep]:
        """The first ⌈log₂ factor⌉ steps; the fourth again where there are more."""
        steps = [self.up1, self.up2, self.up3, self.up4]
        return [steps[min(i, 3)] for i in range(math.ceil(math.log2(factor)))]


class Bilinear(LinearUpsampler):
    """Plain bilinear interpolation of the features (not of the logits), nothing learned; the image gives the size."""

    def forward(self, source: Tensor, guidance: Tensor) -> Tensor:
        """(B, D, h, w) and (B, 3, H, W) to (B, D, H, W)."""
        return self.interpolate(source, guidance)

    def interpolate(self, source: Tensor, guidance: Tensor) -> Tensor:
        """As `forward`, for any number of channels."""
        return F.interpolate(source, size=guidance.shape[-2:], mode="bilinear", align_corners=False)


def radius_of(state: dict[str, Tensor]) -> int:
    """The kernel's radius, from an upsampler's tensors: its steps end in one bias a tap, (2r + 1)² of them."""
    taps = next((len(value) for name, value in state.items() if name.endswith(".fixup_proj.3.bias") and value.ndim), 0)
    return max(math.isqrt(taps) - 1, 0) // 2
