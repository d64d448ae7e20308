"""UAVid."""

from segearth.datasets.description import RELEASED, Y_FIRST, Description, ExtraFile, Files, Sample, Windows

_PALETTE = ((0, 0, 0), (128, 0, 0), (128, 64, 128), (192, 0, 192), (0, 128, 0), (128, 128, 0), (64, 64, 0))

DATASET = Description(
    name="uavid",
    title="UAVid",
    paper_order=6,
    summary="UAVid, images of the test split: 1020 windows, 7 classes.",
    dataset_class="UAVidDataset",
    split="test (images)",
    classes=("background", "building", "road", "car", "tree", "vegetation", "human"),
    palette=_PALETTE,
    prompts="cls_uavid.txt",
    prob_thd=0.3,
    threshold_source=RELEASED,
    images=Files("test_gt.zip", "test_gt/", "seq{seq}/Images/{frame}", (".png",)),
    labels=(Files("test_gt.zip", "test_gt/", "seq{seq}/Labels/{frame}", (".png",)),),
    fields={"seq": r"\d+", "frame": r"\d+"},
    key="seq{seq}_{frame}",
    examples=(
        {"seq": "21", "frame": "000000"},
        {"seq": "21", "frame": "000100"},
        {"seq": "22", "frame": "000000"},
    ),
    skip=("uavid_train", "uavid_val", "train", "val", "valid"),
    encoding="palette",
    colours=(*((colour, i) for i, colour in enumerate(_PALETTE)), ((64, 0, 128), 3)),
    sizes=((2160, 3840), (2160, 4096)),
    pairs=150,
    windows=Windows((1080, 1280), (1080, 1280), Y_FIRST),
    out_images="UAVid/img_dir/test",
    out_labels="UAVid/ann_dir/test",
    expected=(1020,),
    source="https://uavid.nl/",
    licence="CC BY-NC-SA 4.0, says https://huggingface.co/datasets/dronefreak/UAVid-2020, an unofficial copy",
    citation="Lyu et al., UAVid: A semantic segmentation dataset for UAV imagery, ISPRS Journal 2020",
    get="Download the labelled test set, test_gt (seq<N>/Images and seq<N>/Labels).",
    notes=(
        "Older releases have no labels of the test images: take the one with test_gt.",
        "Static and moving cars are one class, car.",
        "Windows of the images that are 4096 wide overlap: 1024 columns are scored twice, as published.",
    ),
    sample=Sample(
        land={
            **{"building": "building", "road": "road", "tree": "tree", "grass": "vegetation", "cropland": "vegetation"},
            "car": "car",
        },
        zoom=2.0,
        extras=(ExtraFile("test_gt.zip", "test_gt/seq{seq}/TrainId/{frame}.png", "indices"),),
    ),
)
