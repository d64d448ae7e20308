"""The numbers themselves: small goldens of a plain reference, and outputs of the official system.

The small ones lie in `tests/golden`, written by `make_golden.py` with `reference.py`, which shares no code with the
package. The official ones are read from the folder that SEGEARTH_TEST_DATA names; without it those tests skip.
"""

import copy
import functools
import json
from unittest.mock import patch

import make_golden
import numpy as np
import open_clip
import pytest
import torch
from make_golden import CHAINS, GOLDEN, JBU, METHODS
from PIL import Image
from test_flat import in_tritons_interpreter

from segearth.loading import load_tokenizer, read_upsampler
from segearth.models import Bilinear, DenseCLIP, JBUOne, JBUStack, SegEarth, encode_text, factored
from segearth.models.flat import TorchOperations
from segearth.vocabulary import Vocabulary

TOLERANCE = 1e-5  # of the largest value; what float32 allows between two implementations is a tenth of it
MEAN, STD = (122.771, 116.746, 104.094), (68.501, 66.632, 70.323)

DENSE = ["|".join([m, f"ignore_residual={r}", name]) for m, r, name in make_golden.dense_keys()]
OFFICIAL_DENSE = [f"{m}|ignore_residual=True|{name}" for m in METHODS for name in ("square", "rect", "slim")]
OFFICIAL_DENSE += [f"{m}|ignore_residual=False|square" for m in METHODS]
# array to reproduce: source, guidance, stride of the channels and of the pixels
OFFICIAL_JBU = {
    "jbu_one|square|out[:, ::2, ::5, ::5]": ("jbu_one|square|source", "jbu_one|square|guidance", 2, 5),
    "jbu_one|rect|out[:, ::2, ::5, ::5]": ("jbu_one|rect|source", "jbu_one|rect|guidance", 2, 5),
    "jbu_stack|out[:, ::16, ::4, ::4]": ("jbu_stack|source", "jbu_stack|guidance_crop_xyxy", 16, 4),
    "jbu_stack|rect|out[:, ::16, ::5, ::5]": ("jbu_stack|rect|source", "jbu_stack|rect|guidance", 16, 5),
}
OFFICIAL_CHAINS = [f"segearth_{name}" for name in ("448", "thd", "small", "lam0", "whole")]
OFFICIAL_CHAINS += ["clearclip_noup", "sclip_noup_cls", "gem_noup", "vanilla_noup_whole_odd"]


@pytest.fixture(params=["banded", "flat", pytest.param("gpu", marks=pytest.mark.gpu)])
def way(request, monkeypatch):
    """The device for each way to upsample: in bands of tiles, in one list of them, and what a GPU does."""
    if request.param == "flat":
        monkeypatch.setattr(factored, "operations_for", lambda *_: TorchOperations())
    return request.getfixturevalue("gpu") if request.param == "gpu" else torch.device("cpu")


def placed(model, device):
    """A model on a device; its parts, which tests share, stay where they are."""
    return model if device.type == "cpu" else copy.deepcopy(model).to(device)


@functools.cache
def load(path):
    with np.load(path) as file:
        return dict(file)


def own(name):
    return load(GOLDEN / f"{name}.npz")


@pytest.fixture
def official(test_data):
    """Arrays of the official system by file name."""
    if not (test_data / "golden").is_dir():
        pytest.skip(f"SEGEARTH_TEST_DATA is {test_data}, which has no golden/: set it to a folder that has")
    return lambda name: load(test_data / "golden" / f"{name}.npz")


def tensor(array):
    return torch.from_numpy(array).float()


def normalised(image):
    return tensor((np.asarray(image, dtype="float32") - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)[None]


def part(arrays, prefix):
    """The arrays whose keys start with the prefix, by the rest of the key."""
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def assert_close(actual, expected, tolerance=TOLERANCE, of=None):
    """Equal shapes, and no difference above `tolerance` times `of` (default: the largest expected value)."""
    actual = np.asarray(torch.as_tensor(actual).cpu())
    assert actual.shape == expected.shape
    largest = np.abs(expected).max() if of is None else of
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * largest)


