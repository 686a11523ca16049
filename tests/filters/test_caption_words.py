"""Words: as Python's str.split() counts them, which is how DataComp does."""

import pyarrow as pa
import pytest
from laws import TEXTS

from curate.filters.caption_words import CaptionWords


def scored(*texts):
    return CaptionWords().score(pa.table({"text": pa.array(texts, pa.large_string())})).to_pylist()


def test_words_are_counted_and_null_stays_null():
    assert scored("a small dog", "  a \t small\u2003dog\n", "", "   ", None) == [3, 3, 0, 0, None]


@pytest.mark.parametrize("text", TEXTS)
def test_as_python_splits(text):
    assert scored(text) == [len(text.split())]


def test_the_published_bound_is_inclusive():
    table = pa.table({"caption_words": pa.array([2, 3, None], pa.int32())})
    assert CaptionWords().judge(table).to_pylist() == ["caption_words", None, "caption_words"]
