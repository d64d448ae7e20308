"""Checks a prepared folder: pairs, sizes, label values, class frequencies, known problems; and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from segearth.datasets.archives import Member
from segearth.datasets.description import Description
from segearth.datasets.label_counts import LabelCounts
from segearth.datasets.labels import histogram, image_size, opened
from segearth.datasets.manifest import read_manifest, shortfall
from segearth.datasets.padding import black_warning, is_black
from segearth.datasets.places import near_name
from segearth.drawing import blend, with_legend
from segearth.errors import UserError, command
from segearth.images import read_image
from segearth.outputs import atomic
from segearth.progress import switched_off

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHEET = "contact_sheet.jpg"
_SHOWN = 5
_PAIRS, _TILE, _GAP, _TEXT = 8, 288, 16, 14  # of the contact sheet, in pixels
_PAPER = (255, 255, 255)


@dataclass
class Report:
    """The result of a check.

    Attributes:
        images: number of pairs.
        pixels: number of pixels of each of the 256 values on disk.
        errors: sentences about problems that make an evaluation fail or wrong.
        warnings: sentences about differences from the published evaluation.
    """

    images: int = 0
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(spec: Description, root: Path, *, quiet: bool = False) -> Report:
    """Reads every file of a prepared set and reports what is wrong or unusual.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    images, labels = root / spec.out_images, root / spec.out_labels
    pairs = _pairs(spec, root)
    report = Report(len(pairs))
    missing = [label.name for _, label in pairs if not label.is_file()]
    _note(report.errors, missing, f"images have no label in {labels}")
    stems = {label.name for _, label in pairs}
    alone = [path.name for path in sorted(labels.glob("*")) if path.name not in stems] if labels.is_dir() else []
    _note(report.warnings, alone, f"files in {labels} belong to no image in {images}")
    sizes, modes, values, damaged, black = [], [], [], [], []
    allowed, label_counts = {*spec.values, spec.ignore}, LabelCounts(spec.classes, spec.reduce_zero_label)
    for image, label in tqdm(pairs, desc="checking", unit="pair", disable=quiet or switched_off()):
        if not label.is_file():
            continue
        try:
            size = image_size(_member(image))
            pixels, _ = read_image(image)  # what evaluation would refuse is refused here
            if is_black(Image.fromarray(pixels)):
                black.append(image.name)
            with opened(_member(label)) as picture:
                mode, content = picture.mode, np.asarray(picture)
                lossy = picture.format == "JPEG"
        except UserError as error:
            damaged.append(str(error))
            continue
        if content.shape[:2] != size:
            sizes.append(label.name)
        if content.ndim != 2 or mode not in ("L", "P") or lossy:
            modes.append(f"{label.name} ({'JPEG' if lossy else mode})")
            if content.ndim != 2:
                continue
        counts = histogram(content.astype(np.uint8))
        report.pixels += counts
        label_counts.add(counts[list(spec.values)].tolist(), int(counts[spec.ignore]))
        if set(np.flatnonzero(counts).tolist()) - allowed:
            values.append(label.name)
    _note(report.errors, damaged, "files cannot be used")
    _note(report.errors, sizes, "labels have another size than their images")
    _note(report.errors, modes, "labels are not single-channel 8-bit PNG or TIFF")
    _note(
        report.errors, values, f"labels have values other than {spec.values[0]} to {spec.values[-1]} and {spec.ignore}"
    )
    if warning := black_warning(spec, black, len(pairs)):
        report.warnings.append(warning)
    report.warnings += _label_warnings(spec, label_counts)
    manifest = read_manifest(root / spec.folder)
    if manifest is None:
        report.warnings.append(f"no manifest.json in {root / spec.folder}: the folder was not prepared with this tool")
    elif manifest["stems"] != sorted(image.name.removesuffix(spec.image_suffix) for image, _ in pairs):
        report.errors.append(
            f"manifest.json lists {manifest['images']} images, there are {len(pairs)}: prepare it again"
        )
    if len(pairs) not in spec.expected:
        report.warnings.append(shortfall(spec, {"images": len(pairs)}) + "; figures are not comparable")
    return report


def table(spec: Description, report: Report) -> str:
    """Lists the classes with their shares of the scored pixels."""
    total = max(1, int(report.pixels[list(spec.values)].sum()))
    lines = [
        f"{value:>5}  {name:<20} {100 * report.pixels[value] / total:7.3f} %"
        for value, name in zip(spec.values, spec.classes, strict=True)
    ]
    share = 100 * report.pixels[spec.ignore] / max(1, int(report.pixels.sum()))
    return "\n".join([*lines, f"{spec.ignore:>5}  {'(ignored)':<20} {share:7.3f} % of all pixels"])


