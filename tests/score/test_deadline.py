"""Deadlines that nest: a part that runs out of time keeps what it has, and the next attempt goes on from there."""

import math
import time
from dataclasses import dataclass

import pytest
from toys import ToyFetch, ToyScore, recipe

from curate.fetch.stage import Fetch
from curate.recipe import Recipe
from curate.runner import driver
from curate.runner.driver import run
from curate.runner.workers import ATTEMPTS, Crash, Lane, flow
from curate.score import task
from curate.score.target import Function
from curate.sources.url_pairs import UrlPairs
from curate.upkeep.check import check

CALLS: list[int] = []


@dataclass
class Slow(ToyScore):
    """Takes a while for each chunk."""

    chunk = 16
    untracked = ("min", "max", "seconds")
    seconds: float = 0.0

    def score(self, live):
        CALLS.append(len(live))
        time.sleep(self.seconds)
        return super().score(live)


def made(inputs, out, seconds=0.0, **options):
    CALLS.clear()
    built = recipe([inputs / "b.txt"])
    built.score[-1] = Slow(name="toy_score", min=0.1, seconds=seconds)
    return run(built, str(out), engine="local", part_size=400, **options)


def commits(made):
    return [
        n
        for p in made.store.names("work/parts")
        for n in made.store.names(f"work/parts/{p}")
        if n.startswith("images.toy_score-")
    ]


def test_a_stage_slower_than_an_attempt_comes_to_its_end_and_no_row_is_computed_twice(inputs, tmp_path):
    calm = made(inputs, tmp_path / "calm")
    chunks, rows = len(CALLS), sum(CALLS)
    slow = made(inputs, tmp_path / "slow", seconds=0.05, deadline=0.25)
    assert chunks >= 7 and (len(CALLS), sum(CALLS)) == (chunks, rows)
    assert len(commits(slow)) > 2 and len(commits(calm)) == 1
    assert slow.dataset["root_hash"] == calm.dataset["root_hash"] and check(slow.store) == []
    assert slow.counters["toy_score"]["computed"] == rows and slow.recipe["retries"] == []


def stopping(self, live, score=Slow.score):
    if len(CALLS) == 6:
        raise KeyboardInterrupt
    return score(self, live)


def test_work_is_committed_from_time_to_time(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(task, "COMMIT", 0.1)
    monkeypatch.setattr(Slow, "score", stopping)
    with pytest.raises(KeyboardInterrupt):
        made(inputs, tmp_path / "run", seconds=0.06)
    monkeypatch.undo()
    again = made(inputs, tmp_path / "run")
    assert len(commits(again)) >= 3 and again.counters["toy_score"]["reused"] >= 3 * 16
    assert again.dataset["root_hash"] == made(inputs, tmp_path / "calm").dataset["root_hash"]


def test_a_stage_knows_when_its_part_is_given_up(inputs, tmp_path, monkeypatch):
    seen = []
    fetch = ToyFetch.run
    monkeypatch.setattr(
        ToyFetch,
        "run",
        lambda self, live, parcel: seen.append(self.deadline_at - time.monotonic()) or fetch(self, live, parcel),
    )
    made(inputs, tmp_path / "run", deadline=100)
    assert 70 < seen[0] < 81 and ToyFetch.deadline_at == math.inf


def test_a_fetch_that_may_take_as_long_as_its_part_ends_before_it(tmp_path, monkeypatch):
    """Its rows are late one by one, instead of all with the part."""
    (tmp_path / "p.csv").write_text("url,text\n" + "".join(f"http://127.0.0.1:9/{i},some words {i}\n" for i in range(5)))
    seen = []

    async def crawl(self, urls, receiver, seconds=None, **more):
        from curate.fetch.client import FetchResult

        seen.append(seconds)
        for url in urls:
            receiver.put_nowait(url, FetchResult("timeout"))

    monkeypatch.setattr(Fetch, "crawl", crawl)
    built = Recipe(UrlPairs([str(tmp_path / "p.csv")]), [Fetch(deadline=20, allow_private=("127.0.0.0/8",))])
    done = run(built, str(tmp_path / "run"), engine="local", deadline=20)
    assert 14 < seen[0] <= 16 and done.recipe["rows"]["images"] == {"fetch:timeout": 5} and check(done.store) == []


class Part:
    """What goes through lanes."""


class Engine:
    """Answers calls as it was told to."""

    def __init__(self, answers):
        self.answers = answers

    def open(self, lanes): ...
    def close(self): ...

    def submit(self, lane, token, *args):
        self.token = token

    def next(self, timeout=None):
        return self.token, self.answers.pop(0)


def unfinished():
    return task.TaskResult("p", unfinished=True)


def test_a_visit_that_got_on_does_not_count_as_an_attempt():
    """Ten visits that ran out of time, with a crash here and there, end well; crashes in a row do not."""
    engine = Engine(
        [unfinished(), Crash("died"), unfinished(), Crash("died"), Crash("died")] + 5 * [unfinished()] + [task.TaskResult("p")]
    )
    assert flow(engine, [Lane("a", Function(print))], [Part()]) == []
    part = Part()
    assert [f[1] for f in flow(Engine(ATTEMPTS * [Crash("died")]), [Lane("a", Function(print))], [part])] == [part]


def test_names_of_no_stage_are_refused(inputs, tmp_path):
    for options in ({"stage_workers": {"clip": 1}}, {"per_node": {"toy_half": 1}}):
        with pytest.raises(driver.RecipeError, match=r"no stage is called (clip|toy_half)"):
            made(inputs, tmp_path / "run", **options)
