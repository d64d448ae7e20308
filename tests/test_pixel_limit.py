import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from segearth.cli import main
from segearth.errors import UserError, called_as
from segearth.images import check_image, read_image
from segearth.images.pixel_limit import PIXELS_A_BYTE, PixelLimit, allow_pixels, check_enlarged

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
FORMATS = {"a.png": {}, "a.tif": {}, "b.tif": {"compression": "tiff_lzw"}, "a.jpg": {}, "a.webp": {"lossless": True}}


def saved(folder, name="a.png"):
    Image.fromarray(NOISE).save(folder / name, **FORMATS[name])
    return folder / name


def lying_png(path, width, height):
    """A small file whose header says that it is a large one."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize("limit", [1500, 500])  # Pillow warns from one limit on, and refuses from two on
@pytest.mark.parametrize("name", FORMATS)
def test_a_large_image_is_read(tmp_path, monkeypatch, recwarn, name, limit):
    path = saved(tmp_path, name)
    expected = read_image(path)[0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for source in (path, io.BytesIO(path.read_bytes())):
        assert np.array_equal(read_image(source)[0], expected)
    assert check_image(path) == (40, 50)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 50_000), (2**31 - 1, 2**31 - 1)])
def test_a_file_that_lies_is_refused(tmp_path, size):
    path = lying_png(tmp_path / "a.png", *size)
    for read in (read_image, check_image):
        with pytest.raises(UserError, match="pixels, which is more than its .* bytes can hold: expected a whole file"):
            read(path)
    with pytest.raises(UserError, match="more than its .* bytes can hold"):
        read_image(io.BytesIO(path.read_bytes()))


def test_the_sentence_names_the_option(tmp_path):
    path = lying_png(tmp_path / "a.png", 10_000, 10_000)
    with pytest.raises(UserError, match="says that it has 10000 × 10000 pixels, .*or if it is right, use max_pixels=1"):
        check_image(path)
    with called_as("segearth predict"), pytest.raises(UserError, match="use --max-pixels 100000000$"):
        check_image(path)


def test_an_option_raises_and_lowers_the_limit(tmp_path):
    assert check_image(lying_png(tmp_path / "lies.png", 20_000, 10_000), 200_000_000) == (10_000, 20_000)
    path = saved(tmp_path)
    assert np.array_equal(read_image(path, 2000)[0], NOISE)
    for read in (read_image, check_image):
        with pytest.raises(UserError, match="has 50 × 40 pixels: expected at most max_pixels=1999; use a larger"):
            read(path, 1999)
    assert np.array_equal(read_image(NOISE, 1)[0], NOISE)  # it is in memory already
    assert np.array_equal(read_image(Image.fromarray(NOISE), 1)[0], NOISE)


def test_most_pixels(monkeypatch):
    monkeypatch.setattr("segearth.images.pixel_limit.machine_memory", lambda: 7 * 10**9)
    assert PixelLimit("a.png", 100).most == Image.MAX_IMAGE_PIXELS
    assert PixelLimit("a.png", 10**6).most == 10**6 * PIXELS_A_BYTE
    assert PixelLimit("a.png", 10**9).most == 10**9  # what the memory holds
    assert PixelLimit("a.png", 10**9, 5).most == 5
    monkeypatch.setattr("segearth.images.pixel_limit.machine_memory", lambda: None)
    assert PixelLimit("a.png", 10**9).most == 10**9 * PIXELS_A_BYTE
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # the user wants none
    assert PixelLimit("a.png", 100).most is None


def test_more_than_the_memory_holds(tmp_path, monkeypatch):
    path = saved(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr("segearth.images.pixel_limit.machine_memory", lambda: 7 * 1999)
    with pytest.raises(UserError, match="has 2,000 pixels, which take 0.0 GB: expected fewer than this machine's"):
        read_image(path)


def test_enlarging(monkeypatch):
    check_enlarged((20_000, 10_000), (20_000, 10_000))  # nobody's long side
    check_enlarged((20_000, 10_000), (448, 224))
    check_enlarged((100, 100), (9000, 9000))
    with pytest.raises(UserError, match="long_side=10000 makes the image 10000 × 10000 pixels: .*max_pixels=100000000"):
        check_enlarged((100, 100), (10_000, 10_000))
    check_enlarged((100, 100), (10_000, 10_000), 10**8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    check_enlarged((100, 100), (10_000, 10_000))


def test_another_thread_does_not_see_the_raised_limit(tmp_path):
    """While one reads a large image, a file that lies is still refused."""
    path = lying_png(tmp_path / "a.png", 10_000, 10_000)
    refused = []

    def read():
        try:
            check_image(path)
        except UserError:
            refused.append(path)

    with allow_pixels(10**9):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(0.2)
        assert Image.MAX_IMAGE_PIXELS == 10**9
    thread.join()
    assert refused == [path]


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    path = saved(tmp_path)
    for options in (["--max-pixels", "1999"], ["--max-pixels", "0"], ["--long-side", "5000000000"]):
        command = ["predict", str(path), "-c", "road; tree", "-o", str(tmp_path / "out"), "--model", "tiny", *options]
        assert main(command) == 2
    told = capsys.readouterr().err
    assert "has 50 × 40 pixels: expected at most --max-pixels 1999" in told
    assert "--max-pixels 0: expected a number of pixels" in told
    assert "--long-side 5000000000: expected a number of pixels" in told
    assert main(["info", str(path), "--max-pixels", "1999"]) == 2
    assert "predict      refused" in capsys.readouterr().out
    assert main(["demo", "--image", str(path), "--max-pixels", "1999", "-o", str(tmp_path / "out")]) == 2
    assert "--max-pixels 1999" in capsys.readouterr().err
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    out = ["-o", str(tmp_path / "out")]
    assert (
        main(["predict", str(path), "-c", "road; tree", *out, "--model", "tiny", "--as", "picture", "--long-side", "0"])
        == 0
    )
    assert (tmp_path / "out" / "a.labels.png").is_file()
