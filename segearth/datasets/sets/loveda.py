"""LoveDA."""

from segearth.datasets.description import RELEASED, Description, ExtraPair, Files, Mistake, Sample

DATASET = Description(
    name="loveda",
    title="LoveDA",
    paper_order=2,
    summary="LoveDA, validation split: 1669 images, 7 classes; pixels without data are ignored.",
    dataset_class="LoveDADataset",
    in_mmseg=True,
    split="validation, rural and urban",
    classes=("background", "building", "road", "water", "barren", "forest", "agricultural"),
    palette=(
        *((255, 255, 255), (255, 0, 0), (255, 255, 0), (0, 0, 255), (159, 129, 183), (0, 255, 0)),
        (255, 195, 128),
    ),
    prompts="cls_loveda.txt",
    prob_thd=0.3,
    threshold_source=RELEASED,
    reduce_zero_label=True,
    images=Files("Val.zip", "", "Val/{scene}/images_png/{stem}", (".png",)),
    labels=(Files("Val.zip", "", "Val/{scene}/masks_png/{stem}", (".png",)),),
    fields={"scene": "Rural|Urban"},
    examples=(
        {"scene": "Rural", "stem": "2522"},
        {"scene": "Rural", "stem": "2523"},
        {"scene": "Urban", "stem": "3514"},
    ),
    mistakes=(
        Mistake("Train/{scene}/images_png/{stem}.png", "this is LoveDA's Train.zip: give Val.zip"),
        Mistake("Test/{scene}/images_png/{stem}.png", "this is LoveDA's Test.zip, without labels: give Val.zip"),
    ),
    encoding="index",
    sizes=((1024, 1024),),
    pairs=1669,
    out_images="LoveDA/img_dir/val",
    out_labels="LoveDA/ann_dir/val",
    expected=(1669,),
    source="https://zenodo.org/records/5706578",
    licence="CC BY-NC-SA 4.0",
    size="2.4 GB (Val.zip alone)",
    citation="Wang et al., LoveDA: A Remote Sensing Land-Cover Dataset for Domain Adaptive Semantic Segmentation, "
    "NeurIPS 2021 Datasets and Benchmarks",
    get="Download Val.zip (MD5 84cae2577468ff0b5386758bb386d31d); Train.zip and Test.zip are not needed.",
    notes=("Pixels without data are 0 in the files and are ignored; classes are 1 to 7.",),
    sample=Sample(
        land={
            **{"building": "building", "road": "road", "water": "water", "bareland": "barren"},
            **{"tree": "forest", "cropland": "agricultural"},
        },
        corner=True,
        extras=(  # the archives of other splits
            ExtraPair({"scene": "Rural", "stem": "0"}, ("Val", "Train")),
            ExtraPair({"scene": "Rural", "stem": "0"}, ("Val", "Test"), labels=False),
        ),
    ),
)
