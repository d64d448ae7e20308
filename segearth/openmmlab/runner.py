"""Evaluation: a config in, the record of a run out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segearth.distributed.ranks import ALONE, Ranks
from segearth.errors import UserError, command, first_line, option
from segearth.jobs.ledger import Ledger
from segearth.openmmlab import require
from segearth.openmmlab.config import fetch_weights, load_config
from segearth.outputs import writable_folder
from segearth.results import folder as results
from segearth.results.record import Run
from segearth.vocabulary import Vocabulary

__all__ = ["evaluate", "load_config"]


def evaluate(
    config: str | Path,
    work_dir: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    ranks: Ranks = ALONE,
    show_dir: str | Path | None = None,
    shown: int | None = None,
    options: Sequence[str] = (),
    limit: int | None = None,
    model: str | None = None,
    architecture: str | None = None,
    upsampler: str | None = None,
    reuse: bool = False,
    zero_shot: bool = False,
    say: Callable[[str], object] = lambda text: None,  # noqa: ARG005
    quiet: bool = False,
) -> tuple[Run, Path]:
    """Runs mmengine's test loop on a config and adds a row to the work dir's results.

    Counts of images that were finished are kept in the work dir until the row is written: a run that was
    killed goes on when it is started again, with any number of processes, and ends with the same counts.

    Args:
        config: the config file.
        work_dir: folder for results; by default the config's own, or work_dirs/ and the config's name.
        data_root: a folder that stands for the leading `data/` of the config's data paths.
        ranks: the processes that do this together, see `segearth.distributed.launch.joined`.
        show_dir: folder for pictures of the predictions; with `reuse` they have a folder of their own below it,
            whose name says what they depend on, so that pictures of other settings never pass for these.
        shown: how many pictures, spread evenly over the images; None: one of every image.
        options: changes to the config, "key=value" each.
        limit: only so many images, from the first on.
        model: what `segearth.clips.resolve` takes; it replaces the config's CLIP and upsampler.
        architecture: of such a model that is given by path or address.
        upsampler: what `segearth.loading.load_model` takes; it replaces the model's or the config's own.
        reuse: whether a row of the work dir that came from the same settings, prompts, weights, code and images is
            taken instead of a new run; it becomes the newest one. Pictures that it lacks are drawn.
        zero_shot: whether a class file that sets thresholds or scales of classes, which come from labels, is refused.
        say: told what takes a while.
        quiet: no progress bar.

    Returns:
        The record of the run, and the folder of results.

    Raises:
        UserError: everything that the person who runs it can mend.
    """
    if limit is not None and limit < 1:
        raise UserError(f"{option('limit', limit)}: expected at least 1 image")
    path = Path(config)
    settings = ranks.everywhere(
        lambda: load_config(
            path, options=options, data_root=data_root, model=model, architecture=architecture, upsampler=upsampler
        )
    )
    if zero_shot:
        ranks.everywhere(lambda: _refuse_settings(settings.model["name_path"]))
    folder = Path(work_dir or settings.get("work_dir") or Path("work_dirs", path.stem))
    ranks.everywhere(lambda: results.read_rows(folder))  # a damaged file is found before the work, not after
    if ranks.is_main:
        say("loading mmsegmentation and the model ...")
    opened = ranks.everywhere(lambda: _open(settings, folder, limit))
    ranks.one_a_machine_first(lambda: fetch_weights(settings, path))
    job = ranks.everywhere(lambda: _prepare(settings, path, folder, *opened, limit))
    if ranks.is_main:
        for remark in job.dataset.remarks:
            say(f"note: {remark}")
    if len(set(ranks.gather((job.fingerprint, job.images)))) > 1:
        raise UserError(
            "the processes see different data, code, weights or versions: expected the same on all machines; use one "
            "shared folder, or copies that keep file times (cp -p, rsync -a), and the same environment"
        )
    own = job.fingerprint[:16] if reuse else ""
    pictures = None if show_dir is None else ranks.everywhere(lambda: _plan(job, Path(show_dir, own), shown))
    asked: dict[str, Any] = {
        "limit": limit,
        "available": job.available,
        "options": (*options, *([] if upsampler is None else [f"model.upsampler={upsampler}"])),
        "pictures": () if pictures is None else tuple(Path(own, name).as_posix() for name in pictures.names.values()),
    }
    if reuse and (known := ranks.gather(_known(job))[0]) is not None:
        if pictures is not None:
            _draw(job, ranks, pictures)
        again = replace(known, **asked)
        ranks.everywhere(lambda: _show_again(job, again) if ranks.is_main else None)
        return again, folder
    for remark in ranks.everywhere(lambda: _glance(job) if ranks.is_main else []):
        say(f"warning: {remark}")
    advice = f"free some space, or give another {option('work_dir')}"
    with Ledger(folder / "progress" / job.fingerprint[:16], advice) as ledger:
        run = replace(_evaluate(job, ledger, ranks, pictures, quiet), **asked)
        ranks.everywhere(lambda: results.append_run(folder, run) if ranks.is_main else None)
        ledger.remove()
    return run, folder


@dataclass(frozen=True)
class _Job:
    """A run that can begin.

    Attributes:
        config: with known paths.
        path: of the config.
        folder: for results.
        dataset: opened and checked.
        available: how many images it has without `limit`.
        items: its images, see `segearth.openmmlab.identity`.
        fingerprint: of all that decides the counts but the images.
        metric: for this process's counts.
    """

    config: Any
    path: Path
    folder: Path
    dataset: Any
    available: int
    items: list[Any]
    fingerprint: str
    metric: Any

    @property
    def images(self) -> str:
        """Digest of the images."""
        from segearth.openmmlab.identity import digest

        return digest([item.key for item in self.items])


def _refuse_settings(name_path: str) -> None:
    """Refuses a class file whose results are not zero-shot."""
    if Vocabulary.from_file(name_path).has_settings:
        raise UserError(
            f"{name_path} sets thresholds or scales of classes, as calibration on labels gives them: expected names "
            f"alone for a table of zero-shot results; evaluate it by {command('eval')}, or give another class file"
        )


def _open(config: Any, folder: Path, limit: int | None) -> tuple[Any, Any]:
    """Opens the data set and the metric, and checks what can be checked before weights are downloaded."""
    require()
    from mmengine.logging import MMLogger

    from segearth.openmmlab import build
    from segearth.openmmlab.datasets import open_dataset

    MMLogger.get_instance("segearth", log_level="ERROR")  # OpenMMLab's talk goes to whoever came last
    dataset = open_dataset(config.test_dataloader.dataset, limit)
    build.check_classes(config.model["name_path"], dataset.metainfo["classes"], type(dataset).__name__)
    metric = build.metric(config.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    build.prepared(dataset)  # a damaged manifest is found before the work, too
    writable_folder(folder)
    return dataset, metric


def _prepare(config: Any, path: Path, folder: Path, dataset: Any, metric: Any, limit: int | None) -> _Job:
    """The run, with what decides its counts."""
    from segearth.openmmlab import identity

    items = identity.list_items(dataset)
    available = len(dataset) if limit is None else len(dataset.load_data_list())
    return _Job(config, path, folder, dataset, available, items, identity.fingerprint(config, dataset), metric)


def _glance(job: _Job) -> list[str]:
    """What a user should know of the labels before hours are spent on them."""
    from segearth.openmmlab import labels

    counts = labels.glance(job.dataset, job.metric.ignore_index, job.config.test_dataloader.dataset.get("pipeline", ()))
    return counts.remarks(partial=counts.images < job.available)


def _known(job: _Job) -> Run | None:
    """The newest run of the folder that is what this one would give."""
    same = [
        run for run in results.read_runs(job.folder) if (run.fingerprint, run.listing) == (job.fingerprint, job.images)
    ]
    return same[-1] if same else None


def _show_again(job: _Job, run: Run) -> None:
    """Makes a run the newest one, and mends what a kill just after it was written has left."""
    if results.read_rows(job.folder)[-1] != run.to_json() or not (job.folder / results.XLSX_NAME).is_file():
        results.append_run(job.folder, run)
    Ledger(job.folder / "progress" / job.fingerprint[:16]).remove()


@dataclass(frozen=True)
class _Pictures:
    """The pictures that a run is asked for.

    Attributes:
        folder: an existing one.
        names: paths of images -> names of files in it.
    """

    folder: Path
    names: dict[str, str]

    def lacking(self, ranks: Ranks, since: int = 0) -> set[str]:
        """The images whose pictures no process can see; a picture from before `since` (in ns) is of another run."""
        found = {path.name: path.stat().st_mtime_ns for path in self.folder.glob("*.png")}
        return set.intersection(
            *ranks.gather({image for image, name in self.names.items() if found.get(name, -1) < since})
        )


def _plan(job: _Job, folder: Path, shown: int | None) -> _Pictures:
    """Which pictures are to be drawn, and where."""
    from segearth.openmmlab import hooks

    images = [item.image for item in job.items]
    names = hooks.picture_names(images, str(job.dataset.data_prefix.get("img_path")), shown)
    return _Pictures(writable_folder(folder), names)


def _draw(job: _Job, ranks: Ranks, pictures: _Pictures) -> None:
    """Draws the pictures that are not there, and counts nothing."""
    from segearth.openmmlab import build

    if lacking := pictures.lacking(ranks):
        batches = _batches(job, {item.key for item in job.items if item.image not in lacking})
        segmentor = ranks.everywhere(lambda: build.segmentor(job.config))
        job.metric.on_records = lambda new: ranks.go_on()  # noqa: ARG005
        ranks.everywhere(lambda: _predict(job, segmentor, batches, ranks, [_drawer(job, segmentor, pictures)]))


def _drawer(job: _Job, segmentor: Any, pictures: _Pictures) -> Any:
    """What draws them in the test loop."""
    from segearth.openmmlab import build, hooks

    meta, note = job.dataset.metainfo, f"{job.path.stem}, CLIP: {build.clip_name(segmentor.source)}"
    return hooks.PicturesHook(pictures.folder, pictures.names, meta["classes"], meta["palette"], note)


def _evaluate(job: _Job, ledger: Ledger, ranks: Ranks, pictures: _Pictures | None, quiet: bool) -> Run:
    """Predicts what no earlier run has finished, brings all counts together, and makes the record."""
    from segearth.openmmlab import build, hooks, labels

    known = ranks.everywhere(lambda: _finished(job, ledger))
    known = {key: value for one in ranks.gather(known) for key, value in one.items()}
    lacking = set() if pictures is None else pictures.lacking(ranks, ledger.begun())
    done = {item.key for item in job.items if item.key in known and item.image not in lacking}
    batches = _batches(job, done)

    segmentor = ranks.everywhere(lambda: build.segmentor(job.config))
    side = [] if pictures is None else [_drawer(job, segmentor, pictures)]
    keys = {item.image: item.key for item in job.items}

    def keep(new: dict[str, dict[str, Any]]) -> None:
        ledger.add([(keys[image], record) for image, record in new.items()])
        ranks.go_on()

    job.metric.on_records = keep
    started = time.perf_counter()
    with hooks.progress(len(job.items), len(done), ranks, quiet) as bar:
        ranks.everywhere(lambda: _predict(job, segmentor, batches, ranks, [*side, *bar]))
    own = {keys[image]: record for image, record in job.metric.records.items()}
    found = {key: record for one in ranks.gather(own) for key, record in one.items()}
    found = {item.key: (found.get(item.key) or known[item.key]) for item in job.items}
    job.metric.conclude(found)
    counts = labels.counted(job.dataset, job.metric.ignore_index, found.values())
    return build.run_record(
        job.config,
        job.path,
        segmentor,
        job.dataset,
        job.metric,
        remarks=tuple(counts.remarks(partial=counts.images < job.available)),
        seconds=round(time.perf_counter() - started, 2),
        seconds_per_image=round(sum(record["seconds"] for record in found.values()) / len(found), 4),
        processes=ranks.size,
        resumed=len(done),
        fingerprint=job.fingerprint,
        listing=job.images,
    )


def _finished(job: _Job, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """The records of earlier runs of the same job, those that can be used."""
    classes, wanted = len(job.dataset.metainfo["classes"]), {item.key for item in job.items}
    found = {}
    for key, record in ledger.read().items():
        try:
            fits = [len(part) for part in record["areas"]] == [classes] * 4 and float(record["seconds"]) >= 0
            fits = fits and record["ignored"] >= 0
        except (KeyError, TypeError, ValueError):
            continue
        if fits and key in wanted:
            found[key] = record
    return found


def _batches(job: _Job, done: set[str]) -> list[list[int]]:
    """Indices of the images that are left, as batches.

    Which images share a batch depends neither on what is done nor on the number of processes, because that moves
    the last bits of scores.
    """
    size = int(job.config.test_dataloader.get("batch_size", 1))
    chunks = [list(range(len(job.items)))[i : i + size] for i in range(0, len(job.items), size)]
    return [chunk for chunk in chunks if not all(job.items[i].key in done for i in chunk)]


def _predict(job: _Job, segmentor: Any, batches: list[list[int]], ranks: Ranks, side: list[Any]) -> None:
    """Runs the test loop over this process's share of the batches."""
    from segearth.openmmlab import build

    own = batches[ranks.rank :: ranks.size]
    try:
        runner = build.runner(job.config, job.folder / "logs", ranks, segmentor, job.dataset, own, job.metric, side)
        job.metric.clock = time.perf_counter()
        runner.test()
    except UserError as error:  # from a worker process it comes wrapped in a traceback
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"a process that loads images died ({first_line(error)}): often too little shared memory; "
            f"run again with {option('options', 'test_dataloader.num_workers=0', 'cfg_options')}"
        ) from None
