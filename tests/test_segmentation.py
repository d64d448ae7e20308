"""A map in one call: the values that `predict_scene` writes and `Predictor.predict` returns, by the source's kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import mini_clip
from PIL import Image
from rasters import UTM, break_tile, noise, rasterio, write

from segearth import segment, segmentation
from segearth.errors import UserError
from segearth.models import DenseCLIP, JBUOne, SegEarth
from segearth.predictor import Predictor
from segearth.scenes import in_memory
from segearth.scenes.layers import quantised
from segearth.scenes.options import SceneOptions
from segearth.scenes.predict import predict_scene
from segearth.vocabulary import Vocabulary

CLASSES = "road; tree,forest; water"
HEIGHT, WIDTH = 150, 170


def text(vocabulary):
    """Made-up vectors of names, (Q, 16)."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(vocabulary.query_to_class), 16, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_string(CLASSES)
    model = SegEarth(
        DenseCLIP(mini_clip()), text(vocabulary), torch.tensor(vocabulary.query_to_class), JBUOne(16).eval(),
        slide_crop=64, slide_stride=32, prob_thd=0.9,
    )  # fmt: skip
    return Predictor(model.requires_grad_(False), vocabulary, text, {"model": "mini"})


@pytest.fixture(scope="module")
def pixels():
    return np.kron(noise(3, HEIGHT // 10, WIDTH // 10, "uint8"), np.ones((10, 10), np.uint8))


@pytest.fixture(scope="module")
def satellite(tmp_path_factory, pixels):
    """Four bands of 16 bits, a corner without data."""
    bands = np.concatenate([pixels, pixels[:1]]).astype(np.uint16) * 40 + 300
    bands[:, :60, :90] = 0
    return write(tmp_path_factory.mktemp("scenes") / "town.tif", bands, nodata=0)


def opened(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {}),
        ({"scale": 0.6, "bands": (4, 2, 1)}, {"block": 64}),
        ({"gsd": 0.8, "stretch": "500,9000"}, {"output_grid": "model", "blend": "hann"}),
        ({"bbox": (500020, 5499940, 500061, 5499990.2), "scale": 1.4}, {}),
    ],
    ids=["own scale", "scale and bands", "grid of the model", "a box"],
)
def test_a_map_in_memory_is_the_map_on_disk(satellite, predictor, tmp_path, options, more):
    on_disk = predict_scene(
        satellite, tmp_path / "disk", predictor, options=SceneOptions(confidence=True, scores=True, **options, **more)
    )
    found = segment(
        satellite, CLASSES, model=predictor, scores=True, options=SceneOptions(confidence=True, **more), **options
    )
    labels, transform, crs = opened(on_disk.labels)
    assert np.array_equal(found.labels, labels[0])
    assert {254, 255} < {*np.unique(labels).tolist()}
    assert (found.transform, found.crs) == (transform, crs)
    assert np.array_equal(quantised(found.confidence, found.valid), opened(on_disk.confidence)[0][0])
    assert np.array_equal(quantised(found.scores, found.valid), opened(on_disk.scores)[0])
    assert (found.confidence[~found.valid] == 0).all()
    assert (found.scores[:, ~found.valid] == 0).all()
    summary = found.summary()
    for key in ("crs", "transform", "bounds", "pixel_m", "valid_pixels", "nodata_pixels", "area_m2", "area_method"):
        assert summary[key] == on_disk.summary[key]
    for own, other in zip(summary["classes"], on_disk.summary["classes"], strict=True):
        assert [own[key] for key in ("pixels", "area_m2")] == [other[key] for key in ("pixels", "area_m2")]
    names = {path.name: path for path in found.save(tmp_path / "memory")}
    for path in (path for path in on_disk.files if path.name in names and "labels" in path.name):
        assert names[path.name].read_bytes() == path.read_bytes()
    assert {"town.labels.tif", "town.labels.qml", "town.overlay.png", "town.summary.json"} <= {*names}


