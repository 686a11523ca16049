"""Runs of stages that ask a model: committed as answers come, within a budget, through kills and stalls, and nothing asked twice."""

import asyncio
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synth.test_endpoint import GOOD, Server

import curate
from curate.errors import CurateError
from curate.recipe import Recipe
from curate.runner import engine as engines
from curate.runner.local import LocalEngine
from curate.sources.url_pairs import UrlPairs
from curate.synth.caption import Rewrite
from curate.synth.captioners import Answer, Decoding, PendingRequest, RequestLoop, Writer, named
from curate.synth.model_stage import ModelStage
from curate.view.progress import Quiet


@dataclass
class Steady(Writer):
    """Answers every request after `seconds` with ten tokens; a cost of one for each where `priced`."""

    engine = "steady"
    gpus = 0
    seconds: float = 0.0
    priced: bool = False

    def load(self):
        self.asked = getattr(self, "asked", [])
        self.at_work = self.most = 0

    async def answer(self, request, decoding):
        self.asked.append(request.text)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        await asyncio.sleep(self.seconds)
        self.at_work -= 1
        return Answer(f"said {request.text}", "stop", 6, 4, 1.0 if self.priced else None)


def pairs(folder: Path, count: int) -> str:
    file = folder / "pairs.parquet"
    pq.write_table(
        pa.table({"url": [f"http://a.example/{i}" for i in range(count)], "text": [f"text {i}" for i in range(count)]}), file
    )
    return str(file)


def recipe(file: str, by: Writer) -> Recipe:
    stage = Rewrite(by, prompt="say {text}", name="said")
    return Recipe(UrlPairs(file, url="url", text="text"), score=[stage], shards=None, name="flow")


def ends(made) -> dict[str, int]:
    return dict(made.sql("select caption_said_made.finish, count(*) from images group by all").fetchall())


def test_a_cap_ends_the_run_well_and_a_larger_one_asks_for_the_rest(tmp_path):
    file, out = pairs(tmp_path, 120), str(tmp_path / "run")
    first, second = Steady(), Steady()
    made = curate.run(recipe(file, first), out, "local", part_size=40, max_tokens=300)
    found = ends(made)
    # Beyond the cap by an answer of each part under way at most.
    assert sum(found.values()) == 120 and 25 <= found["stop"] <= 32 and len(first.asked) == found["stop"]
    assert made.recipe["spent"]["tokens"] == 10 * found["stop"] and made.recipe["spent"]["over_budget"] == found["over_budget"]
    assert made.sql("select count(*) from images where kept and caption_said is null").fetchall() == [(found["over_budget"],)]
    again = curate.run(recipe(file, second), out, "local", part_size=40, max_tokens=600)
    assert 55 <= ends(again)["stop"] <= 62
    assert ends(curate.run(recipe(file, second), out, "local", part_size=40)) == {"stop": 120}
    assert len(set(first.asked + second.asked)) == len(first.asked + second.asked) == 120


def test_a_cap_on_cost_counts_the_prices(tmp_path):
    made = curate.run(
        recipe(pairs(tmp_path, 60), Steady(priced=True)), str(tmp_path / "run"), "local", part_size=30, max_cost=20
    )
    assert 15 <= ends(made)["stop"] <= 22 and made.recipe["spent"]["cost"] == ends(made)["stop"]


def test_what_streams_has_no_deadline_for_a_part(tmp_path, monkeypatch):
    lanes = []

    class PreparedImage(LocalEngine):
        def open(self, opened):
            lanes.extend(opened)
            super().open(opened)

    monkeypatch.setattr(engines, "LocalEngine", PreparedImage)
    by = Steady(seconds=0.05)
    made = curate.run(recipe(pairs(tmp_path, 40), by), str(tmp_path / "run"), "local", part_size=10, deadline=0.01)
    assert ends(made) == {"stop": 40} and len(by.asked) == 40
    assert [lane.deadline for lane in lanes if getattr(lane.target, "streams", False)] == [math.inf]


