"""Flow of parts through lanes: dispatch, retries after crashes, shares of GPUs. Engines do the calls."""

import logging
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curate.errors import CurateError, RecipeError
from curate.models.files import THREADS
from curate.score.result import TaskResult
from curate.score.target import Target

log = logging.getLogger(__name__)

#: How often a call is made whose worker dies.
ATTEMPTS = 3


class Crash(CurateError):
    """The worker died or exceeded its deadline; the call has no result."""

    retry = True


@dataclass
class Lane:
    """A kind of worker. `target` is called with an item; a lane with a model keeps its target loaded in an actor."""

    name: str
    target: Target
    kind: str = "cpu"  # cpu, network or model
    gpus: float = 0
    limit: int = 1  # workers, or calls at a time where none keeps a model
    deadline: float = 3600  # seconds for one attempt
    workers: int = 0  # calls at a time that somebody asked for; 0: as many as fit
    per_node: int = 0  # of these on one machine at most; 0: as many as fit
    together: int = 1  # calls that one worker with a model takes at a time
    #: What a call with an item gets besides; None if it has to wait until another call has ended.
    besides: Callable[[Any], tuple | None] = lambda item: ()

    def __post_init__(self) -> None:
        self.limit = self.workers or self.limit

    @property
    def calls(self) -> int:
        """The concurrent calls of all workers."""
        return self.limit * self.together


def loaded(target: Target, name: str) -> Target:
    """A target with its models loaded. RecipeError if loading fails, which would happen for every part and worker."""
    try:
        return target.load()
    except Exception as e:
        cause = str(e) if isinstance(e, CurateError) else f"{type(e).__name__}: {e}"
        raise RecipeError(f"{name}: cannot be loaded: {cause}") from e


def bundles(gpus: int, cores: float) -> list[dict[str, float]]:
    """The placement group of a worker with several GPUs, one per bundle as vLLM's workers take them; the cores are in the
    first."""
    return [{"GPU": 1.0, "CPU": cores}, *({"GPU": 1.0} for _ in range(gpus - 1))]


def flow(
    engine: Any,
    lanes: list[Lane],
    items: list[Any],
    on_result: Callable[[int, Any, Any], None] = lambda lane, item, result: None,
    on_retry: Callable[[int, Any, CurateError], None] = lambda lane, item, error: None,
) -> list[tuple[int, Any, CurateError]]:
    """Take every item through every lane, later lanes first, with a bounded number waiting between them. Returns the calls that failed.

    A call is repeated if its worker crashed, or its error allows a retry. An `unfinished` result has committed what it computed:
    another call resumes from there.
    on_result: called with each result, and with (-1, None, None) about every second while nothing ends. on_retry: with each error after
    which a call is repeated.
    """
    engine.open(lanes)
    waiting = [deque(items)] + [deque() for _ in lanes[1:]]
    running = [0] * len(lanes)
    attempts = _Attempts(lanes)
    failures: list[tuple[int, Any, CurateError]] = []
    left = len(items) if lanes else 0
    try:
        while left:
            _feed(engine, lanes, waiting, running, attempts)
            ended = engine.next(timeout=1.0)
            if ended is None:
                on_result(-1, None, None)
                continue
            (lane, item), result = ended
            running[lane] -= 1
            if isinstance(result, RecipeError):
                raise result  # what is wrong with the recipe is so for every part
            if isinstance(result, CurateError) and attempts.another(lane, item, result):
                on_retry(lane, item, result)
                waiting[lane].appendleft(item)
                continue
            attempts.over(lane, item)
            if isinstance(result, CurateError):
                failures.append((lane, item, result))
                left -= 1
            elif (to := _next_lane(lane, result)) < len(lanes):
                waiting[to].insert(0 if to == lane else len(waiting[to]), item)
            else:
                left -= 1
            on_result(lane, item, result)
    finally:
        engine.close()
    return failures


def _next_lane(lane: int, result: Any) -> int:
    """The lane that an item enters after a result: the same one if it is unfinished, else the next that it has not passed."""
    if not isinstance(result, TaskResult):
        return lane + 1
    return lane if result.unfinished else lane + 1 + result.passed


