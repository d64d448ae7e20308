"""eval_all.py in processes that are killed, or that share the work."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import kills
import pytest
from conftest import load_script
from mmdata import CONFIGS, random_tiny, tiny  # noqa: F401 (fixtures)
from preparing import made
from processes import forked, free_port, torchrun_variables

from segearth.config_files import ConfigChanges
from segearth.datasets import DATASETS
from segearth.errors import UserError
from segearth.jobs.launchers import launched_shard
from segearth.jobs.team import Team
from segearth.openmmlab.evaluate import evaluate

SETS = ("udd5", "wbs-si")
SMALL = ("--model", "tiny", "--cfg-options", "test_dataloader.dataset.pipeline.1.scale=(64,64)")
COUNTS = ("name", "intersection", "union", "prediction_pixels", "label_pixels")
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def program():
    return load_script("eval_all.py")


@pytest.fixture
def data(sample, tmp_path, monkeypatch) -> Path:
    """Two small sets, prepared."""
    monkeypatch.chdir(tmp_path)
    for name in SETS:
        made(name, sample(name)[0], tmp_path / "data")
    return tmp_path / "data"


def ranks(work: Callable[[int], object], folder: Path) -> list[tuple[int | None, str]]:
    """Runs work in two processes that form a group; gives exit code and words of each."""
    port = free_port()

    def one(rank: int) -> Callable[[], object]:
        def begin() -> object:
            os.environ.update(torchrun_variables(rank, port))
            return work(rank)

        return begin

    logs = [folder / f"rank{rank}.txt" for rank in range(2)]
    both = [forked(one(rank), logs[rank]) for rank in range(2)]
    for process in both:
        process.join(300)
    return [(process.exitcode, log.read_text()) for process, log in zip(both, logs, strict=True)]


def counts(work_dir: str) -> dict[str, object]:
    """What was counted, by set; sets without a result are left out."""
    found = {}
    for name in SETS:
        if (path := Path(work_dir, "segearth-ov", name, "results.json")).is_file():
            row = json.loads(path.read_text())[-1]
            classes = [[entry[key] for key in COUNTS] for entry in row["per_class"]]
            found[name] = (row["images"], row["mIoU"], row["mAcc"], row["aAcc"], classes)
    return found


def given(data: Path, work_dir: str) -> list[str]:
    return [*SMALL, "--data-root", str(data), "--work-dir", work_dir, "--datasets", *SETS, "--pictures", "1"]


def test_ended_at_random_points_it_comes_to_the_same_counts(program, data, tmp_path):
    def run(name: str, point: int | None = None, number: int = 0) -> tuple[int, int, str]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        points, code, said = kills.run(lambda: program.main(given(data, str(folder))), folder, point, number)
        assert "Traceback" not in said
        return points, code, said

    points, code, said = run("whole")
    assert code == 0, said
    dice = random.Random(6)
    for number in (*kills.SIGNALS, *kills.SIGNALS[:2]):  # five of them come before the end
        _, code, said = run("parts", dice.randrange(points // 4), number)
        assert code == kills.ENDS[number], said
    _, code, said = run("parts")
    assert code == 0, said

    assert list(counts("whole")) == list(SETS)
    assert counts("parts") == counts("whole")
    pictures = [sorted(path.name for path in Path(one).glob("**/[!.]*.png")) for one in ("whole", "parts")]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 2
    assert not list(Path("parts").glob("**/progress"))
    assert kills.hidden(Path("parts")) == []
    tables = [json.loads(Path(one, "results.json").read_text())["results"] for one in ("whole", "parts")]
    assert [row["Result"] for row in tables[0]] == [row["Result"] for row in tables[1]]


def test_two_processes_go_on_after_a_broken_set(program, data, tmp_path):
    assert program.main(given(data, "one")) == 0
    label = sorted((data / DATASETS["udd5"].out_labels).iterdir())[-1]
    label.write_bytes(b"no picture")
    together = ranks(lambda rank: program.main([*given(data, "two"), "--launcher", "pytorch"]), tmp_path)
    assert [code for code, _ in together] == [1, 1]
    (_, main), (_, other) = together
    assert f"failed: SegEarth-OV, udd5: the label map {label} is damaged" in main
    assert "Traceback" not in main + other
    assert counts("two") == {"wbs-si": counts("one")["wbs-si"]}
    assert "images: 100%" not in main.partition("[2/2]")[0]
    rows = {row["Dataset"]: row for row in json.loads(Path("two/results.json").read_text())["results"]}
    assert rows["UDD5"]["Note"].startswith("failed: the label map")
    assert (rows["WBS-SI (water bodies)"]["Processes"], rows["UDD5"]["Result"]) == (2, None)


def test_processes_that_see_other_data_are_refused(data, tmp_path):
    shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copy)  # without the files' times

    def work(rank: int) -> int:
        changes = ConfigChanges(data_root=[data, tmp_path / "copy"][rank], model="tiny")
        try:
            evaluate(CONFIGS / "cfg_udd5.py", "out", changes, team=Team(launched_shard("pytorch")), limit=1)
        except UserError as error:
            print(error)
            return 2
        return 0

    for code, text in ranks(work, tmp_path):
        assert code == 2
        assert "the processes see different data, code, weights or versions" in text
        assert "cp -p" in text
    assert not Path("out/results.json").exists()
