"""The calls of one `map` on Ray: under way, repeated where a worker dies, and handed back in order."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from curate.errors import CurateError
from curate.runner.calls import call
from curate.runner.workers import ATTEMPTS, Crash
from curate.score.target import Function

if TYPE_CHECKING:
    from curate.runner.engine import RayEngine

log = logging.getLogger(__name__)


class Mapping:
    """The calls of one `map` that are at work, and the results not yet returned."""

    def __init__(self, engine: "RayEngine", function: Callable):
        self.engine, self.ray = engine, engine.ray
        gpus = getattr(function, "gpus", 0.0) if engine.gpus else 0
        self.task = self.ray.remote(max_retries=0)(call).options(num_cpus=1 if engine.workers > 1 else 0.5, num_gpus=gpus)
        self.target = self.ray.put(Function(function))
        self.running: dict[Any, tuple[int, Any, int, float]] = {}
        self.done: dict[int, Any] = {}
        self.heard = time.monotonic()

    def submit(self, number: int, item: Any, attempt: int = 1) -> None:
        ref = self.task.remote(self.target, "", self.engine.deadline, False, item)
        self.running[ref] = (number, item, attempt, time.monotonic())

    def wait(self) -> None:
        """Wait until a call ends, at most a second."""
        for ref in self.ray.wait(list(self.running), num_returns=1, timeout=1.0)[0]:
            number, item, attempt, since = self.running.pop(ref)
            self.heard = time.monotonic()
            try:
                self.done[number] = self.engine.get(ref)
            except Crash as e:
                self._again(number, item, attempt, e)
            except CurateError as e:
                self.done[number] = e
        now, patience = time.monotonic(), 1.5 * self.engine.deadline
        for ref, (number, item, attempt, since) in list(self.running.items()):
            if now - max(since, self.heard) > patience:
                self.running.pop(ref)
                self.ray.cancel(ref, force=True)
                self._again(number, item, attempt, Crash(f"the worker was not back after {self.engine.deadline:.0f} s"))

    def result(self, number: int) -> Any:
        """The result of a call; raises its error."""
        found = self.done.pop(number)
        if isinstance(found, CurateError):
            raise found
        return found

    def _again(self, number: int, item: Any, attempt: int, why: Crash) -> None:
        if attempt == ATTEMPTS:
            raise why
        log.warning("%s; attempt %d of %d follows", why, attempt + 1, ATTEMPTS)
        self.submit(number, item, attempt + 1)
