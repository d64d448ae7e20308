"""Predicts images of a split that no published table uses, with their labels, for calibration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segearth.errors import UserError, option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SPLITS = ("val", "valid", "validation", "test")  # folders of what tables are made of


def other_split(config: Any, split: str) -> None:
    """Makes a config read another split: the last folder `val` or `test` of its data paths becomes this one.

    Args:
        config: as `segearth.openmmlab.config.read_config` gives it; its paths are not placed yet.
        split: the folder's name, such as "train".

    Raises:
        UserError: a split that a table uses, a list of images, or paths that do not tell the split.
    """
    dataset = config.test_dataloader.dataset
    if split.lower() in _SPLITS:
        raise UserError(
            f"{option('split', split)} is a split that tables are made of: expected another one, such as train, as "
            "figures of images that settings were fitted to say nothing; give that"
        )
    if dataset.get("ann_file"):
        raise UserError(
            f"the images of this config are those that {dataset['ann_file']} lists (ann_file), so its other splits are "
            f"not known: expected folders; give images, and their labels by {option('labels', 'DIR')}"
        )
    root, prefix = str(dataset.get("data_root") or ""), {}
    for key in ("img_path", "seg_map_path"):
        parts = list(Path(root, str(dataset["data_prefix"].get(key) or "")).parts)
        places = [i for i, part in enumerate(parts) if part.lower() in _SPLITS]
        if not places:
            raise UserError(
                f"{Path(*parts)} (data_prefix.{key}) does not tell its split: expected a folder {' or '.join(_SPLITS)} "
                f"in it; give images instead of a config, and their labels by {option('labels', 'DIR')}"
            )
        parts[places[-1]] = split
        prefix[key] = str(Path(*parts))
    dataset["data_root"], dataset["data_prefix"] = "", prefix
    dataset.pop("indices", None)


def check_apart(config: Any, tables: list[Any]) -> None:
    """Refuses folders that are those of a published table under another name, such as links.

    Args:
        config: with placed paths.
        tables: data sets of other splits, whose paths are placed, too.

    Raises:
        UserError: they are.
    """
    for key, value in config.test_dataloader.dataset.data_prefix.items():
        for other in tables:
            if Path(value).resolve() == Path(other["data_prefix"][key]).resolve():
                raise UserError(
                    f"{value} is the folder {other['data_prefix'][key]}, which the table is made of: expected images "
                    f"of another split; give them by {option('split')}"
                )


def open_split(config: Any, limit: int | None) -> Any:
    """The data set of a config that `load_config` has given another split, with the classes of its prompts.

    Raises:
        UserError: as `segearth.openmmlab.datasets.open_dataset`.
    """
    from segearth.openmmlab.datasets import open_dataset
    from segearth.openmmlab.labels import check_classes

    dataset = open_dataset(config.test_dataloader.dataset, limit)
    check_classes(config.model["name_path"], dataset.metainfo["classes"], type(dataset).__name__)
    return dataset


def scores_and_labels(config: Any, dataset: Any) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.uint8]]]:
    """Predicts the images of a data set as evaluation does, one after another.

    Args:
        config: as `segearth.openmmlab.config.load_config` gives it, weights fetched.
        dataset: as `open_split` gives it.

    Yields:
        The image's path, scores (C, H, W) in [0, 1] and the true classes (H, W), 255 where unknown.

    Raises:
        UserError: as `segearth.openmmlab.evaluate.evaluate`.
    """
    from segearth.openmmlab.eval_runner import build_segmentor
    from segearth.openmmlab.metric import check_sample

    classes = dataset.metainfo["classes"]
    segmentor = build_segmentor(config)
    for i in range(len(dataset)):
        packed = dataset[i]
        (sample,) = segmentor.test_step({"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]})
        check_sample(sample.to_dict(), len(classes), 255)
        yield sample.img_path, sample.seg_logits.data.cpu().numpy(), sample.gt_sem_seg.data[0].cpu().numpy()
