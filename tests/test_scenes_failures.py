"""What goes wrong while a scene is mapped: one sentence, no half-written map, and nothing lost that was finished."""

import ctypes
import os
import resource
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from kills import hidden
from processes import forked

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasters import UTM, break_tile, noise, write  # noqa: E402
from scenemodels import stub_predictor  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.hashes import sha256_of  # noqa: E402
from segearth.scenes.options import SceneOptions  # noqa: E402
from segearth.scenes.predict import predict_scene  # noqa: E402

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such limits, rights and signals")
RGB = ["red", "green", "blue"]
OPTIONS = SceneOptions(confidence=True, scores=True, block=64)


def colours(pixels):
    return (pixels - pixels.mean(dim=(1, 2), keepdim=True)) / 30


@pytest.fixture
def predictor():
    return stub_predictor(colours, 3)


@pytest.fixture
def raster(tmp_path):
    """Nine blocks of noise, in a folder of its own."""
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "a.tif", noise(3, 180, 170, "uint8"), colours=RGB)


def run(raster, out, predictor, **options):
    return predict_scene(raster, out, predictor, options=OPTIONS, **options)


def hashes(result):
    return [sha256_of(path) for path in (result.labels, result.confidence, result.scores)]


@pytest.fixture
def undisturbed(raster, tmp_path, predictor):
    found = hashes(run(raster, tmp_path / "undisturbed", predictor))
    predictor.model.windows = 0
    return found


def in_a_copy(work, log):
    """Runs work in a copy of this process; its exit code and its words. An error of a user is code 2."""

    def told():
        try:
            work()
        except UserError as error:
            print(error)
            return 2
        return 0

    process = forked(told, log)
    process.join(120)
    return process.exitcode, log.read_text()


@posix
def test_killed_at_every_block_and_started_again(raster, tmp_path, predictor, undisturbed):
    counts = []

    def one_block_more():
        first = []

        def progress(step):
            first.append(step.done)
            if step.done > first[0]:
                print(first[0], flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

        run(raster, tmp_path / "out", predictor, progress=progress)

    for _ in range(10):
        code, said = in_a_copy(one_block_more, tmp_path / "log")
        if code == 0:
            break
        assert code == -signal.SIGKILL, said
        counts.append(int(said))
        assert not list((tmp_path / "out").glob("a.*.tif"))
    assert counts == list(range(9))
    assert hashes(run(raster, tmp_path / "out", predictor)) == undisturbed
    assert predictor.model.windows == 0  # all was done
    assert not hidden(tmp_path / "out")


def without_rights():
    """A superuser of Linux may write everywhere, unless the process gives that up."""
    if os.geteuid() == 0:
        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, data) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capset is of Linux")
@pytest.mark.parametrize("later", [False, True])
def test_a_folder_that_cannot_be_written(raster, tmp_path, predictor, undisturbed, later):
    out = tmp_path / "out"
    out.mkdir()

    def work():
        without_rights()

        def lock(step):
            if step.done == 4:
                for folder in (out, *out.iterdir()):
                    if folder.is_dir():
                        folder.chmod(0o500)

        if later:
            run(raster, out, predictor, progress=lock)
        out.chmod(0o500)
        run(raster, out, predictor)

    code, said = in_a_copy(work, tmp_path / "log")
    for folder in (out, *out.iterdir()):
        if folder.is_dir():
            folder.chmod(0o700)
    assert code == 2, said
    assert "cannot write" in said
    assert "Permission denied" in said
    assert said.count("\n") == 1
    assert not list(out.glob("a.*.tif"))
    assert hashes(run(raster, out, predictor)) == undisturbed


def test_a_file_where_the_folder_should_be(raster, tmp_path, predictor):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="cannot write to the output folder .*out "):
        run(raster, tmp_path / "out", predictor)
    assert (tmp_path / "out").read_text() == "mine"


@posix
@pytest.mark.parametrize("limit", [2_000, 9_000, 40_000, 90_000])
def test_a_full_disk(raster, tmp_path, predictor, undisturbed, limit):
    """No file may grow beyond a limit: parts fail first, later on the map of scores."""

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        run(raster, tmp_path / "out", predictor)

    code, said = in_a_copy(work, tmp_path / "log")
    assert code == 2, said
    *others, sentence = said.splitlines()
    assert all(line.startswith("_tiff") for line in others)  # libtiff prints by itself
    assert sentence.startswith("cannot write ")
    assert "free some space" in sentence
    assert not (tmp_path / "out" / "a.summary.json").exists()
    assert {sha256_of(path) for path in (tmp_path / "out").glob("*.tif")} <= set(undisturbed)  # whole, or not there
    assert hashes(run(raster, tmp_path / "out", predictor)) == undisturbed
    assert not hidden(tmp_path / "out")


