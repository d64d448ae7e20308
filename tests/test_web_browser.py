"""The page in a real browser, against the real server with the packaged model."""

import json
import re

import numpy as np
import pytest
from browsing import Tab, browser, sync_api
from PIL import Image
from rasters import UTM, rasterio, write
from webserving import serving

from segearth.synthetic import draw_scene
from segearth.web import serve
from segearth.web.client import WorkerClient
from segearth.web.images import Root
from segearth.web.worker import ModelSetup

expect = sync_api.expect
CLASSES = "road\ntree, forest\nwater\nbuilding, roof, house\ngrass"
HEIGHT, WIDTH = 160, 200
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the server's images."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "north").mkdir()
    image = draw_scene(3, HEIGHT, WIDTH).image
    Image.fromarray(image).save(folder / "town.png")
    bands = np.ascontiguousarray(image.transpose(2, 0, 1))
    write(folder / "north" / "field.tif", bands)
    write(folder / f"{HOSTILE}.tif", bands[:, :64, :64])
    sparse = {"driver": "GTiff", "count": 1, "dtype": "uint8", "tiled": True, "SPARSE_OK": True, "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": UTM}
    rasterio.open(folder / "large.tif", "w", width=20_000, height=10_000, **place, **sparse).close()
    with rasterio.open(folder / "large.tif", "r+") as file:
        file.build_overviews([4, 16, 64])  # so that the server needs no small copy of it
    (folder / "broken.tif").write_bytes((folder / "north" / "field.tif").read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def server(chromium, folder, tmp_path_factory):  # noqa: ARG001 - without a browser nothing is started
    example = tmp_path_factory.mktemp("example") / "scene.jpg"  # a part of the packaged one, which takes longer
    Image.open(serve.weights.packaged("scene.jpg")).crop((300, 200, 700, 500)).save(example)
    patch = pytest.MonkeyPatch()
    patch.setattr(serve.weights, "packaged", lambda name: example)
    worker = WorkerClient(ModelSetup("tiny", upsampler="bilinear", threads=1))
    try:
        with serving(tmp_path_factory.mktemp("work"), worker, root=Root.of(folder), example=True) as client:
            yield f"http://localhost:{client.port}/"
    finally:
        worker.close()
        patch.undo()


@pytest.fixture
def session(chromium, server):
    """Makes tabs of one session, and checks in the end that none did what no page may do."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    tabs = []

    def tab(address="", refused=()):
        tabs.append(Tab(context, server, refused))
        return tabs[-1].open(address)

    yield tab
    faults = [fault for tab in tabs for fault in tab.faults]
    context.close()
    assert not faults


@pytest.fixture(scope="module")
def mapped(chromium, server, folder):
    """A tab with a finished map of a small image, whose tile has the pixels of the image; tests leave it as it was."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    tab = Tab(context, server).open()
    tab.upload(folder / "town.png")
    tab.map(CLASSES)
    tab.wait_until_mapped()
    yield tab
    faults = tab.faults
    context.close()
    assert not faults


def shown(tab):
    """(H, W, 4) uint8: what is painted of the small image."""
    [tile] = tab.painted()
    return tile[:HEIGHT, :WIDTH]


def painted(labels):
    """What is to be painted of a downloaded map."""
    with rasterio.open(labels) as file:
        values, palette = file.read(1), file.colormap(1)
    colours = np.zeros((256, 4), np.uint8)
    colours[:5] = [palette[i] for i in range(5)]  # what is no class is clear
    return colours[values]


def test_the_example_is_there_and_mapped(session):
    tab = session()
    tab.wait_until_mapped()
    assert "scene.jpg" in tab.text("#image option:checked")
    assert "400 × 300 px" in tab.text("#image-facts")
    colours = np.concatenate([tile.reshape(-1, 4) for tile in tab.painted()])
    assert len(np.unique(colours[colours[:, 3] == 255], axis=0)) >= 4
    expect(tab[".image-tiles img.leaflet-tile-loaded"].first).to_be_visible()
    assert sum(tab.shares(4).values()) == pytest.approx(100, abs=0.5)
    assert "tree,forest" in tab["#classes"].input_value()


def test_the_map_is_painted_as_the_files_have_it(mapped, tmp_path):
    assert mapped.save("Labels", tmp_path).name == "town.labels.tif"
    assert np.array_equal(shown(mapped), painted(tmp_path / "town.labels.tif"))
    assert mapped["#job-text"].is_hidden()
    names = mapped["#legend .name > span"].all_inner_texts()
    assert names == ["road", "tree", "water", "building", "grass", "unclassified"][: len(names)]


def paint(colour, value):
    """Chooses a colour of the legend."""
    colour.evaluate("(one, to) => { one.value = to; one.dispatchEvent(new Event('input')); }", value)


def test_threshold_and_colours_change_at_once_and_go_into_the_files(mapped, tmp_path):
    before, requests = shown(mapped), []
    mapped.page.on("request", lambda request: requests.append(request.url))
    colour = mapped["#legend input[type=color]"].nth(2)
    was = colour.input_value()
    mapped.slide("threshold", 0.62)
    paint(colour, "#123456")
    now = shown(mapped)
    assert not requests  # without the server
    clear = now[..., 3] == 0
    assert 0.02 < clear.mean() < 0.98
    assert (0x12, 0x34, 0x56) in {tuple(one) for one in now[~clear][:, :3]}
    assert mapped.shares(4)["unclassified"] == pytest.approx(100 * clear.mean(), abs=0.051)
    assert mapped.shares(3)["unclassified"] == pytest.approx(100 * clear.mean(), abs=0.051)  # all of it is in view
    assert np.array_equal(now, painted(mapped.save("Labels", tmp_path)))
    summary = json.loads(mapped.save("Summary", tmp_path).read_text())
    assert mapped.shares(4) == pytest.approx({row["name"]: row["percent"] for row in summary["classes"]}, abs=0.051)
    assert "threshold 0.62" in mapped.text("#downloads-hint")
    mapped["#threshold-reset"].click()
    paint(colour, was)
    assert np.array_equal(shown(mapped), before)


def test_a_hidden_class_is_clear_and_keeps_its_share(mapped):
    before, shares = shown(mapped), mapped.shares(4)
    rgb = np.array([int(mapped["#legend input[type=color]"].nth(4).input_value()[i : i + 2], 16) for i in (1, 3, 5)])
    grass = (before[..., :3] == rgb).all(axis=-1) & (before[..., 3] > 0)
    assert grass.any()
    mapped["#legend input[type=checkbox]"].nth(4).uncheck(force=True)
    assert np.array_equal(shown(mapped)[..., 3] == 0, grass | (before[..., 3] == 0))
    assert mapped.shares(4) == shares
    mapped["#legend input[type=checkbox]"].nth(4).check(force=True)
    assert np.array_equal(shown(mapped), before)


def test_the_opacity_is_that_of_the_map_alone(mapped):
    mapped.slide("opacity", 0.25)
    pane = mapped[".leaflet-classes-pane"]
    assert pane.evaluate("(pane) => getComputedStyle(pane).opacity") == "0.25"
    assert mapped.text("#opacity-value") == "25 %"


def test_a_click_shows_the_scores_of_the_pixel(mapped):
    box = mapped["#map"].bounding_box()
    mapped.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(mapped["#scores .bars li"]).to_have_count(5)
    row, column = (int(number) for number in re.findall(r"\d+", mapped.text("#scores .place"))[:2])
    assert (row, column) == pytest.approx((HEIGHT // 2, WIDTH // 2), abs=1)
    assert f"row {row}, column {column}" in mapped.text("#coordinates")
    job = re.search("job=([^&]+)", mapped.page.url)[1]
    reply = mapped.page.request.get(f"{mapped.url}api/jobs/{job}/pixel?row={row}&column={column}").json()
    assert mapped["#scores .bar-name"].all_inner_texts() == [one["name"] for one in reply["scores"]]
    assert mapped["#scores .bar-score"].all_inner_texts() == [f"{one['score']:.3f}" for one in reply["scores"]]
    best = mapped["#scores .bar i"].first.evaluate("(bar) => bar.offsetWidth / bar.parentElement.offsetWidth")
    assert best == pytest.approx(reply["scores"][0]["score"], abs=0.02)
    mapped["#scores-close"].click()
    expect(mapped["#scores"]).to_be_hidden()


def test_all_files_are_downloaded_and_can_be_read(mapped, tmp_path):
    pyogrio = pytest.importorskip("pyogrio", reason="vectors need the extra geo")
    assert Image.open(mapped.save("Overlay", tmp_path)).format == "PNG"
    polygons = mapped.save("Polygons", tmp_path)
    assert polygons.name == "town.polygons.gpkg"
    assert pyogrio.read_info(polygons, layer=0)["features"] > 3


def test_other_words_on_the_image_reuse_what_was_encoded(mapped):
    old = re.search("job=([^&]+)", mapped.page.url)[1]
    mapped.map("road\nhouse")
    expect(mapped["#legend .name"]).to_have_count(3)
    mapped.wait_until_mapped()
    mapped.wait_for_text("#job-remarks", "already encoded")
    mapped["#job"].select_option(old)  # the map before is still there
    expect(mapped["#legend .name"]).to_have_count(6)
    assert len(np.unique(shown(mapped).reshape(-1, 4), axis=0)) >= 4


def test_keyboard_alone(mapped):
    mapped["#zoom-fit"].click()
    mapped.page.keyboard.press("Tab")  # from now on the browser shows what has the focus
    mapped["#map"].focus()
    expect(mapped[".crosshair"]).to_be_visible()
    mapped.page.keyboard.press("Enter")
    mapped.wait_for_text("#scores .place", f"row {HEIGHT // 2}")
    mapped.page.keyboard.press("ArrowDown")
    mapped.page.wait_for_timeout(400)
    mapped.page.keyboard.press("Enter")
    expect(mapped["#scores .place"]).not_to_contain_text(f"row {HEIGHT // 2},")
    mapped["#scores-close"].press("Escape")
    expect(mapped["#scores"]).to_be_hidden()
    reached = set()
    mapped[".skip"].focus()
    for _ in range(45):
        mapped.page.keyboard.press("Tab")
        reached.add(
            mapped.page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')")
        )
    wanted = (
        "theme image remove upload browse preset classes map-it job threshold opacity map zoom-in zoom-out zoom-fit"
    )
    assert set(wanted.split()) | {"Show road", "Colour of road"} <= reached


def test_errors_are_sentences_beside_what_caused_them(session, folder):
    tab = session(refused=(400, 422, 404))
    tab["#classes"].fill("")
    tab["#map-it"].click()
    expect(tab["#classes-error"]).not_to_be_empty()
    assert tab["#classes"].get_attribute("aria-invalid") == "true"
    tab["#classes"].type("road")
    expect(tab["#classes-error"]).to_be_empty()
    images = tab["#image option"].count()
    tab["#file"].set_input_files(folder / "broken.tif")
    tab.wait_for_text("#file-error", "broken.tif")
    tab["#file"].set_input_files(
        {"name": "notes.zip", "mimeType": "application/zip", "buffer": b"PK\x03\x04" + bytes(99)}
    )
    tab.wait_for_text("#file-error", "notes.zip")
    assert tab["#image option"].count() == images
    tab["#browse"].click()
    tab["#path"].fill("../secret.tif")
    tab["#path"].press("Enter")
    expect(tab["#path-error"]).not_to_be_empty()
    tab["#browser-close"].click()
    tab["#options summary"].click()
    tab["#scale"].fill("many")
    tab["#map-it"].click()
    expect(tab["#scale-error"]).not_to_be_empty()


def test_names_never_become_html(session):
    tab = session()
    tab.open_path(f"{HOSTILE}.tif")
    assert HOSTILE in tab.text("#image option:checked")
    tab.map(f"<script>alert(2)</script>,{HOSTILE}\n<b>grass</b>")
    tab.wait_until_mapped()
    assert tab["#legend .name > span"].first.inner_text() == "<script>alert(2)</script>"
    assert (
        tab.page.evaluate("document.querySelectorAll('#panel script, #panel img, #panel b:not(.empty b)').length") == 0
    )
    box = tab["#map"].bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_text("#scores", "<b>grass</b>")
    assert tab["#scores b:not(.bar b)"].count() == 0


def test_a_dropped_file_is_uploaded(session, folder):
    tab = session()
    data = [*(folder / "town.png").read_bytes()]
    drop = """(data) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], 'dropped.png', {type: 'image/png'}));
        const event = (name) => new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.body.dispatchEvent(event('dragenter'));
        const seen = !document.getElementById('drop').hidden;
        document.body.dispatchEvent(event('drop'));
        return seen && document.getElementById('drop').hidden;
    }"""
    assert tab.page.evaluate(drop, data)
    expect(tab["#image option:checked"]).to_have_text("dropped.png")
    tab["#remove"].click()
    expect(tab["#image option:checked"]).to_contain_text("(example)")


def test_coordinates_and_scale_of_a_place_on_the_ground(session):
    tab = session()
    tab.open_path("north", "field.tif")
    assert "EPSG:32632" in tab.text("#image-facts")
    assert re.fullmatch(r"\d+ m", tab.text("#scale-text"))
    box = tab["#map"].bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    x, y = re.search(r"([\d,.]+), ([\d,.]+) ", tab.text("#coordinates")).groups()
    assert float(x.replace(",", "")) == pytest.approx(500000 + 0.5 * WIDTH / 2, abs=1)
    assert float(y.replace(",", "")) == pytest.approx(5500000 - 0.5 * HEIGHT / 2, abs=1)


def test_a_large_scene_is_shown_cancelled_and_found_again_in_all_tabs(session, chromium, server):
    tab = session()
    tab.open_path("large.tif")
    assert "20,000 × 10,000 px" in tab.text("#image-facts")
    expect(tab[".image-tiles img.leaflet-tile-loaded"].first).to_be_visible()
    tab.map("road\nwater")
    expect(tab["#job-meter"]).to_be_visible()
    tab.wait_for_text("#job-text", "blocks")
    address = tab.page.url
    tab.page.reload()
    expect(tab["#job-meter"]).to_be_visible()
    tab.wait_for_text("#job-text", "blocks")
    assert tab.page.url == address
    other = session()  # the address of the second tab says nothing
    assert "large.tif" in other.text("#image option:checked")
    expect(other["#job-meter"]).to_be_visible()
    tab.map("grass")
    tab.wait_for_text("#job-text", "number 1 in the queue")
    tab["#cancel"].click()
    tab.wait_for_text("#job-remarks", "Cancelled")
    other["#cancel"].click()
    other.wait_for_text("#job-remarks", "Cancelled")
    expect(other["#job-meter"]).to_be_hidden()
    stranger = chromium.new_context()
    try:
        assert Tab(stranger, server).open()["#image option"].all_inner_texts() == ["scene.jpg (example)"]
    finally:
        stranger.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_accessibility(chromium, server, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    try:
        tab = Tab(context, server).open()
        tab.wait_until_mapped()
        tab["#options summary"].click()
        tab["#map"].focus()
        tab.page.keyboard.press("Enter")
        expect(tab["#scores .bars"]).to_be_visible()
        found = axe.Axe().run(tab.page)
        assert not found.response["violations"], found.generate_report()
        tab["#browse"].click()
        expect(tab["#files button"].first).to_be_visible()
        found = axe.Axe().run(tab.page)
        assert not found.response["violations"], found.generate_report()
    finally:
        context.close()


def test_dark_and_light_by_the_system_and_by_choice(session):
    tab = session()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(ground)
    tab.page.emulate_media(color_scheme="dark")
    dark = tab.page.evaluate(ground)
    assert dark != light
    tab["#theme"].click()
    assert tab.page.evaluate(ground) == light
    tab.page.reload()
    assert tab.page.evaluate(ground) == light
    assert tab["#theme"].get_attribute("aria-pressed") == "false"


def test_small_screens_have_a_sheet(session):
    tab = session()
    tab.wait_until_mapped()
    tab.page.set_viewport_size({"width": 390, "height": 844})
    panel = tab["#panel"]
    assert panel.bounding_box()["y"] == pytest.approx(422, abs=2)
    tab["#tabs a"].filter(has_text="Legend").click()
    expect(tab["#legend-title"]).to_be_in_viewport()
    tab["#grip"].click()
    tab.page.wait_for_timeout(300)
    assert panel.bounding_box()["y"] < 100
    tab["#grip"].click()
    tab.page.wait_for_timeout(300)
    assert panel.bounding_box()["y"] > 650
    assert tab["#grip"].get_attribute("aria-expanded") == "false"
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
