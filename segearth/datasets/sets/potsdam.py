"""ISPRS Potsdam."""

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

_WORLD_FILE = b"0.05\n0.0\n0.0\n-0.05\n366676.4\n5808467.5\n"

DATASET = Description(
    name="potsdam",
    title="ISPRS Potsdam",
    paper_order=4,
    summary="ISPRS Potsdam, the 14 tiles of the usual test split: 2016 windows, 6 classes; pixels of value 0 are "
    "ignored.",
    dataset_class="PotsdamDataset",
    in_mmseg=True,
    split="the 14 tiles of the usual test split",
    classes=_isprs.CLASSES,
    palette=_isprs.PALETTE,
    prompts="cls_potsdam.txt",
    prob_thd=0.1,
    threshold_source=RELEASED,
    bg_idx=5,
    variants=(
        Variant(
            name="potsdam_journal",
            summary="ISPRS Potsdam with the prompts of the journal edition: 2016 windows, 6 classes; pixels of value "
            "0 are ignored.",
            about="That edition (arXiv 2508.18067) has the same prompts for both ISPRS sets. With them it prints an "
            "mIoU of 48.5 for SegEarth-OV, where CVPR 2025 has 47.1 with its own: figures of the two are not "
            "comparable. All else is of cfg_potsdam.",
            prompts="cls_potsdam_journal.txt",
            source="prompts of arXiv 2508.18067",
        ),
    ),
    reduce_zero_label=True,
    images=Files("2_Ortho_RGB.zip", "2_Ortho_RGB/", "top_potsdam_{stem}_RGB", (".tif",)),
    labels=(
        Files("5_Labels_all_noBoundary.zip", "", "top_potsdam_{stem}_label_noBoundary", (".tif",)),
        Files("5_Labels_all.zip", "", "top_potsdam_{stem}_label", (".tif",), note=_isprs.BOUNDARY),
    ),
    fields={"stem": r"\d+_\d+"},
    examples=({"stem": "2_13"}, {"stem": "2_14"}, {"stem": "3_13"}),
    keys=(
        *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15", "5_13", "5_14", "5_15", "6_13", "6_14", "6_15"),
        "7_13",
    ),
    mistakes=(
        Mistake("top_potsdam_{stem}_RGBIR.tif", "these images have an infrared band: give 2_Ortho_RGB.zip"),
        Mistake("top_potsdam_{stem}_IRRG.tif", "these images are infrared: give 2_Ortho_RGB.zip"),
    ),
    encoding="palette",
    colours=_isprs.COLOURS,
    sizes=((6000, 6000),),
    pairs=14,
    windows=Windows((512, 512), (512, 512), X_FIRST),
    out_images="potsdam/img_dir/val",
    out_labels="potsdam/ann_dir/val",
    expected=(2016,),
    source=_isprs.SOURCE,
    citation=_isprs.CITATION,
    get="Request the download from ISPRS, and take 2_Ortho_RGB.zip and 5_Labels_all_noBoundary.zip from it.",
    notes=(
        "The labels without boundaries are the ones that are scored; black is ignored.",
        "Some label tiles of the training split are reported to hold other colours; none of them is used here.",
    ),
    sample=Sample(
        land=_isprs.LAND,
        zoom=1.0,
        extras=(
            ExtraPair({"stem": "2_10"}),  # of the training split, one with stray colours
            ExtraPair({"stem": "4_12"}),
            ExtraFile("5_Labels_all_noBoundary.zip", "top_potsdam_4_12_label_noBoundary.tif", "stray label"),
            ExtraFile("2_Ortho_RGB.zip", "2_Ortho_RGB/top_potsdam_{stem}_RGB.tfw", _WORLD_FILE),
            ExtraFile("5_Labels_all.zip", "top_potsdam_{stem}_label.tif", "red label"),
            ExtraFile("4_Ortho_RGBIR.zip", "4_Ortho_RGBIR/top_potsdam_{stem}_RGBIR.tif", "four bands"),
        ),
    ),
)
