"""The same bytes in, the same root hash out: 1, 2 and 8 workers, both engines, any order of completion, a node that dies."""

import random
import threading
import time
from dataclasses import dataclass
from functools import partial

import pytest
from toys import ToyScore, ToyWords, recipe

from curate.runner import ray_token
from curate.runner.driver import Driver
from curate.runner.engine import LocalEngine, RayEngine
from curate.runner.workers import Lane
from curate.score.target import Function
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.view.progress import Quiet


class Shuffled(LocalEngine):
    """Calls end in an order drawn with a seed, and maps do their work in another order than they hand it back."""

    def __init__(self, seed: int, workers: int):
        super().__init__()
        self.dice, self.workers = random.Random(seed), workers

    def slots(self, kind, gpus=0):
        return self.workers

    def next(self, timeout=None):
        self.waiting.rotate(self.dice.randrange(len(self.waiting)) if self.waiting else 0)
        return super().next(timeout)

    def map(self, function, items):
        items = list(items)
        order = self.dice.sample(range(len(items)), len(items))
        done = {i: function(items[i]) for i in order}
        return iter([done[i] for i in range(len(items))])


@dataclass
class SlowWords(ToyWords):
    """Takes its time on a core, so that both nodes are at work when one dies."""

    def score(self, live):
        time.sleep(1.0)
        return super().score(live)


def drive(built, out, engine):
    built.check()
    engine.ship_user_code([built.source, *built.steps])
    return Driver(built, Store(str(out)), engine, 100, False, Quiet(), None).run()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    for name, rows in (("a.txt", 500), ("b.txt", 300)):
        (folder / name).write_text(str(rows))
    return folder


@pytest.fixture(scope="module")
def golden(pool, tmp_path_factory):
    return drive(recipe([pool / "*.txt"]), tmp_path_factory.mktemp("golden") / "run", LocalEngine()).dataset["root_hash"]


@pytest.mark.parametrize("rows", [7, 1000])
def test_any_number_of_rows_of_a_call(pool, golden, tmp_path, monkeypatch, rows):
    sizes = []
    score = ToyScore.score
    monkeypatch.setattr(ToyScore, "chunk", rows)
    monkeypatch.setattr(ToyScore, "score", lambda self, live: sizes.append(len(live)) or score(self, live))
    assert drive(recipe([pool / "*.txt"]), tmp_path / "run", LocalEngine()).dataset["root_hash"] == golden
    assert (max(sizes) == 7) == (rows == 7) and max(sizes) > 6


@pytest.mark.parametrize(("workers", "seed"), [(1, 1), (2, 2), (8, 3)])
def test_any_number_of_workers_and_any_order_on_the_local_engine(pool, golden, tmp_path, workers, seed):
    made = drive(recipe([pool / "*.txt"]), tmp_path / "run", Shuffled(seed, workers))
    assert made.dataset["root_hash"] == golden, seed


@pytest.mark.parametrize("workers", [1, 8])  # 2 in test_ray.py
def test_any_number_of_workers_on_ray(pool, golden, tmp_path, workers):
    engine = RayEngine(workers=workers)
    try:
        assert drive(recipe([pool / "*.txt"]), tmp_path / "run", engine).dataset["root_hash"] == golden
    finally:
        engine.shutdown()


def test_a_node_that_dies_in_the_middle_costs_attempts_and_no_row(pool, golden, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    monkeypatch.setenv("RAY_health_check_timeout_ms", "5000")
    ray_token.before_start()  # of a cluster that is joined
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    engine = RayEngine(address=cluster.address)
    assert engine.workers == 2
    built = recipe([pool / "*.txt"])
    built.score[0] = SlowWords(name="toy_words", min=3)
    killer = threading.Thread(target=partial(_kill_at_work, cluster, second, tmp_path / "run"))
    killer.start()
    try:
        made = drive(built, tmp_path / "run", engine)
    finally:
        killer.join(60)
        engine.shutdown()
        cluster.shutdown()
    assert made.dataset["root_hash"] == golden
    assert check(made.store) == []
    assert made.sql("select count(*) from images").fetchall() == [(800,)]
    assert all("died" in r["error"] for r in made.recipe["retries"])


def _ticks(path) -> None:
    for _ in range(600):
        with open(path, "a") as f:
            f.write("tick\n")
        time.sleep(0.1)


def test_a_cluster_has_no_work_left_when_the_run_that_gave_it_has_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    ray_token.before_start()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        engine = RayEngine(address=cluster.address)
        lanes, ticks = [Lane("ticks", Function(_ticks))], tmp_path / "ticks"
        engine.ship_user_code(lanes)
        engine.open(lanes)
        engine.submit(0, "token", str(ticks))
        waited(lambda: ticks.exists())
        engine.shutdown()  # what a run does when it is stopped
        waited(lambda: time.time() - ticks.stat().st_mtime > 3)
        assert len(ticks.read_text().splitlines()) < 500
    finally:
        cluster.shutdown()


def waited(so) -> None:
    deadline = time.monotonic() + 45
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _kill_at_work(cluster, node, run) -> None:
    """Let the node die when two parts are through: each node has the next one in hand."""
    until = time.monotonic() + 60
    while time.monotonic() < until and len(list(run.glob("work/parts/*/images.toy_words-*"))) < 2:
        time.sleep(0.05)
    time.sleep(0.3)
    cluster.remove_node(node, allow_graceful=False)
