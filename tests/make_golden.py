"""Small random models and inputs, and what the reference computes from them.

Inputs are rounded so that float16 holds them exactly and the files stay small; large outputs are stored with the
stride that their keys name. Each file is a dictionary of arrays: `make_inputs` draws what goes in, `make_outputs`
computes the rest.

    python tests/make_golden.py        # writes tests/golden/*.npz
"""

import json
import math
from pathlib import Path

import numpy as np
import reference
from reference import METHODS, bicubic_taps, resize, unit

GOLDEN = Path(__file__).parent / "golden"
STRIDE = "[..., ::5, ::5]"
MINI = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 16, "head_width": 8, "layers": 7},
    "text_cfg": {"context_length": 16, "vocab_size": 64, "width": 8, "heads": 1, "layers": 1},
}
# method, ignore_residual, upsampler, cls_token_lambda, prob_thd, bg_idx, slide_crop, slide_stride, out_size, image
CHAINS = {
    "windows": ("SegEarth", True, "jbu_one", -0.3, 0.55, 1, 32, 16, (37, 53), "44x60"),
    "padded_windows": ("SCLIP", True, None, -0.2, 0.0, 0, 29, 20, (37, 53), "37x53"),
    "padded_windows_jbu": ("ClearCLIP", True, "jbu_one", 0.0, 0.0, 0, 29, 20, (30, 40), "37x53"),
    "padded_windows_bilinear": ("MaskCLIP", False, "bilinear", -0.3, 0.0, 0, 27, 13, (50, 70), "37x53"),
    "whole": ("vanilla", False, None, -0.3, 0.7, 2, 0, 16, (37, 53), "37x53"),
    "whole_jbu": ("SegEarth", False, "jbu_one", -0.3, 0.0, 0, 0, 16, (25, 33), "24x32"),
    "gem": ("GEM", True, None, 0.0, 0.0, 0, 32, 16, (44, 60), "44x60"),
    "batch": ("SegEarth", True, "jbu_one", -0.3, 0.6, 3, 32, 16, (30, 50), "two_28x40"),
    "small": ("SegEarth", True, "jbu_one", -0.3, 0.0, 0, 32, 16, (20, 20), "13x7"),
}
CHAIN_NAMES = "method ignore_residual upsampler cls_token_lambda prob_thd bg_idx slide_crop slide_stride out_size image"
DENSE = {"square": (2, 3, 32, 32), "slim": (1, 3, 8, 128), "rect": (1, 3, 24, 40)}
IMAGES = {
    "44x60": (1, 3, 44, 60),
    "37x53": (1, 3, 37, 53),
    "24x32": (1, 3, 24, 32),
    "two_28x40": (2, 3, 28, 40),
    "13x7": (1, 3, 13, 7),
}
# family|case: shapes of source and guidance
JBU = {
    "jbu_one|factor8": ((2, 8, 3, 4), (2, 3, 24, 32)),
    "jbu_one|factor32": ((1, 8, 3, 3), (1, 3, 96, 96)),
    "jbu_one|two_by_one": ((1, 8, 2, 1), (1, 3, 16, 8)),
    "jbu_stack|factor16": ((1, 8, 3, 4), (1, 3, 48, 64)),
    "jbu_stack|two_by_three": ((1, 8, 2, 3), (1, 3, 32, 48)),
}
QUERY_TO_CLASS = (0, 1, 1, 2, 3, 3, 3)


