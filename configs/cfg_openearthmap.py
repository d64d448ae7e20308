"""OpenEarthMap, validation split: 384 images (500 with those of xBD), 9 classes, "unknown" scored as background."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_openearthmap.txt",
    prob_thd=0.1,  # released setting of SegEarth-OV (CVPR 2025), cfg_openearthmap
)
test_dataloader = dict(
    dataset=dict(
        type="OpenEarthMapDataset",
        data_prefix=dict(img_path="data/OpenEarthMap/img_dir/val", seg_map_path="data/OpenEarthMap/ann_dir/val"),
    )
)
