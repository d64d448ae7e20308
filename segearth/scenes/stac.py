"""STAC Items: JSON files with the addresses of the files of a scene."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from segearth.addresses import display_name, without_credentials
from segearth.errors import UserError, first_line
from segearth.json_files import parse_json, read_json
from segearth.scenes.http_get import http_get

MAX_BYTES = 16 << 20  # of an Item; typical ones have some kilobytes
COLOURS = ("red", "green", "blue")


def is_item(text: str) -> bool:
    """Whether an address looks like that of an Item: JSON, or a URL /items/... without suffix, as on STAC servers."""
    if text.lstrip().startswith("<"):
        return False
    if not text.startswith(("http://", "https://")):
        return text.lower().endswith(".json") and "://" not in text and not text.startswith("/vsi")
    parts = urlsplit(text)
    last = parts.path.rpartition("/")[2].lower()
    return last.endswith((".json", ".geojson")) or ("/items/" in parts.path and "." not in last)


def read_item(text: str) -> dict[str, Any] | None:
    """Reads an Item; returns None for JSON of another kind.

    Raises:
        UserError: the Item cannot be read.
    """
    try:
        content = parse_json(_download(text)) if "://" in text else read_json(Path(text), MAX_BYTES)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"the STAC Item {display_name(text)} cannot be read ({without_credentials(first_line(error))}): expected "
            "JSON; check the address, or give that of an image in it"
        ) from None
    is_feature = isinstance(content, dict) and content.get("type") == "Feature"
    return content if is_feature and isinstance(content.get("assets"), dict) else None


def rgb_addresses(item: Mapping[str, Any], address: str) -> list[str]:
    """Returns the addresses of an Item's RGB image: that of the asset `visual`, or those of red, green and blue.

    Args:
        item: result of `read_item`.
        address: address of the Item; hrefs of its assets may be relative to it.

    Raises:
        UserError: it has none of these assets.
    """
    assets: dict[str, str] = {
        key: asset["href"]
        for key, asset in item["assets"].items()
        if isinstance(asset, dict) and isinstance(asset.get("href"), str)
    }
    if "visual" in assets:
        return [_resolve_href(address, assets["visual"])]
    by_colour: dict[str, str] = {}
    for key, asset in item["assets"].items():
        if key in assets:
            for colour in _colours(key, asset):
                by_colour.setdefault(colour, assets[key])
    if all(colour in by_colour for colour in COLOURS):
        return [_resolve_href(address, by_colour[colour]) for colour in COLOURS]
    raise UserError(
        f"the STAC Item {display_name(address)} has the assets {', '.join(map(str, item['assets'])) or '(none)'}: "
        "expected visual, or red, green and blue; give the address of an image in it"
    )


def _colours(key: str, asset: Mapping[str, Any]) -> list[str]:
    """Returns the colour of a single-band asset, from its key or its band's common name; empty if it has none."""
    if key.lower() in COLOURS:
        return [key.lower()]
    bands = asset.get("eo:bands") or asset.get("bands") or []  # in STAC 1.0 and 1.1
    if not isinstance(bands, list) or len(bands) != 1 or not isinstance(bands[0], dict):
        return []
    name = bands[0].get("common_name") or bands[0].get("eo:common_name")
    return [name] if name in COLOURS else []


def _resolve_href(address: str, href: str) -> str:
    if "://" in address:
        return urljoin(address, href)
    return href if "://" in href or href.startswith("/") else str(Path(address).absolute().parent / href)


def _download(url: str) -> bytes:
    """Downloads a URL, up to the size limit."""
    content, _ = http_get(url, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB")
    return content