class Draw:
    """Uniform numbers, the same on every machine, of a given mean and standard deviation."""

    def __init__(self, seed):
        self.random = np.random.RandomState(seed)

    def __call__(self, *shape, std=1.0, mean=0.0):
        x = mean + std * math.sqrt(12) * (self.random.random_sample(shape) - 0.5)
        return (np.round(x * 256) / 256).astype("float16")

    def layer(self, name, out, *fan_in):
        std = math.prod(fan_in) ** -0.5
        return {name + ".weight": self(out, *fan_in, std=std), name + ".bias": self(out, std=0.1)}

    def norm(self, name, width):
        return {name + ".weight": self(width, std=0.2, mean=1), name + ".bias": self(width, std=0.2)}

    def blocks(self, prefix, width, layers):
        w = {}
        for name in (f"{prefix}transformer.resblocks.{layer}" for layer in range(layers)):
            w |= self.norm(name + ".ln_1", width) | self.norm(name + ".ln_2", width)
            w[name + ".attn.in_proj_weight"] = self(3 * width, width, std=1.4 * width**-0.5)
            w[name + ".attn.in_proj_bias"] = self(3 * width, std=0.1)
            w |= self.layer(name + ".attn.out_proj", width, width)
            w |= self.layer(name + ".mlp.c_fc", 4 * width, width) | self.layer(name + ".mlp.c_proj", width, 4 * width)
        return w

    def clip(self, config):
        dim, vision, text = config["embed_dim"], config["vision_cfg"], config["text_cfg"]
        width, patch = vision["width"], vision["patch_size"]
        tokens = (vision["image_size"] // patch) ** 2 + 1
        w = {"visual.class_embedding": self(width), "visual.positional_embedding": self(tokens, width)}
        w["visual.conv1.weight"] = self(width, 3, patch, patch, std=0.15)
        w["visual.proj"] = self(width, dim, std=width**-0.5)
        w |= self.norm("visual.ln_pre", width) | self.norm("visual.ln_post", width)
        w |= self.blocks("visual.", width, vision["layers"])
        w |= self.blocks("", text["width"], text["layers"]) | self.norm("ln_final", text["width"])
        w |= {"token_embedding.weight": self(text["vocab_size"], text["width"]), "logit_scale": self(mean=2.7)}
        w |= {"positional_embedding": self(text["context_length"], text["width"])}
        return w | {"text_projection": self(text["width"], dim)}

    def jbu(self, dim, modules, radius):
        w, taps = self.layer("fixup_proj.1", dim, dim, 1, 1), (2 * radius + 1) ** 2
        for name in modules:
            w |= {f"{name}.range_temp": self(std=0.3, mean=0.3), f"{name}.sigma_spatial": self(std=0.1, mean=0.8)}
            w |= self.layer(f"{name}.range_proj.0", 32, 3, 1, 1) | self.layer(f"{name}.range_proj.3", 32, 32, 1, 1)
            w |= self.layer(f"{name}.fixup_proj.0", taps, taps + 3, 1, 1)
            w |= self.layer(f"{name}.fixup_proj.3", taps, taps, 1, 1)
        return w

    def image(self, b, c, h, w):
        """Soft shapes and some noise."""
        coarse = self(b, c, h // 6 + 1, w // 6 + 1, std=1.3).astype("float64")
        smooth = [resize(x, (h, w), bicubic_taps) for x in coarse]
        return (np.round((np.stack(smooth) + self(b, c, h, w, std=0.2)) * 32) / 32).astype("float16")


def some_queries(clip, image, params):
    """What sets patches apart from the mean, so that every class wins somewhere; (Q, D)."""
    features, _ = reference.dense_clip(
        weights(clip), MINI, image.astype("float64"), params["method"], params["ignore_residual"]
    )
    patches = features.reshape(len(features), -1).T
    mean = unit(patches.mean(0), 0)
    apart = unit(patches - np.outer(patches @ mean, mean), 1)
    return apart[np.linspace(0, len(patches) - 1, len(QUERY_TO_CLASS)).astype(int)]


def make_inputs():
    draw = Draw(0)
    clip = {"config": np.array(json.dumps(MINI))} | draw.clip(MINI)
    dense = {name: draw.image(*shape) for name, shape in DENSE.items()}
    upsamplers = {f"jbu_one.w|{name}": x for name, x in draw.jbu(8, ["up"], 5).items()}
    upsamplers |= {f"jbu_stack.w|{name}": x for name, x in draw.jbu(8, ["up1", "up2", "up3", "up4"], 3).items()}
    for case, (source, guidance) in JBU.items():
        upsamplers |= {f"{case}|source": draw(*source), f"{case}|guidance": draw.image(*guidance)}
    chains = {name: draw.image(*shape) for name, shape in IMAGES.items()}
    chains["query_to_class"] = np.array(QUERY_TO_CLASS)
    for case, values in CHAINS.items():
        params = dict(zip(CHAIN_NAMES.split(), values, strict=True))
        chains[f"{case}|params"] = np.array(json.dumps(params))
        chains[f"{case}|queries"] = some_queries(clip, chains["44x60"][0], params).astype("float32")
    return {"mini_clip": clip, "dense_features": dense, "upsamplers": upsamplers, "chains": chains}


def weights(arrays, prefix=""):
    """The float64 weights among the arrays whose keys start with the prefix."""
    return {k[len(prefix) :]: x.astype("float64") for k, x in arrays.items() if k.startswith(prefix) and k != "config"}


def dense_keys():
    return [(method, residual, name) for residual in (True, False) for method in METHODS for name in DENSE]


def dense_outputs(clip, arrays, method, ignore_residual, name):
    """Features and class vectors of one case; GEM has no class vectors."""
    pairs = [
        reference.dense_clip(weights(clip), MINI, image, method, ignore_residual)
        for image in arrays[name].astype("float64")
    ]
    key = f"{method}|ignore_residual={ignore_residual}|{name}|"
    outputs = {key + "features": np.stack([features for features, _ in pairs])}
    if method != "GEM":
        outputs[key + "cls"] = np.stack([cls for _, cls in pairs])
    return outputs


def upsampler_outputs(arrays, case):
    w = weights(arrays, case.split("|")[0] + ".w|")
    pairs = zip(arrays[f"{case}|source"].astype("float64"), arrays[f"{case}|guidance"].astype("float64"), strict=True)
    return {f"{case}|out{STRIDE}": np.stack([reference.jbu(w, *pair)[:, ::5, ::5] for pair in pairs])}


def chain_outputs(clip, upsamplers, arrays, case):
    params = json.loads(str(arrays[f"{case}|params"]))
    jbu = weights(upsamplers, "jbu_one.w|") if params["upsampler"] == "jbu_one" else params["upsampler"]
    queries = arrays[f"{case}|queries"].astype("float64")
    all_logits, all_scores, all_labels = [], [], []
    for image in arrays[params["image"]].astype("float64"):
        logits = reference.image_logits(weights(clip), MINI, jbu, image, queries, params)
        scores = reference.class_scores(logits, arrays["query_to_class"])
        all_logits.append(logits[:, ::5, ::5])
        all_scores.append(scores[:, ::5, ::5])
        all_labels.append(reference.labels(scores, params["prob_thd"], params["bg_idx"]))
    outputs = {f"logits{STRIDE}": all_logits, f"scores{STRIDE}": all_scores, "labels": all_labels}
    return {f"{case}|{name}": np.stack(arrays) for name, arrays in outputs.items()}


def make_outputs(files):
    clip, dense, upsamplers, chains = files.values()
    outputs = {name: {} for name in files}
    for case in dense_keys():
        outputs["dense_features"] |= dense_outputs(clip, dense, *case)
    for case in JBU:
        outputs["upsamplers"] |= upsampler_outputs(upsamplers, case)
    for case in CHAINS:
        outputs["chains"] |= chain_outputs(clip, upsamplers, chains, case)
    return outputs


def main():
    """Write the golden files."""
    files = make_inputs()
    outputs = make_outputs(files)
    GOLDEN.mkdir(exist_ok=True)
    for name, inputs in files.items():
        stored = {k: x.astype("float32") if x.dtype == "float64" else x for k, x in outputs[name].items()}
        np.savez_compressed(GOLDEN / f"{name}.npz", **inputs, **stored)


if __name__ == "__main__":
    main()