def assert_labels(actual, expected, scores, prob_thd, edge=1e-5):
    """Equal labels wherever neither the second class nor the threshold is within `edge` of the best score."""
    second, best = np.sort(np.asarray(scores), axis=1)[:, -2:].swapaxes(0, 1)
    clear = (best - second >= edge) & (np.abs(best - prob_thd) >= edge)
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(np.asarray(actual)[clear], expected[clear])


def assert_covered(arrays, cases, inputs):
    """No array of a file may escape: it is an input, or belongs to a case, whose test looks at all of its arrays."""
    for case in cases:
        assert any(key.startswith(f"{case}|") for key in arrays), f"nothing for {case}"
    escaped = [key for key in arrays if key not in inputs and not any(key.startswith(f"{case}|") for case in cases)]
    assert not escaped


# The models under test.


def build_clip(config, weights):
    """An `open_clip.CLIP` with exactly these weights; `load_state_dict` refuses any other name or shape."""
    clip = open_clip.CLIP(**config).eval()
    clip.load_state_dict({name: tensor(array) for name, array in weights.items()})
    return clip.requires_grad_(False)


@functools.cache
def own_clip():
    weights = dict(own("mini_clip"))
    return build_clip(json.loads(str(weights.pop("config"))), weights)


@functools.cache
def official_clip(folder):
    config = json.loads((folder / "clip_config.json").read_text())
    return build_clip(config, load(folder / "clip_weights.npz"))


def build_jbu(kind, weights):
    upsampler = kind(len(weights["fixup_proj.1.weight"])).eval()
    upsampler.load_state_dict({name: tensor(array) for name, array in weights.items()})
    return upsampler.requires_grad_(False)


def dense(clip, case, image, device):
    """Features (B, D, h, w) and class vectors of a case that is named METHOD|ignore_residual=BOOL|INPUT."""
    method, residual, _ = case.split("|")
    with torch.inference_mode():
        model = placed(DenseCLIP(clip, method, residual == "ignore_residual=True").eval(), device)
        return model(tensor(image).to(device))


# The reference is what the small goldens came from: they cannot be edited by hand.


@functools.cache
def drawn():
    return make_golden.make_inputs()


@pytest.mark.parametrize("name", ["mini_clip", "dense_features", "upsamplers", "chains"])
def test_inputs_are_as_drawn(name):
    for key, array in drawn()[name].items():
        if array.dtype.kind == "U":
            assert str(own(name)[key]) == str(array)
        else:
            assert_close(own(name)[key], array, 1e-6)


@pytest.mark.parametrize("case", make_golden.dense_keys(), ids=DENSE)
def test_reference_dense(case):
    for key, output in make_golden.dense_outputs(own("mini_clip"), own("dense_features"), *case).items():
        assert_close(output, own("dense_features")[key], 1e-6)


@pytest.mark.parametrize("case", JBU)
def test_reference_upsampler(case):
    for key, output in make_golden.upsampler_outputs(own("upsamplers"), case).items():
        assert_close(output, own("upsamplers")[key], 1e-6)


@pytest.mark.parametrize("case", CHAINS)
def test_reference_chain(case):
    chains = own("chains")
    for key, output in make_golden.chain_outputs(own("mini_clip"), own("upsamplers"), chains, case).items():
        assert_close(output, chains[key], 1e-6)


# The package against the small goldens.


def test_every_own_array_is_checked():
    inputs = drawn()
    assert own("mini_clip").keys() == inputs["mini_clip"].keys()
    assert_covered(own("dense_features"), DENSE, inputs["dense_features"])
    assert_covered(own("upsamplers"), JBU, inputs["upsamplers"])
    assert_covered(own("chains"), CHAINS, inputs["chains"])
    assert {path.stem for path in GOLDEN.iterdir()} == inputs.keys()


