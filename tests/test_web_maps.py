"""Maps of the page, with the process that computes: they are those of the command line, block by block."""

import io
import json
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image
from rasters import break_tile, noise, write
from webserving import Client, serving

from segearth import load_model
from segearth.scenes.options import SceneOptions
from segearth.scenes.predict import predict_scene
from segearth.scenes.relabel import LabelChanges, relabel_scene
from segearth.synthetic import draw_scene
from segearth.vocabulary import Vocabulary
from segearth.web.images import Root

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

CLASSES = "road; tree,forest | threshold=0.6; water; building"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    drawn = draw_scene(3, 120, 1700).image  # two blocks
    pixels = np.ascontiguousarray(drawn.transpose(2, 0, 1))
    mask = np.full((120, 1700), 255, np.uint8)
    mask[:40, :30] = 0
    write(folder / "town.tif", pixels, mask=mask)
    write(folder / "small.tif", pixels[:, :60, :80])
    return folder


@pytest.fixture(scope="module")
def client(web_worker, root, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("work"), web_worker, root=Root.of(root)) as found:
        found.images = {}
        for name in ("town.tif", "small.tif"):
            found.images[name] = found.post("/api/images", path=name).json["id"]
            found.until(f"/api/images/{found.images[name]}", "ready")
        yield found


def made(client, name="town.tif", classes=CLASSES, **own):
    """A finished map."""
    reply = client.post("/api/jobs", image=client.images[name], classes=classes, **own)
    assert reply.status == 202, reply.body
    return client.until(f"/api/jobs/{reply.json['id']}", "done", "failed")


@pytest.fixture(scope="module")
def town(client):
    """A finished map of two blocks, and what was told while it was made."""
    job = client.post("/api/jobs", image=client.images["town.tif"], classes=CLASSES, threshold=0.3).json
    events = client.get(f"/api/jobs/{job['id']}/events")
    assert events.headers["Content-Type"].startswith("text/event-stream")
    told = [json.loads(part.partition("data: ")[2]) for part in events.body.decode().split("\n\n") if "data: " in part]
    return client.get(f"/api/jobs/{job['id']}").json, told


@pytest.fixture(scope="module")
def expected(root, tmp_path_factory):
    """The map of the command line."""
    own = load_model("tiny", CLASSES, threshold=0.3, upsampler="bilinear")
    folder = tmp_path_factory.mktemp("expected")
    return predict_scene(root / "town.tif", folder, own, options=SceneOptions(confidence=True, scores=True))


def tile(client, job, zoom, column, row):
    reply = client.get(f"/api/jobs/{job['id']}/tiles/{zoom}/{column}/{row}.png")
    return None if reply.status == 204 else np.asarray(Image.open(io.BytesIO(reply.body)))


def best(result):
    """Best classes and their scores of a finished map, from its own files."""
    with rasterio.open(result.scores) as scores, rasterio.open(result.labels) as labels:
        return scores.read(), labels.read(1)


def test_progress_is_told_until_the_end(town):
    job, told = town
    assert job["state"] == "done"
    assert told[-1] == job
    assert job["progress"]["done"] == job["progress"]["total"] == job["revision"] == 2
    assert job["progress"]["megapixels"] == pytest.approx(0.204)
    assert told[0]["state"] in ("queued", "running")
    assert {1, 2} <= {one["revision"] for one in told}  # blocks appear as they come
    assert any(0 < one["progress"]["megapixels"] < 0.2 for one in told)  # also within a block
    assert job["reused"] is False
    assert [one["threshold"] for one in job["classes"]] == [None, 0.6, None, None]
    assert job["classes"][1]["names"] == ["tree", "forest"]


