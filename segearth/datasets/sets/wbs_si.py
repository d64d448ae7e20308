"""WBS-SI (water bodies)."""

from importlib.resources import files

from segearth.datasets.description import JPEG, RELEASED, Description, ExtraPair, Files, Sample

_INSIDE = "Water Bodies Dataset Preprocessed/Water Bodies Dataset Preprocessed/"
_FOLDER = "water-body-segmentation-in-satellite-images/WaterBodiesDatasetPreprocessed/WaterBodiesDatasetPreprocessed"


def _stems() -> tuple[str, ...]:
    """The 499 images that are evaluated."""
    text = (files("segearth") / "data" / "wbs-si_val.txt").read_text(encoding="ascii")
    return tuple(text.split())


DATASET = Description(
    name="wbs-si",
    title="WBS-SI (water bodies)",
    paper_order=17,
    summary="WBS-SI, a list of 499 images for validation: water bodies.",
    dataset_class="WaterDataset",
    split="validation, a list of 499",
    classes=("background", "water"),
    palette=((0, 0, 0), (40, 105, 215)),
    prompts="cls_wbs-si.txt",
    prob_thd=0.6,
    threshold_source=RELEASED,
    images=Files(
        "archive.zip",
        "Water Bodies Dataset Preprocessed/Water Bodies Dataset Preprocessed/",
        "Images/{stem}",
        JPEG,
    ),
    labels=(
        Files(
            "archive.zip",
            _INSIDE,
            "Masks/{stem}",
            JPEG,
        ),
    ),
    fields={"stem": r"water_body_\d+"},
    examples=({"stem": "water_body_8"}, {"stem": "water_body_14"}, {"stem": "water_body_16"}),
    keys=_stems(),
    encoding="binary",
    sizes=((253, 252), (300, 400), (512, 512)),
    pairs=499,
    out_images=f"{_FOLDER}/Images",
    out_labels=f"{_FOLDER}/Masks_cvt",
    image_suffix=".jpg",
    expected=(499,),
    source="https://www.kaggle.com/datasets/shirshmall/water-body-segmentation-in-satellite-images",
    citation="Shirshmall, Water Body Segmentation in Satellite Images, Kaggle",
    get="Download the archive from Kaggle.",
    notes=(
        "Masks are JPEG and are cut at 128. The official converter saves its 0/1 labels as JPEG again, which "
        "changes 0.4 to 6 % of the pixels; here they are PNG, and figures differ slightly.",
        'The set "Satellite Images of Water Bodies" has the same names but may have other pixels: another set.',
    ),
    sample=Sample(
        extras=(  # images of the training split lie in the same folders
            ExtraPair({"stem": "water_body_1"}),
            ExtraPair({"stem": "water_body_2"}),
        )
    ),
)
