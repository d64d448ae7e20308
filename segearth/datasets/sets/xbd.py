"""xBD, before the disaster."""

from segearth.datasets.description import RELEASED, Description, ExtraFile, Files, Sample

_ARCHIVE = "test_images_labels_targets.tar.gz"
_AFTER = ("_pre_", "_post_")
_POLYGONS = (
    b'{"features": {"lng_lat": [], "xy": [{"wkt": "POLYGON ((4 4, 24 4, 24 24, 4 24, 4 4))", '
    b'"properties": {"feature_type": "building"}}]}, "metadata": {"original_width": 1024}}'
)

DATASET = Description(
    name="xBD",
    title="xBD, before the disaster",
    paper_order=12,
    summary="xBD, images before the disaster of the test split: 933 images, buildings.",
    dataset_class="xBDDataset",
    split="test, images before the disaster",
    classes=("background", "building"),
    palette=((0, 0, 0), (210, 45, 40)),
    prompts="cls_xBD.txt",
    prob_thd=0.0,
    threshold_source=RELEASED,
    cls_token_lambda=0.0,
    images=Files(_ARCHIVE, "test/", "images/{stem}", (".png",)),
    labels=(
        Files(_ARCHIVE, "test/", "targets/{stem}_target", (".png",)),
        Files(_ARCHIVE, "test/", "targets/{stem}", (".png",)),
        Files(
            _ARCHIVE,
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
    encoding="binary",
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
    notes=(
        "Targets are 0 and 1 (a threshold of 128 would make all background), with or without _target.",
        "Images and labels after the disaster are left out.",
    ),
    sample=Sample(
        extras=(
            ExtraFile(_ARCHIVE, "test/images/{stem}.png", "later image", _AFTER),
            ExtraFile(_ARCHIVE, "test/targets/{stem}_target.png", "degrees of damage", _AFTER),
            ExtraFile(_ARCHIVE, "test/labels/{stem}.json", _POLYGONS),
            ExtraFile(_ARCHIVE, "test/labels/{stem}.json", _POLYGONS, _AFTER),
        )
    ),
)
