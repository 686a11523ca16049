"""Lanes and GPUs, without Ray."""

import pytest

from curate.errors import RecipeError
from curate.runner.engine import LocalEngine, RayEngine
from curate.runner.workers import Lane, cores, fitting, flow


def lanes(*gpus):
    return [Lane(str(i), print, "model" if g else "cpu", g) for i, g in enumerate(gpus)]


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


def test_calls_wait_so_that_an_autoscaler_sees_them_and_nodes_that_come_get_more():
    engine = RayEngine.__new__(RayEngine)
    engine.ray, engine.waiting = Cluster(), 2
    engine.lanes = [Lane("a", print, "cpu", limit=engine.slots("cpu")), Lane("b", print, "model", limit=engine.slots("model"))]
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


def test_what_is_wrong_with_the_recipe_is_not_tried_on_every_part():
    asked = []

    def target(item):
        asked.append(item)
        raise RecipeError("no such model")

    with pytest.raises(RecipeError, match="no such model"):
        flow(LocalEngine(), [Lane("a", target)], [Item(), Item(), Item()])
    assert len(asked) == 1


class Item:
    """A part, as far as a lane is concerned."""


@pytest.mark.parametrize("total", [1, 2, 3, 4, 16, 64])
@pytest.mark.parametrize("models", [1, 2, 3])
def test_every_model_asks_for_cores_and_a_task_has_room_beside_all_of_them(total, models):
    found = [Lane("task", print)] + [Lane(str(n), print, "model", limit=min(total, max(2, total // 2))) for n in range(models)]
    task, actor = cores(found, total)
    assert task > 0 and actor > 0
    assert task + actor * sum(lane.limit for lane in found[1:]) <= total + 0.01
    if total in (2, 3):  # machines of one core each: an actor on each of them leaves room for a task
        assert task + actor <= 1


def test_workers_that_somebody_asks_for_are_what_there_is():
    lane = Lane("a", print, "model", limit=8, workers=3)
    assert lane.limit == 3
    found = fitting([Lane("a", print, "model", 1, workers=1), Lane("b", print, "model", 1)], 4)
    assert [each.limit for each in found[0]] == [1, 3]


class Nodes(Cluster):
    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 16.0}}, {"Alive": False, "Resources": {"CPU": 96.0}}]


def test_a_machine_has_no_room_for_more_workers_than_somebody_asked_for():
    engine = RayEngine.__new__(RayEngine)
    engine.ray = Nodes()
    assert engine._fitted(Lane("a", print, "model", per_node=2), 1.0) == 8
    assert engine._fitted(Lane("a", print, "network"), 1.0) == 0.5


def test_what_cannot_be_loaded_is_told_once_also_here():
    class Broken:
        def load(self):
            raise OSError(2, "No such file or directory", "/weights")

    asked = []
    with pytest.raises(RecipeError, match=r"clip: cannot be loaded: FileNotFoundError: .*/weights"):
        flow(LocalEngine(), [Lane("clip", Broken())], [Item(), Item()], lambda *seen: asked.append(seen))
    assert asked == []
