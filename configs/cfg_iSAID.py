"""iSAID, validation split: 11644 windows, 16 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_iSAID.txt",
    prob_thd=0.4,  # released setting of SegEarth-OV (CVPR 2025), cfg_iSAID
)
test_dataloader = dict(
    dataset=dict(
        type="iSAIDDataset",
        data_prefix=dict(img_path="data/iSAID/img_dir/val", seg_map_path="data/iSAID/ann_dir/val"),
    )
)
