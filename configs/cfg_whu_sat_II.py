"""WHU Satellite II (East Asia), test split, as there is no validation split: 3726 images, buildings."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_whu.txt",
    prob_thd=0.7,  # released setting of SegEarth-OV (CVPR 2025), cfg_whu_sat_II
)
test_dataloader = dict(
    dataset=dict(
        type="WHUDataset",
        img_suffix=".tif",
        seg_map_suffix=".tif",
        data_prefix=dict(img_path="data/WHU_Sat_II/test/image", seg_map_path="data/WHU_Sat_II/test/label_cvt"),
    )
)
