"""Nouns, determiners, prepositions."""

import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.parts_of_speech import PartsOfSpeech


def missing(filter, *texts):
    filter.load()
    return filter.run(pa.table({"text": pa.array(texts, pa.large_string())}))["parts_of_speech"].to_pylist()


@pytest.mark.parametrize(
    "text, count", [("A dog on the grass", 0), ("dog grass", 1), ("very beautiful", 2), ("", 2), ("The red", 1), (None, None)]
)
def test_cc12m_needs_a_noun_and_a_determiner(text, count):
    assert missing(PartsOfSpeech(), text) == [count]


def test_nouns_in_ly():
    assert missing(PartsOfSpeech(), "a butterfly", "the family", "a slowly") == [0, 0, 1]


def test_cc3m_needs_a_preposition_too():
    assert missing(PartsOfSpeech(needs=("noun", "determiner", "preposition")), "A dog", "A dog on grass", "sitting") == [
        1,
        0,
        3,
    ]


def test_a_list_of_nouns(tmp_path):
    file = tmp_path / "index.noun"
    file.write_text("  1 This software and database\ndog n 7 5 @ ~\nbox n 1 1\n")
    filter = PartsOfSpeech(needs=["noun"], nouns=str(file))
    assert missing(filter, "dogs", "boxes", "grass") == [0, 0, 1] and filter.weights()["weights"].startswith("sha256:")


def test_an_unknown_part():
    with pytest.raises(RecipeError, match="noun, determiner, preposition"):
        PartsOfSpeech(needs=("verb",))