@pytest.mark.parametrize("case", DENSE)
def test_dense(case, device):
    arrays = own("dense_features")
    features, cls = dense(own_clip(), case, arrays[case.split("|")[-1]], device)
    expected = part(arrays, f"{case}|")
    assert_close(features, expected.pop("features"))
    if cls is not None:
        assert_close(cls, expected.pop("cls"))
    assert not expected


@functools.cache
def own_jbu(family):
    kind = {"jbu_one": JBUOne, "jbu_stack": JBUStack}[family]
    return build_jbu(kind, part(own("upsamplers"), f"{family}.w|"))


@pytest.mark.parametrize("case", JBU)
def test_upsampler(case):
    arrays = part(own("upsamplers"), f"{case}|")
    with torch.inference_mode():
        out = own_jbu(case.split("|")[0])(tensor(arrays.pop("source")), tensor(arrays.pop("guidance")))
    assert_close(out[..., ::5, ::5], arrays.pop("out[..., ::5, ::5]"))
    assert not arrays


@pytest.mark.parametrize("case", CHAINS)
def test_chain(case, way):
    check_chain(case, way)


def test_a_chain_in_tritons_interpreter():
    """The kernels for a GPU on a whole image of 24 × 32 pixels; more takes minutes."""
    in_tritons_interpreter("test_golden")


def interpreted():
    from segearth.models import triton_kernels
    from segearth.models.triton_kernels import TritonOperations

    factored.operations_for = lambda *_: TritonOperations()
    triton_kernels.JOBS = 5  # of the twelve tiles of the last doubling
    with patch.object(TritonOperations, "matrices", autospec=True, side_effect=TritonOperations.matrices) as called:
        check_chain("whole_jbu", torch.device("cpu"))
    assert called.call_count == 3  # doublings


def check_chain(case, way):
    arrays = part(own("chains"), f"{case}|")
    params = json.loads(str(arrays.pop("params")))
    upsampler = {"jbu_one": own_jbu("jbu_one"), "bilinear": Bilinear(), None: None}[params["upsampler"]]
    model = SegEarth(
        DenseCLIP(own_clip(), params["method"], params["ignore_residual"]),
        tensor(arrays.pop("queries")),
        torch.from_numpy(own("chains")["query_to_class"]),
        upsampler,
        **{k: params[k] for k in ("cls_token_lambda", "prob_thd", "bg_idx", "slide_crop", "slide_stride")},
    ).eval()
    model = placed(model, way)
    with torch.inference_mode():
        logits = model.logits(tensor(own("chains")[params["image"]]).to(way), tuple(params["out_size"]))
        scores = model.scores(logits).cpu()
        labels = model.labels(scores)
    assert_close(logits[..., ::5, ::5], arrays.pop("logits[..., ::5, ::5]"), of=1)
    assert_close(scores[..., ::5, ::5], arrays.pop("scores[..., ::5, ::5]"), 5e-5, of=1)  # logits are times 50 in them
    assert_labels(labels, arrays.pop("labels"), scores, params["prob_thd"])
    assert not arrays


# The package against the official system.


def test_every_official_array_is_checked(official, test_data):
    files = {path.stem for path in (test_data / "golden").glob("*.npz")}
    assert files == {"clip_weights", "dense_features", "upsamplers", "pipeline"}  # the first is loaded strictly
    assert_covered(official("dense_features"), OFFICIAL_DENSE, {"x_square", "x_rect", "x_slim"})
    assert_covered(official("pipeline"), OFFICIAL_CHAINS, {"class_names_txt", "text_query_features", "query_idx"})
    inputs = {key for source, guidance, *_ in OFFICIAL_JBU.values() for key in (source, guidance)}
    inputs |= {"jbu_stack|checkpoint", "jbu_one|square|shape", "jbu_one|rect|shape"}
    inputs |= {key for key in official("upsamplers") if key.startswith("jbu_one.w|")}
    assert official("upsamplers").keys() == OFFICIAL_JBU.keys() | inputs