def test_maps_are_those_of_the_command_line(client, town, expected):
    """Byte for byte."""
    job, _ = town
    for kind in ("labels", "scores"):
        reply = client.get(f"/api/jobs/{job['id']}/files/{kind}.tif")
        assert reply.body == (expected.labels if kind == "labels" else expected.scores).read_bytes()
        assert reply.headers["Content-Disposition"] == f'attachment; filename="town.{kind}.tif"'
    summary = client.get(f"/api/jobs/{job['id']}/files/summary.json").json
    for key in ("classes", "settings", "crs", "transform"):
        assert summary[key] == expected.summary[key]
    overlay = client.get(f"/api/jobs/{job['id']}/files/overlay.png").body
    assert overlay == expected.files[[path.name for path in expected.files].index("town.overlay.png")].read_bytes()


def test_tiles_hold_the_best_class_whatever_the_threshold(client, town, expected):
    job, _ = town
    scores, labels = best(expected)
    whole = [np.full((256, 1792), 255, np.uint8), np.zeros((256, 1792), np.uint8)]
    for column in range(7):
        pixels = tile(client, job, job["max_zoom"], column, 0)
        assert pixels.shape == (256, 256, 3)
        assert not pixels[..., 2].any()
        for layer, value in enumerate(whole):
            value[:, column * 256 : (column + 1) * 256] = pixels[..., layer]
    assert tile(client, job, job["max_zoom"], 0, 1) is None
    assert (whole[0][120:] == 255).all()
    classes, confidence = (value[:120, :1700] for value in whole)
    known = scores[0] > 0
    assert not known[:40, :30].any()
    assert (classes[~known] == 255).all()
    assert (confidence[~known] == 0).all()
    assert (confidence == scores.max(axis=0))[known].all()
    assert (np.take_along_axis(scores, classes[None] % 4, 0)[0] == confidence)[known].all()
    certain = known & (labels < 254)
    assert (classes == labels)[certain].all()
    assert certain.sum() < known.sum()  # some are unclassified, and have a best class nevertheless
    coarse = tile(client, job, 0, 0, 0)
    step = 1 << job["max_zoom"]
    assert step == 8
    assert np.array_equal(coarse[:15, :213, 0], classes[::8, ::8])
    assert np.array_equal(coarse[:15, :213, 1], confidence[::8, ::8])
    half = tile(client, job, job["max_zoom"] - 1, 3, 0)
    assert np.array_equal(half[:60, :82, 0], classes[::2, 1536::2])


def test_the_histogram_counts_every_pixel(client, town, expected):
    job, _ = town
    found = client.get(f"/api/jobs/{job['id']}/histogram").json
    scores, _ = best(expected)
    counts = np.array(found["classes"])
    assert counts.shape == (4, found["bins"])
    assert found["nodata"] == (scores[0] == 0).sum() == 40 * 30
    assert np.array_equal(counts.sum(axis=0), np.bincount(scores.max(axis=0).ravel(), minlength=256)[1:])
    assert found["area_m2_per_pixel"] == pytest.approx(0.25)


def test_the_scores_of_a_pixel(client, town, expected):
    job, _ = town
    scores, _ = best(expected)
    found = client.get(f"/api/jobs/{job['id']}/pixel?row=110&column=1699").json
    assert (found["x"], found["y"]) == (500000 + 0.5 * 1699.5, 5500000 - 0.5 * 110.5)
    assert [one["score"] for one in found["scores"]] == sorted((one["score"] for one in found["scores"]), reverse=True)
    for one in found["scores"]:
        assert one["score"] == pytest.approx((scores[one["index"], 110, 1699] - 1) / 254, abs=1e-4)
    for where in ("row=0&column=0", "row=-1&column=0", "row=120&column=0", "row=0&column=1700"):
        assert client.get(f"/api/jobs/{job['id']}/pixel?{where}").status == 404
    for where in ("", "row=1", "row=a&column=0", "row=1.5&column=0", f"row={'9' * 99}&column=0"):
        reply = client.get(f"/api/jobs/{job['id']}/pixel?{where}")
        assert reply.status == 400
        assert reply.json["field"] in ("row", "column")


