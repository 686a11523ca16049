"""The engine in this process, for tests, notebooks and small pools."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from curate.errors import CurateError
from curate.models import card
from curate.runner.workers import Lane, loaded
from curate.score.notes import Note, Notes


class LocalEngine:
    """Everything in this process, one call after another; those of a lane with several `together`, as with a model, in threads beside."""

    name = "local"
    workers = 1
    local = True  # all work is done on this machine
    deadline = 3600.0  # nobody stops a call here, but a part that takes longer is committed in between

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.waiting: deque = deque()
        self.beside: dict[Future, Any] = {}
        self.pool: ThreadPoolExecutor | None = None
        self.loading = threading.Lock()
        self.heard = Notes()

    @property
    def gpus(self) -> float:
        """The GPUs that torch can use."""
        return card.count()

    def open(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.pool = ThreadPoolExecutor(max(1, sum(lane.calls for lane in lanes)), "part")
        for lane in lanes:
            lane.target.cores = len(os.sched_getaffinity(0))

    def submit(self, lane: int, token: Any, *args: Any) -> None:
        if self.lanes[lane].together > 1:
            self.beside[self.pool.submit(self._call, lane, args)] = token
        else:
            self.waiting.append((lane, token, args))

    def next(self, timeout: float | None = None) -> tuple[Any, Any] | None:
        """The next (token, result) to end; the result of a call that raised is its exception."""
        done = next((future for future in self.beside if future.done()), None)
        if done is None and self.waiting:
            lane, token, args = self.waiting.popleft()
            return token, self._call(lane, args)
        if done is None:
            done = next(iter(wait(self.beside, timeout, FIRST_COMPLETED).done), None)
        return None if done is None else (self.beside.pop(done), done.result())

    def _call(self, lane: int, args: tuple) -> Any:
        target = self.lanes[lane].target
        try:
            with self.loading:
                target = loaded(target, self.lanes[lane].name)
            return target(*args)
        except CurateError as e:
            if e.broken:
                target.close()
            return e

    def close(self) -> None:
        self.waiting.clear()
        for lane in self.lanes:
            lane.target.close()
        if self.pool:
            self.pool.shutdown(cancel_futures=True)
        self.beside, self.pool = {}, None

    def shutdown(self) -> None:
        self.close()

    def map(self, function: Callable, items: Iterable) -> Iterator:
        return map(function, items)

    def slots(self, kind: str, gpus: float = 0) -> int:
        return 1

    def together(self, lanes: list[Lane]) -> list[list[Lane]]:
        return [lanes]

    def ship_user_code(self, things: Iterable[object]) -> None:
        """Nothing to ship in one process."""

    def count(self, done: Any) -> None:
        """Collects no metrics."""

    @property
    def note(self) -> Callable[[Note], None]:
        """The function by which tasks report progress."""
        return self.heard.put

    def notes(self) -> list[Note]:
        """The progress notes since the last call."""
        return self.heard.take()
