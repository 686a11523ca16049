"""Hard negatives: never the positive, never a wrong article, never a swap that means the same."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.synth.negatives import COLOURS, KINDS, HardNegatives, _plain
from curate.synth.phrases import RELATIONS, SYMMETRIC, with_articles

ONE = {k: HardNegatives(kinds=(k,), n=50) for k in KINDS}


def made(kind, text):
    return {t for t, _ in ONE[kind].negatives(text, "u")}


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("swap_objects", "A dog on a sofa", {"A sofa on a dog"}),
        ("swap_objects", "A man is riding an elephant", {"An elephant is riding a man"}),
        ("swap_attributes", "a red car behind an orange bike", {"an orange car behind a red bike"}),
        ("replace_relation", "a cat in front of a box", {"a cat behind a box"}),
        ("negation", "An owl is sleeping", {"No owl is sleeping", "An owl is not sleeping"}),
    ],
)
def test_each_kind(kind, text, expected):
    assert made(kind, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "two sinks next to two mirrors",
        "a cat and a dog",
        "a dog beside a chair",
        "a dog on a dog",
        "dogs",
        "Paris in spring",
        "",
    ],
)
def test_swaps_that_mean_the_same_or_show_are_refused(text):
    assert made("swap_objects", text) == set()


@pytest.mark.parametrize(
    "text", ["a red car and a red bike", "a big dog and a red bike", "a big car on a huge ship", "a red car and a blue car"]
)
def test_attributes_are_swapped_only_for_others_of_their_kind(text):
    assert made("swap_attributes", text) == set()


def test_a_replaced_attribute_is_not_a_near_synonym():
    assert not {"a large dog", "a huge dog", "a giant dog"} & made("replace_attribute", "a big dog")
    assert "a small dog" in made("replace_attribute", "a big dog")
    assert "a gray cat" not in made("replace_attribute", "a grey cat")


def test_a_capital_that_is_two_letters_when_small_moves_nothing():
    assert made("replace_relation", "İKİ KEDİ with a cat on a box") == {
        "İKİ KEDİ without a cat on a box",
        "İKİ KEDİ with a cat under a box",
    }


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("swap_objects", "an SUV behind a utility pole", "a utility pole behind an SUV"),
        ("replace_relation", "a US flag above a Ukrainian flag", "a US flag below a Ukrainian flag"),
        ("negation", "vitamin A on a plate", "vitamin A on no plate"),
    ],
)
def test_articles_are_those_of_the_caption(kind, text, expected):
    assert made(kind, text) == {expected}


NOUNS = st.sampled_from("dog owl umbrella house hour elephant car apple unicorn".split())
THING = st.tuples(st.sampled_from(["a", "the", "two", ""]), st.sampled_from([*COLOURS, "old", "wooden", ""]), NOUNS).map(
    lambda t: with_articles(" ".join(w for w in t if w))
)
CAPTION = st.tuples(THING, st.sampled_from([*RELATIONS, *SYMMETRIC, "is"]), THING, st.booleans()).map(
    lambda t: (lambda s: s[0].upper() + s[1:] if t[3] else s)(f"{t[0]} {t[1]} {t[2]}")
)


@given(CAPTION)
def test_no_negative_is_its_positive_or_another_and_none_gives_itself_away(text):
    found = [t for t, _ in HardNegatives(n=100).negatives(text, "u")]
    plain = [_plain(t) for t in found]
    assert _plain(text) not in plain and len(set(plain)) == len(plain)
    for negative in found:
        assert with_articles(negative) == negative
        assert negative[0].isupper() == text[0].isupper()
        assert not re.search(r"\s{2,}|^\s|\s$", negative)


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("a umbrella", "an umbrella"),
        ("an dog", "a dog"),
        ("An unicorn", "A unicorn"),
        ("a hour", "an hour"),
        ("an house", "a house"),
        ("a uninvited guest", "an uninvited guest"),
        ("an one-way street", "a one-way street"),
        ("vitamin a is", "vitamin an is"),
    ],
)
def test_articles(wrong, right):
    assert with_articles(wrong) == right


def test_the_stage_is_a_function_of_uid_and_seed():
    rows = pa.table({"uid": ["1", "2", "3"], "text": ["a red dog on a blue sofa", "a red dog on a blue sofa", None]})
    stage = HardNegatives(n=3)
    found = stage.run(rows)
    assert found == stage.run(rows) and stage.run(rows.slice(1, 1)) == found.slice(1, 1)
    assert found["text_negatives"][2].as_py() == [] and len(found["text_negatives"][0]) == 3
    assert found["text_negatives"][0] != found["text_negatives"][1]
    assert set(found["text_negatives_kinds"][0].as_py()) <= set(KINDS)
    with pytest.raises(RecipeError):
        HardNegatives(kinds=("shuffle",))
