"""The parts of the glue: guard, paths, segmentor, metric, data sets."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdata import CONFIGS, loveda, picture, random_tiny, tiny  # noqa: F401 (fixtures)
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image

import segearth.openmmlab as glue
from segearth import weights
from segearth.config_files import ConfigChanges
from segearth.errors import UserError
from segearth.labels import apply_thresholds
from segearth.loading import load_model
from segearth.metrics import confusion_matrix, iou_per_class
from segearth.models import SegEarth
from segearth.openmmlab.config import load_config
from segearth.openmmlab.datasets import OpenEarthMapDataset, open_dataset
from segearth.openmmlab.devices import device_of
from segearth.openmmlab.metric import CountingIoUMetric
from segearth.openmmlab.model_weights import resolve_weights
from segearth.openmmlab.places import resolve
from segearth.openmmlab.segmentor import SegEarthSegmentation
from segearth.results.record import ClassResult
from segearth.vocabulary import Vocabulary

CLASSES = CONFIGS / "cls_loveda.txt"
pytestmark = pytest.mark.usefixtures("tiny")


# ---- the libraries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ImportError("libGL.so.1: cannot open shared object file"), "opencv-python-headless"),
        (ImportError("libgthread-2.0.so.0: cannot open shared object file"), "apt-get install libgl1 libglib2.0-0"),
        (ModuleNotFoundError("No module named 'mmcv'", name="mmcv"), 'pip install "segearth[eval]"'),
        (ImportError("numpy.core.multiarray failed to import"), 'pip install "segearth[eval]"'),
        (AssertionError("MMCV==2.3 is used but incompatible"), 'pip install "segearth[eval]"'),
    ],
)
def test_require_names_the_line_that_mends(monkeypatch, error, advice):
    def failing(_):
        raise error

    monkeypatch.setattr(glue, "import_module", failing)
    with pytest.raises(UserError, match="run: pip") as caught:
        glue.require()
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_registered_names_are_imported_on_use():
    assert glue.SegEarthSegmentation is SegEarthSegmentation
    assert MODELS.get("SegEarthSegmentation") is SegEarthSegmentation
    assert DATASETS.get("OpenEarthMapDataset") is OpenEarthMapDataset
    assert "OpenEarthMapDataset" not in ROOT_DATASETS.module_dict
    with pytest.raises(AttributeError):
        _ = glue.nothing


# ---- configs --------------------------------------------------------------------------------------------


def test_resolve_looks_in_three_places(tmp_path, monkeypatch):
    folder = tmp_path / "repository" / "configs"
    folder.mkdir(parents=True)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert resolve("./list.txt", folder) is None
    for place in (folder.parent, folder, work):
        (place / "list.txt").touch()
        assert resolve("./list.txt", folder) == place / "list.txt"
    assert resolve(work / "list.txt", folder) == work / "list.txt"


def test_weights_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setattr(weights, "fetch", lambda file: Path("cached") / file.name)
    name = "simfeatup_dev/weights/xclip_jbu_one_million_aid.ckpt"
    assert resolve_weights(name, tmp_path) == Path("cached/xclip_jbu_one_million_aid.ckpt")
    with pytest.raises(UserError, match='model="tiny"'):
        resolve_weights("weights/other.ckpt", tmp_path)


@pytest.mark.parametrize(("name", "classes", "threshold"), [("cfg_loveda", 7, 0.3), ("cfg_openearthmap", 9, 0.1)])
def test_our_configs(tmp_path, monkeypatch, name, classes, threshold):
    monkeypatch.chdir(tmp_path)
    for kind in ("img_dir", "ann_dir"):
        for dataset in ("LoveDA", "OpenEarthMap"):
            (tmp_path / "data" / dataset / kind / "val").mkdir(parents=True)
    config = load_config(CONFIGS / f"{name}.py", changes=ConfigChanges(model="tiny"))
    assert len(Vocabulary.from_file(config.model.name_path)) == classes
    assert config.model.prob_thd == threshold
    assert config.model.cls_token_lambda == -0.3
    assert (config.model.slide_crop, config.model.slide_stride, config.model.logit_scale) == (224, 112, 50)
    prefix = config.test_dataloader.dataset.data_prefix
    assert all(Path(path).is_absolute() and Path(path).is_dir() for path in prefix.values())
    kind = DATASETS.get(config.test_dataloader.dataset.type)
    assert len(kind.METAINFO["classes"]) == classes


def test_openearthmap_classes_follow_the_prompts():
    prompts = Vocabulary.from_file(CONFIGS / "cls_openearthmap.txt")
    for names, classname in zip(prompts.classes, OpenEarthMapDataset.METAINFO["classes"], strict=True):
        assert classname in names
    assert len({tuple(colour) for colour in OpenEarthMapDataset.METAINFO["palette"]}) == 9


def test_options_are_read_as_mmengine_does(tmp_path):
    root = loveda(tmp_path, [(20, 20)])
    options = ["model.prob_thd=0.5", "model.feature_up=False", "test_dataloader.dataset.pipeline.1.scale=(64,64)"]
    config = load_config(
        CONFIGS / "cfg_loveda.py", changes=ConfigChanges(options=options, data_root=root, model="tiny")
    )
    assert (config.model.prob_thd, config.model.feature_up) == (0.5, False)
    assert config.test_dataloader.dataset.pipeline[1].scale == (64, 64)


# ---- segmentor ------------------------------------------------------------------------------------------


@pytest.fixture
def segmentor():
    return SegEarthSegmentation(str(CLASSES), model="tiny", prob_thd=0.16, cls_token_lambda=-0.3, device="cpu")


def loaded(folder: Path, sizes) -> list[dict]:
    """What the data loader gives for pictures of these sizes."""
    settings = {
        "type": "LoveDADataset",
        "data_prefix": {"img_path": f"{folder}/LoveDA/img_dir/val", "seg_map_path": f"{folder}/LoveDA/ann_dir/val"},
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "Resize", "scale": (448, 448), "keep_ratio": True},
            {"type": "LoadAnnotations"},
            {"type": "PackSegInputs"},
        ],
    }
    loveda(folder, sizes)
    return list(open_dataset(settings))


def step(segmentor, items: list[dict]) -> list[SegDataSample]:
    batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
    return segmentor.test_step(batch)


def test_batch_of_different_images_equals_single_ones(segmentor, tmp_path):
    items = loaded(tmp_path, [(60, 60), (60, 90), (120, 120), (60, 90)])
    singles = [step(segmentor, [item])[0].clone() for item in items]
    together = step(segmentor, items)
    for single, batched in zip(singles, together, strict=True):
        assert batched.img_path == single.img_path
        assert batched.seg_logits.data.shape == (7, *batched.ori_shape)
        assert batched.pred_sem_seg.data.shape == (1, *batched.ori_shape)
        torch.testing.assert_close(batched.seg_logits.data, single.seg_logits.data, atol=1e-5, rtol=0)
        assert (batched.pred_sem_seg.data == single.pred_sem_seg.data).float().mean() >= 0.9999


@pytest.mark.parametrize("size", [(300, 200), (511, 640), (448, 448), (97, 31)])
def test_same_labels_as_the_predictor_pixel_for_pixel(segmentor, tmp_path, size):
    """Both resize to the same pixels; scores, not only the best of them, are equal."""
    sample = step(segmentor, loaded(tmp_path, [size]))[0]
    predictor = load_model("tiny", CLASSES, "cpu", prob_thd=0.16, progress=False)
    expected = predictor.predict(tmp_path / "LoveDA/img_dir/val/0.png")
    assert len(np.unique(expected.labels)) > 1
    assert np.array_equal(sample.pred_sem_seg.data[0].numpy(), expected.labels)
    assert np.abs(sample.seg_logits.data.numpy() - expected.scores).max() < 1e-5


def test_forward_without_samples(segmentor):
    image = torch.zeros(2, 3, 64, 80)
    results = segmentor(image, mode="predict")
    assert [result.pred_sem_seg.data.shape for result in results] == [(1, 64, 80)] * 2
    assert segmentor(image).shape == (2, 7, 64, 80)
    assert segmentor.extract_feat(image).shape == (2, 32, 4, 5)
    with pytest.raises(NotImplementedError):
        segmentor(image, mode="loss")


def test_flipped_images_are_refused(segmentor):
    sample = SegDataSample(metainfo={"ori_shape": (64, 64), "flip": True, "flip_direction": "horizontal"})
    with pytest.raises(UserError, match="flips or pads"):
        segmentor.predict(torch.zeros(1, 3, 64, 64), [sample])


def test_options_reach_the_model():
    made = SegEarthSegmentation(
        CLASSES, model="tiny", model_type="GEM", cls_token_lambda=0, feature_up=False, slide_crop=0, bg_idx=3
    )
    net = made.net
    assert isinstance(net, SegEarth)
    assert (net.encoder.method, net.upsampler, net.slide_crop, net.bg_idx) == ("GEM", None, 0, 3)
    assert made.upsampler is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "Foo"}, "unknown method 'Foo'"),
        ({"model_type": "GEM", "cls_token_lambda": -0.3}, "cls_token_lambda"),
        ({"model": "huge"}, "unknown model 'huge'"),
        ({"model": None, "clip_type": "Foo"}, "clip_type='Foo'"),
        ({"model": None, "feature_up_cfg": {"model_name": "foo"}}, "unknown upsampler 'foo'"),
        ({"bg_idx": 7}, "background index 7"),
        ({"precision": "int8"}, "unknown precision"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        SegEarthSegmentation(**{"name_path": CLASSES, "model": "tiny", **options})


def test_without_the_key_nothing_of_the_cls_token_is_subtracted():
    """As in the official system: configs that omit it mean 0."""
    segmentor = SegEarthSegmentation(CLASSES, model="tiny", device="cpu", max_memory_mb=50)
    assert segmentor.net.cls_token_lambda == 0
    assert segmentor.max_memory_mb == 50


def test_thresholds_and_scales_of_classes_count_as_in_prediction(tmp_path):
    """In place of `prob_thd`; the scale counts before the comparison, not in the score that a threshold is for."""
    (tmp_path / "cls.txt").write_text("other\nroad | threshold=0.45\ntree | scale=2\n")
    segmentor = SegEarthSegmentation(tmp_path / "cls.txt", model="tiny", device="cpu", prob_thd=0.25)
    scores = torch.tensor([[0.1, 0.4, 0.3], [0.1, 0.6, 0.2], [0.2, 0.44, 0.2], [0.6, 0.05, 0.2], [0.3, 0.5, 0.25]])
    found = segmentor._labels(scores.T[None, :, None])
    vocabulary = segmentor.vocabulary
    scaled = scores.numpy() * np.array(vocabulary.scales, np.float32)
    confidence = scores.numpy()[range(5), scaled.argmax(axis=1)]
    assert found[0, 0].tolist() == [2, 1, 0, 0, 1]
    assert found[0, 0].tolist() == apply_thresholds(scaled.argmax(axis=1), confidence, vocabulary, 0.25).tolist()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_becomes_the_cpu():
    with pytest.warns(UserWarning, match="no CUDA GPU here"):
        made = SegEarthSegmentation(CLASSES, model="tiny", device="cuda")
    assert made.net.query_features.device.type == "cpu"


@pytest.mark.parametrize(
    ("cuda", "mps", "named", "expected"),
    [
        (True, True, None, "cuda"),
        (False, True, None, "mps"),
        (False, True, "auto", "mps"),
        (False, True, "mps", "mps"),
        (False, True, "cpu", "cpu"),
        (False, True, "cuda:0", "mps"),
        (False, False, None, "cpu"),
    ],
)
@pytest.mark.filterwarnings("ignore:the config asks for cuda")
def test_devices_are_chosen_as_by_the_other_commands(cuda, mps, named, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device_of(named).type == expected


def test_a_device_that_is_not_here_is_told_by_its_key(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda:2", "mps"):
        with pytest.raises(UserError, match=rf'{device}, which is not here.*options="model.device=cpu"'):
            SegEarthSegmentation(CLASSES, model="tiny", device=device)


# ---- metric ---------------------------------------------------------------------------------------------


def sample(prediction: np.ndarray, truth: np.ndarray, name: str = "7") -> dict:
    made = SegDataSample(metainfo={"img_path": f"img/{name}.png", "seg_map_path": f"ann/{name}.png"})
    made.pred_sem_seg = PixelData(data=torch.from_numpy(prediction)[None])
    made.gt_sem_seg = PixelData(data=torch.from_numpy(truth)[None])
    return made.to_dict()


def test_counts_equal_a_confusion_matrix():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 4, shape), rng.integers(0, 4, shape)) for shape in ((20, 30), (7, 5), (40, 1))]
    for _, truth in pairs:
        truth[rng.random(truth.shape) < 0.2] = 255
    metric, plain = CountingIoUMetric(), IoUMetric()
    matrix = np.zeros((5, 5), np.int64)  # class 4 is nowhere
    for one in (metric, plain):
        one.dataset_meta = {"classes": ("a", "b", "c", "d", "e")}
        for i, (prediction, truth) in enumerate(pairs):
            one.process({}, [sample(prediction, truth, str(i))])
    for prediction, truth in pairs:
        for p, t in zip(prediction.ravel(), truth.ravel(), strict=True):
            if t != 255:
                matrix[t, p] += 1
        assert confusion_matrix(prediction, truth, 5).sum() == (truth != 255).sum()
    assert metric.evaluate(3) == pytest.approx(plain.evaluate(3), abs=0.01)
    assert [count.intersection for count in metric.counts] == np.diag(matrix).tolist()
    assert [count.prediction_pixels for count in metric.counts] == matrix.sum(axis=0).tolist()
    assert [count.label_pixels for count in metric.counts] == matrix.sum(axis=1).tolist()
    ious = iou_per_class(matrix)
    assert [ClassResult.from_counts(*count).iou for count in metric.counts[:4]] == pytest.approx(
        100 * ious[:4], abs=1e-4
    )
    assert ClassResult.from_counts(*metric.counts[4]).iou is None
    assert metric.summary["mIoU"] == pytest.approx(100 * np.nanmean(ious), abs=0.005)


def test_counts_stay_exact_above_float32():
    metric = CountingIoUMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    metric.conclude({name: {"areas": [[pixels, 0]] * 4} for name, pixels in (("a", 2**24), ("b", 1))})
    assert metric.counts[0].label_pixels == 2**24 + 1


def test_a_class_with_more_pixels_in_one_image_than_float32_can_count():
    one = torch.ones((1, 2**24 + 1), dtype=torch.uint8)
    for area in CountingIoUMetric.intersect_and_union(one, one, 3, 255):
        assert area.tolist() == [0, 2**24 + 1, 0]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.full((4, 4), 3), r"ann/7.png has the label values 3: expected 0 to 1"),
        (np.zeros((4, 5), np.int64), r"ann/7.png has the shape \(4, 5\)"),
    ],
)
def test_wrong_labels(truth, message):
    metric = CountingIoUMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    with pytest.raises(UserError, match=message):
        metric.process({}, [sample(np.zeros((4, 4), np.int64), truth)])


# ---- data sets ------------------------------------------------------------------------------------------


def test_damaged_files_are_named(tmp_path):
    loaded(tmp_path, [(20, 20), (20, 20), (20, 20)])
    image, label = (tmp_path / f"LoveDA/{kind}/val/{i}.png" for kind, i in (("img_dir", 1), ("ann_dir", 2)))
    image.write_bytes(image.read_bytes()[:60])  # their headers are whole
    label.write_bytes(label.read_bytes()[:60])
    settings = {
        "type": "LoveDADataset",
        "data_prefix": {"img_path": str(image.parent), "seg_map_path": str(label.parent)},
        "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}],
    }
    dataset = open_dataset(settings)
    with pytest.raises(UserError, match=r"img_dir/val/1.png is damaged"):
        dataset[1]
    with pytest.raises(UserError, match=r"ann_dir/val/2.png is damaged"):
        dataset[2]
    (image.parent / "0.png").write_bytes(image.read_bytes())
    with pytest.raises(UserError, match=r"img_dir/val/0.png is damaged"):  # the first one is loaded before the run
        open_dataset(settings)


def test_openearthmap_labels_are_taken_as_they_are(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    truth = np.arange(9, dtype=np.uint8).reshape(3, 3)
    Image.fromarray(picture(3, 3, 0)).save(tmp_path / "images/a.tif")
    Image.fromarray(truth).save(tmp_path / "labels/a.tif")
    dataset = open_dataset(
        {
            "type": "OpenEarthMapDataset",
            "data_prefix": {"img_path": str(tmp_path / "images"), "seg_map_path": str(tmp_path / "labels")},
            "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}],
        }
    )
    assert (dataset[0]["data_samples"].gt_sem_seg.data[0].numpy() == truth).all()


def test_importing_the_package_imports_nothing_of_openmmlab():
    source = Path(importlib.util.find_spec("segearth.openmmlab").origin).read_text()
    assert not [line for line in source.splitlines() if line.startswith(("import mm", "from mm"))]


def test_labels_that_were_not_loaded():
    metric = CountingIoUMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    with pytest.raises(UserError, match="LoadAnnotations"):
        metric.process({}, [{"pred_sem_seg": {"data": torch.zeros(1, 4, 4)}}])
