"""ISPRS Vaihingen with the prompts of the journal edition: 398 windows, 6 classes; pixels of value 0 are ignored.

That edition (arXiv 2508.18067) has the same prompts for both ISPRS sets. With them it prints an mIoU of 40.0 for
SegEarth-OV, where CVPR 2025 has 29.1 with its own: figures of the two are not comparable. All else is of cfg_vaihingen.
"""

_base_ = "./cfg_vaihingen.py"

# prompts of arXiv 2508.18067; prob_thd and bg_idx stay
model = dict(name_path="./configs/cls_vaihingen_journal.txt")
