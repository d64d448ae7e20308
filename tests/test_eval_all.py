"""eval_all.py as a user runs it: all 17 sets, from their drawn samples, with a random tiny CLIP."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from conftest import load_script
from mmdata import CONFIGS, random_tiny, tiny  # noqa: F401 (fixtures)
from PIL import Image
from preparing import made

from segearth.datasets import PAPER_DATASETS, describe
from segearth.models import SegEarth
from segearth.paper.columns import TableColumn, column, dataset_order, select_columns
from segearth.paper.comparison import result_line
from segearth.paper.sweep import plan
from segearth.paper.table_rows import GROUPS, ROWS
from segearth.paper.tables import CLASS_COLUMNS, COLUMNS, FILES
from segearth.results.record import Run

pytestmark = pytest.mark.usefixtures("tiny")
DATASETS = {name: describe(name) for name in PAPER_DATASETS}


@pytest.fixture(scope="module")
def program():
    return load_script("eval_all.py")


@pytest.fixture(scope="module")
def data(sample, tmp_path_factory) -> Path:
    """All 17 sets, prepared."""
    root = tmp_path_factory.mktemp("data")
    for name in DATASETS:
        made(name, sample(name)[0], root)
    return root


@pytest.fixture
def run(program, data, tmp_path, monkeypatch, capfd):
    """Runs eval_all.py on small images; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def go(*arguments: object, root: Path = data) -> tuple[int, str, str]:
        given = ["--model", "tiny", "--data-root", root, "--work-dir", "out", *arguments]
        code = program.main([str(argument) for argument in given])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return go


def latest(method: str, dataset: str) -> dict:
    return json.loads(Path("out", method, dataset, "results.json").read_text())[-1]


SMALL = ("--limit", 1, "--cfg-options", "test_dataloader.dataset.pipeline.1.scale=(64,64)")


def test_all_sets_in_one_table(run, data, tmp_path):
    broken = tmp_path / "data"
    broken.mkdir()
    for path in data.iterdir():
        (broken / path.name).symlink_to(path)
    (broken / "VDD").unlink()
    shutil.copytree(data / "VDD", broken / "VDD")
    label = sorted((broken / "VDD/test/gt").iterdir())[0]
    label.write_bytes(b"no picture")

    code, out, err = run(*SMALL, "--pictures", 1, root=broken)
    assert code == 1
    assert f"failed: SegEarth-OV, vdd: the label map {label.resolve()} is damaged" in out.replace(
        str(label), str(label.resolve())
    )
    assert sorted(path.name for path in Path("out").iterdir()) == sorted([*FILES, "segearth-ov"])
    content = json.loads(Path("out/results.json").read_text())
    rows = {row["Dataset"]: row for row in content["results"]}
    assert len(rows) == 17  # no average without all of its sets
    assert [name for name, row in rows.items() if row["Result"] is None] == ["VDD"]
    assert rows["VDD"]["Note"].startswith("failed: the label map")
    for name, of in DATASETS.items():
        if name == "vdd":
            continue
        row, result = rows[of.title], latest("segearth-ov", name)
        assert row["Images"] == result["images"] == 1
        assert row["Comparable"].startswith("model tiny; 1 of ")
        assert row["Complete"] == "no"
        assert row["Result"] == pytest.approx(result["IoU_fg"] if of.metric != "mIoU" else result["mIoU"], abs=0.006)
        assert row["Difference"] == pytest.approx(row["Result"] - row["Published"], abs=0.006)
        assert len(row["CLIP SHA-256"]) == 64
        assert row["Config"] == f"cfg_{name}.py"
        assert row["prob_thd"] == of.prob_thd
        assert [Path("out/segearth-ov", name, "pictures", one).is_file() for one in result["pictures"]] == [True]

    # mended, the set is evaluated, and nothing else again
    shutil.copy(data / "VDD/test/gt" / label.name, label)
    dates = {name: latest("segearth-ov", name)["date"] for name in DATASETS if name != "vdd"}
    code, _, err = run(*SMALL, "--pictures", 1, root=broken)
    assert code == 0
    assert err.count("images: 100%") == 1
    assert {name: latest("segearth-ov", name)["date"] for name in dates} == dates
    assert "failed" not in Path("out/results.md").read_text()
    rows = {row["Dataset"]: row for row in json.loads(Path("out/results.json").read_text())["results"]}
    average, eight = rows["average of 8 sets"], [rows[of.title]["mIoU"] for of in list(DATASETS.values())[:8]]
    assert average["Result"] == pytest.approx(np.mean(eight), abs=0.006)
    assert (average["Published"], average["Edition"]) == (39.2, "C")
    assert average["Comparable"] == "not comparable: all of them"
    check_files()


