#!/usr/bin/env python3
"""Takes the pictures of the page for docs/web.md: python tools/web_pictures.py http://127.0.0.1:8000 --out docs.

The server is `segearth web`, just started, so that the page shows the drawn scene that comes with the package. Needs
playwright and the system's Chromium. Pictures have 256 colours, chosen for each: they stay small.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

SHOTS = ((1440, 900, "light"), (1024, 768, "light"), (390, 844, "dark"))  # width, height, colours


def shoot(browser: Browser, url: str, width: int, height: int, scheme: str) -> Image.Image:
    """One picture of the page with the scores of a pixel.

    Args:
        browser: the browser.
        url: of the page.
        width: of its window, in pixels.
        height: of its window, in pixels.
        scheme: "light" or "dark".
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.locator("#downloads button:enabled").first.wait_for(timeout=600_000)
    if width > 760:
        box = page.locator("#map").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.62 * box["height"])
        page.locator("#scores .bars").wait_for()
    else:
        page.locator("#tabs a", has_text="Legend").click()
        page.wait_for_timeout(500)  # it scrolls
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return picture


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="address of the page")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the pictures (%(default)s)")
    args = parser.parse_args(argv)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, height, scheme in SHOTS:
            path = args.out / f"web-{width}.png"
            shoot(browser, args.url, width, height, scheme).quantize(256, dither=Image.Dither.NONE).save(
                path, optimize=True
            )
            print(f"{path}: {path.stat().st_size:,} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
