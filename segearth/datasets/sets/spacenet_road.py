"""SpaceNet road."""

from segearth.datasets.description import RELEASED, Description, Mistake, Sample
from segearth.datasets.sets import _grset

_FOLDER = "SpaceNet_test_567"

DATASET = Description(
    name="spacenet_road",
    title="SpaceNet road",
    paper_order=16,
    summary="SpaceNet road, as in GRSet's validation set: 567 images, roads.",
    dataset_class="RoadValDataset",
    split="567 images of GRSet's validation set",
    classes=_grset.CLASSES,
    palette=_grset.PALETTE,
    prompts="cls_roadval.txt",
    prob_thd=0.7,
    threshold_source=RELEASED,
    images=_grset.images(_FOLDER),
    labels=_grset.labels(_FOLDER),
    examples=({"stem": "Vegas_img1"}, {"stem": "Paris_img10"}, {"stem": "Khartoum_img101"}),
    mistakes=(Mistake("PS-RGB/{stem}.tif", "this is SpaceNet's own release: give GRSet's folder SpaceNet_test_567"),),
    encoding="binary",
    sizes=((1300, 1300),),
    pairs=567,
    out_images=f"GlobalRoadSet_Val/{_FOLDER}/img",
    out_labels=f"GlobalRoadSet_Val/{_FOLDER}/label_cvt",
    image_suffix=".jpg",
    expected=(567,),
    source=_grset.SOURCE,
    licence=_grset.LICENCE + "; SpaceNet's own release is CC BY-SA 4.0",
    citation="Van Etten et al., SpaceNet: A Remote Sensing Dataset and Challenge Series, arXiv 1807.01232",
    get=_grset.GET,
    notes=(_grset.TRAP.format("SpaceNet"),),
    sample=Sample(extras=(_grset.unread(_FOLDER),)),
)
