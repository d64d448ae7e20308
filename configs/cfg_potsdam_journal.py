"""ISPRS Potsdam with the prompts of the journal edition: 2016 windows, 6 classes; pixels of value 0 are ignored.

That edition (arXiv 2508.18067) has the same prompts for both ISPRS sets. With them it prints an mIoU of 48.5 for
SegEarth-OV, where CVPR 2025 has 47.1 with its own: figures of the two are not comparable. All else is of cfg_potsdam.
"""

_base_ = "./cfg_potsdam.py"

# prompts of arXiv 2508.18067; prob_thd and bg_idx stay
model = dict(name_path="./configs/cls_potsdam_journal.txt")
