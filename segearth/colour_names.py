"""Table of land-cover names and the colours that people expect for them on a map.

The names are those of the 17 evaluation sets and of common nomenclatures (CORINE Land Cover, ESA WorldCover,
Dynamic World, OpenEarthMap, LoveDA, FLAIR, iSAID), and other things that people look for in aerial images.
"""

from __future__ import annotations

import re
from functools import cache

# A row: a colour and its names. Where two colours of a map are too similar, the one of the lower row changes.
# fmt: off
TABLE: tuple[tuple[str, str], ...] = (
    ("#000000", "background, void, nothing, none, empty"),
    ("#D22D28", "building, house, home, hut, barn, warehouse, shed, church, school, hospital, tower block"),
    ("#F0F0F0", "road, street, highway, motorway, lane, avenue, road network, transport, transportation"),
    ("#2869D7", "water, river, lake, pond, stream, canal, reservoir, inland water, waterway, water course, creek"),
    ("#197328", "tree, forest, woodland, wood, woods, canopy, woody vegetation, ligneous, jungle, rainforest"),
    ("#8CCD50", "grass, grassland, meadow, lawn, rangeland, savanna, steppe, prairie, turf, natural grassland"),
    ("#EBC850", "cropland, crop, agriculture, agricultural, agriculture land, agricultural land, farmland, farm, "
                "field, arable, arable land, cultivated land, wheat, maize, corn, barley, soy, irrigated land"),
    ("#A56E41", "bare land, barren, barren land, bare, bare ground, bare soil, bare earth, earth, ground, "
                "wasteland, badland, pervious surface"),
    ("#AA96A0", "pavement, sidewalk, paved, plaza, square, developed space, concrete, asphalt, tarmac, courtyard"),
    ("#FA82C8", "car, vehicle, small vehicle, automobile, van, moving car, static car, taxi"),
    ("#5A5A5A", "clutter, other, miscellaneous, misc"),
    ("#373737", "unlabelled, unlabeled, unknown, undefined, unclassified, unspecified, no data, ignore"),
    ("#C8C8C8", "impervious surface, impervious, sealed surface, artificial surface, hard surface"),
    ("#96CD64", "low vegetation, herbaceous vegetation, herbaceous, herb, undergrowth"),
    ("#64AA37", "vegetation, greenery, green space, plant, park, garden, green urban area, urban green"),
    ("#AF4B28", "roof, rooftop, tile"),
    ("#EB8C78", "facade, wall, house front"),
    ("#DC3C50", "built-up, built, built-up area, urban, urban area, urban fabric, settlement, city, town, village, "
                "residential, residential area, downtown"),
    ("#F59B0A", "human, person, people, pedestrian, man, woman, child, crowd, swimmer, surfer"),
    ("#8C8CAA", "parking lot, parking, car park, parking space, parking area"),
    ("#D2BE96", "path, trail, footpath, track, dirt road, unpaved road, gravel road, gravel, cycleway, bike lane"),
    ("#5F3C6E", "railway, rail, railroad, train track, railway track, tramway, tram, train, rail network"),
    ("#B4AADC", "runway, airport, airfield, taxiway, apron, tarmac apron, airstrip"),
    ("#B45A78", "bridge, overpass, viaduct, flyover"),
    ("#7A9A3C", "shrub, shrubland, bush, bushland, scrub, scrubland, brushwood, thicket, hedge, hedgerow, maquis, "
                "sclerophyllous vegetation, chaparral"),
    ("#3CA08C", "wetland, marsh, marshland, swamp, salt marsh, flooded vegetation, herbaceous wetland, reed, "
                "reed bed, lagoon, coastal lagoon"),
    ("#0F7864", "mangrove, mangrove forest"),
    ("#145A41", "coniferous, conifer, coniferous forest, evergreen, evergreen forest, needleleaf, pine, spruce, fir"),
    ("#3C9132", "deciduous, deciduous forest, broad-leaved, broad-leaved forest, broadleaf, oak, beech, mixed, "
                "mixed forest"),
    ("#A0B432", "orchard, fruit tree, olive grove, olive, grove, plantation, palm, oil palm, palm tree, banana, "
                "citrus, coconut, tree nursery, agroforestry, coffee, tea"),
    ("#7D285F", "vineyard, vine, grapevine"),
    ("#C3D264", "pasture, pastureland, grazing land, grazing, hay, fodder, paddock"),
    ("#78BEA0", "rice, rice field, rice paddy, paddy, paddy field"),
    ("#C88C55", "ploughed land, plowed land, fallow, fallow land, tilled land, stubble, harvested field"),
    ("#F5B4DC", "greenhouse, glasshouse, polytunnel, plastic, plastic cover, hothouse"),
    ("#28287D", "solar panel, solar, photovoltaic, photovoltaic panel, solar farm, solar plant, solar array"),
    ("#E6CDA0", "sand, desert, dune, sandy soil, sandy ground"),
    ("#F5E191", "beach, shore, coast, coastline, seashore, sandbank"),
    ("#8C5532", "soil, mud, dirt, clay, brown soil"),
    ("#8C8273", "rock, stone, boulder, cliff, scree, bedrock, bare rock, outcrop, mountain, rubble, debris"),
    ("#B4825F", "sparse vegetation, sparsely vegetated, sparse"),
    ("#A08C82", "tidal flat, intertidal flat, mudflat, intertidal, salt flat, saline, salines, salt pan"),
    ("#DCF0FF", "snow, snow cover, firn, snowfield"),
    ("#A0DCF0", "ice, glacier, sea ice, iceberg, ice sheet"),
    ("#143C96", "sea, ocean, sea water, open water, deep water, bay, estuary, marine water"),
    ("#5096B9", "flood, flooded area, floodwater, inundation, shallow water, aquaculture, fish pond"),
    ("#23C8F0", "swimming pool, pool, swimming bath"),
    ("#1E829B", "harbor, harbour, port, dock, marina, pier, jetty, quay, port area"),
    ("#646E96", "dam, weir, levee, dike, dyke, breakwater, embankment"),
    ("#FF7D1E", "ship, boat, vessel, yacht, ferry, sailboat, barge"),
    ("#8C50F0", "plane, airplane, aeroplane, aircraft, jet"),
    ("#5A2DBE", "helicopter, helipad, drone"),
    ("#C3289B", "large vehicle, truck, lorry, bus, trailer, heavy vehicle, tractor, excavator, crane"),
    ("#E650A0", "motorcycle, motorbike, bicycle, bike, cyclist, scooter, tricycle"),
    ("#96824B", "animal, cow, cattle, livestock, sheep, horse, goat, elephant"),
    ("#A05AC8", "industrial, industry, industrial area, factory, power plant, industrial estate"),
    ("#E66EB4", "commercial, commercial area, shopping mall, mall, market, office, retail"),
    ("#787814", "storage tank, store tank, tank, silo, oil tank, water tank, gas tank"),
    ("#BEBED2", "shipping container, container, tent, caravan, camp, camping, campsite"),
    ("#7D5A50", "quarry, mine, open pit, mining, mineral extraction, mineral extraction site, gravel pit, pit"),
    ("#E6964B", "construction site, construction, building site, scaffold"),
    ("#644632", "landfill, dump, dump site, waste, garbage, trash, rubbish, litter, junkyard, scrapyard"),
    ("#4B1914", "burnt area, burned area, burnt, burned, burn scar, burn, scorched, fire scar, ash"),
    ("#FF4600", "fire, flame, wildfire, lava"),
    ("#913C1E", "landslide, mudslide, erosion, gully, collapsed building, damaged building, ruin"),
    ("#28CD82", "sports field, sports ground, playing field, stadium, sport, arena, leisure, ball field"),
    ("#55D255", "soccer field, soccer ball field, football field, football pitch, soccer, rugby field, cricket pitch"),
    ("#D28732", "baseball diamond, baseball field, baseball, softball field"),
    ("#3CBEAA", "tennis court, tennis, hockey field"),
    ("#E65A32", "basketball court, basketball, volleyball court"),
    ("#C8464B", "ground track field, running track, athletics track, race track"),
    ("#5FC86E", "golf course, golf, golf field, fairway"),
    ("#F08CA0", "playground, play area, amusement park, schoolyard"),
    ("#A596DC", "roundabout, intersection, crossing, crossroad, crosswalk, zebra crossing, road marking, lane marking"),
    ("#9B82A5", "cemetery, graveyard, grave"),
    ("#96AFC8", "wind turbine, windmill, turbine, chimney, antenna"),
    ("#5A738C", "power line, power tower, pylon, transmission tower, electricity pylon, power pole, tower, pole, "
                "lamp post, substation"),
    ("#A56E6E", "fence, barrier, gate, guard rail"),
    ("#A0AA78", "moss, lichen, tundra, moss and lichen"),
    ("#A078AA", "heath, heathland, moor, moorland, moors, peat, peat bog, peatland, bog"),
    ("#64A078", "clear-cut, logging, deforestation, deforested, felled"),
    ("#508732", "algae, seaweed, seagrass, kelp, water hyacinth, aquatic vegetation, duckweed, water plant, "
                "aquatic plant, lily pad"),
    ("#5F9146", "transitional woodland, regrowth, young forest, sapling, bamboo"),
    ("#C83264", "flower, flower bed, flower field"),
    ("#E6E1FA", "cloud, haze, fog, smoke, mist, thin cloud, cirrus, steam"),
    ("#232846", "shadow, shade, cloud shadow, building shadow"),
)
# fmt: on

