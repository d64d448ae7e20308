"""VDD, test split (most other work evaluates the validation split): 40 images, 7 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_vdd.txt",
    prob_thd=0.3,  # released setting of SegEarth-OV (CVPR 2025), cfg_vdd
)
test_dataloader = dict(
    dataset=dict(
        type="VDDDataset",
        data_prefix=dict(img_path="data/VDD/test/src", seg_map_path="data/VDD/test/gt"),
    )
)
