"""WHU Satellite II (East Asia)."""

from segearth.datasets.description import RELEASED, Description, ExtraFile, ExtraPair, Files, Sample
from segearth.datasets.sets import _whu

_ARCHIVE = "Satellite dataset Ⅱ (East Asia).zip"  # U+2161, one character
_INSIDE = "Satellite dataset Ⅱ (East Asia)/1. The cropped image data and raster labels/"

DATASET = Description(
    name="whu_sat_II",
    title="WHU Satellite II (East Asia)",
    paper_order=10,
    summary="WHU Satellite II (East Asia), test split, as there is no validation split: 3726 images, buildings.",
    dataset_class="WHUDataset",
    split="test (there is no validation split)",
    classes=("background", "building"),
    palette=((0, 0, 0), (210, 45, 40)),
    prompts="cls_whu.txt",
    prob_thd=0.7,
    threshold_source=RELEASED,
    images=Files(_ARCHIVE, _INSIDE, "test/image/{stem}", _whu.TYPES),
    labels=(Files(_ARCHIVE, _INSIDE, "test/label/{stem}", _whu.TYPES),),
    examples=({"stem": "1"}, {"stem": "2"}, {"stem": "3726"}),
    skip=("train", "val"),
    encoding="binary",
    sizes=((512, 512),),
    pairs=3726,
    out_images="WHU_Sat_II/test/image",
    out_labels="WHU_Sat_II/test/label_cvt",
    image_suffix=".tif",
    label_suffix=".tif",
    aliases={
        "WHU_Sat_II": (
            "WHU_Sat_Ⅱ",
            "WHU_Sat_II/Satellite_dataset_Ⅱ_East_Asia/1.cropped",
            "WHU_Sat_Ⅱ/Satellite_dataset_Ⅱ_East_Asia/1.cropped",
        )
    },
    expected=(3726,),
    source="http://gpcv.whu.edu.cn/data/building_dataset.html",
    licence=_whu.LICENCE,
    citation=_whu.CITATION,
    get='Download "Satellite dataset Ⅱ (East Asia).zip".',
    notes=(
        "The Ⅱ in the published names is one character, U+2161; the prepared folder has an ASCII name. "
        "Configs find data in a folder called WHU_Sat_Ⅱ, too.",
        "The zip may hold names in GBK; they are read as such.",
    ),
    sample=Sample(
        extras=(
            ExtraPair({"stem": "1"}, ("/test/", "/train/")),
            ExtraFile(_ARCHIVE, "Satellite dataset Ⅱ (East Asia)/2. The shape file/test.shp", b"\x00\x00\x27\x0a"),
        )
    ),
)
