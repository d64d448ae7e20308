"""SpaceNet road, as in GRSet's validation set: 567 images, roads."""

_base_ = "./base_config.py"

root = "data/GlobalRoadSet_Val/SpaceNet_test_567"
model = dict(
    name_path="./configs/cls_roadval.txt",
    prob_thd=0.7,  # released setting of SegEarth-OV (CVPR 2025), cfg_spacenet_road
)
test_dataloader = dict(
    dataset=dict(
        type="RoadValDataset",
        data_prefix=dict(img_path=root + "/img", seg_map_path=root + "/label_cvt"),
    )
)
