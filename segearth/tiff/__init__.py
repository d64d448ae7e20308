"""TIFF: which page, which bands, and why not; what can be read goes to Pillow as the plain TIFF that it knows.

Pillow goes by a table of known combinations of tags and knows neither masks beside an image nor bands without a
colour. So the directory of the image's page is read here, judged, and written anew in memory.
"""

from segearth.tiff.directory import MAGIC, Damaged, Page, read_page
from segearth.tiff.rewrite import plain
from segearth.tiff.support import COORDINATES, TO_BYTE, check, given, no_colours, refuse_sparse, remarks, unsupported

__all__ = [
    "COORDINATES",
    "MAGIC",
    "TO_BYTE",
    "Damaged",
    "Page",
    "check",
    "given",
    "no_colours",
    "plain",
    "read_page",
    "refuse_sparse",
    "remarks",
    "unsupported",
]
