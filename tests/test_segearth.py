import pytest
import torch
from conftest import mini_clip
from torch.testing import assert_close

from segearth.errors import UserError
from segearth.models import Bilinear, DenseCLIP, JBUOne, JBUStack, SegEarth
from segearth.windows import Window, padding, sliding_windows

QUERIES = torch.nn.functional.normalize(torch.randn(6, 16, generator=torch.Generator().manual_seed(3)), dim=-1)
CLASSES = torch.tensor([0, 1, 1, 2, 2, 2])


def build(clip, method="SegEarth", upsampler=None, **options):
    options = {"slide_crop": 64, "slide_stride": 32, **options}
    return SegEarth(DenseCLIP(clip, method), QUERIES, CLASSES, upsampler, **options).eval().requires_grad_(False)


def images(batch, height, width):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("upsampler", [None, Bilinear(), JBUOne(16).eval()], ids=["none", "bilinear", "jbu_one"])
@pytest.mark.parametrize("slide_crop", [64, 0])
def test_a_batch_equals_single_images(clip, upsampler, slide_crop):
    model = build(clip, upsampler=upsampler, slide_crop=slide_crop)
    batch = images(3, 80, 100)
    together = model.logits(batch, (40, 50))
    assert together.shape == (3, 6, 40, 50)
    singles = torch.cat([model.logits(one, (40, 50)) for one in batch.split(1)])
    assert torch.equal(together, singles)


@pytest.mark.parametrize("upsampler", [None, JBUOne(16).eval()], ids=["none", "jbu_one"])
@pytest.mark.parametrize("max_memory_mb", [0, 1, 4, 10_000])
def test_memory_is_a_matter_of_speed_only(clip, upsampler, max_memory_mb):
    model, batch = build(clip, upsampler=upsampler), images(2, 150, 90)
    expected = model.logits(batch, (150, 90))
    assert torch.equal(model.logits(batch, (150, 90), max_memory_mb=max_memory_mb), expected)


@pytest.mark.parametrize("upsampler", [None, Bilinear(), JBUOne(16).eval()], ids=["none", "bilinear", "jbu_one"])
def test_a_window_has_the_same_logits_in_any_company(clip, upsampler):
    """Some windows of an image, cut from a part of it: the bits of the whole."""
    model, image = build(clip, upsampler=upsampler), images(1, 300, 200)[0]
    grid = model.grid(300, 200)
    batch = model.batch(grid)
    assert batch > 2
    whole = dict(model.window_logits(image, grid.windows(), batch))
    area = Window(100, 170, 70, 200)
    some = grid.windows(area)[1:]  # one is missing
    top, left = some[0].top, min(window.left for window in some)
    part = image[:, top:, left:]
    moved = [Window(w.top - top, w.bottom - top, w.left - left, w.right - left) for w in some]
    for window, (place, logits) in zip(some, model.window_logits(part, moved, batch, max_memory_mb=1), strict=True):
        assert place == (window.top - top, window.bottom - top, window.left - left, window.right - left)
        assert torch.equal(logits, whole[window])


def test_calls_of_the_encoder_have_one_shape(clip, monkeypatch):
    model, shapes = build(clip), []
    encode = model._encode
    monkeypatch.setattr(model, "_encode", lambda image: shapes.append(len(image)) or encode(image))
    grid = model.grid(300, 200)
    model.logits(images(3, 300, 200), (300, 200))
    assert grid.count == 54
    assert shapes == [5] * 33  # 162 windows of three images, the last call padded
    shapes.clear()
    model.logits(images(1, 64, 64), (64, 64))  # one window
    model.logits(images(1, 64, 70), (64, 70), max_memory_mb=0)  # two
    assert shapes == [1, 2]


