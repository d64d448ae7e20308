"""CHN6-CUG, validation split: 903 images, roads."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_chn6-cug.txt",
    prob_thd=0.8,  # released setting of SegEarth-OV (CVPR 2025), cfg_chn6-cug
)
test_dataloader = dict(
    dataset=dict(
        type="CHN6_CUGDataset",
        data_prefix=dict(img_path="data/CHN6-CUG/val/image_cvt", seg_map_path="data/CHN6-CUG/val/label_cvt"),
    )
)
