"""WHU Aerial: validation; 1036 images, 2 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_whu.txt",
    prob_thd=0.6,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="WHUDataset",
        data_prefix=dict(
            img_path="data/WHU-BD/val/image",
            seg_map_path="data/WHU-BD/val/label_cvt",
        ),
    )
)
