"""Who may import whom, and what importing costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import segearth

HEAVY = {"torch", "open_clip", "cv2", "mmseg", "mmengine", "mmcv", "pandas", "matplotlib"}


GEO = ("rasterio", "pyogrio", "shapely", "pyproj", "affine")


def modules_after(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in out.stdout.split()}


def test_importing_the_package_and_the_demo_loads_nothing_heavy():
    assert not HEAVY & modules_after("import segearth, demo, eval_all, segearth.weights, segearth.vocabulary")


def test_prediction_needs_neither_cv2_nor_openmmlab():
    loaded = modules_after(
        "from segearth import load_model; import numpy as np\n"
        "result = load_model('tiny', 'road; tree').predict(np.zeros((20, 30, 3), np.uint8))\n"
        "result.summary(), result.overlay(), result._repr_html_()"
    )
    assert "torch" in loaded
    assert not {"cv2", "mmseg", "mmengine", "mmcv", *GEO} & loaded


def test_tables_need_nothing_that_evaluates():
    """From the records alone: no model, no test loop, and not the module that runs evaluations."""
    code = (
        "import segearth.paper.tables, sys\n"
        "print(*[name for name in sys.modules if name.startswith(('torch', 'mm', 'segearth.openmmlab'))"
        " or name in ('segearth.paper.sweep', 'segearth.models')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_polygons_need_no_torch(tmp_path):
    pytest.importorskip("pyogrio", reason="vectors need the extra geo")
    loaded = modules_after(
        "import numpy as np, rasterio\n"
        f"path = {str(tmp_path / 'map.tif')!r}\n"
        "profile = dict(driver='GTiff', width=9, height=9, count=1, dtype='uint8', crs='EPSG:32632')\n"
        "with rasterio.open(path, 'w', transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as file:\n"
        "    file.write(np.eye(9, dtype=np.uint8), 1)\n"
        "from segearth.vectors.vectorize import vectorize\n"
        "vectorize(path)"
    )
    assert "pyogrio" in loaded
    assert not {"torch", "open_clip"} & loaded


def test_the_server_of_the_page_needs_no_torch():
    """It is another process that computes; the server stays small."""
    pytest.importorskip("uvicorn", reason="the page needs the extra web")
    loaded = modules_after("import segearth.web.serve")
    assert "starlette" in loaded
    assert not {"torch", "open_clip"} & loaded


def test_help_needs_no_server():
    loaded = modules_after("from segearth import cli; cli.verb_parser('web').format_help()")
    assert not {"starlette", "uvicorn", "python_multipart", "torch", "numpy", "PIL", *GEO} & loaded


def test_names_of_scenes_can_be_imported_without_what_reads_rasters(tmp_path):
    """Used, they say what to install."""
    loaded = modules_after(
        f"import sys; sys.modules.update(dict.fromkeys({GEO}))\n"
        "from segearth import *\n"
        "predictor = load_model('tiny', 'road')\n"
        f"try: predict_scene('town.tif', {str(tmp_path)!r}, predictor)\n"
        "except UserError as error: print(error)\n"
        "from PIL import Image\n"
        f"path = {str(tmp_path / 'field.png')!r}\n"
        "Image.new('RGB', (20, 30)).save(path)\n"
        "print(*segment(path, 'tree', model=predictor, long_side=30).shares())"
    )
    assert "tree" in loaded  # of a picture
    assert {"scenes", "pip", "install", '"segearth[geo]",'} <= loaded


def test_public_names():
    for name in segearth.__all__:
        assert getattr(segearth, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_here"):
        segearth.nothing_here  # noqa: B018


@pytest.mark.parametrize(
    "program",
    [
        "demo.py",
        "eval.py",
        "eval_all.py",
        "tools/benchmark.py",
        "tools/benchmark_simfeatup.py",
        "tools/train_simfeatup.py",
        "tools/prepare_dataset.py",
        "tools/check_dataset.py",
        "tools/train_tiny_clip.py",
    ],
)
def test_programs_start_from_a_checkout_and_any_folder(program, tmp_path):
    path = Path(__file__).parents[1] / program
    out = subprocess.run([sys.executable, path, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert "usage:" in out.stdout
