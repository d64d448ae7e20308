"""VDD: test (most other work evaluates val); 40 images, 7 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_vdd.txt",
    prob_thd=0.3,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="VDDDataset",
        data_prefix=dict(
            img_path="data/VDD/test/src",
            seg_map_path="data/VDD/test/gt",
        ),
    )
)
