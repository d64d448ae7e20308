"""The eight sets with several classes.

Thresholds, background indices and factors are SegEarth-OV's released settings (CVPR 2025). Layouts and counts are those
that publishers and users report; few of the archives were at hand, so what the tools find is what counts.
"""

from __future__ import annotations

from segearth.datasets.description import X_FIRST, Y_FIRST, Description, Files, Mistake, Windows

_ISPRS_CLASSES = ("impervious_surface", "building", "low_vegetation", "tree", "car", "clutter")
_ISPRS_PALETTE = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))
_ISPRS_COLOURS = (((0, 0, 0), 0), *((colour, i) for i, colour in enumerate(_ISPRS_PALETTE, start=1)))
_ISPRS_CITATION = "Rottensteiner et al., The ISPRS benchmark on urban object classification, ISPRS Annals 2012"
_ISPRS_SOURCE = "https://www.isprs.org/education/benchmarks/UrbanSemLab/"
_BOUNDARY = "labels with boundary pixels were taken, which published figures leave out: prefer the noBoundary labels"

_ISAID_PALETTE = (
    *((0, 0, 0), (0, 0, 63), (0, 63, 63), (0, 63, 0), (0, 63, 127), (0, 63, 191), (0, 63, 255), (0, 127, 63)),
    *((0, 127, 127), (0, 0, 127), (0, 0, 191), (0, 0, 255), (0, 191, 127), (0, 127, 191), (0, 127, 255), (0, 100, 155)),
)
_UAVID_PALETTE = ((0, 0, 0), (128, 0, 0), (128, 64, 128), (192, 0, 192), (0, 128, 0), (128, 128, 0), (64, 64, 0))
_UDD5_PALETTE = ((107, 142, 35), (102, 102, 156), (128, 64, 128), (0, 0, 142), (0, 0, 0))