def test_windows_are_averaged(clip):
    """Every pixel has the mean of the windows that hold it, each computed on its own."""
    model = build(clip, upsampler=Bilinear())
    image = images(1, 80, 112)
    total, count = torch.zeros(1, 6, 80, 112), torch.zeros(80, 112)
    for top, bottom, left, right in sliding_windows(80, 112, 64, 32):
        total[:, :, top:bottom, left:right] += model.logits(image[:, :, top:bottom, left:right], (64, 64))
        count[top:bottom, left:right] += 1
    assert_close(model.logits(image, (80, 112)), total / count, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "patch", "crop", "stride", "size"),
    [
        (JBUOne, 16, 224, 64, (288, 288)),  # aligned for a step whose maps are 28 wide, no whole number of tiles
        (JBUStack, 16, 224, 64, (288, 288)),
        (JBUOne, 16, 224, 112, (336, 300)),
        (JBUStack, 16, 224, 112, (336, 300)),
        (JBUOne, 16, 208, 64, (272, 208)),
        (JBUOne, 16, 100, 50, (130, 120)),
        (JBUOne, 8, 112, 32, (144, 112)),
        (JBUOne, 14, 112, 56, (168, 120)),
    ],
)
def test_the_fast_path_is_the_plain_upsampler_window_by_window(kind, patch, crop, stride, size):
    torch.manual_seed(0)
    upsampler = kind(16).eval().requires_grad_(False)
    for parameter in upsampler.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    model = build(
        mini_clip(patch_size=patch, image_size=4 * patch), upsampler=upsampler, slide_crop=crop, slide_stride=stride
    )
    image = images(1, *size)
    total, count = torch.zeros(1, 6, *size), torch.zeros(size)
    for top, bottom, left, right in sliding_windows(*size, crop, stride):
        (above, below), (before, after) = padding(bottom - top, patch), padding(right - left, patch)
        window = torch.nn.functional.pad(image[:, :, top:bottom, left:right], [before, after, above, below])
        with torch.no_grad():
            features, cls = model.encoder(window)
            pixels = torch.nn.functional.normalize(upsampler(features, window), dim=1)
            share = torch.nn.functional.normalize(cls, dim=1) @ QUERIES.T
        logits = torch.einsum("bdhw,qd->bqhw", pixels, QUERIES) - 0.3 * share[:, :, None, None]
        total[:, :, top:bottom, left:right] += logits[:, :, above : above + crop, before : before + crop]
        count[top:bottom, left:right] += 1
    assert_close(model.logits(image, size, max_memory_mb=10_000), total / count, atol=1e-5, rtol=0)


def test_unusual_arguments(clip):
    """No images, no bound, one pass: nothing to stumble over."""
    assert build(clip).logits(images(0, 80, 80), (80, 80)).shape == (0, 6, 80, 80)
    assert build(clip).logits(images(1, 80, 80), (80, 80), max_memory_mb=float("inf")).isfinite().all()
    seen = []
    build(clip, slide_crop=0).logits(images(2, 80, 80), (80, 80), lambda *state: seen.append(state))
    assert seen == [(2, 2)]


def test_logits_are_cosines_plus_the_cls_share(clip):
    image = images(1, 64, 64)
    features, cls = DenseCLIP(clip)(image)
    cosine = torch.nn.functional.normalize(features, dim=1)[0].flatten(1).T @ QUERIES.T
    share = torch.nn.functional.normalize(cls, dim=-1) @ QUERIES.T
    expected = (cosine - 0.7 * share).T.reshape(1, 6, 4, 4)
    expected = torch.nn.functional.interpolate(expected, (64, 64), mode="bilinear")
    assert_close(build(clip, cls_token_lambda=-0.7).logits(image, (64, 64)), expected.detach(), atol=1e-5, rtol=0)


def test_scores_and_labels_by_hand(clip):
    model = build(clip, logit_scale=1.0, prob_thd=0.3, bg_idx=1)
    logits = torch.log(torch.tensor([0.05, 0.10, 0.20, 0.10, 0.40, 0.15]))[None, :, None, None]
    scores = model.scores(logits)
    assert_close(scores[0, :, 0, 0], torch.tensor([0.05, 0.20, 0.40]))
    assert model.labels(scores).item() == 2
    assert model.labels(torch.tensor([0.2, 0.1, 0.29])[None, :, None, None]).item() == 1
    assert model.labels(torch.tensor([0.3, 0.1, 0.3])[None, :, None, None]).item() == 0  # not below; first wins


def test_scores_of_a_pixel_have_the_same_bits_in_any_company(clip):
    model, logits = build(clip), images(2, 40, 97).reshape(1, 6, 40, 97) / 5
    whole = model.scores(logits)
    for height, width in ((1, 1), (1, 7), (1, 96), (3, 5), (40, 1), (39, 97)):
        part = logits[..., :height, 97 - width :]
        assert torch.equal(model.scores(part), whole[..., :height, 97 - width :])
        assert torch.equal(model.scores(part.contiguous()), whole[..., :height, 97 - width :])
    torch.set_num_threads(3)
    try:
        assert torch.equal(model.scores(logits), whole)
    finally:
        torch.set_num_threads(1)
    assert_close(whole[0, 1], (50 * logits).softmax(dim=1)[0, 1:3].amax(dim=0))


def test_scores_that_are_no_numbers_are_refused(clip):
    """A pixel is NaN in all its scores or in none; a map of it would say the first class."""
    model, logits = build(clip), torch.zeros(2, 6, 4, 5)
    assert model.scores(logits.index_fill(1, torch.tensor(0), -torch.inf)).isfinite().all()  # no share, but a number
    for value in (torch.nan, torch.inf, 3e38):
        for query in (0, 5):
            broken = logits.clone()
            broken[1, query, 2:, 3] = value
            with pytest.raises(UserError, match=r"NaN, at 2 of 40 pixels.*precision"):
                model.scores(broken)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (3, 200), (15, 17), (64, 65), (47, 31)])
