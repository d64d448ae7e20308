"""ISPRS Potsdam: the 14 tiles of the usual test split; 2016 images, 6 classes, pixels of value 0 ignored."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_potsdam.txt",
    prob_thd=0.1,  # SegEarth-OV's released settings
    bg_idx=5,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="PotsdamDataset",
        data_prefix=dict(
            img_path="data/potsdam/img_dir/val",
            seg_map_path="data/potsdam/ann_dir/val",
        ),
    )
)
