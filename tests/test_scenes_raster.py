"""Rasters of every kind, read as colours."""

import json
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="scenes need the extra geo")

from rasterio.shutil import copy  # noqa: E402
from rasters import UTM, break_tile, choose_spec, noise, write  # noqa: E402

from segearth.errors import UserError  # noqa: E402
from segearth.scenes.pixel_sample import sample_pixels  # noqa: E402
from segearth.scenes.raster import ReadFailed, open_raster  # noqa: E402
from segearth.scenes.raster_spec import RasterSpec  # noqa: E402
from segearth.windows import Window  # noqa: E402

RGB = ["red", "green", "blue"]
ALL = Window(0, 70, 0, 90)


def read(source, window=ALL, **options):
    spec, _ = choose_spec(source, **options)
    with open_raster(spec) as raster:
        return raster.read(window)


def parts(raster, size, side):
    """All windows of a side put together."""
    pixels = valid = None
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            window = Window(top, min(size[0], top + side), left, min(size[1], left + side))
            some, known = raster.read(window)
            if pixels is None:
                pixels, valid = np.zeros((3, *size), some.dtype), np.zeros(size, bool)
            pixels[:, top : window.bottom, left : window.right] = some
            valid[top : window.bottom, left : window.right] = known
    return pixels, valid


def test_bytes_are_read_as_they_are(tmp_path):
    pixels = noise(3, 70, 90, "uint8")
    spec, remarks = choose_spec(write(tmp_path / "a.tif", pixels, colours=RGB))
    mean = tuple(float(round(band.mean())) for band in pixels)
    assert spec == RasterSpec(str(tmp_path / "a.tif"), (1, 2, 3), None, mean)
    assert remarks == []
    with open_raster(spec) as raster:
        found, valid = raster.read(ALL)
        assert found.dtype == np.uint8
        assert np.array_equal(found, pixels)
        assert valid.all()
        assert raster.size == (70, 90)
        assert raster.transform == UTM
        assert raster.crs.to_epsg() == 32632
        assert [band.colour for band in raster.bands] == RGB
        assert raster.pixel_size.side_m == 0.5
        assert (raster.nodata, raster.is_remote) == (None, False)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32", "float64"])
def test_wide_types_are_stretched_by_percentiles(tmp_path, dtype):
    pixels = noise(3, 70, 90, dtype, 0, 4000)
    spec, _ = choose_spec(write(tmp_path / "a.tif", pixels))
    expected = tuple(tuple(np.percentile(band, [2, 98])) for band in pixels.astype(float))
    assert spec.stretch == expected
    with open_raster(spec) as raster:
        found, valid = raster.read(ALL)
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 255)
    for band, own, (low, high) in zip(found, pixels.astype(float), expected, strict=True):
        assert np.allclose(band, (255 * (own - low) / (high - low)).clip(0, 255), atol=1e-3)
    assert spec.fill == pytest.approx(found.mean(axis=(1, 2)), abs=0.001)
    assert valid.all()


