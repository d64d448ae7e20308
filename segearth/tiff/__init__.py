"""TIFF: reads the directory of an image, checks that it is supported, and rewrites it as a TIFF that Pillow can read.

Pillow supports only a table of known tag combinations, without mask pages and bands without a colour. So the directory
of the image's page is parsed and checked here, and rewritten in memory.
"""

from segearth.tiff.directory import MAGIC, Damaged, Page, read_page
from segearth.tiff.rewrite import as_plain_tiff
from segearth.tiff.support import (
    COORDINATES,
    TO_BYTE,
    check_supported,
    no_colours_error,
    opened_image_bands,
    refuse_sparse,
    remarks,
    unsupported_error,
)

__all__ = [
    "COORDINATES",
    "MAGIC",
    "TO_BYTE",
    "Damaged",
    "Page",
    "as_plain_tiff",
    "check_supported",
    "no_colours_error",
    "opened_image_bands",
    "read_page",
    "refuse_sparse",
    "remarks",
    "unsupported_error",
]
