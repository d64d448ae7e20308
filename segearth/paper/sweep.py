"""Sets and methods evaluated one after the other, each in a folder of its own: WORK_DIR/METHOD/SET."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from segearth.config_files import UNCHANGED, ConfigChanges
from segearth.datasets import DATASETS, PAPER_DATASETS
from segearth.errors import UserError, command, option
from segearth.exits import reraise_if_ending
from segearth.jobs.team import ALONE, Team
from segearth.json_files import write_json
from segearth.outputs import atomic
from segearth.paper.methods import Method
from segearth.paper.text import one_line
from segearth.results.folder import read_runs

FAILURE, TRACEBACK, PICTURES = "failure.json", "traceback.txt", "pictures"
JOURNAL = "_journal"  # configs with the prompts of the journal edition


@dataclass(frozen=True)
class Settings:
    """What all runs of a sweep have in common.

    Attributes:
        configs: folder of the configs.
        work_dir: an existing folder.
        changes: to all configs; the upsampler is for the methods that have one and name none themselves.
        upsamplers: folder of upsamplers that were trained for rows of the ablation.
        limit: only so many images a set.
        pictures: how many a set and method.
        quiet: no progress bars.
    """

    configs: Path
    work_dir: Path
    changes: ConfigChanges = UNCHANGED
    upsamplers: Path | None = None
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
    """All sets, those of the paper in its order and then the others, each followed by its variants."""
    return [name for spec in DATASETS.values() for name in (spec.name, *(variant.name for variant in spec.variants))]


def sweep(
    datasets: Sequence[str],
    methods: Sequence[Method],
    settings: Settings,
    *,
    team: Team = ALONE,
    say: Callable[[str], object] = lambda text: None,  # noqa: ARG005
    after: Callable[[], object] = lambda: None,
) -> list[str]:
    """Evaluates every set with every method; what fails is noted, and the rest goes on.

    What was finished before with the same settings is not computed again.

    Args:
        datasets: names of configs without `cfg_`; empty for those of each method's table in the paper.
        methods: rows of the paper's tables.
        settings: what they have in common.
        team: the processes that do this together.
        say: told what goes on, by the first process.
        after: called after each of them, by the first process.

    Returns:
        A sentence for each that failed.
    """
    failures = []
    pairs = [(method, dataset) for method in methods for dataset in datasets or method.datasets or PAPER_DATASETS]
    for i, (method, dataset) in enumerate(pairs, start=1):
        folder = settings.work_dir / method.name / dataset
        if team.is_main:
            say(f"[{i}/{len(pairs)}] {method.title}, {dataset}")
        sentence = _evaluate(method, dataset, settings, folder, team)
        sentence = next(filter(None, team.gather(settings.work_dir, sentence)), None)
        if sentence is not None:
            failures.append(f"{method.title}, {dataset}: {sentence}")
        if team.is_main:
            _report(folder, sentence, say)
            try:
                after()
            except UserError as error:  # a workbook that is open elsewhere is no reason to stop
                say(f"warning: {error}")
    return failures


def _evaluate(method: Method, dataset: str, settings: Settings, folder: Path, team: Team) -> str | None:
    """Evaluates a set with a method; why that failed, in a sentence, or None."""
    from segearth.openmmlab.evaluate import evaluate

    try:
        evaluate(
            settings.configs / f"cfg_{dataset}.py",
            folder,
            changes=team.run_on_all_ranks(folder, lambda: changes(method, settings)),
            limit=settings.limit,
            show_dir=folder / PICTURES if settings.pictures else None,
            shown=settings.pictures,
            reuse=True,
            zero_shot=True,
            team=team,
            quiet=settings.quiet,
        )
    except Exception as error:
        reraise_if_ending(error)
        if isinstance(error, UserError):
            return one_line(str(error))
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(traceback.format_exception(error))
            (folder / TRACEBACK).write_text(text, encoding="utf-8", errors="replace")
        return f"{type(error).__name__}: {one_line(str(error))} (see {folder / TRACEBACK})"
    return None


def _report(folder: Path, failure: str | None, say: Callable[[str], object]) -> None:
    """Says what came out, and keeps the reason of a failure beside earlier results, for the tables."""
    if failure is None:
        (folder / FAILURE).unlink(missing_ok=True)
        (folder / TRACEBACK).unlink(missing_ok=True)
        run = read_runs(folder)[-1]
        figure = run.miou if run.foreground_iou is None else run.foreground_iou
        say(f"{'mIoU' if run.foreground_iou is None else 'foreground IoU'}: {figure}, {run.images} images")
        for remark in run.remarks:
            say(f"warning: {remark}")
        return
    say(f"failed: {failure}")
    note = {"error": failure, "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / FAILURE) as part:
            write_json(part, note)
    except (OSError, UserError) as error:  # a full disk, or a file in the folder's place
        say(f"warning: why it failed is not kept in {folder}: {one_line(str(error))}")


def changes(method: Method, settings: Settings) -> ConfigChanges:
    """What turns a config into a method's: the changes of the sweep, those of the method, and its upsampler.

    Args:
        method: a row of a table.
        settings: of the sweep.

    Raises:
        UserError: the method's upsampler is not there.
    """
    common = settings.changes
    options = (*(f"{key}={value}" for key, value in method.changes.items()), *common.options)
    upsampler = common.upsampler if method.changes.get("model.feature_up") != "False" else None
    if method.weights is not None:
        trained = _trained(method, common.model, settings.upsamplers) if method.training else method.weights
        upsampler = str(trained)
    return replace(common, options=options, upsampler=upsampler)


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
    from segearth.clips.upsamplers import identify_upsampler

    kind, _ = identify_upsampler(read_state_dict(path))
    if kind != method.upsampler:
        raise UserError(
            f"{path} holds a {kind}, but {method.title} has a {method.upsampler}: expected that; train it as "
            f"{method.training.partition(', ')[0]} says"
        )
