"""ISPRS Potsdam, the 14 tiles of the usual test split: 2016 windows, 6 classes; pixels of value 0 are ignored."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_potsdam.txt",
    prob_thd=0.1,  # released setting of SegEarth-OV (CVPR 2025), cfg_potsdam
    bg_idx=5,  # the same; class 5 is clutter
)
test_dataloader = dict(
    dataset=dict(
        type="PotsdamDataset",
        data_prefix=dict(img_path="data/potsdam/img_dir/val", seg_map_path="data/potsdam/ann_dir/val"),
    )
)
