"""Evaluation: from a config to a record of its run.

The way: the config (`config`), its model's weights (`model_weights`), its data set (`datasets`), what the figures
depend on (`identity`), mmengine's test loop (`eval_runner`), counts of images in a job's ledger (`segearth.jobs`), and
the record (`run_record`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segearth.config_files import UNCHANGED, ConfigChanges
from segearth.errors import UserError, command, option
from segearth.jobs.folder import Job, open_job
from segearth.jobs.settings import settings_hash
from segearth.jobs.team import ALONE, Team
from segearth.openmmlab import require
from segearth.openmmlab.config import load_config, read_config
from segearth.openmmlab.model_weights import fetch_weights
from segearth.outputs import atomic, writable_folder
from segearth.results import folder as results
from segearth.results.record import Run
from segearth.vocabulary import Vocabulary

PROGRESS = "progress"  # folder of unfinished runs, in that of the results


def evaluate(
    config: str | Path,
    work_dir: str | Path | None = None,
    changes: ConfigChanges = UNCHANGED,
    *,
    limit: int | None = None,
    show_dir: str | Path | None = None,
    shown: int | None = None,
    reuse: bool = False,
    twins: Sequence[str | Path] = (),
    zero_shot: bool = False,
    team: Team = ALONE,
    say: Callable[[str], object] = lambda text: None,  # noqa: ARG005
    quiet: bool = False,
) -> tuple[Run | None, Path]:
    """Runs mmengine's test loop on a config and adds a row to the work dir's results.

    Counts of images that were finished are kept in the work dir until the row is written: a run that was
    killed goes on when it is started again, with any number of processes, and ends with the same counts.

    Args:
        config: the config file.
        work_dir: folder for results; by default the config's own, or work_dirs/ and the config's name.
        changes: what replaces parts of the config.
        limit: only so many images, from the first on.
        show_dir: folder for pictures of the predictions; with `reuse` they have a folder of their own below it,
            whose name says what they depend on, so that pictures of other settings never pass for these.
        shown: how many pictures, spread evenly over the images; None: one of every image.
        reuse: whether a row of the work dir that came from the same settings, prompts, weights, code and images is
            taken instead of a new run; it becomes the newest one. Pictures that it lacks are drawn.
        twins: other folders of results, whose records count for `reuse` as the folder's own do, with their pictures.
        zero_shot: whether a class file that sets thresholds or scales of classes, which come from labels, is refused.
        team: the processes that do this together: each takes a share of the images, and the last one makes the record.
        say: told what takes a while.
        quiet: no progress bar.

    Returns:
        The record of the run, or None where another process makes it; and the folder of results.

    Raises:
        UserError: everything that the person who runs it can mend.
    """
    if limit is not None and limit < 1:
        raise UserError(f"{option('limit', limit)}: expected at least 1 image")
    path = Path(config)
    folder = Path(work_dir or read_config(path, changes.options).get("work_dir") or Path("work_dirs", path.stem))
    if not team.has_met:
        team.gather(writable_folder(folder))
    plan = team.run_on_all_ranks(
        folder, lambda: _prepare(path, folder, changes, limit, zero_shot, twins, say if team.is_main else None)
    )
    plans = team.gather(folder, [plan.fingerprint, plan.listing, plan.earlier is not None])
    if len({tuple(identity) for *identity, _ in plans}) > 1:
        raise UserError(
            "the processes see different data, code, weights or versions: expected the same on all machines; use one "
            "shared folder, or copies that keep file times (cp -p, rsync -a), and the same environment"
        )
    below = plan.fingerprint[:16] if reuse else ""
    pictures = None if show_dir is None else _plan_pictures(plan, Path(show_dir, below), shown)
    upsampler = [] if changes.upsampler is None else [f"model.upsampler={changes.upsampler}"]
    request: dict[str, Any] = {
        "limit": limit,
        "available": plan.available,
        "options": (*changes.options, *upsampler),
        "pictures": () if pictures is None else tuple(Path(below, name).as_posix() for name in pictures.names.values()),
    }
    job_folder = folder / PROGRESS / plan.fingerprint[:16]
    try:
        way_out = f"delete it, or give another {option('work_dir')}"
        with open_job(job_folder, plan.settings, shard=team.shard, way_out=way_out) as job:
            if reuse and plans[0][2]:  # of all processes the first one decides: another run may end in between
                if pictures is not None and team.is_main and plan.origin != folder:
                    pictures.take(plan.origin / Path(show_dir or "").name / below)
                _draw_missing(plan, pictures, team)
                job.discard()
                earlier = plan.earlier if team.is_main else None
                return None if earlier is None else _repeat(folder, replace(earlier, **request)), folder
            return _evaluate(plan, job, pictures, request, team, say, quiet), folder
    finally:
        with suppress(OSError):  # other runs may be unfinished
            job_folder.parent.rmdir()


@dataclass(frozen=True)
class _Plan:
    """A run that is ready to start: what it reads, and what decides its counts.

    Attributes:
        config: with known paths.
        path: of the config.
        folder: for results.
        dataset: opened and checked.
        available: how many images it has without `limit`.
        items: its images, see `segearth.openmmlab.identity`.
        settings: all that decides the counts but the images.
        fingerprint: of these settings.
        listing: digest of the images.
        metric: for this process's counts.
        earlier: the newest run that is what this one would give.
        origin: the folder of results that has it.
    """

    config: Any
    path: Path
    folder: Path
    dataset: Any
    available: int
    items: list[Any]
    settings: dict[str, Any]
    fingerprint: str
    listing: str
    metric: Any
    earlier: Run | None
    origin: Path


def _prepare(
    path: Path,
    folder: Path,
    changes: ConfigChanges,
    limit: int | None,
    zero_shot: bool,
    twins: Sequence[str | Path],
    say: Callable[[str], object] | None,
) -> _Plan:
    """Checks all that can be checked before images are predicted, the cheap things first; fetches the weights."""
    config = load_config(path, changes)
    if zero_shot:
        _refuse_class_settings(config.model["name_path"])
    runs = {folder: results.read_runs(folder)}
    for twin in twins:
        with suppress(UserError):  # it is damaged, which is no fault of this run
            runs[Path(twin)] = results.read_runs(Path(twin))
    if say is not None:
        say("loading mmsegmentation and the model ...")
    require()
    from mmengine.logging import MMLogger

    from segearth.openmmlab import identity, labels
    from segearth.openmmlab.datasets import open_dataset
    from segearth.openmmlab.eval_runner import counting_metric
    from segearth.openmmlab.labels import check_classes
    from segearth.openmmlab.run_record import preparation

    MMLogger.get_instance("segearth", log_level="ERROR")  # OpenMMLab's talk goes to the logger that was made last
    dataset = open_dataset(config.test_dataloader.dataset, limit)
    check_classes(config.model["name_path"], dataset.metainfo["classes"], type(dataset).__name__)
    metric = counting_metric(config.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    preparation(dataset)
    writable_folder(folder)
    fetch_weights(config, path)
    items = identity.list_items(dataset)
    available = len(dataset) if limit is None else len(dataset.load_data_list())
    settings = identity.run_settings(config, dataset)
    fingerprint, listing = settings_hash(settings), settings_hash({"images": [item.key for item in items]})
    same = (
        (run, place)
        for place, known in runs.items()
        for run in reversed(known)
        if (run.fingerprint, run.listing) == (fingerprint, listing)
    )
    earlier, origin = next(same, (None, folder))
    if say is not None:
        for remark in dataset.remarks:
            say(f"note: {remark}")
        if earlier is None:
            pipeline = config.test_dataloader.dataset.get("pipeline", ())
            counts = labels.inspect_labels(dataset, metric.ignore_index, pipeline)
            for remark in counts.remarks(partial=counts.images < available):
                say(f"warning: {remark}")
    return _Plan(
        config, path, folder, dataset, available, items, settings, fingerprint, listing, metric, earlier, origin
    )


def _refuse_class_settings(name_path: str) -> None:
    """Refuses a class file whose results are not zero-shot."""
    if Vocabulary.from_file(name_path).has_settings:
        raise UserError(
            f"{name_path} sets thresholds or scales of classes, as calibration on labels gives them: expected names "
            f"alone for a table of zero-shot results; evaluate it by {command('eval')}, or give another class file"
        )


def _repeat(folder: Path, run: Run) -> Run:
    """Makes an earlier run the newest one, and writes what a kill just after it was written has left undone."""
    if results.read_rows(folder)[-1:] != [run.to_json()] or not (folder / results.XLSX_NAME).is_file():
        results.append_run(folder, run)
    return run


@dataclass(frozen=True)
class _Pictures:
    """The pictures that a run is asked for.

    Attributes:
        folder: an existing one.
        names: paths of images -> names of files in it.
    """

    folder: Path
    names: dict[str, str]

    def take(self, folder: Path) -> None:
        """Copies those that another folder has."""
        for name in self.names.values():
            if (folder / name).is_file() and not (self.folder / name).exists():
                with atomic(self.folder / name) as part:
                    shutil.copyfile(folder / name, part)

    def missing(self, since: int = 0) -> set[str]:
        """The images whose picture does not exist, or is older than `since` (in ns)."""
        times = {path.name: path.stat().st_mtime_ns for path in self.folder.glob("*.png")}
        return {image for image, name in self.names.items() if times.get(name, -1) < since}


def _plan_pictures(plan: _Plan, folder: Path, shown: int | None) -> _Pictures:
    """Chooses the images whose predictions are drawn, and the files."""
    from segearth.openmmlab import hooks

    images = [item.image for item in plan.items]
    names = hooks.picture_names(images, str(plan.dataset.data_prefix.get("img_path")), shown)
    return _Pictures(writable_folder(folder), names)


def _indices(plan: _Plan, team: Team, done: set[str]) -> list[int]:
    """The images of this process's batches, without batches of which all images are done.

    Which images share a batch depends neither on what is done nor on the number of processes, because that moves
    the last bits of scores.
    """
    size = int(plan.config.test_dataloader.get("batch_size", 1))
    batches = [list(range(len(plan.items)))[i : i + size] for i in range(0, len(plan.items), size)]
    return [i for batch in team.shard.of(batches) if not all(plan.items[i].key in done for i in batch) for i in batch]


def _draw_missing(plan: _Plan, pictures: _Pictures | None, team: Team) -> None:
    """Draws missing pictures, without counting."""
    from segearth.openmmlab import eval_runner

    missing = set() if pictures is None else pictures.missing()
    indices = _indices(plan, team, {item.key for item in plan.items if item.image not in missing})
    if pictures is not None and indices:
        segmentor = eval_runner.build_segmentor(plan.config, team.shard)
        hooks = [_picture_hook(plan, segmentor, pictures)]
        logs = _log_folder(plan, team)
        eval_runner.run_test_loop(plan.config, logs, segmentor, plan.dataset, indices, plan.metric, hooks)


def _picture_hook(plan: _Plan, segmentor: Any, pictures: _Pictures) -> Any:
    """The hook that draws pictures in the test loop."""
    from segearth.openmmlab.hooks import PicturesHook
    from segearth.openmmlab.run_record import clip_name

    meta, note = plan.dataset.metainfo, f"{plan.path.stem}, CLIP: {clip_name(segmentor.source)}"
    return PicturesHook(pictures.folder, pictures.names, meta["classes"], meta["palette"], note)


def _log_folder(plan: _Plan, team: Team) -> Path:
    """The folder for mmengine's own files; each process has another one."""
    return plan.folder / "logs" / ("" if team.is_main else f"process{team.shard.index}")


