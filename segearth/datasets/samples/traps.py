"""What lies beside the images of the split in real downloads, and what a preparation has to leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import TypeAlias

import numpy as np
from PIL import Image

from segearth.datasets.description import Description
from segearth.datasets.samples.drawing import Drawn

Download: TypeAlias = dict[str, dict[str, bytes]]  # archive ("" for a plain folder) -> member -> content
Values: TypeAlias = Mapping[str, str]

_FORMATS = {".tif": "TIFF", ".jpg": "JPEG", ".png": "PNG"}
_UNKNOWN = (96, 96, 96)  # no colour of any palette
_SMALL = (64, 96)  # (height, width) of images that nobody should read


def encoded(image: Image.Image, suffix: str) -> bytes:
    """The content of an image file."""
    buffer = BytesIO()
    options = {".jpg": {"quality": 95, "subsampling": 0}, ".png": {"compress_level": 3}}.get(suffix, {})
    image.save(buffer, _FORMATS[suffix], **options)
    return buffer.getvalue()


def label_image(of: Description, pair: Drawn) -> Image.Image:
    """Labels as the set publishes them: indices, colours, or a mask."""
    if of.encoding == "palette":
        table = np.full((256, 3), _UNKNOWN, np.uint8)
        for colour, value in reversed(of.colours):  # the first colour of a value is the usual one
            table[value] = colour
        pixels = table[pair.values]
        for i, (colour, value) in enumerate(of.colours):
            if value in [earlier for _, earlier in of.colours[:i]]:
                pixels[(pair.values == value) & pair.on_road] = colour
        return Image.fromarray(pixels)
    if of.encoding == "binary" and not of.any_value:
        return Image.fromarray(pair.values * np.uint8(255))
    return Image.fromarray(pair.values)


class Trapper:
    """Adds to a download what its real one holds besides.

    Attributes:
        of: the set.
        download: what is added to.
        pair: an image and its labels, small.
    """

    def __init__(self, of: Description, download: Download, pairs: Sequence[Drawn]) -> None:
        h, w = _SMALL
        self.of, self.download, self.pairs = of, download, pairs
        self.pair = Drawn(pairs[0].image[:h, :w], pairs[0].values[:h, :w], pairs[0].on_road[:h, :w])

    def put(self, archive: str, member: str, content: bytes) -> None:
        """Adds a file."""
        self.download.setdefault(archive, {})[member] = content

    def add(
        self, values: Values, replace: tuple[str, str] = ("", ""), labels: bool = True, images: bool = True
    ) -> None:
        """Adds a small pair in the published layout, with a part of its path replaced."""
        for kind, wanted, image in (
            (self.of.images, images, Image.fromarray(self.pair.image)),
            (self.of.labels[0], labels, label_image(self.of, self.pair)),
        ):
            if wanted:
                member = kind.member(values).replace(*replace)
                self.put(kind.archive, member, encoded(image, kind.types[0]))


def add_traps(of: Description, download: Download, pairs: Sequence[Drawn]) -> None:
    """Adds what the set's real download holds besides the images of the split."""
    trapper = Trapper(of, download, pairs)
    for archive, members in list(download.items()):
        folder = "".join(next(iter(members)).rpartition("/")[:2])
        trapper.put(archive, f"{folder}Thumbs.db", b"\xd0\xcf\x11\xe0 not an image")
        trapper.put(archive, f"{folder}.DS_Store", b"\x00\x00\x00\x01Bud1")
    _TRAPS[of.name](trapper)


