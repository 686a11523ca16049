"""How far a run is: counted for displays (view.display), and published for those who watch from elsewhere."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from curate.score.result import TaskResult
from curate.view.run import Run


@dataclass
class Stage:
    """One bar: parts (or shards) done of total."""

    name: str
    total: int
    rows: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    computed: int = 0
    seconds: float = 0.0  # of workers
    inside: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # by part, the notes of visits that are under way (score.notes)
    loading: str = ""  # the model that a worker loads
    busy: float = 0.0  # seconds in which models were at work
    waited: float = 0.0  # in which they waited for input
    batch: int = 0
    cores: int = 0  # of a worker
    started: float | None = None  # when the first reported task began: a stage may wait for the one before it

    def pace(self, now: float) -> float:
        """Rows a second while it was at work: a stage that waits for the one before it, in the same process, takes no time."""
        rows, seconds = (self.inner(k) for k in ("rows", "seconds"))
        return (self.computed + rows) / max(1e-6, min((self.ended or now) - self.began, self.seconds + seconds))

    def feed(self) -> str:
        """How its model is fed: `model waited 12 %, 8 cores a worker, batches of 256`; empty for other stages."""
        return waiting(self.busy, self.waited, self.cores, self.batch) if self.busy else ""

    def inner(self, what: str) -> float:
        """The sum over the visits under way of a number in their notes."""
        return sum(note[what] for note in self.inside.values())

    @property
    def share(self) -> float:
        """The share of its work that is done, 0 to 1."""
        return min(1.0, (self.done + sum(n["rows"] / max(1, n["of"]) for n in self.inside.values())) / max(1, self.total))

    @property
    def counted(self) -> str:
        """`1,200 of 3,912 rows`; of a stage that has no rows parts: `2/4`."""
        if not self.rows or (self.done == 0 and not self.inside):
            return f"{self.done:,}/{self.total:,}"
        return f"{round(self.share * self.rows):,} of {self.rows:,} rows"

    def left(self, now: float) -> str:
        """Time left at the pace so far, like `2 min 10 s left`; before there is a pace, what it waits for or for how long it runs."""
        if self.loading and not self.share:
            return f"loading model {self.loading}, {span(now - self.began)}"
        if not self.share:
            return f"running for {span(now - self.began)}, {self.done} of {self.total} part{'s' * (self.total != 1)} done"
        return span((now - (self.started or self.began)) * (1 - self.share) / self.share) + " left"


def waiting(busy: float, waited: float, cores: int, batch: int) -> str:
    """What a model's pace (score.model.ModelPace) says in words."""
    many = "s" * (cores != 1)
    return f"model waited {waited / max(1e-9, busy + waited):.0%}, {cores} core{many} a worker, batches of {batch:,}"


