"""Lanes and GPUs, without Ray."""

import pytest

from curate.errors import RecipeError
from curate.runner.engine import LocalEngine, RayEngine
from curate.runner.workers import Lane, fitting, flow


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
    engine.ray, engine.actors, engine.busy = Cluster(), [[]], [set()]
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
