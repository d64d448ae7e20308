#!/usr/bin/env python3
"""Maps one image: python demo.py --image scene.tif --classes "road; tree,forest; building,roof,house".

Without arguments it maps the drawn scene that comes with the package. Writes into --out:
labels.png (class indices with a palette), overlay.png (the image, the map over it, a legend), summary.json.
"""

from __future__ import annotations

import sys

from segearth.cli import run_script
from segearth.cli.demo import choose_model as choose_model


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_script("demo", argv)


if __name__ == "__main__":
    sys.exit(main())