def _evaluate(
    plan: _Plan,
    job: Job,
    pictures: _Pictures | None,
    request: dict[str, Any],
    team: Team,
    say: Callable[[str], object],
    quiet: bool,
) -> Run | None:
    """Predicts this process's share of the images that are left; makes the record where no image is left at all."""
    from segearth.openmmlab import eval_runner, hooks, labels
    from segearth.openmmlab.run_record import run_record

    started = time.perf_counter()
    keys = {item.image: item.key for item in plan.items}
    job.is_done = lambda key, record: plan.metric.is_record(record)  # noqa: ARG005
    done = job.read()[0]
    if team.is_main and (finished := sum(key in done for key in keys.values())):
        say(f"going on: {finished} of {len(keys)} images are in {job.path}, where the same settings were begun")
    missing = set() if pictures is None else pictures.missing(job.begun)
    indices = _indices(plan, team, {item.key for item in plan.items if item.key in done and item.image not in missing})
    segmentor = eval_runner.build_segmentor(plan.config, team.shard)
    plan.metric.on_records = lambda new: job.add({keys[image]: record for image, record in new.items()})
    share = len(_indices(plan, team, set()))
    with hooks.progress(share, share - len(indices), team.shard, quiet) as bar:
        drawing = [] if pictures is None else [_picture_hook(plan, segmentor, pictures)]
        logs = _log_folder(plan, team)
        eval_runner.run_test_loop(plan.config, logs, segmentor, plan.dataset, indices, plan.metric, [*drawing, *bar])

    def conclude(records: dict[str, dict[str, Any]], failed: dict[str, str]) -> Run:  # noqa: ARG001
        plan.metric.conclude(records)
        counts = labels.count_labels(plan.dataset, plan.metric.ignore_index, records.values())
        run = run_record(
            plan.config,
            plan.path,
            segmentor,
            plan.dataset,
            plan.metric,
            remarks=tuple(counts.remarks(partial=counts.images < plan.available)),
            seconds=round(time.perf_counter() - started, 2),
            seconds_per_image=round(sum(record["seconds"] for record in records.values()) / len(records), 4),
            processes=team.shard.count,
            resumed=sum(key in done for key in keys.values()),
            fingerprint=plan.fingerprint,
            listing=plan.listing,
            **request,
        )
        results.append_run(plan.folder, run)
        return run

    return job.finish(list(keys.values()), conclude)
