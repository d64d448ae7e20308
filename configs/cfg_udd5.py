"""UDD5, validation split: 40 images, 5 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_udd5.txt",
    prob_thd=0.4,  # released setting of SegEarth-OV (CVPR 2025), cfg_udd5
    bg_idx=4,  # the same; class 4 is other
)
test_dataloader = dict(
    dataset=dict(
        type="UDD5Dataset",
        data_prefix=dict(img_path="data/UDD/UDD/UDD5/val/src", seg_map_path="data/UDD/UDD/UDD5/val/gt"),
    )
)
