"""A run from input to shards on the local engine: conservation, resume as incremental work, bad input, bad folders."""

import json
import logging

import pytest
from toys import ROWS, ToyScore, recipe

from curate.errors import CurateError, PoolError, RecipeError
from curate.filters.document_words import DocumentWords
from curate.recipe import Recipe
from curate.runner.driver import run as start
from curate.score import ingest
from curate.shard.export import export
from curate.sources.web_pages import WebPages
from curate.store import inputs as record_of_inputs
from curate.upkeep.check import check
from curate.view import report
from curate.view.run import open_run


def run(recipe, out, **options):
    return start(recipe, str(out), engine="local", part_size=250, **options)


@pytest.fixture
def done(inputs, tmp_path):
    made = run(recipe([inputs / "*.txt"]), tmp_path / "run")
    assert made.dataset["samples"] > 0  # read now: a later run replaces it
    return made


def computed(made):
    return {name: int(c["computed"]) for name, c in made.counters.items()}


def test_every_row_has_exactly_one_outcome(done):
    rows = done.sql("select kept, drop_reason, drop_stage, shard, key, uid from images").to_df()
    assert len(rows) == ROWS + 400
    assert (rows.kept == rows.drop_reason.isna()).all()
    assert (rows.kept == rows.shard.notna()).all() and (rows.kept == rows.key.notna()).all()
    assert (rows.drop_reason.isna() == rows.drop_stage.isna()).all()
    funnel = {r["reason"]: r["rows"] for r in done.stats().to_pylist()}
    assert sum(funnel.values()) == 1500
    assert funnel["fetch:bad_url"] == 5  # 4 in a.txt, 1 in b.txt, named by the source
    assert set(funnel) == {"fetch:bad_url", "duplicate_uid", "toy_words", "fetch:timeout", "toy_score", "toy_half", "kept"}


def test_shards_are_equal_within_one_and_the_plan_is_the_ledger(done):
    sizes = [s["samples"] for s in done.dataset["shards"]]
    kept = done.sql("select count(*) from images where kept").fetchall()[0][0]
    assert sum(sizes) == kept and max(sizes) - min(sizes) <= 1 and max(sizes) <= 150
    apart = done.sql(
        "select count(*) from images i join shards s using (uid) where i.toy_score is distinct from s.toy_score"
    ).fetchall()
    assert apart == [(0,)]


def test_the_funnel_keeps_the_order_of_the_recipe(done):
    order = [r["stage"] for r in done.stats().to_pylist()]
    assert order == ["source", "duplicate_uid", "toy_words", "toy_fetch", "toy_score", "toy_half", ""]


def test_edges_and_notes_are_kept(done):
    assert (
        done.sql("select count(*) from edges where step = 'toy_half'").fetchall()[0][0]
        == done.recipe["notes"]["toy_half"]["low"]
        > 0
    )
    assert done.sql("select count(*) from images where toy_rank is not null").fetchall()[0][0] > 0


def test_a_second_run_has_nothing_to_do(done, inputs, tmp_path):
    again = run(recipe([inputs / "*.txt"]), tmp_path / "run")
    assert again.counters == {} and again.dataset == done.dataset


def test_a_tighter_bound_computes_nothing(done, inputs, tmp_path):
    again = run(recipe([inputs / "*.txt"], words=5), tmp_path / "run")
    assert set(computed(again).values()) == {0}
    assert again.dataset["samples"] < done.dataset["samples"]
    assert again.dataset["root_hash"] == run(recipe([inputs / "*.txt"], words=5), tmp_path / "fresh").dataset["root_hash"]


def test_a_looser_bound_computes_only_the_rows_that_come_in(done, inputs, tmp_path):
    new = done.sql("select count(*) from images where drop_reason = 'toy_words' and toy_words = 2").fetchall()[0][0]
    again = run(recipe([inputs / "*.txt"], words=2), tmp_path / "run")
    fresh = run(recipe([inputs / "*.txt"], words=2), tmp_path / "fresh")
    assert computed(again)["toy_words"] == 0 and computed(again)["toy_fetch"] == new > 0
    assert again.dataset["root_hash"] == fresh.dataset["root_hash"]


def test_a_new_filter_computes_only_itself(done, inputs, tmp_path):
    more = recipe([inputs / "*.txt"], extra=[ToyScore(min=0.0, name="other_score")])
    again = run(more, tmp_path / "run")
    counts = computed(again)
    assert counts.pop("other_score") > 0 and set(counts.values()) == {0}
    assert "other_score" in again.sql("select * from images").columns


def test_more_input_computes_only_the_new_part(done, inputs, tmp_path):
    (inputs / "c.txt").write_text("200")
    again = run(recipe([inputs / "*.txt"]), tmp_path / "run")
    fresh = run(recipe([inputs / "*.txt"]), tmp_path / "fresh")
    assert computed(again)["toy_words"] == 199  # one of the 200 is a duplicate
    assert again.dataset["root_hash"] == fresh.dataset["root_hash"]


def test_refetch_tries_again_what_failed_and_only_that(done, inputs, tmp_path):
    failed = done.sql("select count(*) from images where drop_reason = 'fetch:timeout'").fetchall()[0][0]
    again = run(recipe([inputs / "*.txt"], fails="ok"), tmp_path / "run")
    assert computed(again)["toy_fetch"] == 0  # nothing is fetched again unless asked
    again = run(recipe([inputs / "*.txt"], fails="ok"), tmp_path / "run", refetch=True)
    assert computed(again)["toy_fetch"] == failed > 0
    assert "fetch:timeout" not in {r["reason"] for r in again.stats().to_pylist()}


