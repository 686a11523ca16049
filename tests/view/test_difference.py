"""curate diff, and a run that begins with what another one computed."""

from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pytest
from pictured import pictured, recipe

from curate.cli import main
from curate.errors import RecipeError
from curate.runner.driver import run as start
from curate.select.database import scan
from curate.store.atomic import Store
from curate.upkeep.adopt import adopt
from curate.view.difference import ABSENT, Difference, flat, shown
from curate.view.run import open_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run, and another that keeps captions of two words more and of eight words less."""
    path = tmp_path_factory.mktemp("difference")
    first = pictured(path)
    adopt(Store(path / "second"), Store(path / "run"))
    second = start(recipe(str(path / "pool.tar"), words=2, most=7), str(path / "second"), engine="local", part_size=25)
    return open_run(first.store.url), open_run(second.store.url), second.counters


def kept(run, condition="true"):
    return {u for (u,) in run.sql(f"select uid from images where kept and {condition}").fetchall()}


def test_nothing_is_computed_again(runs):
    counters = runs[2]
    assert counters["caption_words"]["computed"] == 0 and counters["fetch"]["reused"] > 0
    assert (
        counters["fetch"]["computed"]
        == len(kept(runs[1]) - kept(runs[0]))
        + runs[1].sql("select count(*) from images where caption_words = 2 and not kept").fetchall()[0][0]
    )


def test_who_entered_and_who_left_and_why(runs):
    a, b, _ = runs
    found = Difference(a, b)
    assert found.counts == (len(kept(a)), len(kept(b)), len(kept(a) & kept(b)))
    changes = {(c.side, c.reason): c for c in found.changes}
    assert changes["entered", "caption_words"].rows == len(kept(b) - kept(a)) > 0
    assert changes["left", "caption_words"].rows == len(kept(a) - kept(b)) > 0
    assert set(changes["left", "caption_words"].uids) <= kept(a, "caption_words = 8")
    assert ("caption_words", "min", "3", "2") in found.parameters() and (
        "where_caption_words",
        "max",
        "8",
        "7",
    ) in found.parameters()


def test_parameters_are_shown_as_set_takes_them():
    found = flat({"decoding": {"max_tokens": 16, "schema": None}, "among": ["en", "de"], "min": 1.0})
    assert {k: shown(v) for k, v in found.items()} == {
        "decoding.max_tokens": "16",
        "decoding.schema": "none",
        "among": "en,de",
        "min": "1",
    }


def test_a_row_that_the_other_run_never_saw(runs, tmp_path):
    (tmp_path / "more").mkdir()
    other = pictured(tmp_path / "more")  # the same pictures in another tar: rows without a uid of their own get others
    assert {c.reason for c in Difference(runs[0], open_run(other.store.url)).changes} <= {ABSENT}


def test_documents_are_compared_as_documents(runs, tmp_path):
    sides = []
    for name, uids in (("a", ["1", "2"]), ("b", ["2", "3"])):
        store = Store(tmp_path / name)
        rows = {"uid": ["1", "2", "3"], "title": ["one", "two", "three"], "kept": [u in uids for u in ("1", "2", "3")]}
        store.publish_table("ledger/documents/000000.parquet", pa.table({**rows, "drop_reason": ["short"] * 3}))
        con = duckdb.connect()
        con.execute(f"create view documents as select * from {scan(store, ['ledger/documents/000000.parquet'])}")
        sides.append(SimpleNamespace(store=store, dataset={"table": "documents"}, recipe={}, sql=con.sql))
    found = Difference(*sides)
    assert found.counts == (2, 2, 1) and "2 documents kept" in found.as_text() and "three" in found.as_html()
    with pytest.raises(RecipeError, match=r"are images, those of .* documents"):
        Difference(runs[0], sides[0])


def test_diff_prints_and_writes(runs, tmp_path, capsys):
    assert main(["diff", runs[0].store.url, runs[1].store.url, "-o", str(tmp_path / "diff.html")]) == 0
    out = capsys.readouterr().out
    assert "caption_words min: 3 → 2" in out and "entered; the first run dropped them for" in out
    assert "data:image/jpeg" in (tmp_path / "diff.html").read_text()


def test_what_is_not_a_run_is_not_taken_over(tmp_path):
    with pytest.raises(RecipeError, match="not a run's folder"):
        adopt(Store(tmp_path / "new"), Store(tmp_path))
