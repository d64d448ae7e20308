"""CHN6-CUG."""

from segearth.datasets.description import JPEG, RELEASED, Description, ExtraPair, Files, Sample

DATASET = Description(
    name="chn6-cug",
    title="CHN6-CUG",
    paper_order=13,
    summary="CHN6-CUG, validation split: 903 images, roads.",
    dataset_class="CHN6_CUGDataset",
    split="validation",
    classes=("background", "road"),
    palette=((0, 0, 0), (240, 240, 240)),
    prompts="cls_chn6-cug.txt",
    prob_thd=0.8,
    threshold_source=RELEASED,
    images=Files("CHN6-CUG.zip", "CHN6-CUG/", "val/images/{stem}_sat", JPEG),
    labels=(Files("CHN6-CUG.zip", "CHN6-CUG/", "val/gt/{stem}_mask", (".png",)),),
    examples=({"stem": "am100034"}, {"stem": "bj100010"}, {"stem": "wh_sat_mask_7"}),
    skip=("train",),
    encoding="binary",
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
    sample=Sample(extras=(ExtraPair({"stem": "am100001"}, ("/val/", "/train/")),)),
)
