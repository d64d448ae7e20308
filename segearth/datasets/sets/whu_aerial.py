"""WHU Aerial."""

from segearth.datasets.description import RELEASED, Description, ExtraPair, Files, Sample
from segearth.datasets.sets import _whu

_ARCHIVE = "1.1 The cropped aerial image tiles and raster labels.zip"

DATASET = Description(
    name="whu_aerial",
    title="WHU Aerial",
    paper_order=9,
    summary="WHU Aerial, validation split: 1036 images, buildings.",
    dataset_class="WHUDataset",
    split="validation",
    classes=("background", "building"),
    palette=((0, 0, 0), (210, 45, 40)),
    prompts="cls_whu.txt",
    prob_thd=0.6,
    threshold_source=RELEASED,
    images=Files(_ARCHIVE, "WHU-BD/", "val/image/{stem}", _whu.TYPES),
    labels=(Files(_ARCHIVE, "WHU-BD/", "val/label/{stem}", _whu.TYPES),),
    examples=({"stem": "0"}, {"stem": "1"}, {"stem": "517"}),
    skip=("train", "test"),
    encoding="binary",
    sizes=((512, 512),),
    pairs=1036,
    out_images="WHU-BD/val/image",
    out_labels="WHU-BD/val/label_cvt",
    expected=(1036,),
    source="http://gpcv.whu.edu.cn/data/building_dataset.html, or Kaggle xiaoqian970429/whu-building-dataset",
    licence=_whu.LICENCE,
    citation=_whu.CITATION,
    get='Download "1.1 The cropped aerial image tiles and raster labels.zip (0.3 meter)".',
    notes=("Tiles are .tif on the publisher's page and .png in some copies; both become .png.",),
    sample=Sample(extras=tuple(ExtraPair({"stem": "0"}, ("/val/", f"/{split}/")) for split in ("train", "test"))),
)