KINDS = {
    "uint8": {"pixels": noise(3, 70, 90, "uint8"), "nodata": 0},
    "uint16": {"pixels": noise(4, 70, 90, "uint16"), "nodata": None},
    "float32": {"pixels": noise(3, 70, 90, "float32"), "nodata": -9999},
    "alpha": {"pixels": noise(4, 70, 90, "uint8"), "colours": [*RGB, "alpha"]},
    "mask": {"pixels": noise(3, 70, 90, "int16", -500), "mask": noise(1, 70, 90, "uint8", 0, 2)[0] * 255},
    "band": {"pixels": noise(3, 70, 90, "uint16"), "interleave": "band"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [1000, 32, 23])
def test_windows_equal_the_whole_bit_for_bit(tmp_path, kind, side):
    spec, _ = choose_spec(write(tmp_path / "a.tif", **KINDS[kind]))
    with open_raster(spec) as raster:
        whole = raster.read(ALL)
        some = parts(raster, (70, 90), side)
    assert np.array_equal(some[0], whole[0])
    assert np.array_equal(some[1], whole[1])


def test_two_tiles_of_one_raster_get_the_same_stretch(tmp_path):
    pixels = noise(3, 64, 64, "uint16", 1000, 2000)
    pixels[:, :, 32:] += 3000  # a bright half
    spec, _ = choose_spec(write(tmp_path / "a.tif", pixels))
    with open_raster(spec) as raster:
        left, right = (raster.read(Window(0, 64, start, start + 32))[0] for start in (0, 32))
    assert left.max() < 80
    assert right.min() > 180


def test_nan_and_infinity_are_invalid_and_filled_with_the_mean(tmp_path):
    pixels = noise(3, 70, 90, "float32")
    pixels[0, :10] = np.nan
    pixels[2, 20, 5] = np.inf
    found, valid = read(write(tmp_path / "a.tif", pixels))
    assert not valid[:10].any()
    assert not valid[20, 5]
    assert valid.sum() == 60 * 90 - 1
    assert np.isfinite(found).all()
    assert found[:, 3, 3] == pytest.approx(found[:, valid].mean(axis=1), abs=0.01)


def test_nodata_of_every_kind(tmp_path):
    pixels = noise(3, 70, 90, "uint8", 1)
    pixels[:, :, :9] = 0
    pixels[0, 50:] = 0  # a colour of which one band is 0 is a colour
    expected = np.ones((70, 90), bool)
    expected[:, :9] = False
    mask = expected * np.uint8(255)
    alpha = np.concatenate([pixels, mask[None]])
    files = {
        "nodata": write(tmp_path / "nodata.tif", pixels, nodata=0),
        "alpha": write(tmp_path / "alpha.tif", alpha, colours=[*RGB, "alpha"]),
    }
    for name, inside in (("msk", False), ("internal", True)):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside):
            files[name] = write(tmp_path / f"{name}.tif", pixels, mask=mask)
    assert (tmp_path / "msk.tif.msk").exists()
    assert not (tmp_path / "internal.tif.msk").exists()
    for name, path in files.items():
        found, valid = read(path)
        assert np.array_equal(valid, expected), name
        assert np.array_equal(found[:, valid], pixels[:, valid]), name
        means = [round(band[expected].mean()) for band in pixels]
        assert found[:, 0, 0].tolist() == means, name
        with rasterio.open(path, "r+") as file:
            assert np.array_equal(file.dataset_mask() > 0, valid), name
            file.build_overviews([2], rasterio.enums.Resampling.nearest)
        spec, _ = choose_spec(path, overview=0)
        with open_raster(spec) as raster:
            assert np.array_equal(raster.read(Window(0, 35, 0, 45))[1], valid[::2, ::2]), name


def test_nodata_per_band_and_a_band_that_is_not_chosen(tmp_path):
    pixels = noise(4, 70, 90, "int16", 1, 100)
    pixels[0, :20], pixels[1, :20], pixels[2, :20], pixels[3, :10] = -1, -2, -3, -4
    path = write(tmp_path / "a.tif", pixels, interleave="band")
    vrt = "".join(
        f'<VRTRasterBand dataType="Int16" band="{i}"><NoDataValue>-{i}</NoDataValue><SimpleSource><SourceFilename>'
        f"{path}</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i in (1, 2, 3, 4)
    )
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="90" rasterYSize="70">{vrt}</VRTDataset>')
    _, valid = read(tmp_path / "a.vrt")
    expected = np.ones((70, 90), bool)
    expected[:10] = False  # below, band 4 was seen
    assert np.array_equal(valid, expected)


def test_no_valid_pixel(tmp_path):
    path = write(tmp_path / "a.tif", np.full((3, 70, 90), 7, "uint16"), nodata=7)
    spec, remarks = choose_spec(path)
    assert remarks == [f"{path} has no valid pixel among the 6,300 that were looked at"]
    with open_raster(spec) as raster:
        found, valid = raster.read(ALL)
    assert not valid.any()
    assert not found.any()


