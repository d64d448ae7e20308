"""WHU Aerial, validation split: 1036 images, buildings."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_whu.txt",
    prob_thd=0.6,  # released setting of SegEarth-OV (CVPR 2025), cfg_whu_aerial
)
test_dataloader = dict(
    dataset=dict(
        type="WHUDataset",
        data_prefix=dict(img_path="data/WHU-BD/val/image", seg_map_path="data/WHU-BD/val/label_cvt"),
    )
)
