"""xBD, images before the disaster of the test split: 933 images, buildings."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_xBD.txt",
    prob_thd=0.0,  # released setting of SegEarth-OV (CVPR 2025), cfg_xBD
    cls_token_lambda=0,  # the same; for this set alone
)
test_dataloader = dict(
    dataset=dict(
        type="xBDDataset",
        data_prefix=dict(img_path="data/xBD/test/images_pre", seg_map_path="data/xBD/test/targets_cvt_pre"),
    )
)
