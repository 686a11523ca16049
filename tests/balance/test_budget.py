"""Budgets of several pools."""

import pyarrow as pa
import pytest

from curate.balance.budget import Budget
from curate.errors import RecipeError
from tests.dedup.pool import live, one_chunk


def kept(budget, files, costs=None, scores=None):
    n = len(files)
    table = pa.table(
        {
            "id": list(range(n)),
            "uid": [f"{i:032x}" for i in range(n)],
            "source_file": files,
            "words": pa.array(costs or [1] * n, pa.int32()),
            "score": pa.array(scores or [0.0] * n, pa.float64()),
        }
    )
    found = budget.select(one_chunk(table))
    return sorted(set(range(n)) - set(found.dropped().tolist())), found


def test_so_many_samples_of_each_pool():
    files = ["/a/0.tar"] * 10 + ["/b/0.tar"] * 3 + ["/c/0.tar"]
    rows, found = kept(Budget({"/a/": 4, "/b/": 5}), files)
    assert len([r for r in rows if r < 10]) == 4 and [r for r in rows if r >= 10] == [10, 11, 12]
    assert found.notes["spent"] == {"/a/": 4, "/b/": 3}
    assert found.columns.table().sort_by("id")["budget_pool"][-1].as_py() is None
    assert kept(Budget({"/a/": 4, "/b/": 5}, seed=1), files)[0] != rows


def test_so_many_words_best_first():
    rows, found = kept(Budget({"a": 10}, cost="words", by=("score",)), ["a"] * 4, [4, 5, 2, None], [3, 2, 1, 4])
    assert rows == [0, 1] and found.notes["spent"] == {"a": 9}


def test_budgets_are_numbers():
    for budgets in ({}, {"a": -1}):
        with pytest.raises(RecipeError, match="budgets="):
            Budget(budgets)


@pytest.mark.parametrize("column", ["pool", "cost", "total", "keep", "named", "place"])
def test_columns_may_have_any_name(column):
    costs = live(source_file=["a", "b", "a"], **{column: [1, 2, 3]})
    found = Budget({"a": 1, "b": 5}, cost=column, by=(f"-{column}",)).select(costs)
    assert found.dropped().tolist() == [2] and found.notes["spent"] == {"a": 1, "b": 2}
    pools = live(**{column: ["apple", "banana", "apple"]})
    assert Budget({"apple": 5, "banana": 5}, key=column).select(pools).notes["spent"] == {"apple": 2, "banana": 1}
