"""What a scene's command finds when it is given again: finished maps, other shards' ones, and what kills have left."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from kills import hidden
from serving import Server, in_ranges

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasters import noise, write  # noqa: E402
from scenemodels import colour_predictor  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.hashes import sha256_of  # noqa: E402
from segearth.jobs.locks import locked  # noqa: E402
from segearth.jobs.shards import Shard  # noqa: E402
from segearth.predictor import Predictor  # noqa: E402
from segearth.scenes.identity import check_unchanged, content_hash  # noqa: E402
from segearth.scenes.options import SceneOptions  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402
from segearth.scenes.raster import Raster, ReadFailed, open_raster  # noqa: E402
from segearth.scenes.scene_files import SceneFiles  # noqa: E402

OPTIONS = SceneOptions(confidence=True, block=64)


class Stop(Exception):  # noqa: N818 (ends a run, and is no error)
    """Ends a run in its middle."""


@pytest.fixture
def predictor():
    return colour_predictor()


@pytest.fixture
def raster(tmp_path):
    """Nine blocks of noise, in a folder of its own."""
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "a.tif", noise(3, 180, 170, "uint8"), colours=["red", "green", "blue"])


@pytest.fixture
def run(raster, tmp_path, predictor):
    def again(options=OPTIONS, source=raster, **others):
        return predict_scene(source, tmp_path / "out", predictor, options=options, **others)

    return again


def stopped(run, at, **others):
    def stop(step):
        if step.done == at:
            raise Stop

    with pytest.raises(Stop):
        run(progress=stop, **others)


def begin(run, **others):
    """How many blocks are done when a run begins, and what it returns."""
    counts = []
    result = run(progress=lambda step: counts.append(step.done), **others)
    return (counts or [None])[0], result


def test_all_files_are_listed_and_must_be_there(run, tmp_path):
    first = run()
    assert sorted(first.summary["files"]) == [
        "a.confidence.tif", "a.labels.qml", "a.labels.tif", "a.labels.tif.aux.xml", "a.overlay.png", "a.summary.csv",
    ]  # fmt: skip
    again = run()
    assert (again.files, again.summary) == (first.files, first.summary)
    for name in ("a.summary.csv", "a.labels.qml"):
        (tmp_path / "out" / name).unlink()
        assert begin(run)[0] == 0
        assert (tmp_path / "out" / name).is_file()


def test_a_file_that_was_cut_off_is_made_anew(run):
    labels = run().labels
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-100])
    assert begin(run)[0] == 0
    assert labels.read_bytes() == whole


def test_an_overlay_of_another_look_is_drawn_without_the_model(run, predictor, tmp_path):
    first = run()
    drawn, labels = (tmp_path / "out" / name for name in ("a.overlay.png", "a.labels.tif"))
    before, made = drawn.read_bytes(), labels.stat().st_mtime_ns
    predictor.model.windows = 0
    for look in ({"opacity": 0.25}, {"outline": False}):
        result = run(replace(OPTIONS, **look))
        assert result.summary["files"]["a.overlay.png"]["sha256"] == sha256_of(drawn)
        assert drawn.read_bytes() != before
        assert run(replace(OPTIONS, **look)) == result
    drawn.unlink()
    again = run()
    assert drawn.read_bytes() == before
    assert (set(again.files), again.summary) == (set(first.files), first.summary)
    assert json.loads((tmp_path / "out" / "a.summary.json").read_text()) == first.summary
    assert (predictor.model.windows, labels.stat().st_mtime_ns) == (0, made)


def test_a_map_that_is_half_overwritten_is_neither(run, tmp_path, monkeypatch):
    """A run is killed between the rasters of a new map and its summary."""
    run(replace(OPTIONS, scores=True))
    other = replace(OPTIONS, confidence=False, blend="hann")

    def stop(*_):
        raise Stop

    with monkeypatch.context() as patches, pytest.raises(Stop):
        patches.setattr("segearth.scenes.scene_files.scene_overlay", stop)
        run(other, overwrite=True)
    assert not {"a.scores.tif", "a.summary.json"} & {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UserError, match='was begun with blend "hann", not "mean"'):
        run()
    done, result = begin(run, options=other)
    assert (done, result.summary["settings"]["blend"]) == (9, "hann")


def test_rasters_that_are_wanted_later(run, tmp_path):
    """The map is the same with and without them, and those that are there stay."""
    plain, scored = replace(OPTIONS, confidence=False), replace(OPTIONS, confidence=False, scores=True)
    stopped(run, 4, options=plain)
    confident = run()  # every block has it
    found = {path.name: sha256_of(path) for path in (confident.labels, confident.confidence)}
    assert begin(run, options=plain) == (None, replace(confident, confidence=None))
    stopped(run, 4, options=plain, overwrite=True)
    done, both = begin(run, options=replace(OPTIONS, scores=True))
    assert done == 0  # no block has scores
    (tmp_path / "out" / "a.scores.tif").unlink()
    assert begin(run) == (None, replace(both, scores=None, files=tuple(f for f in both.files if f != both.scores)))
    done, again = begin(run, options=scored)
    assert (done, again.confidence, set(again.files)) == (0, None, set(both.files))
    assert again.summary["files"] == both.summary["files"]
    assert {name: about["sha256"] for name, about in again.summary["files"].items() if name in found} == found


def test_parts_are_left_to_other_shards(run, tmp_path):
    kept = replace(OPTIONS, keep_parts=True)
    run(kept)
    with locked(tmp_path / "out" / "a.segearth.1-of-2"):
        assert begin(run)[0] is None
        assert (tmp_path / "out" / "a.segearth").is_dir()
    run()
    assert not (tmp_path / "out" / "a.segearth").exists()


def test_what_a_kill_after_the_last_file_left_is_removed(run, tmp_path):
    run(replace(OPTIONS, keep_parts=True))
    (tmp_path / "out" / ".a.segearth.0-of-1.lock").touch()
    assert (tmp_path / "out" / "a.segearth" / "b0000_0000.labels.tif").is_file()
    assert begin(run)[0] is None
    assert not (tmp_path / "out" / "a.segearth").exists()
    assert hidden(tmp_path / "out") == []


def test_a_raster_is_known_wherever_it_lies(run, raster, tmp_path):
    made = run()
    (tmp_path / "moved").mkdir()
    moved = raster.rename(tmp_path / "moved" / "a.tif")
    (tmp_path / "moved" / "a.tif.aux.xml").write_text("<PAMDataset/>")  # as of a program that looked at it
    assert begin(run, source=moved) == (None, made)
    with rasterio.open(moved, "r+") as file:
        file.transform = rasterio.Affine(1, 0, 500000, 0, -1, 5500000)
    with pytest.raises(UserError, match="of another image"):
        run(source=moved)


def test_files_of_others_are_not_written_over(run, tmp_path):
    (tmp_path / "out").mkdir()
    truth = tmp_path / "out" / "a.labels.tif"
    truth.write_bytes(b"drawn")
    with pytest.raises(UserError, match=r"a\.labels\.tif is there, but no a\.summary\.json"):
        run()
    assert truth.read_bytes() == b"drawn"
    assert run(overwrite=True).labels == truth


def test_a_map_that_is_being_made_over_another_goes_on(run):
    run()
    other = replace(OPTIONS, blend="hann")
    with pytest.raises(UserError, match="was made with blend"):
        run(other)
    stopped(run, 4, options=other, overwrite=True)
    done, result = begin(run, options=other)
    assert (done, result.summary["settings"]["blend"]) == (4, "hann")


def test_a_map_of_other_products_is_another_one(run, monkeypatch):
    """The last bits of oneDNN are not those of MKL."""
    run()
    monkeypatch.setattr("segearth.compute.onednn_is_used", lambda: True)
    with pytest.raises(UserError, match='device "cpu"'):
        run()


def test_a_run_that_goes_on_keeps_its_blocks_and_says_so(run):
    stopped(run, 4)
    seen = []
    run(replace(OPTIONS, block=96), progress=seen.append)
    assert (seen[0].done, seen[0].total) == (4, 9)
    assert seen[0].remarks[-1] == "the blocks stay 64 pixels wide, as those that are done, not 96"


def test_a_share_that_comes_late_finds_the_map(run, tmp_path, monkeypatch):
    assert run(shard=Shard(0, 2)) is None
    made = run(shard=Shard(1, 2))
    assert run(shard=Shard(0, 2)).files == made.files
    look, looks = SceneFiles.finished, []

    def late(files):
        """As if another share concluded the map between two looks."""
        looks.append(files)
        return look(files) if len(looks) > 1 else None

    monkeypatch.setattr(SceneFiles, "finished", late)
    assert begin(run, shard=Shard(0, 2)) == (None, made)
    assert len(looks) == 2
    assert not (tmp_path / "out" / "a.segearth").exists()


def test_what_a_ledger_says_is_not_believed(run, tmp_path, predictor, raster):
    whole = predict_scene(raster, tmp_path / "whole", predictor, options=OPTIONS)
    stopped(run, 8)
    (ledger,) = (tmp_path / "out" / "a.segearth" / "ledger").glob("*.jsonl")
    sums = [[1, 2, 3, 4]] * 2
    values = [
        None, [], {"sums": [], "sizes": {}}, {"sums": [[1], [2]], "sizes": {}}, {"sums": sums, "sizes": [1]},
        {"sums": sums, "sizes": {"labels": 1}}, {"sums": [[2**70, 2, 3, 4]] * 2, "sizes": {}},
        {"sums": [["a"] * 4] * 2, "sizes": {}},
    ]  # fmt: skip
    keys = [f"b{row:04}_{column:04}" for row in range(3) for column in range(3)]
    with ledger.open("a") as file:
        for key, value in zip(["b9999_0000", *keys], values[:1] + values, strict=False):
            file.write(json.dumps([key, {"done": value}]) + "\n")
    done, result = begin(run)
    assert done == 0
    assert sha256_of(result.labels) == sha256_of(whole.labels)


def broken(monkeypatch, windows):
    """Rasters that cannot be read where `windows` says so."""
    read = Raster.read

    def fail(self, window):
        if windows(window):
            raise ReadFailed(window, "the disk is worn")
        return read(self, window)

    monkeypatch.setattr(Raster, "read", fail)


def test_a_damaged_block_is_nodata_and_tried_again(run, tmp_path, monkeypatch, predictor, raster):
    whole = predict_scene(raster, tmp_path / "whole", predictor, options=OPTIONS)
    with monkeypatch.context() as patches:
        broken(patches, lambda window: min(window.top, window.left) > 90 or window.bottom - window.top == 180)
        result = run()
        assert result.failed == {"b0002_0002": "rows 96 to 179, columns 96 to 169 cannot be read: the disk is worn"}
        assert [one["area"] for one in result.summary["failed"]] == [[128, 180, 128, 170]]
        assert [remark for remark in result.summary["remarks"] if "overlay" in remark]
        with rasterio.open(result.labels) as file, rasterio.open(whole.labels) as other:
            labels, expected = file.read(1), other.read(1)
        expected[128:, 128:] = 255
        assert np.array_equal(labels, expected)
        broken(patches, lambda _: True)
        with pytest.raises(UserError, match=r"nothing of .*a\.tif could be mapped: rows .* the disk is worn"):
            predict_scene(raster, tmp_path / "none", predictor, options=OPTIONS)
        assert not list((tmp_path / "none").glob("a.*.tif"))
    done, mended = begin(run)
    assert (done, mended.failed) == (8, {})
    assert sha256_of(mended.labels) == sha256_of(whole.labels)


def test_the_disk_is_looked_at_before_work(run, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        UserError,
        match="the map and its parts need about .* kB .* which has 10 kB left: expected enough; free some space",
    ):
        begin(run)
    assert not list((tmp_path / "out").glob("a.segearth/*.tif"))


def test_a_folder_that_vanishes_is_no_other_shard(run, tmp_path, monkeypatch):
    make = SceneFiles.check_disk
    monkeypatch.setattr(
        SceneFiles, "check_disk", lambda *args: make(*args) or (tmp_path / "out/a.segearth/job.json").unlink()
    )
    with pytest.raises(UserError, match="is gone: expected it to stay"):
        run()


def test_a_map_is_of_one_kind_of_device(run, monkeypatch):
    stopped(run, 3)
    monkeypatch.setattr(Predictor, "device", torch.device("cuda:1"))
    with pytest.raises(UserError, match=r"device .*cpu.*cuda"):
        run()


def test_a_raster_that_goes_while_it_is_opened_is_no_other_raster(raster):
    with open_raster(raster) as known:
        spec = replace(known.spec, content=content_hash(known))
    with open_raster(spec) as found:
        check_unchanged(found)
    with open_raster(spec) as found:
        raster.unlink()
        check_unchanged(found)
        vars(found).pop("files", None)  # GDAL asks whether they are there when it lists them
        check_unchanged(found)


@pytest.mark.parametrize("alone", [True, False])
def test_a_raster_that_is_replaced_amid_a_run(run, raster, tmp_path, alone):
    def replace_it(step):
        if step.done == 4:
            write(tmp_path / "b.tif", noise(3, 180, 170, "uint8", seed=1), colours=["red", "green", "blue"])
            (tmp_path / "b.tif").replace(raster)

    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(UserError, match=r"a\.tif has become another raster while it was mapped: expected"):
            run(executor=None if alone else executor, progress=replace_it)
        assert not list((tmp_path / "out").glob("a.*"))[1:]  # but the folder of what was done
        raster.unlink()
        write(raster, noise(3, 180, 170, "uint8"), colours=["red", "green", "blue"])
        done, result = begin(run)
    assert (done >= 4, result.failed) == (True, {})


def test_a_url_is_known_by_what_its_server_says_of_it(run, raster):
    server, source = Server(), "/a.tif?key=secret"
    try:
        server.routes[source] = in_ranges(raster.read_bytes(), etag='"one"')
        made = run(source=server.url + source)
        assert made.summary["settings"]["input"]["versions"][0]["etag"] == '"one"'
        assert begin(run, source=server.url + source)[0] is None
        server.routes[source] = in_ranges(raster.read_bytes(), etag='"two"')
        with pytest.raises(UserError, match="of another image"):
            run(source=server.url + source)
    finally:
        server.close()
