"""What a page may ask: only columns that are there, operators that are known, values of the right kind; never SQL."""

import duckdb
import pytest

from curate.errors import RecipeError
from curate.view.explore.query import parse

COLUMNS = {"images": {"uid": "VARCHAR", "text": "VARCHAR", "score": "FLOAT", 'a"b': "INTEGER", "kept": "BOOLEAN"}}


def found(**asked) -> list[str]:
    con = duckdb.connect()
    con.execute("""create table images as select * from (values ('1', 'A red car', 0.5::float, 1, true), ('2', 'a % blue _ car', 0.9::float, 2, false),
        ('3', null, null, 3, true), ('4', 'red', 'nan'::float, null, true)) t(uid, "text", score, "a""b", kept)""")
    query = parse(asked, COLUMNS)
    where, values = query.where()
    return [u for (u,) in con.execute(f"select uid from images where {where} {query.order()}", values).fetchall()]


def one(column, operator, value=None):
    return {"conditions": [{"column": column, "operator": operator, "value": value}]}


@pytest.mark.parametrize(
    ("asked", "uids"),
    [
        ({}, "1234"),
        ({"words": "CAR red"}, "1"),
        ({"words": "%"}, "2"),
        ({"words": "' or 1=1 --"}, ""),
        (one("score", "min", 0.6), "24"),
        (one("score", "max", 0.6), "1"),
        (one('a"b', "min", 2), "23"),
        (one("text", "is", "red"), "4"),
        (one("text", "not", "red"), "123"),
        (one("text", "has", "BLUE _"), "2"),
        (one("text", "missing"), "3"),
        (one("text", "present"), "124"),
        (one("kept", "is", "false"), "2"),
        ({"sort": 'a"b', "descending": True}, "3214"),
        ({"sort": 'a"b'}, "1234"),
    ],
)
def test_rows_that_fulfil_conditions(asked, uids):
    assert "".join(found(**asked)) == uids


def test_a_random_order_is_the_same_each_time():
    assert found(sort="*") == found(sort="*") and sorted(found(sort="*")) == list("1234")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"table": "funnel"}, "no table funnel"),
        ({"sort": "uid; drop table images"}, "no column uid; drop"),
        (one("nothing", "is", "x"), "no column nothing"),
        (one("score", "or 1=1", "x"), "a column, an operator and a value"),
        (one("text", "min", 1), "text is not a number"),
        (one("score", "min", "1 or 1=1"), "score: not a number"),
        (one("score", "min", float("nan")), "not a number"),
        (one("score", "min", True), "not a number"),
        (one("text", "is", 3), "the value is text"),
        ({"words": "x" * 20_000}, "at most 10,000"),
        ({"words": ["x"]}, "at most 10,000"),
        ({"size": 10**6}, "whole number from 1 to 200"),
        ({"page": -1}, "whole number from 0"),
        ({"page": "1"}, "whole number"),
        ({"conditions": "x"}, "a list of at most 100"),
        ({"conditions": ["x"]}, "a column, an operator and a value"),
    ],
)
def test_what_is_not_there_is_refused(asked, words):
    with pytest.raises(RecipeError, match=words):
        parse(asked, COLUMNS)
