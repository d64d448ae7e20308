"""ISPRS Vaihingen."""

from segearth.datasets.description import (
    RELEASED,
    X_FIRST,
    Description,
    ExtraFile,
    ExtraPair,
    Files,
    Mistake,
    Sample,
    Variant,
    Windows,
)
from segearth.datasets.sets import _isprs

_ARCHIVE = "ISPRS_semantic_labeling_Vaihingen.zip"
_WITH_BOUNDARIES = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"

DATASET = Description(
    name="vaihingen",
    title="ISPRS Vaihingen",
    paper_order=5,
    summary="ISPRS Vaihingen, the 17 areas of the usual test split: 398 windows, 6 classes; pixels of value 0 are "
    "ignored.",
    dataset_class="ISPRSDataset",
    in_mmseg=True,
    split="the 17 areas of the usual test split",
    classes=_isprs.CLASSES,
    palette=_isprs.PALETTE,
    prompts="cls_vaihingen.txt",
    prob_thd=0.1,
    threshold_source=RELEASED,
    bg_idx=5,
    variants=(
        Variant(
            name="vaihingen_journal",
            summary="ISPRS Vaihingen with the prompts of the journal edition: 398 windows, 6 classes; pixels of value "
            "0 are ignored.",
            about="That edition (arXiv 2508.18067) has the same prompts for both ISPRS sets. With them it prints an "
            "mIoU of 40.0 for SegEarth-OV, where CVPR 2025 has 29.1 with its own: figures of the two are not "
            "comparable. All else is of cfg_vaihingen.",
            prompts="cls_vaihingen_journal.txt",
            source="prompts of arXiv 2508.18067",
        ),
    ),
    reduce_zero_label=True,
    images=Files(_ARCHIVE, "", "top/top_mosaic_09cm_area{area}", (".tif",)),
    labels=(
        Files(
            "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip",
            "",
            "top_mosaic_09cm_area{area}_noBoundary",
            (".tif",),
        ),
        Files(
            f"{_WITH_BOUNDARIES}.zip",
            "",
            _WITH_BOUNDARIES + "/top_mosaic_09cm_area{area}",
            (".tif",),
            note=_isprs.BOUNDARY,
        ),
    ),
    fields={"area": r"\d+"},
    key="area{area}",
    examples=({"area": "2"}, {"area": "12"}, {"area": "35"}),
    keys=tuple(f"area{n}" for n in (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)),
    labels_alone=True,
    mistakes=(
        Mistake(
            "top_mosaic_09cm_area{area}.tif",
            "files with names like top_mosaic_09cm_area2.tif are images in a folder called top, and labels with "
            "boundaries in one called ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE: elsewhere nothing "
            "tells them apart",
        ),
    ),
    encoding="palette",
    colours=_isprs.COLOURS,
    sizes=(
        *((2767, 2428), (2557, 1887), (2557, 1887), (2557, 1887), (2557, 1887), (2575, 1922), (2565, 1919)),
        *((2565, 1919), (2315, 1866), (2546, 1903), (2546, 1903), (3313, 1917), (2563, 1917), (2555, 1980)),
        *((2555, 1581), (1884, 2805), (2550, 3816)),
    ),
    pairs=17,
    windows=Windows((512, 512), (512, 512), X_FIRST),
    out_images="vaihingen/img_dir/val",
    out_labels="vaihingen/ann_dir/val",
    expected=(398,),
    source=_isprs.SOURCE,
    licence="for research only, not to be given to third parties, and DGPF is to be told of papers based on it, "
    "says LICENSE-THIRD-PARTY.md of https://github.com/microsoft/pytorch-cloud-geotiff-optimization",
    citation=_isprs.CITATION,
    get="Request the download from ISPRS, and take ISPRS_semantic_labeling_Vaihingen.zip and "
    "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip from it.",
    notes=(
        "Images are infrared, red, green, and are used as if they were RGB: do not reorder the bands.",
        "The eroded labels are the ones that are scored; black is ignored.",
    ),
    sample=Sample(
        land=_isprs.LAND,
        zoom=1.0,
        infrared=True,
        extras=(
            ExtraPair({"area": "1"}),  # of the training split
            ExtraPair({"area": "9"}, images=False),
            ExtraFile(_ARCHIVE, "dsm/dsm_09cm_matching_area1.tif", "heights"),
            ExtraFile(_ARCHIVE, "gts_for_participants/top_mosaic_09cm_area1.tif", "label"),
            ExtraFile(f"{_WITH_BOUNDARIES}.zip", f"{_WITH_BOUNDARIES}/top_mosaic_09cm_area2.tif", "label"),
        ),
    ),
)