@pytest.mark.parametrize("slide_crop", [64, 0])
@pytest.mark.parametrize("upsampler", [None, JBUOne(16).eval()], ids=["none", "jbu_one"])
def test_any_size(clip, size, slide_crop, upsampler):
    logits = build(clip, upsampler=upsampler, slide_crop=slide_crop).logits(images(1, *size), size)
    assert logits.shape == (1, 6, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("patch_size", [14, 32])
def test_other_patch_sizes(patch_size):
    model = build(mini_clip(patch_size=patch_size, image_size=4 * patch_size), upsampler=JBUOne(16).eval())
    assert model.logits(images(1, 70, 90), (70, 90)).isfinite().all()


def test_progress_is_told(clip):
    seen = []
    build(clip).logits(images(2, 128, 96), (128, 96), lambda *state: seen.append(state), max_memory_mb=2)
    assert [total for _, total in seen] == [12] * len(seen)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) >= 3
    assert seen[-1] == (12, 12)


def test_gem_has_no_cls(clip):
    with pytest.raises(ValueError, match=r"GEM has no \[CLS\].*-0.3.*cls_token_lambda=0"):
        build(clip, "GEM")
    assert build(clip, "GEM", cls_token_lambda=0).logits(images(1, 64, 64), (64, 64)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bg_idx": 3}, "bg_idx is 3: expected one of the 3 classes, 0 to 2"),
        ({"prob_thd": 1.5}, "prob_thd is 1.5: expected a probability"),
        ({"prob_thd": "abc"}, "prob_thd is 'abc': expected a number"),
        ({"logit_scale": float("nan")}, "logit_scale is nan: expected a finite number"),
        ({"cls_token_lambda": float("-inf")}, "cls_token_lambda is -inf: expected a finite number"),
        ({"slide_crop": 64.5}, "slide_crop is 64.5: expected a whole number"),
        ({"slide_stride": 65}, "leaves pixels out"),
        ({"slide_crop": -1}, "leaves pixels out"),
        ({"upsampler": JBUOne(8)}, "features of width 8, this CLIP gives 16"),
    ],
)
def test_exceptions(clip, options, message):
    with pytest.raises(UserError, match=message):
        build(clip, **options)


def test_queries_must_fit(clip):
    encoder = DenseCLIP(clip)
    with pytest.raises(UserError, match=r"expected \(Q, 16\)"):
        SegEarth(encoder, torch.zeros(2, 8), torch.tensor([0, 1]))
    with pytest.raises(UserError, match="without gaps"):
        SegEarth(encoder, torch.zeros(2, 16), torch.tensor([0, 2]))
    with pytest.raises(UserError, match="one class for each"):
        SegEarth(encoder, torch.zeros(2, 16), torch.tensor([0]))


class Nearest(torch.nn.Module):
    """An upsampler of which nothing is known but that it can be called."""

    def forward(self, source, guidance):
        return torch.nn.functional.interpolate(source, size=guidance.shape[-2:])


@pytest.mark.parametrize("slide_crop", [64, 0])
@pytest.mark.parametrize(
    "upsampler",
    [None, Bilinear(), JBUOne(16).eval(), JBUStack(16).eval(), Nearest()],
    ids=["none", "bilinear", "jbu_one", "jbu_stack", "other"],
)
def test_an_encoded_image_takes_any_queries(clip, upsampler, slide_crop):
    """Equal to a model that is made for these queries; 150 x 90 has windows that are pulled back, 50 x 70 padding."""
    queries = torch.nn.functional.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(8)), dim=-1)
    for height, width in ((150, 90), (50, 70)):
        model, image = build(clip, upsampler=upsampler, slide_crop=slide_crop), images(1, height, width)
        encoded = model.encode(image)
        assert_close(
            model.encoded_logits(encoded, (height, width)), model.logits(image, (height, width)), atol=1e-5, rtol=0
        )
        other = model.with_queries(queries, torch.tensor([0, 1, 1]), bg_idx=1)
        expected = other.logits(image, (40, 30))
        assert expected.shape == (1, 3, 40, 30)
        assert_close(other.encoded_logits(encoded, (40, 30)), expected, atol=1e-5, rtol=0)


def test_with_queries_shares_weights_and_keeps_settings(clip):
    model = build(clip, upsampler=Bilinear(), prob_thd=0.25, logit_scale=40.0, cls_token_lambda=-0.1)
    other = model.with_queries(QUERIES[:2], torch.tensor([0, 1]), bg_idx=1)
    assert (other.encoder, other.upsampler) == (model.encoder, model.upsampler)
    for name in ("prob_thd", "logit_scale", "cls_token_lambda", "slide_crop", "slide_stride", "training"):
        assert getattr(other, name) == getattr(model, name), name
    assert (other.bg_idx, model.bg_idx, other.num_classes, model.num_classes) == (1, 0, 2, 3)


def test_progress_of_encoding(clip):
    model, seen = build(clip, upsampler=JBUOne(16).eval()), []
    encoded = model.encode(images(1, 80, 112), lambda done, total: seen.append((done, total)))
    model.encoded_logits(encoded, (80, 112), lambda done, total: seen.append((done, total)))
    assert [pair for pair in seen if pair[0] == pair[1]] == [(6, 6), (6, 6)]