def contact_sheet(spec: Description, root: Path, path: Path) -> None:
    """Saves some images, each beside itself with its labels over it, in a picture with names and a legend."""
    pairs = [pair for pair in _pairs(spec, root) if pair[1].is_file()]
    chosen = [pairs[i] for i in sorted({round(x) for x in np.linspace(0, len(pairs) - 1, min(_PAIRS, len(pairs)))})]
    cells = [_cell(spec, *pair) for pair in chosen]
    width, height = (max(cell.size[axis] for cell in cells) for axis in (0, 1))
    columns = min(2, len(cells))
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, -(-len(cells) // columns) * (height + _GAP)), _PAPER)
    for i, cell in enumerate(cells):
        sheet.paste(cell, (_GAP + i % columns * (width + _GAP), _GAP + i // columns * (height + _GAP)))
    coloured = [i for i, colour in enumerate(spec.palette) if any(colour)]
    plain = [name for name, colour in zip(spec.classes, spec.palette, strict=True) if not any(colour)]
    legend = with_legend(
        sheet,
        [spec.classes[i] for i in coloured],
        np.array(spec.palette, np.uint8)[coloured],
        note=f"{spec.title}, {spec.split}; without colour: {', '.join([*plain, 'ignored pixels'])}",
    )
    with atomic(path) as part:
        legend.save(part, quality=92) if path.suffix.lower() in (".jpg", ".jpeg") else legend.save(part)


def _cell(spec: Description, image: Path, label: Path) -> Image.Image:
    """An image, the same with its labels over it, and its name below; black classes stay uncoloured."""
    with opened(_member(image)) as picture:
        scale = _TILE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        pixels = picture.convert("RGB").resize(size)
    with opened(_member(label)) as picture:
        values = np.asarray(picture.resize(size, Image.Resampling.NEAREST)).astype(np.int64)
    palette = np.array(spec.palette, np.uint8)
    shown = np.where(np.isin(values, spec.values), values - spec.values[0], 255)
    shown[np.isin(shown, np.flatnonzero(~palette.any(axis=1)))] = 255
    font = ImageFont.load_default(_TEXT)
    cell = Image.new("RGB", (2 * _TILE + _GAP // 3, size[1] + 2 * _TEXT), _PAPER)
    cell.paste(pixels, (0, 0))
    cell.paste(blend(np.asarray(pixels), shown, palette), (_TILE + _GAP // 3, 0))
    name = image.name if len(image.name) < 60 else f"...{image.name[-57:]}"
    ImageDraw.Draw(cell).text((0, size[1] + _TEXT), name, fill=(110, 110, 110), font=font, anchor="lm")
    return cell


def _pairs(spec: Description, root: Path) -> list[tuple[Path, Path]]:
    """Lists the images with the paths of their labels, by the exact suffix, as mmsegmentation does."""
    images = root / spec.out_images
    advice = f"prepare it with: {command('prepare')} {spec.name} SOURCE -o {root}"
    if not images.is_dir():
        near = near_name(images)
        raise UserError(
            f"no folder {images}: expected the images of {spec.title}; {advice}{'; or ' if near else ''}{near}"
        )
    stems = sorted(
        str(p.relative_to(images)).removesuffix(spec.image_suffix) for p in images.rglob(f"*{spec.image_suffix}")
    )
    stems = [stem for stem in stems if not Path(stem).name.startswith(".")]
    if not stems:
        raise UserError(
            f"no image that ends in {spec.image_suffix} in {images}: expected those of {spec.title}; {advice}"
        )
    return [
        (images / f"{stem}{spec.image_suffix}", root / spec.out_labels / f"{stem}{spec.label_suffix}") for stem in stems
    ]


def _member(path: Path) -> Member:
    return Member(str(path), path.name, 0, path)


def _label_warnings(spec: Description, counts: LabelCounts) -> list[str]:
    """Describes what is unusual in all labels together."""
    if spec.encoding == "palette" and spec.reduce_zero_label and counts.ignored == 0 < counts.images:
        found = f"no pixel is {spec.ignore}, ignored"
        return [f"{found}: these are the labels with boundaries, which published figures leave out", *counts.remarks()]
    return counts.remarks()


def _note(sentences: list[str], names: Sequence[str], what: str) -> None:
    """Adds a sentence if there are names."""
    if names:
        sentences.append(f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}")