def test_the_picture_of_a_scene(satellite, predictor, pixels):
    found = segment(satellite, CLASSES, model=predictor, stretch="300,10500")
    assert np.array_equal(found.pixels[found.valid], pixels.transpose(1, 2, 0)[found.valid])
    assert set(found.pixels[~found.valid].ravel()) == {255}
    half = segment(satellite, CLASSES, model=predictor, scale=0.5, options=SceneOptions(output_grid="model"))
    assert half.pixels.shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert half.pixels[half.valid].std() > 10
    assert half.scores is None


def test_polygons(satellite, predictor, tmp_path):
    field = tmp_path / "field.geojson"
    corners = [[500050, 5499990], [500080, 5499990], [500080, 5499940], [500050, 5499990]]
    field.write_text(
        '{"type": "Polygon", "crs": {"type": "name", "properties": {"name": "EPSG:32632"}}, '
        f'"coordinates": [{corners}]}}'
    )
    part = segment(satellite, CLASSES, model=predictor, aoi=field)
    whole = segment(satellite, CLASSES, model=predictor).labels[20:120, 100:160]
    assert part.labels.shape == whole.shape
    assert (part.transform.c, part.transform.f) == (500050, 5499990)
    assert 0.4 < part.valid.mean() < 0.6
    assert np.array_equal(part.labels[part.valid], whole[part.valid])


def test_datasets_and_mosaics(satellite, predictor, tmp_path):
    expected = segment(satellite, CLASSES, model=predictor)
    assert expected.name == "town"
    assert "town.tif has the coordinate system EPSG:32632, so it is mapped as a scene" in expected.remarks[0]
    with rasterio.open(satellite) as dataset:
        assert np.array_equal(segment(dataset, CLASSES, model=predictor).labels, expected.labels)
    bands = opened(satellite)[0]
    west = write(tmp_path / "west.tif", bands[:, :, :80], nodata=0)
    east = write(
        tmp_path / "east.tif", bands[:, :, 80:], nodata=0, transform=rasterio.Affine(0.5, 0, 500040, 0, -0.5, 5500000)
    )
    both = segment([west, east], CLASSES, model=predictor)
    assert np.array_equal(both.labels, expected.labels)
    assert both.transform == UTM


