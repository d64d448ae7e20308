"""What can be asked of a map, and how it is kept. Maps are made by hand: no model is needed."""

import json

import numpy as np
import pytest
from PIL import Image

from segearth.errors import UserError
from segearth.result import Result, thresholded
from segearth.vocabulary import Vocabulary

BEST = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)
CONFIDENCE = np.array([[0.9, 0.2, 0.8], [0.4, 0.6, 0.3]], np.float32)


def result(classes="road; tree,forest; water", threshold=0.0, scale=1, **more):
    vocabulary = Vocabulary.of(classes)
    best, confidence = (np.repeat(np.repeat(a, scale, 0), scale, 1) for a in (BEST, CONFIDENCE))
    pixels = np.random.default_rng(0).integers(0, 256, (*best.shape, 3), dtype=np.uint8)
    own = {"scores": None, "name": "scene", "settings": {"model": "tiny"}, **more}
    return thresholded(Result(best, confidence, own.pop("scores"), vocabulary, best, pixels, threshold, **own))


def test_without_a_threshold_every_pixel_has_its_best_class():
    one = result()
    assert one.labels is one.best
    assert not one.has_unclassified
    assert one.shares() == {"road": 2 / 6, "tree": 2 / 6, "water": 2 / 6}
    assert one.classes == ("road", "tree", "water")
    assert one.palette.shape == (3, 3)


def test_uncertain_pixels_without_a_background_are_unclassified():
    one = result(threshold=0.5)
    assert one.labels.tolist() == [[0, 254, 1], [254, 2, 254]]
    assert one.best.tolist() == BEST.tolist()
    assert one.shares() == pytest.approx({"road": 1 / 6, "tree": 1 / 6, "water": 1 / 6, "unclassified": 0.5})
    row = one.summary()["classes"][-1]
    assert row["name"] == "unclassified"
    assert row["pixels"] == 3
    assert row["mean_confidence"] == pytest.approx(0.3)
    assert set(row) == set(one.summary()["classes"][0])


@pytest.mark.parametrize("classes", ["road; tree; background", "other; tree; road", "road; Clutter; water"])
def test_a_class_of_such_a_name_is_the_background_wherever_it_stands(classes):
    one = result(classes, threshold=0.5)
    background = one.vocabulary.background
    assert one.classes[background].lower() in ("background", "other", "clutter")
    assert one.labels[0, 1] == one.labels[1, 0] == one.labels[1, 2] == background
    assert "unclassified" not in one.shares()


def test_with_threshold_needs_no_model_and_is_undone():
    first = result()
    second = first.with_threshold(0.5)
    assert second.labels.tolist() == [[0, 254, 1], [254, 2, 254]]
    assert first.labels.tolist() == BEST.tolist()
    assert second.with_threshold(0).labels.tolist() == BEST.tolist()
    assert first.with_threshold(0.5, background="water").labels.tolist() == [[0, 2, 1], [2, 2, 2]]
    assert second.with_threshold(0.5, background=1).labels.tolist() == [[0, 1, 1], [1, 2, 1]]
    assert result("road; other; water", 0.5).with_threshold(0.5, background=False).labels[0, 1] == 254
    assert first.with_threshold({"tree": 0.5}).labels.tolist() == [[0, 0, 1], [2, 2, 254]]
    assert second.with_threshold({"forest": 0}).labels.tolist() == [[0, 254, 1], [254, 2, 1]]
    for wrong in (1.5, -0.1, True, "0.3"):
        with pytest.raises(UserError, match="is no score"):
            first.with_threshold(wrong)
    with pytest.raises(UserError, match="none of the classes road, tree, water"):
        first.with_threshold(0.5, background="sea")
    with pytest.raises(UserError, match="none of the classes"):
        first.with_threshold({"sea": 0.5})


def test_a_class_has_a_threshold_of_its_own():
    one = result("road | threshold=0.1; tree | threshold=0.85; water", threshold=0.5)
    assert one.labels.tolist() == [[0, 0, 254], [254, 2, 254]]


def test_many_classes_have_wide_labels():
    many = Vocabulary.from_list([f"thing {i}" for i in range(255)])
    best = np.array([[0, 254]], np.uint16)
    one = Result(best, np.array([[0.1, 0.9]], np.float32), None, many, best, np.zeros((1, 2, 3), np.uint8), 0.5)
    assert thresholded(one).labels.tolist() == [[65534, 254]]
    assert one.label_image().mode == "I;16"


def test_truth_gives_miou():
    truth = np.array([[0, 0, 1], [2, 2, 255]])
    assert result().summary(truth)["miou"] == 1.0
    assert result().summary(np.full((2, 3), 255))["miou"] is None  # nothing is known
    assert result(threshold=0.5).summary(truth)["miou"] == pytest.approx((0.5 + 1 + 0.5) / 3, abs=1e-4)


