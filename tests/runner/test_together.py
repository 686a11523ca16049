"""Lanes whose workers take several calls at a time: the calls overlap on the local engine, and a broken target is opened again."""

import threading

from curate.errors import CurateError
from curate.runner.local import LocalEngine
from curate.runner.workers import Lane, bundles, flow
from curate.score.target import Function, Target


class Meets(Target):
    """Ends only when two calls are under way."""

    def __init__(self):
        self.both, self.closed = threading.Barrier(2), 0

    def __call__(self, item):
        self.both.wait(10)
        return item

    def close(self):
        self.closed += 1


def test_two_calls_of_one_worker_are_under_way_together():
    target, ended = Meets(), []
    failures = flow(
        LocalEngine(), [Lane("a", target, "model", together=2)], [1, 2, 3, 4], lambda at, item, found: ended.append(item)
    )
    assert not failures and sorted(i for i in ended if i) == [1, 2, 3, 4] and target.closed == 1


def test_a_cheap_lane_works_while_the_other_waits():
    gate = threading.Event()
    waits = Lane("waits", Function(lambda item: gate.wait(10)), "model", together=2)
    assert not flow(LocalEngine(), [waits, Lane("cheap", Function(lambda item: item))], [1, 2], lambda *_: gate.set())


class Stuck(CurateError):
    retry = broken = True


class SticksOnce(Target):
    def __init__(self):
        self.calls = self.closed = 0

    def __call__(self, item):
        self.calls += 1
        if self.calls == 1:
            raise Stuck("no answer")
        return item

    def close(self):
        self.closed += 1


def test_a_broken_target_is_closed_and_tried_again():
    target = SticksOnce()
    assert not flow(LocalEngine(), [Lane("a", target, "model", together=2)], [1])
    assert (target.calls, target.closed) == (2, 2)


def test_a_worker_of_four_gpus_has_a_bundle_for_each_and_its_cores_with_the_first():
    assert bundles(4, 0.5) == [{"GPU": 1.0, "CPU": 0.5}, {"GPU": 1.0}, {"GPU": 1.0}, {"GPU": 1.0}]
