import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.balance.entries import ngram_entries, read_entries
from curate.balance.matcher import Matcher, Substrings, spacing
from curate.errors import RecipeError

PIECES = [
    "a",
    "b",
    "red",
    "car",
    "Red",
    ",",
    ".",
    "`",
    "!",
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "é",
    "橙",
    "🚗",
    "\0",
    "\u00a0",
    "red car",
    "a b a",
]


def oracle(entries, texts):
    """The rule as MetaCLIP states it: a substring, blanks on both sides."""
    return [(i, e) for i, t in enumerate(texts) for e, entry in enumerate(entries) if f" {entry} " in spacing(t or "")]


def matched(matcher, texts):
    return list(zip(*(x.tolist() for x in matcher.match(pa.array(texts, pa.large_string())))))


def test_spacing():
    assert spacing("a,b\tc\n") == " a , b c  "
    assert spacing("x-y (z)") == " x-y (z) "


def test_case_counts_and_an_entry_counts_once():
    assert matched(Matcher(["The", "the", "cat"]), ["the cat, the cat", "The", None, "cats"]) == [(0, 1), (0, 2), (1, 0)]


def test_entries_of_several_words_may_overlap():
    assert matched(Matcher(["a b", "b a", "a b a"]), ["a b a b"]) == [(0, 0), (0, 1), (0, 2)]


def test_blanks_at_the_ends_of_an_entry_need_blanks_in_the_caption():
    """The first and the last caption of a chunk have no more blanks around them than the others."""
    assert matched(Matcher(["a ", " a"]), ["a", "a  a", "a"]) == [(1, 0), (1, 1)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), max_size=6, unique=True),
    st.lists(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), max_size=5),
)
def test_agrees_with_the_substring_rule(entries, texts):
    entries = read_entries(entries)
    assert matched(Matcher(entries), texts) == oracle(entries, texts)


def test_agrees_with_aho_corasick():
    words = [f"w{i}" for i in range(40)]
    entries = words[:20] + [f"{a} {b}" for a in words[:15] for b in words[5:25]]
    texts = [" ".join(words[(i * j) % 40] for j in range(i % 9)) + "." * (i % 2) for i in range(300)]
    spaced = Substrings([f" {e} " for e in entries])
    assert matched(Matcher(entries), texts) == matched(spaced, [spacing(t) for t in texts])


def test_substrings_for_languages_without_blanks():
    assert matched(Substrings(["猫", "橙色的猫", "狗"]), ["一只橙色的猫", None, ""]) == [(0, 0), (0, 1)]
    assert matched(Substrings([]), ["猫"]) == matched(Matcher([]), ["a"]) == []


def test_lists_of_entries(tmp_path):
    (tmp_path / "lines.txt").write_text("cat\n\ndog\ncat\na\0b\n")
    (tmp_path / "list.json").write_text('["cat", "dog"]')
    assert read_entries(str(tmp_path / "lines.txt")) == read_entries(str(tmp_path / "list.json")) == ["cat", "dog"]
    with pytest.raises(RecipeError, match="nowhere"):
        read_entries(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text", ['["häuser", "boat"]\r\n', '{"häuser": 30, "boat": 2.5}', "häuser\r\nboat\r\n", " häuser \rboat"]
)
def test_lists_of_entries_as_strangers_save_them(tmp_path, encoding, text):
    (tmp_path / "list").write_bytes(text.encode(encoding))
    assert read_entries(str(tmp_path / "list")) == ["häuser", "boat"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'["cat", "dog"', "begins like JSON"),
        (b'{"cat": ["a"]}', "not one of entries and their counts"),
        (b"[1, 2]", "not a list of strings"),
        (b"cat\nd\xf6g\n", "list: line 2: not UTF-8"),
        ("cat\n".encode("utf-16-le"), "full of NUL"),
    ],
)
def test_lists_that_are_wrong(tmp_path, data, says):
    (tmp_path / "list").write_bytes(data)
    with pytest.raises(RecipeError, match=says):
        read_entries(str(tmp_path / "list"))


def test_entries_from_captions():
    # 15 pieces, 12 pairs: New York is 3 of the pairs, its words 3 of the pieces each, so log2(3/12 * 15*15 / 9) = 2.64 bits.
    texts = ["New York a b c"] * 3
    assert ngram_entries(texts, min_count=3, min_pmi=2.6) == ["New", "York", "a", "b", "c", "New York", "York a", "a b", "b c"]
    assert ngram_entries(texts, min_count=3, min_pmi=2.7) == ["New", "York", "a", "b", "c"]
    assert ngram_entries(texts, min_count=4) == []
