"""Methods and sets evaluated one after the other, each in a folder of its own: WORK_DIR/METHOD/SET."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segearth.config_files import UNCHANGED, ConfigChanges
from segearth.datasets import PAPER_DATASETS
from segearth.errors import UserError, command, option
from segearth.exits import reraise_if_ending
from segearth.jobs.team import ALONE, NOT_MADE, Team, TeamError
from segearth.paper.columns import TableColumn, column
from segearth.paper.reading import FAILURE, PICTURES, TRACEBACK, one_line, read_table_runs, write_failure
from segearth.paper.table_rows import ROWS, TableRow


@dataclass(frozen=True)
class Settings:
    """What all runs of a sweep have in common.

    Attributes:
        work_dir: an existing folder.
        changes: to all configs; the upsampler is for the methods that have one and name none themselves.
        upsamplers: folder of upsamplers that were trained for rows of the ablation.
        limit: only so many images a set.
        pictures: how many a set and method.
        quiet: no progress bars.
    """

    work_dir: Path
    changes: ConfigChanges = UNCHANGED
    upsamplers: Path | None = None
    limit: int | None = None
    pictures: int = 2
    quiet: bool = False


def plan(
    rows: Sequence[TableRow], columns: Sequence[TableColumn] | None = None, own: Sequence[TableColumn] = ()
) -> list[tuple[TableRow, TableColumn]]:
    """What a sweep evaluates.

    Args:
        rows: methods.
        columns: data sets; None for those of each method's table in the paper.
        own: one's own data sets, beside them.
    """
    tables = {row.name: [column(name) for name in row.datasets or PAPER_DATASETS] for row in rows}
    return [(row, one) for row in rows for one in (*(tables[row.name] if columns is None else columns), *own)]


def sweep(
    pairs: Sequence[tuple[TableRow, TableColumn]],
    settings: Settings,
    *,
    team: Team = ALONE,
    say: Callable[[str], object] = lambda text: None,  # noqa: ARG005
    after: Callable[[], object] = lambda: None,
) -> dict[str, list[str]]:
    """Evaluates methods on sets; what fails is noted, and the rest goes on, but for what lacks weights.

    What was finished before with the same settings is not computed again, also where another method's folder has it.

    Args:
        pairs: methods and sets, see `plan`.
        settings: what they have in common.
        team: the processes that do this together.
        say: told what goes on, by the first process.
        after: called after each of them, by the first process.

    Returns:
        Reasons of failures, each once -> the methods and sets that failed for it.
    """
    failures: dict[str, list[str]] = {}
    missing: set[tuple[str | None, ...]] = set()  # weights that cannot be had
    for i, (row, dataset) in enumerate(pairs, start=1):
        if missing & _needed_weights(row, dataset, settings):
            continue
        folder = settings.work_dir / row.name / dataset.name
        if team.is_main:
            say(f"[{i}/{len(pairs)}] {row.title}, {dataset.name}")
        ends = team.gather(settings.work_dir, _evaluate(row, dataset, settings, team))
        failure = next((end for end in ends if end["error"] is not None), None)
        if failure is None and not any(end["made"] for end in ends):
            failure = {"error": NOT_MADE, "weights": None}
        if failure is not None:
            failures.setdefault(failure["error"], []).append(f"{row.title}, {dataset.name}")
        if team.is_main:
            _report(folder, failure and failure["error"], say)
        if failure is not None and failure["weights"]:
            missing.add(_weights_key(failure["weights"], row, dataset, settings))
            rest = [pair for pair in pairs[i:] if missing & _needed_weights(*pair, settings)]
            if rest and team.is_main:
                say(f"left out: {len(rest)} more, which need the same weights")
        if team.is_main:
            try:
                after()
            except UserError as error:  # a workbook that is open elsewhere is no reason to stop
                say(f"warning: {error}")
    return failures


def _needed_weights(row: TableRow, dataset: TableColumn, settings: Settings) -> set[tuple[str | None, ...]]:
    """Keys of the weights that a method on a set needs, as far as they are known before its config is read."""
    return {_weights_key(kind, row, dataset, settings) for kind in ("clip", "upsampler")}


def _weights_key(kind: str, row: TableRow, dataset: TableColumn, settings: Settings) -> tuple[str | None, ...]:
    """Equal for equal weights: a config of one's own may name others than segearth's, a method another upsampler."""
    config = None if dataset.config is None or settings.changes.model else str(dataset.config)
    if kind == "clip":
        return (kind, config)
    uses_upsampler = row.changes.get("model.feature_up") != "False"
    return (kind, config, (row.weights or settings.changes.upsampler or "default") if uses_upsampler else "none")


def _evaluate(row: TableRow, dataset: TableColumn, settings: Settings, team: Team) -> dict[str, Any]:
    """Evaluates a method on a set.

    Returns:
        "made", whether this process made the record; "error", why it failed, in a sentence, or None; and "weights",
        the kind of weights that cannot be had, if that is why.
    """
    from segearth.openmmlab.evaluate import evaluate
    from segearth.openmmlab.model_weights import MissingWeightsError

    folder = settings.work_dir / row.name / dataset.name
    twins = [settings.work_dir / name / dataset.name for name in ROWS if name != row.name]
    try:
        run, _ = evaluate(
            dataset.path,
            folder,
            changes=team.run_on_all_ranks(folder, lambda: changes(row, settings)),
            limit=settings.limit,
            show_dir=folder / PICTURES if settings.pictures else None,
            shown=settings.pictures,
            reuse=True,
            twins=[twin for twin in twins if twin.is_dir()],
            zero_shot=True,
            team=team,
            quiet=settings.quiet,
        )
    except TeamError:  # nothing more can be said to the other processes
        raise
    except UserError as error:
        reraise_if_ending(error)
        kind = error.kind if isinstance(error, MissingWeightsError) else None
        return {"made": False, "error": one_line(str(error)), "weights": kind}
    except Exception as error:
        reraise_if_ending(error)
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(traceback.format_exception(error))
            (folder / TRACEBACK).write_text(text, encoding="utf-8", errors="replace")
        sentence = f"{type(error).__name__}: {one_line(str(error))} (see {folder / TRACEBACK})"
        return {"made": False, "error": sentence, "weights": None}
    return {"made": run is not None, "error": None, "weights": None}


def _report(folder: Path, failure: str | None, say: Callable[[str], object]) -> None:
    """Says what came out, and keeps the reason of a failure beside earlier records, for the tables."""
    if failure is None:
        (folder / FAILURE).unlink(missing_ok=True)
        (folder / TRACEBACK).unlink(missing_ok=True)
        run = read_table_runs(folder)[0][-1]
        name, figure = ("mIoU", run.miou) if run.foreground_iou is None else ("foreground IoU", run.foreground_iou)
        say(f"{name}: {figure}, {run.images} images")
        for remark in run.remarks:
            say(f"warning: {remark}")
        return
    say(f"failed: {failure}")
    try:
        write_failure(folder, failure)
    except (OSError, UserError) as error:  # a full disk, or a file in the folder's place
        say(f"warning: why it failed is not kept in {folder}: {one_line(str(error))}")


def changes(row: TableRow, settings: Settings) -> ConfigChanges:
    """What turns a config into a method's: the changes of the sweep, those of the method, and its upsampler.

    Args:
        row: a method.
        settings: of the sweep.

    Raises:
        UserError: the method's upsampler is not there.
    """
    common = settings.changes
    options = (*(f"{key}={value}" for key, value in row.changes.items()), *common.options)
    upsampler = common.upsampler if row.changes.get("model.feature_up") != "False" else None
    if row.weights is not None:
        trained = _trained(row, common.model, settings.upsamplers) if row.training else row.weights
        upsampler = str(trained)
    return replace(common, options=options, upsampler=upsampler)


def _trained(row: TableRow, model: str | None, upsamplers: Path | None) -> Path:
    """The file of an upsampler that users train themselves."""
    folder = upsamplers or Path("upsamplers")
    for suffix in (".safetensors", ".ckpt"):
        if upsamplers is not None and (path := folder / f"{row.weights}{suffix}").is_file():
            _check_kind(path, row)
            return path.absolute()
    options, _, advice = row.training.partition(", ")
    raise UserError(
        f"the upsampler of this row was never published, and there is no {folder / str(row.weights)}.safetensors: "
        f"train it{' ' + advice if advice else ''} with {command('train-upsampler')} --model "
        f"{model or 'clip-vit-b16'} --images DIR {options} -o {folder / str(row.weights)}.safetensors, and give "
        f"{option('upsamplers', str(folder))}"
    )


def _check_kind(path: Path, row: TableRow) -> None:
    """Refuses an upsampler of another kind than the row's."""
    from segearth.checkpoints import read_state_dict
    from segearth.clips.upsamplers import identify_upsampler

    kind, _ = identify_upsampler(read_state_dict(path))
    if kind != row.upsampler:
        raise UserError(
            f"{path} holds a {kind}, but {row.title} has a {row.upsampler}: expected that; train it as "
            f"{row.training.partition(', ')[0]} says"
        )
