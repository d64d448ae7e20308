import json

import pytest
from PIL import Image

from segearth.batch.inputs import find_images
from segearth.batch.maps import TimeLeft, check_disk, write_table
from segearth.batch.plan import plan
from segearth.errors import UserError
from segearth.hashes import MEGABYTE, fingerprint
from segearth.summary import COLUMNS


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)
    return path


def names(tmp_path, *arguments, listed=()):
    found = find_images([str(tmp_path / a) if a != "-" else a for a in arguments], tmp_path / "out", listed)
    return {str(item.path.relative_to(tmp_path)): item.name for item in found}


def test_files_folders_patterns_and_lists(tmp_path):
    for place in (
        "a.png",
        "in/b.jpg",
        "in/north/c.TIF",
        "in/.hidden.png",
        "in/b.labels.png",
        "in/notes.txt",
        "d e.png",
    ):
        image(tmp_path / place) if not place.endswith(".txt") else (tmp_path / place).write_text("")
    assert names(tmp_path, "a.png", "a.png", "in") == {"a.png": "a", "in/b.jpg": "b", "in/north/c.TIF": "north/c"}
    assert names(tmp_path, "in/*.jpg") == {"in/b.jpg": "b"}
    assert names(tmp_path, "in/**/*.TIF") == {"in/north/c.TIF": "c"}
    assert names(tmp_path, "-", listed=[f"{tmp_path}/d e.png\n", "\n", f"{tmp_path}/a.png"]) == {
        "d e.png": "d e",
        "a.png": "a",
    }


def test_addresses(tmp_path):
    given = [
        "https://example.org/a/scene.tif?key=secret[1]", "s3://bucket/b/scene.tif", "/vsizip/all.zip/deep/town.tif",
        "zip+https://example.org/c.zip!d/village.tif", 'NETCDF:"/data/e.nc":red', "<VRTDataset/>",
        "https://example.org/items/S2A_1", f"file://{tmp_path}/f.tif",
    ]  # fmt: skip
    image(tmp_path / "f.tif")
    items = find_images(given, tmp_path / "out")
    assert [item.name for item in items] == [
        "a/scene.tif", "b/scene.tif", "town", "village", "e-red", "raster", "S2A_1", "f"
    ]  # fmt: skip
    assert [item.source for item in items] == [*given[:-1], tmp_path / "f.tif"]
    assert items[0].shown == "https://example.org/a/scene.tif"
    (again,) = find_images(["-"], tmp_path / "out", [given[0], given[0]])
    assert again.name == "scene"


def test_results_that_a_shell_has_found_are_passed_over(tmp_path):
    for name in ("a.png", "a.labels.png", "b.labels.png"):
        image(tmp_path / name)
    names = [str(tmp_path / name) for name in ("a.png", "a.labels.png")]
    assert [item.name for item in find_images(names, tmp_path / "out")] == ["a"]
    assert [item.name for item in find_images(["-"], tmp_path / "out", names)] == ["a"]
    assert [item.name for item in find_images(names[1:], tmp_path / "out")] == ["a.labels"]
    with pytest.raises(UserError, match="no images in"):
        find_images([names[1], str(tmp_path / "b.labels.png")], tmp_path / "out")


def test_results_are_not_mapped_again(tmp_path):
    image(tmp_path / "a.png")
    image(tmp_path / "out" / "a.overlay.png")
    image(tmp_path / "out" / "old.png")
    image(tmp_path / "scene.segearth" / "b0000_0000.labels.part.tif")
    image(tmp_path / "scene.scores.tif")
    assert names(tmp_path, ".") == {"a.png": "a"}
    for out in (tmp_path, tmp_path.parent):  # results beside the images, or above them
        (item, _) = find_images([str(tmp_path)], out)
        assert item.name == "a"


def test_two_images_never_have_one_name(tmp_path):
    for place in ("x/a.jpg", "x/a.tif", "y/a.jpg", "y/b.png", "z/y/b.png", "A.jpg"):
        image(tmp_path / place)
    assert names(tmp_path, "x") == {"x/a.jpg": "a.jpg", "x/a.tif": "a.tif"}
    assert names(tmp_path, "y", "z/y") == {
        "y/a.jpg": "a",
        "y/b.png": f"{tmp_path.name}/y/b.png",
        "z/y/b.png": "z/y/b.png",
    }
    assert names(tmp_path, "x/a.jpg", "y/a.jpg") == {"x/a.jpg": "x/a.jpg", "y/a.jpg": "y/a.jpg"}
    found = names(tmp_path, "x/a.jpg", "A.jpg")  # some file systems do not see case
    assert len({name.lower() for name in found.values()}) == 2
    image(tmp_path / "x" / "A.JPG")
    if len(list((tmp_path / "x").iterdir())) == 3:  # this one does
        found = names(tmp_path, "x")
        assert sorted(found.values()) == ["A.JPG-1", "a.jpg-2", "a.tif"]