def test_a_palette_is_expanded(tmp_path):
    table = {0: (0, 0, 0, 255), 1: (200, 10, 20, 255), 2: (30, 220, 40, 255), 300: (9, 8, 7, 255)}
    for dtype, values in (("uint8", 3), ("uint16", 3)):
        pixels = noise(1, 70, 90, dtype, 0, values)
        if dtype == "uint16":
            pixels[0, 0, 0] = 300
        own = {value: colour for value, colour in table.items() if value < 256 or dtype == "uint16"}
        path = write(tmp_path / f"{dtype}.tif", pixels, palette=own, photometric="palette", nodata=0)
        spec, remarks = choose_spec(path)
        assert (spec.bands, spec.palette, spec.stretch, remarks) == ((1, 1, 1), True, None, [])
        with open_raster(spec) as raster:
            found, valid = raster.read(ALL)
        assert np.array_equal(valid, pixels[0] != 0)
        assert found.dtype == np.uint8
        assert found[:, pixels[0] == 2].T.tolist() == [[30, 220, 40]] * int((pixels[0] == 2).sum())
        if dtype == "uint16":
            assert found[:, 0, 0].tolist() == [9, 8, 7]


def test_one_band_two_bands_and_13(tmp_path):
    one = write(tmp_path / "1.tif", noise(1, 70, 90, "uint8"))
    found, _ = read(one)
    assert np.array_equal(found[0], found[2])
    assert choose_spec(one)[1] == [f"{one} has one band; it is used three times"]
    two = write(tmp_path / "2.tif", noise(2, 70, 90, "float32"), descriptions=["VV", "VH"])
    assert choose_spec(two)[0].bands == (1, 1, 1)
    assert choose_spec(two, bands="vh")[0].bands == (2, 2, 2)
    pixels = noise(13, 70, 90, "uint16")
    many = write(tmp_path / "13.tif", pixels)
    spec, remarks = choose_spec(many, stretch="0,65535")
    assert spec.bands == (4, 3, 2)
    assert "in the order of Sentinel-2" in remarks[0]
    with open_raster(spec) as raster:
        assert np.allclose(raster.read(ALL)[0], pixels[[3, 2, 1]] * (255 / 65535), atol=1e-3)


def test_four_bands_of_16_bits_and_a_chosen_order(tmp_path):
    pixels = noise(4, 70, 90, "uint16")
    path = write(tmp_path / "a.tif", pixels, colours=["blue", "green", "red", "nir"])
    assert choose_spec(path) == (choose_spec(path, bands="3,2,1")[0], [])
    spec, _ = choose_spec(path, bands="nir,red,green", stretch="none")
    with open_raster(spec) as raster:
        assert np.array_equal(raster.read(ALL)[0], pixels[[3, 2, 1]].clip(0, 255))


def test_bands_of_several_types(tmp_path):
    write(tmp_path / "a.tif", noise(1, 70, 90, "uint8"))
    write(tmp_path / "b.tif", noise(1, 70, 90, "float32"))
    kinds = [("Byte", "a"), ("Float32", "b"), ("Byte", "a")]
    vrt = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{i}"><SimpleSource><SourceFilename>{tmp_path}/{name}.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, (kind, name) in enumerate(kinds, start=1)
    )
    spec, _ = choose_spec(f'<VRTDataset rasterXSize="90" rasterYSize="70">{vrt}</VRTDataset>')
    assert spec.stretch is not None  # not all are bytes
    with open_raster(spec) as raster:
        found, _ = raster.read(ALL)
    assert np.array_equal(found[0], found[2])
    assert len(np.unique(found[1])) > 1000


def test_bits_below_a_byte_use_the_whole_range(tmp_path):
    pixels = noise(1, 70, 90, "uint8", 0, 2)
    found, _ = read(write(tmp_path / "a.tif", pixels, NBITS=1))
    assert np.array_equal(found[0], pixels[0] * np.float32(255))


def test_stretch_of_another_raster(tmp_path):
    dark = write(tmp_path / "dark.tif", noise(3, 70, 90, "uint16", 0, 1000))
    light = write(tmp_path / "light.tif", noise(3, 70, 90, "uint16", 2000, 3000, seed=1))
    spec, _ = choose_spec(dark, stretch_from=light)
    assert spec.stretch == choose_spec(light)[0].stretch
    assert spec.fill == (0, 0, 0)  # darker than all of the other one
    eight = write(tmp_path / "8.tif", noise(3, 70, 90, "uint8"))
    with pytest.raises(UserError, match=r"bands of uint16, .* and .*8.tif of uint8, .*leave stretch_from out"):
        choose_spec(dark, stretch_from=eight)


