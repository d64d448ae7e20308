"""UAVid, images of the test split: 1020 windows, 7 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_uavid.txt",
    prob_thd=0.3,  # released setting of SegEarth-OV (CVPR 2025), cfg_uavid
)
test_dataloader = dict(
    dataset=dict(
        type="UAVidDataset",
        data_prefix=dict(img_path="data/UAVid/img_dir/test", seg_map_path="data/UAVid/ann_dir/test"),
    )
)
