"""`segearth info`: what files are, what is refused, and what a map costs here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from test_images import BAD, bad_files

from segearth import weights
from segearth.cli import info, main
from segearth.cli.cost import TIMED_PIXELS, Cost, measure
from segearth.cli.formatting import duration
from segearth.images import check_image
from segearth.loading import load_model
from segearth.vocabulary import Vocabulary


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGEARTH_OFFLINE", "1")
    monkeypatch.setenv("SEGEARTH_HOME", str(tmp_path / "cache"))


def facts(text: str) -> dict[str, str]:
    """The rows of a section."""
    rows = (line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  "))
    return {key: value.strip() for key, value in rows}


def test_a_file_and_its_cost(photo, capsys):
    Image.fromarray(photo).save("a.png")
    assert main(["info", "a.png", "--model", "tiny", "-c", "road; tree"]) == 0
    captured = capsys.readouterr()
    found = facts(captured.out)
    assert found["size"] == "130 × 90 pixels (width × height)"
    assert found["bands"] == "3 (RGB), 8 bits, unsigned"
    assert found["predict"] == "can be mapped"
    assert found["at long side 448"].startswith("6 windows, about ")  # 448 × 310 pixels: 3 × 2
    assert found["at its own size"].startswith("1 window, about ")
    assert "4 windows of tiny (its own weights) were timed on cpu" in captured.out
    assert "scores of 2 classes" in captured.out
    assert captured.err == "timing tiny ...\n"


def test_what_headers_say(photo, capsys):
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[274] = 6
    image.save("turned.jpg", exif=exif)
    image.convert("RGBA").save("alpha.png")
    image.quantize(7).save("palette.png")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[34735] = (1, 1, 0, 0)
    tags.tagtype[34735] = 3
    image.save("map.tif", tiffinfo=tags)
    image.save("plain.tif")
    found = {}
    for name in ("turned.jpg", "alpha.png", "palette.png", "map.tif", "plain.tif"):
        main(["info", name, "--no-cost"])
        found[name] = facts(capsys.readouterr().out)
    assert found["turned.jpg"]["orientation"] == "turned by 90°"
    assert "turned upright" in found["turned.jpg"]["predict"]
    assert found["alpha.png"]["alpha"] == "yes"
    assert found["alpha.png"]["bands"].startswith("4 (RGBA)")
    assert found["palette.png"]["palette"] == "7 colours"
    assert found["plain.tif"]["palette"] == found["plain.tif"]["alpha"] == "no"
    assert (found["map.tif"]["GeoKeys"], found["plain.tif"]["GeoKeys"]) == ("yes", "no")
    assert "GeoKeys" not in found["palette.png"]
    assert "at its own size" not in found["plain.tif"]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 5), np.uint16), "16 bits, unsigned"),
        (np.zeros((4, 5), np.float32), "32 bits, float"),
        (np.zeros((4, 5), np.int32), "32 bits, signed"),
    ],
)
def test_deep_images_are_described_and_refused(capsys, array, said):
    Image.fromarray(array).save("deep.tif")
    assert main(["info", "deep.tif", "--no-cost", "--as", "picture"]) == 2
    found = facts(capsys.readouterr().out)
    assert said in found["bands"]
    assert found["predict"].startswith("refused: deep.tif is a ")


@pytest.mark.parametrize("name", BAD)
def test_what_predict_refuses_is_refused_here(tmp_path, capsys, name):
    path, message = bad_files(tmp_path)[name]
    if not path.exists():
        assert main(["info", str(path)]) == 2
        assert f"no file at {path}" in capsys.readouterr().err
        return
    assert main(["info", str(path), "--no-cost", "--as", "picture"]) == 2
    assert message in facts(capsys.readouterr().out)["predict"]


def test_one_bad_file_of_several(photo, capsys):
    Image.fromarray(photo).save("a.png")
    Path("b.png").write_bytes(b"no picture")
    assert main(["info", "a.png", "b.png", "--no-cost"]) == 1
    out = capsys.readouterr().out
    assert out.index("a.png\n") < out.index("can be mapped") < out.index("b.png\n") < out.index("refused: ")
    assert main(["info", "a.png", "nothing.png", "--no-cost"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no file at nothing.png" in captured.err


def test_a_model_that_is_not_here_is_timed_with_random_weights(photo, monkeypatch, capsys):
    monkeypatch.setattr(weights, "find", lambda _: None)
    Image.fromarray(photo).save("a.png")
    assert main(["info", "a.png", "--model", "tiny"]) == 0
    assert "tiny (random weights, which cost the same)" in capsys.readouterr().out
    assert main(["info", "a.png", "--model", "huge"]) == 2
    assert "unknown model 'huge'" in capsys.readouterr().err


def test_cost_grows_with_windows_and_pixels():
    model = load_model("tiny", "road; tree,forest", "cpu").model
    cost = Cost(model, 2.0, 1 / TIMED_PIXELS, "")
    assert cost.windows(448, 448) == 9
    assert cost.seconds((448, 448), (1024, 1024)) == pytest.approx(19)
    size = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    grid = model.grid(4480, 4480)
    working = model.memory(grid).working_set(grid, 400)
    assert 200 * 2**20 < working <= 2 * 400 * 2**20  # the windows, and a strip of their logits
    large = cost.memory((4480, 4480), (4480, 4480)) - size - working
    assert large == pytest.approx(4480**2 * (3 + 12 + 4 * 3 + 4 * 2 + 5))  # 3 queries, 2 classes
    assert cost.memory((224, 224), (224, 224)) < size + 200 * 2**20


def test_measured_is_what_a_prediction_takes():
    """The windows and the pixels that are timed are computed by the model that is asked for."""
    args = info.argparse.Namespace(
        model="tiny", device="cpu", precision="bf16", architecture=None, upsampler="bilinear"
    )
    cost = measure(args, Vocabulary.of("road; tree"))
    assert cost.window_s > 0
    assert cost.pixel_s > 0
    assert type(cost.model.upsampler).__name__ == "Bilinear"
    assert {tensor.dtype for tensor in cost.model.encoder.parameters()} == {torch.bfloat16}
    assert "in bf16" in cost.source


def test_durations():
    assert [duration(seconds) for seconds in (0.0123, 3.14, 59, 600, 7200)] == [
        "0.012 s", "3.1 s", "59 s", "10 min", "2.0 h",
    ]  # fmt: skip


def test_refused_by_the_header_alone_as_well():
    """What info says and what predict looks at before it begins are the same rules."""
    Image.fromarray(np.zeros((4, 5), np.uint16)).save("deep.tif")
    with pytest.raises(ValueError, match="16-bit") as caught:
        check_image(Path("deep.tif"))
    assert info.examine(Path("deep.tif"))[0]["predict"] == f"refused: {caught.value}"
