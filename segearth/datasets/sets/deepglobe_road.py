"""DeepGlobe road."""

from segearth.datasets.description import RELEASED, Description, Mistake, Sample
from segearth.datasets.sets import _grset

_FOLDER = "DeepGlobe_test_1530"

DATASET = Description(
    name="deepglobe_road",
    title="DeepGlobe road",
    paper_order=14,
    summary="DeepGlobe road, as in GRSet's validation set: 1530 images, roads.",
    dataset_class="RoadValDataset",
    split="1530 images of GRSet's validation set",
    classes=_grset.CLASSES,
    palette=_grset.PALETTE,
    prompts="cls_roadval.txt",
    prob_thd=0.7,
    threshold_source=RELEASED,
    images=_grset.images(_FOLDER, "{stem}_sat"),
    labels=_grset.labels(_FOLDER, "{stem}_mask"),
    examples=({"stem": "100034"}, {"stem": "100081"}, {"stem": "991758"}),
    mistakes=(
        Mistake("train/{stem}_sat.jpg", "this is DeepGlobe's own release: give GRSet's folder DeepGlobe_test_1530"),
    ),
    encoding="binary",
    sizes=((1024, 1024),),
    pairs=1530,
    out_images=f"GlobalRoadSet_Val/{_FOLDER}/image_cvt",
    out_labels=f"GlobalRoadSet_Val/{_FOLDER}/label_cvt",
    image_suffix=".jpg",
    expected=(1530,),
    source=_grset.SOURCE,
    licence=_grset.LICENCE,
    citation="Demir et al., DeepGlobe 2018: A Challenge to Parse the Earth through Satellite Images, CVPRW 2018",
    get=_grset.GET,
    notes=(_grset.TRAP.format("DeepGlobe"),),
    sample=Sample(extras=(_grset.unread(_FOLDER),)),
)