@dataclass
class Silent(Steady):
    async def answer(self, request, decoding):
        self.asked.append(request.text)
        await asyncio.sleep(60)


def test_a_stalled_engine_is_found_by_its_silence(tmp_path):
    with pytest.raises(CurateError, match=r"no answer for 0 s"):
        curate.run(recipe(pairs(tmp_path, 5), Silent(silence=0.1)), str(tmp_path / "run"), "local")


def test_a_row_has_a_deadline_of_its_own():
    by = Silent(deadline=0.05)
    by.load()
    with RequestLoop(by, Decoding()) as asking:
        assert [got.answer.finish for got in asking.answers([PendingRequest(0, ("a",), 0)])] == ["late"]


def test_no_more_is_read_than_there_is_room_for():
    read, by = [], Steady(seconds=0.01)
    by.load()

    def wanted():
        for i in range(400):
            read.append(i)
            yield PendingRequest(i, (f"{i}",), i)

    with RequestLoop(by, Decoding()) as asking:
        for n, _ in enumerate(asking.answers(wanted())):
            assert len(read) - n <= asking.ahead + 1
    assert by.most == by.room == 16 and len(by.asked) == 400


RUN = """
import sys
sys.path[:0] = {path!r}
import curate
from synth.test_flow import recipe
from curate.synth.captioners import named
curate.run(recipe({file!r}, named({by!r})), {out!r}, "local", part_size=2000)
"""


def test_a_killed_run_asks_again_for_a_chunk_at_most(tmp_path):
    file, out, count = pairs(tmp_path, 1000), str(tmp_path / "run"), 1000
    with Server(GOOD) as server:
        by = f"{server.url}#m?at_once=16"
        text = RUN.format(path=[p for p in sys.path if p], file=file, out=out, by=by)
        child = subprocess.Popen([sys.executable, "-c", text], env={**os.environ, "CURATE_CACHE": str(tmp_path / "lost")})
        try:
            until = time.monotonic() + 120
            while len(server.asked) < 400 and child.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
        finally:
            child.kill()
            child.wait()
        before = len(server.asked)
        os.environ["CURATE_CACHE"] = str(tmp_path / "kept")
        made = curate.run(recipe(file, named(by)), out, "local", part_size=2000)
        assert 400 <= before < count and ends(made) == {"stop": count}
        texts = Counter(body["messages"][0]["content"][0]["text"] for body in server.asked)
    assert len(texts) == count and max(texts.values()) <= 2
    assert len(server.asked) - count <= ModelStage.chunk + 16 + 8


def test_answers_of_servers_side_by_side_and_of_one_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "kept"))
    with Server(GOOD) as one, Server(GOOD) as two, Server(GOOD) as gone:
        gone.shutdown(), gone.server_close()
        by = named(f"{one.url},{two.url},{gone.url}#m")
        made = curate.run(recipe(pairs(tmp_path, 200), by), str(tmp_path / "run"), "local", part_size=200)
        assert ends(made) == {"stop": 200}
        assert len(one.asked) + len(two.asked) == 200 and min(len(one.asked), len(two.asked)) > 40


def test_a_writer_that_was_used_goes_to_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "kept"))
    with Server(GOOD) as server:
        made = recipe(pairs(tmp_path, 3), named(f"{server.url}#m"))
        curate.run(made, str(tmp_path / "run"), "local")
        stage = pickle.loads(pickle.dumps(made.score[0]))
        assert vars(stage.by) == vars(named(f"{server.url}#m")) and stage.identity() == made.score[0].identity()


def test_an_interrupt_ends_a_run_whose_model_is_at_work(tmp_path):
    stop = threading.Event()

    class Interrupted(Rewrite):
        def contents(self, live):
            stop.set()
            return super().contents(live)

    class Progress(Quiet):
        def step(self, *_):
            if stop.is_set():
                raise KeyboardInterrupt

    made = recipe(pairs(tmp_path, 50), Silent())
    made.score[0].__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        curate.run(made, str(tmp_path / "run"), "local", progress=Progress())