def test_a_truncated_file(tmp_path, predictor):
    path = write(tmp_path / "a.tif", noise(3, 180, 170, "uint8"), colours=["red", "green", "blue"])
    whole = run(path, tmp_path / "whole", predictor)
    path.write_bytes(path.read_bytes()[:-30_000])
    result = run(path, tmp_path / "out", predictor)
    assert result.failed
    assert list(result.failed) == [one["block"] for one in result.summary["failed"]]
    assert all("cannot be read" in why for why in result.failed.values())
    assert any("is damaged: about" in one for one in result.summary["remarks"])
    with rasterio.open(whole.labels) as one, rasterio.open(result.labels) as other:
        expected, found = one.read(1), other.read(1)
    lost = np.zeros(found.shape, bool)
    for one in result.summary["failed"]:
        top, bottom, left, right = one["area"]
        lost[top:bottom, left:right] = True
    assert np.array_equal(found == 255, lost)
    assert np.array_equal(found[~lost], expected[~lost])
    assert result.summary["nodata_pixels"] == lost.sum()
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError, match=r"a.tif is damaged, \d+ % of it cannot be read: expected a whole file"):
        run(path, tmp_path / "none", predictor)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"a.tif cannot be opened as a raster \(.*gdalinfo"):
        run(path, tmp_path / "none", predictor)
    assert not list((tmp_path / "none").glob("*"))


def test_a_damaged_tile_costs_its_block_and_is_tried_again(raster, tmp_path, predictor):
    break_tile(raster, 1, 2, 2)
    first = run(raster, tmp_path / "out", predictor)
    assert list(first.failed) == ["b0000_0000", "b0000_0001", "b0001_0000", "b0001_0001"]  # whose windows need it
    assert [one["block"] for one in first.summary["failed"]] == list(first.failed)
    assert all("cannot be read" in why and "band 1" in why for why in first.failed.values())
    with rasterio.open(first.labels) as file:
        found = file.read(1)
    expected = np.zeros(found.shape, bool)
    expected[:128, :128] = True
    assert np.array_equal(found == 255, expected)
    computed = predictor.model.windows
    again = run(raster, tmp_path / "out", predictor)
    assert (again.failed, hashes(again)) == (first.failed, hashes(first))
    assert predictor.model.windows == computed  # no other block was computed again


def test_the_inputs_folder_vanishes_and_comes_back(raster, tmp_path, predictor, undisturbed):
    def unmount(step):
        if step.done == 3 and raster.exists():
            raster.parent.rename(tmp_path / "elsewhere")

    missing = r"no raster at .*a.tif: expected the path of an existing file|a.tif cannot be opened .*No such file"
    with ThreadPoolExecutor(1) as executor, pytest.raises(UserError, match=missing):  # each block opens it anew
        run(raster, tmp_path / "out", predictor, progress=unmount, executor=executor)
    assert not list((tmp_path / "out").glob("a.*.tif"))
    (tmp_path / "elsewhere").rename(raster.parent)
    predictor.model.windows, counts = 0, []
    result = run(raster, tmp_path / "out", predictor, progress=lambda step: counts.append(step.done))
    assert counts[0] >= 3
    assert hashes(result) == undisturbed


def test_a_mosaics_tile_vanishes_and_comes_back(raster, tmp_path, predictor):
    transform = UTM @ rasterio.Affine.translation(170, 0)
    tiles = [raster, write(tmp_path / "b.tif", noise(3, 180, 60, "uint8"), transform=transform, colours=RGB)]
    expected = hashes(run(tiles, tmp_path / "whole", predictor))

    def remove(step):
        if step.done == 3 and tiles[1].exists():
            tiles[1].rename(tmp_path / "elsewhere")

    gone = r"takes pixels from .*b.tif, which cannot be found: expected all of its files; put it back"
    with ThreadPoolExecutor(1) as executor, pytest.raises(UserError, match=gone):  # each block opens it anew
        run(tiles, tmp_path / "other", predictor, progress=remove, executor=executor)
    assert not list((tmp_path / "other").glob("mosaic.*.tif"))
    (tmp_path / "elsewhere").rename(tiles[1])
    result = run(tiles, tmp_path / "here", predictor, progress=remove)
    assert len(result.failed) == 9  # of twelve; the handle that this process has may not know of it
    assert all("b.tif" in why for why in result.failed.values())
    (tmp_path / "elsewhere").rename(tiles[1])
    for folder in ("other", "here"):
        assert hashes(run(tiles, tmp_path / folder, predictor)) == expected


@pytest.mark.parametrize("at", [0, 4, 9])
def test_the_outputs_folder_vanishes(raster, tmp_path, predictor, undisturbed, at):
    def remove(step):
        if step.done == at:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    with pytest.raises(UserError, match=r"cannot write .*/out|/out/a.segearth, the folder of .*, is gone: "):
        run(raster, tmp_path / "out", predictor, progress=remove)
    assert hashes(run(raster, tmp_path / "out", predictor)) == undisturbed
