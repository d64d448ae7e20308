"""OpenEarthMap, validation split: 384 images without those of xBD, 500 with them; 9 classes.

Class 0, "unknown" in the data set, is scored as background, as in the published figures.
"""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_openearthmap.txt",
    prob_thd=0.1,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="OpenEarthMapDataset",
        data_prefix=dict(img_path="data/OpenEarthMap/img_dir/val", seg_map_path="data/OpenEarthMap/ann_dir/val"),
    )
)
