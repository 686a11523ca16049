"""What a run shows while it works: a live display in a terminal, plain lines elsewhere, nothing for programs."""

import contextlib
import json
import os
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO


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

    def pace(self, now: float) -> float:
        """Rows a second while it was at work: a stage that waits for the one before it, in the same process, takes no time."""
        return self.computed / max(1e-6, min((self.ended or now) - self.began, self.seconds))


class Quiet:
    """Keeps count and shows nothing; the other displays only show what it counts."""

    def begin(self, name: str, place: str) -> None:
        self.name, self.place, self.began = name, place, time.monotonic()
        self.stages: dict[str, Stage] = {}
        self.reasons: Counter[str] = Counter()
        self.by_part: dict[str, dict[str, int]] = {}
        self.bytes = 0

    def stage(self, name: str, total: int, rows: int) -> None:
        """A bar begins: `total` steps, `rows` rows in all (0: not counted)."""
        self.stages[name] = Stage(name, total, rows)
        self.show()

    def step(self, name: str, done: Any) -> None:
        """A step of a bar ended; `done` (work.Done) says what it did. An empty name: time passes."""
        if name and not getattr(done, "unfinished", False):
            stage = self.stages[name]
            stage.done += 1
            if stage.done >= stage.total:
                stage.ended = time.monotonic()
        if done is not None:
            self.stages[name].computed += max(done.computed.values(), default=0)
            self.stages[name].seconds += sum(done.seconds.values())
            self.bytes += done.bytes
            self.reasons.subtract(self.by_part.get(done.part, {}))
            self.reasons.update(done.dropped)
            self.by_part[done.part] = done.dropped
        self.show()

    def end(self, run: Any, word: str) -> None:
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
            )
            for s in state["stages"]
        }
        self.reasons, self.bytes = Counter(state["reasons"]), state["bytes"]
        self.show()

    # ---- words for the displays

    @property
    def current(self) -> Stage | None:
        going = [s for s in self.stages.values() if s.ended is None]
        return going[-1] if going else None

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

    def __init__(self, display: Quiet, store: Any, every: float = 2.0):
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

    def end(self, run: Any, word: str) -> None:
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
            with self.lock:
                if not self.over.is_set():
                    self.display.step("", None)
                    self._tell("running")

    def _tell(self, state: str, now: bool = False) -> None:
        if not now and time.monotonic() - self.last < self.every:
            return
        self.last = time.monotonic()
        self.store.note(self.NAME, json.dumps({"state": state, **self.display.state()}).encode())


def left(stage: Stage, now: float) -> str:
    """Time left at the pace so far, like `2 min 10 s left`; before there is a pace, for how long there is nothing."""
    if not stage.done:
        return f"nothing yet after {span(now - stage.began)}"
    return span((now - stage.began) * (stage.total - stage.done) / stage.done) + " left"


def span(seconds: float) -> str:
    """`45 s`, `2 min 10 s`, `3 h 05 min`."""
    s = int(seconds + 0.5)
    if s < 60:
        return f"{s} s"
    return f"{s // 60} min {s % 60:02d} s" if s < 3600 else f"{s // 3600} h {s % 3600 // 60:02d} min"


class Lines(Quiet):
    """Plain lines, at most one every few seconds and one where a stage ends."""

    def __init__(self, out: TextIO | None = None, every: float = 5.0):
        self.out, self.every, self.last = out or sys.stderr, every, 0.0
        self.said: set[str] = set()

    def begin(self, name: str, place: str) -> None:
        super().begin(name, place)
        self.said.clear()
        print(f"{name} → {place}", file=self.out, flush=True)

    def show(self) -> None:
        now = time.monotonic()
        for stage in self.stages.values():
            if stage.ended and stage.name not in self.said:
                self.said.add(stage.name)
                self._line(stage, now)
        if now - self.last >= self.every and self.current:
            self._line(self.current, now)

    def _line(self, stage: Stage, now: float) -> None:
        self.last = now
        words = [f"{stage.name}: {stage.done}/{stage.total}"]
        if stage.computed:
            words.append(f"{stage.pace(now):,.0f} rows/s")
        words.append(f"took {span(stage.ended - stage.began)}" if stage.ended else left(stage, now))
        if self.dropped():
            words.append("dropped so far: " + self.dropped())
        print("  " + " · ".join(words), file=self.out, flush=True)

    def finish(self, word: str) -> None:
        print(f"  {word or 'done in ' + span(time.monotonic() - self.began)}", file=self.out, flush=True)


