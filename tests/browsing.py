"""Pages in a real browser, which notes what no page may do."""

import base64
import io
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="tests of the page need playwright")

sync_api.expect.set_options(timeout=60_000)  # on a busy machine

NAMES = ("chromium", "chromium-browser", "google-chrome")
CANVASES = "[...document.querySelectorAll('.class-tiles canvas')].map((canvas) => canvas.toDataURL())"


def find_browser():
    """The program of the system's Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser():
    """A browser without a screen."""
    program = find_browser()
    if program is None:
        pytest.skip(f"no browser is installed: expected one of {', '.join(NAMES)}")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] if as_root else [])
        yield found
        found.close()


class Tab:
    """A page; `faults` has what a page must never do: errors in the console, requests to other servers.

    Args:
        context: the session.
        url: of the server.
        refused: statuses of HTTP that the test asks for; the browser's console tells them as errors.
    """

    def __init__(self, context, url, refused=()):
        self.page, self.url, self.faults = context.new_page(), url, []
        self.page.set_default_timeout(60_000)
        told = tuple(f"the server responded with a status of {status}" for status in refused)

        def heard(message):
            if message.type == "error" and not any(text in message.text for text in told):
                self.faults.append(f"{message.text} {message.location}")

        self.page.on("console", heard)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        self.page.on("request", self._asked)

    def _asked(self, request):
        address = urlsplit(request.url)
        if address.scheme not in ("blob", "data") and address.netloc != urlsplit(self.url).netloc:
            self.faults.append(request.url)

    def open(self, address=""):
        self.page.goto(self.url + address)
        sync_api.expect(self["#model"]).not_to_be_empty(timeout=60_000)
        return self

    def __getitem__(self, selector):
        return self.page.locator(selector)

    def text(self, selector):
        return self[selector].inner_text()

    def wait_for_text(self, selector, text):
        sync_api.expect(self[selector]).to_contain_text(text)

    def wait_until_mapped(self):
        sync_api.expect(self["#downloads button"].first).to_be_enabled(timeout=60_000)
        self.page.wait_for_load_state("networkidle")

    def upload(self, path):
        """Opens an image, as the button does."""
        self["#file"].set_input_files(path)
        sync_api.expect(self["#image option:checked"]).to_have_text(Path(path).name)
        sync_api.expect(self["#map-it"]).to_be_enabled()

    def open_path(self, *names):
        """Opens a file by the dialog with the server's folders."""
        self["#browse"].click()
        for name in names:
            self["#files button"].filter(has_text=name).click()
        sync_api.expect(self["#image option:checked"]).to_have_text(names[-1])
        sync_api.expect(self["#map-it"]).to_be_enabled()

    def map(self, classes):
        self["#classes"].fill(classes)
        with self.page.expect_response(lambda answer: answer.request.method == "POST"):
            self["#map-it"].click()

    def painted(self):
        """The map's tiles as (256, 256, 4) uint8, when there are some."""
        end = time.monotonic() + 60
        while True:
            pictures = [base64.b64decode(url.partition(",")[2]) for url in self.page.evaluate(CANVASES)]
            tiles = [np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA")) for picture in pictures]
            if any(tile.any() for tile in tiles):
                return tiles
            assert time.monotonic() < end
            self.page.wait_for_timeout(50)

    def slide(self, name, value):
        """Moves a slider, as a pointer does."""
        self[f"#{name}"].evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }",
            str(value),
        )

    def save(self, what, folder):
        """Downloads a file; its path."""
        with self.page.expect_download() as waiting:
            self["#downloads button"].filter(has_text=what).click()
        path = Path(folder) / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    def shares(self, column):
        """Class to share in percent, of the legend's column "view" (3) or "image" (4)."""
        rows = self["#legend tr:not([hidden])"].all()
        cells = [(row.locator(".name > span").inner_text(), row.locator("td").nth(column - 1)) for row in rows]
        return {name: float(cell.inner_text().lstrip("<").split()[0]) for name, cell in cells}
