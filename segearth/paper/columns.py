"""The columns of the tables: the paper's data sets, their variants with the journal's prompts, and one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segearth.config_files import configs_folder, find_config
from segearth.datasets import DATASETS, describe
from segearth.errors import UserError, option

JOURNAL = "_journal"  # ends the names of configs with the prompts of the journal edition


@dataclass(frozen=True)
class TableColumn:
    """A data set.

    Attributes:
        name: that of its config without `cfg_`, and of its folder.
        title: for people.
        metric: what papers compare: "mIoU", or "IoU of <class>".
        expected: how many images the split has; several where several are in use; empty: not known.
        config: the file of one's own; None: one of segearth's configs.
    """

    name: str
    title: str
    metric: str = "mIoU"
    expected: tuple[int, ...] = ()
    config: Path | None = None

    @property
    def path(self) -> Path:
        """The config file."""
        return self.config or configs_folder() / f"cfg_{self.name}.py"

    @property
    def order(self) -> int:
        """Its place among all sets; one's own come last."""
        order = dataset_order()
        return order.index(self.name) if self.name in order else len(order)


def dataset_order() -> list[str]:
    """All sets, those of the paper in its order and then the others, each followed by its variants."""
    return [name for spec in DATASETS.values() for name in (spec.name, *(variant.name for variant in spec.variants))]


def column(name: str) -> TableColumn:
    """The column of a data set; a name that is none of `dataset_order` is one's own."""
    if name not in dataset_order():
        return TableColumn(name, name)
    spec = describe(name)
    return TableColumn(name, spec.title + " (J)" * name.endswith(JOURNAL), spec.metric, spec.expected)


def select_columns(names: Sequence[str]) -> list[TableColumn]:
    """Data sets by name, each once, in the order given.

    Args:
        names: names of configs, with or without `cfg_` and `.py`; upper and lower case are the same.

    Raises:
        UserError: an unknown name.
    """
    known = {name.lower(): name for name in dataset_order() if column(name).path.is_file()}
    chosen = []
    for name in names:
        wanted = name.lower().removeprefix("cfg_").removesuffix(".py")
        if wanted not in known:
            raise UserError(
                f"unknown data set {name!r}: expected one of {', '.join(known.values())}; give such names for "
                f"{option('datasets')}, and the config of another set for {option('config')}"
            )
        chosen.append(known[wanted])
    return [column(name) for name in dict.fromkeys(chosen)]


def own_columns(configs: Sequence[str]) -> list[TableColumn]:
    """One's own data sets, by their config files.

    Args:
        configs: paths; the names of the files are the names of the sets.

    Raises:
        UserError: no such file, or one whose name another set has.
    """
    chosen: dict[str, TableColumn] = {}
    taken = {"average", *(name.lower() for name in dataset_order())}
    for config in configs:
        path = find_config(config)
        name = path.stem.removeprefix("cfg_")
        if name.lower() in taken:
            raise UserError(
                f"{option('config', config)}: there is another data set {name}; expected a file with a name of its "
                f"own, because it is the set's name in the tables; rename it, or give {option('datasets', name)} for "
                "one of segearth's configs"
            )
        taken.add(name.lower())
        chosen[name] = TableColumn(name, name, config=path)
    return list(chosen.values())