def _openearthmap(to: Trapper) -> None:
    """Lists of names; labels of xBD without their images; another split."""
    archive, inside = to.of.images.archive, to.of.images.inside
    to.add({"region": "rio", "stem": "rio_1"})
    to.add({"region": "santa-rosa-wildfire", "stem": "santa-rosa-wildfire_00000001"}, images=False)
    names = [f"{example['stem']}.tif" for example in to.of.examples]
    lists = {
        "val.txt": [*names, "santa-rosa-wildfire_00000001.tif"],
        "val_wo_xBD.txt": names,
        "train.txt": ["rio_1.tif"],
        "test.txt": ["koeln_1.tif"],
        "xbd_files.csv": ["santa-rosa-wildfire_00000001_pre_disaster.png,santa-rosa-wildfire_00000001.tif"],
        "readme.txt": ["A drawing in the layout of OpenEarthMap."],
    }
    for name, lines in lists.items():
        to.put(archive, inside + name, "".join(f"{line}\n" for line in lines).encode())


def _loveda(to: Trapper) -> None:
    """The archives of other splits beside the one that is needed."""
    for archive, labels in (("Train.zip", True), ("Test.zip", False)):
        split = archive[:-4]
        content = {f"{split}/Rural/images_png/0.png": encoded(Image.fromarray(to.pair.image), ".png")}
        if labels:
            content[f"{split}/Rural/masks_png/0.png"] = encoded(label_image(to.of, to.pair), ".png")
        to.download[archive] = content


def _isaid(to: Trapper) -> None:
    """Instance masks; a gray image and one with an alpha channel."""
    for example in to.of.examples:
        colours = np.stack([to.pair.values * np.uint8(9)] * 3, axis=2)
        mask = encoded(Image.fromarray(colours), ".png")
        to.put("val/Instance_masks/images.zip", f"images/{example['stem']}_instance_id_RGB.png", mask)
    gray, alpha = (to.of.images.member(to.of.examples[i]) for i in (1, 2))
    images = to.download[to.of.images.archive]
    images[gray] = encoded(Image.fromarray(to.pairs[1].image).convert("L"), ".png")
    picture = Image.fromarray(to.pairs[2].image)
    picture.putalpha(128)
    images[alpha] = encoded(picture, ".png")


def _potsdam(to: Trapper) -> None:
    """World files, tiles of the training split (one with stray colours), labels with boundaries, four bands."""
    images, labels, boundaries = to.of.images, *to.of.labels
    for stem in ("2_10", "4_12"):
        to.add({"stem": stem})
    stray = np.array(label_image(to.of, to.pair))
    stray[:9] = (252, 255, 0)
    to.put(labels.archive, labels.member({"stem": "4_12"}), encoded(Image.fromarray(stray), ".tif"))
    for example in to.of.examples:
        to.put(images.archive, images.member(example)[:-4] + ".tfw", b"0.05\n0.0\n0.0\n-0.05\n366676.4\n5808467.5\n")
        filled = Image.fromarray(np.full((*to.pair.values.shape, 3), (255, 0, 0), np.uint8))
        to.put(boundaries.archive, boundaries.member(example), encoded(filled, ".tif"))
        bands = Image.fromarray(np.dstack([to.pair.image, to.pair.image[..., 1]]), "RGBA")
        to.put("4_Ortho_RGBIR.zip", f"4_Ortho_RGBIR/top_potsdam_{example['stem']}_RGBIR.tif", encoded(bands, ".tif"))


def _vaihingen(to: Trapper) -> None:
    """Heights, labels of training areas, labels without an image, labels with boundaries."""
    to.add({"area": "1"})
    to.add({"area": "9"}, images=False)
    heights = encoded(Image.fromarray(to.pair.image[..., 0].astype(np.float32)), ".tif")
    to.put(to.of.images.archive, "dsm/dsm_09cm_matching_area1.tif", heights)
    labels = encoded(label_image(to.of, to.pair), ".tif")
    to.put(to.of.images.archive, "gts_for_participants/top_mosaic_09cm_area1.tif", labels)
    boundaries = to.of.labels[1]
    to.put(boundaries.archive, boundaries.member(to.of.examples[0]), labels)


