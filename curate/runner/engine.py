"""Where work runs: in this process, or on Ray. The only file that imports ray.

An engine takes calls into lanes and hands back results as they end. A lane is a kind of place: a core, a wait on the
network, a model in an actor. Both engines run the same calls, so both write the same bytes.
"""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from curate.errors import CurateError, RecipeError
from curate.runner import ray_token
from curate.runner.workers import ATTEMPTS, Crash, Lane, fitting

log = logging.getLogger(__name__)


class LocalEngine:
    """Everything in this process, one call after another. For tests, notebooks and small pools."""

    name = "local"
    workers = 1

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.waiting: deque = deque()

    def open(self, lanes: list[Lane]) -> None:
        self.lanes = lanes

    def submit(self, lane: int, token: Any, *args: Any) -> None:
        self.waiting.append((lane, token, args))

    def next(self, timeout: float | None = None) -> tuple[Any, Any] | None:
        """The next (token, result) to end; an exception is the result of a call that raised it."""
        lane, token, args = self.waiting.popleft()
        try:
            return token, self.lanes[lane].prepared()(*args)
        except CurateError as e:
            return token, e

    def close(self) -> None:
        self.waiting.clear()

    def shutdown(self) -> None:
        self.close()

    def map(self, function: Callable, items: Iterable) -> Iterator:
        return map(function, items)

    def slots(self, kind: str, gpus: float = 0) -> int:
        return 1

    def together(self, lanes: list[Lane]) -> list[list[Lane]]:
        return [lanes]

    def carry(self, things: Iterable[object]) -> None:
        """Nothing to do: everything is here."""

    def told(self, done: Any) -> None:
        """Nobody collects metrics here."""