MULTICLASS = (
    Description(
        name="openearthmap",
        title="OpenEarthMap",
        dataset_class="OpenEarthMapDataset",
        split="validation, as val.txt lists it",
        classes=("background", "bareland", "grass", "pavement", "road", "tree", "water", "cropland", "building"),
        palette=(
            *((0, 0, 0), (165, 110, 65), (140, 205, 80), (170, 150, 160), (240, 240, 240), (25, 115, 40)),
            *((40, 105, 215), (235, 200, 80), (210, 45, 40)),
        ),
        prompts="cls_openearthmap.txt",
        prob_thd=0.1,
        images=Files("OpenEarthMap.zip", "OpenEarthMap/OpenEarthMap_wo_xBD/", "{region}/images/{stem}", (".tif",)),
        labels=(Files("OpenEarthMap.zip", "OpenEarthMap/OpenEarthMap_wo_xBD/", "{region}/labels/{stem}", (".tif",)),),
        examples=(
            {"region": "koeln", "stem": "koeln_50"},
            {"region": "aachen", "stem": "aachen_7"},
            {"region": "tokyo", "stem": "tokyo_12"},
        ),
        split_files=("val.txt", "val_wo_xBD.txt"),
        labels_alone=True,
        encoding="index",
        sizes=((1024, 1024), (1000, 1000)),
        pairs=384,
        out_images="OpenEarthMap/img_dir/val",
        out_labels="OpenEarthMap/ann_dir/val",
        image_suffix=".tif",
        label_suffix=".tif",
        expected=(384, 500),
        source="https://zenodo.org/records/7223446",
        licence="differs by region: labels have the licence of their images, listed on "
        "https://open-earth-map.org/attribution.html, or CC BY-NC-SA 4.0 where the images are in the public domain or "
        "their licence is not stated (readme of https://github.com/bao18/open_earth_map)",
        size="9.1 GB",
        citation="Xia et al., OpenEarthMap: A Benchmark Dataset for Global High-Resolution Land Cover Mapping, "
        "WACV 2023",
        get="Download OpenEarthMap.zip.",
        traps=(
            "val.txt names 500 images; those of xBD have labels but no image in the download, and 384 remain. "
            "Others add the xBD images and evaluate 500: figures are comparable only for equal counts.",
            "Class 0, which the data set calls unknown, is scored as background, as in the published figures.",
        ),
    ),
    Description(
        name="loveda",
        title="LoveDA",
        dataset_class="LoveDADataset",
        split="validation, rural and urban",
        classes=("background", "building", "road", "water", "barren", "forest", "agricultural"),
        palette=(
            *((255, 255, 255), (255, 0, 0), (255, 255, 0), (0, 0, 255), (159, 129, 183), (0, 255, 0)),
            (255, 195, 128),
        ),
        prompts="cls_loveda.txt",
        prob_thd=0.3,
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
        traps=("Pixels without data are 0 in the files and are ignored; classes are 1 to 7.",),
    ),
    Description(
        name="iSAID",
        title="iSAID",
        dataset_class="iSAIDDataset",
        split="validation",
        classes=(
            *("background", "ship", "store_tank", "baseball_diamond", "tennis_court", "basketball_court"),
            *("Ground_Track_Field", "Bridge", "Large_Vehicle", "Small_Vehicle", "Helicopter", "Swimming_pool"),
            *("Roundabout", "Soccer_ball_field", "plane", "Harbor"),
        ),
        palette=_ISAID_PALETTE,
        prompts="cls_iSAID.txt",
        prob_thd=0.4,
        images=Files("val/images/part1.zip", "", "images/{stem}", (".png",)),
        labels=(Files("val/Semantic_masks/images.zip", "", "images/{stem}_instance_color_RGB", (".png",)),),
        fields={"stem": r"P\d+"},
        examples=({"stem": "P0003"}, {"stem": "P0004"}, {"stem": "P0007"}),
        skip=("train", "test", "instance_masks"),
        mistakes=(
            Mistake(
                "{stem}_instance_id_RGB.png",
                "these are iSAID's instance masks, whose colours number objects: give Semantic_masks/images.zip, "
                "with files ..._instance_color_RGB.png",
            ),
        ),
        encoding="palette",
        colours=tuple((colour, i) for i, colour in enumerate(_ISAID_PALETTE)),
        sizes=((800, 800), (1024, 896), (3000, 4000), (13000, 13000)),
        pairs=458,
        windows=Windows((896, 896), (512, 512), Y_FIRST),
        out_images="iSAID/img_dir/val",
        out_labels="iSAID/ann_dir/val",
        label_suffix="_instance_color_RGB.png",
        expected=(11644,),
        source="https://captain-whu.github.io/iSAID/ (labels), https://captain-whu.github.io/DOTA/ (images: DOTA-v1.0)",
        licence="that of DOTA's images: for academic purposes only, any commercial use is prohibited",
        citation="Waqas Zamir et al., iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images, "
        "CVPRW 2019; Xia et al., DOTA: A Large-scale Dataset for Object Detection in Aerial Images, CVPR 2018",
        get="Download the validation images from DOTA-v1.0 (val/images/part1.zip) and the semantic masks from iSAID "
        "(val/Semantic_masks/images.zip), into folders of these names, and give their parent.",
        traps=(
            "Label colours that are no class become 255, ignored (the official converter makes them background).",
            "Some images are gray or have an alpha channel; they become RGB.",
        ),
    ),
    Description(
        name="potsdam",
        title="ISPRS Potsdam",
        dataset_class="PotsdamDataset",
        split="the 14 tiles of the usual test split",
        classes=_ISPRS_CLASSES,
        palette=_ISPRS_PALETTE,
        prompts="cls_potsdam.txt",
        prob_thd=0.1,
        bg_idx=5,
        reduce_zero_label=True,
        images=Files("2_Ortho_RGB.zip", "2_Ortho_RGB/", "top_potsdam_{stem}_RGB", (".tif",)),
        labels=(
            Files("5_Labels_all_noBoundary.zip", "", "top_potsdam_{stem}_label_noBoundary", (".tif",)),
            Files("5_Labels_all.zip", "", "top_potsdam_{stem}_label", (".tif",), note=_BOUNDARY),
        ),
        fields={"stem": r"\d+_\d+"},
        examples=({"stem": "2_13"}, {"stem": "2_14"}, {"stem": "3_13"}),
        keys=(
            *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15", "5_13", "5_14", "5_15", "6_13", "6_14", "6_15"),
            "7_13",
        ),
        mistakes=(
            Mistake("top_potsdam_{stem}_RGBIR.tif", "these images have an infrared band: give 2_Ortho_RGB.zip"),
            Mistake("top_potsdam_{stem}_IRRG.tif", "these images are infrared: give 2_Ortho_RGB.zip"),
        ),
        encoding="palette",
        colours=_ISPRS_COLOURS,
        sizes=((6000, 6000),),
        pairs=14,
        windows=Windows((512, 512), (512, 512), X_FIRST),
        out_images="potsdam/img_dir/val",
        out_labels="potsdam/ann_dir/val",
        expected=(2016,),
        source=_ISPRS_SOURCE,
        citation=_ISPRS_CITATION,
        get="Request the download from ISPRS, and take 2_Ortho_RGB.zip and 5_Labels_all_noBoundary.zip from it.",
        traps=(
            "The labels without boundaries are the ones that are scored; black is ignored.",
            "Some label tiles of the training split are reported to hold other colours; none of them is used here.",
        ),
    ),
    Description(
        name="vaihingen",
        title="ISPRS Vaihingen",
        dataset_class="ISPRSDataset",
        split="the 17 areas of the usual test split",
        classes=_ISPRS_CLASSES,
        palette=_ISPRS_PALETTE,
        prompts="cls_vaihingen.txt",
        prob_thd=0.1,
        bg_idx=5,
        reduce_zero_label=True,
        images=Files("ISPRS_semantic_labeling_Vaihingen.zip", "", "top/top_mosaic_09cm_area{area}", (".tif",)),
        labels=(
            Files(
                "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip",
                "",
                "top_mosaic_09cm_area{area}_noBoundary",
                (".tif",),
            ),
            Files(
                "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE.zip",
                "",
                "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE/top_mosaic_09cm_area{area}",
                (".tif",),
                note=_BOUNDARY,
            ),
        ),
        fields={"area": r"\d+"},
        key="area{area}",
        examples=({"area": "2"}, {"area": "12"}, {"area": "35"}),
        keys=tuple(f"area{n}" for n in (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)),
        labels_alone=True,
        mistakes=(
            Mistake(
                "top_mosaic_09cm_area{area}.tif",
                "files with names like top_mosaic_09cm_area2.tif are images in a folder called top, and labels with "
                "boundaries in one called ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE: elsewhere nothing "
                "tells them apart",
            ),
        ),
        encoding="palette",
        colours=_ISPRS_COLOURS,
        sizes=(
            *((2767, 2428), (2557, 1887), (2557, 1887), (2557, 1887), (2557, 1887), (2575, 1922), (2565, 1919)),
            *((2565, 1919), (2315, 1866), (2546, 1903), (2546, 1903), (3313, 1917), (2563, 1917), (2555, 1980)),
            *((2555, 1581), (1884, 2805), (2550, 3816)),
        ),
        pairs=17,
        windows=Windows((512, 512), (512, 512), X_FIRST),
        out_images="vaihingen/img_dir/val",
        out_labels="vaihingen/ann_dir/val",
        expected=(398,),
        source=_ISPRS_SOURCE,
        licence="for research only, not to be given to third parties, and DGPF is to be told of papers based on it, "
        "says LICENSE-THIRD-PARTY.md of https://github.com/microsoft/pytorch-cloud-geotiff-optimization",
        citation=_ISPRS_CITATION,
        get="Request the download from ISPRS, and take ISPRS_semantic_labeling_Vaihingen.zip and "
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip from it.",
        traps=(
            "Images are infrared, red, green, and are used as if they were RGB: do not reorder the bands.",
            "The eroded labels are the ones that are scored; black is ignored.",
        ),
    ),
    Description(
        name="uavid",
        title="UAVid",
        dataset_class="UAVidDataset",
        split="test (images)",
        classes=("background", "building", "road", "car", "tree", "vegetation", "human"),
        palette=_UAVID_PALETTE,
        prompts="cls_uavid.txt",
        prob_thd=0.3,
        images=Files("test_gt.zip", "test_gt/", "seq{seq}/Images/{frame}", (".png",)),
        labels=(Files("test_gt.zip", "test_gt/", "seq{seq}/Labels/{frame}", (".png",)),),
        fields={"seq": r"\d+", "frame": r"\d+"},
        key="seq{seq}_{frame}",
        examples=(
            {"seq": "21", "frame": "000000"},
            {"seq": "21", "frame": "000100"},
            {"seq": "22", "frame": "000000"},
        ),
        skip=("uavid_train", "uavid_val", "train", "val", "valid"),
        encoding="palette",
        colours=(*((colour, i) for i, colour in enumerate(_UAVID_PALETTE)), ((64, 0, 128), 3)),
        sizes=((2160, 3840), (2160, 4096)),
        pairs=150,
        windows=Windows((1080, 1280), (1080, 1280), Y_FIRST),
        out_images="UAVid/img_dir/test",
        out_labels="UAVid/ann_dir/test",
        expected=(1020,),
        source="https://uavid.nl/",
        licence="CC BY-NC-SA 4.0, says https://huggingface.co/datasets/dronefreak/UAVid-2020, an unofficial copy",
        citation="Lyu et al., UAVid: A semantic segmentation dataset for UAV imagery, ISPRS Journal 2020",
        get="Download the labelled test set, test_gt (seq<N>/Images and seq<N>/Labels).",
        traps=(
            "Older releases have no labels of the test images: take the one with test_gt.",
            "Static and moving cars are one class, car.",
            "Windows of the images that are 4096 wide overlap: 1024 columns are scored twice, as published.",
        ),
    ),
    Description(
        name="udd5",
        title="UDD5",
        dataset_class="UDD5Dataset",
        split="validation",
        classes=("vegetation", "building", "road", "vehicle", "other"),
        palette=_UDD5_PALETTE,
        prompts="cls_udd5.txt",
        prob_thd=0.4,
        bg_idx=4,
        images=Files("UDD.zip", "UDD/", "UDD5/val/src/{stem}", (".jpg", ".jpeg"), published=".JPG"),
        labels=(Files("UDD.zip", "UDD/", "UDD5/val/gt/{stem}", (".png",)),),
        examples=({"stem": "DJI_0285"}, {"stem": "DJI_0290"}, {"stem": "000007"}),
        mistakes=(Mistake("UDD6/val/src/{stem}.jpg", "this is UDD6, with other classes: give UDD5"),),
        encoding="index",
        colours=tuple((colour, i) for i, colour in enumerate(_UDD5_PALETTE)),
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
        traps=(
            "UDD6 lies in the same archive and numbers its classes otherwise; a label with the value 5 is of UDD6.",
            "Coloured copies of the labels exist; they are read by the colours of UDD's readme.",
        ),
    ),
    Description(
        name="vdd",
        title="VDD",
        dataset_class="VDDDataset",
        split="test (most other work evaluates val)",
        classes=("other", "wall", "road", "vegetation", "vehicle", "roof", "water"),
        palette=(
            *((0, 0, 0), (102, 102, 156), (128, 64, 128), (107, 142, 35), (0, 0, 142), (210, 45, 40), (40, 105, 215)),
        ),
        prompts="cls_vdd.txt",
        prob_thd=0.3,
        images=Files("VDD.zip", "VDD/", "test/src/{stem}", (".jpg", ".jpeg"), published=".JPG"),
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
    ),
)