def test_the_sample_is_every_nth_pixel_and_no_overview(tmp_path, monkeypatch):
    monkeypatch.setattr("segearth.scenes.pixel_sample.MAX_SIDE", 25)
    monkeypatch.setattr("segearth.scenes.pixel_sample._STRIP_PIXELS", 900)
    pixels = noise(3, 70, 90, "uint16")
    path = write(tmp_path / "a.tif", pixels)
    before = choose_spec(path)[0]
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    rows, columns = ((np.arange(25) + 0.5) * 70 / 25).astype(int), ((np.arange(25) + 0.5) * 90 / 25).astype(int)
    with open_raster(path) as raster:
        sample = sample_pixels(raster, (3, 2, 1))
    assert np.array_equal(sample.pixels, pixels[::-1][:, rows][:, :, columns])
    assert choose_spec(path)[0] == before
    with rasterio.open(path) as file:  # with overviews that GDAL would take
        assert choose_spec(file)[0] == before


def test_an_overview_stands_for_the_raster_if_asked(tmp_path):
    path = write(tmp_path / "a.tif", noise(3, 70, 90, "uint8"), descriptions=["blue", "green", "red"])
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    spec, _ = choose_spec(path, overview=0)
    assert (spec.overview, spec.bands) == (0, (3, 2, 1))
    with open_raster(spec) as raster, rasterio.open(path) as file:
        assert raster.size == (35, 45)
        assert raster.pixel_size.side_m == 1
        assert raster.transform == rasterio.Affine(1, 0, 500000, 0, -1, 5500000)
        assert np.array_equal(raster.read(Window(0, 35, 0, 45))[0], file.read()[::-1, ::2, ::2])
    with pytest.raises(UserError, match="has no overview 3: expected 0; .* leave overview out"):
        choose_spec(path, overview=3)


def test_a_spec_survives_json_and_pickle(tmp_path):
    spec, _ = choose_spec(write(tmp_path / "a.tif", noise(3, 70, 90, "uint16")), bands="3,2,1")
    assert RasterSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    none, _ = choose_spec(write(tmp_path / "b.tif", noise(3, 70, 90, "uint8")))
    assert RasterSpec.from_dict(json.loads(json.dumps(none.as_dict()))) == none


def test_an_open_dataset_stays_open(tmp_path):
    pixels = noise(3, 70, 90, "uint8")
    path = write(tmp_path / "a.tif", pixels)
    with rasterio.open(path) as file:
        with open_raster(file) as raster:
            assert np.array_equal(raster.read(ALL)[0], pixels)
        assert not file.closed
        assert file.read().sum() == pixels.sum()
    with rasterio.MemoryFile(path.read_bytes()) as memory, memory.open() as file, open_raster(file) as raster:
        assert np.array_equal(raster.read(Window(3, 9, 40, 90))[0], pixels[:, 3:9, 40:])


def test_without_coordinates_rotated_and_across_the_antimeridian(tmp_path, recwarn):
    pixels = noise(3, 70, 90, "uint8")
    plain = write(tmp_path / "plain.tif", pixels, crs=None)
    spec, remarks = choose_spec(plain)
    assert remarks == [f"{plain} has no coordinate system, so its map has none, and areas are in pixels"]
    with open_raster(spec) as raster:
        assert raster.crs is None
        assert raster.transform.is_identity
        assert raster.pixel_size.side_m is None
        assert raster.pixel_size.method == "it has no coordinate system"
    turned = rasterio.Affine(0.4, 0.3, 500000, 0.3, -0.4, 5500000)
    with open_raster(write(tmp_path / "turned.tif", pixels, transform=turned)) as raster:
        assert raster.transform.almost_equals(turned)
        assert raster.pixel_size.side_m == pytest.approx(0.5)
        assert np.array_equal(raster.read(ALL)[0], pixels)
    world = rasterio.Affine(0.001, 0, 179.95, 0, -0.001, 60)
    with open_raster(write(tmp_path / "fiji.tif", pixels, crs="EPSG:4326", transform=world)) as raster:
        assert raster.transform.almost_equals(world)
        assert np.array_equal(raster.read(ALL)[0], pixels)
        assert raster.pixel_size.side_m == pytest.approx(78.8, abs=0.1)  # 111.4 m × 55.8 m
        assert "ellipsoid" in raster.pixel_size.method
    assert not recwarn.list


