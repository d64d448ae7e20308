"""FLAIR #1, test split: 15700 images, 12 classes; pixels of the other 7 classes are ignored."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_flair1.txt",
    prob_thd=0.0,  # no threshold was published; no class is a background
)
test_dataloader = dict(
    dataset=dict(
        type="FLAIR1Dataset",
        data_prefix=dict(img_path="data/FLAIR1/img_dir/test", seg_map_path="data/FLAIR1/ann_dir/test"),
    )
)
