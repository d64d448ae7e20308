"""Massachusetts road."""

from segearth.datasets.description import RELEASED, Description, Mistake, Sample
from segearth.datasets.sets import _grset

_FOLDER = "Massachusetts_test_49"

DATASET = Description(
    name="massachusetts_road",
    title="Massachusetts road",
    paper_order=15,
    summary="Massachusetts road, the test split, as in GRSet's validation set: 49 images, roads.",
    dataset_class="RoadValDataset",
    split="the 49 test images, as in GRSet's validation set",
    classes=_grset.CLASSES,
    palette=_grset.PALETTE,
    prompts="cls_roadval.txt",
    prob_thd=0.7,
    threshold_source=RELEASED,
    images=_grset.images(_FOLDER),
    labels=_grset.labels(_FOLDER),
    examples=({"stem": "10378780_15"}, {"stem": "10828720_15"}, {"stem": "26878720_15"}),
    mistakes=(Mistake("{stem}.tiff", "this is the original release: give GRSet's folder Massachusetts_test_49"),),
    encoding="binary",
    sizes=((1500, 1500),),
    pairs=49,
    out_images=f"GlobalRoadSet_Val/{_FOLDER}/img",
    out_labels=f"GlobalRoadSet_Val/{_FOLDER}/label_cvt",
    image_suffix=".jpg",
    expected=(49,),
    source=_grset.SOURCE,
    licence=_grset.LICENCE,
    citation="Mnih, Machine Learning for Aerial Image Labeling, PhD thesis, University of Toronto 2013",
    get=_grset.GET,
    notes=(_grset.TRAP.format("Massachusetts"),),
    sample=Sample(extras=(_grset.unread(_FOLDER),)),
)