def test_tables_call_an_image_by_its_own_name(tmp_path):
    for place in ("x/a.jpg", "x/a.tif", "x/b.png"):
        image(tmp_path / place)
    assert [item.image for item in find_images([str(tmp_path / "x")], tmp_path / "out")] == ["a.jpg", "a.tif", "b.png"]


def test_mistakes_in_paths(tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["none.png"], "no image at"),
        (["empty"], "no images in"),
        (["*.gif"], "nothing matches"),
    ):
        with pytest.raises(UserError, match=message):
            names(tmp_path, *arguments)


def test_a_fingerprint_is_of_the_content(tmp_path):
    for name, middle in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(b"0" * MEGABYTE + middle + b"1" * MEGABYTE)
    (tmp_path / "d").write_bytes(b"0" * MEGABYTE + b"x" + b"1" * (MEGABYTE - 1) + b"2")
    prints = {name: fingerprint(tmp_path / name) for name in "abcd"}
    assert prints["a"] == prints["b"]
    assert prints["a"] == prints["c"]  # the middle of a large file is not read
    assert prints["a"] != prints["d"]
    assert fingerprint(tmp_path / "none") is None


def test_the_same_settings_go_on_and_others_are_refused(tmp_path):
    image(tmp_path / "a.png")
    items = find_images([str(tmp_path / "a.png")], tmp_path / "out")
    out = tmp_path / "out"
    out.mkdir()
    common = {"threshold": 0.2, "classes": [{"names": ["road"], "colour": (1, 2, 3)}], "scores": False}
    (task,) = plan(items, out, common, overwrite=False)
    assert not task.done
    assert [file.name for file in task.files] == ["a.labels.png", "a.overlay.png", "a.summary.json"]
    task.summary.write_text(json.dumps({"settings": task.settings}))
    assert not plan(items, out, common, overwrite=False)[0].done  # files are missing: partial output goes on
    for file in task.files[:-1]:
        file.write_text("")
    assert plan(items, out, common, overwrite=False)[0].done
    assert not plan(items, out, common, overwrite=True)[0].done
    with pytest.raises(UserError, match=r"a\.summary\.json was made with threshold 0\.2, not 0\.3"):
        plan(items, out, {**common, "threshold": 0.3}, overwrite=False)
    with pytest.raises(UserError, match=r"classes road, not tree"):
        plan(items, out, {**common, "classes": [{"names": ["tree"], "colour": (1, 2, 3)}]}, overwrite=False)
    with pytest.raises(UserError, match=r"other colours"):
        plan(items, out, {**common, "classes": [{"names": ["road"], "colour": (9, 2, 3)}]}, overwrite=False)
    with pytest.raises(UserError, match=r"scores false, not true"):
        plan(items, out, {**common, "scores": True}, overwrite=False)
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"of another image than .*a\.png.*overwrite"):
        plan(items, out, common, overwrite=False)
    for text in ("{}", "[" * 100_000, '{"settings": {"classes": [1]}}', '{"settings": [NaN]}'):
        task.summary.write_text(text)
        with pytest.raises(UserError, match=r"no summary of a map"):
            plan(items, out, common, overwrite=False)


def test_a_full_disk_is_seen_before_work(tmp_path):
    image(tmp_path / "a.png")
    (item,) = find_images([str(tmp_path / "a.png")], tmp_path / "out")
    tasks = plan([item], tmp_path / "out", {"scores": True}, overwrite=False)
    check_disk(tasks, {item.path: 100}, 9, tmp_path)
    with pytest.raises(UserError, match=r"need about .* GB"):
        check_disk(tasks, {item.path: 10**15}, 9, tmp_path)


def test_the_table_is_over_all_maps_of_the_folder(tmp_path):
    row = {"name": "road; path", "pixels": 12, "percent": 100.0, "mean_confidence": None}
    (tmp_path / "north").mkdir()
    for name in ("b", "north/a"):
        (tmp_path / f"{name}.summary.json").write_text(json.dumps({"image": f"{name}.png", "classes": [row]}))
    (tmp_path / "other.summary.json").write_text("no JSON")
    (tmp_path / "nested.summary.json").write_text("[" * 100_000)
    assert write_table(tmp_path).read_text(encoding="utf-8").splitlines() == [
        ",".join(COLUMNS),
        "b.png,road; path,12,100.0,,",
        "north/a.png,road; path,12,100.0,,",
    ]


def test_time_left(monkeypatch):
    clock = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr("segearth.batch.maps.time.monotonic", lambda: next(clock))
    left = TimeLeft()
    assert left(2, 10) is None
    assert left(4, 10) == 6.0
    assert left(10, 10) == 0.0
