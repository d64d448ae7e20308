"""Lists of classes to begin with: those of the paper's data sets."""

from __future__ import annotations

from functools import cache
from typing import Any

from segearth.config_files import configs_folder
from segearth.datasets import DATASETS
from segearth.errors import UserError
from segearth.vocabulary import Vocabulary


@cache
def presets() -> list[dict[str, Any]]:
    """Each with its name, the text of its classes, and the threshold that was tuned for it."""
    found = []
    for one in DATASETS.values():
        try:
            classes = Vocabulary.from_file(configs_folder() / one.prompts).classes
        except UserError:  # an installation without configs has no presets
            continue
        text = "; ".join(",".join(names) for names in classes)
        found.append({"name": one.title, "classes": text, "threshold": one.prob_thd or 0.0})
    return found
