"""The numbers of the paper, to compare with.

Two editions are told apart: C is the CVPR 2025 paper (arXiv 2410.01768), J the journal extension (arXiv 2508.18067).
They differ in the prompts of Potsdam and Vaihingen alone: configs named `_journal` have J's. A number that is not in
`segearth/data/published.csv` was not seen in a source.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from segearth import weights

# Sets over which the paper forms its average of mIoU. It is published with C's prompts; of the nine sets with one
# class no average was seen.
AVERAGED = ("openearthmap", "loveda", "iSAID", "potsdam", "vaihingen", "uavid", "udd5", "vdd")

# What a reader of SegEarth-OV's difference should know, by set.
NOTES = {
    "openearthmap": "with the 384 of 500 images that are not from xBD, others found 39.8",
    "xBD": "the journal edition states a [CLS] factor of -0.3 for all sets, the released config has 0",
    "udd5": "others found mIoU 50.55, aAcc 74.86 and mAcc 66.15",
    "potsdam": "prompts of edition C (48.5, which later repositories print, is with J's)",
    "vaihingen": "prompts of edition C (40.0, which later repositories print, is with J's)",
}


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        value: mIoU, or IoU of the foreground for sets with one class, in percent.
        edition: "C", "J", "C, J" for both; "" where it was not stated.
    """

    value: float
    edition: str


def published(method: str, dataset: str) -> Published | None:
    """The number of a row and column of the paper's tables; None if none was seen.

    Args:
        method: the name of a row, see `segearth.paper.table_rows`.
        dataset: the name of a config without `cfg_`, or "average".
    """
    return _numbers().get((method, dataset))


@cache
def _numbers() -> dict[tuple[str, str], Published]:
    with weights.packaged("published.csv").open(encoding="utf-8", newline="") as file:
        return {
            (line["method"], line["dataset"]): Published(float(line["value"]), line["edition"])
            for line in csv.DictReader(file)
        }
