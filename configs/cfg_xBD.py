"""xBD, before the disaster: test, images before the disaster; 933 images, 2 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_xBD.txt",
    prob_thd=0.0,  # SegEarth-OV's released settings
    cls_token_lambda=0,  # SegEarth-OV's released settings: for this set alone
)
test_dataloader = dict(
    dataset=dict(
        type="xBDDataset",
        data_prefix=dict(
            img_path="data/xBD/test/images_pre",
            seg_map_path="data/xBD/test/targets_cvt_pre",
        ),
    )
)
