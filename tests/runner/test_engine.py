"""Lanes and GPUs, without Ray."""

import pytest

from curate.errors import RecipeError
from curate.runner.engine import LocalEngine, RayEngine
from curate.runner.workers import ATTEMPTS, Crash, Lane, cores, decoding, fitting, flow
from curate.score.result import TaskResult
from curate.score.target import Function, Target


def lanes(*gpus):
    return [Lane(str(i), Function(print), "model" if g else "cpu", g) for i, g in enumerate(gpus)]


@pytest.mark.parametrize(
    "gpus, total, runs",
    [
        ((1, 1), 1, [[0], [1]]),
        ((1, 0, 1), 2, [[0, 1, 2]]),
        ((0.25, 1, 0), 1, [[0], [1, 2]]),
        ((0.5, 0.5, 1), 1, [[0, 1], [2]]),
        ((1, 1), 0, [[0, 1]]),
        ((0, 0), 1, [[0, 1]]),
        ((2,), 1, [[0]]),
    ],
)
def test_models_that_do_not_fit_side_by_side_take_turns(gpus, total, runs):
    found = fitting(lanes(*gpus), total)
    assert [[int(lane.name) for lane in run] for run in found] == runs
    for run in found:
        several = [lane for lane in run if lane.gpus]
        if len(several) > 1 and total:
            assert sum(lane.gpus * lane.limit for lane in several) <= total


def test_lanes_of_one_run_share_the_gpus():
    found = fitting(lanes(1, 0.5), 4)
    assert [(lane.gpus, lane.limit) for lane in found[0]] == [(1, 3), (0.5, 2)]


class Cluster:
    """What a RayEngine asks of Ray."""

    cores = 4

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def nodes(self):
        return []


def test_calls_wait_so_that_an_autoscaler_sees_them_and_nodes_that_come_get_more():
    engine = RayEngine.__new__(RayEngine)
    engine.ray, engine.waiting = Cluster(), 2
    engine.lanes = [
        Lane("a", Function(print), "cpu", limit=engine.slots("cpu")),
        Lane("b", Function(print), "model", limit=engine.slots("model")),
    ]
    assert [lane.limit for lane in engine.lanes] == [8, 2] and engine.slots("network") == 16
    engine.ray.cores = 12
    engine._grow()
    assert [lane.limit for lane in engine.lanes] == [24, 6]


def test_tasks_left_behind_are_not_cancelled():
    """Ray kills the process that cancels a task as it ends: a stopped run would end without a word."""
    engine = RayEngine.__new__(RayEngine)
    engine.ray, engine.actors, engine.groups, engine.busy = Cluster(), [[]], {}, [set()]
    engine.running = {"a task": (0, "token", 0.0, None)}
    engine.close()
    assert engine.running == {}


class Item:
    """A part, as far as a lane is concerned."""


def test_what_is_wrong_with_the_recipe_is_not_tried_on_every_part():
    asked = []

    def target(item):
        asked.append(item)
        raise RecipeError("no such model")

    with pytest.raises(RecipeError, match="no such model"):
        flow(LocalEngine(), [Lane("a", Function(target))], [Item(), Item(), Item()])
    assert len(asked) == 1


