"""Optional dependencies (extras): purpose, packages and install command of each."""

from __future__ import annotations

from dataclasses import dataclass

from segearth.errors import from_script


@dataclass(frozen=True)
class Extra:
    """An extra, named as in `pip install "segearth[NAME]"`.

    Attributes:
        about: its purpose.
        packages: import names of the packages that it needs.
    """

    about: str
    packages: tuple[str, ...]


EXTRAS: dict[str, Extra] = {
    "eval": Extra(
        "evaluation on data sets with labels", ("mmengine", "mmcv", "mmseg", "cv2", "jinja2", "pandas", "openpyxl")
    ),
    "dask": Extra("blocks of scenes on the workers of a dask cluster", ("distributed",)),
    "geo": Extra("maps of georeferenced rasters of any size", ("rasterio", "pyogrio", "shapely", "pyproj")),
    "notebook": Extra("interactive maps and GeoDataFrames in notebooks", ("folium", "geopandas")),
    "web": Extra("a page in the browser", ("starlette", "uvicorn", "python_multipart")),
    "train": Extra("TensorBoard's curves while an upsampler is trained", ("tensorboard",)),
}


def extra_of(package: str) -> str | None:
    """The extra that a package belongs to, by its import name; None for required packages."""
    return next((name for name, extra in EXTRAS.items() if package in extra.packages), None)


def install_command(extra: str | None = None) -> str:
    """How to install a missing package, as a part of a sentence.

    Args:
        extra: a key of `EXTRAS`; None for segearth itself.
    """
    if from_script():
        return "run: pip install -r requirements.txt"
    if extra is None:
        return "install segearth again"
    here = f'pip install ".[{extra}]"'
    return f'run: pip install "segearth[{extra}]", or, in the folder that it was installed from: {here}'
