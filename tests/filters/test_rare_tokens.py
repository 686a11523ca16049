"""Words outside a vocabulary."""

import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.rare_tokens import RareTokens


@pytest.fixture
def vocabulary(tmp_path):
    file = tmp_path / "words.tsv"
    file.write_text("a\t100\nDog\t5\nzyzzyva\t4\nbig dog\t5\n")
    return str(file)


def rare(filter, *texts):
    filter.load()
    table = filter.run(pa.table({"text": pa.array(texts, pa.large_string())}))
    return table["rare_tokens"].to_pylist()


def test_words_below_the_count_are_rare(vocabulary):
    assert rare(RareTokens(vocabulary=vocabulary), "A dog.", "a zyzzyva", "qwx dog qwx", "", None) == [0, 1, 2, 0, None]
    assert rare(RareTokens(vocabulary=vocabulary, count=4), "a zyzzyva") == [0]


def test_bigrams(vocabulary):
    assert rare(RareTokens(vocabulary=vocabulary, bigrams=True), "big dog", "a dog") == [1, 1]


def test_the_vocabulary_is_read_as_captions_are(tmp_path):
    (tmp_path / "words.txt").write_text("लड़की\nC++\nNew York!\n", "utf-8")
    listed = RareTokens(vocabulary=str(tmp_path / "words.txt"), bigrams=True)
    assert rare(listed, "लड़की", "C++", "new york") == [0, 0, 2]


def test_a_line_that_is_wrong_is_named(tmp_path):
    (tmp_path / "words.tsv").write_bytes("\ufeffa\t100\r\nb\tmany\r\n".encode())
    with pytest.raises(RecipeError, match=r"words\.tsv: line 2: 'many' is no count"):
        rare(RareTokens(vocabulary=str(tmp_path / "words.tsv")), "a")
    (tmp_path / "words.tsv").write_bytes("\ufeffa\t100\r\n".encode())
    assert rare(RareTokens(vocabulary=str(tmp_path / "words.tsv")), "a") == [0]


def test_without_a_vocabulary_it_is_refused():
    with pytest.raises(RecipeError, match="rare_tokens: no weights; give a file"):
        RareTokens().identity()
