"""SpaceNet road: 567 images of GRSet's validation set; 567 images, 2 classes."""

_base_ = "./base_config.py"

model = dict(
    name_path="./configs/cls_roadval.txt",
    prob_thd=0.7,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="RoadValDataset",
        data_prefix=dict(
            img_path="data/GlobalRoadSet_Val/SpaceNet_test_567/img",
            seg_map_path="data/GlobalRoadSet_Val/SpaceNet_test_567/label_cvt",
        ),
    )
)