def test_pictures(predictor, pixels, tmp_path, satellite):
    image = Image.fromarray(pixels[:, :10].transpose(1, 2, 0))
    image.save(tmp_path / "field.png")
    expected = predictor.predict(image)
    with (tmp_path / "field.png").open("rb") as file:
        for source in (tmp_path / "field.png", str(tmp_path / "field.png"), image, np.asarray(image), file):
            assert np.array_equal(segment(source, CLASSES, model=predictor).labels, expected.labels)
    own = predictor.predict(image, None)
    for source in (tmp_path / "field.png", image, np.asarray(image)):
        assert np.array_equal(segment(source, CLASSES, model=predictor, scale=1).labels, own.labels)
    small = segment(image, CLASSES, model=predictor, long_side=90)
    assert np.array_equal(small.labels, predictor.predict(image, 90).labels)
    assert (small.transform, small.crs) == (None, None)
    scene = segment(tmp_path / "field.png", CLASSES, model=predictor, way="scene")
    assert np.array_equal(scene.labels, own.labels)
    assert scene.transform.is_identity
    half = segment(satellite, CLASSES, model=predictor, long_side=WIDTH // 2)
    assert np.array_equal(half.labels, segment(satellite, CLASSES, model=predictor, scale=0.5).labels)


def test_the_model(predictor, pixels, monkeypatch):
    image = pixels[:, :10].transpose(1, 2, 0)
    assert segment(image, "lake; hill", model=predictor).classes == ("lake", "hill")
    assert segment(image, CLASSES, model=predictor).has_unclassified
    assert not segment(image, CLASSES, model=predictor, threshold=0).has_unclassified
    assert not segment(image, CLASSES, model=predictor, background="water").has_unclassified
    asked = []
    monkeypatch.setattr(segmentation, "load_model", lambda *args, **more: asked.append((args, more)) or predictor)
    segment(image, CLASSES)
    segment(image, CLASSES, model="tiny", device="cpu", precision="bf16", threshold=0.2, background="water")
    assert asked == [
        (("clip-vit-b16", CLASSES, "auto", "fp32"), {"threshold": 0.0, "background": None}),
        (("tiny", CLASSES, "cpu", "bf16"), {"threshold": 0.2, "background": "water"}),
    ]


@pytest.mark.parametrize("scene", [False, True])
def test_progress_ends_with_all(satellite, predictor, pixels, scene):
    seen = []
    source = satellite if scene else pixels.transpose(1, 2, 0)
    segment(source, CLASSES, model=predictor, scale=1, progress=lambda *both: seen.append(both))
    assert seen[-1] == (20, 20)
    assert seen == sorted(set(seen))


def test_mistakes(satellite, predictor, pixels, tmp_path):
    image = pixels.transpose(1, 2, 0)
    path = tmp_path / "field.png"
    Image.fromarray(image).save(path)
    for source, options, message in (
        (path, {"gsd": 0.5}, r"field.png is mapped as a picture, and gsd is for scenes: expected .* way=\"scene\""),
        (image, {"bbox": (0, 0, 1, 1), "bands": "1,2,3"}, "given image is mapped as a picture, and bands, bbox are"),
        (image, {"options": SceneOptions()}, "options is for scenes"),
        (path, {"scale": 0}, "scale=0: expected a number above 0"),
        (path, {"scale": 1, "long_side": 9}, "long_side=9 and scale=1 say one thing in two ways"),
        (satellite, {"scale": 1, "gsd": 9}, "scale=1 and gsd=9 say one thing in two ways"),
        (satellite, {"way": "raster"}, 'way="raster": expected one of picture, scene'),
        (image, {"way": "scene"}, "an image in memory.* cannot be mapped as a scene"),
        ([satellite], {"way": "picture"}, "several rasters or an open dataset and cannot be mapped as a picture"),
        (satellite, {"device": "cpu"}, "a Predictor, which has its device"),
        (satellite, {"gds": 0.5}, "segment has no option 'gds': did you mean 'gsd'"),
        (tmp_path / "none.tif", {}, "none.tif"),
        (7, {}, "the image is a int"),
    ):
        with pytest.raises(UserError, match=message):
            segment(source, CLASSES, model=predictor, **options)


def test_a_map_that_memory_cannot_hold(satellite, predictor, monkeypatch):
    monkeypatch.setattr(in_memory, "machine_memory", lambda: 15 * HEIGHT * WIDTH)
    segment(satellite, CLASSES, model=predictor)
    with pytest.raises(UserError, match=r"170 × 150 pixels of .*town.tif takes .* use predict_scene.* leave scores"):
        segment(satellite, CLASSES, model=predictor, scores=True)
    segment(satellite, CLASSES, model=predictor, scores=True, bbox=(500000, 5499980, 500020, 5500000))


def test_a_damaged_scene(satellite, predictor, tmp_path):
    path = write(tmp_path / "damaged.tif", opened(satellite)[0], nodata=0)
    break_tile(path, 1, 3, 3)
    with pytest.raises(UserError, match=r"damaged.tif: rows .* cannot be read: .*or use predict_scene"):
        segment(path, CLASSES, model=predictor)


def test_another_threshold_of_a_scene(satellite, predictor):
    found = segment(satellite, CLASSES, model=predictor)
    assert found.settings["threshold"] == 0.9
    again = found.with_threshold(0)
    assert np.array_equal(again.labels, segment(satellite, CLASSES, model=predictor, threshold=0).labels)
    assert again.settings == replace(again, name="x").settings