def test_downloads_have_the_threshold_and_the_colours(client, town, expected, root, tmp_path):
    job, _ = town
    names = Vocabulary.from_string(CLASSES).names
    changes = LabelChanges(0.5, dict.fromkeys(["tree"], 0.5), colours={names[2]: "#010203"})
    other = relabel_scene(expected.scores, tmp_path, changes, confidence=True, image=root / "town.tif")
    query = "threshold=0.5&colour=2:010203"
    assert client.get(f"/api/jobs/{job['id']}/files/labels.tif?{query}").body == other.labels.read_bytes()
    summary = client.get(f"/api/jobs/{job['id']}/files/summary.json?{query}").json
    assert summary["classes"] == other.summary["classes"]
    assert len({row["pixels"] for row in summary["classes"]} - {row["pixels"] for row in expected.summary["classes"]})
    overlay = client.get(f"/api/jobs/{job['id']}/files/overlay.png?{query}").body
    assert overlay == (tmp_path / "town.overlay.png").read_bytes()
    polygons = tmp_path / "polygons.gpkg"
    polygons.write_bytes(client.get(f"/api/jobs/{job['id']}/files/polygons.gpkg?{query}").body)
    pyogrio = pytest.importorskip("pyogrio")
    info, _, _, fields = pyogrio.raw.read(polygons)
    areas = fields[list(info["fields"]).index("area_m2")]
    assert areas.sum() == pytest.approx(sum(row["area_m2"] for row in summary["classes"]))


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("labels.tif?threshold=2", 400, "threshold"),
        ("labels.tif?threshold=nan", 400, "threshold"),
        ("labels.tif?threshold=x", 400, "threshold"),
        ("labels.tif?colour=9:000000", 400, "colour"),
        ("labels.tif?colour=0:red", 400, "colour"),
        ("labels.tif?colour=0:%0d%0aX:%20y", 400, "colour"),
        ("confidence.vrt", 404, None),
        ("..%2f..%2fimage", 404, None),
        ("town.labels.tif", 404, None),
    ],
)
def test_files_that_cannot_be_had(client, town, query, status, field):
    reply = client.get(f"/api/jobs/{town[0]['id']}/files/{query}")
    assert reply.status == status, reply.body
    assert reply.json["field"] == field


def test_too_many_polygons_are_left_to_the_command_line(client, town, monkeypatch):
    monkeypatch.setattr("segearth.vectors.vectorizer.MOST", 1)
    reply = client.get(f"/api/jobs/{town[0]['id']}/files/polygons.gpkg?threshold=0.45")
    assert reply.status == 409
    assert "more than 2,000,000 polygons" in reply.json["error"]
    assert reply.json["error"].endswith("then run segearth vectorize town.labels.tif --min-area 25")


@pytest.mark.usefixtures("town")
def test_other_words_reuse_the_encoding(client, root, tmp_path):
    words = "pool; field,meadow; barn"
    job = made(client, classes=words)
    assert job["reused"] is True
    own = load_model("tiny", words, upsampler="bilinear")
    fresh = predict_scene(root / "town.tif", tmp_path, own, options=SceneOptions(scores=True))
    assert client.get(f"/api/jobs/{job['id']}/files/scores.tif").body == fresh.scores.read_bytes()
    assert client.get(f"/api/jobs/{job['id']}/files/labels.tif").body == fresh.labels.read_bytes()
    assert made(client, classes=words, gsd=1.5)["reused"] is False  # other pixels


