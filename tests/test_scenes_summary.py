import csv
import hashlib
import io
import json

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
pytest.importorskip("pyproj", reason="the extra geo is not installed")
from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402

from segearth.json_files import json_text  # noqa: E402
from segearth.result import Result  # noqa: E402
from segearth.scenes.grid import blocks  # noqa: E402
from segearth.scenes.layers import quantised  # noqa: E402
from segearth.scenes.scene_summary import ClassSums, map_statistics, summarise_scene  # noqa: E402
from segearth.summary import csv_table, hectares, result_rows, text_table  # noqa: E402
from segearth.vocabulary import Vocabulary  # noqa: E402
from segearth.windows import Window  # noqa: E402

WORDS = Vocabulary.from_string("road; tree,forest; roof")
UTM = Affine(0.5, 0, 356_000, 0, -0.5, 5_645_000)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def drawn(size=(150, 210), nodata=True):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size).astype(np.uint8)
    confidence = rng.random(size, np.float32)
    labels[confidence < 0.2] = 254
    if nodata:
        labels[:20, :30] = 255
    return labels, confidence


def saved(path, values, transform=UTM, crs=25832, nodata=255):
    height, width = values.shape
    own = CRS.from_epsg(crs) if isinstance(crs, int) else crs
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=values.dtype,
        transform=transform,
        crs=own,
        nodata=nodata,
    ) as file:
        file.write(values, 1)
    return path


def test_the_figures_are_those_of_a_picture(tmp_path):
    labels, confidence = drawn(nodata=False)
    pixels = np.zeros((*labels.shape, 3), np.uint8)
    best = np.where(labels == 254, 0, labels)
    expected = result_rows(Result(labels, confidence, None, WORDS, best, pixels, threshold=0.2))
    path = saved(tmp_path / "labels.tif", labels)
    sums = ClassSums.from_arrays(labels, quantised(confidence, labels != 255), 3)
    rows = map_statistics(path, WORDS, True, sums).rows
    assert [row["name"] for row in rows] == ["road", "tree", "roof", "unclassified"]
    for row, own in zip(rows, expected, strict=True):
        assert row.pop("area_m2") == own["pixels"] * 0.25
        assert row.pop("mean_confidence") == pytest.approx(own.pop("mean_confidence"), abs=0.001)
        assert row == own


def test_sums_do_not_depend_on_blocks_or_their_order():
    labels, confidence = drawn()
    values = quantised(confidence, labels != 255)
    whole = ClassSums.from_arrays(labels, values, 3)
    for side in (37, 64):
        parts = []
        for block in reversed(blocks(Window(0, 150, 0, 210), side)):
            top, bottom, left, right = block.area
            part = ClassSums.from_arrays(labels[top:bottom, left:right], values[top:bottom, left:right], 3)
            parts.append(ClassSums.from_lists(json.loads(json.dumps(part.to_lists()))))
        total = ClassSums.total(parts, 3)
        np.testing.assert_array_equal(total.pixels, whole.pixels)
        np.testing.assert_array_equal(total.confidence, whole.confidence)
    assert whole.pixels.sum() == 150 * 210 - 600
    assert whole.confidence[1] == (values[labels == 1].astype(int) - 1).sum()


def test_confidence_can_come_from_its_raster(tmp_path):
    labels, confidence = drawn()
    values = quantised(confidence, labels != 255)
    path, other = saved(tmp_path / "labels.tif", labels), saved(tmp_path / "confidence.tif", values, nodata=0)
    known = map_statistics(path, WORDS, True, ClassSums.from_arrays(labels, values, 3))
    assert map_statistics(path, WORDS, True, confidence=other) == known
    assert (known.valid, known.nodata) == (150 * 210 - 600, 600)
    assert sum(row["percent"] for row in known.rows) == pytest.approx(100, abs=0.01)  # of the valid pixels
    assert known.area_m2 == known.valid * 0.25
    without = map_statistics(path, WORDS, True)
    assert [row["mean_confidence"] for row in without.rows] == [None] * 4


