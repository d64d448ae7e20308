import colorsys
import itertools
import random

import pytest

from segearth.colour_names import TABLE, find
from segearth.colours import DISTANCES, distance, palette, parse_colour
from segearth.config_files import configs_folder
from segearth.errors import UserError
from segearth.vocabulary import LAND_COVER, Vocabulary

NAMES = [name.strip() for _, names in TABLE for name in names.split(",")]
CLASS_FILES = sorted(configs_folder().glob("cls_*.txt"))
NOMENCLATURES = {
    "CORINE": "Continuous urban fabric; Discontinuous urban fabric; Industrial or commercial units; Road and rail "
    "networks and associated land; Port areas; Airports; Mineral extraction sites; Dump sites; Construction sites; "
    "Green urban areas; Sport and leisure facilities; Non-irrigated arable land; Permanently irrigated land; "
    "Rice fields; Vineyards; Fruit trees and berry plantations; Olive groves; Pastures; Agro-forestry areas; "
    "Broad-leaved forest; Coniferous forest; Mixed forest; Natural grasslands; Moors and heathland; Sclerophyllous "
    "vegetation; Transitional woodland-shrub; Beaches, dunes, sands; Bare rocks; Sparsely vegetated areas; "
    "Burnt areas; Glaciers and perpetual snow; Inland marshes; Peat bogs; Salt marshes; Salines; Intertidal flats; "
    "Water courses; Water bodies; Coastal lagoons; Estuaries; Sea and ocean",
    "WorldCover": "Tree cover; Shrubland; Grassland; Cropland; Built-up; Bare / sparse vegetation; Snow and ice; "
    "Permanent water bodies; Herbaceous wetland; Mangroves; Moss and lichen",
    "Dynamic World": "water; trees; grass; flooded vegetation; crops; shrub & scrub; built; bare; snow & ice",
    "FLAIR": "building; pervious surface; impervious surface; bare soil; water; coniferous; deciduous; brushwood; "
    "vineyard; herbaceous vegetation; agricultural land; plowed land; swimming pool; snow; clear cut; mixed; "
    "ligneous; greenhouse; other",
}


def smallest(colours):
    """The smallest distance of two of the colours, by sight."""
    pairs = list(itertools.combinations(colours, 2))
    return {sight: min(distance(a, b, sight) for a, b in pairs) for sight in DISTANCES}


def hue(colour):
    """In degrees."""
    return 360 * colorsys.rgb_to_hls(*(c / 255 for c in colour))[0]


def are_apart(colours, normal, blind):
    found = smallest(colours)
    return found["normal"] >= normal and found["deutan"] >= blind and found["protan"] >= blind


def test_distances_are_those_of_cie76():
    assert distance((0, 0, 0), (255, 255, 255)) == pytest.approx(100, abs=0.01)
    assert distance((255, 0, 0), (0, 255, 0)) == pytest.approx(170.58, abs=0.05)  # a* and b* as in Lindbloom's tables
    # Grey has no hue that anybody could miss.
    assert distance((90, 90, 90), (200, 200, 200), "deutan") == pytest.approx(
        distance((90, 90, 90), (200, 200, 200)), abs=0.01
    )
    red, green = (205, 60, 30), (120, 130, 30)
    assert distance(red, green, "deutan") < 0.3 * distance(red, green)
    assert distance(red, green, "protan") < 0.8 * distance(red, green)


@pytest.mark.parametrize("path", CLASS_FILES, ids=lambda path: path.stem)
def test_class_files_are_known_and_apart(path):
    vocabulary = Vocabulary.from_file(path)
    assert [name for name in vocabulary.queries if find(name) is None] == []
    assert are_apart(vocabulary.palette, *((15, 10) if len(vocabulary) <= 9 else (5, 5)))


def test_classes_of_the_drawn_scenes_are_apart():
    assert len(CLASS_FILES) == 17  # those tested above; some sets share one
    assert are_apart(palette(LAND_COVER), 15, 10)


@pytest.mark.parametrize("names", NOMENCLATURES.values(), ids=NOMENCLATURES)
def test_nomenclatures_are_known(names):
    names = names.split("; ")
    assert [name for name in names if find(name) is None] == []
    assert are_apart(palette([(name,) for name in names]), 4, 2)


@pytest.mark.parametrize("seed", range(20))
def test_any_nine_and_any_sixteen_names_are_apart(seed):
    chosen = [(name,) for name in random.Random(seed).sample(NAMES, 16)]
    assert are_apart(palette(chosen[:9]), 15, 10)
    assert are_apart(palette(chosen), 5, 5)


@pytest.mark.parametrize("name", ["forest", "road", "background", "bare land", "zork"])
def test_nine_kinds_of_one_thing_are_apart(name):
    assert are_apart(palette([(f"{letter} {name}",) for letter in "abcdefghi"]), 15, 10)


