"""VDD."""

from segearth.datasets.description import JPEG, RELEASED, Description, ExtraPair, Files, Sample

DATASET = Description(
    name="vdd",
    title="VDD",
    paper_order=8,
    summary="VDD, test split (most other work evaluates the validation split): 40 images, 7 classes.",
    dataset_class="VDDDataset",
    split="test (most other work evaluates val)",
    classes=("other", "wall", "road", "vegetation", "vehicle", "roof", "water"),
    palette=(
        *((0, 0, 0), (102, 102, 156), (128, 64, 128), (107, 142, 35), (0, 0, 142), (210, 45, 40), (40, 105, 215)),
    ),
    prompts="cls_vdd.txt",
    prob_thd=0.3,
    threshold_source=RELEASED,
    images=Files("VDD.zip", "VDD/", "test/src/{stem}", JPEG, published=".JPG"),
    labels=(Files("VDD.zip", "VDD/", "test/gt/{stem}", (".png",)),),
    examples=({"stem": "DJI_0035"}, {"stem": "DJI_0061"}, {"stem": "DJI_0102"}),
    skip=("train", "val"),
    encoding="index",
    sizes=((3000, 4000),),
    pairs=40,
    out_images="VDD/test/src",
    out_labels="VDD/test/gt",
    image_suffix=".JPG",
    expected=(40,),
    source="https://huggingface.co/datasets/RussRobin/VDD",
    licence="only for non-commercial use; neither the set nor modified versions may be distributed, but models and "
    "annotations from which it cannot be recovered may (terms of use in https://github.com/RussRobin/VDD)",
    citation="Cai et al., VDD: Varied Drone Dataset for Semantic Segmentation, arXiv 2305.13608",
    get="Download the set from that page, or from the links of https://github.com/RussRobin/VDD.",
    sample=Sample(
        land={
            **{"road": "road", "tree": "vegetation", "grass": "vegetation", "cropland": "vegetation"},
            **{"car": "vehicle", "building": "roof", "water": "water"},
        },
        extras=tuple(ExtraPair({"stem": "DJI_0001"}, ("test/", f"{split}/")) for split in ("train", "val")),
    ),
)
