"""ISPRS Vaihingen, the 17 areas of the usual test split: 398 windows, 6 classes; pixels of value 0 are ignored."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_vaihingen.txt",
    prob_thd=0.1,  # released setting of SegEarth-OV (CVPR 2025), cfg_vaihingen
    bg_idx=5,  # the same; class 5 is clutter
)
test_dataloader = dict(
    dataset=dict(
        type="ISPRSDataset",
        data_prefix=dict(img_path="data/vaihingen/img_dir/val", seg_map_path="data/vaihingen/ann_dir/val"),
    )
)
