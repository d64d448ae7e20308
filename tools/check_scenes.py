"""Checks that a scene's map is the same to the last byte however it is computed, and how much memory that takes.

    python tools/check_scenes.py --size 1000
    python tools/check_scenes.py --size 2500 --model tiny --kills 10
    python tools/check_scenes.py --size 20000 --kills 10 --most-memory 1500

The map is made with blocks of several sizes, in one process and two, by two shards at once, with dask where that is
installed, with little memory, with a worker that is killed, and killed as a whole at random moments and started again.
All files must have the same SHA-256, but for the summary, whose figures are compared; no others may be left. Without
`--model` the model is a stub, which costs next to nothing. For Linux.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from scene_checks.processes import Process, pss_mb
from scene_checks.raster import write_raster
from scene_checks.run import STUB, Run

WAYS: dict[str, dict[str, Any]] = {
    "usual": {},
    "blocks of 3584": {"block": 3584},
    "blocks of 1008": {"block": 1008},
    "blocks of 448": {"block": 448},
    "little memory": {"max_memory_mb": 200},
    "two workers": {"block": 1008, "workers": 2},
    "two shards": {"block": 448},
    "dask": {"block": 1008, "workers": 2, "dask": True},
    "a worker killed": {"block": 448, "workers": 2},
}
KILLED: dict[str, Any] = {"block": 1008, "workers": 2}
ASSEMBLY = 0.25  # share of the random moments that lie in the assembly


@dataclass
class Outcome:
    """What became of a map.

    Attributes:
        files: SHA-256 by name.
        left: other files than those of a map that is complete.
        seconds: from the first block on.
        assembly: seconds of them, after the last block.
        peak_mb: summed PSS of all processes.
    """

    files: dict[str, str]
    left: list[str]
    seconds: float = 0.0
    assembly: float = 0.0
    peak_mb: float = 0.0


def main(argv: list[str] | None = None) -> int:
    """Makes the maps and compares them; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Check that a scene's map does not depend on how it is computed.")
    parser.add_argument("--size", type=int, default=2500, help="side of the raster in pixels (%(default)s)")
    parser.add_argument("--scene", type=Path, help="a raster to take instead of a drawn one")
    parser.add_argument("--model", default=STUB, help="what `segearth predict --model` takes (%(default)s)")
    parser.add_argument("--classes", type=int, default=4, help="of the stub (%(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="random moments (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--only", nargs="*", metavar="WAY", default=list(WAYS), help=f"ways: {', '.join(WAYS)}")
    parser.add_argument("--most-memory", type=float, metavar="MB", help="of all processes, above idle ones")
    parser.add_argument("--out", type=Path, default=Path("out/check_scenes"), help="folder (%(default)s)")
    args = parser.parse_args(argv)
    if unknown := set(args.only) - set(WAYS):
        parser.error(f"unknown ways: {', '.join(sorted(unknown))}")

    scene = args.scene or args.out / f"scene{args.size}.tif"
    if not scene.is_file():
        args.out.mkdir(parents=True, exist_ok=True)
        write_raster(scene, (args.size, args.size))
    common = Run(str(scene), "", args.model, args.classes)
    report = SceneReport(args.most_memory)
    for way in args.only:
        run = replace(common, out=str(empty(args.out / way.replace(" ", "_"))), **WAYS[way])
        if run.dask and importlib.util.find_spec("distributed") is None:
            print(f"{way:<24} left out: distributed is not installed")
        else:
            report.add(way, MAKE.get(way, whole)(run), idle_mb(run, 2 if way == "two shards" else 1))
    if args.kills:
        run = replace(common, out=str(empty(args.out / "killed")), **KILLED)
        report.add(f"killed {args.kills} times", killed(run, args.kills, random.Random(args.seed)), idle_mb(run))
    print("all maps are the same" if report.good else "NOT all maps are the same, or they took too much memory")
    return 0 if report.good else 1


class SceneReport:
    """Compares maps with the first one.

    Attributes:
        good: whether all is as it should be.
    """

    def __init__(self, most_memory: float | None) -> None:
        self.good = True
        self._most = most_memory
        self._first: dict[str, str] | None = None
        print(f"{'':<24}{'seconds':>9}{'assembly':>10}{'MB idle':>9}{'MB more':>9}")

    def add(self, name: str, found: Outcome, idle: float) -> None:
        """Says what became of a map."""
        self._first = self._first or found.files
        problems = [f"{file} DIFFERS" for file, sha in self._first.items() if found.files.get(file) != sha]
        problems += [f"{path} is LEFT" for path in found.left]
        more = found.peak_mb - idle
        if self._most is not None and more > self._most:
            problems.append(f"more than {self._most:.0f} MB")
        self.good = self.good and not problems
        figures = f"{found.seconds:>9.1f}{found.assembly:>10.1f}{idle:>9.0f}{more:>9.0f}"
        print(f"{name:<24}{figures}  {'; '.join(problems) or 'the same'}", flush=True)


def whole(run: Run) -> Outcome:
    """A map that nothing disturbs."""
    with Process(run) as process:
        return follow(process, run)


def follow(process: Process, run: Run) -> Outcome:
    """Waits for the end of a run."""
    begun = last = 0.0
    files: dict[str, str] = {}
    for words in process.words():
        begun = begun or time.perf_counter()
        if "files" in words:
            files = words["files"]
        else:
            last = time.perf_counter()
    ended = time.perf_counter()
    return Outcome(files, left(run), ended - begun, ended - (last or begun), process.peak_mb)


def left(run: Run) -> list[str]:
    """What a map that is complete does not have."""
    return sorted(path.name for path in Path(run.out).iterdir() if path.is_dir() or path.name.startswith("."))


def two_shards(run: Run) -> Outcome:
    """A map of two processes that know nothing of each other."""
    with ExitStack() as stack:
        both = [stack.enter_context(Process(replace(run, shard=f"{index}/2"))) for index in range(2)]
        found = [follow(process, run) for process in both]
    last = max(found, key=lambda one: len(one.files))  # which has put the map together
    return replace(last, left=left(run), peak_mb=sum(one.peak_mb for one in found))


def worker_killed(run: Run) -> Outcome:
    """A map of workers one of which is killed amid the blocks."""
    with Process(run) as process:
        for words in process.words():
            if words.get("done", 0) >= 0.3 * words["total"]:
                process.kill_worker()
                break
        return follow(process, run)


def killed(run: Run, kills: int, rng: random.Random) -> Outcome:
    """A map whose process is killed at random moments, with its workers or before them, and started again.

    Args:
        run: which.
        kills: how often.
        rng: gives the moments.
    """
    other = replace(run, out=f"{run.out}.undisturbed")
    known = whole(replace(other, out=str(empty(Path(other.out)))))
    moments = sorted((rng.uniform(0, 1 + ASSEMBLY) for _ in range(kills)), reverse=True)
    begun, peak_mb = time.perf_counter(), 0.0
    while moments:
        with Process(run) as process:
            if _ends_before(process, moments[-1], known, rng):
                moments[-1] *= 0.95
                empty(Path(run.out))
                continue
            process.kill(alone=len(moments) % 2 == 0)
            moments.pop()
            peak_mb = max(peak_mb, process.peak_mb)
    last = whole(run)
    return replace(last, seconds=time.perf_counter() - begun, peak_mb=max(peak_mb, last.peak_mb))


def _ends_before(process: Process, moment: float, known: Outcome, rng: random.Random) -> bool:
    """Waits for a moment; whether the map is complete before."""
    for words in process.words():
        if "files" in words:
            return True
        if words["done"] >= min(1.0, moment) * words["total"]:
            blocks = known.seconds - known.assembly
            time.sleep(
                (moment - 1) / ASSEMBLY * known.assembly if moment > 1 else rng.random() * blocks / words["total"]
            )
            return not process.is_running()
    return True


MAKE: dict[str, Callable[[Run], Outcome]] = {"two shards": two_shards, "a worker killed": worker_killed}


def idle_mb(run: Run, count: int = 1) -> float:
    """Summed PSS of the processes of so many runs when they have loaded the model and do nothing."""
    with ExitStack() as stack:
        idle = [stack.enter_context(Process(replace(run, idle=True))) for _ in range(count)]
        for process in idle:
            next(iter(process.words()))
        return sum(pss_mb(pid) for process in idle for pid in process.members)


def empty(folder: Path) -> Path:
    """A folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