# Rows that are grey or black, whatever the other classes are.
BACKGROUND = frozenset(row for row, (_, names) in enumerate(TABLE) if re.match("background|clutter|unlabelled", names))

# Head words without a meaning of their own: "grass area" is grass.
_GENERIC = frozenset(
    [
        *("area", "body", "class", "cover", "covered", "facility", "feature", "land"),
        *("network", "region", "site", "space", "surface", "type", "unit", "zone"),
    ]
)


@cache
def ranks() -> dict[str, tuple[int, int]]:
    """The row and the position in it of every name of the table, by `key`."""
    rows = [names.split(",") for _, names in TABLE]
    return {key(name): (row, place) for row, names in enumerate(rows) for place, name in enumerate(names)}


def find(name: str) -> tuple[int, int] | None:
    """The row and the position in it of a name or of its head ("dense forests" is a forest); None if unknown.

    In "snow and ice" or "grass / shrub" the first known part counts; in "body of water" and "grass area" the word that
    has a meaning of its own.
    """
    text = re.sub(r"\(.*?\)|[_-]", " ", name.lower())
    keys = _singulars(key(text))
    for part in re.split(r"[/,;&+|]|\band\b|\bor\b", text):
        for phrase in part.split(" of "):
            keys += _heads(phrase.split())
    return next((ranks()[form] for form in keys if form in ranks()), None)


def _heads(words: list[str]) -> list[str]:
    """The keys to look up for a phrase: its last words, longer ones first; without a head in `_GENERIC`."""
    keys: list[str] = []
    for end in range(len(words), 0, -1):
        for start in range(end):
            keys += _singulars(key("".join(words[start:end])))
        if _GENERIC.isdisjoint(_singulars(words[end - 1])):
            break
    return keys


def _singulars(word: str) -> list[str]:
    """A word, and the word without its plural ending."""
    forms = [word]
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if re.search(r"(s|x|z|ch|sh)es$", word):
        forms.append(word[:-2])
    if re.search(r"[^s]s$", word):
        forms.append(word[:-1])
    return forms


def key(name: str) -> str:
    """A name in lower case without spaces and punctuation: "Bare-land" and "bare land" are equal."""
    return "".join(character for character in name.lower() if character.isalnum())
