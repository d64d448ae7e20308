"""Maps from the scores of finished ones: unchanged without changes, and as a plain loop says with them."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from processes import forked  # noqa: E402
from rasters import UTM, noise, write  # noqa: E402
from scenemodels import mini_predictor  # noqa: E402

from segearth import cli  # noqa: E402
from segearth.errors import UserError  # noqa: E402
from segearth.hashes import sha256_of  # noqa: E402
from segearth.labels import apply_thresholds, label_values  # noqa: E402
from segearth.scenes import relabel  # noqa: E402
from segearth.scenes.layers import dequantised, quantised  # noqa: E402
from segearth.scenes.options import SceneOptions  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402
from segearth.scenes.reclassify import ChangedClasses, LabelChanges, change_classes, make_rules, reclassify  # noqa: E402
from segearth.scenes.relabel import relabel_scene  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402

OPTIONS = SceneOptions(confidence=True, scores=True, block=64)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A map with a threshold and without background, of a raster with pixels that are not valid."""
    folder = tmp_path_factory.mktemp("scene")
    pixels = noise(3, 150, 170, "uint8")
    pixels[:, 40:80, 60:110] = 0
    path = write(folder / "a.tif", pixels, transform=UTM, colours=["red", "green", "blue"], nodata=0)
    return predict_scene(path, folder / "out", mini_predictor().with_threshold(0.28), options=OPTIONS)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_unchanged_rules_give_unchanged_labels(data):
    """Whatever the scores, factors, thresholds and background: also for scores that tie once they are rounded."""
    classes = data.draw(st.integers(1, 5))
    seed = data.draw(st.integers(0, 1 << 16))
    level = st.sampled_from([0.0, 0.25, 0.5, 0.31])
    vocabulary = Vocabulary(
        [[f"c{i}"] for i in range(classes)],
        data.draw(st.sampled_from([False, *range(classes)])),
        thresholds=[data.draw(st.none() | level) for _ in range(classes)],
        scales=[data.draw(st.sampled_from([1.0, 1.0, 0.9, 1.3])) for _ in range(classes)],
    )
    threshold = data.draw(level)
    scores = np.random.default_rng(seed).normal(0.3, 0.004, (classes, 40, 30)).clip(0, 1).astype(np.float32)
    best = (scores * np.array(vocabulary.scales, np.float32)[:, None, None]).argmax(axis=0)
    confidence = np.take_along_axis(scores, best[None], axis=0)[0]
    stored = apply_thresholds(best.astype(np.uint8), confidence, vocabulary, threshold)
    bands = quantised(scores, np.ones((40, 30), bool))
    unchanged = ChangedClasses(vocabulary, tuple((i,) for i in range(classes)))
    labels, _ = reclassify(bands, stored, make_rules(vocabulary, unchanged, threshold))
    assert np.array_equal(labels, stored)


def test_unchanged_files_are_the_same_bytes(scene, tmp_path):
    again = relabel_scene(scene.scores, tmp_path / "again", confidence=True)
    assert np.array_equal(read(again.labels), read(scene.labels))
    assert np.array_equal(read(again.confidence), read(scene.confidence))
    for name in ("labels.qml", "labels.tif.aux.xml", "summary.csv"):
        before, after = (path.with_name(f"a.{name}").read_bytes() for path in (scene.labels, again.labels))
        assert before == after
    assert again.summary["classes"] == scene.summary["classes"]
    with rasterio.open(scene.labels) as before, rasterio.open(again.labels) as after:
        assert (before.crs, before.transform, before.nodata) == (after.crs, after.transform, after.nodata)
        assert before.colormap(1) == after.colormap(1)
        assert after.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_thresholds_merges_and_drops_are_those_of_a_plain_loop(scene, tmp_path):
    changes = LabelChanges(0.26, {"water": 0.3}, {"green": ["forest", "water"]}, ["road"], colours={"green": "#010203"})
    result = relabel_scene(scene.scores, tmp_path / "out", changes)
    bands, found = read(scene.scores), read(result.labels)[0]
    scores, half = dequantised(bands), 0.5 / 254 + 1e-6
    clear = 0
    for y, x in np.ndindex(found.shape):
        if bands[0, y, x] == 0:
            assert found[y, x] == 255
            continue
        _, tree, water, building = scores[:, y, x]
        green = max(tree, water)
        if abs(green - building) <= 2 * half or min(abs(green - 0.3), abs(building - 0.26)) <= half:
            continue  # the old label decides
        clear += 1
        expected = (0 if green >= 0.3 else 254) if green > building else (1 if building >= 0.26 else 254)
        assert found[y, x] == expected
    assert clear > 0.8 * (found != 255).sum()
    assert [row["name"] for row in result.summary["classes"]] == ["green", "building", "unclassified"]
    assert result.summary["classes"][0]["names"] == ["green", "tree", "forest", "water"]
    with rasterio.open(result.labels) as file:
        assert file.colormap(1)[0] == (1, 2, 3, 255)
        assert file.tags(1)["class_0"] == "green"
    total = sum(row["pixels"] for row in result.summary["classes"])
    assert (total, result.summary["nodata_pixels"]) == (scene.summary["valid_pixels"], scene.summary["nodata_pixels"])
    assert result.summary["area_m2"] == scene.summary["area_m2"]


