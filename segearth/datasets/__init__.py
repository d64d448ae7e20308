"""The data sets: each one described once, and everything that is made from the descriptions.

    description.py          what a description says
    sets/                   the descriptions, a module each; `DATASETS` is all of them by the name of their config,
                            `PAPER_DATASETS` the names of the 17 of the paper
    archives.py             folders, zip and tar files as one list of members, safely
    zips.py tars.py         what is in one of them; bounds.py how much may be, names.py under which names
    pairing.py              images with their labels, found and checked before anything is written
    labels.py               label files as class indices; polygons.py those of xBD's JSON files
    convert.py prepare.py   from pairs to the folder that a config reads (tools/prepare_dataset.py)
    padding.py              images that are nearly all black
    check.py                what is in such a folder (tools/check_dataset.py)
    places.py               where data lie that are not where a config looks for them
    samples/                small drawn downloads (tools/make_sample_data.py)

The configs and dataset_prepare.md are made from the descriptions, too (tools/dataset_files.py). Nothing here needs
OpenMMLab or torch.
"""

import math
import pkgutil
from importlib import import_module

from segearth.datasets import sets
from segearth.datasets.description import Description
from segearth.errors import UserError


def read_descriptions() -> dict[str, Description]:
    """The descriptions in `segearth.datasets.sets` by name: the sets of the paper in its order, then the others."""
    modules = [module.name for module in pkgutil.iter_modules(sets.__path__) if not module.name.startswith("_")]
    specs: list[Description] = [import_module(f"{sets.__name__}.{module}").DATASET for module in modules]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: (spec.paper_order or math.inf, spec.name))}


DATASETS = read_descriptions()
PAPER_DATASETS = tuple(name for name, spec in DATASETS.items() if spec.paper_order)

__all__ = ["DATASETS", "PAPER_DATASETS", "Description", "dataset_classes", "describe", "read_descriptions"]


def dataset_classes() -> dict[str, Description]:
    """The classes that mmsegmentation lacks, by name, with the first description of each."""
    return {spec.dataset_class: spec for spec in reversed(DATASETS.values()) if not spec.in_mmseg}


def describe(name: str) -> Description:
    """The description of a data set.

    Args:
        name: the name of a config of it without `cfg_` (and `.py`), such as "loveda"; upper or lower case.

    Raises:
        UserError: no such set.
    """
    wanted = name.removeprefix("cfg_").removesuffix(".py").lower()
    for spec in DATASETS.values():
        if wanted in (spec.name.lower(), *(variant.name.lower() for variant in spec.variants)):
            return spec
    raise UserError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}; give such a name")
