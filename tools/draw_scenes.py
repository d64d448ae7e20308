"""Draws aerial scenes with exact label maps: images to train on and to try things with.

    python tools/draw_scenes.py -o DIR --scenes 32

writes DIR/scene_1000.jpg ... and DIR/scene_1000_labels.png ... (8 bits, indices into the classes that
DIR/classes.txt lists, one a line). A seed is always the same scene.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from segearth.errors import UserError
from segearth.exits import run
from segearth.outputs import writable_folder
from segearth.synthetic import CLASSES, draw_scene, save_scene


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the scenes; returns the exit code."""
    parser = argparse.ArgumentParser(description="Draw aerial scenes with exact label maps.")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--scenes", type=int, default=8, help="how many (%(default)s)")
    parser.add_argument("--first-seed", type=int, default=1000, help="seed of the first (%(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="side in pixels of about 0.25 m (%(default)s)")
    args = parser.parse_args(argv)
    return run(lambda: draw(args.out, args.scenes, args.first_seed, args.size))


def draw(folder: Path, scenes: int, first: int, size: int) -> None:
    """Writes scenes and the names of their classes."""
    if min(scenes, size) < 1 or first < 0:
        raise UserError(
            f"--scenes {scenes} --size {size} --first-seed {first}: expected at least 1 scene, 1 pixel and seed 0"
        )
    writable_folder(folder)
    for seed in range(first, first + scenes):
        save_scene(draw_scene(seed, size, size), folder, f"scene_{seed}")
    (folder / "classes.txt").write_text("".join(f"{','.join(names)}\n" for names in CLASSES), encoding="utf-8")
    print(f"{scenes} scenes in {folder}, with labels and classes.txt")


if __name__ == "__main__":
    sys.exit(main())
