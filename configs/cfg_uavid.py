"""UAVid: test (images); 1020 images, 7 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_uavid.txt",
    prob_thd=0.3,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="UAVidDataset",
        data_prefix=dict(
            img_path="data/UAVid/img_dir/test",
            seg_map_path="data/UAVid/ann_dir/test",
        ),
    )
)
