"""Parts through lanes: what is called where, again after a crash, and how lanes share the GPUs. Engines do the calls."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curate.errors import CurateError, RecipeError

log = logging.getLogger(__name__)

#: How often a call is made whose worker dies.
ATTEMPTS = 3


class Crash(CurateError):
    """The worker died, or did not come back in time; nothing is known of the call but that."""


@dataclass
class Lane:
    """A kind of place. `target` is called with an item; a lane with a model keeps its target loaded, in an actor."""

    name: str
    target: Callable
    kind: str = "cpu"  # cpu, network or model
    gpus: float = 0
    limit: int = 1  # workers, or calls at a time where none keeps a model
    deadline: float = 3600  # seconds for one attempt
    workers: int = 0  # calls at a time that somebody asked for; 0: as many as fit
    per_node: int = 0  # of these on one machine at most; 0: as many as fit
    together: int = 1  # calls that one worker with a model takes at a time

    def __post_init__(self) -> None:
        self.limit = self.workers or self.limit

    @property
    def calls(self) -> int:
        """Calls at a time, of all workers."""
        return self.limit * self.together


def loaded(target: Callable, name: str) -> Callable:
    """A target with its models loaded. RecipeError if they cannot be: no other part, and no other worker, would do better."""
    if not hasattr(target, "load"):
        return target
    try:
        return target.load()
    except Exception as e:
        cause = str(e) if isinstance(e, CurateError) else f"{type(e).__name__}: {e}"
        raise RecipeError(f"{name}: cannot be loaded: {cause}") from e


def bundles(gpus: int, cores: float) -> list[dict[str, float]]:
    """The placement group of a worker with several GPUs, one a bundle as vLLM's own workers take them; its cores are in the first."""
    return [{"GPU": 1.0, "CPU": cores}, *({"GPU": 1.0} for _ in range(gpus - 1))]


def flow(
    engine: Any,
    lanes: list[Lane],
    items: list[Any],
    seen: Callable[[int, Any, Any], None] = lambda lane, item, result: None,
    again: Callable[[int, Any, CurateError], None] = lambda lane, item, error: None,
) -> list[tuple[int, Any, CurateError]]:
    """Take every item through every lane, later lanes first, a bounded number waiting between them. Returns what failed.

    A call whose worker crashed is made again; a call that raised is made again only if another worker was first. One that ran out
    of time and says so (`unfinished`) has kept what it had: another call goes on from there.
    `seen` hears each result, and (-1, None, None) about every second while nothing ends; `again` hears why a call is made again.
    """
    engine.open(lanes)
    waiting = [deque(items)] + [deque() for _ in lanes[1:]]
    running = [0] * len(lanes)
    tries: dict[tuple[int, int], int] = {}
    failures: list[tuple[int, Any, CurateError]] = []
    left = len(items) if lanes else 0
    try:
        while left:
            _feed(engine, lanes, waiting, running)
            ended = engine.next(timeout=1.0)
            if ended is None:
                seen(-1, None, None)
                continue
            (lane, item), result = ended
            running[lane] -= 1
            key = (lane, id(item))
            tries[key] = tries.get(key, 0) + 1
            if isinstance(result, RecipeError):
                raise result  # what is wrong with the recipe is so for every part
            if isinstance(result, CurateError):
                if getattr(result, "again", isinstance(result, Crash)) and tries[key] < ATTEMPTS:
                    log.warning(
                        "%s, part %s: %s; attempt %d of %d follows", lanes[lane].name, item, result, tries[key] + 1, ATTEMPTS
                    )
                    again(lane, item, result)
                    waiting[lane].appendleft(item)
                    continue
                failures.append((lane, item, result))
                left -= 1
            elif getattr(result, "unfinished", False):
                tries[key] = 0  # it got on: what came before does not count
                waiting[lane].appendleft(item)
            elif lane + 1 < len(lanes):
                waiting[lane + 1].append(item)
            else:
                left -= 1
            seen(lane, item, result)
    finally:
        engine.close()
    return failures


def _feed(engine: Any, lanes: list[Lane], waiting: list[deque], running: list[int]) -> None:
    for lane in reversed(range(len(lanes))):
        ahead = len(waiting[lane + 1]) if lane + 1 < len(lanes) else 0
        room = 2 * lanes[lane + 1].calls if lane + 1 < len(lanes) else 1
        while waiting[lane] and running[lane] < lanes[lane].calls and ahead < room:
            item = waiting[lane].popleft()
            engine.submit(lane, (lane, item), item)
            running[lane] += 1


# ---- who gets what


def fitting(lanes: list[Lane], gpus: float) -> list[list[Lane]]:
    """Lanes cut into runs that fit so many GPUs: an actor keeps its share of one until its run has ended. Lanes of one run have an
    actor each, and then in turn as many as fit."""
    runs: list[list[Lane]] = [[]]
    for lane in lanes:
        if lane.gpus and sum(each.gpus for each in [*runs[-1], lane]) > gpus > 0 and any(each.gpus for each in runs[-1]):
            runs.append([])
        runs[-1].append(lane)
    for run in runs:
        _share([lane for lane in run if lane.gpus], gpus)
    return runs


def _share(lanes: list[Lane], total: float) -> None:
    """Set the limits of lanes that share so many GPUs."""
    if len(lanes) < 2 or not total:
        return
    for lane in lanes:
        lane.limit = 1
    left, more = total - sum(lane.gpus for lane in lanes), True
    while more:
        more = False
        for lane in lanes:
            if lane.gpus <= left + 1e-9 and not (lane.workers and lane.limit >= lane.workers):
                lane.limit, left, more = lane.limit + 1, left - lane.gpus, True


#: Below so many cores in all a task asks for half of one, and an actor for no more: machines may have one core each.
FEW = 4


def cores(lanes: list[Lane], total: int) -> tuple[float, float]:
    """Cores that a task asks for, and that an actor with a model asks for, where lanes share so many: all actors have theirs, and one
    task, whatever the actors do, has its own. An actor that asked for none would be put on a head that is not to work, and no
    autoscaler would start a machine for it."""
    most = 1.0 if total >= FEW else 0.5
    actors = sum(lane.limit for lane in lanes if lane.kind == "model")
    return most, min(most, round((total - most) / actors, 3)) if actors else most
