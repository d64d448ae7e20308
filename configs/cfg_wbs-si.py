"""WBS-SI, a list of 499 images for validation: water bodies."""

_base_ = "./base_config.py"

root = "data/water-body-segmentation-in-satellite-images/WaterBodiesDatasetPreprocessed/WaterBodiesDatasetPreprocessed"
model = dict(
    name_path="./configs/cls_wbs-si.txt",
    prob_thd=0.6,  # released setting of SegEarth-OV (CVPR 2025), cfg_wbs-si
)
test_dataloader = dict(
    dataset=dict(
        type="WaterDataset",
        data_prefix=dict(img_path=root + "/Images", seg_map_path=root + "/Masks_cvt"),
    )
)
