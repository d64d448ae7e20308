"""ISPRS Potsdam with the prompts of the journal edition (arXiv 2508.18067), the same for both ISPRS sets."""

_base_ = "./cfg_potsdam.py"

model = dict(name_path="./configs/cls_potsdam_journal.txt")
