"""Losses by language are shares of the rows that reach a rule, language by language."""

import duckdb

from curate.view import losses

ROWS = [
    *[("en", None)] * 60,
    *[("en", "caption_words")] * 20,
    *[("en", "clip")] * 20,
    *[("ja", None)] * 10,
    *[("ja", "caption_words")] * 30,
    *[("ja", "clip")] * 5,
    *[("fi", "clip")] * 3,
    *[(None, "fetch")] * 9,
]


class Pool:
    """What the section asks of a run: its languages, its rules in order, and a query."""

    total = {"images": len(ROWS)}

    def __init__(self, rows, columns=("language",)):
        self.con = duckdb.connect()
        self.con.execute("create table images (language varchar, drop_stage varchar)")
        self.con.executemany("insert into images values (?, ?)", rows)
        self.columns = {"images": dict.fromkeys(columns, "VARCHAR")}

    def rows(self, query):
        return self.con.sql(query).to_arrow_table().to_pylist()

    def rules(self, table):
        return [(name, []) for name in ("fetch", "caption_words", "clip", "last")]


def test_a_loss_is_of_those_that_reach_the_rule():
    heads, lines = losses.losses(Pool(ROWS), "images")
    assert heads == ["all", "en", "ja", "fi"] and [rule for rule, _ in lines] == ["caption_words", "clip"]
    assert lines[0][1] == [50 / 148, 20 / 100, 30 / 45, None]  # three rows of Finnish are too few
    assert lines[1][1] == [28 / 98, 20 / 80, None, None]  # 15 of Japanese are left


def test_what_stands_out_is_bold_and_too_few_are_a_dash():
    page = str(losses.languages(Pool(ROWS)))
    assert "<b>66.7</b>" in page and '<td class="n">20.0</td>' in page and "–" in page


def test_pools_without_languages_or_with_one_have_no_section():
    assert not losses.languages(Pool(ROWS, columns=("text",)))
    assert not losses.languages(Pool([("en", None)] * 30))
