"""The engine on Ray. The only file that imports ray.

An engine takes calls into lanes and hands back results as they end. A lane is a kind of place: a core, a wait on the
network, a model in an actor. Both engines run the same calls, so both write the same bytes.
"""

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from curate.errors import CurateError, PartError, RecipeError
from curate.runner import ray_token
from curate.runner.calls import Keeper, Nothing, call
from curate.runner.local import LocalEngine
from curate.runner.mapping import Mapping
from curate.runner.workers import Crash, Lane, bundles, cores, decoding, fitting, model_workers, task_cores
from curate.score.notes import Note, Notes

log = logging.getLogger(__name__)

#: How many times the calls under way a `map` goes on behind a call that takes long.
AHEAD = 16


#: A call's turn at an actor, (place, which of the calls that it takes together), and the actor.
_Turn = tuple[tuple[int, int], Any]


class RayEngine:
    """Ray Core: tasks for what needs a core, actors for what keeps a model. Retries are the caller's, never Ray's.

    A worker ends itself when a call takes longer than the deadline. A call that waits for a core, however long, is not late; only
    where for half as long again nothing has come back at all is it taken for lost.
    """

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        local = address in (None, "local")
        if local:  # every socket stays on loopback; a cluster of several machines is started by its owner
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: they starve where anything else runs
            ray_token.before_start()
        else:
            ray_token.before_join(address)
        import ray

        self.ray = ray
        options = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False, "namespace": "curate"}
        try:
            if local:
                ray.init(address="local", num_cpus=workers or os.cpu_count(), include_dashboard=False, **options)
            else:
                ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError) as e:
            raise RecipeError(f"Ray cannot be reached at {address}: {e}") from e
        self.local = local
        self.asked: Any = None  # notes that are on their way
        self.deadline = 3600.0  # seconds for a call of `map`
        self.waiting = 1 if local else 2  # calls for each core: an autoscaler starts nodes for those that wait
        self.actors: list[list[Any]] = []
        self.running: dict[Any, tuple[int, Any, tuple, float, _Turn | None]] = {}
        self.groups: dict[tuple[int, int], Any] = {}

    @property
    def workers(self) -> int:
        """The number of cores of the cluster now."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    @property
    def gpus(self) -> float:
        """The number of GPUs of the cluster now."""
        return self.ray.cluster_resources().get("GPU", 0.0)

    def slots(self, kind: str, gpus: float = 0) -> int:
        """The concurrent calls of a kind of lane: cores, two per core for network waits, or model actors."""
        if kind == "model":
            return model_workers(self.workers, self.gpus, gpus)
        return self.waiting * self.workers * (2 if kind == "network" else 1)

    def together(self, lanes: list[Lane]) -> list[list[Lane]]:
        """Cut lanes into runs that each fit the GPUs."""
        return fitting(lanes, self.gpus)

    def ship_user_code(self, things: Iterable[object]) -> None:
        """Ship the classes of these objects and of their parameters by value where workers cannot import them: those of recipe
        files and notebooks."""
        modules = {getattr(v, "__module__", None) for t in things for v in (t, *vars(t).values())}
        for module in {sys.modules[name] for name in modules & sys.modules.keys()}:
            file = getattr(module, "__file__", None)
            if file and module.__name__.split(".")[0] != "curate" and "site-packages" not in file:
                self.ray.cloudpickle.register_pickle_by_value(module)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The counters that Ray's agent serves to Prometheus: ray_curate_rows_total, ray_curate_seconds_total,
        ray_curate_bytes_total."""
        from ray.util.metrics import Counter

        return {
            "computed": Counter("curate_rows", "Rows computed", ("stage",)),
            "seconds": Counter("curate_seconds", "Seconds of workers", ("stage",)),
            "bytes": Counter("curate_bytes", "Bytes stored", ()),
        }

    def count(self, done: Any) -> None:
        """Count the result of a task."""
        for what in ("computed", "seconds"):
            for stage, n in getattr(done, what).items():
                if n > 0:
                    self.metrics[what].inc(n, {"stage": stage})
        if done.bytes > 0:
            self.metrics["bytes"].inc(done.bytes)

    @cached_property
    def note(self) -> "Post":
        """The function by which tasks report progress; it posts to an actor."""
        return Post(self.ray.remote(max_restarts=0)(Notes).options(num_cpus=0).remote())

    def notes(self) -> list[Note]:
        """The progress notes since the last call; none while the actor does not answer."""
        if "note" not in vars(self):
            return []
        try:
            self.asked = self.asked or self.note.actor.take.remote()
            ready, _ = self.ray.wait([self.asked], timeout=0.2)
            if not ready:
                return []
            self.asked = None
            return self.ray.get(ready[0])
        except self.ray.exceptions.RayError:  # a display can do without
            return []

    def open(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.running = {}
        self.looked = self.heard = time.monotonic()
        self.opened_with = self.workers
        self.actors = [[] for _ in lanes]
        self.groups = {}  # placement groups, by lane and actor
        self.busy: list[set[tuple[int, int]]] = [set() for _ in lanes]  # turns at actors
        shares = cores(lanes, self.workers, self._per_card())
        self.cores = [self._fitted(lane, share) for lane, share in zip(lanes, shares)]
        for lane, share in zip(lanes, shares):
            lane.target.cores = decoding(lane, share, self.workers)
        self.task = self.ray.remote(max_retries=0, max_calls=0)(call)
        self.targets = [self.ray.put(lane.target) for lane in lanes]

    def _per_card(self) -> float:
        """The cores per GPU on the GPU machine that has the fewest."""
        found = [n["Resources"] for n in self.ray.nodes() if n["Alive"] and n["Resources"].get("GPU")] if self.gpus else []
        return min((r.get("CPU", 0) / r["GPU"] for r in found), default=0.0)

    def _fitted(self, lane: Lane, cores: float) -> float:
        """The cores that a call of a lane asks for: half for a wait on the network; so many that no machine has room for more calls than
        somebody asked for."""
        cores = cores / 2 if lane.kind == "network" else cores
        if lane.per_node:
            largest = max((n["Resources"].get("CPU", 0) for n in self.ray.nodes() if n["Alive"]), default=0)
            cores = max(cores, int(largest / lane.per_node * 1000) / 1000)
        return cores

    def submit(self, lane: int, token: Any, *args: Any) -> None:
        if self.lanes[lane].kind != "model":
            self._task(lane, token, args, False)
        elif not any(self.actors[lane]):
            self._task(lane, token, args, True)  # no model is loaded for what is there already
        else:
            self._to_actor(lane, token, args)

    def _task(self, lane: int, token: Any, args: tuple, peek: bool) -> None:
        options = {"num_cpus": task_cores(self.workers) if peek else self.cores[lane]}
        deadline = self.lanes[lane].deadline
        ref = self.task.options(**options).remote(self.targets[lane], self.lanes[lane].name, deadline, peek, *args)
        self.running[ref] = (lane, token, args, time.monotonic(), None)

    def _to_actor(self, lane: int, token: Any, args: tuple) -> None:
        turns = itertools.product(range(self.lanes[lane].together), range(self.lanes[lane].limit))
        at = next((place, turn) for turn, place in turns if (place, turn) not in self.busy[lane])
        self.busy[lane].add(at)
        place = at[0]
        self.actors[lane] += [None] * (place + 1 - len(self.actors[lane]))
        if self.actors[lane][place] is None:
            actor = self.ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=self.lanes[lane].together)(Keeper)
            options = actor.options(**self._resources(lane, place))
            self.actors[lane][place] = options.remote(self.targets[lane], self.lanes[lane].name)
        actor = self.actors[lane][place]
        self.running[actor.call.remote(self.lanes[lane].deadline, *args)] = (lane, token, args, time.monotonic(), (at, actor))

    def _resources(self, lane: int, place: int) -> dict[str, Any]:
        """The Ray options of an actor: cores, GPUs or a share of one, a placement group for several GPUs."""
        gpus, cores = self.lanes[lane].gpus if self.gpus else 0, self.cores[lane]
        if gpus <= 1:
            return {"num_cpus": cores, "num_gpus": gpus, "scheduling_strategy": "SPREAD"}
        if self.local and gpus > self.gpus:
            raise RecipeError(f"{self.lanes[lane].name}: needs {gpus:g} GPUs, and there are {self.gpus:g}")
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        if (lane, place) not in self.groups:
            self.groups[lane, place] = placement_group(bundles(int(gpus), cores), strategy="PACK")
        # The engine's own workers take the GPUs; the actor that feeds them is beside the first.
        strategy = PlacementGroupSchedulingStrategy(self.groups[lane, place], 0, placement_group_capture_child_tasks=True)
        return {"num_cpus": cores, "num_gpus": 0, "scheduling_strategy": strategy}

    def next(self, timeout: float | None = None) -> tuple[Any, Any] | None:
        """The next (token, result) to end, or None after `timeout` seconds; a dead worker gives a Crash."""
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=timeout)
        if not ready or time.monotonic() - self.looked > 1:  # a call may hang while others keep ending
            self.looked, overdue = time.monotonic(), self._overdue()
            self._grow()
            if not ready and self.workers < self.opened_with:
                self._stop_idle()
            if overdue or not ready:
                return overdue
        lane, token, args, since, at = self.running.pop(ready[0])
        self._leave(lane, at)
        self.heard = time.monotonic()
        try:
            found = self.get(ready[0])
        except Crash as e:
            self._lose(lane, at)
            late = time.monotonic() - since >= self.lanes[lane].deadline
            return token, Crash(_late(self.lanes[lane]) if late else f"{self.lanes[lane].name}: {e}")
        except CurateError as e:
            if at is not None and e.broken:
                self.ray.kill(at[1])
                self._lose(lane, at)
            return token, e
        if isinstance(found, Nothing):
            self._to_actor(lane, token, args)
            return None
        return token, found

    def _grow(self) -> None:
        """Start more calls after nodes have joined."""
        for lane in self.lanes if self.waiting > 1 else ():
            if not lane.workers and not lane.gpus:
                lane.limit = max(lane.limit, self.slots(lane.kind))

    def _stop_idle(self) -> None:
        """End actors without a call when nothing ends and nodes have gone: on the nodes that are left they may hold the cores, or the
        GPU, that a waiting call needs. They are started again on demand."""
        for lane, actors in enumerate(self.actors):
            for at, actor in enumerate(actors):
                if actor is not None and at not in {place for place, _ in self.busy[lane]}:
                    self.ray.kill(actor)
                    actors[at] = None
                    self.lanes[lane].limit = max(1, self.lanes[lane].limit - 1)

    def _overdue(self) -> tuple[Any, Any] | None:
        """A call that was given up, long past its deadline, because its worker does not end itself; or None."""
        now = time.monotonic()
        for ref, (lane, token, _, since, at) in list(self.running.items()):
            if now - max(since, self.heard) > 1.5 * self.lanes[lane].deadline:
                self._stop(ref, lane, at)
                return token, Crash(_late(self.lanes[lane]))
        return None

    def _stop(self, ref: Any, lane: int, at: _Turn | None) -> None:
        self.running.pop(ref)
        self._leave(lane, at)
        if at is None:
            self.ray.cancel(ref, force=True)
        else:
            self.ray.kill(at[1])
            self._lose(lane, at)

    def _leave(self, lane: int, at: _Turn | None) -> None:
        """Free a call's place at its actor."""
        if at is not None:
            self.busy[lane].discard(at[0])

    def _lose(self, lane: int, at: _Turn | None) -> None:
        """Replace the actor of a call, unless that has been done."""
        if at is not None:
            self.actors[lane] = [None if actor is at[1] else actor for actor in self.actors[lane]]

    def close(self) -> None:
        """Actors end here. Tasks that an error left behind end with the engine: Ray 2.60 kills the process that cancels a task at the
        moment at which it ends."""
        self.running = {}
        for actor in [a for lane in self.actors for a in lane if a is not None]:
            self.ray.kill(actor)
        for group in self.groups.values():
            self.ray.util.remove_placement_group(group)
        self.actors, self.groups = [], {}

    def shutdown(self) -> None:
        self.close()
        self.ray.shutdown()

    def map(self, function: Callable, items: Iterable) -> Iterator:
        """Results in the order of the items. As many calls are under way as there are cores at the time, also behind one that takes long;
        a call whose worker dies, or does not come back in time, is made again."""
        mapping = Mapping(self, function)
        left, first, number = iter(items), 0, 0
        while True:
            slots = 2 * self.workers
            while left is not None and len(mapping.running) < slots and number - first < AHEAD * slots:
                try:
                    mapping.submit(number, next(left))
                    number += 1
                except StopIteration:
                    left = None
            while first in mapping.done:
                yield mapping.result(first)
                first += 1
            if first == number and left is None:
                return
            if first not in mapping.done:
                mapping.wait()

    def get(self, ref: Any) -> Any:
        """The result of a call; CurateError if it failed, Crash if its worker died."""
        try:
            return self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as e:
            cause = e.cause if isinstance(e.cause, CurateError) else _unexpected(e.cause or e)
            raise (cause if self.local else _at(cause, e.ip)) from e
        except self.ray.exceptions.RaySystemError as e:  # a module is missing there, or is of another version
            raise CurateError(f"the worker cannot read what it is sent: {_last_line(e)}") from e
        except self.ray.exceptions.RayError as e:
            if "creation task" in str(e) and "Error" in _last_line(e):
                raise RecipeError(f"no worker can be started: {_last_line(e)}") from e
            raise Crash(f"the worker died ({type(e).__name__})") from e


class Post:
    """Sends progress notes to the actor that keeps them, without waiting."""

    def __init__(self, actor: Any):
        self.actor = actor

    def __call__(self, note: Note) -> None:
        self.actor.put.remote(note)


def _late(lane: Lane) -> str:
    return f"{lane.name}: not back after {lane.deadline:.0f} s; --deadline SECONDS gives it more time"


def _at(error: CurateError, node: str) -> CurateError:
    """The error with the name of its machine."""
    if isinstance(error, PartError):
        return PartError(error.stage, error.part, error.uid, f"{error.cause} [machine {node}]")
    error.args = (f"{error} [machine {node}]",)
    return error


def _last_line(error: Exception) -> str:
    """The last line of an error whose text contains a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _unexpected(cause: Exception) -> CurateError:
    return CurateError(f"{type(cause).__name__}: {cause}")


def start(engine: str = "ray", address: str | None = None, workers: int | None = None) -> LocalEngine | RayEngine:
    """The engine of this name: `ray` (started here, or the cluster at `address`) or `local`."""
    if engine == "local":
        return LocalEngine()
    if engine == "ray":
        return RayEngine(address, workers)
    raise RecipeError(f"no engine called {engine}: ray or local")
