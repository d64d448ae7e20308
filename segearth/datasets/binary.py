"""The nine sets with one class: buildings, roads, water; label 0 is background, 1 the class.

Thresholds, background indices and factors are SegEarth-OV's released settings (CVPR 2025). Layouts and counts are those
that publishers and users report; few of the archives were at hand, so what the tools find is what counts.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from segearth.datasets.description import RGB, X_FIRST, Description, Files, Mistake, Windows

_TILES = (".tif", ".tiff", ".png")
_PHOTOS = (".jpg", ".jpeg")
_WHU_CITATION = (
    "Ji et al., Fully Convolutional Networks for Multisource Building Extraction From an Open Aerial and Satellite "
    "Imagery Data Set, TGRS 2019"
)
_WHU_LICENCE = (
    "not stated by the publisher's pages that were at hand; a copy by others says CC BY 4.0 "
    "(https://huggingface.co/datasets/giswqs/WHU-Building-Dataset)"
)
_SAT_II = "Satellite dataset Ⅱ (East Asia)/1. The cropped image data and raster labels/"  # U+2161, one character
_WATER = "water-body-segmentation-in-satellite-images/WaterBodiesDatasetPreprocessed/WaterBodiesDatasetPreprocessed"
_ROADS_GET = (
    "Request the validation set of GRSet from that page (Baidu drive, code road): the folder GlobalRoadSet_Val. "
    "It serves DeepGlobe, Massachusetts and SpaceNet."
)
_ROADS_LICENCE = (
    "that of GRSet: CC BY-NC-SA 4.0, for academic purposes only, any commercial use is prohibited; images of Google "
    "Earth also under Google Earth's terms"
)
_ROADS_TRAP = (
    "Labels made from {}'s original release differ (line width, selection): figures are comparable only for GRSet's."
)
_BUILDING: dict[str, Any] = {"classes": ("background", "building"), "palette": ((0, 0, 0), (210, 45, 40))}
_ROAD: dict[str, Any] = {"classes": ("background", "road"), "palette": ((0, 0, 0), (240, 240, 240))}


def _mask(**settings: Any) -> Description:
    """A set of one class; keywords as `Description`."""
    classes: tuple[str, ...] = settings["classes"]
    return Description(**{"encoding": "binary", "metric": f"IoU of {classes[1]}", **settings})


def _water_stems() -> tuple[str, ...]:
    """The 499 images of WBS-SI that are evaluated."""
    text = (files("segearth") / "data" / "wbs-si_val.txt").read_text(encoding="ascii")
    return tuple(text.split())


def _roads(folder: str, image: str, label: str, release: str = "") -> dict[str, Any]:
    """Where a set of GRSet's validation folder has its files; `release` adds to the licence."""
    return {
        "images": Files("", "GlobalRoadSet_Val/", f"{folder}/img/{image}", _PHOTOS),
        "labels": (Files("", "GlobalRoadSet_Val/", f"{folder}/gt/{label}", (".png",)),),
        "out_labels": f"GlobalRoadSet_Val/{folder}/label_cvt",
        "source": "https://github.com/xiaoyan07/GRNet_GRSet",
        "get": _ROADS_GET,
        "licence": _ROADS_LICENCE + release,
    }


_WATER_PALETTE: tuple[RGB, ...] = ((0, 0, 0), (40, 105, 215))

