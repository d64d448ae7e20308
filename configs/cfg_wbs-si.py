"""WBS-SI (water bodies): validation, a list of 499; 499 images, 2 classes."""

_base_ = "./base_config.py"

folder = (
    "data/water-body-segmentation-in-satellite-images/WaterBodiesDatasetPreprocessed/WaterBodiesDatasetPreprocessed"
)
model = dict(
    name_path="./configs/cls_wbs-si.txt",
    prob_thd=0.6,  # SegEarth-OV's released settings
)
test_dataloader = dict(
    dataset=dict(
        type="WaterDataset",
        data_prefix=dict(
            img_path=folder + "/Images",
            seg_map_path=folder + "/Masks_cvt",
        ),
    )
)
