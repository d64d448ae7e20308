#!/usr/bin/env python3
"""Takes the pictures of the page for docs/web.md: python tools/web_pictures.py http://127.0.0.1:8000 --out docs.

The server is `segearth web`, just started: the page shows the drawn scene that comes with the package, which is mapped
once more in full detail. Needs playwright and the system's Chromium. Pictures get as many colours as keep them small.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Page, sync_playwright

MOST_BYTES = 250_000
SHOTS: tuple[tuple[int, int, Literal["light", "dark"]], ...] = (
    (1440, 900, "light"),
    (1024, 768, "light"),
    (390, 844, "dark"),
)  # width, height, colours


def shoot(page: Page, width: int, height: int, scheme: Literal["light", "dark"]) -> Image.Image:
    """One picture of the page, on wide screens with the scores of a pixel.

    Args:
        page: the page, with a finished map.
        width: of its window, in pixels.
        height: of its window, in pixels.
        scheme: its colours.
    """
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.reload()
    page.locator("#downloads button:enabled").first.wait_for()
    page.wait_for_load_state("networkidle")
    if width > 760:
        box = page.locator("#map").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.62 * box["height"])
        page.locator("#scores .bars").wait_for()
    else:
        page.locator("#tabs a", has_text="Legend").click()
    page.wait_for_timeout(1000)  # for what moves
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def write(picture: Image.Image, path: Path) -> None:
    """Writes a PNG with as many colours as fit into `MOST_BYTES`."""
    for colours in (256, 160, 128, 96, 64, 48, 32):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(f"{path}: {path.stat().st_size:,} bytes, {colours} colours")


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="address of the page")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the pictures (%(default)s)")
    args = parser.parse_args(argv)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(args.url)
        page.locator("#downloads button:enabled").first.wait_for()
        page.locator("#map-it").click()
        page.locator("#job-meter").wait_for()
        page.locator("#downloads button:enabled").first.wait_for()
        for width, height, scheme in SHOTS:
            write(shoot(page, width, height, scheme), args.out / f"web-{width}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