class Quiet:
    """Keeps count and shows nothing; the other displays only show what it counts."""

    def begin(self, name: str, place: str) -> None:
        self.name, self.place, self.began = name, place, time.monotonic()
        self.stages: dict[str, Stage] = {}
        self.reasons: Counter[str] = Counter()
        self.by_part: dict[str, dict[str, int]] = {}
        self.bytes = 0
        self.ended: set[tuple[str, str]] = set()  # stages and parts that are through; their last notes may come later

    def stage(self, name: str, total: int, rows: int) -> None:
        """A bar begins: `total` steps, `rows` rows in all (0: not counted)."""
        self.stages[name] = Stage(name, total, rows)
        self.show()

    def step(self, name: str, done: TaskResult | None) -> None:
        """A step of a bar ended; `done` is its result. An empty name: time passes."""
        part = done.part if done else ""
        if name:
            self.stages[name].inside.pop(part, None)
        if name and not (done and done.unfinished):
            stage = self.stages[name]
            stage.done += 1
            self.ended.add((name, part))
            if stage.done >= stage.total:
                stage.ended = time.monotonic()
                stage.inside.clear()
        if done is not None:
            self.stages[name].computed += max(done.computed.values(), default=0)
            self.stages[name].seconds += sum(done.seconds.values())
            self._pace(self.stages[name], done.pace.values())
            self.bytes += done.bytes
            self.reasons.subtract(self.by_part.get(done.part, {}))
            self.reasons.update(done.dropped)
            self.by_part[done.part] = done.dropped
        self.show()

    def _pace(self, stage: Stage, paces: Iterable[Any]) -> None:
        for pace in paces:
            stage.busy, stage.waited = stage.busy + pace.busy, stage.waited + pace.waited
            stage.batch, stage.cores = max(stage.batch, pace.batch), max(stage.cores, pace.cores)

    def within(self, notes: list[dict[str, Any]]) -> None:
        """How far visits to parts have come (score.notes)."""
        for note in notes:
            stage = self.stages.get(note["lane"])
            if stage is None or stage.ended:
                continue
            stage.loading = note.get("loading", "")
            if not stage.loading and (stage.name, note["part"]) not in self.ended:
                stage.inside[note["part"]] = note
                stage.started = stage.started or time.monotonic() - note["seconds"]

    def end(self, run: Run, word: str) -> None:
        self.finish(word)

    def show(self) -> None:
        pass

    def finish(self, word: str) -> None:
        pass

    def state(self) -> dict[str, Any]:
        """All of it as JSON values, times as seconds since the run began."""
        now = time.monotonic()
        stages = [
            {
                "name": s.name,
                "total": s.total,
                "rows": s.rows,
                "done": s.done,
                "computed": s.computed,
                "seconds": s.seconds,
                "began": s.began - self.began,
                "ended": s.ended and s.ended - self.began,
                "inside": s.inside,
                "loading": s.loading,
                "pace": [s.busy, s.waited, s.batch, s.cores],
            }
            for s in self.stages.values()
        ]
        return {
            "name": self.name,
            "place": self.place,
            "seconds": now - self.began,
            "stages": stages,
            "reasons": dict(self.reasons),
            "bytes": self.bytes,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Show what another process counted."""
        self.name, self.place, self.began = state["name"], state["place"], time.monotonic() - state["seconds"]
        self.stages = {
            s["name"]: Stage(
                s["name"],
                s["total"],
                s["rows"],
                s["done"],
                self.began + s["began"],
                None if s["ended"] is None else self.began + s["ended"],
                s["computed"],
                s.get("seconds", 0.0),
                s.get("inside", {}),
                s.get("loading", ""),
                *s.get("pace", ()),
            )
            for s in state["stages"]
        }
        self.reasons, self.bytes = Counter(state["reasons"]), state["bytes"]
        self.show()

    # ---- words for the displays

    @property
    def current(self) -> Stage | None:
        """The last stage that tells of itself, else the first that has not ended."""
        going = [s for s in self.stages.values() if s.ended is None]
        busy = [s for s in going if s.inside or s.loading]
        return busy[-1] if busy else going[0] if going else None

    def dropped(self, n: int = 4) -> str:
        """The most frequent reasons so far."""
        top = [(r, k) for r, k in self.reasons.most_common(n) if k > 0]
        return ", ".join(f"{reason} {k:,}" for reason, k in top)

    def kept(self) -> float | None:
        """Share of the rows seen so far that are still live; None before any were seen."""
        rows = max((s.rows for s in self.stages.values()), default=0)
        stage = next((s for s in self.stages.values() if s.rows and s.done), None)
        if not rows or not stage:
            return None
        seen = rows * stage.done / stage.total
        return max(0.0, 1 - sum(v for v in self.reasons.values() if v > 0) / seen) if seen else None


class Published:
    """Passes everything on to a display, and keeps `RUN/progress.json` for those who watch from elsewhere. Every few seconds it says that
    time passes: a selector may be at work for minutes before there is news of it."""

    NAME = "progress.json"

    def __init__(self, display: Quiet, store: Any, every: float = 2.0, notes: Callable[[], list[dict[str, Any]]] = lambda: []):
        self.notes = notes
        self.display, self.store, self.every, self.last, self.begun = display, store, every, 0.0, False
        self.lock, self.over = threading.Lock(), threading.Event()

    def begin(self, name: str, place: str) -> None:
        self.display.begin(name, place)
        self.begun = True
        threading.Thread(target=self._beat, name="progress", daemon=True).start()

    def stage(self, name: str, total: int, rows: int) -> None:
        with self.lock:
            self.display.stage(name, total, rows)
            self._tell("running")

    def step(self, name: str, done: Any) -> None:
        with self.lock:
            self.display.step(name, done)
            self._tell("running")

    def end(self, run: Run, word: str) -> None:
        self.over.set()
        with self.lock:
            self.display.end(run, word)
            self._tell("finished", now=True)

    def stopped(self, why: BaseException) -> None:
        """The run ends before its end."""
        self.over.set()
        if self.begun:
            with self.lock:
                self._tell(f"stopped: {str(why).splitlines()[0] if str(why) else type(why).__name__}", now=True)

    def _beat(self) -> None:
        while not self.over.wait(self.every):
            notes = self.notes()
            with self.lock:
                if not self.over.is_set():
                    self.display.within(notes)
                    self.display.step("", None)
                    self._tell("running")

    def _tell(self, state: str, now: bool = False) -> None:
        if not now and time.monotonic() - self.last < self.every:
            return
        self.last = time.monotonic()
        self.store.note(self.NAME, json.dumps({"state": state, **self.display.state()}).encode())


def span(seconds: float) -> str:
    """`45 s`, `2 min 10 s`, `3 h 05 min`."""
    s = int(seconds + 0.5)
    if s < 60:
        return f"{s} s"
    return f"{s // 60} min {s % 60:02d} s" if s < 3600 else f"{s // 3600} h {s % 3600 // 60:02d} min"