def test_a_raster_that_is_not_its_blocks_is_refused(tmp_path):
    labels, _ = drawn()
    sums = ClassSums.from_arrays(labels, None, 3)
    labels[149, 209] = (labels[149, 209] + 1) % 3
    with pytest.raises(ValueError, match="its blocks had"):
        map_statistics(saved(tmp_path / "labels.tif", labels), WORDS, True, sums)


@pytest.mark.parametrize(
    ("transform", "crs"),
    [(Affine(0.001, 0, 7, 0, -0.001, 51), 4326), (Affine(30, 0, 779_000, 0, -30, 6_600_000), 3857)],
)
def test_areas_by_row_sum_to_the_whole(tmp_path, transform, crs):
    from segearth.scenes.pixel_areas import pixel_areas

    labels, _ = drawn()
    found = map_statistics(saved(tmp_path / "labels.tif", labels, transform, crs), WORDS, True)
    areas = pixel_areas(transform, CRS.from_epsg(crs), labels.shape).values
    for row in found.rows:
        expected = ((labels == row["label"]) * areas[:, None]).sum()
        assert row["area_m2"] == pytest.approx(expected, rel=1e-11)
    assert found.area_m2 == pytest.approx(sum(row["area_m2"] for row in found.rows), rel=1e-11)


def test_without_coordinate_system_there_are_no_areas(tmp_path):
    labels, _ = drawn()
    path = saved(tmp_path / "labels.tif", labels, Affine.identity(), None)
    found = map_statistics(path, WORDS, False)
    assert [row["area_m2"] for row in found.rows] == [None] * 3
    assert found.area_m2 is None
    summary = summarise_scene("city", path, found, settings={})
    assert (summary["crs"], summary["pixel_m"]) == (None, None)
    assert " ha" not in text_table(found.rows)


def test_nothing_valid_at_all(tmp_path):
    found = map_statistics(saved(tmp_path / "labels.tif", np.full((5, 5), 255, np.uint8)), WORDS, False)
    assert [(row["pixels"], row["percent"], row["mean_confidence"], row["area_m2"]) for row in found.rows] == [
        (0, 0.0, None, 0.0)
    ] * 3


def test_the_summary_holds_all_that_is_known(tmp_path):
    labels, confidence = drawn()
    path = saved(tmp_path / "labels.tif", labels)
    sums = ClassSums.from_arrays(labels, quantised(confidence, labels != 255), 3)
    found = map_statistics(path, WORDS, True, sums)
    block = blocks(Window(0, 150, 0, 210), 64)[5]
    summary = summarise_scene(
        "city",
        path,
        found,
        files=[path],
        failed=[(block, "tile 3 of band 1")],
        settings={"model": "tiny"},
        seconds=1.234,
    )
    assert json.loads(json_text(summary)) == summary
    assert (summary["height"], summary["width"], summary["crs"]) == (150, 210, "EPSG:25832")
    assert summary["transform"] == [0.5, 0, 356_000, 0, -0.5, 5_645_000]
    assert summary["bounds"] == [356_000, 5_645_000 - 75, 356_105, 5_645_000]
    assert summary["pixel_m"] == pytest.approx(0.5, rel=1e-3)
    assert summary["failed"] == [{"block": "b0001_0001", "area": [64, 128, 64, 128], "reason": "tile 3 of band 1"}]
    content = path.read_bytes()
    assert summary["files"] == {"labels.tif": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    assert {"segearth", "torch", "rasterio", "gdal", "pyproj", "proj"} <= set(summary["versions"])
    lines = list(csv.DictReader(io.StringIO(csv_table([summary]))))
    assert [line["class"] for line in lines] == ["road", "tree", "roof", "unclassified"]
    assert float(lines[0]["area_m2"]) == found.rows[0]["area_m2"] == found.rows[0]["pixels"] * 0.25
    text = text_table(found.rows)
    assert text.splitlines()[0].endswith("confidence            ha")
    assert hectares(max(row["area_m2"] for row in found.rows)) in text.splitlines()[1]


def test_hectares_for_people():
    shown = [hectares(area) for area in (0, 0.4, 12.3, 25_000, 1_234_567, 98_765_432_100)]
    assert shown == ["0", "0.000040", "0.001230", "2.500", "123.5", "9,876,543"]
