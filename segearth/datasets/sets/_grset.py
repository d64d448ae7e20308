"""What the three sets of roads share that come with GRSet's validation folder."""

from segearth.datasets.description import JPEG, ExtraPair, Files

CLASSES = ("background", "road")
PALETTE = ((0, 0, 0), (240, 240, 240))
SOURCE = "https://github.com/xiaoyan07/GRNet_GRSet"
GET = (
    "Request the validation set of GRSet from that page (Baidu drive, code road): the folder GlobalRoadSet_Val. "
    "It serves DeepGlobe, Massachusetts and SpaceNet."
)
LICENCE = (
    "that of GRSet: CC BY-NC-SA 4.0, for academic purposes only, any commercial use is prohibited; images of Google "
    "Earth also under Google Earth's terms"
)
TRAP = "Labels made from {}'s original release differ (line width, selection): figures are comparable only for GRSet's."


def images(folder: str, stem: str = "{stem}") -> Files:
    """The images in a folder of the validation set."""
    return Files("", "GlobalRoadSet_Val/", f"{folder}/img/{stem}", JPEG)


def labels(folder: str, stem: str = "{stem}") -> tuple[Files]:
    """The labels in a folder of the validation set."""
    return (Files("", "GlobalRoadSet_Val/", f"{folder}/gt/{stem}", (".png",)),)


def unread(folder: str) -> ExtraPair:
    """For a sample: a pair in another folder of the validation set, which no set reads."""
    return ExtraPair({"stem": "boston_1"}, (folder, "RoadTracer_test"))