@pytest.mark.parametrize("name", ["thing", "forest", "road"])
def test_three_hundred_classes_all_differ(name):
    colours = palette([(f"n{i} {name}",) for i in range(300)])
    assert len(set(colours)) == 300


def test_as_many_names_as_the_table_has():
    found = smallest(palette([(names.split(",")[0],) for _, names in TABLE]))
    assert min(found.values()) > 2.3  # just noticeable


def test_the_order_of_classes_does_not_matter():
    classes = [(name,) for name in random.Random(1).sample(NAMES, 12)] + [("zork",), ("blorb", "car")]
    expected = dict(zip(classes, palette(classes), strict=True))
    for seed in range(3):
        random.Random(seed).shuffle(classes)
        assert dict(zip(classes, palette(classes), strict=True)) == expected


def test_the_best_known_names_keep_their_colours():
    names = ["building", "road", "water", "tree", "grass"]
    alone = [palette([(name,)])[0] for name in names]
    others = ["house", "street", "river", "forest", "meadow", "roof", "lake", "fence", "zork", "lane", "pond"]
    assert list(palette([(name,) for name in [*names, *others]])[:5]) == alone
    assert palette([("water",), ("river",)])[0] == alone[2]


def test_a_name_has_its_hue_in_every_map():
    names = ["water", "forest", "cropland", "bare land", "car", "zork", "vineyard"]
    alone = {name: hue(palette([(name,)])[0]) for name in names}
    for seed in range(10):
        others = [(name,) for name in random.Random(seed).sample(NAMES, 8) if name not in names]
        colours = palette([*others, *((name,) for name in names)])
        for name, colour in zip(names, colours[len(others) :], strict=True):
            assert abs((hue(colour) - alone[name] + 180) % 360 - 180) < 3, name


@pytest.mark.parametrize("seed", range(10))
def test_bare_land_sand_and_soil_are_never_blue(seed):
    earth = ["bare land", "bareland", "bare soil", "sand", "soil", "barren", "sandy soil", "dune", "beach"]
    others = random.Random(seed).sample(NAMES, 6 * seed)
    names = earth[seed % 3 :: 3] + [name for name in others if name not in earth]
    colours = palette([(name,) for name in names])
    for name, colour in zip(names, colours, strict=True):
        assert name not in earth or (5 < hue(colour) < 75 and colour[2] < colour[0]), (name, colour)
    many = palette([(f"n{i} sand",) for i in range(100)])
    assert all(blue <= max(red, green) for red, green, blue in many)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("Dense forests", "forest"),
        ("bare-land", "bareland"),
        ("swimming_pools", "swimming pool"),
        ("body of water", "water"),
        ("grass area", "grass"),
        ("beaches", "beach"),
        ("Bushes", "bush"),
        ("cities", "city"),
        ("field (wheat)", "field"),
        ("snow/ice", "snow"),
        ("others", "other"),
    ],
)
def test_names_are_found_by_their_head(name, like):
    assert palette([(name,)]) == palette([(like,)])
    assert palette([("zork", name)]) == palette([(like,)])  # the first known name


def test_unknown_names_have_hues_of_their_own():
    hues = [hue(palette([(f"zork{i}",)])[0]) for i in range(40)]
    assert max(hues) - min(hues) > 300
    assert len({round(value) for value in hues}) > 30
    assert palette([("水",)]) != palette([("树",)])
    assert palette([("🌲",)]) != palette([("🚗",)])
    assert find("glasses") is None


def test_background_is_grey_or_black():
    for name in ("background", "clutter", "other", "others", "unlabelled", "void", "unknown"):
        for classes in ([(name,)], [(name,), ("building",), ("shadow",), ("burnt area",), ("tree",)]):
            colour = palette(classes)[0]
            assert max(colour) == min(colour) < 110, name


def test_chosen_colours_are_kept_and_avoided():
    classes = [("water",), ("lake",), ("tree",), ("road",)]
    red, nearly = (210, 45, 40), (212, 45, 40)
    assert palette(classes, {0: red, 1: nearly})[:2] == (red, nearly)  # too near, and the user's
    colours = palette([*classes, ("building",)], {0: red})
    assert colours[0] == red
    assert are_apart(colours, 15, 10)
    assert palette(classes, dict.fromkeys(range(4), red)) == (red,) * 4
    assert palette([]) == ()


def test_parse_colour():
    assert parse_colour("#19732A") == parse_colour(" #19732a ") == (25, 115, 42)
    assert parse_colour("#0fA") == (0, 255, 170)
    for text in ("", "#", "19732A", "#19732", "#19732AFF", "#19732G", "green", "#１２３"):
        with pytest.raises(UserError, match=r"is no colour: expected '#RRGGBB'.*; give"):
            parse_colour(text)