def test_a_picture_without_a_place(client):
    out = io.BytesIO()
    Image.fromarray(noise(3, 40, 50, "uint8").transpose(1, 2, 0)).save(out, "PNG")
    image = client.send(out.getvalue(), "Häuser & Co.png").json
    assert image["crs"] is image["transform"] is image["metres_per_pixel"] is None
    client.images["picture"] = image["id"]
    job = made(client, "picture")
    assert job["state"] == "done"
    reply = client.get(f"/api/jobs/{job['id']}/files/labels.tif")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="H_user_Co.labels.tif"'
    assert client.get(f"/api/jobs/{job['id']}/pixel?row=1&column=1").json["x"] is None
    assert client.get(f"/api/jobs/{job['id']}/histogram").json["area_m2_per_pixel"] is None
    reply = client.post("/api/jobs", image=image["id"], classes="road", gsd=1)
    assert (reply.status, reply.json["field"]) == (400, "gsd")


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_files_of_what_was_sent_tell_its_name_and_nothing_of_the_server(client, root):
    """Also of an image of which a part cannot be read."""
    noisy = write(root / "broken.tif", noise(3, 300, 1700, "uint8"), crs=None)
    break_tile(noisy, 1, 0, 6)
    client.images["sent"] = client.send(noisy.read_bytes(), "a b.tif").json["id"]
    client.until(f"/api/images/{client.images['sent']}", "ready")
    job = made(client, "sent")
    assert (job["state"], job["failed_blocks"]) == ("done", 1)
    for query in ("", "?threshold=0.5"):
        text = client.get(f"/api/jobs/{job['id']}/files/summary.json{query}").body.decode()
        assert str(client.service.options.work) not in text
    summary = client.get(f"/api/jobs/{job['id']}/files/summary.json").json
    assert summary["image"] == "a_b"
    assert any(text.startswith("a b.tif has no coordinate system") for text in summary["remarks"])
    for path in (client.service.options.work / "jobs" / job["id"]).rglob("*.*"):
        if path.suffix in (".json", ".csv", ".vrt", ".xml", ".qml", ".sld"):
            assert str(client.service.options.work) not in path.read_text(encoding="utf-8"), path


def test_a_map_that_is_made_can_be_cancelled_within_a_block(client, root):
    rows = write(root / "long.tif", noise(3, 1000, 1000, "uint8"))
    client.images["long.tif"] = client.post("/api/images", path=rows.name).json["id"]
    job = client.post("/api/jobs", image=client.images["long.tif"], classes=CLASSES).json["id"]
    end = time.monotonic() + 60
    while not client.get(f"/api/jobs/{job}").json["progress"]["total"]:
        assert time.monotonic() < end
        time.sleep(0.01)
    refused = client("DELETE", f"/api/jobs/{job}")  # never cancels
    assert (refused.status, refused.json["field"]) == (409, "job")
    assert "cancel it first" in refused.json["error"]
    assert client.post(f"/api/jobs/{job}/cancel").status == 200
    found = client.until(f"/api/jobs/{job}", "cancelled", "done")
    assert found["state"] == "cancelled"
    assert client.post(f"/api/jobs/{job}/cancel").json["state"] == "cancelled"  # twice: it stays
    assert client.get(f"/api/jobs/{job}").status == 200
    assert found["progress"]["done"] == 0  # its only block was not finished
    assert client.get(f"/api/jobs/{job}/files/labels.tif").status == 409
    assert client("DELETE", f"/api/jobs/{job}").status == 204
    assert client.get(f"/api/jobs/{job}").status == 404
    assert made(client, "small.tif")["state"] == "done"


def test_an_image_that_vanishes_fails_its_map_in_a_sentence(client, root):
    path = write(root / "gone.tif", noise(3, 40, 40, "uint8"))
    client.images["gone.tif"] = client.post("/api/images", path=path.name).json["id"]
    client.until(f"/api/images/{client.images['gone.tif']}", "ready")
    path.unlink()
    job = made(client, "gone.tif")
    assert job["error"].startswith("gone.tif is no longer there: expected")
    write(path, noise(3, 20, 20, "uint8"))
    assert "has become another image" in made(client, "gone.tif")["error"]


