"""FLAIR #1."""

from segearth.datasets.description import Description, ExtraPair, Files, Sample

_IMAGES, _LABELS = "flair_1_aerial_test", "flair_1_labels_test"

DATASET = Description(
    name="flair1",
    title="FLAIR #1",
    summary="FLAIR #1, test split: 15700 images, 12 classes; pixels of the other 7 classes are ignored.",
    dataset_class="FLAIR1Dataset",
    split="test, 10 domains",
    classes=(
        *("building", "pervious surface", "impervious surface", "bare soil", "water", "coniferous", "deciduous"),
        *("brushwood", "vineyard", "herbaceous vegetation", "agricultural land", "plowed land"),
    ),
    palette=(
        *((219, 14, 154), (147, 142, 123), (248, 12, 0), (169, 113, 1), (21, 83, 174), (25, 74, 38), (70, 228, 131)),
        *((243, 166, 13), (102, 0, 130), (85, 255, 0), (255, 243, 13), (228, 223, 124)),
    ),
    prompts="cls_flair1.txt",
    prob_thd=0.0,
    threshold_source="no threshold was published; no class is a background",
    reduce_zero_label=True,
    ignored=tuple(range(13, 20)),
    images=Files(f"{_IMAGES}.zip", f"{_IMAGES}/D012_2019/Z10_UU/img/", "IMG_{stem}", (".tif",), bands=5),
    labels=(Files(f"{_LABELS}.zip", f"{_LABELS}/D012_2019/Z10_UU/msk/", "MSK_{stem}", (".tif",)),),
    fields={"stem": r"\d+"},
    examples=({"stem": "062613"}, {"stem": "062614"}, {"stem": "062615"}),
    skip=("flair_aerial_train", "flair_labels_train", "flair_1_toy_dataset", "train-val", "flair#2-test"),
    encoding="index",
    sizes=((512, 512),),
    pairs=15700,
    out_images="FLAIR1/img_dir/test",
    out_labels="FLAIR1/ann_dir/test",
    expected=(15700,),
    source="https://ignf.github.io/FLAIR/FLAIR1/flair_1.html, or https://huggingface.co/datasets/IGNF/FLAIR",
    licence="Licence Ouverte 2.0 (Etalab), says the readme of https://github.com/IGNF/FLAIR-1",
    size="13.5 GB",
    citation="Garioud et al., FLAIR #1: semantic segmentation and domain adaptation dataset, arXiv 2211.12979",
    get="Download flair_1_aerial_test.zip and flair_1_labels_test.zip.",
    notes=(
        "This set is not in the tables of the paper: an evaluation of all sets leaves it out unless it is named.",
        "Images have 5 bands (red, green, blue, near infrared, height above ground), of which the first three are "
        "used; they become PNG.",
        "Classes are 1 to 12 in the files. Values 13 to 19 (swimming pool, snow, clear cut, mixed, ligneous, "
        "greenhouse, other) are ignored, as users of open-vocabulary benchmarks with 12 classes report; IGN's own "
        "baselines score them as a 13th class, so figures are not comparable with theirs.",
        "No prompts and no threshold of SegEarth-OV for this set are known: prompts are the names of the classes.",
        "The archives were not at hand: their layout is that of the list of the test files in IGN's repository "
        "(csv_full). The layout of the archives on Hugging Face, one a domain, is not known here; files are found "
        "in any folder by their names, IMG_<number>.tif and MSK_<number>.tif.",
    ),
    sample=Sample(
        land={
            **{"building": "building", "pavement": "pervious surface", "road": "impervious surface"},
            **{"bareland": "bare soil", "water": "water", "tree": "deciduous", "grass": "herbaceous vegetation"},
            "cropland": "agricultural land",
        },
        corner=True,
        extras=(
            ExtraPair({"stem": "000001"}, (_IMAGES, "flair_aerial_train"), labels=False),
            ExtraPair({"stem": "000001"}, (_LABELS, "flair_labels_train"), images=False),
        ),
    ),
)
