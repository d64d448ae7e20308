import io
import os

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from segearth.errors import UserError
from segearth.images import check_image, read_image

RGB = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_rgb_is_untouched(tmp_path):
    pixels, remarks = read_image(save(tmp_path / "a.png", Image.fromarray(RGB)))
    assert np.array_equal(pixels, RGB)
    assert remarks == []
    assert np.array_equal(read_image(RGB)[0], RGB)
    assert np.array_equal(read_image(Image.fromarray(RGB))[0], RGB)


def test_alpha_is_dropped_not_blended(tmp_path):
    rgba = np.dstack([RGB, np.full((7, 11), 3, np.uint8)])
    pixels, remarks = read_image(save(tmp_path / "a.png", Image.fromarray(rgba)))
    assert np.array_equal(pixels, RGB)
    assert "alpha" in remarks[0]


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grayscale(tmp_path, mode):
    gray = Image.fromarray(RGB).convert(mode)
    pixels, remarks = read_image(save(tmp_path / "a.png", gray))
    assert np.array_equal(pixels, np.dstack([np.asarray(gray.convert("L"))] * 3))
    assert any("grayscale" in remark for remark in remarks)


def test_palette(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    pixels, _ = read_image(save(tmp_path / "a.png", palette))
    assert np.array_equal(pixels, np.asarray(palette.convert("RGB")))


def test_palette_with_transparency_keeps_its_colours(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    pixels, remarks = read_image(save(tmp_path / "a.png", palette, transparency=0))
    assert np.array_equal(pixels, np.asarray(palette.convert("RGB")))
    assert any("alpha" in remark for remark in remarks)


def test_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: upright is a quarter clockwise
    pixels, remarks = read_image(save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif))
    assert np.array_equal(pixels, np.rot90(RGB, -1))
    assert "EXIF" in remarks[0]


def test_headers_are_looked_at_without_a_pixel(tmp_path, monkeypatch):
    """Pillow looks for a PNG's EXIF after its pixels as well."""
    exif = Image.Exif()
    exif[274] = 6
    for name in ("a.png", "a.jpg", "a.tif", "a.webp"):
        save(tmp_path / name, Image.fromarray(RGB), **({} if name == "a.tif" else {"exif": exif}))
        with monkeypatch.context() as without:
            without.setattr("PIL.ImageFile.ImageFile.load", None)
            assert check_image(tmp_path / name) == ((7, 11) if name == "a.tif" else (11, 7))


def test_first_of_several_frames(tmp_path):
    other = Image.fromarray(255 - RGB)
    pixels, remarks = read_image(save(tmp_path / "a.tif", Image.fromarray(RGB), save_all=True, append_images=[other]))
    assert np.array_equal(pixels, RGB)
    assert "2 frames" in remarks[0]


def sixteen_bit_rgb_png(path):
    """Pillow reads such a file as 8-bit without a word, and cannot write one."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in RGB.astype(">u2") * 257)
    header = struct.pack(">IIBBBBB", 11, 7, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def bad_files(tmp_path):
    """Every kind of file that is no 8-bit image: name -> (path, part of the message)."""
    png = save(tmp_path / "whole.png", Image.fromarray(RGB.repeat(20, 0).repeat(20, 1))).read_bytes()
    contents = {"empty": b"", "truncated": png[: len(png) // 2], "text": b"not an image at all", "header": png[:30]}
    paths = {name: tmp_path / f"{name}.png" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    gray16 = Image.fromarray(RGB[..., 0].astype(np.uint16) * 257)
    paths["png16"] = save(tmp_path / "png16.png", gray16)
    paths["tif16"] = save(tmp_path / "tif16.tif", gray16)
    paths["rgb16"] = tmp_path / "rgb16.png"
    sixteen_bit_rgb_png(paths["rgb16"])
    paths["float"] = save(tmp_path / "float.tif", Image.fromarray(RGB[..., 0].astype(np.float32)))
    paths["int32"] = save(tmp_path / "int32.tif", Image.fromarray(RGB[..., 0].astype(np.int32)))
    paths["missing"] = tmp_path / "missing.png"
    paths["folder"] = tmp_path
    messages = {
        "empty": "is empty",
        "truncated": "damaged or truncated",
        "text": "is not an image",
        "header": "is not an image",
        "png16": "16-bit",
        "tif16": "16-bit",
        "rgb16": "16-bit",
        "float": "float",
        "int32": "32-bit",
        "missing": "does not exist",
        "folder": "is a folder",
    }
    return {name: (paths[name], message) for name, message in messages.items()}


BAD = ("empty", "truncated", "text", "header", "png16", "tif16", "rgb16", "float", "int32", "missing", "folder")


@pytest.mark.parametrize("name", BAD)
def test_exceptions(tmp_path, name):
    path, message = bad_files(tmp_path)[name]
    with pytest.raises(UserError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_open(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    buffer = io.BytesIO(path.read_bytes())
    buffer.seek(0, io.SEEK_END)  # as it stands after something was written
    with path.open("rb") as file:
        for source in (buffer, file):
            pixels, remarks = read_image(source)
            assert np.array_equal(pixels, RGB)
            assert remarks == []
            assert not source.closed
    reading, writing = os.pipe()
    os.write(writing, path.read_bytes())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:  # cannot go back to its beginning
        assert np.array_equal(read_image(pipe)[0], RGB)


class Place:
    """A path of another library."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_paths_of_any_type(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    for source in (str(path), path, Place(path)):
        assert np.array_equal(read_image(source)[0], RGB)


def test_files_and_images_that_cannot_be_read(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    whole = path.read_bytes()
    closed_before = Image.open(path)
    closed_before.close()
    with Image.open(path) as left:
        pass
    closed_after = Image.fromarray(RGB)
    closed_after.close()
    damaged = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    for image in (closed_before, left, closed_after, damaged):
        with pytest.raises(UserError, match="the given image cannot be read .*: expected one that is open and whole"):
            read_image(image)
    closed_file = io.BytesIO(whole)
    closed_file.close()
    for source, message in (
        (closed_file, r"is a BytesIO that cannot be read \(.*closed"),
        (io.BytesIO(), r"the given file is empty \(0 bytes\)"),
        (io.BytesIO(b"nothing of the kind"), "the given file is not an image"),
        (io.BytesIO(whole[: len(whole) // 2]), "the given file is damaged or truncated"),
        (io.StringIO("text"), "the image is a text file: expected a binary one"),
        (whole, "the image is a bytes: expected a path"),
        ([[1, 2]], "the image is a list: expected a path"),
    ):
        with pytest.raises(UserError, match=message):
            read_image(source)


@pytest.mark.parametrize(
    "array", [RGB[..., 0], RGB[..., :2], RGB.astype(np.float32), RGB.astype(np.uint16), RGB[:0], np.dstack([RGB, RGB])]
)
def test_wrong_arrays(array):
    with pytest.raises(UserError, match=r"expected \(H, W, 3\) uint8"):
        read_image(array)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_image_without_pixels(size):
    with pytest.raises(UserError, match=rf"has {size[0]} × {size[1]} pixels: expected one at least"):
        read_image(Image.new("RGB", size))


def test_lab_has_no_alpha(tmp_path):
    lab = Image.fromarray(RGB).convert("HSV").convert("RGB").convert("YCbCr")
    _, remarks = read_image(save(tmp_path / "a.jpg", lab))
    assert not any("alpha" in remark for remark in remarks)
    lab = Image.merge("LAB", Image.fromarray(RGB).split())
    _, remarks = read_image(save(tmp_path / "a.tif", lab))
    assert remarks == [f"{tmp_path / 'a.tif'} is LAB and was converted to RGB"]


def test_something_else():
    with pytest.raises(UserError, match="is a NoneType: expected a path"):
        read_image(None)


def test_coordinates_are_said_to_be_lost(tmp_path):
    keys = TiffImagePlugin.ImageFileDirectory_v2()
    keys[34735] = (1, 1, 0, 1, 3072, 0, 1, 25832)
    keys.tagtype[34735] = 3  # SHORT
    Image.fromarray(RGB).save(tmp_path / "a.tif", tiffinfo=keys)
    pixels, remarks = read_image(tmp_path / "a.tif")
    assert np.array_equal(pixels, RGB)
    assert remarks == [f"{tmp_path / 'a.tif'} has coordinates, which its map does not keep"]


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    save(tmp_path / "a.png", Image.fromarray(RGB))
    monkeypatch.setattr("segearth.images.files.Image.open", refuse)
    with pytest.raises(UserError, match=r"a\.png may not be read here: .*change its permissions"):
        read_image(tmp_path / "a.png")