def test_blocks_leave_no_trace(scene, tmp_path, monkeypatch):
    expected = relabel_scene(scene.scores, tmp_path / "one", LabelChanges(0.3), confidence=True)
    monkeypatch.setattr(relabel, "TILE", 48)
    monkeypatch.setattr(relabel, "_MAX_READ", 1)
    monkeypatch.setattr(relabel, "_MAX_COMPARED", 999)
    steps = []
    found = relabel_scene(
        scene.scores, tmp_path / "many", LabelChanges(0.3), confidence=True, progress=lambda *step: steps.append(step)
    )
    assert steps == [(done, 16) for done in range(1, 17)]
    for ours, theirs in ((found.labels, expected.labels), (found.confidence, expected.confidence)):
        assert sha256_of(ours) == sha256_of(theirs)
    assert not [path for path in (tmp_path / "many").iterdir() if path.name.startswith(".")]


def test_a_background_takes_what_is_uncertain(scene, tmp_path):
    result = relabel_scene(scene.scores, tmp_path / "out", LabelChanges(background="building"))
    before, after = read(scene.labels)[0], read(result.labels)[0]
    assert (before == 254).any()
    assert np.array_equal(after, np.where(before == 254, 3, before))
    assert result.summary["settings"]["background"] == "building"
    assert [row["name"] for row in result.summary["classes"]] == ["road", "tree", "water", "building"]


def test_many_classes_have_labels_of_16_bits(tmp_path):
    names = "; ".join(f"c{i}" for i in range(260))
    path = write(tmp_path / "a.tif", noise(3, 40, 36, "uint8"), colours=["red", "green", "blue"])
    before = predict_scene(path, tmp_path / "out", mini_predictor(names).with_threshold(0.0045), options=OPTIONS)
    same = relabel_scene(before.scores, tmp_path / "same")
    assert np.array_equal(read(same.labels), read(before.labels))
    few = relabel_scene(before.scores, tmp_path / "few", LabelChanges(drop=[f"c{i}" for i in range(10, 260)]))
    assert (read(few.labels).dtype, read(few.labels).max() in range(10)) == (np.uint8, False)
    assert set(np.unique(read(few.labels))) <= {*range(10), label_values(10).unclassified}


def test_changes_of_classes():
    vocabulary = Vocabulary.from_list(["road", "tree,forest | threshold=0.3", "grass | colour=#010101", "clutter"])
    merge = {"green": ["grass", "Forest"]}
    found = change_classes(vocabulary, LabelChanges(None, {"green": 0.3}, merge, rename={"ROAD": "street"}))
    assert found.members == ((0,), (1, 2), (3,))
    assert found.vocabulary.classes == (("street",), ("green", "tree", "forest", "grass"), ("clutter",))
    assert (found.vocabulary.background, found.vocabulary.thresholds) == (2, (None, 0.3, None))
    assert found.vocabulary.palette[1:] == (vocabulary.palette[1], vocabulary.palette[3])
    assert change_classes(vocabulary, LabelChanges(drop=["clutter"])).vocabulary.background is None
    assert change_classes(vocabulary, LabelChanges(background="road")).vocabulary.background == 0
    for wrong, message in [
        (LabelChanges(drop=["lake"]), "'lake' is none of the classes"),
        (LabelChanges(merge=merge), r"'green' have different thresholds of their own \(grass none, tree 0\.3\)"),
        (LabelChanges(drop=["tree"], merge={"a": ["forest", "road"]}), "'tree' is merged or dropped more than once"),
        (LabelChanges(drop=["road", "tree", "grass", "clutter"]), "no class is left"),
        (LabelChanges(rename={"lake": "sea"}), "'lake' is none"),
        (LabelChanges(thresholds={"road": 2}), "threshold"),
    ]:
        with pytest.raises(UserError, match=message):
            change_classes(vocabulary, wrong)


