"""The whole method once more, as plain as it can be written: NumPy in float64, one image, loops over pixels.

Nothing here is shared with the package, so that a mistake would have to be made twice to stay unseen. Weights are
dictionaries of arrays under the names of their state dicts. Shapes carry no batch: an image is (3, H, W), a feature
map (D, h, w), tokens are (N, D) with the class token first.

`tests/make_golden.py` runs it on small random models; `tests/test_golden.py` compares the package with the outcome.
"""

import math

import numpy as np

METHODS = ("vanilla", "MaskCLIP", "SCLIP", "ClearCLIP", "SegEarth", "GEM")
OPERANDS = {"vanilla": ["qk"], "SCLIP": ["qq", "kk"], "ClearCLIP": ["qq"], "SegEarth": ["qq", "kk", "vv"]}
OPERANDS["NACLIP"] = ["kk"]
GEM_BLOCKS = 6
SIGMA = 5  # of NACLIP's neighbourhood, in patches


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def unit(x, axis):
    return x / np.sqrt((x * x).sum(axis, keepdims=True))


def gelu(x):
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.ravel()]).reshape(x.shape)


def layer_norm(x, w, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    """Along the last axis; 1×1 convolutions have weights with two more axes of length one."""
    weight = w[name + ".weight"]
    return x @ weight.reshape(weight.shape[:2]).T + w[name + ".bias"]


def pointwise(x, w, name):
    """A 1×1 convolution on (C, h, w)."""
    return np.moveaxis(linear(np.moveaxis(x, 0, -1), w, name), -1, 0)


# Resizing: for output pixel i, the input pixels it reads and their weights. Pixels are areas (align_corners=False).


def cubic(t, a):
    t = abs(t)
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def bicubic_taps(i, length, scale):
    centre = (i + 0.5) / scale - 0.5
    first = math.floor(centre) - 1
    return [(min(max(j, 0), length - 1), cubic(centre - j, -0.75)) for j in range(first, first + 4)]


def antialiased_taps(i, length, scale):
    """The kernel widens by 1/scale when it shrinks; taps outside are left out and the others sum to one."""
    width = max(1 / scale, 1.0)
    centre = (i + 0.5) / scale - 0.5
    weights = [cubic((j - centre) / width, -0.5) for j in range(length)]
    return [(j, weight / sum(weights)) for j, weight in enumerate(weights)]


def bilinear_taps(i, length, scale):
    centre = max((i + 0.5) / scale - 0.5, 0.0)
    first = math.floor(centre)
    return [(first, 1 - (centre - first)), (min(first + 1, length - 1), centre - first)]


def resize(x, size, taps, scale=None):
    """(C, h, w) to (C, *size); without a scale it is the ratio of the sizes."""
    h, w = x.shape[1:]
    scale_h, scale_w = scale or (size[0] / h, size[1] / w)
    x = np.stack([sum(k * x[:, j, :] for j, k in taps(i, h, scale_h)) for i in range(size[0])], 1)
    return np.stack([sum(k * x[:, :, j] for j, k in taps(i, w, scale_w)) for i in range(size[1])], 2)


# The image tower.


def position_table(w, method, h, width):
    """One row per token: used as it is, or resampled for another grid."""
    table = w["visual.positional_embedding"]
    side = math.isqrt(len(table) - 1)
    grid = table[1:].T.reshape(-1, side, side)
    if method == "GEM":
        if (h, width) == (side, side):
            return table
        grid = resize(grid, (h, width), antialiased_taps)
    else:
        if h * width == side * side:
            return table
        grid = resize(grid, (h, width), bicubic_taps, ((h + 0.1) / side, (width + 0.1) / side))
    return np.concatenate([table[:1], grid.reshape(len(grid), -1).T])


def embed(w, image, method):
    kernel = w["visual.conv1.weight"]
    patch = kernel.shape[-1]
    h, width = image.shape[1] // patch, image.shape[2] // patch
    tokens = [w["visual.class_embedding"]]
    for i in range(h):
        for j in range(width):
            pixels = image[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
            tokens.append((kernel * pixels).sum((1, 2, 3)))
    x = np.stack(tokens) + position_table(w, method, h, width)
    return layer_norm(x, w, "visual.ln_pre"), (h, width)


def attention_inputs(w, name, x, heads):
    """Returns ln_1(x) and, for each of "q", "k", "v", one (N, head width) array per head."""
    normed = layer_norm(x, w, name + ".ln_1")
    projected = normed @ w[name + ".attn.in_proj_weight"].T + w[name + ".attn.in_proj_bias"]
    parts = np.split(projected, 3, axis=1)
    return normed, {part: np.split(array, heads, axis=1) for part, array in zip("qkv", parts, strict=True)}


def out_projection(w, name, per_head):
    return linear(np.concatenate(per_head, 1), w, name + ".attn.out_proj")


def neighbourhood(h, width):
    """How near patches are to each other, for NACLIP; the class token is near none."""
    near = np.zeros((1 + h * width, 1 + h * width))
    for i in range(h):
        for j in range(width):
            for m in range(h):
                for n in range(width):
                    distance = (m - i) ** 2 + (n - j) ** 2
                    near[1 + i * width + j, 1 + m * width + n] = math.exp(-distance / (2 * SIGMA**2))
    return near


def attend(w, name, x, heads, method, grid, row=None, column_zero=False):
    """What the block's attention adds, by the method's weights, which may be changed.

    `row` replaces what the class token attends to, one a head; `column_zero` takes the class token from all patches.
    """
    _, z = attention_inputs(w, name, x, heads)
    outputs = []
    for head in range(heads):
        v = z["v"][head]
        scale = v.shape[1] ** -0.5
        if method == "MaskCLIP":
            weights = np.eye(len(v))
        else:
            bias = neighbourhood(*grid) if method == "NACLIP" else 0
            weights = sum(softmax(z[a][head] @ z[b][head].T * scale + bias) for a, b in OPERANDS[method])
        if row is not None:
            weights[0] = row[head]
        if column_zero:
            weights[1:, 0] = 0
        outputs.append(weights @ v)
    return out_projection(w, name, outputs)


def cls_rows(w, name, x, heads):
    """What the class token attends to in CLIP's own attention, one row a head."""
    _, z = attention_inputs(w, name, x, heads)
    return np.stack([softmax(q @ k.T * q.shape[1] ** -0.5)[0] for q, k in zip(z["q"], z["k"], strict=True)])


def attend_gem(w, name, x, heads, column_zero=False):
    normed, z = attention_inputs(w, name, x, heads)
    outputs = []
    for head in range(heads):
        v = z["v"][head]
        t = v.shape[1] ** -0.5 * np.sqrt((normed**2).sum(1)).mean()
        total = 0
        for part in "vkq":
            y = unit(z[part][head], 1)
            y = unit(softmax(t * (y @ y.T)) @ y, 1)
            weights = softmax(t * (y @ y.T))
            if column_zero:
                weights[1:, 0] = 0
            total = total + weights @ v
        outputs.append(total / 3)
    return out_projection(w, name, outputs)


def feed_forward(w, name, x):
    hidden = linear(layer_norm(x, w, name + ".ln_2"), w, name + ".mlp.c_fc")
    return linear(hidden / (1 + np.exp(-1.702 * hidden)), w, name + ".mlp.c_proj")  # quick GELU


def dense_clip(w, config, image, method, ignore_residual=True, row_layers=(), column_zero=False):
    """Returns the patch features (D, h, w) and the class vector (D,), None with GEM.

    `row_layers`, counted from 1, are those whose mean attention of the class token replaces that of the last block.
    """
    vision = config["vision_cfg"]
    heads, layers = vision["width"] // vision["head_width"], vision["layers"]
    x, grid = embed(w, image, method)
    rows = []
    state = None  # of GEM's second path
    for layer in range(layers):
        name = f"visual.transformer.resblocks.{layer}"
        if layer + 1 in row_layers:
            rows.append(cls_rows(w, name, x, heads))
        if method == "GEM" and layer >= layers - GEM_BLOCKS:
            y = attend_gem(w, name, x, heads, column_zero)
            state = y if ignore_residual else (x if state is None else state) + y
        if layer < layers - 1:
            x = x + attend(w, name, x, heads, "vanilla", grid)
            x = x + feed_forward(w, name, x)
        elif method == "GEM":
            x = state
        else:
            y = attend(w, name, x, heads, method, grid, sum(rows) / len(rows) if rows else None, column_zero)
            x = y if ignore_residual else x + y
            x = x if ignore_residual else x + feed_forward(w, name, x)
    tokens = layer_norm(x, w, "visual.ln_post") @ w["visual.proj"]
    return tokens[1:].T.reshape(-1, *grid), None if method == "GEM" else tokens[0]


# The upsamplers.


def adaptive_average(x, h, width):
    out = np.empty((len(x), h, width))
    for i in range(h):
        for j in range(width):
            top, bottom = i * x.shape[1] // h, -(-(i + 1) * x.shape[1] // h)
            left, right = j * x.shape[2] // width, -(-(j + 1) * x.shape[2] // width)
            out[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    return out


def jbu_step(w, name, source, guidance, radius):
    """One step of joint bilateral upsampling, to twice the source's size."""
    h, width = 2 * source.shape[1], 2 * source.shape[2]
    offsets = np.linspace(-1, 1, 2 * radius + 1)
    sigma = w[name + ".sigma_spatial"]
    spatial = np.array([np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) for dy in offsets for dx in offsets])
    temperature = min(max(np.exp(w[name + ".range_temp"]), 1e-4), 1e4)
    g = adaptive_average(guidance, h, width)
    p = pointwise(gelu(pointwise(g, w, name + ".range_proj.0")), w, name + ".range_proj.3")
    border = ((0, 0), (radius, radius), (radius, radius))
    p_padded = np.pad(p, border, mode="reflect")
    source_padded = np.pad(resize(source, (h, width), bicubic_taps), border, mode="reflect")
    out = np.empty((len(source), h, width))
    for i in range(h):
        for j in range(width):
            near = slice(None), slice(i, i + 2 * radius + 1), slice(j, j + 2 * radius + 1)
            kernel = softmax(temperature * (p[:, i, j] @ p_padded[near].reshape(len(p), -1))) * spatial
            kernel = kernel / max(kernel.sum(), 1e-7)
            hidden = gelu(linear(np.concatenate([kernel, g[:, i, j]]), w, name + ".fixup_proj.0"))
            kernel = kernel + 0.1 * linear(hidden, w, name + ".fixup_proj.3")
            out[:, i, j] = source_padded[near].reshape(len(source), -1) @ kernel
    return out


def jbu(w, source, guidance):
    """`jbu_one` or `jbu_stack`, as the names of the weights say; the factor is the ratio of the sizes."""
    one = "up.range_temp" in w
    radius = 5 if one else 3
    factor = guidance.shape[1] // source.shape[1]
    # Reflection needs more than `radius` pixels after the first doubling: fewer patches are surrounded by zeros.
    lacking = [max(radius // 2 + 1 - side, 0) for side in source.shape[1:]]
    before = [n // 2 for n in lacking]
    pad = [(0, 0)] + [(b, n - b) for b, n in zip(before, lacking, strict=True)]
    x = np.pad(source, pad)
    guidance_padded = np.pad(guidance, [(a * factor, b * factor) for a, b in pad])
    for step in range(int(math.log2(factor))):
        x = jbu_step(w, "up" if one else f"up{step + 1}", x, guidance_padded, radius)
    x = x + 0.1 * pointwise(x, w, "fixup_proj.1")
    top, left = before[0] * factor, before[1] * factor
    return x[:, top : top + guidance.shape[1], left : left + guidance.shape[2]]


# From an image to labels.


def pass_logits(clip, config, upsampler, image, queries, case):
    """Logits (Q, ...) of one pass: of pixels with an upsampler ("bilinear" or weights), of patches without."""
    features, cls = dense_clip(clip, config, image, case["method"], case["ignore_residual"])
    if case["upsampler"] == "bilinear":
        features = resize(features, image.shape[1:], bilinear_taps)
    elif case["upsampler"]:
        features = jbu(upsampler, features, image)
    logits = np.tensordot(queries, unit(features, 0), 1)
    if case["cls_token_lambda"]:
        logits = logits + case["cls_token_lambda"] * (queries @ unit(cls, 0))[:, None, None]
    return logits


def starts(length, crop, stride):
    """Of the windows along one side: the last one ends at the border."""
    if length <= crop:
        return [0]
    return [*range(0, length - crop, stride), length - crop]


def image_logits(clip, config, upsampler, image, queries, case):
    crop, patch = case["slide_crop"], config["vision_cfg"]["patch_size"]
    if crop == 0:
        logits = pass_logits(clip, config, upsampler, image, queries, case)
        return resize(logits, case["out_size"], bilinear_taps)
    total = np.zeros((len(queries), *image.shape[1:]))
    count = np.zeros(image.shape[1:])
    for top in starts(image.shape[1], crop, case["slide_stride"]):
        for left in starts(image.shape[2], crop, case["slide_stride"]):
            window = image[:, top : top + crop, left : left + crop]
            h, width = window.shape[1:]
            missing_h, missing_w = -h % patch, -width % patch
            y, x = missing_h // 2, missing_w // 2
            window = np.pad(window, [(0, 0), (y, missing_h - y), (x, missing_w - x)])
            logits = pass_logits(clip, config, upsampler, window, queries, case)
            logits = resize(logits, window.shape[1:], bilinear_taps)  # nothing happens to pixels
            total[:, top : top + h, left : left + width] += logits[:, y : y + h, x : x + width]
            count[top : top + h, left : left + width] += 1
    return resize(total / count, case["out_size"], bilinear_taps)


def class_scores(logits, query_to_class):
    p = softmax(50 * logits, 0)
    return np.stack([p[[q for q, c in enumerate(query_to_class) if c == n]].max(0) for n in sorted({*query_to_class})])


def labels(scores, prob_thd, bg_idx):
    return np.where(scores.max(0) < prob_thd, bg_idx, scores.argmax(0)).astype("uint8")
