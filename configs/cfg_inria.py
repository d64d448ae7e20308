"""Inria Aerial Image Labeling, split_test of FCtL, 27 of the 180 labelled tiles: 675 windows, buildings."""

_base_ = "./base_config.py"

root = "data/Inria/AerialImageDataset/train"
model = dict(
    name_path="./configs/cls_inria.txt",
    prob_thd=0.6,  # released setting of SegEarth-OV (CVPR 2025), cfg_inria
)
test_dataloader = dict(
    dataset=dict(
        type="InriaDataset",
        data_prefix=dict(img_path=root + "/img_dir/split_test", seg_map_path=root + "/ann_dir/split_test"),
    )
)
