"""The drawn scenes: deterministic, of any size, and the shipped one is the one that is drawn."""

from pathlib import Path

import numpy as np
import pytest
from conftest import load_script
from PIL import Image

import segearth
from segearth.synthetic import CLASSES, DEMO_SEED, OBJECTS, draw_scene, save_scene
from segearth.synthetic.canvas import BUILDING, Canvas

DATA = Path(segearth.__file__).parent / "data"
NAMES = [names[0] for names in CLASSES]


@pytest.fixture(scope="module")
def demo():
    return draw_scene(DEMO_SEED)


def test_the_same_seed_is_the_same_scene():
    first, second, other = draw_scene(5, 120, 160), draw_scene(5, 120, 160), draw_scene(6, 120, 160)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert (first.image != other.image).any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 1), (3, 500), (500, 3), (97, 64), (300, 301)])
def test_any_size(height, width):
    scene = draw_scene(0, height, width)
    assert scene.image.shape == (height, width, 3)
    assert scene.labels.shape == (height, width)
    assert scene.image.dtype == scene.labels.dtype == np.uint8
    assert scene.labels.max() < len(scene.classes)


def test_no_pixels():
    with pytest.raises(ValueError, match="0 x 5"):
        draw_scene(0, 0, 5)


def test_demo_has_every_class_and_the_default_size(demo):
    share = np.bincount(demo.labels.ravel(), minlength=len(CLASSES)) / demo.labels.size
    assert demo.image.shape == (1024, 1024, 3)
    assert len(share) == len(CLASSES)
    assert share.min() > 0.02
    assert share.max() < 0.4


def test_cars_stand_on_roads_and_pavement(demo):
    """A body at the kerb may reach over it; what grows over a car hides it in every map."""
    cars = demo.objects == OBJECTS.index("car") + 1
    assert 0.001 < cars.mean() < 0.02
    under = np.bincount(demo.labels[cars], minlength=len(CLASSES)) / cars.sum()
    assert under[NAMES.index("road")] + under[NAMES.index("pavement")] > 0.98
    assert set(np.unique(demo.objects)) == {0, 1}


def test_what_is_drawn_is_what_is_labelled():
    """One polygon: the label map has exactly the pixels whose middle it covers."""
    canvas = Canvas(np.random.default_rng(0), 40, 60)
    canvas.fill(np.array([(10.0, 8), (30, 8), (30, 28), (10, 28)]), np.array([200.0, 10, 10]), BUILDING)
    labels = np.asarray(canvas.labels) == BUILDING
    colours = np.asarray(canvas.colours.reduce(2))[..., 0] > 100
    assert labels[9:27, 11:29].all()
    assert not labels[:7].any()
    assert (labels != colours).mean() < 0.04  # the outline


def test_classes_differ_in_colour(demo):
    means = np.stack([demo.image[demo.labels == i].mean(axis=0) for i in range(len(CLASSES))])
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1)
    assert distances[~np.eye(len(CLASSES), dtype=bool)].min() > 5


def test_labels_of_a_scene_are_in_blocks_not_specks(demo):
    same = demo.labels[1:-1, 1:-1] == demo.labels[1:-1, 2:]
    assert same.mean() > 0.97


def test_shipped_scene_is_the_one_that_is_drawn(demo):
    # every release of Pillow may fill a polygon's edge a little differently
    assert (np.asarray(Image.open(DATA / "scene_labels.png")) == demo.labels).mean() > 0.999
    shipped = np.asarray(Image.open(DATA / "scene.jpg"))
    assert shipped.shape == demo.image.shape
    # JPEG drops some of the sensor noise
    assert np.abs(shipped.astype(int) - demo.image).mean() < 4
    assert sum((DATA / name).stat().st_size for name in ("scene.jpg", "scene_labels.png")) < 2.5e6


def test_save_scene(tmp_path):
    scene = draw_scene(3, 64, 80)
    save_scene(scene, tmp_path)
    labels = Image.open(tmp_path / "scene_labels.png")
    assert labels.mode == "L"
    np.testing.assert_array_equal(np.asarray(labels), scene.labels)
    assert Image.open(tmp_path / "scene.jpg").size == (80, 64)


def test_scenes_are_drawn_by_the_tool(tmp_path, capsys):
    tool = load_script("tools/draw_scenes.py")
    assert tool.main(["-o", str(tmp_path / "new"), "--scenes", "2", "--first-seed", "7", "--size", "40"]) == 0
    stems = ["scene_7.jpg", "scene_7_labels.png", "scene_8.jpg", "scene_8_labels.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["classes.txt", *stems]
    labels = np.asarray(Image.open(tmp_path / "new" / "scene_8_labels.png"))
    np.testing.assert_array_equal(labels, draw_scene(8, 40, 40).labels)
    assert (tmp_path / "new" / "classes.txt").read_text().splitlines()[4] == ",".join(CLASSES[4])
    assert tool.main(["-o", str(tmp_path), "--size", "0"]) == 2
    assert "at least 1 scene" in capsys.readouterr().err
