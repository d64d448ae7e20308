"""Data set classes for mmsegmentation, made from the descriptions; and opening and checking a data set."""

from __future__ import annotations

import difflib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from segearth.datasets import Description, dataset_classes
from segearth.datasets.places import lossy_label, set_of
from segearth.errors import UserError, command, notice, option
from segearth.images.files import SUFFIXES
from segearth.openmmlab.reading import read_alike


class _Described(BaseSegDataset):  # type: ignore[misc]
    """A set of `segearth.datasets`: classes, palette and default suffixes are those of its description."""

    spec: ClassVar[Description]

    def __init__(
        self,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        reduce_zero_label: bool | None = None,
        **kwargs: Any,
    ) -> None:
        spec = self.spec
        super().__init__(
            img_suffix=spec.image_suffix if img_suffix is None else img_suffix,
            seg_map_suffix=spec.label_suffix if seg_map_suffix is None else seg_map_suffix,
            reduce_zero_label=spec.reduce_zero_label if reduce_zero_label is None else reduce_zero_label,
            **kwargs,
        )


def dataset_class(spec: Description) -> type[_Described]:
    """Makes the class that reads a set."""
    return type(
        spec.dataset_class,
        (_Described,),
        {
            "__doc__": f"{spec.title}, {spec.split}.",
            "__module__": __name__,
            "METAINFO": {"classes": spec.classes, "palette": [list(colour) for colour in spec.palette]},
            "spec": spec,
        },
    )


# Registered in mmseg, and attributes of this module: processes that load images unpickle them by these names.
for _name, _spec in dataset_classes().items():
    globals()[_name] = DATASETS.register_module(module=dataset_class(_spec))


def open_dataset(settings: dict[str, Any], limit: int | None = None) -> Any:
    """Builds a data set and checks that its files are there.

    Args:
        settings: `test_dataloader.dataset` of a config, with absolute paths.
        limit: only the first images.

    Returns:
        A `BaseSegDataset` of at least one image, each with its label file; its `remarks` tell how images are read.

    Raises:
        UserError: an unknown type, wrong options, no images, images that cannot be read, labels that are missing.
    """
    init_default_scope("mmseg")  # where a pipeline's transforms are looked up by name
    settings = {key: value for key, value in settings.items() if key != "lazy_init" and not key.startswith("_")}
    settings = {"test_mode": True, **settings}
    kind, builder = settings.pop("type", None), None
    if isinstance(kind, type):
        kind, builder = kind.__name__, kind
    with suppress(RuntimeError):
        builder = builder or DATASETS.get(str(kind))
    if builder is None:
        near = difflib.get_close_matches(str(kind), DATASETS.module_dict, n=3, cutoff=0.7)
        known = ", ".join(near) or "LoveDADataset, OpenEarthMapDataset, or BaseSegDataset for a set of your own"
        raise UserError(
            f"unknown data set type {kind!r}: expected one of mmseg's or ours, such as {known}; change "
            "test_dataloader.dataset.type, or import the module that has it (custom_imports)"
        )
    if not (isinstance(builder, type) and issubclass(builder, BaseSegDataset)):
        raise UserError(
            f"the data set type {kind} is not a set of images with one label map each: expected a BaseSegDataset; "
            "evaluate each of the sets that it joins with its own config"
        )
    try:
        dataset = builder(**settings, lazy_init=True)
        found = len(dataset.load_data_list())
        chosen = settings.get("indices")
        if found and not isinstance(chosen, int) and chosen is not None and max(chosen) >= found:
            raise UserError(
                f"test_dataloader.dataset.indices has {max(chosen)}, but there are {found} images: expected 0 to "
                f"{found - 1}; give such indices, or a number of images"
            )
        if found:
            dataset.full_init()
    except UserError:
        raise
    except Exception as error:  # the config's options go to code of many authors
        text = " ".join(str(error).split())
        raise UserError(f"the data set {kind} cannot be opened ({text}): correct the config's dataset") from None
    if found == 0:
        raise UserError(_no_images(Path(dataset.data_prefix.get("img_path") or "."), str(dataset.img_suffix)))
    if limit is not None:
        dataset.get_subset_(list(range(min(limit, found))))
    _check_labels(dataset)
    dataset.remarks = read_alike(dataset)
    dataset[0]  # what is wrong with the steps of the pipeline shows on any image
    return dataset


def _no_images(folder: Path, suffix: str) -> str:
    """Why a folder has no images of that suffix, as far as what is there tells."""
    what = f"no images in {folder}: expected files that end in {suffix}"
    if not folder.is_dir():
        return f"{what}; give a folder"
    seen = Counter(path.suffix for path in folder.rglob("*") if path.is_file() and path.suffix)
    if seen:
        there = ", ".join(sorted(seen)[:5])
        images = [found for found, _ in seen.most_common() if found.lower() in SUFFIXES]
        change = option("options", f"test_dataloader.dataset.img_suffix={(images or ['SUFFIX'])[0]}", "cfg_options")
        return f"{what} (there are {there}); copy the images there, or give {change}"
    spec = set_of(folder)
    advice = f"prepare the set: {command('prepare')} {spec.name} SOURCE" if spec else "copy the images there"
    return f"{what}; {advice}"


def _check_labels(dataset: Any) -> None:
    """Refuses images without a label file, before hours are spent on the others."""
    pairs = [dataset.get_data_info(i) for i in range(len(dataset))]
    paths = [path for pair in pairs for path in (pair["img_path"], pair.get("seg_map_path")) if path is not None]
    labels = {pair.get("seg_map_path") for pair in pairs} - {None}
    if not labels:
        raise UserError("the data set has no label maps: set test_dataloader.dataset.data_prefix.seg_map_path")
    if missing := [path for path in paths if not Path(path).is_file()]:
        lossy = next((text for path in missing[:3] if path in labels and (text := lossy_label(path))), "")
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{len(missing)} files of the {len(pairs)} images and their labels are missing: {shown}; expected a label "
            f"map ({dataset.seg_map_suffix}) for every image; {lossy or 'copy or convert them'}"
        )
    if lossy := lossy_label(pairs[0].get("seg_map_path") or ""):
        notice(f"figures will differ from those of the true labels: {lossy}")
