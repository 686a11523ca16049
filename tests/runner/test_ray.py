"""The same runs on Ray: the same bytes, a crash costs an attempt, a poisoned part is an error with a name."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import growing
import pytest
import stand_in
from small_run import small_run
from toys import ToyScore, recipe

from curate.errors import CurateError, PoolError, RecipeError
from curate.runner.driver import Driver, run
from curate.runner.engine import RayEngine
from curate.runner.workers import Lane, flow
from curate.score.target import Function
from curate.shard.containers.annotations import Annotations
from curate.shard.containers.base import convert
from curate.shard.containers.huggingface import HuggingFace
from curate.shard.containers.lance import Lance
from curate.shard.containers.mds import Mds
from curate.shard.containers.webdataset import IndexedWebDataset
from curate.store.atomic import Store
from curate.store.releases import opened
from curate.view.progress import Quiet
from tests.dedup import test_dedup_run


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


def drive(made, out, engine, part_size=250, **options):
    made.check()
    engine.ship_user_code([made.source, *made.steps])
    return Driver(made, Store(str(out)), engine, part_size, False, Quiet(), None, **options).run()


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


@pytest.mark.parametrize(
    "container", [IndexedWebDataset(), Mds(), HuggingFace(), Annotations(), Lance()], ids=lambda c: type(c).__name__
)
def test_a_container_written_on_ray_is_the_same(tmp_path, ray_engine, container):
    store, columns = small_run(tmp_path / "run"), ("score", "vector") if isinstance(container, Annotations) else ()
    for name, run_map in (("local", map), ("ray", ray_engine.map)):
        assert convert(store, store.json("dataset.json"), container, str(tmp_path / name), run_map, columns) == 30
    local, on_ray = ({p.relative_to(tmp_path / n): p.read_bytes() for p in written(tmp_path / n)} for n in ("local", "ray"))
    assert len(local) >= 4 and local == on_ray


def written(folder: Path) -> list[Path]:
    """The files of a container, but Lance's manifest and transaction, which have the time in them."""
    return [p for p in folder.rglob("*") if p.is_file() and not p.parent.name.startswith("_")]


def test_a_release_made_onto_another_is_the_same(tmp_path, ray_engine):
    folder = growing.write_inputs(tmp_path)
    growing.release(folder, 1)
    local, out = growing.release(folder, 2), folder / "on_ray"
    onto = opened(Store(out), [Store(folder / "r1")])
    on_ray = drive(growing.recipe(f"{folder}/2.json"), out, ray_engine, part_size=40, releases=onto)
    assert on_ray.dataset["chain_hash"] == local.dataset["chain_hash"]


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
    ray_engine.ship_user_code([Lane("", Function(_first_dies))])
    assert list(ray_engine.map(_first_dies, items)) == [n * n for n in range(6)] and (tmp_path / "mark").exists()


# ---- models


def test_a_model_hardly_waits_for_pictures(tmp_path, ray_engine):
    """Two parts at a time go to the one worker on two cores: one is read and decoded while the model is at work for the other."""
    made = stand_in.recipe(stand_in.pool(tmp_path / "pool"))
    found = drive(made, tmp_path / "run", ray_engine, part_size=128)
    pace = found.recipe["counters"]["stand_in"]
    assert stand_in.busy(found) > 0.7 and (pace["computed"], pace["batch"], pace["cores"]) == (512, 64, 2)


@dataclass
class Loads(ToyScore):
    """Notes each time it is loaded, in a file of its own; `cause`: why it cannot be."""

    marks: str = ""
    cause: str = ""
    min: float | None = 0.0

    def load(self):
        super().load()
        Path(self.marks, f"{os.getpid()}-{time.monotonic_ns()}").touch()
        if self.cause:
            raise PoolError(self.cause) if "weights" in self.cause else ValueError(self.cause)


@dataclass
class LoadsForTheNetwork(Loads):
    network = True


@pytest.fixture
def marks(tmp_path):
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.mark.parametrize("kind", [Loads, LoadsForTheNetwork])
@pytest.mark.parametrize("cause", ["no weights at /nowhere", "a shape is wrong"])
def test_a_model_that_cannot_be_loaded_ends_the_run_with_its_own_error_once(inputs, tmp_path, ray_engine, marks, kind, cause):
    failing = recipe([inputs / "*.txt"], extra=[kind(name="loads", marks=str(marks), cause=cause)])
    with pytest.raises(RecipeError, match=f"loads: cannot be loaded: .*{cause}$"):
        drive(failing, tmp_path / "run", ray_engine, 100)
    assert len(list(marks.iterdir())) <= 4  # no attempt follows; what was under way beside it may have been


