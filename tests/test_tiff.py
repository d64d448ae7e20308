"""TIFFs of every kind that aerial images come in: the right pixels and remarks, or the right reason."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from segearth.errors import UserError
from segearth.images import check_image, read_image
from segearth.tiff import Damaged, read_page

H, W = 48, 80
Y, X = np.mgrid[:H, :W]
RGB = np.stack([X * 3, Y * 5, (X + Y) * 2 % 256], -1).astype(np.uint8)
NIR = 255 - RGB[..., :1]
RGBN = np.dstack([RGB, NIR])
ALPHA = np.dstack([RGB, np.full((H, W), 7, np.uint8)])
LAYOUTS = [{}, {"tile": (16, 32)}, {"rowsperstrip": 5, "compression": "zlib"}]
LAYOUTS += [{"tile": (32, 16), "compression": "zlib", "predictor": True}, {"byteorder": ">"}, {"bigtiff": True}]
THREE = "does not say what its 3 bands are; they are used as red, green and blue"
FOUR = "does not say what its 4 bands are; the first three are used as red, green and blue"
INTERPRETED = "are used as red, green and blue, as its colour interpretation says"
FIRST = "has 4 bands; the first three are used as red, green and blue"


def write(path, array, **options):
    tifffile.imwrite(path, array, **{"photometric": "minisblack", "metadata": None, **options})
    return path


def told(path):
    """The pixels and the remarks, without the name."""
    pixels, remarks = read_image(path)
    assert check_image(path) == pixels.shape[:2]
    return pixels, [remark.removeprefix(f"{path} ") for remark in remarks]


def retag(path, **values):
    """Sets tags of the first page, by tifffile's names."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in values.items():
            file.pages[0].tags[name].overwrite(value)
    return path


def sparse(path, array, **options):
    """A TIFF without its last strip or tile, as GDAL leaves out what is zero."""
    write(path, array, **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for kind in ("Offsets", "ByteCounts"):
            tag = file.pages[0].tags.get(f"Tile{kind}") or file.pages[0].tags[f"Strip{kind}"]
            tag.overwrite((*tag.value[:-1], 0))
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("array", "options", "remarks"),
    [
        (RGB, {"photometric": "rgb"}, []),
        (RGB, {"planarconfig": "contig"}, [THREE]),
        (RGBN, {"planarconfig": "contig"}, [FOUR]),
        (RGBN, {"photometric": "rgb", "extrasamples": ["unspecified"]}, [FIRST]),
        (ALPHA, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, ["has an alpha channel, which is dropped"]),
    ],
)
@pytest.mark.parametrize("planar", [False, True])
def test_red_green_and_blue(tmp_path, array, options, remarks, layout, planar):
    """However bands are named and stored, the first three are red, green and blue."""
    if planar:
        array, options = array.transpose(2, 0, 1), {**options, "planarconfig": "separate"}
    found, said = told(write(tmp_path / "a.tif", array, **options, **layout))
    assert np.array_equal(found, RGB)
    assert said == remarks


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bands", [3, 4])
def test_colour_interpretation(tmp_path, layout, planar, bands):
    """Blue, green, red, near infrared, as many satellites deliver it and GDAL notes it."""
    array = RGBN[..., [2, 1, 0, 3][:bands]]
    options = {"planarconfig": "separate" if planar else "contig"}
    tags = [interpreted("Blue", "Green", "Red", "Undefined")]
    path = write(tmp_path / "a.tif", array.transpose(2, 0, 1) if planar else array, extratags=tags, **options, **layout)
    found, said = told(path)
    assert np.array_equal(found, RGB)
    assert said == [f"has {bands} bands; 3, 2 and 1 {INTERPRETED}"]


def interpreted(*roles):
    """What bands are, as a tag that GDAL writes."""
    items = (f'<Item name="COLORINTERP" sample="{i}" role="colorinterp">{role}</Item>' for i, role in enumerate(roles))
    return (42112, 2, None, f"<GDALMetadata>{''.join(items)}</GDALMetadata>", True)


