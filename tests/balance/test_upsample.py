"""Copies by value, by concept and by temper; a fraction is met on average; they reach the shards."""

import pytest

from curate.balance.upsample import Upsample
from curate.errors import RecipeError
from tests.dedup.pool import live, rows


def copies(selector, **columns):
    return rows(selector.select(live(**columns)).columns)["copies"]


def test_a_value_has_its_factor_and_others_one_copy():
    assert copies(Upsample({"sw": 3}), language=["en", "sw", None]) == [1, 3, 1]
    assert copies(Upsample({"sw": 30}, max=4), language=["sw"]) == [4]


def test_a_fraction_is_met_on_average_by_a_coin_of_the_row():
    found = copies(Upsample({"de": 2.25}), language=["de"] * 4000)
    assert set(found) == {2, 3} and 0.22 < sum(c == 3 for c in found) / 4000 < 0.28
    assert found == copies(Upsample({"de": 2.25}), language=["de"] * 4000)
    assert found != copies(Upsample({"de": 2.25}, seed=1), language=["de"] * 4000)


def test_of_several_concepts_the_largest_counts():
    text = ["a tapir in a zoo", "a tapirs", None, "the zoo"]
    assert copies(Upsample(concepts={"tapir": 4, "zoo": 2}), text=text) == [4, 1, 1, 2]


def test_temper_flattens_the_shares():
    """100 and 4 rows: at temper 0.5 the shares are as 10 to 2, so the rare value comes five times."""
    found = copies(Upsample(temper=0.5), language=["en"] * 100 + ["sw"] * 4)
    assert found == [1] * 100 + [5] * 4
    assert copies(Upsample(temper=1), language=["en"] * 3 + ["sw"]) == [1] * 4


def test_what_makes_no_sense_is_refused():
    for wrong in ({}, {"factors": {"a": 2}, "temper": 0.3}, {"factors": {"a": 0.5}}, {"temper": 2}):
        with pytest.raises(RecipeError):
            Upsample(**wrong)