def test_models_are_loaded_in_every_lane_and_not_at_all_where_all_columns_exist(inputs, tmp_path, ray_engine, marks):
    steps = [Loads(name="one", marks=str(marks)), LoadsForTheNetwork(name="two", marks=str(marks))]
    made = drive(recipe([inputs / "b.txt"], extra=steps), tmp_path / "run", ray_engine, 100)
    assert made.counters["one"]["computed"] == made.counters["two"]["computed"] > 0 and len(list(marks.iterdir())) >= 2
    for mark in marks.iterdir():
        mark.unlink()
    made.store.remove("SHA256SUMS")
    again = drive(recipe([inputs / "b.txt"], extra=steps[:1], score=0.3), tmp_path / "run", ray_engine, 100)
    assert again.counters["one"]["computed"] == 0 < again.counters["one"]["reused"] and list(marks.iterdir()) == []


@dataclass
class Slow(ToyScore):
    chunk = 16
    untracked = ("min", "max", "seconds")
    seconds: float = 0.3

    def score(self, live):
        time.sleep(self.seconds)
        return super().score(live)


def test_a_stage_slower_than_an_attempt_comes_to_its_end(inputs, tmp_path, ray_engine):
    slow = recipe([inputs / "b.txt"])
    slow.score[-1] = Slow(name="toy_score", min=0.2)
    made = drive(slow, tmp_path / "run", ray_engine, 400, deadline=3)
    assert made.recipe["retries"] == []
    assert (
        made.dataset["root_hash"]
        == run(recipe([inputs / "b.txt"]), str(tmp_path / "l"), "local", part_size=400).dataset["root_hash"]
    )


# ---- deadlines, and who waits for whom


def _first_hangs(item):
    number, mark, seconds = item
    if number == 1 and not os.path.exists(mark):
        Path(mark).touch()
        time.sleep(60)
    time.sleep(seconds)
    return number


def test_a_call_that_hangs_is_ended_and_one_that_waits_for_a_core_is_not(tmp_path, ray_engine):
    ray_engine.ship_user_code([Lane("", Function(_first_hangs))])
    said, found = [], []
    items = [(n, str(tmp_path / "mark"), 0.9) for n in range(6)]
    lanes = [
        Lane("waits", Function(_first_hangs), limit=6, deadline=2)
    ]  # on two cores the last has to wait for longer than that
    began = time.monotonic()
    failures = flow(
        ray_engine, lanes, items, lambda lane, item, result: found.append(result), lambda *why: said.append(str(why[2]))
    )
    assert failures == [] and sorted(f for f in found if f is not None) == list(range(6))
    assert said == ["waits: not back after 2 s; --deadline SECONDS gives it more time"] and time.monotonic() - began < 30


def test_a_call_of_a_map_that_hangs_is_ended_too(tmp_path, ray_engine, monkeypatch):
    monkeypatch.setattr(ray_engine, "deadline", 2.0)
    assert list(ray_engine.map(_first_hangs, [(n, str(tmp_path / "mark"), 0) for n in range(4)])) == [0, 1, 2, 3]


def _first_is_slow(item):
    number, folder = item
    if number == 0:
        until = time.monotonic() + 30
        while len(os.listdir(folder)) < 20 and time.monotonic() < until:
            time.sleep(0.05)
        return len(os.listdir(folder))
    Path(folder, str(number)).touch()
    return number


def test_a_map_is_not_held_up_by_the_first_in_line(ray_engine, marks):
    ray_engine.ship_user_code([Lane("", Function(_first_is_slow))])
    found = list(ray_engine.map(_first_is_slow, [(n, str(marks)) for n in range(40)]))
    assert found[0] >= 20 and found[1:] == list(range(1, 40))  # it waited for twenty of those behind it


def _fails(item):
    if item == 3:
        raise PoolError("row 3 is wrong")
    return item


def test_an_error_in_a_map_comes_in_its_place(ray_engine):
    ray_engine.ship_user_code([Lane("", Function(_fails))])
    found = ray_engine.map(_fails, range(6))
    assert [next(found), next(found), next(found)] == [0, 1, 2]
    with pytest.raises(PoolError, match="row 3 is wrong"):
        next(found)
