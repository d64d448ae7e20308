"""What the training images say: per source, the names that compete and what each label may be called.

The sources do not name the same things. A task therefore lists columns, each a thing with a few names, and
for every label the columns it may be: "vegetation" may be tree, grass or cropland, and what is no road may be
anything else. The loss asks that one of them be found (a partial label).
"""

from __future__ import annotations

from dataclasses import dataclass

BARELAND = ("bareland", "barren", "bare land", "bare ground", "soil", "sand")
GRASS = ("grass", "grassland", "low vegetation")
PAVEMENT = ("pavement", "paved area", "concrete ground")
ROAD = ("road", "roads", "asphalt road", "highway")
TREE = ("tree", "trees", "forest")
WATER = ("water", "river", "water body")
CROPLAND = ("cropland", "crops", "agricultural", "agricultural land")
BUILDING = ("building", "buildings", "roof", "house", "rooftop")
CAR = ("car", "vehicle", "small vehicle")
COVER = (BARELAND, GRASS, PAVEMENT, ROAD, TREE, WATER, CROPLAND, BUILDING, CAR)  # the order of LAND_COVER, and cars

# Of the glossary, but in none of the images: what a map must not show for want of a better name.
ABSENT = (
    "ship", "airplane", "snow", "cloud", "tennis court", "wind turbine", "train", "person", "cow", "storage tank",
    "stadium", "burned area", "glacier", "railway", "harbor", "solar panel",
)  # fmt: skip

# Names that no image or region was ever paired with, and the name of LAND_COVER each stands for in the evaluation.
UNSEEN = {
    "dirt": "bareland", "lawn": "grass", "meadow": "grass", "parking lot": "pavement", "street": "road",
    "woodland": "tree", "lake": "water", "pond": "water", "farmland": "cropland", "dwelling": "building",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """How one source is learned from.

    Attributes:
        columns: what competes, each with its names.
        allowed: per label the columns (indices) that it may be.
        zoom: least and greatest enlargement of its pixels.
        whole: the label is of the whole image, not of pixels.
        rarity: how much rare labels count more: a pixel weighs its label's frequency to the power of -rarity.
            Drawn cars need it; the Dubai labels' own frequencies are those of what a map will be asked.
    """

    columns: tuple[tuple[str, ...], ...]
    allowed: tuple[tuple[int, ...], ...]
    zoom: tuple[float, float]
    whole: bool = False
    rarity: float = 0.5


def but(column: int) -> tuple[int, ...]:
    """All columns of COVER without one."""
    return tuple(i for i in range(len(COVER)) if i != column)


DUBAI = (
    BUILDING,
    ("unpaved land", "unpaved area", "bare land", "desert"),
    ROAD,
    ("vegetation", "plants", "greenery"),
    WATER,
)
EUROSAT = {
    "AnnualCrop": ("annual crop", "cropland"),
    "Forest": ("forest",),
    "HerbaceousVegetation": ("herbaceous vegetation", "grassland"),
    "Highway": ("highway", "road"),
    "Industrial": ("industrial area", "factory"),
    "Pasture": ("pasture",),
    "PermanentCrop": ("permanent crop", "orchard"),
    "Residential": ("residential area", "houses"),
    "River": ("river",),
    "SeaLake": ("sea", "sea water"),
}
TASKS = {
    "drawn": Task(COVER, tuple((i,) for i in range(len(COVER))), (0.3, 1.2)),
    "dubai": Task(DUBAI, ((0,), (1,), (2,), (3,), (4,)), (0.5, 1.5), rarity=0.1),
    # the same images in the words of the drawn ones: what is called a road may be a paved yard, and so on
    "dubai_cover": Task(COVER, ((7,), (0,), (3, 2, 8), (1, 4, 6), (5,)), (0.5, 1.5), rarity=0.1),
    "gsi_road": Task(COVER, (but(3), (3,)), (0.4, 1.2)),
    "amazon_forest": Task(COVER, (but(4), (4,)), (0.45, 1.5)),
    "eurosat100": Task(tuple(EUROSAT.values()), tuple((i,) for i in range(len(EUROSAT))), (3.5, 4.5), whole=True),
}
