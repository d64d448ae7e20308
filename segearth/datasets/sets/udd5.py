"""UDD5."""

from segearth.datasets.description import JPEG, RELEASED, Description, ExtraPair, Files, Mistake, Sample

_PALETTE = ((107, 142, 35), (102, 102, 156), (128, 64, 128), (0, 0, 142), (0, 0, 0))

DATASET = Description(
    name="udd5",
    title="UDD5",
    paper_order=7,
    summary="UDD5, validation split: 40 images, 5 classes.",
    dataset_class="UDD5Dataset",
    split="validation",
    classes=("vegetation", "building", "road", "vehicle", "other"),
    palette=_PALETTE,
    prompts="cls_udd5.txt",
    prob_thd=0.4,
    threshold_source=RELEASED,
    bg_idx=4,
    images=Files("UDD.zip", "UDD/", "UDD5/val/src/{stem}", JPEG, published=".JPG"),
    labels=(Files("UDD.zip", "UDD/", "UDD5/val/gt/{stem}", (".png",)),),
    examples=({"stem": "DJI_0285"}, {"stem": "DJI_0290"}, {"stem": "000007"}),
    mistakes=(Mistake("UDD6/val/src/{stem}.jpg", "this is UDD6, with other classes: give UDD5"),),
    encoding="index",
    colours=tuple((colour, i) for i, colour in enumerate(_PALETTE)),
    sizes=((3000, 4000), (2160, 4096)),
    pairs=40,
    out_images="UDD/UDD/UDD5/val/src",
    out_labels="UDD/UDD/UDD5/val/gt",
    image_suffix=".JPG",
    expected=(40,),
    source="https://github.com/MarcWong/UDD",
    licence="only for non-commercial use, says the readme (the LICENSE file of the repository is MIT)",
    citation="Chen et al., Large-Scale Structure from Motion with Semantic Constraints of Aerial Images, PRCV 2018",
    get="Download the archive of UDD5 and UDD6 from the links on that page.",
    notes=(
        "UDD6 lies in the same archive and numbers its classes otherwise; a label with the value 5 is of UDD6.",
        "Coloured copies of the labels exist; they are read by the colours of UDD's readme.",
    ),
    sample=Sample(
        land={
            **{"tree": "vegetation", "grass": "vegetation", "cropland": "vegetation", "building": "building"},
            **{"road": "road", "pavement": "road", "car": "vehicle", "rest": "other"},
        },
        extras=(
            ExtraPair({"stem": "DJI_0001"}, ("/val/", "/train/")),
            ExtraPair({"stem": "DJI_0285"}, ("UDD5/", "UDD6/")),
        ),
    ),
)
