"""OpenEarthMap."""

from segearth.datasets.description import RELEASED, Description, ExtraFile, ExtraPair, Files, Sample

_ARCHIVE = "OpenEarthMap.zip"
_INSIDE = "OpenEarthMap/OpenEarthMap_wo_xBD/"
_NAMES = b"koeln_50.tif\naachen_7.tif\ntokyo_12.tif\n"  # of the examples
_XBD = "santa-rosa-wildfire_00000001"  # an image of xBD, which the download lacks

DATASET = Description(
    name="openearthmap",
    title="OpenEarthMap",
    paper_order=1,
    summary='OpenEarthMap, validation split: 384 images (500 with those of xBD), 9 classes, "unknown" scored as '
    "background.",
    dataset_class="OpenEarthMapDataset",
    split="validation, as val.txt lists it",
    classes=("background", "bareland", "grass", "pavement", "road", "tree", "water", "cropland", "building"),
    palette=(
        *((0, 0, 0), (165, 110, 65), (140, 205, 80), (170, 150, 160), (240, 240, 240), (25, 115, 40)),
        *((40, 105, 215), (235, 200, 80), (210, 45, 40)),
    ),
    prompts="cls_openearthmap.txt",
    prob_thd=0.1,
    threshold_source=RELEASED,
    images=Files(_ARCHIVE, _INSIDE, "{region}/images/{stem}", (".tif",)),
    labels=(Files(_ARCHIVE, _INSIDE, "{region}/labels/{stem}", (".tif",)),),
    examples=(
        {"region": "koeln", "stem": "koeln_50"},
        {"region": "aachen", "stem": "aachen_7"},
        {"region": "tokyo", "stem": "tokyo_12"},
    ),
    split_files=("val.txt", "val_wo_xBD.txt"),
    labels_alone=True,
    encoding="index",
    sizes=((1024, 1024), (1000, 1000)),
    pairs=384,
    out_images="OpenEarthMap/img_dir/val",
    out_labels="OpenEarthMap/ann_dir/val",
    image_suffix=".tif",
    label_suffix=".tif",
    expected=(384, 500),
    source="https://zenodo.org/records/7223446",
    licence="differs by region: labels have the licence of their images, listed on "
    "https://open-earth-map.org/attribution.html, or CC BY-NC-SA 4.0 where the images are in the public domain or "
    "their licence is not stated (readme of https://github.com/bao18/open_earth_map)",
    size="9.1 GB",
    citation="Xia et al., OpenEarthMap: A Benchmark Dataset for Global High-Resolution Land Cover Mapping, WACV 2023",
    get="Download OpenEarthMap.zip.",
    notes=(
        "val.txt names 500 images; those of xBD have labels but no image in the download, and 384 remain. "
        "Others add the xBD images and evaluate 500: figures are comparable only for equal counts.",
        "Class 0, which the data set calls unknown, is scored as background, as in the published figures.",
    ),
    sample=Sample(
        land={
            **{"bareland": "bareland", "grass": "grass", "pavement": "pavement", "road": "road", "tree": "tree"},
            **{"water": "water", "cropland": "cropland", "building": "building"},
        },
        corner=True,
        extras=(
            ExtraPair({"region": "rio", "stem": "rio_1"}),
            ExtraPair({"region": "santa-rosa-wildfire", "stem": _XBD}, images=False),
            ExtraFile(_ARCHIVE, f"{_INSIDE}val.txt", _NAMES + f"{_XBD}.tif\n".encode()),
            ExtraFile(_ARCHIVE, f"{_INSIDE}val_wo_xBD.txt", _NAMES),
            ExtraFile(_ARCHIVE, f"{_INSIDE}train.txt", b"rio_1.tif\n"),
            ExtraFile(_ARCHIVE, f"{_INSIDE}test.txt", b"koeln_1.tif\n"),
            ExtraFile(_ARCHIVE, f"{_INSIDE}xbd_files.csv", f"{_XBD}_pre_disaster.png,{_XBD}.tif\n".encode()),
            ExtraFile(_ARCHIVE, f"{_INSIDE}readme.txt", b"A drawing in the layout of OpenEarthMap.\n"),
        ),
    ),
)