def test_what_a_kill_leaves_goes_with_the_next_run(scene, tmp_path):
    def killed(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    out = tmp_path / "out"
    process = forked(lambda: relabel_scene(scene.scores, out, progress=killed), tmp_path / "log")
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    (left,) = out.iterdir()
    assert list(left.iterdir())
    relabel_scene(scene.scores, out)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_what_is_there_is_not_made_again(scene, tmp_path, monkeypatch):
    first = relabel_scene(scene.scores, tmp_path / "out", LabelChanges(0.3))
    with monkeypatch.context() as patch:
        patch.setattr(relabel, "_write_rasters", None)
        assert relabel_scene(scene.scores, tmp_path / "out", LabelChanges(0.3)).files == first.files
    with pytest.raises(UserError, match=r"made with threshold 0\.3, not 0\.2"):
        relabel_scene(scene.scores, tmp_path / "out", LabelChanges(0.2))
    relabel_scene(scene.scores, tmp_path / "out", LabelChanges(0.2), overwrite=True)
    first.labels.unlink()
    assert relabel_scene(scene.scores, tmp_path / "out", LabelChanges(0.2)).labels.is_file()
    (tmp_path / "out" / "a.summary.json").unlink()
    with pytest.raises(UserError, match=r"a\.labels\.tif is there, but no a\.summary\.json"):
        relabel_scene(scene.scores, tmp_path / "out", LabelChanges(0.2))


def test_files_that_do_not_belong_together(scene, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(scene.scores.parent, folder)
    scores, summary = folder / "a.scores.tif", folder / "a.summary.json"
    with pytest.raises(UserError, match=r"would be overwritten: expected another folder"):
        relabel_scene(scores, folder)
    with pytest.raises(UserError, match=r"a\.labels\.tif is no raster of scores: expected NAME\.scores\.tif"):
        relabel_scene(folder / "a.labels.tif", tmp_path / "none")
    with pytest.raises(UserError, match="is not there"):
        relabel_scene(folder / "b.scores.tif", tmp_path / "none")
    write(folder / "a.labels.tif", np.zeros((1, 7, 7), np.uint8))
    with pytest.raises(UserError, match="is no map of 170 × 150 pixels"):
        relabel_scene(scores, tmp_path / "none")
    (folder / "a.labels.tif").unlink()
    result = relabel_scene(scores, tmp_path / "ties")
    assert "of equal scores the first class" in result.summary["remarks"][0]
    for text, message in [
        (json.dumps({"settings": {}}), "has no 'classes'"),
        ("[1]", "no summary of a map with scores"),
        ("{", "no summary of a map with scores"),
        (summary.read_text().replace("a.scores.tif", "b.scores.tif"), "has no 'a.scores.tif'"),
    ]:
        summary.write_text(text)
        with pytest.raises(UserError, match=message):
            relabel_scene(scores, tmp_path / "none")
    summary.unlink()
    with pytest.raises(UserError, match=r"a\.summary\.json is not there"):
        relabel_scene(scores, tmp_path / "none")
    assert not list((tmp_path / "none").glob("*"))


def test_the_command(scene, tmp_path, capsys):
    """It tells what predict tells, where predict tells it."""
    out = tmp_path / "out"
    args = ["relabel", str(scene.scores), "-o", str(out), "--merge", "green=tree,water"]
    args += ["--class-threshold", "road=0.3", "--colour", "green=#00ff00", "--rename", "building=house", "--confidence"]
    assert cli.main(args) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert all(f"  {name} " in shown.out for name in ("green", "house", "road", "unclassified"))
    assert shown.out.splitlines()[-1] == f"1 map written to {out}; all in figures: summary.csv"
    names = ["confidence.tif", "labels.qml", "labels.tif", "labels.tif.aux.xml", "overlay.png", "summary.csv"]
    expected = ["summary.csv", *(f"a.{name}" for name in [*names, "summary.json"])]
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == sorted(expected)
    for more in ([], ["--resume"]):
        assert cli.main([*args, *more]) == 0
        assert capsys.readouterr().out == f"the map is in {out} already\n"
    (out / "a.overlay.png").unlink()
    assert cli.main([*args, "--resume"]) == 0
    assert (out / "a.overlay.png").is_file()
    capsys.readouterr()
    for wrong, message in [
        (["--merge", "green"], "--merge green: expected NEW=A,B"),
        (["--rename", "a="], "--rename a=: expected OLD=NEW"),
        (["--class-threshold", "road=high"], "--class-threshold road=high: expected a number from 0 to 1"),
        (["--colour", "a"], "--colour a: expected NAME=#RRGGBB"),
        (["--colour", "a=#111111", "--colour", "a=#222222"], "'a' is given twice"),
        (["--threshold", "2"], "expected"),
        (["--image", str(scene.labels)], "is not the raster of the map a"),
    ]:
        assert cli.main(["relabel", str(scene.scores), "-o", str(tmp_path / "other"), *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("other/*"))


def test_several_maps(scene, tmp_path, capsys):
    lonely = tmp_path / "b.scores.tif"
    two = ["relabel", str(lonely), str(scene.scores), "-o", str(tmp_path / "two")]
    assert cli.main(two) == 2
    assert f"no file at {lonely}" in capsys.readouterr().err
    shutil.copy(scene.scores, lonely)
    assert cli.main(two) == 1
    shown = capsys.readouterr()
    assert "failed: " in shown.err
    assert "1 map written" in shown.out.splitlines()[-1]
    assert "1 failed" in shown.out.splitlines()[-1]
    assert (tmp_path / "two" / "a.labels.tif").is_file()
    assert cli.main(["relabel", str(scene.scores), str(scene.scores), "-o", str(tmp_path / "one")]) == 2
    assert "would both become a: expected maps" in capsys.readouterr().err
    assert cli.main([*two, "--image", "a.tif"]) == 2
    assert "--image a.tif is of one map" in capsys.readouterr().err


def test_the_overlay_is_that_of_the_map_it_was_made_from(scene, tmp_path):
    """With the raster; without it, it shows the map alone. It is drawn when the raster comes later."""
    image = scene.scores.parent.parent / "a.tif"
    assert "a.overlay.png" not in relabel_scene(scene.scores, tmp_path / "out").summary["files"]
    alone = relabel_scene(scene.scores, tmp_path / "out", overlay=True)
    without = sha256_of(tmp_path / "out/a.overlay.png")
    assert "a.overlay.png" in alone.summary["files"]
    again = relabel_scene(scene.scores, tmp_path / "out", image=image)
    assert sha256_of(tmp_path / "out/a.overlay.png") == sha256_of(scene.labels.with_name("a.overlay.png")) != without
    assert relabel_scene(scene.scores, tmp_path / "out").files == again.files
    assert relabel_scene(scene.scores, tmp_path / "out", overlay=True).summary["overlay"] == {"image": True}
    relabel_scene(scene.scores, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out/a.overlay.png").exists()


def test_polygons_of_an_earlier_map_do_not_stay(scene, tmp_path):
    pytest.importorskip("pyogrio", reason="vectors need the extra geo")
    from segearth.vectors.options import VectorOptions
    from segearth.vectors.vectorize import vectorize

    out = tmp_path / "out"
    labels = relabel_scene(scene.scores, out, LabelChanges(drop=["road"])).labels
    for of in ("gpkg", "fgb", "geojson"):
        vectorize(labels, options=VectorOptions(of))
    (out / "a.polygons.txt").write_text("of the user")
    relabel_scene(scene.scores, out, LabelChanges(drop=["road"]), overwrite=True)
    assert (out / "a.polygons.gpkg").is_file()  # of the same map
    with (out / "a.polygons.gpkg").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"a\.polygons\.gpkg was changed since it was written"):
        relabel_scene(scene.scores, out, overwrite=True)
    vectorize(labels, overwrite=True)
    relabel_scene(scene.scores, out, overwrite=True)
    assert [path.name for path in out.glob("*.polygons.*")] == ["a.polygons.txt"]


def test_classes_of_other_factors_are_not_merged():
    vocabulary = Vocabulary.from_list(["road", "tree | scale=1.2", "grass | scale=0.8"])
    with pytest.raises(UserError, match=r"different scales \(tree 1\.2, grass 0\.8\)"):
        change_classes(vocabulary, LabelChanges(merge={"green": ["tree", "grass"]}))


def test_a_confidence_of_an_earlier_map_does_not_stay(scene, tmp_path):
    out = tmp_path / "out"
    relabel_scene(scene.scores, out, LabelChanges(drop=["road"]), confidence=True)
    assert (out / "a.confidence.tif").is_file()
    relabel_scene(scene.scores, out, overwrite=True)
    assert not (out / "a.confidence.tif").exists()
