"""The report of eval_all.py as a browser shows it."""

from __future__ import annotations

import numpy as np
import pytest
from browsing import browser
from PIL import Image
from test_paper import OV, line_of, run

from segearth.paper.columns import column
from segearth.paper.comparison import Comparison, result_line
from segearth.paper.report import html
from segearth.paper.table_rows import ROWS


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with long names, reasons and a picture."""
    folder = tmp_path_factory.mktemp("report")
    Image.fromarray(np.zeros((300, 1600, 3), np.uint8)).save(folder / "a.png")
    changes = ["test_dataloader.dataset.pipeline.1.scale=(896,896)", "model.prob_thd=0.2"]
    lines = [line_of(row, "whu_sat_II", run("whu_sat_II", options=changes)) for row in ROWS.values()]
    lines += [result_line(OV, column("loveda"), run("loveda"), "no/path" * 40, [folder / "a.png"])]
    (folder / "report.html").write_text(html(Comparison(lines)), encoding="utf-8")
    with browser() as chromium:
        tab = chromium.new_page()
        tab.goto((folder / "report.html").as_uri())
        yield tab


@pytest.mark.parametrize("width", [1300, 420])
def test_all_can_be_read_without_scrolling_sideways(page, width):
    """On a laptop the column that says whether numbers can be compared is in sight, on a phone it is a line of each."""
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in (".lines .comparable", ".lines .number", ".failures li", ".pictures img", ".bars .number"):
        boxes = [one.bounding_box() for one in page.locator(name).all()]
        boxes = [box for box in boxes if box is not None]
        assert boxes
        assert max(box["x"] + box["width"] for box in boxes) <= width
    shown = page.locator(".lines .comparable").first
    assert shown.inner_text().startswith("changed: test_dataloader")
    assert shown.bounding_box()["width"] > 100
    head = page.locator(".lines thead").is_visible()
    label = shown.evaluate("(cell) => getComputedStyle(cell, '::before').content")
    assert (head, label) == ((True, "none") if width == 1300 else (False, '"Comparable"'))