@pytest.mark.parametrize(
    ("roles", "order", "extra"),
    [
        (("Blue", "Green", "Red"), (2, 1, 0), []),
        (("Blue", "Green", "Red", "Undefined"), (2, 1, 0, 3), ["unassalpha"]),
        (("Undefined", "Red", "Green", "Blue"), (3, 0, 1, 2), ["unassalpha"]),
    ],
)
def test_colour_interpretation_of_an_image_that_pillow_opened(tmp_path, roles, order, extra):
    """The same pixels as of its path, whether Pillow has decoded them or not."""
    array = RGBN[..., order]
    path = write(
        tmp_path / "a.tif",
        array,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=extra,
        extratags=[interpreted(*roles)],
    )
    found, said = told(path)
    assert np.array_equal(found, RGB)
    for decoded in (False, True):
        with Image.open(path) as image:
            if decoded:
                image.load()
            pixels, remarks = read_image(image)
        assert np.array_equal(pixels, RGB)
        assert {remark.removeprefix("the given image ") for remark in remarks} == set(said)
        assert sum(remark.endswith(INTERPRETED) for remark in remarks) == 1


def test_colours_in_bands_that_pillow_passes_over(tmp_path):
    tags = [interpreted("Undefined", "Red", "Green", "Blue")]
    path = write(
        tmp_path / "a.tif", RGBN[..., (3, 0, 1, 2)], photometric="rgb", extrasamples=["unspecified"], extratags=tags
    )
    assert np.array_equal(read_image(path)[0], RGB)
    with (
        Image.open(path) as image,
        pytest.raises(UserError, match="in other bands than Pillow reads: .* give the path of its file instead"),
    ):
        read_image(image)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sparse_image_that_pillow_opened(tmp_path, layout):
    """Pillow takes the head of the file for the pixels that were left out."""
    path = sparse(tmp_path / "a.tif", RGB, photometric="rgb", **layout)
    with (
        Image.open(path) as image,
        pytest.raises(UserError, match="the given image is a sparse TIFF, .*: gdal_translate -co SPARSE_OK=FALSE"),
    ):
        read_image(image)
    with pytest.raises(UserError, match=r"a\.tif is a sparse TIFF"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate", "tiff_deflate"])
def test_every_compression(tmp_path, compression):
    """Pillow's own file, and the same tagged as gray: the same pixels."""
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).save(path, compression=compression)
    expected = np.asarray(Image.open(path).convert("RGB"))
    assert np.array_equal(told(path)[0], expected)
    if compression != "jpeg":  # there the tag says whether the stream is YCbCr
        found, said = told(retag(path, PhotometricInterpretation=1))
        assert np.array_equal(found, expected)
        assert said == [THREE]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_masks_and_overviews_are_no_frames(tmp_path, compression):
    """What every COG with an internal mask has."""
    path = tmp_path / "m.tif"
    write(path, RGB, photometric="rgb", compression=compression)
    write(path, np.ones((H, W), bool), photometric="mask", subfiletype=4, append=True)
    write(path, RGB[::2, ::2], photometric="rgb", subfiletype=1, append=True)
    write(path, np.ones((H // 2, W // 2), bool), photometric="mask", subfiletype=5, append=True)
    found, said = told(path)
    assert np.array_equal(found, RGB)
    assert said == []
    pixels, said = read_image(Image.open(path))
    assert np.array_equal(pixels, RGB)
    assert said == []


def test_the_first_page_that_is_an_image(tmp_path):
    path = tmp_path / "a.tif"
    write(path, RGB[::2, ::2], photometric="rgb", subfiletype=1)  # a thumbnail comes first
    write(path, RGB, photometric="rgb", append=True)
    write(path, 255 - RGB, photometric="rgb", append=True)
    found, said = told(path)
    assert np.array_equal(found, RGB)
    assert said == ["has 2 frames; the first one is used"]


def test_gray_and_palettes(tmp_path):
    gray = RGB[..., 0]
    expected = np.dstack([gray] * 3)
    once = "is grayscale; its one band is used three times"
    for name, array, options in (
        ("plain", gray, {}),
        ("alpha", RGB[..., [0, 1]], {"planarconfig": "contig", "extrasamples": ["unassalpha"]}),
        ("planes", RGB[..., [0, 1]].transpose(2, 0, 1), {"planarconfig": "separate", "extrasamples": ["unassalpha"]}),
        ("white", 255 - gray, {"photometric": "miniswhite"}),
    ):
        found, said = told(write(tmp_path / f"{name}.tif", array, **options))
        assert np.array_equal(found, expected), name
        assert said[-1] == once, name
        assert any("alpha" in remark for remark in said) == (array.ndim == 3)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    found, _ = told(write(tmp_path / "palette.tif", gray, photometric="palette", colormap=colours))
    assert np.array_equal(found, (colours.T // 257)[gray])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    path = write(tmp_path / "a.tif", RGB, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    upright = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB),
    }[orientation]
    found, said = told(path)
    assert np.array_equal(found, upright)
    assert said == ([] if orientation == 1 else [f"is turned upright as its EXIF orientation ({orientation}) says"])
    found, said = read_image(Image.open(path))
    assert np.array_equal(found, upright)
    assert len(said) == (orientation > 1)


def of_bits(path, bits):
    """An RGB of few bits a band, which no library writes."""
    rows = (H * W * 3 * bits // 8) * b"\x5a"
    tags = [(256, 4, W), (257, 4, H), (258, 3, bits), (259, 3, 1), (262, 3, 2), (273, 4, 122), (277, 3, 3), (278, 4, H)]
    tags += [(279, 4, len(rows))]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4) + rows)
    return path


REFUSED = {
    "two": (lambda p: write(p, RGB[..., :2], planarconfig="contig"), "has 2 bands that are no colours: .*-b 1"),
    "gray_ir_alpha": (
        lambda p: write(p, RGB, planarconfig="contig", extrasamples=["unspecified", "unassalpha"]),
        "has 2 bands that are no colours",
    ),
    "eight": (lambda p: write(p, np.dstack([RGBN, RGBN]), planarconfig="contig"), "has 8 bands: expected 3 or 4"),
    "white": (lambda p: write(p, RGB, photometric="miniswhite", planarconfig="contig"), "3 bands that are no colours"),
    "int8": (lambda p: write(p, RGB[..., 0].astype(np.int8)), "is a signed 8-bit image: expected unsigned 8 bits"),
    "rgb8": (lambda p: write(p, RGB.astype(np.int8), photometric="rgb"), "is a signed 8-bit image"),
    "rgb16": (lambda p: write(p, RGB.astype(np.uint16), photometric="rgb"), "is a 16-bit image: .*gdal_translate -ot"),
    "four16": (lambda p: write(p, RGBN.astype(np.uint16), planarconfig="separate"), "is a .*-bit image|16-bit"),
    "float": (lambda p: write(p, RGB.astype(np.float32), photometric="rgb"), "is a float image"),
    "half": (lambda p: write(p, RGB.astype(np.float16), photometric="rgb"), "is a float image"),
    "complex": (lambda p: write(p, RGB[..., 0].astype(np.complex64)), "is a complex image"),
    "bits4": (lambda p: of_bits(p, 4), "has 4 bits a band: expected 8"),
    "webp": (
        lambda p: retag(write(p, RGB, photometric="rgb"), Compression=50001),
        r"the compression of .* \(WebP\) is not supported here: expected none, LZW, deflate or JPEG",
    ),
    "lerc": (lambda p: retag(write(p, RGB, photometric="rgb"), Compression=34887), r"\(LERC\) is not supported here"),
    "other": (lambda p: retag(write(p, RGB, photometric="rgb"), Compression=12345), r"\(number 12345\) is not"),
    "sparse": (
        lambda p: sparse(p, RGB, photometric="rgb", tile=(16, 32)),
        "is a sparse TIFF, without some of its strips or tiles: expected one with all of its pixels; fill it",
    ),
    "mask": (
        lambda p: write(p, np.ones((H, W), bool), photometric="mask", subfiletype=4),
        r"\(a mask, bands: 1\): expected RGB",
    ),
    "white_alpha": (
        lambda p: write(p, RGB[..., :2], photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"]),
        r"\(gray, white is 0, bands: 2\): expected RGB",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_for_its_own_reason(tmp_path, name):
    """By the header, before a run starts, with the same words; never as damaged."""
    make, message = REFUSED[name]
    path = make(tmp_path / "a.tif")
    with pytest.raises(UserError, match=message) as caught:
        read_image(path)
    assert "damaged" not in str(caught.value)
    with pytest.raises(UserError) as before:
        check_image(path)
    assert str(before.value) == str(caught.value)


def test_cut_off(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).save(path, compression="tiff_lzw")  # its directory is at the beginning
    whole = path.read_bytes()
    for length in (6, 12, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"damaged or truncated .*copy or download it again"):
            read_image(path)


def test_directories_in_a_circle_and_beyond_the_end():
    entry = struct.pack("<HHII", 256, 4, 1, 5)
    loop = b"II*\0" + struct.pack("<IH", 8, 2) + entry + struct.pack("<HHII", 257, 4, 1, 5) + struct.pack("<I", 8)
    assert read_page(io.BytesIO(loop)).pages == 1
    for damaged in (
        b"II*\0",
        b"II*\0\0\0\0\0",
        b"II*\0\xff\0\0\0",
        b"II*\0" + struct.pack("<IH", 8, 60000) + entry,
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 258, 3, 2**31, 8) + bytes(4),
        b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**63),
    ):
        with pytest.raises(Damaged):
            read_page(io.BytesIO(damaged))


def flipped(content, number):
    """The content with one bit turned over, near the header more often than elsewhere."""
    rng = np.random.default_rng(number)
    place = int(rng.integers(min(400, len(content)) if number % 4 else len(content)))
    return content[:place] + bytes([content[place] ^ (1 << int(rng.integers(8)))]) + content[place + 1 :]


@pytest.mark.parametrize("form", ["tif", "planar", "lzw", "jpeg.tif", "png", "jpg", "jp2", "webp", "gif", "bmp"])
def test_a_flipped_bit_is_read_or_told(tmp_path, form):
    path = tmp_path / "a"
    if form == "tif":
        write(path, RGB, photometric="rgb", rowsperstrip=7)
    elif form == "planar":
        write(path, RGBN.transpose(2, 0, 1), planarconfig="separate", compression="zlib")
    elif form in ("lzw", "jpeg.tif"):
        Image.fromarray(RGB).save(path, "TIFF", compression="tiff_lzw" if form == "lzw" else "jpeg")
    else:
        Image.fromarray(RGB).save(path, {"jpg": "JPEG", "jp2": "JPEG2000"}.get(form, form.upper()))
    content = path.read_bytes()
    read, refused = [], []
    for number in range(120):
        path.write_bytes(flipped(content, number))
        try:
            read.append(read_image(path)[0])
        except UserError as error:
            refused.append(str(error))
    assert read
    assert all((pixels.dtype, pixels.shape[2]) == (np.uint8, 3) for pixels in read)
    assert refused
    assert all(str(path) in message and "\n" not in message for message in refused)


def jp2(path, bands, depth, colour_space):
    """The header of a JPEG 2000 file as far as it is judged; Pillow would need the codestream."""

    def box(kind, content):
        return struct.pack(">I", 8 + len(content)) + kind + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", H, W, bands, depth - 1, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, colour_space))
    content = b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", header)
    path.write_bytes(content + box(b"jp2c", b"\xff\x4f\xff\x51"))
    return path


@pytest.mark.parametrize(
    ("bands", "depth", "space", "message"),
    [
        (3, 16, 16, "is a 16-bit image"),  # Pillow would cut it to 8 bits
        (3, 12, 16, "is a 12-bit image"),
        (1, 16, 17, "is a 16-bit image"),
        (3, 16, 17, "is a 16-bit image"),  # as GDAL writes it
        (2, 8, 17, "has 2 bands that are no colours: .*-b 1"),
        (3, 8, 17, r"of a kind that is not supported here \(3 bands, whose colour space is gray\)"),
        (3, 0x88, 16, "is a signed 8-bit image"),
    ],
)
def test_jpeg_2000(tmp_path, bands, depth, space, message):
    path = jp2(tmp_path / "a.jp2", bands, depth, space)
    for read in (read_image, check_image):
        with pytest.raises(UserError, match=message):
            read(path)


def test_jpeg_2000_is_read(tmp_path):
    for name in ("a.jp2", "a.j2k"):
        Image.fromarray(RGB).save(tmp_path / name)
        assert np.array_equal(told(tmp_path / name)[0], RGB)


@pytest.mark.parametrize("bands", [2, 4])
@pytest.mark.parametrize("alpha", [True, False])
def test_alpha_of_jpeg_2000_is_what_is_called_so(tmp_path, bands, alpha):
    """Pillow takes any second or fourth band for it."""
    path = tmp_path / "a.jp2"
    Image.fromarray(RGBN[..., :bands]).save(path)
    if not alpha:
        path.write_bytes(path.read_bytes().replace(b"cdef", b"free"))
    if bands == 2 and not alpha:
        with Image.open(path) as image:
            for source in (path, image):
                with pytest.raises(UserError, match="has 2 bands that are no colours"):
                    read_image(source)
        return
    found, said = told(path)
    assert np.array_equal(found, RGB if bands == 4 else RGB[..., :1].repeat(3, axis=2))
    assert said[0] == ("has an alpha channel, which is dropped" if alpha else FIRST)
    with Image.open(path) as image:
        pixels, remarks = read_image(image)
    assert np.array_equal(pixels, found)
    assert remarks == [f"the given image {remark}" for remark in said]


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"DDS " + bytes(124)])
def test_documents_and_textures_are_no_images(tmp_path, content, monkeypatch):
    """EPS would start Ghostscript, by content, whatever the name."""
    monkeypatch.setattr("subprocess.Popen.__init__", None)
    (tmp_path / "scene.tif").write_bytes(content)
    for read in (read_image, check_image):
        with pytest.raises(UserError, match="not an image of a kind that is read here: expected 8-bit PNG"):
            read(tmp_path / "scene.tif")


def test_deep_ppm_is_not_cut_to_8_bits(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 2 1 1023\n" + bytes(12))
    with pytest.raises(UserError, match="not an image of a kind that is read here"):
        read_image(tmp_path / "a.ppm")


def test_damaged_exif_says_nothing_of_the_pixels(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    found, said = told(tmp_path / "a.png")
    assert np.array_equal(found, RGB)
    assert said == []


def test_deflate_is_what_zlib_says(tmp_path):
    """Offsets in a corrected directory are those of the file: pixels come from where they were."""
    path = write(tmp_path / "a.tif", RGBN, planarconfig="contig", compression="zlib", rowsperstrip=H)
    with tifffile.TiffFile(path) as file:
        (offset,), (size,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    stored = zlib.decompress(path.read_bytes()[offset : offset + size])
    assert np.array_equal(told(path)[0], np.frombuffer(stored, np.uint8).reshape(H, W, 4)[..., :3])
