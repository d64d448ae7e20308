"""Divides the inputs of `segearth predict` into pictures and scenes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segearth.batch.inputs import Item
from segearth.cli.scene_options import ONLY_SCENES
from segearth.errors import UserError, option

if TYPE_CHECKING:
    from segearth.cli.predict_scenes import Scene


def pictures_and_scenes(
    args: argparse.Namespace, items: Sequence[Item], tell: Callable[[str], None]
) -> tuple[list[Item], list[Scene]]:
    """Divides inputs into pictures and scenes.

    Raises:
        UserError: an option for the other kind only; an address as a picture; a mosaic of pictures.
    """
    pictures: list[Item] = []
    scenes: list[tuple[Item, str]] = []
    if args.way == "scene":
        scenes = [(item, "") for item in items]
    elif args.way == "picture":
        pictures = list(items)
    else:
        from segearth.scenes.input_kind import scene_reason

        for item in items:
            why = scene_reason(item.source)
            if why is None:
                pictures.append(item)
            else:
                scenes.append((item, why))
    _check(args, pictures, [item for item, _ in scenes], tell)
    if not scenes:
        return pictures, []
    from segearth.cli.predict_scenes import Scene

    if args.mosaic:
        item, why = scenes[0]
        folder = Path(args.images[0]) if len(args.images) == 1 else None
        name = folder.absolute().name if folder is not None and folder.is_dir() else "mosaic"
        return [], [Scene(replace(item, name=name, image=name), tuple(tile.source for tile, _ in scenes), why)]
    return pictures, [Scene(item, (item.source,), why) for item, why in scenes]


def _check(
    args: argparse.Namespace, pictures: Sequence[Item], scenes: Sequence[Item], tell: Callable[[str], None]
) -> None:
    """Refuses options that do not apply to the inputs, or prints a remark on them.

    Raises:
        UserError: see `pictures_and_scenes`.
    """
    given = [name for name in ONLY_SCENES if getattr(args, name) not in (None, False)]
    if pictures and given:
        what = f"{option(given[0])} is for scenes, and {pictures[0].shown} is a picture"
        if not scenes or given[0] in ("shard", "mosaic"):
            raise UserError(f"{what}: expected scenes alone; leave it out, or map all by {option('as', 'scene')}")
        tell(f"note: {what}, to which it does nothing")
    if scenes and not pictures and args.max_pixels is not None:
        raise UserError(
            f"{option('max_pixels', args.max_pixels)} is for pictures, and {scenes[0].shown} is a scene: expected any "
            f"number of pixels in it; leave it out, or map it by {option('as', 'picture')}"
        )
    if address := next((item for item in pictures if isinstance(item.source, str)), None):
        raise UserError(
            f"{address.shown} is an address: expected a file on this computer as a picture; download it first, or map "
            f"it by {option('as', 'scene')}"
        )
