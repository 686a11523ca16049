"""Bounds, reasons and names: what every filter is judged by."""

import numpy as np
import pyarrow as pa
import pytest

from curate.stage import float16, snake, within


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_bounds_are_inclusive_at_the_score_s_own_precision(kind):
    assert within(pa.array([0.7, 0.1], kind), 0.7, None, "r").to_pylist() == [None, "r"]
    assert within(pa.array([0.7, 0.1], kind), None, 0.1, "r").to_pylist() == ["r", None]


def test_null_and_nan_are_drops_even_without_bounds():
    assert within(pa.array([1.0, None, np.nan, np.inf]), None, None, "r").to_pylist() == [None, "r", "r", "r"]
    assert within(pa.array([1, None], pa.int32()), None, None, "r").to_pylist() == [None, "r"]


def test_integers_are_compared_with_fractions():
    assert within(pa.array([2, 3], pa.int32()), 2.5, None, "r").to_pylist() == ["r", None]


def test_rounding_to_float16_keeps_nulls():
    assert float16(pa.array([0.1, None], pa.float32())).to_pylist() == [pytest.approx(0.1, abs=1e-4), None]


@pytest.mark.parametrize(
    ("name", "snaked"), [("CaptionWords", "caption_words"), ("ClipScore", "clip_score"), ("Fetch", "fetch")]
)
def test_names(name, snaked):
    assert snake(name) == snaked


def test_what_is_too_large_for_float16_is_rounded_as_finely():
    values = [70_000.3, -1e6, 1e30, 65_504.0, float("inf")]
    found = float16(pa.array(values, pa.float32())).to_pylist()
    assert found == pytest.approx(values, rel=2**-11) and found[3] == 65_504.0 and found[0] == 70_016.0