def test_save_to_a_folder_and_to_files(tmp_path):
    scores = np.zeros((3, 40, 60), np.float32)
    one = result(threshold=0.5, scale=20, scores=scores)
    written = one.save(tmp_path / "maps")
    assert [path.name for path in written] == ["scene.labels.png", "scene.overlay.png", "scene.summary.json"]
    labels = Image.open(written[0])
    assert labels.mode == "P"
    assert np.array_equal(np.asarray(labels), one.labels)
    assert labels.convert("RGB").getpixel((0, 0)) == tuple(one.palette[0])
    summary = json.loads(written[2].read_text(encoding="utf-8"))
    assert [row["pixels"] for row in summary["classes"]] == [400, 400, 400, 1200]
    assert summary["versions"]["segearth"]
    assert one.save(tmp_path / "a" / "first.png") == [tmp_path / "a" / "first.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "first.png")), one.labels)
    assert Image.open(one.save(tmp_path / "first.overlay.png")[0]).mode == "RGB"
    assert Image.open(one.save(tmp_path / "first.jpg")[0]).format == "JPEG"
    assert json.loads(one.save(tmp_path / "first.json")[0].read_text(encoding="utf-8")) == summary
    with np.load(one.save(tmp_path / "first.npz")[0]) as arrays:
        assert np.array_equal(arrays["labels"], one.labels)
        assert np.array_equal(arrays["scores"], scores)
        assert arrays["classes"].tolist() == ["road", "tree", "water"]
    with pytest.raises(UserError, match=r"cannot save a map as map\.shp"):
        one.save(tmp_path / "map.shp")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        one.save(tmp_path / "file" / "maps")


def test_overlay():
    one = result(threshold=0.5, scale=20)
    plain = one.overlay(legend=False)
    assert plain.size == (60, 40)
    assert one.overlay().height > 40
    assert np.array_equal(np.asarray(one.overlay(0, outline=False, legend=False)), one.pixels)
    full = np.asarray(one.overlay(1, outline=False, legend=False))
    assert np.array_equal(full[0, 0], one.palette[0])
    assert np.array_equal(full[0, 30], one.pixels[0, 30])  # unclassified: transparent
    with pytest.raises(UserError, match="opacity 2"):
        one.overlay(2)


def test_shown_in_a_notebook_and_a_terminal():
    one = result("road; tree & <b>; water", threshold=0.5, scale=20)
    assert one._repr_png_().startswith(b"\x89PNG")
    page = one._repr_html_()
    assert "data:image/png;base64," in page
    assert "tree &amp; &lt;b&gt;" in page
    assert "<b>" not in page
    assert "unclassified" in page
    assert repr(one) == (
        "<Result 'scene': 60 × 40 pixels, 3 classes: unclassified 50.0 %, road 16.7 %, tree & <b> 16.7 %, ...>"
    )
    lines = one.table().splitlines()
    assert lines[0].split() == ["label", "class", "pixels", "percent", "confidence"]
    assert lines[1].split() == ["254", "unclassified", "1,200", "50.00", "0.30"]


def test_an_image_that_is_called_overlay_has_labels(tmp_path):
    labels, overlay, _ = result(scale=20, name="my_overlay").save(tmp_path)
    assert Image.open(labels).mode == "P"
    assert Image.open(overlay).mode == "RGB"


def test_a_threshold_for_all_replaces_those_of_classes():
    one = result("road | threshold=0.95; tree; water").with_threshold(np.float32(0.5))
    assert one.labels.tolist() == [[0, 254, 1], [254, 2, 254]]


def test_settings_follow_the_threshold():
    """What is saved says how the map was made."""
    one = result(threshold=0.5).with_threshold({"tree": 0.9}, background="road")
    settings = one.summary()["settings"]
    assert (settings["threshold"], settings["background"]) == (0.5, "road")
    assert [own["threshold"] for own in settings["classes"]] == [None, 0.9, None]
    assert settings["model"] == "tiny"


def test_wrong_options_and_places(tmp_path, monkeypatch):
    one = result(scale=20)
    for call, message in (
        (lambda: one.save(tmp_path, opactiy=1), r"save has no option 'opactiy': did you mean 'opacity'\?"),
        (lambda: one.overlay(opacity=None), "opacity None"),
        (lambda: one.save(None), "expected the path of a folder or a file"),
        (lambda: one.save(""), "expected the path of a folder or a file"),
    ):
        with pytest.raises(UserError, match=message):
            call()
    monkeypatch.chdir(tmp_path)
    assert [path.parent.name for path in one.save("run.2024/")] == ["run.2024"] * 3