@pytest.mark.parametrize("lon", [7, 100])
def test_control_points_or_rpcs_only(tmp_path, lon):
    pixels = noise(1, 20, 20, "uint8")
    point = rasterio.control.GroundControlPoint
    gcps = [point(0, 0, lon, -50), point(0, 20, lon + 0.1, -50), point(20, 20, lon + 0.1, -50.1)]
    path = tmp_path / "my file.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=20, height=20, count=1, dtype="uint8", gcps=gcps, crs="EPSG:4326"
    ) as file:
        file.write(pixels)
    zone = {7: 32732, 100: 32747}[lon]
    with pytest.raises(
        UserError,
        match=f"by 3 control points only.*: gdalwarp -r bilinear -t_srs EPSG:{zone} '.*file.tif' warped",
    ):
        choose_spec(path)
    rpc = rasterio.rpc.RPC(
        height_off=0, height_scale=1, lat_off=50, lat_scale=1, long_off=lon, long_scale=1, line_off=0, line_scale=1,
        samp_off=0, samp_scale=1, line_den_coeff=[1] + [0] * 19, line_num_coeff=[0, 1] + [0] * 18,
        samp_den_coeff=[1] + [0] * 19, samp_num_coeff=[0, 0, 1] + [0] * 17, err_bias=None, err_rand=None,
    )  # fmt: skip
    path = write(tmp_path / "rpc.tif", pixels, rpcs=rpc, crs=None)
    with pytest.raises(UserError, match=f"by RPCs only.*gdalwarp -rpc -r bilinear -t_srs EPSG:{zone - 100} "):
        choose_spec(path)


def test_complex_numbers_are_refused_and_their_amplitude_is_a_raster(tmp_path):
    path = write(tmp_path / "a.tif", (noise(1, 70, 90, "float32") * (1 + 1j)).astype("complex64"))
    with pytest.raises(UserError, match=r"\(complex64\).*real ones; its amplitude is the raster ") as error:
        choose_spec(path)
    address = str(error.value).rpartition(" ")[2]
    assert choose_spec(address)[0].bands == (1, 1, 1)


