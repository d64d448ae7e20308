"""Presets of classes: those of the paper's data sets."""

from __future__ import annotations

from functools import cache
from typing import Any

from segearth.config_files import configs_folder
from segearth.datasets import DATASETS
from segearth.errors import UserError
from segearth.vocabulary import Vocabulary


@cache
def presets() -> list[dict[str, Any]]:
    """The presets as JSON: name, text of the classes, and tuned threshold."""
    rows = []
    for dataset in DATASETS.values():
        try:
            classes = Vocabulary.from_file(configs_folder() / dataset.prompts).classes
        except UserError:  # an installation without configs has no presets
            continue
        text = "; ".join(",".join(names) for names in classes)
        rows.append({"name": dataset.title, "classes": text, "threshold": dataset.prob_thd or 0.0})
    return rows