def test_a_process_that_dies_fails_its_map_and_the_next_one_is_made(client, web_worker):
    job = client.post("/api/jobs", image=client.images["long.tif"], classes="a; b").json["id"]
    waiting = client.post("/api/jobs", image=client.images["small.tif"], classes="road; tree").json["id"]
    client.until(f"/api/jobs/{job}", "running")
    os.kill(web_worker.pid, signal.SIGKILL)
    assert "the process that computes ended" in client.until(f"/api/jobs/{job}", "failed")["error"]
    assert client.until(f"/api/jobs/{waiting}", "done", "failed")["state"] == "done"


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ({"classes": ""}, "classes"),
        ({"classes": None}, "classes"),
        ({"classes": "road; road"}, "classes"),
        ({"classes": "road | threshold=2"}, "classes"),
        ({"classes": "/etc/passwd"}, None),  # a name, never a path
        ({"classes": "; ".join(f"c{i}" for i in range(255))}, "classes"),
        ({"classes": "x" * 200_000}, "classes"),
        ({"classes": "road", "background": "sea"}, "background"),
        ({"classes": "road", "background": 1}, "background"),
        ({"classes": "road", "threshold": 1.5}, "threshold"),
        ({"classes": "road", "threshold": "high"}, "threshold"),
        ({"classes": "road", "scale": 0}, "scale"),
        ({"classes": "road", "scale": 1e9}, "scale"),
        ({"classes": "road", "scale": 1e200}, "scale"),
        ({"classes": "road", "scale": 10**400}, "scale"),
        ({"classes": "road", "scale": 1e-300}, "scale"),
        ({"classes": "road", "scale": "1"}, "scale"),
        ({"classes": "road", "scale": 1, "gsd": 1}, "gsd"),
        ({"classes": "road", "gsd": 1e-9}, "gsd"),
        ({"classes": "road", "gsd": 1e-300}, "gsd"),
        ({"classes": "road", "gsd": 5e-324}, "gsd"),
        ({"classes": "road", "gsd": 10**400}, "gsd"),
        ({"classes": "road", "blend": "best"}, "blend"),
        ({"classes": "road", "image": "none"}, "image"),
        ({"classes": "road", "bbox": "0,0,1,1"}, None),
    ],
)
def test_maps_that_cannot_be(client, own, field):
    reply = client.post("/api/jobs", **{"image": client.images["small.tif"], **own})
    if own["classes"] == "/etc/passwd":
        assert reply.json["classes"][0]["name"] == "/etc/passwd"
        return
    assert reply.status in (400, 404), reply.body
    assert reply.json["field"] == field
    assert "--" not in reply.json["error"]  # it names no option of a command line


def test_lines_of_a_class_file(client):
    job = client.post(
        "/api/jobs",
        image=client.images["small.tif"],
        classes="# mine\nroad\n\ntree,forest | colour=#010203;\nwater; other\n",
        background=False,
    ).json
    assert [one["name"] for one in job["classes"]] == ["road", "tree", "water", "other"]
    assert job["classes"][1]["colour"] == "#010203"
    assert not any(one["background"] for one in job["classes"])


def test_images_and_maps_of_a_tab_are_there_in_another(client, town):
    tab = Client(client.port, dict(client.cookies))
    assert town[0]["id"] in [job["id"] for job in tab.get("/api/jobs").json]
    assert tab.get(f"/api/jobs/{town[0]['id']}").json == town[0]


def test_removing_an_image_removes_its_maps(client):
    image = client.send(open_bytes(client)).json["id"]
    client.until(f"/api/images/{image}", "ready")
    client.images["own"] = image
    job = made(client, "own")["id"]
    folders = [client.service.options.work / "images" / image, client.service.options.work / "jobs" / job]
    assert all(folder.exists() for folder in folders)
    assert client("DELETE", f"/api/images/{image}").status == 204
    assert client.get(f"/api/jobs/{job}").status == 404
    end = time.monotonic() + 20
    while any(folder.exists() for folder in folders):
        assert time.monotonic() < end
        time.sleep(0.02)


def open_bytes(client):
    return (client.service.options.root.folder / "small.tif").read_bytes()