def test_sub_datasets_are_listed(tmp_path):
    for number, name in enumerate(["north", "south"]):
        with rasterio.open(
            tmp_path / "a.gpkg", "w", driver="GPKG", width=90, height=70, count=3, dtype="uint8", crs="EPSG:3857",
            transform=rasterio.Affine(2, 0, 0, 0, -2, 0), RASTER_TABLE=name,
            **({"APPEND_SUBDATASET": "YES"} if number else {}),
        ) as file:  # fmt: skip
            file.write(np.full((3, 70, 90), 100 * number + 50, np.uint8))
    with pytest.raises(UserError, match=r"holds 2 rasters: .*GPKG:.*a.gpkg:north, GPKG:.*a.gpkg:south"):
        open_raster(tmp_path / "a.gpkg")
    found, valid = read(f"GPKG:{tmp_path}/a.gpkg:south", Window(0, 5, 0, 5))
    assert valid.all()
    assert (found == 150).all()


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "header"])
def test_what_is_no_raster(tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind != "missing":
        path.write_bytes({"empty": b"", "text": b"hello", "header": b"II*\0\x08\0\0\0\x05"}[kind])
    message = "no raster at .*a.tif: expected" if kind == "missing" else r"cannot be opened as a raster \(.*gdalinfo"
    with pytest.raises(UserError, match=message):
        choose_spec(path)


def test_a_broken_tile_fails_after_one_retry_and_says_where(tmp_path, monkeypatch):
    # GDAL's words name band and tile, too, unless it decodes with several threads (GDAL_NUM_THREADS)
    pixels = noise(3, 70, 90, "uint16")
    path = write(tmp_path / "a.tif", pixels, interleave="band")
    whole, _ = choose_spec(path)
    break_tile(path, 2, 1, 2)
    spec, remarks = choose_spec(path)
    assert remarks == [f"{path} is damaged: about 13 % of it cannot be read"]
    assert spec.stretch[0] != whole.stretch[0]  # that part of all bands is left out
    with open_raster(spec) as raster:
        opened = []
        monkeypatch.setattr(raster, "_reopen", lambda reopen=raster._reopen: opened.append(1) or reopen())
        with pytest.raises(ReadFailed, match=r"rows 0 to 69, columns 0 to 89 .*ZIPDecode") as error:
            raster.read(ALL)
        assert opened == [1, 1]  # to read it again, and to go on with a handle that did not fail
        assert error.value.window == ALL
        assert raster.read(Window(0, 32, 0, 90))[1].all()
    alone = error.value.with_traceback(None)
    alone.__context__ = None  # once dask is imported, pickles have that as well, and rasterio's errors do not come back
    again = pickle.loads(pickle.dumps(alone))
    assert (str(again), again.window) == (str(error.value), ALL)


def test_a_read_that_fails_once_is_read_again(tmp_path):
    pixels = noise(3, 70, 90, "uint8")
    path = write(tmp_path / "a.tif", pixels)
    spec, _ = choose_spec(path)
    whole = path.read_bytes()
    with open_raster(spec) as raster:
        break_tile(path, 1, 1, 1)
        first, reopen = [], raster._reopen

        def mended():
            first.append(1)
            path.write_bytes(whole)
            return reopen()

        raster._reopen = mended
        assert np.array_equal(raster.read(ALL)[0], pixels)
        assert first == [1]


def test_a_truncated_file(tmp_path):
    path = write(tmp_path / "a.tif", noise(3, 70, 90, "uint16"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    spec, remarks = choose_spec(path)
    assert "is damaged: about" in remarks[0]
    with open_raster(spec) as raster:
        assert raster.read(Window(0, 32, 0, 32))[1].all()
        with pytest.raises(ReadFailed, match="Read error|Cannot read"):
            raster.read(ALL)
    path.write_bytes(content[: len(content) // 5])
    with pytest.raises(UserError, match=r"is damaged, \d+ % of it cannot be read: expected a whole file"):
        choose_spec(path)


def test_a_file_that_vanishes(tmp_path):
    (tmp_path / "folder").mkdir()
    path = write(tmp_path / "folder" / "a.tif", noise(3, 70, 90, "uint8"))
    vrt = tmp_path / "a.vrt"
    copy(path, vrt, driver="VRT")
    specs = [choose_spec(path)[0], choose_spec(vrt)[0]]
    raster = open_raster(specs[1])
    shutil.rmtree(tmp_path / "folder")
    with pytest.raises(UserError, match=r"no raster at .*a.tif"):
        open_raster(specs[0])
    with raster, pytest.raises(ReadFailed, match=r"a.tif(: No such file| is gone)"):
        raster.read(ALL)


def test_a_file_that_becomes_another_one(tmp_path):
    path = write(tmp_path / "a.tif", noise(3, 70, 90, "uint8"))
    break_tile(path, 1, 0, 0)
    with open_raster(choose_spec(path)[0]) as raster:
        write(tmp_path / "b.tif", noise(3, 60, 90, "uint8")).replace(path)
        with pytest.raises(ReadFailed, match="it has become another raster"):
            raster.read(ALL)


def test_a_pixel_and_a_line(tmp_path):
    for shape in ((3, 1, 1), (3, 1, 300), (3, 300, 1)):
        pixels = noise(*shape, "uint16")
        spec, _ = choose_spec(write(tmp_path / "a.tif", pixels))
        with open_raster(spec) as raster:
            found, valid = raster.read(Window(0, shape[1], 0, shape[2]))
        assert valid.all()
        assert found.shape == shape


def test_threads_share_a_raster(tmp_path):
    pixels = noise(3, 70, 90, "uint8")
    windows = [Window(top, top + 7, 0, 90) for top in range(0, 70, 7)] * 5
    with open_raster(write(tmp_path / "a.tif", pixels)) as raster, ThreadPoolExecutor(4) as threads:
        for window, (found, _) in zip(windows, threads.map(raster.read, windows), strict=True):
            assert np.array_equal(found, pixels[:, window.top : window.bottom])


def test_without_rasterio_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UserError, match=r'need rasterio, which is not installed: run: pip install "segearth\[geo'):
        open_raster(tmp_path / "a.tif")
