"""What selectors are given: the live rows, and a place for what they compute of them."""

import duckdb
import pyarrow as pa

from curate.selector import Live


def test_what_is_kept_is_computed_once_and_lies_in_a_file(tmp_path):
    con = duckdb.connect()
    rows = pa.table({"id": range(1000), "host": ["a", "b"] * 500})
    live = Live(con.from_arrow(rows), con, str(tmp_path), 1000)
    kept = live.keep("select *, random() as draw from live")
    again = live.keep("select id from live where host = 'a'")
    assert kept.order("id").fetchall() == kept.order("id").fetchall()
    assert again.order("id").fetchall() == [(i,) for i in range(0, 1000, 2)]
    assert len(list(tmp_path.iterdir())) == 2
    assert con.sql("select count(*) from duckdb_tables()").fetchall() == [(0,)]


def test_an_empty_result_keeps_its_columns(tmp_path):
    con = duckdb.connect()
    live = Live(con.from_arrow(pa.table({"id": pa.array([], pa.int64())})), con, str(tmp_path), 0)
    kept = live.keep("select id, id / 2 as half from live")
    assert kept.columns == ["id", "half"] and kept.fetchall() == []
