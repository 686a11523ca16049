"""TopFraction: DataComp's rule, ties and all."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.selector import Live
from curate.top_fraction import TopFraction


def kept(scores, fraction, column="clip_score"):
    con = duckdb.connect()
    ids = np.arange(len(scores))
    live = Live(
        con.from_arrow(pa.table({"id": ids, "uid": [str(i) for i in ids], column: pa.array(scores, pa.float32())})),
        con,
        count=len(ids),
    )
    return sorted(set(ids.tolist()) - set(TopFraction(column, fraction).select(live).dropped().tolist()))


def datacomp(scores, fraction):
    """The rule written down again: the cut is the value at rank n, and everything from it up stays."""
    ranked = sorted(scores, reverse=True)
    cut = ranked[int(len(ranked) * fraction)]
    return [i for i, s in enumerate(scores) if s >= cut]


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_as_datacomp_codes_it(count, fraction):
    scores = np.random.default_rng(count).integers(0, 20, count) / 64  # few values, so many ties
    assert kept(scores.tolist(), fraction) == datacomp(scores.tolist(), fraction)


def test_ties_at_the_cut_stay():
    assert kept([0.1, 0.5, 0.5, 0.5, 0.9], 0.2) == [1, 2, 3, 4]


def test_null_and_nan_are_never_kept_but_count():
    assert kept([None, float("nan"), 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 0.25) == [2, 3, 4]
    assert kept([None, 0.5, None], 1.0) == [1]
    assert kept([None, None, None, 0.5], 0.9) == [3]


def test_all_and_nobody():
    assert kept([0.1, 0.2], 1.0) == [0, 1]
    assert kept([], 0.3) == []


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_what_is_no_fraction(fraction):
    with pytest.raises(RecipeError, match="top_fraction"):
        TopFraction(fraction=fraction)
