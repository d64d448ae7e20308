"""Makes evaluation read images as prediction does, and checks all files before a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from segearth.errors import UserError, first_line, printable, without_warnings
from segearth.images import Header, read_header, read_image
from segearth.images.files import FORMATS
from segearth.tiff import COORDINATES, refuse_sparse


class ReadImage(LoadImageFromFile):  # type: ignore[misc]
    """Loads images by `read_image`; mmcv's `LoadImageFromFile` reads some images differently.

    Args:
        to_float32: whether pixels are float32, not uint8.
    """

    def __init__(self, to_float32: bool = False) -> None:
        super().__init__(to_float32=to_float32)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds `img`, (H, W, 3) in BGR order, and its sizes."""
        pixels, _ = read_image(results["img_path"])
        image = np.ascontiguousarray(pixels[..., ::-1])
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results


def read_alike(dataset: Any) -> list[str]:
    """Makes a data set read its images as prediction does, and looks at the headers of all files.

    A pipeline that begins with another transform than mmcv's keeps its own way, and nothing is checked.

    Returns:
        What should be known of how images are read, one sentence for all images of a kind.

    Raises:
        UserError: an image that `read_image` refuses, or a label map that is no picture of its size.
    """
    steps = dataset.pipeline.transforms
    loaders = [i for i, step in enumerate(steps) if type(step) is LoadImageFromFile]
    for i in loaders:
        steps[i] = ReadImage(steps[i].to_float32)
    dataset.pipeline = _Readable(dataset.pipeline)
    return _check_images(dataset, any(type(step) is LoadAnnotations for step in steps)) if loaders else []


def _check_images(dataset: Any, labels: bool) -> list[str]:
    """Checks the headers of all images, and of label maps that mmseg reads."""
    refused: list[str] = []
    told: dict[str, list[str]] = {}
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        image = info["img_path"]
        try:
            header = read_header(image)
        except UserError as error:
            refused.append(str(error))
            continue
        if labels and info.get("seg_map_path"):
            _check_label(image, header, info["seg_map_path"])
        for remark in header.remarks:
            told.setdefault(remark.removeprefix(f"{printable(image)} "), []).append(printable(image))
    if refused:
        others = f" ({len(refused) - 1} more of the {len(dataset)} images are refused)" if len(refused) > 1 else ""
        raise UserError(f"{refused[0]}{others}")
    told.pop(COORDINATES, None)
    return [
        f"{images[0]} {what}" + (f" ({len(images) - 1} more of the images likewise)" if len(images) > 1 else "")
        for what, images in told.items()
    ]


def _check_label(image: str, header: Header, label: str) -> None:
    """Refuses a label map that is no picture, or not one of this image."""
    try:
        with without_warnings(), Image.open(label, formats=tuple(FORMATS)) as opened:
            height, width = opened.height, opened.width
            refuse_sparse(opened, f"the label map {label}")
    except UserError:
        raise
    except Exception as error:  # a file of any content
        raise UserError(
            f"the label map {label} is damaged or no picture ({first_line(error)}): expected PNG or TIFF; copy or "
            "convert it again"
        ) from None
    if (height, width) != header.size:
        turned, way_out = "", "convert the labels"
        if header.orientation != 1:
            turned = f" once it is turned upright as its EXIF orientation ({header.orientation}) says"
            way_out = "turn the label map, or remove the tag if the image is upright as it is stored"
        raise UserError(
            f"the label map {label} has {width} × {height} pixels, its image {image} {header.size[1]} × "
            f"{header.size[0]}{turned}: expected one label a pixel; {way_out}"
        )


class _Readable:
    """A pipeline whose failures name the file that cannot be read."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def __call__(self, info: dict[str, Any]) -> Any:
        image, label = info.get("img_path"), info.get("seg_map_path")
        try:
            return self.pipeline(info)
        except UserError:
            raise
        except Exception as error:
            if image is not None:
                read_image(image)  # says what is wrong with it, if it is the image
            _open_label(label)
            text = " ".join(str(error).split())
            raise UserError(
                f"the steps of test_dataloader.dataset.pipeline fail on {image} with the labels {label} "
                f"({type(error).__name__}: {text}), although both files can be read: expected steps that take any "
                "image; correct their options"
            ) from None


def _open_label(path: str | None) -> None:
    """Refuses a label file that is no picture."""
    try:
        if path is not None:
            with Image.open(path) as image:
                image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the label map {path} is damaged ({error}): copy or convert it again") from None
