"""iSAID."""

from segearth.datasets.description import RELEASED, Y_FIRST, Description, ExtraFile, Files, Mistake, Sample, Windows

_PALETTE = (
    *((0, 0, 0), (0, 0, 63), (0, 63, 63), (0, 63, 0), (0, 63, 127), (0, 63, 191), (0, 63, 255), (0, 127, 63)),
    *((0, 127, 127), (0, 0, 127), (0, 0, 191), (0, 0, 255), (0, 191, 127), (0, 127, 191), (0, 127, 255), (0, 100, 155)),
)

DATASET = Description(
    name="iSAID",
    title="iSAID",
    paper_order=3,
    summary="iSAID, validation split: 11644 windows, 16 classes.",
    dataset_class="iSAIDDataset",
    in_mmseg=True,
    split="validation",
    classes=(
        *("background", "ship", "store_tank", "baseball_diamond", "tennis_court", "basketball_court"),
        *("Ground_Track_Field", "Bridge", "Large_Vehicle", "Small_Vehicle", "Helicopter", "Swimming_pool"),
        *("Roundabout", "Soccer_ball_field", "plane", "Harbor"),
    ),
    palette=_PALETTE,
    prompts="cls_iSAID.txt",
    prob_thd=0.4,
    threshold_source=RELEASED,
    images=Files("val/images/part1.zip", "", "images/{stem}", (".png",)),
    labels=(Files("val/Semantic_masks/images.zip", "", "images/{stem}_instance_color_RGB", (".png",)),),
    fields={"stem": r"P\d+"},
    examples=({"stem": "P0003"}, {"stem": "P0004"}, {"stem": "P0007"}),
    skip=("train", "test", "instance_masks"),
    mistakes=(
        Mistake(
            "{stem}_instance_id_RGB.png",
            "these are iSAID's instance masks, whose colours number objects: give Semantic_masks/images.zip, "
            "with files ..._instance_color_RGB.png",
        ),
    ),
    encoding="palette",
    colours=tuple((colour, i) for i, colour in enumerate(_PALETTE)),
    sizes=((800, 800), (1024, 896), (3000, 4000), (13000, 13000)),
    pairs=458,
    windows=Windows((896, 896), (512, 512), Y_FIRST),
    out_images="iSAID/img_dir/val",
    out_labels="iSAID/ann_dir/val",
    label_suffix="_instance_color_RGB.png",
    expected=(11644,),
    source="https://captain-whu.github.io/iSAID/ (labels), https://captain-whu.github.io/DOTA/ (images: DOTA-v1.0)",
    licence="that of DOTA's images: for academic purposes only, any commercial use is prohibited",
    citation="Waqas Zamir et al., iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images, "
    "CVPRW 2019; Xia et al., DOTA: A Large-scale Dataset for Object Detection in Aerial Images, CVPR 2018",
    get="Download the validation images from DOTA-v1.0 (val/images/part1.zip) and the semantic masks from iSAID "
    "(val/Semantic_masks/images.zip), into folders of these names, and give their parent.",
    notes=(
        "Label colours that are no class become 255, ignored (the official converter makes them background).",
        "Some images are gray or have an alpha channel; they become RGB.",
    ),
    sample=Sample(
        land={"water": "background", "road": "background", "grass": "background", "car": "Small_Vehicle"},
        zoom=1.0,
        stray_colours=True,
        modes=("RGB", "L", "RGBA"),
        extras=(ExtraFile("val/Instance_masks/images.zip", "images/{stem}_instance_id_RGB.png", "instances"),),
    ),
)
