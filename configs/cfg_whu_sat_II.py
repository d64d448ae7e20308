"""WHU Satellite II (East Asia): test (there is no validation split); 3726 images, 2 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_whu.txt",
    prob_thd=0.7,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="WHUDataset",
        img_suffix=".tif",
        seg_map_suffix=".tif",
        data_prefix=dict(
            img_path="data/WHU_Sat_II/test/image",
            seg_map_path="data/WHU_Sat_II/test/label_cvt",
        ),
    )
)
