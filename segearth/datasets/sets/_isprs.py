"""What the two ISPRS sets share: classes, colours, and how they are drawn."""

CLASSES = ("impervious_surface", "building", "low_vegetation", "tree", "car", "clutter")
PALETTE = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))
COLOURS = (((0, 0, 0), 0), *((colour, i) for i, colour in enumerate(PALETTE, start=1)))
CITATION = "Rottensteiner et al., The ISPRS benchmark on urban object classification, ISPRS Annals 2012"
SOURCE = "https://www.isprs.org/education/benchmarks/UrbanSemLab/"
BOUNDARY = "labels with boundary pixels were taken, which published figures leave out: prefer the noBoundary labels"
LAND = {
    **{"road": "impervious_surface", "pavement": "impervious_surface", "building": "building", "tree": "tree"},
    **{"grass": "low_vegetation", "cropland": "low_vegetation", "car": "car", "rest": "clutter"},
}
