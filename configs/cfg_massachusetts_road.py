"""Massachusetts road: the 49 test images, as in GRSet's validation set; 49 images, 2 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_roadval.txt",
    prob_thd=0.7,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="RoadValDataset",
        data_prefix=dict(
            img_path="data/GlobalRoadSet_Val/Massachusetts_test_49/img",
            seg_map_path="data/GlobalRoadSet_Val/Massachusetts_test_49/label_cvt",
        ),
    )
)
