"""What hangs on the whole pool: a stage's values count as long as what it read of a selector's columns is the same."""

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from toys import Toy, ToyScore, ToyWords

from curate.recipe import Recipe
from curate.runner.driver import run
from curate.score.part import PartState
from curate.select.exchange import Sql
from curate.selector import Selection, Selector
from curate.stage import Stage
from curate.upkeep.check import check


@dataclass
class Rank(Selector):
    """The place of each row among the live ones."""

    reads = ("toy_score",)

    def adds(self):
        return {"rank": pa.int64()}

    def select(self, live):
        ranked = Sql("select id, row_number() over (order by toy_score, uid) // 50 as rank from live")
        return Selection(columns=live.gathered(ranked).home(live))


@dataclass
class Twice(Stage):
    reads = ("rank",)

    def adds(self):
        return {"twice": pa.int64()}

    def run(self, live):
        return pa.table({"twice": pc.multiply(live["rank"], 2)})


@dataclass
class Plus(Stage):
    """Reads a selector's column by way of another stage."""

    reads = ("twice",)

    def adds(self):
        return {"plus": pa.int64()}

    def run(self, live):
        return pa.table({"plus": pc.add(live["twice"], 1)})


@dataclass
class Among(Stage):
    """How many rows of the part live, as a stage with context knows it."""

    context = ("images",)
    version = 1

    def adds(self):
        return {"among": pa.int64()}

    def run(self, live, images):
        return pa.table({"among": pa.array([pc.sum(images["live"]).as_py() * self.version] * len(live), pa.int64())})


@dataclass
class Half(Stage):
    reads = ("among",)

    def adds(self):
        return {"half": pa.int64()}

    def run(self, live):
        return pa.table({"half": pc.divide(live["among"], 2)})


def made(paths, out, score, synth):
    recipe = Recipe(Toy(tuple(map(str, paths))), [ToyWords(min=3), ToyScore(min=score)], [Rank()], synth, shards=None)
    return run(recipe, str(out), "local", part_size=250)


@pytest.fixture
def paths(tmp_path):
    for name, rows in (("a", 700), ("b", 300)):
        (tmp_path / f"{name}.txt").write_text(str(rows))
    return [tmp_path / "a.txt", tmp_path / "b.txt"]


def values(run_):
    names = [c for c in ("rank", "twice", "plus", "among", "half") if c in run_.sql("from images limit 0").columns]
    return run_.sql(f"select uid, {', '.join(names)} from images where kept order by uid").fetchall()


def test_values_follow_the_decision_that_they_were_made_of(paths, tmp_path):
    synth = [Twice(), Plus()]
    before = values(made(paths, tmp_path / "run", 0.0, synth))
    moved = made(paths, tmp_path / "run", 0.3, synth)
    assert values(moved) == values(made(paths, tmp_path / "fresh", 0.3, synth)) != before
    again = made(paths, tmp_path / "run", 0.0, synth)  # the first values count again
    assert values(again) == before and all(again.counters[s]["computed"] == 0 for s in ("twice", "plus"))
    assert check(again.store) == []


def test_a_part_is_out_of_memory_when_its_work_is_done(paths, tmp_path, monkeypatch):
    """By itself: a collector that comes when it likes would find many parts at once."""
    opened, replay = [], PartState.replay

    def followed(state, steps):
        opened.append(weakref.ref(state))
        return replay(state, steps)

    monkeypatch.setattr(PartState, "replay", followed)
    gc.disable()
    try:
        made(paths, tmp_path / "run", 0.0, [Twice(), Plus(), Among(), Half()])
        left = sum(state() is not None for state in opened)
    finally:
        gc.enable()
    assert len(opened) > 8 and left == 0


def test_only_rows_with_another_input_are_computed_again(paths, tmp_path):
    before = dict((u, r) for u, r, *_ in values(made(paths, tmp_path / "run", 0.0, [Twice()])))
    moved = made(paths, tmp_path / "run", 0.05, [Twice()])
    other = sum(before[u] != r for u, r, *_ in values(moved))
    assert moved.counters["twice"]["computed"] == other and 0 < other < len(before)


def test_a_pool_that_grows(paths, tmp_path):
    made(paths[:1], tmp_path / "run", 0.0, [Twice(), Plus()])
    grown = made(paths, tmp_path / "run", 0.0, [Twice(), Plus()])
    assert values(grown) == values(made(paths, tmp_path / "fresh", 0.0, [Twice(), Plus()]))


def test_what_reads_a_stage_with_context_follows_it(paths, tmp_path):
    synth = [Among(), Half()]
    made(paths, tmp_path / "run", 0.0, synth)
    assert values(made(paths, tmp_path / "run", 0.3, synth)) == values(made(paths, tmp_path / "fresh", 0.3, synth))


def test_another_version_of_a_stage_with_context_is_seen(paths, tmp_path, monkeypatch):
    before = values(made(paths, tmp_path / "run", 0.0, [Among()]))
    monkeypatch.setattr(Among, "version", 2)
    after = values(made(paths, tmp_path / "run", 0.0, [Among()]))
    assert after == [(u, r, 2 * n) for u, r, n in before]


def test_a_file_that_has_a_column_of_a_step_s_name(tmp_path):
    """Its values are not the step's, also in rows that the step never saw."""
    from curate.sources.url_pairs import UrlPairs

    (tmp_path / "a.csv").write_text("url,text\nhttp://e.org/1,some words here\n")
    (tmp_path / "b.csv").write_text("url,text,toy_words\nhttp://e.org/2,more words here,7\nftp://x,a b c,9\n")
    recipe = Recipe(UrlPairs([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]), [ToyWords(min=3)], shards=None)
    found = (
        run(recipe, str(tmp_path / "run"), "local")
        .sql("select url, toy_words, drop_reason from images order by url")
        .fetchall()
    )
    assert found == [("ftp://x", None, "fetch:bad_url"), ("http://e.org/1", 3, None), ("http://e.org/2", 3, None)]


def test_marks_tell_values_apart():
    from curate.score.part import combine_digests, hashes

    value_digests = hashes(pa.chunked_array([["a", None, "b", "a", ""]]))
    assert value_digests[0] == value_digests[3] and value_digests[1] == 0 and len(set(value_digests.tolist())) == 4
    one, other = np.array([1, 0], np.uint64), np.array([0, 0], np.uint64)
    assert combine_digests([one, other]).tolist() != combine_digests([other, one]).tolist() and combine_digests(
        [other, other]
    ).tolist() == [0, 0]