class Live(Quiet):
    """A live table in a terminal: a row a stage, and under it what was kept and why the rest was not."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as Display

        self.display = Display(console=Console(stderr=True), refresh_per_second=4)

    def begin(self, name: str, place: str) -> None:
        super().begin(name, place)
        self.display.start()

    def show(self) -> None:
        self.display.update(self._table())

    def finish(self, word: str) -> None:
        self.show()
        self.display.stop()
        if word:
            print(word, file=sys.stderr)

    def close(self) -> None:
        """Give the terminal back, whatever happened."""
        self.display.stop()

    def _table(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for heading, side in (("stage", "left"), ("", "left"), ("parts", "right"), ("rows/s", "right"), ("", "right")):
            table.add_column(heading, justify=side)
        for s in self.stages.values():
            seconds = (s.ended or now) - s.began
            pace = f"{s.pace(now):,.0f}" if s.computed else ""
            state = Text(span(seconds), "green") if s.ended else Text(left(s, now), "yellow")
            bar = ProgressBar(total=max(1, s.total), completed=s.done, width=24)
            table.add_row(Text(s.name[:48]), bar, f"{s.done:,}/{s.total:,}", pace, state)
        kept = self.kept()
        foot = [
            f"kept so far {kept:.1%}" if kept is not None else "",
            self.dropped(),
            f"{self.bytes / 1e6:,.0f} MB fetched" if self.bytes else "",
        ]
        return Group(Text(f"{self.name} → {self.place}", "bold"), table, Text(" · ".join(w for w in foot if w), "dim"))


@contextlib.contextmanager
def display() -> Iterator[Quiet]:
    """What suits standard error: a live table in a terminal, which is given back whatever happens, else plain lines."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines()
        return
    live = Live()
    try:
        yield live
    finally:
        live.close()


def nothing_kept(run: Any) -> str:
    """Of a run that kept nothing, which rules dropped its rows and what to do; empty if something was kept."""
    if run.dataset["samples"]:
        return ""
    table = run.dataset.get("table", "images")
    rows = [r for r in run.stats().to_pylist() if r["table"] == table and r["reason"] != "kept"]
    total = sum(r["rows"] for r in rows)
    if not total:
        return f"NOTHING WAS KEPT: the input has no rows of {table}"
    stages: Counter[str] = Counter()
    for r in rows:
        stages[r["stage"] or r["reason"]] += r["rows"]
    (worst, most), *others = stages.most_common(3)
    top = max((r for r in rows if (r["stage"] or r["reason"]) == worst), key=lambda r: r["rows"])
    often = f", most often {top['reason']} ({top['rows']:,})" if top["reason"] != worst else ""
    dropped = f"all {total:,}" if most == total else f"{most:,} of {total:,}"
    then = "".join(f", {name} {n:,}" for name, n in others)
    return (
        f"NOTHING WAS KEPT: {worst} dropped {dropped} {table}{often}{then and '; then' + then[1:]}. "
        f"See them with `curate show {shlex.quote(run.store.url)} --reason {shlex.quote(top['reason'])}`, change that step and run again"
    )


def summary(run: Any, place: str) -> str:
    """What a run left and where, and the commands that look at it; `place` is the run's folder as the user wrote it."""
    shards, folder = len(run.dataset["shards"]), shlex.quote(place)
    samples = run.dataset["samples"]
    lines = [
        f"{samples:,} sample{'s' * (samples != 1)} in {shards} shard{'s' * (shards != 1)}: {run.store.path('shards')}"
        f"   root hash {run.dataset['root_hash'][:16]}"
    ]
    if run.store.exists("report.html"):
        lines.append(f"report: {run.store.path('report.html')}")
    if lost := nothing_kept(run):
        return "\n".join([*lines, "", lost])
    documents = " --documents" if run.dataset.get("table") == "documents" else ""
    look = f"curate show {folder}{documents}" if shards else f'curate sql {folder} "select * from images where kept limit 20"'
    return "\n".join([*lines, f"next: {look}"])


def funnel(rows: list[dict[str, Any]]) -> str:
    """The funnel as text: in = kept + reasons, for every table, in the order of the recipe. Rows as Run.stats() gives them."""
    lines = []
    for table in dict.fromkeys(r["table"] for r in rows):
        mine = [r for r in rows if r["table"] == table]
        lines.append(f"{table}: {sum(r['rows'] for r in mine):,} rows in")
        for r in mine:
            mark = "  kept" if r["reason"] == "kept" else f"  - {r['reason']}"
            lines.append(f"{mark:<36}{r['rows']:>12,}{r['percent']:>9.2f} %")
    return "\n".join(lines)
