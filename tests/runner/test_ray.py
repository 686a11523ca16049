"""The same runs on Ray: the same bytes, a crash costs an attempt, a poisoned part is an error with a name."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from toys import ToyScore, recipe

from curate.errors import CurateError
from curate.fetch.stage import Fetch
from curate.recipe import Recipe
from curate.runner.driver import Driver, run
from curate.runner.engine import RayEngine
from curate.runner.workers import Lane
from curate.sources.webdataset import WebDataset
from curate.store.atomic import Store
from curate.synth.caption import Caption
from curate.synth.captioners.endpoint import Endpoint
from curate.view.progress import Quiet
from tests.dedup import test_dedup_run
from tests.synth.test_endpoint import GOOD, Server


@pytest.fixture(scope="module")
def ray_engine():
    engine = RayEngine(workers=2)
    yield engine
    engine.shutdown()


@dataclass
class Dies(ToyScore):
    """Kills its worker the first time it sees a part."""

    marks: str = ""
    always: bool = False

    def score(self, live):
        mark = Path(self.marks) / live["uid"][0].as_py()
        if self.always or not mark.exists():
            mark.touch()
            os._exit(1)
        return super().score(live)


def drive(made, out, engine, part_size=250):
    made.check()
    engine.carry([made.source, *made.steps])
    return Driver(made, Store(str(out)), engine, part_size, False, Quiet(), None).run()


def test_ray_and_local_make_the_same_bytes(inputs, tmp_path, ray_engine):
    local = run(recipe([inputs / "*.txt"]), str(tmp_path / "local"), engine="local", part_size=250)
    on_ray = drive(recipe([inputs / "*.txt"]), tmp_path / "ray", ray_engine)
    assert local.dataset["root_hash"] == on_ray.dataset["root_hash"]
    assert local.counters.keys() == on_ray.counters.keys()


def test_the_same_rows_fall_as_duplicates(tmp_path, ray_engine):
    paths = test_dedup_run.two_tars(tmp_path)
    local = run(test_dedup_run.recipe(paths), str(tmp_path / "local"), engine="local", part_size=6)
    on_ray = drive(test_dedup_run.recipe(paths), tmp_path / "ray", ray_engine, part_size=6)
    asked = "select uid, survivor, step, similarity from edges order by all"
    assert (
        on_ray.sql(asked).fetchall() == local.sql(asked).fetchall()
        and on_ray.dataset["root_hash"] == local.dataset["root_hash"]
    )


def test_a_worker_that_dies_costs_an_attempt_and_no_row(inputs, tmp_path, ray_engine):
    (tmp_path / "marks").mkdir()
    dying = recipe([inputs / "b.txt"], extra=[Dies(name="dies", min=0.0, marks=str(tmp_path / "marks"))])
    made = drive(dying, tmp_path / "run", ray_engine)
    assert made.sql("select count(*) from images").fetchall() == [(400,)]
    assert made.sql("select count(*) from images where kept").fetchall()[0][0] > 0
    assert len(list((tmp_path / "marks").iterdir())) >= 2


def test_a_part_that_kills_every_worker_is_an_error_that_names_the_stage(inputs, tmp_path, ray_engine):
    (tmp_path / "marks").mkdir()
    deadly = recipe([inputs / "b.txt"], extra=[Dies(name="dies", marks=str(tmp_path / "marks"), always=True)])
    with pytest.raises(CurateError, match="dies: the worker died"):
        drive(deadly, tmp_path / "run", ray_engine)


def _first_dies(item):
    number, mark = item
    if number == 1 and not os.path.exists(mark):
        Path(mark).touch()
        os._exit(1)
    return number * number


def test_a_worker_that_dies_outside_the_stages_costs_an_attempt(tmp_path, ray_engine):
    """Gathering, the ledger, shards and the tasks of selectors."""
    items = [(n, str(tmp_path / "mark")) for n in range(6)]
    ray_engine.carry([Lane("", _first_dies)])
    assert list(ray_engine.map(_first_dies, items)) == [n * n for n in range(6)] and (tmp_path / "mark").exists()


def test_captions_through_an_endpoint(tmp_path, ray_engine):
    """A stage that waits on a server is no actor: its tasks load it."""
    with Server(GOOD) as server:
        captions = Caption(Endpoint("m", url=server.url, cache=str(tmp_path / "kept")), name="caption_x")
        made = Recipe(WebDataset(test_dedup_run.two_tars(tmp_path)), [Fetch()], synth=[captions])
        found = drive(made, tmp_path / "ray", ray_engine, part_size=6)
        assert found.sql("select distinct caption_x, caption_x_made.finish from images where kept").fetchall() == [
            ("a dog", "stop")
        ]
        assert len(server.asked) == found.dataset["samples"] > 6
