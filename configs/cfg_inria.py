"""Inria Aerial Image Labeling: split_test of FCtL: 27 of the 180 labelled tiles; 675 images, 2 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_inria.txt",
    prob_thd=0.6,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="InriaDataset",
        data_prefix=dict(
            img_path="data/Inria/AerialImageDataset/train/img_dir/split_test",
            seg_map_path="data/Inria/AerialImageDataset/train/ann_dir/split_test",
        ),
    )
)