@pytest.mark.parametrize("case", OFFICIAL_DENSE)
def test_official_dense(official, test_data, case, device):
    arrays = official("dense_features")
    features, cls = dense(official_clip(test_data / "golden"), case, arrays["x_" + case.split("|")[-1]], device)
    expected = part(arrays, f"{case}|")
    assert_close(features.flatten(2).transpose(1, 2), expected.pop("tokens"))
    if cls is not None:
        assert_close(cls, expected.pop("cls"))
    assert not expected


@functools.cache
def official_jbu_one(folder):
    return build_jbu(JBUOne, part(load(folder / "upsamplers.npz"), "jbu_one.w|upsampler."))


def city(test_data):
    with Image.open(test_data / "samples" / "OpenEarthMap" / "koeln_50.tif") as image:
        return image.convert("RGB")


@pytest.mark.parametrize("key", OFFICIAL_JBU)
def test_official_upsampler(official, test_data, key):
    arrays = official("upsamplers")
    source, guidance, channel_stride, stride = OFFICIAL_JBU[key]
    if key.startswith("jbu_one"):
        upsampler = official_jbu_one(test_data / "golden")
    else:
        upsampler = read_upsampler(test_data / "weights" / str(arrays["jbu_stack|checkpoint"]))
        assert isinstance(upsampler, JBUStack)
    if guidance.endswith("xyxy"):
        image = normalised(city(test_data).crop(arrays[guidance].tolist()))
    else:
        image = tensor(arrays[guidance])
    with torch.inference_mode():
        out = upsampler(tensor(arrays[source]), image)
    shape = f"{key.rpartition('|')[0]}|shape"
    assert shape not in arrays or list(out.shape) == arrays[shape].tolist()
    assert_close(out[:, ::channel_stride, ::stride, ::stride], arrays[key])


def test_official_text(official, test_data):
    pipeline = official("pipeline")
    vocabulary = Vocabulary.from_string(str(pipeline["class_names_txt"]))
    assert list(vocabulary.query_to_class) == pipeline["query_idx"].tolist()
    features = encode_text(official_clip(test_data / "golden"), load_tokenizer(77), vocabulary)
    assert_close(features, pipeline["text_query_features"])


@pytest.mark.parametrize("case", OFFICIAL_CHAINS)
def test_official_chain(official, test_data, case, way):
    arrays = part(official("pipeline"), f"{case}|")
    params = json.loads(str(arrays.pop("params")))
    height, width = params["resized_to_hw"]
    model = SegEarth(
        DenseCLIP(official_clip(test_data / "golden"), params["model_type"]),
        tensor(arrays.pop("query_features")),
        torch.from_numpy(official("pipeline")["query_idx"]),
        official_jbu_one(test_data / "golden") if params["up"] else None,
        cls_token_lambda=params["lam"],
        prob_thd=params["prob_thd"],
        bg_idx=params.get("bg_idx", 0),
        slide_crop=params.get("slide_crop", 224),
    ).eval()
    model = placed(model, way)
    with torch.inference_mode():
        image = normalised(city(test_data).resize((width, height), Image.Resampling.BILINEAR))
        logits = model.logits(image.to(way), tuple(arrays.pop("ori_shape").tolist()))
        scores = model.scores(logits).cpu()
        labels = model.labels(scores)
    assert_close(logits[0, ::2, ::9, ::9], arrays.pop("logits[::2, ::9, ::9]"), of=1)
    assert_close(scores[0, :, ::9, ::9], arrays.pop("scores[:, ::9, ::9]"), 5e-5, of=1)  # logits are times 50 in them
    assert (labels[0].numpy() == arrays.pop("labels")).mean() >= 0.9999
    assert not arrays
