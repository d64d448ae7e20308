"""From samples of any type to values from 0 to 255."""

import numpy as np
import pytest

from segearth.errors import UserError
from segearth.scenes.bands import Band
from segearth.scenes.stretch import Stretch, apply_stretch, parse_stretch, stretch_limits


def bands(dtype, count=1, bits=None):
    return [Band(i + 1, "", dtype, "gray", bits=bits) for i in range(count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", Stretch("auto", 2, 98)),
        ("percentile", Stretch("percentile", 2, 98)),
        ("percentile:1,99", Stretch("percentile", 1, 99)),
        ("0,3000", Stretch("range", 0, 3000)),
        (" -1.5 , 1e4 ", Stretch("range", -1.5, 10000)),
        ("None", Stretch("none", 2, 98)),
    ],
)
def test_parse(text, expected):
    assert parse_stretch(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "3,1", "1,1", "a,b", "nan,1", "0,inf", "0,1,2", "percentile:", "percentile:5", "percentile:-1,99",
             "percentile:9,101", "auto:1,2", "minmax"]
)  # fmt: skip
def test_parse_refuses(text):
    with pytest.raises(UserError, match=r"expected auto, percentile, .*stretch=\"0,3000\""):
        parse_stretch(text)


def test_percentiles_of_each_band_and_none_for_bytes():
    ramp = np.arange(1001, dtype=np.uint16)
    assert stretch_limits(Stretch("auto"), bands("uint16", 2), [ramp, ramp * 2], "x") == (((20, 980), (40, 1960)), [])
    assert stretch_limits(Stretch("percentile", 1, 99), bands("uint16"), [ramp], "x")[0] == ((10, 990),)
    assert stretch_limits(Stretch("auto"), bands("uint8"), [np.arange(9, dtype=np.uint8)], "x") == (None, [])
    assert stretch_limits(Stretch("percentile"), bands("uint8"), [np.arange(101, dtype=np.uint8)], "x")[0] == ((2, 98),)
    assert stretch_limits(Stretch("range", -5, 5), bands("float32", 3), [ramp] * 3, "x") == (((-5, 5),) * 3, [])
    assert stretch_limits(Stretch("auto"), bands("uint8", bits=1), [ramp], "x")[0] == ((0, 1),)


def test_a_constant_band_is_said_and_becomes_0_and_a_sparse_one_keeps_its_range():
    flat = np.full(500, 7, np.int16)
    found, remarks = stretch_limits(Stretch("auto"), bands("int16", 3), [flat] * 3, "x")
    assert found == ((7, 7),) * 3
    assert remarks == [f"band {i} of x is 7 everywhere and becomes 0" for i in (1, 2, 3)]
    assert apply_stretch(np.full((3, 1, 2), 7, np.int16), found).tolist() == [[[0, 0]]] * 3
    flat[3] = 9
    assert stretch_limits(Stretch("auto"), bands("int16"), [flat], "x") == (((7, 9),), [])


def test_without_samples_there_is_no_remark_on_them():
    assert stretch_limits(Stretch("auto"), bands("int16"), [np.zeros(0, np.int16)], "x") == (((0, 255),), [])


def test_no_stretch_of_wide_types_is_said():
    assert "values above 255 become 255" in stretch_limits(Stretch("none"), bands("uint16"), [np.zeros(1)], "x")[1][0]
    assert stretch_limits(Stretch("none"), bands("uint8"), [np.zeros(1)], "x") == (None, [])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "float32", "float64"])
def test_stretched_is_linear_and_cut_off(dtype):
    samples = np.array([[[0, 100, 151, 200, 1000]]], dtype)
    found = apply_stretch(samples, ((100, 200),))
    assert found.dtype == np.float32
    assert found[0, 0].tolist() == pytest.approx([0, 0, 130.05, 255, 255], rel=1e-6)


def test_bytes_stay_as_they_are_and_wide_types_are_cut_off():
    samples = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert apply_stretch(samples, None) is samples
    assert apply_stretch(np.array([[-3, 12, 300]], np.int16), None).tolist() == [[0, 12, 255]]


def test_the_largest_number_warns_of_nothing(recwarn):
    samples = np.array([[np.finfo(np.float64).max, -np.finfo(np.float32).max, np.nan, 5]])
    found = apply_stretch(samples, ((0, 10),))[0]
    assert (found[0], found[1], found[3]) == (255, 0, 127.5)
    assert np.isnan(found[2])
    assert not recwarn.list