def _uavid(to: Trapper) -> None:
    """Label maps of other kinds, as the publisher's toolkit makes them."""
    for example in to.of.examples:
        member = to.of.labels[0].member(example).replace("/Labels/", "/TrainId/")
        to.put(to.of.images.archive, member, encoded(Image.fromarray(to.pair.values), ".png"))


def _udd5(to: Trapper) -> None:
    """The training split, and UDD6."""
    to.add({"stem": "DJI_0001"}, ("/val/", "/train/"))
    to.add(to.of.examples[0], ("UDD5/", "UDD6/"))


def _vdd(to: Trapper) -> None:
    """The other splits."""
    for split in ("train", "val"):
        to.add({"stem": "DJI_0001"}, ("test/", f"{split}/"))


def _whu_aerial(to: Trapper) -> None:
    """The other splits."""
    for split in ("train", "test"):
        to.add({"stem": "0"}, ("/val/", f"/{split}/"))


def _whu_sat_ii(to: Trapper) -> None:
    """The training split, and the outlines of the buildings."""
    to.add({"stem": "1"}, ("/test/", "/train/"))
    top = to.of.images.inside.partition("/")[0]
    to.put(to.of.images.archive, f"{top}/2. The shape file/test.shp", b"\x00\x00\x27\x0a")


def _inria(to: Trapper) -> None:
    """Tiles of other splits, the official test images, and the outer archive."""
    for stem in ("austin2", "austin8"):
        to.add({"stem": stem})
    to.add({"stem": "bellingham1"}, ("/train/", "/test/"), labels=False)
    to.put("", "aerialimagelabeling.7z.001", b"7z\xbc\xaf\x27\x1c")


def _xbd(to: Trapper) -> None:
    """Images after the disaster with degrees of damage, and polygons."""
    archive, inside = to.of.images.archive, to.of.images.inside
    for example, pair in zip(to.of.examples, to.pairs, strict=True):
        before, after = example["stem"], example["stem"].replace("_pre_", "_post_")
        damage = pair.values * (1 + np.arange(pair.values.shape[1], dtype=np.uint8) // 50 % 4)
        to.put(archive, f"{inside}images/{after}.png", encoded(Image.fromarray(pair.image // 2 + 40), ".png"))
        to.put(archive, f"{inside}targets/{after}_target.png", encoded(Image.fromarray(damage), ".png"))
        for stem in (before, after):
            square = {"wkt": "POLYGON ((4 4, 24 4, 24 24, 4 24, 4 4))", "properties": {"feature_type": "building"}}
            polygons = {"features": {"lng_lat": [], "xy": [square]}, "metadata": {"original_width": 1024}}
            to.put(archive, f"{inside}labels/{stem}.json", json.dumps(polygons, allow_nan=False).encode())


def _chn6_cug(to: Trapper) -> None:
    """The training split."""
    to.add({"stem": "am100001"}, ("/val/", "/train/"))


def _global_roads(to: Trapper) -> None:
    """A folder of the validation set that nobody reads."""
    folder = to.of.images.path.partition("/")[0]
    to.add({"stem": "boston_1"}, (folder, "RoadTracer_test"))


def _wbs_si(to: Trapper) -> None:
    """Images of the training split, in the same folders."""
    for number in (1, 2):
        to.add({"stem": f"water_body_{number}"})


_TRAPS: dict[str, Callable[[Trapper], None]] = {
    **{"openearthmap": _openearthmap, "loveda": _loveda, "iSAID": _isaid, "potsdam": _potsdam},
    **{"vaihingen": _vaihingen, "uavid": _uavid, "udd5": _udd5, "vdd": _vdd, "whu_aerial": _whu_aerial},
    **{"whu_sat_II": _whu_sat_ii, "inria": _inria, "xBD": _xbd, "chn6-cug": _chn6_cug},
    **{"deepglobe_road": _global_roads, "massachusetts_road": _global_roads, "spacenet_road": _global_roads},
    "wbs-si": _wbs_si,
}