class RayEngine:
    """Ray Core: tasks for what needs a core, actors for what keeps a model. Retries are the caller's, never Ray's."""

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        local = address in (None, "local")
        if local:  # every socket stays on loopback; a cluster of several machines is started by its owner
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
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
        self.waiting = 1 if local else 2  # calls for each core: an autoscaler starts nodes for those that wait
        self.actors: list[list[Any]] = []
        self.running: dict[Any, tuple[int, Any, float, int | None]] = {}

    @property
    def workers(self) -> int:
        """The cores that the cluster has now."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    @property
    def gpus(self) -> float:
        """The GPUs that the cluster has now."""
        return self.ray.cluster_resources().get("GPU", 0.0)

    def slots(self, kind: str, gpus: float = 0) -> int:
        """How many calls of a kind are under way at a time: half a core for a wait on the network, an actor for a model (without a GPU
        on half of the cores, on both of a machine with two)."""
        if kind == "model":
            return max(1, int(self.gpus / gpus)) if gpus and self.gpus else min(self.workers, max(2, self.workers // 2))
        return self.waiting * self.workers * (2 if kind == "network" else 1)

    def together(self, lanes: list[Lane]) -> list[list[Lane]]:
        """The lanes cut into runs of which each fits the GPUs."""
        return fitting(lanes, self.gpus)

    def carry(self, things: Iterable[object]) -> None:
        """Send the classes of these objects along where workers cannot import them: those of recipe files and notebooks."""
        homes = {getattr(v, "__module__", None) for t in things for v in (type(t), *vars(t).values()) if callable(v)}
        for module in {sys.modules[h] for h in homes & sys.modules.keys()}:
            file = getattr(module, "__file__", None)
            if file and module.__name__.split(".")[0] != "curate" and "site-packages" not in file:
                self.ray.cloudpickle.register_pickle_by_value(module)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Counters that Ray's agent serves to Prometheus as ray_curate_rows_total, ray_curate_seconds_total, ray_curate_bytes_total."""
        from ray.util.metrics import Counter

        return {
            "computed": Counter("curate_rows", "Rows computed", ("stage",)),
            "seconds": Counter("curate_seconds", "Seconds of workers", ("stage",)),
            "bytes": Counter("curate_bytes", "Bytes parked", ()),
        }

    def told(self, done: Any) -> None:
        """Count what a visit to a part did (part.Done)."""
        for what in ("computed", "seconds"):
            for stage, n in getattr(done, what).items():
                if n > 0:
                    self.metrics[what].inc(n, {"stage": stage})
        if done.bytes > 0:
            self.metrics["bytes"].inc(done.bytes)

    def open(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.running = {}
        self.looked = time.monotonic()
        task = self.ray.remote(max_retries=0, max_calls=0)(_call)
        self.tasks = [task.options(num_cpus=0.5 if lane.kind == "network" else 1) for lane in lanes]
        self.targets = [self.ray.put(lane.target) if lane.kind != "model" else None for lane in lanes]
        self.actors = [[None] * lane.limit if lane.kind == "model" else [] for lane in lanes]
        self.busy: list[set[int]] = [set() for _ in lanes]

    def _actor(self, lane: int, at: int) -> Any:
        if self.actors[lane][at] is None:
            gpus = self.lanes[lane].gpus if self.gpus else 0
            actor = self.ray.remote(max_restarts=0, max_task_retries=0)(_Keeper)
            # No core is reserved: several models would keep all of a small machine, and no task would ever start.
            options = actor.options(num_cpus=0, num_gpus=gpus, scheduling_strategy="SPREAD")
            self.actors[lane][at] = options.remote(self.lanes[lane].target)
        return self.actors[lane][at]

    def submit(self, lane: int, token: Any, *args: Any) -> None:
        at = None
        if self.lanes[lane].kind == "model":
            at = next(i for i in range(self.lanes[lane].limit) if i not in self.busy[lane])
            self.busy[lane].add(at)
            ref = self._actor(lane, at).call.remote(*args)
        else:
            ref = self.tasks[lane].remote(self.targets[lane], *args)
        self.running[ref] = (lane, token, time.monotonic(), at)

    def next(self, timeout: float | None = None) -> tuple[Any, Any] | None:
        """The next (token, result) to end, or None when `timeout` seconds pass; a dead worker gives a Crash."""
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=timeout)
        if not ready or time.monotonic() - self.looked > 1:  # a call may hang while others keep ending
            self.looked, overdue = time.monotonic(), self._overdue()
            self._grow()
            if overdue or not ready:
                return overdue
        lane, token, _, at = self.running.pop(ready[0])
        self.busy[lane].discard(at)
        try:
            return token, self._get(ready[0])
        except Crash as e:
            if at is not None:
                self.actors[lane][at] = None
            return token, Crash(f"{self.lanes[lane].name}: {e}")
        except CurateError as e:
            return token, e

    def _grow(self) -> None:
        """More calls under way where nodes have come."""
        for lane in self.lanes if self.waiting > 1 else ():
            if lane.kind != "model":
                lane.limit = max(lane.limit, self.slots(lane.kind))

    def _overdue(self) -> tuple[Any, Any] | None:
        now = time.monotonic()
        for ref, (lane, token, since, at) in list(self.running.items()):
            if now - since > self.lanes[lane].deadline:
                self._stop(ref, lane, at)
                return token, Crash(f"{self.lanes[lane].name}: not back after {self.lanes[lane].deadline:.0f} s")
        return None

    def _stop(self, ref: Any, lane: int, at: int | None) -> None:
        self.running.pop(ref)
        self.busy[lane].discard(at)
        if at is None:
            self.ray.cancel(ref, force=True)
        else:
            self.ray.kill(self.actors[lane][at])
            self.actors[lane][at] = None

    def close(self) -> None:
        """Actors end here. Tasks that an error left behind end with the engine: Ray 2.60 kills the process that cancels a task at the
        moment at which it ends."""
        self.running = {}
        for actor in [a for lane in self.actors for a in lane if a is not None]:
            self.ray.kill(actor)
        self.actors = []

    def shutdown(self) -> None:
        self.close()
        self.ray.shutdown()

    def map(self, function: Callable, items: Iterable) -> Iterator:
        """Results in the order of the items, a bounded number in flight. Where a worker dies its call is made again."""
        task = self.ray.remote(max_retries=0)(_call).options(num_cpus=1)
        target, waiting, ahead = self.ray.put(function), deque(), 2 * self.workers

        def ended(item: Any, ref: Any) -> Any:
            for attempt in range(2, ATTEMPTS + 1):
                try:
                    return self._get(ref)
                except Crash as e:
                    log.warning("%s; attempt %d of %d follows", e, attempt, ATTEMPTS)
                    ref = task.remote(target, item)
            return self._get(ref)

        for item in items:
            waiting.append((item, task.remote(target, item)))
            if len(waiting) >= ahead:
                yield ended(*waiting.popleft())
        while waiting:
            yield ended(*waiting.popleft())

    def _get(self, ref: Any) -> Any:
        try:
            return self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as e:
            raise (e.cause if isinstance(e.cause, CurateError) else _unexpected(e.cause or e)) from e
        except self.ray.exceptions.RayError as e:
            raise Crash(f"the worker died ({type(e).__name__})") from e


class _Keeper:
    """The actor: keeps a target with its model loaded."""

    def __init__(self, target: Any):
        self.target = target.load()

    def call(self, *args: Any) -> Any:
        return self.target(*args)


def _call(target: Callable, *args: Any) -> Any:
    return target(*args)


def _unexpected(cause: Exception) -> CurateError:
    return CurateError(f"{type(cause).__name__}: {cause}")


def start(engine: str = "ray", address: str | None = None, workers: int | None = None) -> LocalEngine | RayEngine:
    """An engine by name: `ray` (a local one, or the cluster at `address`) or `local`."""
    if engine == "local":
        return LocalEngine()
    if engine == "ray":
        return RayEngine(address, workers)
    raise RecipeError(f"no engine called {engine}: ray or local")