@pytest.mark.parametrize("total", [1, 2, 3, 4, 16, 64])
@pytest.mark.parametrize("models", [1, 2, 3])
def test_every_model_asks_for_cores_and_a_task_has_room_beside_all_of_them(total, models):
    found = [Lane("task", Function(print))] + [
        Lane(str(n), Function(print), "model", limit=max(1, total // 2)) for n in range(models)
    ]
    task, *actors = cores(found, total)
    assert task > 0 and min(actors) > 0
    assert task + sum(n * lane.limit for n, lane in zip(actors, found[1:], strict=True)) <= total + 0.01
    if total in (2, 3):  # machines of one core each: an actor on each of them leaves room for a task
        assert task + actors[0] <= 1
    assert all(decoding(lane, n, total) == min(2, total) for lane, n in zip(found[1:], actors, strict=True))


@pytest.mark.parametrize("total, gpus", [(8, 1), (16, 1), (64, 8), (4, 4)])
def test_a_model_on_a_card_has_the_cores_of_the_card(total, gpus):
    """All but one task's where nothing else wants cores, else half; and a quarter of that for a quarter of a card."""
    alone, few = Lane("clip", Function(print), "model", 1, limit=gpus), Lane("nsfw", Function(print), "model", 0.25)
    assert cores([alone], total, total / gpus) == [max(1, total // gpus - 1)]
    card, task = cores([alone, Lane("fetch", Function(print), "network")], total, total / gpus)
    assert card == max(1, total / gpus // 2) and task == 1 and decoding(alone, card, total) == card
    assert cores([few, Lane("fetch", Function(print))], total, total / gpus)[0] == max(1, total / gpus // 8)


def test_a_part_skips_the_lanes_that_its_task_has_taken_it_through():
    asked = []

    def lane(name, passed=0):
        return Lane(name, Function(lambda item: asked.append((name, item)) or TaskResult("p", passed=passed)))

    assert flow(LocalEngine(), [lane("a", 1), lane("b"), lane("c")], ["one", "two"]) == []
    assert sorted(asked) == [("a", "one"), ("a", "two"), ("c", "one"), ("c", "two")]


class Dying:
    """An engine with one worker that has two calls at a time: a call for a deadly item ends it, and what else it has."""

    def __init__(self, deadly: int):
        self.deadly, self.calls, self.asked, self.dead = deadly, [], [], []

    def open(self, lanes): ...
    def close(self): ...

    def submit(self, lane, token, item):
        self.calls.append(token)
        self.asked.append((item.name, len(self.calls)))

    def next(self, timeout=None):
        if not self.dead and any(item.name == self.deadly for _, item in self.calls):
            self.dead = list(self.calls)
        token = self.calls.pop(0)
        if token in self.dead:
            self.dead.remove(token)
            return token, Crash("died")
        return token, None


class Named(Item):
    def __init__(self, name):
        self.name = name


def test_a_part_that_kills_its_worker_is_alone_in_its_last_attempts():
    """The others, which were in the worker with it, come through; after it workers have two calls again."""
    items, engine = [Named(n) for n in range(8)], Dying(3)
    failed = flow(engine, [Lane("a", Function(print), "model", together=2)], items)
    assert [item.name for _, item, _ in failed] == [3]
    assert [n for name, n in engine.asked if name == 3][-ATTEMPTS:] == [1] * ATTEMPTS
    assert {n for name, n in engine.asked if name > 4} == {2}


def test_workers_that_somebody_asks_for_are_what_there_is():
    lane = Lane("a", Function(print), "model", limit=8, workers=3)
    assert lane.limit == 3
    found = fitting([Lane("a", Function(print), "model", 1, workers=1), Lane("b", Function(print), "model", 1)], 4)
    assert [each.limit for each in found[0]] == [1, 3]


class Nodes(Cluster):
    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 16.0}}, {"Alive": False, "Resources": {"CPU": 96.0}}]


def test_a_machine_has_no_room_for_more_workers_than_somebody_asked_for():
    engine = RayEngine.__new__(RayEngine)
    engine.ray = Nodes()
    assert engine._fitted(Lane("a", Function(print), "model", per_node=2), 1.0) == 8
    assert engine._fitted(Lane("a", Function(print), "network"), 1.0) == 0.5


def test_what_cannot_be_loaded_is_told_once_also_here():
    class Broken(Target):
        def load(self):
            raise OSError(2, "No such file or directory", "/weights")

    asked = []
    with pytest.raises(RecipeError, match=r"clip: cannot be loaded: FileNotFoundError: .*/weights"):
        flow(LocalEngine(), [Lane("clip", Broken())], [Item(), Item()], lambda *seen: asked.append(seen))
    assert asked == []
