"""Data under another name than a config's: found where the name is known, told where it is near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmdata import CONFIGS, loveda, picture
from PIL import Image
from preparing import CHECK

from segearth import weights
from segearth.config_files import ConfigChanges
from segearth.datasets import DATASETS
from segearth.datasets.places import lossy_label, near_name, other_places, set_of
from segearth.errors import UserError, called_as

SAT_II = ("WHU_Sat_II", "WHU_Sat_Ⅱ", "WHU_Sat_II/Satellite_dataset_Ⅱ_East_Asia/1.cropped")
WATER = DATASETS["wbs-si"]


@pytest.mark.parametrize("theirs", SAT_II)
@pytest.mark.parametrize("ours", SAT_II)
def test_sat_ii_is_found_under_the_names_of_all_configs(tmp_path, monkeypatch, ours, theirs):
    """Whatever folder a config names, and wherever the data lie of those that are in use."""
    pytest.importorskip("mmengine")
    from segearth.openmmlab.data_paths import _find_data

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / theirs / "test/image").mkdir(parents=True)
    found = tmp_path / "data" / theirs / "test/image"
    config = Path(f"data/{ours}/test/image")
    assert _find_data(config, "img_path", Path("c.py"), tmp_path / "data") == found
    assert _find_data(config, "img_path", Path("c.py"), None) == found
    (tmp_path / "data" / ours / "test/image").mkdir(parents=True, exist_ok=True)
    assert _find_data(config, "img_path", Path("c.py"), None) == tmp_path / config


def test_our_config_finds_the_official_folder(tmp_path, monkeypatch):
    pytest.importorskip("mmengine")
    from segearth.openmmlab.config import load_config

    monkeypatch.setattr(weights, "fetch", lambda file: file)
    for kind in ("image", "label_cvt"):
        (tmp_path / "data/WHU_Sat_Ⅱ/test" / kind).mkdir(parents=True)
    found = load_config(CONFIGS / "cfg_whu_sat_II.py", changes=ConfigChanges(data_root=tmp_path / "data", model="tiny"))
    assert found.test_dataloader.dataset.data_prefix == {
        "img_path": str(tmp_path / "data/WHU_Sat_Ⅱ/test/image"),
        "seg_map_path": str(tmp_path / "data/WHU_Sat_Ⅱ/test/label_cvt"),
    }


def test_other_places_are_those_of_the_same_set():
    assert other_places(Path("data/LoveDA/img_dir/val")) == []
    assert other_places(Path("data/WHU_Sat_III/test")) == []
    assert Path("data/WHU_Sat_Ⅱ/test") in other_places(Path("data/WHU_Sat_II/test"))
    assert Path("data/WHU_Sat_II/test") in other_places(Path(f"data/{SAT_II[2]}/test"))


@pytest.mark.parametrize(
    ("wanted", "there", "near"),
    [
        ("LoveDA", "loveDA", "loveDA"),
        ("LoveDA", "love_da", "love_da"),
        ("WHU-BD", "WHU BD", "WHU BD"),
        ("CHN6-CUG", "CHN6_CUG", "CHN6_CUG"),
        ("OpenEarthMap", "OpenEarthMaps", "OpenEarthMaps"),
        ("WHU_Sat_II", "WHU_Sat_Ⅱ", "WHU_Sat_Ⅱ"),
        ("potsdam", "vaihingen", None),
        ("LoveDA", "iSAID", None),
    ],
)
def test_near_names_of_folders(tmp_path, wanted, there, near):
    (tmp_path / "data" / there).mkdir(parents=True)
    said = near_name(tmp_path / "data" / wanted / "img_dir/val")
    assert said == (
        "" if near is None else f"there is {tmp_path / 'data' / near}: rename it to {wanted} if it is the one"
    )


def test_near_names_that_cannot_be_looked_for(tmp_path):
    (tmp_path / "file").touch()
    assert near_name(tmp_path) == near_name(tmp_path / "file/below") == near_name(tmp_path / ("x" * 300) / "y") == ""


def test_a_config_and_a_check_tell_of_near_names(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mmengine")
    from segearth.openmmlab.config import load_config

    monkeypatch.chdir(loveda(tmp_path / "data", [(20, 20)]).parent)
    (tmp_path / "data/LoveDA").rename(tmp_path / "data/loveDA")
    for root in (None, tmp_path / "data"):
        with pytest.raises(UserError, match="no data at .*there is .*data/loveDA: rename it to LoveDA"):
            load_config(CONFIGS / "cfg_loveda.py", changes=ConfigChanges(data_root=root, model="tiny"))
    assert CHECK.main(["loveda", "--data-root", "data"]) == 1
    assert "or there is data/loveDA: rename it to LoveDA" in capsys.readouterr().err


def test_a_folder_of_a_known_name_is_not_to_be_renamed(tmp_path, monkeypatch):
    """It was found, but lacks what only the preparation makes."""
    pytest.importorskip("mmengine")
    from segearth.openmmlab.config import load_config

    monkeypatch.chdir(tmp_path)
    for name in ("image", "label"):
        (tmp_path / "data/WHU_Sat_Ⅱ/test" / name).mkdir(parents=True)
    for root in (None, tmp_path / "data"):
        with pytest.raises(UserError, match="/test is there, without label_cvt: prepare the set") as caught:
            load_config(CONFIGS / "cfg_whu_sat_II.py", changes=ConfigChanges(data_root=root, model="tiny"))
        assert "WHU_Sat_Ⅱ" in str(caught.value)
        assert "rename" not in str(caught.value)


def water(root: Path, mask: int, suffix: str = ".jpg") -> dict[str, object]:
    """WBS-SI with one mask of half water, as JPEG; gives the settings of the data set."""
    for folder in (WATER.out_images, WATER.out_labels):
        (root / folder).mkdir(parents=True)
    labels = np.zeros((40, 48), np.uint8)
    labels[:, 21:] = mask
    labels[:20, 30:33] = 0
    Image.fromarray(picture(40, 48, 0)).save(root / WATER.out_images / "water_body_8.jpg")
    Image.fromarray(labels).save(root / WATER.out_labels / f"water_body_8{suffix}", "JPEG")
    return {
        "type": "WaterDataset",
        "data_prefix": {"img_path": str(root / WATER.out_images), "seg_map_path": str(root / WATER.out_labels)},
        "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}],
    }


CAUSE = "water_body_8.jpg is a JPEG, whose compression changes class indices .*prepare the set from its download: "


def test_masks_of_water_as_jpeg_where_a_config_wants_png(tmp_path):
    pytest.importorskip("mmseg")
    from segearth.openmmlab.datasets import open_dataset

    settings = water(tmp_path, 255)
    with called_as("segearth eval"), pytest.raises(UserError, match=f"are missing: .*{CAUSE}segearth prepare wbs-si"):
        open_dataset(settings)
    with called_as("eval.py"), pytest.raises(UserError, match=f"{CAUSE}python tools/prepare_dataset.py wbs-si SOURCE"):
        open_dataset(settings)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_masks_of_water_as_jpeg_that_are_read(tmp_path, suffix):
    """A suffix does not hide it. A mask of 0 and 255 comes back with 2, 253 and others."""
    pytest.importorskip("mmseg")
    from segearth.openmmlab.datasets import open_dataset
    from segearth.openmmlab.metric import CountingIoUMetric

    with pytest.warns(UserWarning, match=f"figures will differ .*{CAUSE.replace('.jpg', suffix)}"):
        dataset = open_dataset({**water(tmp_path, 255, suffix), "seg_map_suffix": suffix})
    metric = CountingIoUMetric()
    metric.dataset_meta = dataset.metainfo
    sample = dataset[0]["data_samples"].to_dict()
    sample["pred_sem_seg"] = sample["gt_sem_seg"]
    with pytest.raises(UserError, match=f"label values 2, .*{CAUSE.replace('.jpg', suffix)}"):
        metric.process({}, [sample])


def test_labels_that_are_no_jpeg(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert lossy_label(tmp_path / "a.png") == lossy_label(tmp_path / "b.png") == lossy_label("") == ""
    Image.new("L", (4, 4)).save(tmp_path / "c.jpg")
    assert lossy_label(tmp_path / "c.png").endswith("; make PNG files")


def test_the_set_of_a_path():
    assert set_of(f"/x/{WATER.out_labels}/a.png") is WATER
    assert set_of(f"/x/{WATER.out_images}") is WATER
    assert set_of("/x/y.png") is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.PNG"], r"\(there are .PNG\).*img_suffix=.PNG"),
        (["a.txt", "b.jpg", "sub/c.jpg"], r"\(there are .jpg, .txt\).*img_suffix=.jpg"),
        ([], "prepare the set: segearth prepare loveda SOURCE"),
    ],
)
def test_a_folder_without_the_images(tmp_path, files, said):
    pytest.importorskip("mmseg")
    from segearth.openmmlab.datasets import open_dataset

    folder = tmp_path / "LoveDA/img_dir/val"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with called_as("segearth eval"), pytest.raises(UserError, match=f"no images in .*end in .png.*{said}"):
        open_dataset({"type": "LoveDADataset", "data_prefix": {"img_path": str(folder)}, "pipeline": []})