def test_an_unreadable_file_is_named_and_loses_nothing_else(inputs, tmp_path):
    (inputs / "bad.txt").write_text("x")
    made = run(recipe([inputs / "*.txt"]), tmp_path / "run")
    assert len(made.problems) == 1 and "bad.txt: row 0: not a number" in made.problems[0]
    assert made.sql("select count(*) from images").fetchall() == [(1500,)]


def test_a_folder_with_something_else_is_refused(inputs, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(RecipeError, match=r"holds something else \(thesis.tex\)"):
        run(recipe([inputs / "*.txt"]), tmp_path / "run")


def test_a_run_over_another_source_is_refused(done, inputs, tmp_path):
    with pytest.raises(RecipeError, match=r"it also reads .*b.txt"):
        run(recipe([inputs / "a.txt"]), tmp_path / "run")
    with pytest.raises(RecipeError, match="--part-size 250"):
        start(recipe([inputs / "*.txt"]), str(tmp_path / "run"), engine="local", part_size=100)


def test_a_changed_input_file_is_refused(done, inputs, tmp_path):
    (inputs / "b.txt").write_text("401")
    with pytest.raises(RecipeError, match=r"b.txt: has changed"):
        run(recipe([inputs / "*.txt"]), tmp_path / "run")


def test_no_run_in_a_folder_is_said(tmp_path):
    with pytest.raises(PoolError, match="not a run's folder"):
        open_run(str(tmp_path))


def test_a_stage_that_raises_names_stage_part_and_uid(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(ToyScore, "score", lambda self, live: 1 / 0)
    with pytest.raises(CurateError, match=r"stage toy_score, part \w+-000000, first uid [0-9a-f]{32}: ZeroDivisionError"):
        run(recipe([inputs / "*.txt"]), tmp_path / "run")
    monkeypatch.undo()
    assert (
        computed(run(recipe([inputs / "*.txt"]), tmp_path / "run"))["toy_fetch"] == 0
    )  # what was fetched before the fault stays


def test_a_stage_that_returns_too_few_rows_is_named(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(ToyScore, "score", lambda self, live: [0.5])
    with pytest.raises(CurateError, match=r"stage toy_score, .* returned 1 rows"):
        run(recipe([inputs / "*.txt"]), tmp_path / "run")


def test_many_inputs_are_in_a_table_beside_the_record(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(record_of_inputs, "FEW", 1)
    made = run(recipe([inputs / "*.txt"]), tmp_path / "run")
    assert json.loads(made.store.read("recipe.json"))["inputs"] == {"table": "inputs.parquet", "files": 2}
    assert [i["rows"] for i in made.recipe["inputs"]] == [{"images": 1100}, {"images": 400}]
    assert check(made.store) == [] and "more files" not in made.store.read("report.html").decode()
    assert computed(run(recipe([inputs / "*.txt"]), tmp_path / "run")) == {}
    (tmp_path / "run/inputs.parquet").write_bytes(b"lost")
    assert any("inputs.parquet" in fault for fault in check(made.store))
    run(recipe([inputs / "*.txt"]), tmp_path / "run", repair=True)
    assert check(made.store) == []


def test_the_record_says_what_ran(done):
    record = json.loads(done.store.read("recipe.json"))
    assert record["state"] == "finished" and record["part_size"] == 250
    assert [i["rows"] for i in record["inputs"]] == [{"images": 1100}, {"images": 400}]
    assert all(i["hash"].startswith("sha256:") for i in record["inputs"])
    assert {s["step"] for s in record["steps"]} >= {"toy_words", "toy_fetch", "toy_half"} and "pyarrow" in record["versions"]


def test_an_input_that_cannot_be_read_any_more_stops_the_run_and_changes_nothing(done, inputs, tmp_path, monkeypatch):
    identity = ingest.file_identity

    def refused(path, earlier):
        if path.endswith("b.txt"):
            raise PermissionError(13, "Permission denied")
        return identity(path, earlier)

    monkeypatch.setattr(ingest, "file_identity", refused)
    with pytest.raises(PoolError, match=r"b.txt: Permission denied; this run has rows of it .* --reuse"):
        run(recipe([inputs / "*.txt"], words=5), tmp_path / "run")
    monkeypatch.undo()
    assert run(recipe([inputs / "*.txt"]), tmp_path / "run").counters == {} and check(done.store) == []


def test_shards_and_ledger_of_another_plan_go_also_where_there_are_no_shards(done, inputs, tmp_path):
    without = recipe([inputs / "*.txt"])
    without.shards = None
    (tmp_path / "run/ledger/images/000009.parquet").write_bytes((tmp_path / "run/ledger/images/000000.parquet").read_bytes())
    made = run(without, tmp_path / "run")
    assert made.store.names("shards") == [] and check(made.store) == []
    assert made.dataset["samples"] == done.dataset["samples"]
    assert export(made.store, made.dataset, "datacomp-subset", str(tmp_path / "s.npy")) == made.dataset["samples"]


def test_pages_without_any_picture_come_to_an_end(tmp_path):
    words = "Some long paragraph of words which says a lot of things for the reader of this page. " * 3
    (tmp_path / "a.html").write_text(f"<html><body><article><p>{words}</p></article></body></html>")
    made = run(Recipe(WebPages([str(tmp_path / "a.html")]), [DocumentWords(min=1)], [], shards=None), tmp_path / "run")
    assert made.recipe["rows"]["images"] == {} and sum(made.recipe["rows"]["documents"].values()) == 1
    assert made.store.exists("report.html") and check(made.store) == []


def test_a_report_that_fails_is_told_and_the_run_ends(inputs, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(report, "html_of", lambda made: {}["images"])
    with caplog.at_level(logging.WARNING):
        made = run(recipe([inputs / "b.txt"]), tmp_path / "run")
    assert "no report: KeyError: 'images'" in caplog.text and check(made.store) == []