BINARY = (
    _mask(
        name="whu_aerial",
        title="WHU Aerial",
        dataset_class="WHUDataset",
        split="validation",
        **_BUILDING,
        prompts="cls_whu.txt",
        prob_thd=0.6,
        images=Files("1.1 The cropped aerial image tiles and raster labels.zip", "WHU-BD/", "val/image/{stem}", _TILES),
        labels=(
            Files("1.1 The cropped aerial image tiles and raster labels.zip", "WHU-BD/", "val/label/{stem}", _TILES),
        ),
        examples=({"stem": "0"}, {"stem": "1"}, {"stem": "517"}),
        skip=("train", "test"),
        sizes=((512, 512),),
        pairs=1036,
        out_images="WHU-BD/val/image",
        out_labels="WHU-BD/val/label_cvt",
        expected=(1036,),
        source="http://gpcv.whu.edu.cn/data/building_dataset.html, or Kaggle xiaoqian970429/whu-building-dataset",
        licence=_WHU_LICENCE,
        citation=_WHU_CITATION,
        get='Download "1.1 The cropped aerial image tiles and raster labels.zip (0.3 meter)".',
        traps=("Tiles are .tif on the publisher's page and .png in some copies; both become .png.",),
    ),
    _mask(
        name="whu_sat_II",
        title="WHU Satellite II (East Asia)",
        dataset_class="WHUDataset",
        split="test (there is no validation split)",
        **_BUILDING,
        prompts="cls_whu.txt",
        prob_thd=0.7,
        images=Files("Satellite dataset Ⅱ (East Asia).zip", _SAT_II, "test/image/{stem}", _TILES),
        labels=(Files("Satellite dataset Ⅱ (East Asia).zip", _SAT_II, "test/label/{stem}", _TILES),),
        examples=({"stem": "1"}, {"stem": "2"}, {"stem": "3726"}),
        skip=("train", "val"),
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
        licence=_WHU_LICENCE,
        citation=_WHU_CITATION,
        get='Download "Satellite dataset Ⅱ (East Asia).zip".',
        traps=(
            "The Ⅱ in the published names is one character, U+2161; the prepared folder has an ASCII name. "
            "Configs find data in a folder called WHU_Sat_Ⅱ, too.",
            "The zip may hold names in GBK; they are read as such.",
        ),
    ),
    _mask(
        name="inria",
        title="Inria Aerial Image Labeling",
        dataset_class="InriaDataset",
        split="split_test of FCtL: 27 of the 180 labelled tiles",
        **_BUILDING,
        prompts="cls_inria.txt",
        prob_thd=0.6,
        images=Files("NEW2-AerialImageDataset.zip", "AerialImageDataset/train/", "images/{stem}", (".tif", ".tiff")),
        labels=(Files("NEW2-AerialImageDataset.zip", "AerialImageDataset/train/", "gt/{stem}", (".tif", ".tiff")),),
        examples=({"stem": "austin1"}, {"stem": "kitsap9"}, {"stem": "tyrol-w1"}),
        keys=(
            *(f"austin{n}" for n in (1, 7, 12, 22, 24, 36)),
            *(f"chicago{n}" for n in (10, 14, 23, 26)),
            *(f"kitsap{n}" for n in (9, 14, 25, 34, 35, 36)),
            *(f"tyrol-w{n}" for n in (1, 3, 25, 36)),
            *(f"vienna{n}" for n in (3, 6, 9, 11, 15, 18, 20)),
        ),
        skip=("test",),
        sizes=((5000, 5000),),
        pairs=27,
        windows=Windows((1000, 1000), (1000, 1000), X_FIRST),
        out_images="Inria/AerialImageDataset/train/img_dir/split_test",
        out_labels="Inria/AerialImageDataset/train/ann_dir/split_test",
        expected=(675,),
        source="https://project.inria.fr/aerialimagelabeling/",
        citation="Maggiori et al., Can semantic labeling methods generalize to any city? The Inria Aerial Image "
        "Labeling benchmark, IGARSS 2017",
        size="21.0 GB (5 parts)",  # 20,957,265,875 bytes: https://github.com/wuhan66/ActiveMap, download_inria.sh
        get="Download aerialimagelabeling.7z.001 to .005 from https://files.inria.fr/aerialimagelabeling/ and extract "
        "the first with 7z: it holds NEW2-AerialImageDataset.zip.",
        traps=("The official test images have no public labels; this split is cut from the training tiles.",),
    ),
    _mask(
        name="xBD",
        title="xBD, before the disaster",
        dataset_class="xBDDataset",
        split="test, images before the disaster",
        **_BUILDING,
        prompts="cls_xBD.txt",
        prob_thd=0.0,
        cls_token_lambda=0.0,
        images=Files("test_images_labels_targets.tar.gz", "test/", "images/{stem}", (".png",)),
        labels=(
            Files("test_images_labels_targets.tar.gz", "test/", "targets/{stem}_target", (".png",)),
            Files("test_images_labels_targets.tar.gz", "test/", "targets/{stem}", (".png",)),
            Files(
                "test_images_labels_targets.tar.gz",
                "test/",
                "labels/{stem}",
                (".json",),
                note="labels were drawn from the JSON polygons, as there are no targets",
            ),
        ),
        fields={"stem": r"[^/]+_\d{8}_pre_disaster"},
        examples=(
            {"stem": "guatemala-volcano_00000003_pre_disaster"},
            {"stem": "hurricane-florence_00000023_pre_disaster"},
            {"stem": "socal-fire_00000014_pre_disaster"},
        ),
        skip=("train", "tier1", "tier3", "hold"),
        any_value=True,
        sizes=((1024, 1024),),
        pairs=933,
        out_images="xBD/test/images_pre",
        out_labels="xBD/test/targets_cvt_pre",
        expected=(933,),
        source="https://xview2.org/ (challenge test set)",
        licence="CC BY-NC-SA 4.0",
        size="about 2.6 GB",
        citation="Gupta et al., xBD: A Dataset for Assessing Building Damage from Satellite Imagery, arXiv 1911.09296",
        get="Register, and download test_images_labels_targets.tar.gz, or .tar (MD5 of the first: "
        "1b39c47e05d1319c17cc8763cee6fe0c).",
        traps=(
            "Targets are 0 and 1 (a threshold of 128 would make all background), with or without _target.",
            "Images and labels after the disaster are left out.",
        ),
    ),
    _mask(
        name="chn6-cug",
        title="CHN6-CUG",
        dataset_class="CHN6_CUGDataset",
        split="validation",
        **_ROAD,
        prompts="cls_chn6-cug.txt",
        prob_thd=0.8,
        images=Files("CHN6-CUG.zip", "CHN6-CUG/", "val/images/{stem}_sat", _PHOTOS),
        labels=(Files("CHN6-CUG.zip", "CHN6-CUG/", "val/gt/{stem}_mask", (".png",)),),
        examples=({"stem": "am100034"}, {"stem": "bj100010"}, {"stem": "wh_sat_mask_7"}),
        skip=("train",),
        sizes=((512, 512),),
        pairs=903,
        out_images="CHN6-CUG/val/image_cvt",
        out_labels="CHN6-CUG/val/label_cvt",
        image_suffix=".jpg",
        expected=(903,),
        source="https://grzy.cug.edu.cn/zhuqiqi/",
        licence="for academic purposes only, no commercial use; the images are Google Earth's, and the authors do not "
        "own their copyright (https://github.com/CUG-URS/CHN6-CUG-Roads-Dataset)",
        citation="Zhu et al., A Global Context-aware and Batch-independent Network for road extraction from VHR "
        "satellite imagery, ISPRS Journal 2021",
        get="Download the archive from the page of Zhu Qiqi, China University of Geosciences.",
    ),
    _mask(
        name="deepglobe_road",
        title="DeepGlobe road",
        dataset_class="RoadValDataset",
        split="1530 images of GRSet's validation set",
        **_ROAD,
        prompts="cls_roadval.txt",
        prob_thd=0.7,
        **_roads("DeepGlobe_test_1530", "{stem}_sat", "{stem}_mask"),
        examples=({"stem": "100034"}, {"stem": "100081"}, {"stem": "991758"}),
        mistakes=(
            Mistake("train/{stem}_sat.jpg", "this is DeepGlobe's own release: give GRSet's folder DeepGlobe_test_1530"),
        ),
        sizes=((1024, 1024),),
        pairs=1530,
        out_images="GlobalRoadSet_Val/DeepGlobe_test_1530/image_cvt",
        image_suffix=".jpg",
        expected=(1530,),
        citation="Demir et al., DeepGlobe 2018: A Challenge to Parse the Earth through Satellite Images, CVPRW 2018",
        traps=(_ROADS_TRAP.format("DeepGlobe"),),
    ),
    _mask(
        name="massachusetts_road",
        title="Massachusetts road",
        dataset_class="RoadValDataset",
        split="the 49 test images, as in GRSet's validation set",
        **_ROAD,
        prompts="cls_roadval.txt",
        prob_thd=0.7,
        **_roads("Massachusetts_test_49", "{stem}", "{stem}"),
        examples=({"stem": "10378780_15"}, {"stem": "10828720_15"}, {"stem": "26878720_15"}),
        mistakes=(Mistake("{stem}.tiff", "this is the original release: give GRSet's folder Massachusetts_test_49"),),
        sizes=((1500, 1500),),
        pairs=49,
        out_images="GlobalRoadSet_Val/Massachusetts_test_49/img",
        image_suffix=".jpg",
        expected=(49,),
        citation="Mnih, Machine Learning for Aerial Image Labeling, PhD thesis, University of Toronto 2013",
        traps=(_ROADS_TRAP.format("Massachusetts"),),
    ),
    _mask(
        name="spacenet_road",
        title="SpaceNet road",
        dataset_class="RoadValDataset",
        split="567 images of GRSet's validation set",
        **_ROAD,
        prompts="cls_roadval.txt",
        prob_thd=0.7,
        **_roads("SpaceNet_test_567", "{stem}", "{stem}", "; SpaceNet's own release is CC BY-SA 4.0"),
        examples=({"stem": "Vegas_img1"}, {"stem": "Paris_img10"}, {"stem": "Khartoum_img101"}),
        mistakes=(
            Mistake("PS-RGB/{stem}.tif", "this is SpaceNet's own release: give GRSet's folder SpaceNet_test_567"),
        ),
        sizes=((1300, 1300),),
        pairs=567,
        out_images="GlobalRoadSet_Val/SpaceNet_test_567/img",
        image_suffix=".jpg",
        expected=(567,),
        citation="Van Etten et al., SpaceNet: A Remote Sensing Dataset and Challenge Series, arXiv 1807.01232",
        traps=(_ROADS_TRAP.format("SpaceNet"),),
    ),
    _mask(
        name="wbs-si",
        title="WBS-SI (water bodies)",
        dataset_class="WaterDataset",
        split="validation, a list of 499",
        classes=("background", "water"),
        palette=_WATER_PALETTE,
        prompts="cls_wbs-si.txt",
        prob_thd=0.6,
        images=Files(
            "archive.zip",
            "Water Bodies Dataset Preprocessed/Water Bodies Dataset Preprocessed/",
            "Images/{stem}",
            _PHOTOS,
        ),
        labels=(
            Files(
                "archive.zip",
                "Water Bodies Dataset Preprocessed/Water Bodies Dataset Preprocessed/",
                "Masks/{stem}",
                _PHOTOS,
            ),
        ),
        fields={"stem": r"water_body_\d+"},
        examples=({"stem": "water_body_8"}, {"stem": "water_body_14"}, {"stem": "water_body_16"}),
        keys=_water_stems(),
        sizes=((253, 252), (300, 400), (512, 512)),
        pairs=499,
        out_images=f"{_WATER}/Images",
        out_labels=f"{_WATER}/Masks_cvt",
        image_suffix=".jpg",
        expected=(499,),
        source="https://www.kaggle.com/datasets/shirshmall/water-body-segmentation-in-satellite-images",
        citation="Shirshmall, Water Body Segmentation in Satellite Images, Kaggle",
        get="Download the archive from Kaggle.",
        traps=(
            "Masks are JPEG and are cut at 128. The official converter saves its 0/1 labels as JPEG again, which "
            "changes 0.4 to 6 % of the pixels; here they are PNG, and figures differ slightly.",
            'The set "Satellite Images of Water Bodies" has the same names but may have other pixels: another set.',
        ),
    ),
)
