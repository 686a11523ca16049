"""The thread that runs a worker's models, shared by the parts at work, and how busy it is."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass
class ModelPace:
    """How busy a model stage was in one task. busy, waited: seconds in which it computed, and in which the worker's model had
    nothing to compute before that; batch: most rows in one call; cores: that decoded pictures for it."""

    busy: float = 0.0
    waited: float = 0.0
    batch: int = 0
    cores: int = 0

    def add(self, other: "ModelPace") -> None:
        self.busy += other.busy
        self.waited += other.waited
        self.batch, self.cores = max(self.batch, other.batch), max(self.cores, other.cores)


class ModelThread:
    """The thread in which a worker loads its models and calls them. While it serves one part, others read and decode."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "model")
        self.since: float | None = None  # when the last call ended

    def call(self, work: Callable[[], T], pace: ModelPace) -> T:
        """What `work` returns; how long it took, and how long the model had waited for it, goes into `pace`."""
        return self.thread.submit(self._timed, work, pace, time.perf_counter()).result()

    def _timed(self, work: Callable[[], T], pace: ModelPace, asked: float) -> T:
        began = time.perf_counter()
        pace.waited += began - (asked if self.since is None else self.since)
        try:
            return work()
        finally:
            self.since = time.perf_counter()
            pace.busy += self.since - began

    def stop(self) -> None:
        self.thread.shutdown()
