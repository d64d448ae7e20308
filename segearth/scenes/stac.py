"""STAC Items: JSON that says where the files of a scene are."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from segearth.addresses import shown, without_keys
from segearth.errors import UserError, first_line
from segearth.json_files import parse_json, read_json
from segearth.scenes.http_get import get

MOST_BYTES = 16 << 20  # of an Item; usual ones have some kilobytes
COLOURS = ("red", "green", "blue")


def is_item(text: str) -> bool:
    """Whether an address may be that of an Item, by its looks: a URL without a suffix may, as those of servers."""
    if text.lstrip().startswith("<"):
        return False
    if not text.startswith(("http://", "https://")):
        return text.lower().endswith(".json") and "://" not in text and not text.startswith("/vsi")
    parts = urlsplit(text)
    last = parts.path.rpartition("/")[2].lower()
    return last.endswith((".json", ".geojson")) or ("/items/" in parts.path and "." not in last)


def read_item(text: str) -> dict[str, Any] | None:
    """What an address holds; None where that is JSON of another kind.

    Raises:
        UserError: it cannot be read.
    """
    try:
        found = parse_json(_get(text)) if "://" in text else read_json(Path(text), MOST_BYTES)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"the STAC Item {shown(text)} cannot be read ({without_keys(first_line(error))}): expected JSON; check the "
            "address, or give that of an image in it"
        ) from None
    is_one = isinstance(found, dict) and found.get("type") == "Feature" and isinstance(found.get("assets"), dict)
    return found if is_one else None


def images(item: Mapping[str, Any], address: str) -> list[str]:
    """The addresses of an Item's picture: one, of the asset `visual`, or three, of red, green and blue.

    Args:
        item: as `read_item` has it.
        address: of the Item, which its assets' may be relative to.

    Raises:
        UserError: it has none of them.
    """
    assets: dict[str, str] = {
        key: asset["href"]
        for key, asset in item["assets"].items()
        if isinstance(asset, dict) and isinstance(asset.get("href"), str)
    }
    if "visual" in assets:
        return [_joined(address, assets["visual"])]
    by_colour: dict[str, str] = {}
    for key, asset in item["assets"].items():
        if key in assets:
            for colour in _colours(key, asset):
                by_colour.setdefault(colour, assets[key])
    if all(colour in by_colour for colour in COLOURS):
        return [_joined(address, by_colour[colour]) for colour in COLOURS]
    raise UserError(
        f"the STAC Item {shown(address)} has the assets {', '.join(map(str, item['assets'])) or '(none)'}: "
        "expected visual, or red, green and blue; give the address of an image in it"
    )


def _colours(key: str, asset: Mapping[str, Any]) -> list[str]:
    """The colours that an asset of one band has: by its name, else by what is said of its band."""
    if key.lower() in COLOURS:
        return [key.lower()]
    bands = asset.get("eo:bands") or asset.get("bands") or []  # in STAC 1.0 and 1.1
    if not isinstance(bands, list) or len(bands) != 1 or not isinstance(bands[0], dict):
        return []
    name = bands[0].get("common_name") or bands[0].get("eo:common_name")
    return [name] if name in COLOURS else []


def _joined(address: str, href: str) -> str:
    if "://" in address:
        return urljoin(address, href)
    return href if "://" in href or href.startswith("/") else str(Path(address).absolute().parent / href)


def _get(url: str) -> bytes:
    """What a URL gives."""
    content, _ = get(url, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB")
    return content