class _Attempts:
    """Counts attempts of calls whose worker died. Where a worker has two calls at a time neither attempt counts, as nobody
    knows which one killed it; until both have succeeded alone, workers of the lane get one call each."""

    def __init__(self, lanes: list[Lane]):
        self.lanes = lanes
        self.made: Counter[tuple[int, int]] = Counter()
        self.paired: set[tuple[int, int]] = set()
        self.suspects: list[set[int]] = [set() for _ in lanes]

    def calls(self, lane: int) -> int:
        """The concurrent calls of a lane now."""
        return self.lanes[lane].limit if self.suspects[lane] else self.lanes[lane].calls

    def begun(self, lane: int, item: Any) -> None:
        if self.calls(lane) > self.lanes[lane].limit:
            self.paired.add((lane, id(item)))

    def another(self, lane: int, item: Any, error: CurateError) -> bool:
        """Whether to retry the call after this error."""
        key, name = (lane, id(item)), self.lanes[lane].name
        if isinstance(error, Crash) and key in self.paired:
            self.paired.remove(key)
            self.suspects[lane].add(id(item))
            log.warning("%s, part %s: %s; again, with a worker of its own", name, item, error)
            return True
        self.made[key] += 1
        if error.retry and self.made[key] < ATTEMPTS:
            log.warning("%s, part %s: %s; attempt %d of %d follows", name, item, error, self.made[key] + 1, ATTEMPTS)
            return True
        return False

    def over(self, lane: int, item: Any) -> None:
        """Forget an item that ended."""
        self.made.pop((lane, id(item)), None)
        self.paired.discard((lane, id(item)))
        self.suspects[lane].discard(id(item))


def _feed(engine: Any, lanes: list[Lane], waiting: list[deque], running: list[int], attempts: _Attempts) -> None:
    for lane in reversed(range(len(lanes))):
        later = range(lane + 1, len(lanes))
        has_room = all(len(waiting[n]) < 2 * lanes[n].calls for n in later)
        while has_room and waiting[lane] and running[lane] < attempts.calls(lane):
            item = waiting[lane][0]
            besides = lanes[lane].besides(item)
            if besides is None:
                break
            waiting[lane].popleft()
            attempts.begun(lane, item)
            engine.submit(lane, (lane, item), item, *besides)
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
    """Set the limits of lanes that share `gpus` GPUs."""
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


def model_workers(total: float, gpus: float, share: float) -> int:
    """The number of workers of a model lane: as many as fit the GPUs, or one per THREADS cores."""
    return max(1, int(gpus / share if share and gpus else total // THREADS))


def task_cores(total: float) -> float:
    """The cores that a task asks for."""
    return 1.0 if total >= FEW else 0.5


def cores(lanes: list[Lane], total: float, per_card: float = 0) -> list[float]:
    """Cores that a worker of each lane asks for, of so many; per_card: of those of a machine with GPUs, for each of them.

    A model on a GPU has decoders on the cores that come with its share of it, half of them where other lanes want cores too. Models on
    cores share what is left, and one task, whatever the actors do, has its own. An actor that asked for none would be put on a head
    that is not to work, and no autoscaler would start a machine for it.
    """
    task = task_cores(total)
    on_card = [bool(lane.gpus and per_card) for lane in lanes]
    card = per_card - task if all(on_card) else per_card / 2
    wanted = [_whole(max(task, card * lane.gpus)) if on else task for lane, on in zip(lanes, on_card)]
    others = sum(lane.limit for lane, on in zip(lanes, on_card) if lane.kind == "model" and not on)
    left = total - task - sum(n * lane.limit for n, lane, on in zip(wanted, lanes, on_card) if on)
    own = min(task, max(0.001, round(left / others, 3))) if others else task
    return [own if lane.kind == "model" and not on else n for n, lane, on in zip(wanted, lanes, on_card)]


def _whole(cores: float) -> float:
    return float(int(cores)) if cores >= 1 else cores


def decoding(lane: Lane, asked: float, total: float) -> int:
    """The pictures that a worker of a lane decodes at a time."""
    if lane.kind == "model" and asked <= 1:  # on cores, which its own threads leave while it waits for pictures
        return max(1, min(THREADS, int(total) // lane.limit))
    return max(1, int(asked))


def gpus_here() -> int:
    """NVIDIA GPUs of this machine, by its driver."""
    folder = "/proc/driver/nvidia/gpus"
    return len(os.listdir(folder)) if os.path.isdir(folder) else 0
