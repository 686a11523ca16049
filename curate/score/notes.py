"""Progress within parts: workers put notes, the driver takes the newest ones."""

import threading
import time
from collections.abc import Callable
from typing import Any

#: A note as JSON values: `lane` (the segment's name), `part`, `stage` (at work now), `rows` done of `of`, `seconds` since the start; or `lane`
#: and `loading`, the model that a worker loads.
Note = dict[str, Any]

#: Seconds between two notes of a task.
EVERY = 1.0


class Notes:
    """The newest note of each part at work, and of each worker that loads a model."""

    def __init__(self) -> None:
        self.lock, self.newest = threading.Lock(), dict[tuple[str, str], Note]()

    def put(self, note: Note) -> None:
        with self.lock:
            self.newest[note["lane"], note.get("part", "")] = note

    def take(self) -> list[Note]:
        """The notes put since the last call."""
        with self.lock:
            found, self.newest = list(self.newest.values()), {}
        return found


class ProgressReporter:
    """Reports the progress of one task, at most once every EVERY seconds and at its end."""

    def __init__(self, put: Callable[[Note], None] | None, lane: str, part: str):
        self.put, self.lane, self.part = put, lane, part
        self.began, self.last = time.monotonic(), 0.0

    def __call__(self, stage: str, rows: int, of: int) -> None:
        now = time.monotonic()
        if self.put is None or (now - self.last < EVERY and rows < of):
            return
        self.last = now
        self.put({"lane": self.lane, "part": self.part, "stage": stage, "rows": rows, "of": of, "seconds": now - self.began})
