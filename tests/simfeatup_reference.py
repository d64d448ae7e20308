"""SimFeatUp's losses once more, as plain as can be: whole maps, torch's own operations, loops over patches.

Nothing is shared with `segearth.training` but the names of the weights. Maps are (B, C, H, W), in float64.
"""

import torch
import torch.nn.functional as F


def jittered(maps, zoom, top, left, flip):
    """Pad by 20, enlarge all of it, cut, mirror."""
    size = maps.shape[-1]
    maps = F.pad(maps, [20] * 4, mode="reflect")
    if zoom != 1:
        maps = F.interpolate(maps, scale_factor=zoom, mode="bilinear", align_corners=False)
    assert maps.shape[-1] == int((size + 40) * zoom)
    maps = maps[:, :, top : top + size, left : left + size]
    return maps.flip(-1) if flip else maps


def blurred(maps):
    line = torch.exp(-(torch.arange(-2.0, 3.0, dtype=maps.dtype) ** 2) / 2)
    kernel = line[:, None] * line[None, :]
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(maps, [2] * 4, mode="reflect"), kernel, groups=maps.shape[1])


def downsampled(maps, weights, kept, pixels, patch):
    """Attention over each patch; `pixels` are dropout's factors (B, H, W, D) or None, `kept` (B, h, w)."""
    maps = blurred(maps)
    out = torch.zeros(*maps.shape[:2], *kept.shape[1:], dtype=maps.dtype)
    for b in range(kept.shape[0]):
        for y in range(kept.shape[1]):
            for x in range(kept.shape[2]):
                rows, columns = slice(y * patch, (y + 1) * patch), slice(x * patch, (x + 1) * patch)
                features = maps[b, :, rows, columns].permute(1, 2, 0)  # (p, p, D)
                seen = features if pixels is None else features * pixels[b, rows, columns]
                logits = seen @ weights["attention.weight"][0] + weights["attention.bias"]
                logits = logits * kept[b, y, x] * weights["weight"] + weights["bias"]
                attention = logits.flatten().softmax(dim=0).view(patch, patch, 1)
                out[b, :, y, x] = (attention * features).sum(dim=(0, 1))
    return out


def uncertainty(features, weights):
    return (F.conv2d(features, weights["conv.weight"], weights["conv.bias"]) + 0.1).exp().clamp(min=1e-4)


def reconstruction(down, target, sigma, projection):
    """`projection` (B, D, 30)."""
    error = torch.einsum("bdhw,bdk->bkhw", down - target, projection)
    return (error**2 / (2 * sigma**2) + sigma.log()).mean()


def image_reconstruction(maps, image, weights):
    hidden = F.conv2d(maps, weights["first.weight"], weights["first.bias"]).permute(0, 2, 3, 1)
    hidden = F.layer_norm(hidden, hidden.shape[-1:], weights["norm.weight"], weights["norm.bias"], eps=1e-6)
    colours = F.conv2d(F.gelu(hidden).permute(0, 3, 1, 2), weights["last.weight"], weights["last.bias"]).tanh()
    return ((colours - image) ** 2).mean()
