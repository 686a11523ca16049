import pytest

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.errors import RecipeError
from tests.dedup.pool import live, rows


def test_every_copy_falls_when_there_are_too_many():
    chosen = Frequency(max=2).select(live(text=["logo"] * 3 + ["cat"] * 2 + [None] * 5))
    assert list(chosen.dropped()) == [0, 1, 2]
    assert rows(chosen.columns) == {"id": [0, 1, 2, 3, 4], "frequency": [3, 3, 3, 2, 2]}


def test_texts_on_many_images():
    """ALIGN's rule counts images, not rows: the same image twice is one."""
    given = {"text": ["a"] * 4 + ["b"] * 4, "sha256": ["1", "2", "3", "3", "4", "4", "4", "4"]}
    assert list(Frequency(("text",), distinct="sha256", max=2).select(live(**given)).dropped()) == [0, 1, 2, 3]
    assert list(
        Frequency(("sha256",), distinct="text", max=1).select(live(text=["a", "b", "a"], sha256=["1", "1", "2"])).dropped()
    ) == [0, 1]


def test_paragraphs_by_site():
    urls = [
        "https://www.A.org/1",
        "http://a.org:80/2",
        "https://u@a.org/3?x",
        "https://b.org/1",
        "https://b.org/2",
        "not a url",
    ]
    chosen = Frequency(("host(url)", "text"), max=2).select(live(url=urls, text=["Subscribe"] * 5 + ["Subscribe"]))
    assert list(chosen.dropped()) == [0, 1, 2]
    assert Frequency(("host(url)", "text"), name="site").reads == ("url", "text")


def test_functions_of_columns():
    assert list(Frequency(("words(text)",), max=1).select(live(text=["A cat!", "a  CAT", "a dog"])).dropped()) == [0, 1]
    assert len(ExactDedup(("lower(text)",)).select(live(text=["A", "a", "B"])).dropped()) == 1
    with pytest.raises(RecipeError, match="no function upper"):
        Frequency(("upper(text)",)).select(live(text=["a"]))


def test_on_another_table():
    assert Frequency(table="texts").table == "texts" and Frequency().table == "images"


def test_an_empty_pool():
    assert len(Frequency().select(live(text=[])).dropped()) == 0


def test_columns_may_have_any_name():
    for column in ("n", "k0", "seen", "keyed"):
        assert list(Frequency((column,), max=1).select(live(**{column: ["a", "a", "b"]})).dropped()) == [0, 1]
        two = live(x=["a"] * 4, **{column: [1, 1, 2, 3]}, other=[1, 2, 3, 3])
        assert list(Frequency(("x", column), distinct="other", max=1).select(two).dropped()) == [0, 1]


def test_a_key_without_a_host_or_a_word_is_null():
    urls = ["", "data:image/png;base64,xx", "//cdn.x/y.jpg", "HTTP://WWW.A.com/x", "http://a.com/y"]
    assert rows(Frequency(("host(url)",), max=9).select(live(url=urls)).columns) == {"id": [3, 4], "frequency": [2, 2]}
    assert not len(ExactDedup(("words(text)",)).select(live(text=["😀", "😡", "!!!", "dog"])).dropped())
