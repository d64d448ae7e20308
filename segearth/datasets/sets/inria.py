"""Inria Aerial Image Labeling."""

from segearth.datasets.description import RELEASED, X_FIRST, Description, ExtraFile, ExtraPair, Files, Sample, Windows

DATASET = Description(
    name="inria",
    title="Inria Aerial Image Labeling",
    paper_order=11,
    summary="Inria Aerial Image Labeling, split_test of FCtL, 27 of the 180 labelled tiles: 675 windows, buildings.",
    dataset_class="InriaDataset",
    split="split_test of FCtL: 27 of the 180 labelled tiles",
    classes=("background", "building"),
    palette=((0, 0, 0), (210, 45, 40)),
    prompts="cls_inria.txt",
    prob_thd=0.6,
    threshold_source=RELEASED,
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
    encoding="binary",
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
    notes=("The official test images have no public labels; this split is cut from the training tiles.",),
    sample=Sample(
        zoom=1.0,
        extras=(
            ExtraPair({"stem": "austin2"}),  # of other splits
            ExtraPair({"stem": "austin8"}),
            ExtraPair({"stem": "bellingham1"}, ("/train/", "/test/"), labels=False),
            ExtraFile("", "aerialimagelabeling.7z.001", b"7z\xbc\xaf\x27\x1c"),
        ),
    ),
)