def test_thresholds_of_classes_have_no_place_in_these_tables(run):
    """They come from labels; the set fails before anything is predicted."""
    file = Path("tuned.txt")
    file.write_text("".join(f"{name} | threshold=0.2 | scale=1\n" for name in DATASETS["vdd"].classes))
    code, out, _ = run("--datasets", "vdd", "--cfg-options", f"model.name_path={file.absolute()}")
    assert code == 1
    assert "failed: SegEarth-OV, vdd: " in out
    assert "expected names alone for a table of zero-shot results; evaluate it by" in out
    assert not Path("out/segearth-ov/vdd/results.json").exists()


def check_files() -> None:
    """All tables say the same, and the workbook has the documented columns with their types."""
    rows = json.loads(Path("out/results.json").read_text())["results"]
    book = openpyxl.load_workbook("out/results.xlsx")
    assert book.sheetnames == ["results", "classes", "columns"]
    sheet = book["results"]
    assert [cell.value for cell in sheet[1]] == list(COLUMNS)
    assert sheet.freeze_panes == "C2"
    texts = {"Method", "Dataset", "Metric", "Edition", "Comparable", "Complete", "Note", "Prompts", "CLIP SHA-256"}
    numbers = {"Result", "Published", "Difference", "aAcc", "mIoU", "mAcc", "Images", "Seconds an image", "prob_thd"}
    for line, row in zip(sheet.iter_rows(min_row=2), rows, strict=True):
        for cell, (name, value) in zip(line, row.items(), strict=True):
            assert cell.value == value or cell.value == pytest.approx(value)
            if value is not None:
                assert isinstance(cell.value, str) or name not in texts
                assert isinstance(cell.value, int | float) or name not in numbers
    assert sheet.cell(2, 4).number_format == "0.00"
    assert sheet.cell(2, 7).fill.fgColor.rgb.endswith("EDEDED")
    assert [cell.value for cell in book["classes"][1]] == list(CLASS_COLUMNS)
    assert book["classes"].max_row == 1 + sum(len(of.classes) for of in DATASETS.values())
    described = {(line[0].value, line[1].value) for line in book["columns"].iter_rows(min_row=2)}
    assert {("results", name) for name in COLUMNS} | {("classes", name) for name in CLASS_COLUMNS} <= described
    with Path("out/results.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["Dataset"] for line in lines] == [row["Dataset"] for row in rows]
    assert float(lines[0]["Result"]) == rows[0]["Result"]
    page = Path("out/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 17
    assert "http" not in page.replace("http-equiv", "")
    assert all(of.title in page for of in DATASETS.values())


def test_foreground_iou_equals_a_hand_computation(run, data, monkeypatch):
    seen = []
    labels = SegEarth.labels
    monkeypatch.setattr(SegEarth, "labels", lambda self, scores: seen.append(labels(self, scores)) or seen[-1])
    options = ("model.prob_thd=0.5", "test_dataloader.dataset.pipeline.1.scale=(64,64)")
    assert run("--datasets", "WBS-SI", "--pictures", 0, "--cfg-options", *options)[0] == 0
    of, both, either = DATASETS["wbs-si"], 0, 0
    for prediction, path in zip(seen, sorted((data / of.out_labels).iterdir()), strict=True):
        truth = np.asarray(Image.open(path))
        found, water = prediction[0].numpy() == 1, truth == 1
        both += int((found & water & (truth != 255)).sum())
        either += int(((found | water) & (truth != 255)).sum())
    assert 0 < both < either
    (row, *_) = json.loads(Path("out/results.json").read_text())["results"]
    assert row["Foreground IoU"] == row["Result"] == round(100 * both / either, 2)
    assert row["Changed"].startswith("model.prob_thd=0.5")
    assert "changed: model.prob_thd=0.5" in row["Comparable"]


def test_methods_are_changes_of_the_config(run):
    groups = ("main", "plug-and-play", "ablation")
    code, _, _ = run(*SMALL, "--datasets", "udd5", "--pictures", 0, "--methods", *groups)
    assert code == 1  # rows of the ablation whose upsamplers were never published, or are for another CLIP
    for name, model_type, residual in [
        ("clip", "vanilla", False),
        ("gem", "GEM", True),
        ("clearclip", "ClearCLIP", True),
    ]:
        row = latest(name, "udd5")
        assert (row["MODEL"], row["upsampler"]) == (model_type, None)
        assert row["settings"]["ignore_residual"] is residual
        assert (row["settings"]["cls_token_lambda"], row["settings"]["prob_thd"]) == (0, 0.4)
    plus = latest("sclip-plus", "udd5")
    assert (plus["MODEL"], plus["upsampler"], plus["settings"]["cls_token_lambda"]) == (
        "SCLIP",
        "jbu_one (tiny_simfeatup.safetensors)",
        -0.3,
    )
    assert latest("ablation-baseline", "udd5")["MODEL"] == "SegEarth"
    content = json.loads(Path("out/results.json").read_text())["results"]
    rows = {row["Method"]: row for row in content if row["Dataset"] == "UDD5"}
    assert list(rows) == [method.title for group in groups for method in GROUPS[group]]
    assert "not published" in rows["CLIP"]["Note"]
    assert rows["CLIP"]["Published"] == 9.5
    assert (
        "--radius 3 --no-image-loss -o upsamplers/ablation-shared.safetensors"
        in rows["ablation: + one shared JBU"]["Note"]
    )
    assert rows["ablation: FeatUp (CLIP)"]["Note"].startswith("failed")


def test_a_trial_does_not_throw_a_finished_set_away(run):
    """The newest row is what is asked for now; what a kill after it was written has left is mended."""
    few = ("--datasets", "udd5", "--pictures", 0, "--cfg-options", "test_dataloader.dataset.pipeline.1.scale=(64,64)")
    folder, bars = Path("out/segearth-ov/udd5"), []
    for limit in ((), ("--limit", 1), ()):
        code, _, err = run(*few, *limit)
        assert code == 0
        bars.append(err.count("images: 100%"))
    assert bars == [1, 1, 0]
    rows = json.loads((folder / "results.json").read_text())
    assert [(row["images"], row["limit"]) for row in rows] == [(3, None), (1, 1), (3, None)]
    assert rows[2] == rows[0]
    (folder / "results.json").write_text(json.dumps([{**rows[0], "per_class": []}]))  # edited by somebody
    code, _, err = run(*few)
    assert (code, err.count("images: 100%")) == (0, 1)
    assert latest("segearth-ov", "udd5")["per_class"] == rows[0]["per_class"]
    (folder / "results.xlsx").unlink()
    left = folder / "progress" / rows[0]["fingerprint"][:16]
    left.mkdir(parents=True)
    assert run(*few, "--limit", 3)[0] == 0
    assert latest("segearth-ov", "udd5")["limit"] == 3
    assert (folder / "results.xlsx").is_file()
    assert not left.parent.exists()


def test_pictures_are_those_of_their_run(run):
    def embedded(*more: object) -> tuple[list[str], int, int]:
        """Names of the pictures of the newest row, pictures in the report, and how many sets were counted."""
        code, _, err = run("--datasets", "udd5", *more)
        assert code == 0
        row, page = latest("segearth-ov", "udd5"), Path("out/report.html").read_text()
        assert [Path("out/segearth-ov/udd5/pictures", name).is_file() for name in row["pictures"]].count(False) == 0
        return row["pictures"], page.count("data:image/jpeg;base64,"), err.count("images: 100%")

    few = ("--cfg-options", "test_dataloader.dataset.pipeline.1.scale=(64,64)")
    assert embedded("--pictures", 0, *few) == ([], 0, 1)
    names, shown, counted = embedded("--pictures", 2, *few)  # drawn, and not counted again
    assert (len(names), shown, counted) == (2, 2, 0)
    folder = latest("segearth-ov", "udd5")["fingerprint"][:16]
    assert {Path(name).parent.name for name in names} == {folder}
    others, shown, counted = embedded("--pictures", 1, *few, "model.prob_thd=0.9")
    assert (len(others), shown, counted) == (1, 1, 1)
    assert Path(others[0]).parent.name == latest("segearth-ov", "udd5")["fingerprint"][:16] != folder
    path = Path("out/segearth-ov/udd5/pictures", names[0])
    before = path.read_bytes()
    path.unlink()
    assert embedded("--pictures", 2, *few) == (names, 2, 0)
    assert path.read_bytes() == before


def test_a_split_is_whole_if_all_its_images_were_seen(run):
    given = ("--datasets", "udd5", "--pictures", 0, *SMALL[2:])
    for limit, available in ((1, 3), (3, 3), (7, 3)):
        assert run(*given, "--limit", limit)[0] == 0
        row = latest("segearth-ov", "udd5")
        assert (row["images"], row["available"]) == (min(limit, 3), available)
        udd5, seen = replace(column("udd5"), expected=(1, 3)), replace(Run.from_json(row), data=None)
        assert result_line(ROWS["segearth-ov"], udd5, seen).is_complete == (limit > 1)


def test_each_method_has_the_sets_of_its_table():
    rows = [ROWS["segearth-ov"], ROWS["sclip-plus"]]
    names = [(row.name, dataset.name) for row, dataset in plan(rows)]
    plus = [("sclip-plus", name) for name in ("openearthmap", "whu_aerial", "wbs-si")]
    assert names == [*(("segearth-ov", name) for name in DATASETS), *plus]
    own = TableColumn("town", "town", config=Path("town.py"))
    assert plan(rows[1:], [column("vdd")], [own]) == [(rows[1], column("vdd")), (rows[1], own)]
    assert plan(rows, [], [own]) == [(row, own) for row in rows]


def test_a_set_that_is_not_in_the_tables_is_evaluated_by_its_name():
    assert [one.name for one in select_columns(["FLAIR1", "potsdam_journal"])] == ["flair1", "potsdam_journal"]
    assert dataset_order()[-1] == "flair1"
    assert "flair1" not in PAPER_DATASETS


def test_a_run_that_equals_another_is_not_run_twice(run):
    """The last step of the ablation is SegEarth-OV: its record and pictures are taken, and nothing is predicted."""
    few = ("--datasets", "udd5", "--pictures", 1, *SMALL)
    assert run(*few)[0] == 0
    code, _, err = run(*few, "--methods", "segearth-ov", "ablation-kernel", "ablation-baseline")
    assert (code, err.count("images: 100%")) == (0, 1)  # the baseline's
    first, second, other = (latest(name, "udd5") for name in ("segearth-ov", "ablation-kernel", "ablation-baseline"))
    assert second == first
    assert other["fingerprint"] != first["fingerprint"]
    pictures = [Path("out", name, "udd5/pictures", first["pictures"][0]) for name in ("segearth-ov", "ablation-kernel")]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    Path("out/segearth-ov/udd5/results.json").write_text("[{")  # no fault of the other
    assert run(*few, "--methods", "ablation-kernel")[0] == 0


def test_ones_own_data_set_joins_the_tables(run):
    """By its config: rows of all methods, the tables and the report, without a published number."""
    spec = DATASETS["udd5"]
    (folder := Path("mine")).mkdir()
    config = (CONFIGS / "cfg_udd5.py").read_text().replace("./base_config.py", str(CONFIGS / "base_config.py"))
    (folder / "cfg_town.py").write_text(config.replace("./configs/", f"{CONFIGS}/"))
    given = ("--datasets", "--config", folder / "cfg_town.py", "--methods", "segearth-ov", "clip", "--pictures", 1)
    assert run(*given, *SMALL)[0] == 0
    rows = json.loads(Path("out/results.json").read_text())["results"]
    assert [(row["Method"], row["Dataset"], row["Metric"]) for row in rows] == [
        ("CLIP", "town", "mIoU"),
        ("SegEarth-OV", "town", "mIoU"),
    ]
    assert [(row["Published"], row["Comparable"], row["Config"]) for row in rows] == [(None, None, "cfg_town.py")] * 2
    assert rows[1]["Result"] == latest("segearth-ov", "town")["mIoU"]
    page = Path("out/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<h2>town</h2>" in page
    assert all(name in page for name in spec.classes)


def test_own_upsamplers_serve_rows_of_the_ablation(run, tmp_path):
    import torch
    from safetensors.torch import save_file

    from segearth.models.simfeatup import JBUOne

    (tmp_path / "mine").mkdir()
    torch.manual_seed(0)
    state = {f"upsampler.{name}": value for name, value in JBUOne(32, radius=3).state_dict().items()}
    save_file(state, tmp_path / "mine/ablation-reconstruction.safetensors")
    given = ("--methods", "ablation-reconstruction", "ablation-bias", "--upsamplers", "mine", "--pictures", 0)
    assert run(*SMALL, "--datasets", "udd5", *given)[0] == 0
    for name, factor in (("ablation-reconstruction", 0), ("ablation-bias", -0.3)):
        row = latest(name, "udd5")
        assert row["settings"]["cls_token_lambda"] == factor
        assert row["upsampler"] == "jbu_one (ablation-reconstruction.safetensors)"
        assert row["weights"]["upsampler"]["file"] == "ablation-reconstruction.safetensors"
    assert json.loads(Path("out/results.json").read_text())["results"][0]["Changed"] == SMALL[-1]


def test_tables_are_made_anew_from_the_results(run):
    assert run(*SMALL, "--datasets", "vdd", "udd5", "--pictures", 0)[0] == 0
    before = {name: Path("out", name).read_text() for name in FILES if not name.endswith("xlsx")}
    for name in FILES:
        Path("out", name).unlink()
    Path("out/segearth-ov/vdd/results.json").write_text("[{")
    assert run("--tables-only")[0] == 0
    rows = json.loads(Path("out/results.json").read_text())["results"]
    assert "is damaged" in next(row for row in rows if row["Dataset"] == "VDD")["Note"]
    shutil.rmtree("out/segearth-ov/vdd")
    code, _, err = run(*SMALL, "--datasets", "vdd", "--pictures", 0)
    assert (code, err.count("images: 100%")) == (0, 1)
    after = json.loads(Path("out/results.json").read_text())["results"]
    assert [row["Result"] for row in after] == [row["Result"] for row in json.loads(before["results.json"])["results"]]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--datasets", "loveda", "nowhere"], ["unknown data set 'nowhere'", "potsdam_journal"]),
        (["--datasets"], ["--datasets without a name", "--config"]),
        (["--config", "nowhere.py"], ["no config at nowhere.py"]),
        (["--config", "loveda"], ["--config loveda", "there is another data set loveda"]),
        (["--methods", "best"], ["unknown method 'best'", "segearth-ov", "ablation"]),
        (["--model", "huge"], ["unknown model 'huge'"]),
        (["--limit", "0"], ["--limit 0", "at least 1"]),
        (["--pictures", "-1"], ["--pictures -1"]),
        (["--cfg-options", "prob_thd"], ["--cfg-options prob_thd", "key=value"]),
        (["--cfg-options", "model..prob_thd=1"], ["--cfg-options model..prob_thd=1", "is empty"]),
        (["--cfg-options", "model.prob_thd=2"], ["--cfg-options model.prob_thd=2", "from 0 to 1"]),
        (["--cfg-options", "model.type=Foo"], ["--cfg-options model.type=Foo", "SegEarthSegmentation"]),
        (["--data-root", "nowhere"], ["--data-root nowhere"]),
        (["--upsamplers", "nowhere"], ["--upsamplers nowhere"]),
        (["--tables-only", "--work-dir", "nowhere"], ["--work-dir nowhere"]),
        (["--launcher", "slurm"], ["launcher slurm"]),
    ],
)
def test_mistakes_get_one_sentence(program, tmp_path, monkeypatch, capfd, arguments, parts):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    assert program.main(["--work-dir", "out", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line
    assert not list(tmp_path.iterdir())


def test_names_of_methods_are_those_of_the_published_numbers():
    with (CONFIGS.parent / "segearth/data/published.csv").open(newline="") as file:
        published = {line["method"] for line in csv.DictReader(file)}
    assert {method.name for method in GROUPS["all"]} <= published


def test_the_bound_of_memory_is_that_of_all_sets(run):
    """It changes no figure, so that results stay comparable."""
    assert run("--datasets", "loveda", *SMALL, "--max-memory", 50)[0] == 0
    assert latest("segearth-ov", "loveda")["settings"]["max_memory_mb"] == 50
    table = json.loads(Path("out/results.json").read_text())["results"][0]
    assert "max_memory_mb" not in table["Comparable"]
