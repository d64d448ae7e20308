"""An interactive map as HTML, made with folium if installed."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from segearth.notebook.view import View, area_text, css_colour, flat_uri, picture_uri
from segearth.weights import packaged

if TYPE_CHECKING:
    import folium

_LATER = "data:,"  # an empty URL: the page sets the images later, so that each is embedded once
_FARTHEST, _NEAREST = -12, 24  # zoom levels: images of up to a million pixels; pixels of some cm on the Earth
_MOST_ROWS = 40  # rows of the legend; the table below the map has all classes


def interactive_html(view: View) -> str | None:
    """The map as HTML in an iframe; None if folium is missing."""
    try:
        return str(folium_map(view)._repr_html_())
    except ImportError:
        return None


def folium_map(view: View) -> folium.Map:
    """Makes the folium map.

    Raises:
        ImportError: folium is missing.
    """
    import folium

    (south, west), (north, east) = view.bounds
    place: dict[str, Any] = {"control_scale": True} if view.is_on_earth else {"crs": "Simple"}
    shown = folium.Map(location=((south + north) / 2, (west + east) / 2), tiles=None, zoom_snap=0.25, **place)
    shown.options |= {"minZoom": 0 if view.is_on_earth else _FARTHEST, "maxZoom": _NEAREST if view.is_on_earth else 6}
    # of the files that folium loads from servers, only Leaflet is used
    shown.default_js = [link for link in shown.default_js if link[0] == "leaflet"]
    shown.default_css = [link for link in shown.default_css if link[0] == "leaflet_css"]
    if view.is_on_earth:
        online = {"name": "OpenStreetMap (online)", "max_native_zoom": 19, "max_zoom": _NEAREST}
        folium.TileLayer("OpenStreetMap", overlay=True, show=False, **online).add_to(shown)
    uris = [flat_uri(view.colours)]
    layers = {"map": folium.raster_layers.ImageOverlay(_LATER, view.bounds, name="map")}
    if view.picture is not None:
        uris.insert(0, picture_uri(view.picture))
        layers = {"image": folium.raster_layers.ImageOverlay(_LATER, view.bounds, name="image"), **layers}
    for layer in layers.values():
        layer.add_to(shown)
    folium.LayerControl(collapsed=False).add_to(shown)
    shown.fit_bounds(view.bounds)
    content = {
        "title": view.title,
        "rows": [_legend_row(row) for row in sorted(view.rows, key=lambda row: -row["pixels"])[:_MOST_ROWS]],
        "opacity": 1.0 if view.picture is None else 0.6,
        "images": uris,
    }
    names = ", ".join(layer.get_name() for layer in layers.values())
    shown.add_child(
        _parts(
            header=f"<script>{_code()}\nconst segearth = {_script_json(content)};</script>",
            script=f"segearthShow({shown.get_name()}, [{names}]);",
        )
    )
    return shown


def _parts(**parts: str) -> Any:
    """Parts of a page by position. branca renders them as templates again: see `_script_json`."""
    from branca.element import MacroElement
    from jinja2 import Template

    element = MacroElement()
    element.parts = parts
    macros = (f"{{% macro {name}(this, kwargs) %}}{{{{ this.parts.{name} }}}}{{% endmacro %}}" for name in parts)
    element._template = Template("".join(macros))
    return element


def _legend_row(row: Any) -> dict[str, str]:
    area = area_text(row)
    share = f"{row['percent']:.1f} %" + (f" · {area} ha" if area else "")
    return {"name": row["name"], "colour": css_colour(row), "share": share}


def _script_json(value: Any) -> str:
    """JSON that is safe in a script element: no text can end the script, or act as HTML or a template."""
    text = json.dumps(value, allow_nan=False)  # in ASCII; braces before these characters are within strings
    return re.sub(r"[<>&]|\{(?=[{%#])", lambda match: f"\\u{ord(match[0]):04x}", text)


@cache
def _code() -> str:
    return packaged("notebook_map.js").read_text(encoding="utf-8")
