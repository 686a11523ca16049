"""Where: bounds and SQL over a pool; null and NaN are drops."""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.recipe import Recipe
from curate.select.where import Where
from curate.sources.url_pairs import UrlPairs
from tests.dedup.pool import one_chunk


@pytest.fixture
def live():
    nan = float("nan")
    pool = pa.table(
        {
            "id": [0, 1, 2, 3, 4, 5],
            "uid": list("abcdef"),
            "clip_score": [0.1, 0.28, 0.3, None, nan, 0.9],
            "text": ["logo", "a dog", None, "cat", "cat", "it's"],
        }
    )
    return one_chunk(pool)


def dropped(where, live):
    return sorted(where.select(live).dropped().tolist())


def test_bounds_are_inclusive_and_null_is_a_drop(live):
    assert dropped(Where("clip_score", min=0.28), live) == [0, 3, 4]
    assert dropped(Where("clip_score", max=0.3), live) == [3, 4, 5]
    assert dropped(Where("clip_score", min=0.28, max=0.3), live) == [0, 3, 4, 5]
    assert dropped(Where("clip_score"), live) == [3, 4]


@pytest.mark.parametrize(
    "where, name, reason",
    [
        (Where("clip_score", min=0.28), "where_clip_score", "clip_score"),
        (Where(sql="clip_score >= 0.28"), "where_clip_score", "clip_score"),
        (Where(sql="text != 'logo' and clip_score >= 0.28"), "where_clip_score_text", "where_clip_score_text"),
        (Where("clip_score", min=0.28, name="min_clip"), "min_clip", "min_clip"),
        (Where(sql="true", name="all"), "all", "all"),
    ],
)
def test_what_falls_has_the_columns_name_as_reason(where, name, reason, live):
    fallen = where.select(live).drop.table()
    assert where.name == name and set(fallen["reason"].to_pylist()) <= {reason} == {where.parameters()["reason"]}
    assert where.name == "all" or len(fallen)


def test_two_on_other_columns_stand_beside_each_other(tmp_path):
    """Their names differ by themselves, and a filter may have the column's name."""
    pq.write_table(pa.table({"url": ["http://a/b.jpg"], "text": ["a dog"]}), tmp_path / "x.parquet")
    source = UrlPairs(str(tmp_path / "x.parquet"))
    select = [Where("caption_words", min=1), Where("caption_chars", min=1)]
    Recipe(source, [CaptionWords(), CaptionChars()], select, shards=None).check()
    with pytest.raises(RecipeError, match="two steps are called where_caption_words: give one of them another name"):
        Recipe(source, [CaptionWords()], [select[0], Where("caption_words", max=9)], shards=None).check()


def test_sql(live):
    assert dropped(Where(sql="text != 'logo' and clip_score >= 0.28"), live) == [0, 2, 3]
    assert dropped(Where(sql="length(text) = 3"), live) == [0, 1, 2, 5]


def test_it_reads_what_the_expression_names():
    assert Where(sql="text != 'logo' and clip_score >= 0.28").reads == ("clip_score", "text")
    assert Where("clip_score", min=0).reads == ("clip_score",)


@pytest.mark.parametrize("wrong", [dict(), dict(column="a", sql="a > 1"), dict(sql="a >"), dict(sql="drop table x; select 1")])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(RecipeError, match="where"):
        Where(**wrong)


def test_an_sql_error_names_the_selector_and_the_cause(live):
    with pytest.raises(RecipeError, match=r"taste: .*nothing_of_the_kind"):
        Where(sql="nothing_of_the_kind > 1", name="taste").select(live)


def test_bounds_as_numbers_come():
    inf = float("inf")
    rows = pa.table({"id": [0, 1], "uid": ["a", "b"], "x": pa.array([1e-05, inf], pa.float32())})
    pool = one_chunk(rows)
    assert dropped(Where("x", min=1e-05, max=np.float64(1)), pool) == [1]  # a bound is as precise as its column
    assert dropped(Where("x", min=-inf, max=inf), pool) == [] and dropped(Where("x", max=-inf), pool) == [0, 1]


def test_want_of_memory_is_not_a_fault_of_the_recipe(live, monkeypatch):
    def query(text, tables):
        raise duckdb.OutOfMemoryException("enough")

    monkeypatch.setattr("curate.select.where.query", query)
    with pytest.raises(duckdb.OutOfMemoryException):
        Where("clip_score", min=0).select(live)
