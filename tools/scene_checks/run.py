"""One run over a scene as a process of its own, which can be measured and killed.

    python -m scene_checks.run '{"scene": "in.tif", "out": "out", ...}'

It writes JSON lines: how many blocks are done after each, and at last the SHA-256 of the files.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from scene_checks.stub import stub_predictor
from segearth.hashes import sha256_of
from segearth.jobs.executor import run_tasks
from segearth.jobs.settings import settings_hash
from segearth.jobs.shards import parse_shard
from segearth.loading import load_model
from segearth.models.onednn import use_onednn
from segearth.predictor import Predictor
from segearth.scenes.block_task import PredictorFactory
from segearth.scenes.options import MAX_MEMORY_MB, SceneOptions, SceneProgress, SceneResult
from segearth.scenes.predict import predict_scene

STUB = "stub"
CLASSES = "road; tree,forest; water; building"
IDLE_S = 6.0  # in which all processes have begun


@dataclass(frozen=True)
class Run:
    """What a process does.

    Attributes:
        scene: the raster.
        out: folder of the map.
        model: a name that `load_model` knows, or "stub".
        classes: of the stub; other models search for `CLASSES`.
        block: side of a block.
        workers: processes; with dask, its workers.
        shard: as on a command line.
        dask: whether a cluster of dask on this machine computes.
        max_memory_mb: of each process.
        idle: load the model in each process and do nothing more.
    """

    scene: str
    out: str
    model: str = STUB
    classes: int = 4
    block: int | None = None
    workers: int = 1
    shard: str = "0/1"
    dask: bool = False
    max_memory_mb: float = MAX_MEMORY_MB
    idle: bool = False

    def predictor(self) -> Predictor:
        """The model."""
        return stub_predictor(self.classes) if self.model == STUB else load_model(self.model, CLASSES, "cpu")

    def command(self) -> list[str]:
        """What starts it; the environment's PYTHONPATH has this package."""
        return [sys.executable, "-m", "scene_checks.run", json.dumps(asdict(self), allow_nan=False)]


def main(argv: list[str]) -> int:
    """Does one run."""
    run = Run(**json.loads(argv[0]))
    use_onednn()
    predictor = run.predictor()
    if run.idle:
        _idle(run, predictor)
        return 0
    options = SceneOptions(block=run.block, max_memory_mb=run.max_memory_mb, confidence=True, scores=True)
    with _dask(run.workers if run.dask else 0) as executor:
        result = predict_scene(
            run.scene,
            run.out,
            predictor,
            options=options,
            workers=run.workers,
            executor=executor,
            shard=parse_shard(run.shard),
            progress=_tell,
        )
    if result is None:  # other shards are at work
        return 0
    _say(files=checksums(result))
    return 0


def checksums(result: SceneResult) -> dict[str, str]:
    """SHA-256 of all that must be the same however a map is computed, by name: all but settings and seconds."""
    there = sorted(result.labels.parent.glob("[!.]*.*"))
    files = {path.name: sha256_of(path) for path in there if path.is_file() and ".summary." not in path.name}
    return files | {"classes": settings_hash({"classes": result.summary["classes"]})}


def _idle(run: Run, predictor: Predictor) -> None:
    """Loads all that a run has loaded before its first block, in as many processes; then says so."""
    if run.workers == 1:
        _say(idle=1)
        time.sleep(IDLE_S)
        return
    task = partial(_wait, PredictorFactory.for_workers(predictor))
    keys = [str(number) for number in range(run.workers)]
    run_tasks(keys, task, workers=run.workers, keep=lambda key, _: _say(idle=key))


def _wait(load: PredictorFactory, key: str) -> str:
    load()
    time.sleep(IDLE_S)  # until the others have loaded it
    return key


@contextmanager
def _dask(workers: int) -> Iterator[Any]:
    """An executor of dask; None for no workers."""
    if not workers:
        yield None
        return
    from distributed import Client

    with Client(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as client:
        yield client.get_executor(pure=False, retries=2)


def _tell(step: SceneProgress) -> None:
    _say(done=step.done, total=step.total)


def _say(**words: object) -> None:
    print(json.dumps(words, allow_nan=False), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
