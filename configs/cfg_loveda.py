"""LoveDA, validation split: 1669 images, 7 classes; pixels without data are ignored."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_loveda.txt",
    prob_thd=0.3,  # released setting of SegEarth-OV (CVPR 2025), cfg_loveda
)
test_dataloader = dict(
    dataset=dict(
        type="LoveDADataset",
        data_prefix=dict(img_path="data/LoveDA/img_dir/val", seg_map_path="data/LoveDA/ann_dir/val"),
    )
)
