"""TopFraction: DataComp's rule, ties and all."""

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.select.top_fraction import TopFraction, cut_at
from tests.dedup.pool import in_chunks, live


def kept(scores, fraction, column="clip_score"):
    found = TopFraction(column, fraction).select(live(**{column: pa.array(scores, pa.float32())}))
    return sorted(set(range(len(scores))) - set(found.dropped().tolist()))


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


@pytest.mark.parametrize("chunks", [1, 5])
def test_the_cut_is_that_of_sorting_whatever_the_values(chunks, tmp_path):
    """Negative, tiny, huge, infinite, the two zeros, ties, and values that differ in their last bits only."""
    draw = np.random.default_rng(chunks)
    values = np.concatenate(
        [
            draw.normal(size=20) * 10.0 ** draw.integers(-300, 300, 20),
            1.0 + np.arange(8) * 2.0**-52,
            [0.0, -0.0, 5e-324, -5e-324, np.inf, -np.inf, 0.25, 0.25, 0.25],
        ]
    )
    rows = live(s=draw.permutation(np.concatenate([values, [np.nan] * 5])))
    for rank in range(len(values)):
        cut = rows if chunks == 1 else in_chunks(rows, chunks, str(tmp_path / str(rank)))
        assert cut_at(cut, "s", (rank + 0.5) / rows.rows) == np.sort(values)[-1 - rank]
    assert cut_at(rows, "s", 0.999) == -np.inf


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


def test_a_mark_says_who_would_stay_and_drops_nobody():
    scores = [0.1, None, 0.5, float("nan"), 0.5, 0.9, 0.2]
    made = TopFraction("score", 0.3, mark="top").select(live(score=scores))
    stays = set(kept(scores, 0.3, "score"))
    marks = made.columns.table().sort_by("id")
    assert not len(made.dropped()) and {i for i, top in enumerate(marks["top"].to_pylist()) if top} == stays
    assert marks["id"].to_pylist() == list(range(7)) and TopFraction(mark="top").adds() == {"top": pa.bool_()}
