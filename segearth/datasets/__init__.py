"""The 17 data sets of the paper: each one described once, and everything that is made from the descriptions.

    description.py          what a description says
    multiclass.py binary.py the 8 + 9 descriptions; `DATASETS` is all of them, by the name of their config
    archives.py             folders, zip and tar files as one list of members, safely
    zips.py tars.py         what is in one of them; bounds.py how much may be, names.py under which names
    pairing.py              images with their labels, found and checked before anything is written
    labels.py               label files as class indices; polygons.py those of xBD's JSON files
    convert.py prepare.py   from pairs to the folder that a config reads (tools/prepare_dataset.py)
    padding.py              images that are nearly all black
    check.py                what is in such a folder (tools/check_dataset.py)
    places.py               where data lie that are not where a config looks for them
    guide.py                dataset_prepare.md
    samples/                small drawn downloads (tools/make_sample_data.py)

Nothing here needs OpenMMLab or torch.
"""

from segearth.datasets.binary import BINARY
from segearth.datasets.description import Description
from segearth.datasets.multiclass import MULTICLASS
from segearth.errors import UserError

DATASETS: dict[str, Description] = {one.name: one for one in (*MULTICLASS, *BINARY)}

__all__ = ["DATASETS", "Description", "describe"]


def describe(name: str) -> Description:
    """The description of a data set.

    Args:
        name: the name of its config without `cfg_` (and `.py`), such as "loveda"; upper or lower case.

    Raises:
        UserError: no such set.
    """
    wanted = name.removeprefix("cfg_").removesuffix(".py").removesuffix("_journal").lower()
    for key, one in DATASETS.items():
        if key.lower() == wanted:
            return one
    raise UserError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}; give such a name")
