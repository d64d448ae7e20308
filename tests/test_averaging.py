"""Test-time averaging: the mean over an image flipped and turned, against plain NumPy, at any size and with windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import mini_clip

from segearth.errors import UserError
from segearth.loading import load_model
from segearth.models import Bilinear, DenseCLIP, JBUOne, SegEarth
from segearth.models.averaging import VIEWS, View
from segearth.models.segearth import SegEarth as Model
from segearth.windows import Window

NUMBERS = {"flips": 4, "turns": 4, "all": 8}
# How NumPy puts images (..., H, W) into each view, and back; not how the package does it.
FLIPS = [(np.array, np.array), (np.fliplr, np.fliplr), (np.flipud, np.flipud), (lambda x: x[::-1, ::-1],) * 2]
TURNS = [(lambda x, k=k: np.rot90(x, k), lambda x, k=k: np.rot90(x, -k)) for k in range(4)]
TURNED_AND_FLIPPED = [
    (lambda x, k=k: np.rot90(np.fliplr(x), k), lambda x, k=k: np.fliplr(np.rot90(x, -k))) for k in range(4)
]
BY_HAND = {"flips": FLIPS, "turns": TURNS, "all": TURNS + TURNED_AND_FLIPPED}


def model(upsampler=None, **options) -> Model:
    generator = torch.Generator().manual_seed(1)
    queries = torch.nn.functional.normalize(torch.randn(3, 16, generator=generator), dim=1)
    encoder = DenseCLIP(mini_clip(patch_size=8, image_size=32, layers=2)).requires_grad_(False)
    given = {"slide_crop": 32, "slide_stride": 16} | options
    return SegEarth(encoder, queries, torch.arange(3), upsampler, **given).eval()


def jbu() -> JBUOne:
    torch.manual_seed(0)
    return JBUOne(16).eval().requires_grad_(False)


def picture(height, width, images=1):
    return torch.randn(images, 3, height, width, generator=torch.Generator().manual_seed(0))


def each(function, planes):
    """A function of (H, W) on each plane of (..., H, W)."""
    flat = planes.reshape(-1, *planes.shape[-2:])
    out = np.stack([function(plane) for plane in flat])
    return out.reshape(*planes.shape[:-2], *out.shape[-2:])


def by_hand(plain, image, size, tta):
    """The mean over the views: each is made, mapped and put back by itself."""
    maps = []
    for there, back in BY_HAND[tta]:
        seen = torch.from_numpy(each(there, image.numpy()).copy())
        turned = size if there(np.zeros((1, 2))).shape == (1, 2) else size[::-1]
        maps.append(each(back, plain.logits(seen, turned).numpy()))
    return np.mean(maps, axis=0)


@pytest.mark.parametrize("tta", VIEWS)
@pytest.mark.parametrize(
    ("size", "out", "options"),
    [
        ((32, 32), (32, 32), {}),
        ((37, 57), (37, 57), {}),  # odd, not square, windows that are pulled back
        ((37, 45), (25, 51), {"upsampler": jbu()}),
        ((19, 43), (19, 43), {"upsampler": jbu()}),  # windows that are not square, and padded unevenly
        ((20, 41), (31, 47), {"slide_crop": 0}),  # a remainder that fills no patch
        ((24, 40), (24, 40), {"slide_crop": 0, "upsampler": Bilinear()}),
    ],
)
def test_it_is_the_mean_of_the_maps_of_all_views(tta, size, out, options):
    image = picture(*size)
    found = model(**options, tta=tta).logits(image, out)
    assert found.shape == (1, 3, *out)
    np.testing.assert_allclose(found.numpy(), by_hand(model(**options), image, out, tta), atol=2e-6)


@pytest.mark.parametrize("tta", VIEWS)
def test_the_map_of_a_turned_image_is_the_turned_map(tta):
    """Of any size, though the windows of a row are pulled back on one side only; without averaging it is not."""
    image, size = picture(37, 57), (37, 57)
    averaged, plain = model(tta=tta), model()
    upright, apart = averaged.logits(image, size), plain.logits(image, size)
    for view in VIEWS[tta][1:]:
        turned = averaged.logits(view.seen(image), view.size(size))
        torch.testing.assert_close(view.put_back(turned), upright, atol=2e-6, rtol=0)
        own = plain.logits(view.seen(image), view.size(size))
        assert (view.put_back(own) - apart).abs().max() > 1e-3


def test_views_are_all_different_and_upright_comes_first():
    picture = torch.arange(6).reshape(2, 3)
    for name, views in VIEWS.items():
        assert len({str(view.seen(picture).tolist()) for view in views}) == NUMBERS[name]
        assert torch.equal(views[0].seen(picture), picture)
        for view in views:
            assert torch.equal(view.put_back(view.seen(picture)), picture)
            assert view.seen(picture).shape == view.size((2, 3))
    assert VIEWS["all"][4].seen(picture).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert View(False, 1).seen(picture).tolist() == [[2, 5], [1, 4], [0, 3]]


def test_several_images_and_progress():
    images, told = picture(32, 48, images=2), []
    averaged = model(tta="turns")
    both = averaged.logits(images, (32, 48), lambda done, count: told.append((done, count)))
    for own, image in zip(both, images.split(1), strict=True):
        torch.testing.assert_close(own, averaged.logits(image, (32, 48))[0], atol=1e-6, rtol=0)
    assert told == [(n, 16) for n in range(1, 17)]  # two windows of two images in four views
    assert averaged.with_queries(averaged.query_features[:1], torch.zeros(1).long()).tta == "turns"


def test_each_window_of_a_scene_is_turned_by_itself():
    image, windows = picture(37, 57)[0], [Window(0, 32, 0, 32), Window(0, 32, 25, 57), Window(5, 37, 0, 32)]
    averaged = model(jbu(), tta="all")
    found = list(averaged.window_logits(image, windows, batch=2))
    assert [window for window, _ in found] == windows
    for window, logits in found:
        crop = image[None, :, window.top : window.bottom, window.left : window.right]
        expected = by_hand(model(jbu()), crop, (32, 32), "all")[0]
        np.testing.assert_allclose(logits.numpy(), expected, atol=2e-6)
    alone = next(averaged.window_logits(image, windows[1:2], batch=7))[1]
    assert torch.equal(alone, found[1][1])  # in whatever company


def test_a_window_that_is_not_square():
    image, window = picture(20, 32)[0], Window(0, 20, 0, 32)
    ((_, found),) = model(tta="turns").window_logits(image, [window], batch=1)
    np.testing.assert_allclose(found.numpy(), by_hand(model(), image[None], (20, 32), "turns")[0], atol=2e-6)


def test_what_cannot_be():
    with pytest.raises(UserError, match=r"tta is 'rotate': expected None or one of flips, turns, all .*flips: 4 maps"):
        model(tta="rotate")
    with pytest.raises(UserError, match=r"tta is \['flips'\]: expected None or one of"):
        model(tta=["flips"])
    with pytest.raises(UserError, match=r'the model has tta="flips", and what is kept .* is of one view'):
        model(tta="flips").encode(picture(32, 32))


def test_from_load_model_to_settings():
    given = {"tta": "turns", "method": "NACLIP", "cls_column_zero": True, "cls_row_layers": (6, 9)}
    predictor = load_model("tiny", "road; tree", device="cpu", **given)
    assert predictor.model.tta == "turns"
    settings = {key: predictor.settings[key] for key in given}
    assert settings == {**given, "cls_row_layers": [3, 4]}  # those of its five blocks
    assert {key: dict(predictor.recipe)[key] for key in given} == given
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    assert predictor.predict(pixels, long_side=None).settings["tta"] == "turns"
    with pytest.raises(UserError, match="tta"):
        predictor.encode(pixels)
    plain = load_model("tiny", "road; tree", device="cpu")
    assert not plain.settings.keys() & given.keys() - {"method"}


@pytest.mark.parametrize("given", [{"tta": "rotate"}, {"method": "Foo"}, {"cls_row_layers": (9, 6)}])
def test_options_are_refused_before_weights_are_looked_for(monkeypatch, given):
    monkeypatch.setattr("segearth.building.load_upsampler", lambda *_: pytest.fail("too late"))
    with pytest.raises(UserError):
        load_model("tiny", "road; tree", device="cpu", **given)
