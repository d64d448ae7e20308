"""A map in memory: labels, confidence and scores; what can be asked of it, and how it is kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from segearth.errors import UserError, checks_options
from segearth.labels import apply_thresholds, has_unclassified, label_values
from segearth.paths import user_path
from segearth.summary import json_writer, result_rows, summarise, text_table
from segearth.vocabulary import Vocabulary, check_threshold, describe_settings

if TYPE_CHECKING:
    from affine import Affine
    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from segearth.notebook.view import View
    from segearth.scenes.class_areas import AreaSums

    Labels = NDArray[np.uint8 | np.uint16]

SHOWN = 1024  # longest side of the picture in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A map of a picture, at its own size, or of a scene.

    Attributes:
        labels: (H, W) class indices, uint8 (uint16 with more than 254 classes). Where a threshold is set and no class
            is the background, uncertain pixels are *unclassified*: 254 (65534). Pixels of a scene without data are
            *nodata*: 255 (65535).
        confidence: (H, W) float32 in [0, 1], the score of the best class, whatever the threshold; 0 for nodata.
        scores: (C, H, W) float32 in [0, 1], the score of every class, before the scales of the vocabulary; 0 for
            nodata; None if they were not requested.
        vocabulary: the C classes.
        best: (H, W), `labels` without thresholds.
        threshold: for classes without a threshold of their own; pixels with less confidence are uncertain.
        pixels: (H, W, 3) uint8 RGB, the image; of a scene, its stretched bands, white for nodata.
        name: for files: the file name of the image without suffix, or "map".
        settings: all settings that the map depends on.
        device: the device that computed it.
        seconds: computing time.
        remarks: conversions made while reading the image, one sentence each.
        transform: `affine.Affine` of a scene from (column, row) to coordinates; None for a picture.
        crs: coordinate system of a scene, a `rasterio.crs.CRS`; None if it has none, and for a picture.
    """

    labels: Labels
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32] | None
    vocabulary: Vocabulary
    best: Labels
    pixels: NDArray[np.uint8]
    threshold: float = 0.0
    name: str = "map"
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    transform: Affine | None = None
    crs: CRS | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The C class names, in index order."""
        return self.vocabulary.names

    @property
    def palette(self) -> NDArray[np.uint8]:
        """(C, 3) uint8 RGB, a colour for every class."""
        return np.array(self.vocabulary.palette, np.uint8)

    @property
    def has_unclassified(self) -> bool:
        """Whether unclassified pixels are possible: there is a threshold and no background class."""
        return has_unclassified(self.vocabulary, self.threshold)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) whether pixels have data."""
        known: NDArray[np.bool_] = self.labels != label_values(len(self.vocabulary)).nodata
        return known

    @checks_options
    def with_threshold(
        self,
        threshold: float | Mapping[str, float],
        background: int | str | bool | None = None,
    ) -> Result:
        """The same map with another threshold, computed without the model.

        Args:
            threshold: in [0, 1], for all classes; pixels with less confidence are uncertain. A mapping from class name
                to threshold changes only those classes.
            background: the class that uncertain pixels become, by name or index; None: unchanged; False: none, they
                become unclassified.

        Raises:
            UserError: a threshold out of range, or an unknown class.
        """
        vocabulary = self.vocabulary if background is None else self.vocabulary.with_background(background)
        if isinstance(threshold, Mapping):
            return thresholded(replace(self, vocabulary=vocabulary.with_thresholds(threshold)))
        vocabulary = vocabulary.with_thresholds(None)
        return thresholded(replace(self, vocabulary=vocabulary, threshold=check_threshold(threshold)))

    def shares(self) -> dict[str, float]:
        """The share of each class in the valid pixels, 0 to 1; with *unclassified* if such pixels are possible.

        All are 0 if no pixel is valid.
        """
        rows = result_rows(self)
        total = max(1, sum(row["pixels"] for row in rows))
        return {row["name"]: row["pixels"] / total for row in rows}

    def area_sums(self) -> AreaSums | None:
        """Pixels and areas of a scene's classes; None for a picture."""
        if self.transform is None:
            return None
        from segearth.scenes.class_areas import AreaSums
        from segearth.scenes.pixel_areas import pixel_areas

        areas = pixel_areas(self.transform, self.crs, self.labels.shape)
        return AreaSums.from_labels(self.labels, len(self.vocabulary), areas)

    def place(self) -> dict[str, Any]:
        """Georeference of a scene for its summary: crs, transform, bounds and pixel_m; empty for a picture."""
        if self.transform is None:
            return {}
        from segearth.scenes.pixel_size import spatial_metadata

        return spatial_metadata(self.transform, self.crs, self.labels.shape)

    def table(self) -> str:
        """Text table of pixels, percent and mean confidence by class, largest first; of a scene also hectares."""
        return text_table(result_rows(self))

    def summary(self, truth: NDArray[np.integer] | None = None) -> dict[str, Any]:
        """The summary of the map, as it is written to `NAME.summary.json`.

        Args:
            truth: (H, W) true class indices, 255 where unknown; adds `miou`.
        """
        return summarise(self, truth)

    @checks_options
    def overlay(self, opacity: float = 0.5, outline: bool = True, legend: bool = True) -> Image.Image:
        """Draws the colours of the map over the image.

        Args:
            opacity: opacity of the colours, 0 to 1.
            outline: whether to draw lines between classes.
            legend: whether to add a legend with shares; of a scene also areas, a scale bar and north, if known.

        Raises:
            UserError: an opacity out of range.
        """
        from segearth.drawing import blend, with_legend

        if not isinstance(opacity, Real) or not 0 <= opacity <= 1:
            raise UserError(f"opacity {opacity!r}: expected 0 (the image alone) to 1 (the map alone); change it")
        picture = blend(self.pixels, self.labels, self.palette, opacity, outline)
        if not legend:
            return picture
        rows = result_rows(self)
        note = f"model: {self.settings['model']}" if self.settings.get("model") else ""
        if self.transform is not None:
            from segearth.scenes.georeference import Georeference
            from segearth.scenes.scene_overlay import annotate

            height, width = self.labels.shape
            ground = Georeference.from_rasterio(self.transform, self.crs)
            return annotate(picture, self.palette, rows, ground, (width / 2, height / 2), note=note)
        names = [row["name"] for row in rows]  # one more than colours where pixels can be unclassified
        return with_legend(picture, names, self.palette, [f"{row['percent']:.1f} %" for row in rows], note)

    def label_image(self) -> Image.Image:
        """The labels as an image with a palette, or 16-bit grey with more than 254 classes."""
        from segearth.drawing import label_image

        return label_image(self.labels, self.palette)

    @checks_options
    def save(self, folder_or_path: str | Path, opacity: float = 0.5, outline: bool = True) -> list[Path]:
        """Writes all files of the map, or none.

        Args:
            folder_or_path: a folder, created if missing, for NAME.labels.png (of a scene NAME.labels.tif, .tif.aux.xml
                and .qml), NAME.overlay.png and NAME.summary.json, with the name of the image. Or the path of one file:
                `.json` is the summary; `.npz` labels, confidence and scores; `.jpg` the overlay; `.png` the
                labels, or the overlay if its name ends in "overlay.png"; `.tif` a GeoTIFF of the labels with colours
                and names, or, as bytes, of the confidence or the scores if its name says so ("scene.scores.tif").
            opacity: see `overlay`.
            outline: see `overlay`.

        Returns:
            The written paths.

        Raises:
            UserError: an unknown suffix, a path that cannot be written, scores that were not kept, or a GeoTIFF without
                rasterio.
        """
        from segearth.outputs import writable_folder, write_all

        if not isinstance(folder_or_path, str | Path) or not str(folder_or_path):
            raise UserError(
                f"cannot save a map to {folder_or_path!r}: expected the path of a folder or a file; give one"
            )
        target = user_path(folder_or_path, "folder")
        if target.is_dir() or not target.suffix or str(folder_or_path).endswith("/"):
            folder = writable_folder(target)
            labels = "labels.png" if self.transform is None else "labels.tif"
            paths = [folder / f"{self.name}.{end}" for end in (labels, "overlay.png", "summary.json")]
        else:
            paths = [writable_folder(target.parent) / target.name]
        with ExitStack() as stack:
            writers: dict[Path, Callable[[Path], object]] = {}
            for path in paths:
                if path.suffix.lower() in (".tif", ".tiff"):
                    from segearth.scenes.result_geotiff import geotiff_writers

                    writers |= stack.enter_context(geotiff_writers(self, path))
                else:
                    writers[path] = self.writer(path, opacity, outline)
            return write_all(writers)

    def writer(self, path: Path, opacity: float = 0.5, outline: bool = True) -> Callable[[Path], object]:
        """A function that writes the content for `path` to a given path; see `save`. GeoTIFFs are not supported."""
        suffix = path.suffix.lower()
        if suffix == ".json":
            return json_writer(self.summary())
        if suffix == ".npz":
            return self._save_arrays
        if suffix in (".jpg", ".jpeg") or (suffix == ".png" and path.stem.lower().endswith("overlay")):
            picture = self.overlay(opacity, outline)
            return lambda target: picture.save(target, quality=92)
        if suffix == ".png":
            return self.label_image().save
        raise UserError(
            f"cannot save a map as {path.name}: expected a folder, or a file that ends in .png (labels, or overlay by "
            "its name), .tif (GeoTIFF), .jpg (overlay), .json (summary) or .npz (labels, confidence, scores); change "
            "the ending"
        )

    def _save_arrays(self, path: Path) -> None:
        arrays = {"labels": self.labels, "confidence": self.confidence, "classes": np.array(self.classes)}
        if self.scores is not None:
            arrays["scores"] = self.scores
        if self.transform is not None:
            arrays["transform"] = np.array(self.transform[:6])
            arrays["crs"] = np.array("" if self.crs is None else self.crs.to_wkt())
        np.savez_compressed(path, allow_pickle=False, **arrays)

    def __repr__(self) -> str:
        height, width = self.labels.shape
        largest = sorted(self.shares().items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest[:3])
        more = ", ..." if len(largest) > 3 else ""
        system = "" if (crs := self.place().get("crs")) is None else f" in {crs.partition('[')[0]}"
        return f"<Result {self.name!r}: {width} × {height} pixels{system}, {len(self.classes)} classes: {shown}{more}>"

    def _repr_png_(self) -> bytes:
        """The overlay with its legend, for notebooks."""
        file = io.BytesIO()
        picture = self.overlay()
        picture.thumbnail((SHOWN, SHOWN + SHOWN // 2))
        picture.save(file, "PNG")
        return file.getvalue()

    def _repr_html_(self) -> str:
        """For notebooks: an interactive map with folium, else the overlay with its legend; and the table."""
        from segearth.notebook.interactive import interactive_html
        from segearth.notebook.view import html_picture, html_table

        view = self._view()
        shown = None if view is None else interactive_html(view)
        rows = result_rows(self) if view is None else view.rows
        return (shown or html_picture(self._repr_png_(), repr(self))) + html_table(rows)

    def _view(self) -> View | None:
        """The view of the map in a notebook; None if it cannot be shown in Web Mercator."""
        if self.transform is not None and self.crs is not None:
            from segearth.scenes.scene_view import result_view

            return result_view(self, result_rows(self))
        from segearth.notebook.view import pixel_view

        return pixel_view(self, result_rows(self))

    @checks_options
    def to_geodataframe(
        self,
        min_area: float = 0.0,
        simplify: float = 0.0,
        only: Sequence[str] = (),
        dissolve: bool = False,
        force: bool = False,
    ) -> GeoDataFrame:
        """The polygons of the map, as `segearth vectorize` writes them.

        Args:
            min_area: see `segearth.vectors.options.VectorOptions`, as for all others.
            simplify: likewise.
            only: likewise.
            dissolve: likewise.
            force: likewise.

        Returns:
            One row per polygon, with `class`, `class_id`, `pixels`, `area_m2`, `mean_confidence` and `source`. Without
            coordinate system the unit is pixels: x is the column, y the negative row.

        Raises:
            UserError: geopandas or the packages of scenes are missing, or see `vectorize`.
        """
        from segearth.geodataframe import polygons_of_result

        return polygons_of_result(self, min_area=min_area, simplify=simplify, only=only, dissolve=dissolve, force=force)


def thresholded(result: Result) -> Result:
    """Applies the thresholds of a result to its best classes."""
    vocabulary = result.vocabulary
    settings = {
        **result.settings,
        "classes": describe_settings(vocabulary),
        "background": vocabulary.background_name,
        "threshold": result.threshold,
    }
    return replace(
        result, labels=apply_thresholds(result.best, result.confidence, vocabulary, result.threshold), settings=settings
    )
