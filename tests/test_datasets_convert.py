"""How images are cut, and what is written of them."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from preparing import ROOT, made

from segearth.datasets import DATASETS
from segearth.datasets.convert import cuts
from segearth.datasets.description import Windows


def stated(length, size, stride):
    length = max(length, size)
    starts = [s for s in range(0, length, stride) if s + size <= length]
    return starts + ([length - size] if starts[-1] + size < length else [])


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([d for d in DATASETS.values() if d.windows]))
def test_windows_follow_the_rule(height, width, of):
    (h, w), (dy, dx) = of.windows.size, of.windows.stride
    found = [window for _, window in cuts("k", (height, width), of.windows)]
    assert found == [(y, y + h, x, x + w) for y in stated(height, h, dy) for x in stated(width, w, dx)]
    assert len({stem for stem, _ in cuts("k", (height, width), of.windows)}) == len(found)


def test_window_counts_and_names():
    for name, sizes in (("potsdam", DATASETS["potsdam"].sizes * 14), ("vaihingen", DATASETS["vaihingen"].sizes)):
        of = DATASETS[name]
        assert len(sizes) == len(of.keys)
        assert sum(len(list(cuts("k", size, of.windows))) for size in sizes) == of.expected[0]
    assert len(list(cuts("k", (5000, 5000), DATASETS["inria"].windows))) * 27 == 675
    uavid = DATASETS["uavid"]
    assert [len(list(cuts("k", size, uavid.windows))) for size in uavid.sizes] == [6, 8]
    assert next(cuts("2_13", (600, 700), DATASETS["potsdam"].windows))[0] == "2_13_0_0_512_512"
    assert list(cuts("P1", (900, 896), DATASETS["iSAID"].windows))[1][0] == "P1_4_900_0_896"
    assert list(cuts("a", (1, 600), Windows((512, 512), (512, 512), "{left}")))[1][0] == "88"


def test_gray_and_transparent_images_become_rgb(tmp_path):
    for stem, mode in (("P0003", "L"), ("P0004", "RGBA")):
        Image.new(mode, (896, 896)).save((tmp_path / stem).with_suffix(".png"))
        Image.new("RGB", (896, 896)).save(tmp_path / f"{stem}_instance_color_RGB.png")
    (tmp_path / "images").mkdir()
    for path in tmp_path.glob("*.png"):
        path.rename(tmp_path / "images" / path.name)
    made("iSAID", tmp_path / "images", tmp_path / "data")
    images = list((tmp_path / "data/iSAID/img_dir/val").iterdir())
    assert len(images) == 2
    assert {(Image.open(p).mode, Image.open(p).format) for p in images} == {("RGB", "PNG")}


def test_a_large_pair(tmp_path):
    """9500 × 9500 pixels: no limit of Pillow in the way, and less than 1.6 GB for image and label together."""
    code = (
        "import sys\nfrom dataclasses import replace\nfrom pathlib import Path\nfrom PIL import Image\n"
        "from segearth.datasets import DATASETS\nfrom segearth.datasets.description import Windows\n"
        "from segearth.datasets.prepare import prepare\n"
        "folder, side = Path(sys.argv[1]), 9500\n(folder / 'images').mkdir()\n"
        "for name in ('P0001', 'P0001_instance_color_RGB'):\n"
        "    Image.new('RGB', (side, side), (0, 63, 255)).save(folder / f'images/{name}.png', compress_level=1)\n"
        "cut = Windows((4750, 4750), (4750, 4750), '{key}_{left}_{top}')\n"  # few and large, as many only take time
        "of = replace(DATASETS['iSAID'], windows=cut)\n"
        "done = prepare(of, [folder / 'images'], folder / 'data', quiet=True)\n"
        "assert done.manifest['label_pixels'] == {'6': side * side}, done.manifest\n"
        "assert done.manifest['images'] == 4\n"
        "assert Image.MAX_IMAGE_PIXELS == 89478485\n"
        "status = Path('/proc/self/status')\n"  # of this process alone: ru_maxrss begins with what its parent had
        "print(status.read_text().split('VmHWM:')[1].split()[0] if status.exists() else 0)\n"
    )
    out = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    peak = int(out.stdout) * 1024
    print(f"peak memory: {peak / 1e9:.2f} GB")
    assert peak < 1.6e9
