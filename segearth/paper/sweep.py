"""Sets and methods evaluated one after the other, each in a folder of its own: WORK_DIR/METHOD/SET."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from segearth.datasets import DATASETS
from segearth.distributed.ranks import ALONE, Lost, Ranks
from segearth.errors import UserError, command, option
from segearth.exits import reraise_if_ending
from segearth.json_files import write_json
from segearth.outputs import atomic
from segearth.paper.methods import Method
from segearth.paper.text import one_line

FAILURE, TRACEBACK, PICTURES = "failure.json", "traceback.txt", "pictures"
JOURNAL = "_journal"  # configs with the prompts of the journal edition


@dataclass(frozen=True)
class Settings:
    """What all runs of a sweep have in common.

    Attributes:
        configs: folder of the configs.
        work_dir: an existing folder.
        data_root: a folder that stands for the leading `data/` of data paths.
        model: what `segearth.clips.resolve` takes; it replaces the configs' CLIP and upsampler.
        architecture: of such a model that is given by path or address.
        upsampler: in place of the model's or the configs' own, for the methods that have one and name none themselves.
        upsamplers: folder of upsamplers that were trained for rows of the ablation.
        options: further changes to the configs, "key=value" each.
        limit: only so many images a set.
        pictures: how many a set and method.
        quiet: no progress bars.
    """

    configs: Path
    work_dir: Path
    data_root: Path | None = None
    model: str | None = None
    architecture: str | None = None
    upsampler: str | None = None
    upsamplers: Path | None = None
    options: tuple[str, ...] = ()
    limit: int | None = None
    pictures: int = 2
    quiet: bool = False


def select_datasets(names: Sequence[str], configs: Path) -> list[str]:
    """Sets by name, each once, in the order given.

    Args:
        names: names of configs, with or without `cfg_` and `.py`; upper and lower case are the same.
        configs: folder of the configs.

    Raises:
        UserError: an unknown name.
    """
    known = {name.lower(): name for name in dataset_order() if (configs / f"cfg_{name}.py").is_file()}
    chosen = []
    for name in names:
        wanted = name.lower().removeprefix("cfg_").removesuffix(".py")
        if wanted not in known:
            raise UserError(
                f"unknown data set {name!r}: expected one of {', '.join(known.values())}; give such names for "
                f"{option('datasets')}"
            )
        chosen.append(known[wanted])
    return list(dict.fromkeys(chosen))


def dataset_order() -> list[str]:
    """All sets in the paper's order, each followed by its variant with the journal's prompts."""
    return [name + variant for name in DATASETS for variant in ("", JOURNAL)]


def sweep(
    datasets: Sequence[str],
    methods: Sequence[Method],
    settings: Settings,
    *,
    ranks: Ranks = ALONE,
    say: Callable[[str], object] = lambda text: None,  # noqa: ARG005
    after: Callable[[], object] = lambda: None,
) -> list[str]:
    """Evaluates every set with every method; what fails is noted, and the rest goes on.

    What was finished before with the same settings is not computed again.

    Args:
        datasets: names of configs without `cfg_`; empty for those of each method's table in the paper.
        methods: rows of the paper's tables.
        settings: what they have in common.
        ranks: the processes that do this together.
        say: told what goes on, by the first process.
        after: called after each of them, by the first process.

    Returns:
        A sentence for each that failed.
    """
    failures = []
    pairs = [(method, dataset) for method in methods for dataset in datasets or method.datasets or DATASETS]
    for i, (method, dataset) in enumerate(pairs, start=1):
        folder = settings.work_dir / method.name / dataset
        if ranks.is_main:
            say(f"[{i}/{len(pairs)}] {method.title}, {dataset}")
        try:
            row = _evaluate(method, dataset, settings, folder, ranks)
        except Lost:  # nothing is known about this set, and the next would end alike
            raise
        except Exception as error:
            reraise_if_ending(error)
            sentence = one_line(str(error))
            if not isinstance(error, UserError):
                sentence = f"{type(error).__name__}: {sentence} (see {folder / TRACEBACK})"
            failures.append(f"{method.title}, {dataset}: {sentence}")
            if ranks.is_main:
                say(f"failed: {sentence}")
                try:
                    _note_failure(folder, sentence, error)
                except (OSError, UserError) as problem:  # a full disk, or a file in the folder's place
                    say(f"warning: why it failed is not kept in {folder}: {one_line(str(problem))}")
        else:
            if ranks.is_main:
                (folder / FAILURE).unlink(missing_ok=True)
                (folder / TRACEBACK).unlink(missing_ok=True)
                figure = row["mIoU"] if row["IoU_fg"] is None else row["IoU_fg"]
                say(f"{'mIoU' if row['IoU_fg'] is None else 'foreground IoU'}: {figure}, {row['images']} images")
                for remark in row.get("remarks", ()):
                    say(f"warning: {remark}")
        if ranks.is_main:
            try:
                after()
            except UserError as error:  # a workbook that is open elsewhere is no reason to stop
                say(f"warning: {error}")
    return failures


def _evaluate(method: Method, dataset: str, settings: Settings, folder: Path, ranks: Ranks) -> dict[str, Any]:
    """One set with one method."""
    from segearth.openmmlab.runner import evaluate

    options, upsampler = ranks.everywhere(lambda: changes(method, settings))
    row, _ = evaluate(
        settings.configs / f"cfg_{dataset}.py",
        folder,
        data_root=settings.data_root,
        ranks=ranks,
        show_dir=folder / PICTURES if settings.pictures else None,
        shown=settings.pictures,
        options=[*options, *settings.options],
        limit=settings.limit,
        model=settings.model,
        architecture=settings.architecture,
        upsampler=upsampler,
        reuse=True,
        zero_shot=True,
        quiet=settings.quiet,
    )
    return row


def changes(method: Method, settings: Settings) -> tuple[list[str], str | None]:
    """What turns a config into a method's: changes to it, and the upsampler that replaces the config's, if any.

    Args:
        method: a row of a table.
        settings: of the sweep.

    Raises:
        UserError: the method's upsampler is not there.
    """
    options = [f"{key}={value}" for key, value in method.changes.items()]
    if method.weights is not None:
        own = _trained(method, settings.model, settings.upsamplers) if method.training else method.weights
        return options, str(own)
    used = method.changes.get("model.feature_up") != "False"
    return options, settings.upsampler if used else None


def _trained(method: Method, model: str | None, upsamplers: Path | None) -> Path:
    """The file of an upsampler that users train themselves."""
    folder = upsamplers or Path("upsamplers")
    for suffix in (".safetensors", ".ckpt"):
        if upsamplers is not None and (path := folder / f"{method.weights}{suffix}").is_file():
            _check_kind(path, method)
            return path.absolute()
    options, _, advice = method.training.partition(", ")
    raise UserError(
        f"the upsampler of this row was never published, and there is no {folder / str(method.weights)}.safetensors: "
        f"train it{' ' + advice if advice else ''} with {command('train-upsampler')} --model "
        f"{model or 'clip-vit-b16'} --images DIR {options} -o {folder / str(method.weights)}.safetensors, and give "
        f"{option('upsamplers', str(folder))}"
    )


def _check_kind(path: Path, method: Method) -> None:
    """Refuses an upsampler of another kind than the row's."""
    from segearth.checkpoints import read_state_dict
    from segearth.models.simfeatup import published_name

    kind, _ = published_name(read_state_dict(path))
    if kind != method.upsampler:
        raise UserError(
            f"{path} holds a {kind}, but {method.title} has a {method.upsampler}: expected that; train it as "
            f"{method.training.partition(', ')[0]} says"
        )


def _note_failure(folder: Path, sentence: str, error: Exception) -> None:
    """Keeps the reason beside earlier results, for the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(error, UserError):
        (folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="replace")
    note = {"error": sentence, "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    with atomic(folder / FAILURE) as part:
        write_json(part, note)
