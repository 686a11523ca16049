"""Progress display of a run: a live table in a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

from curate.view.progress import Quiet, Stage, span


class Lines(Quiet):
    """Plain lines: one where a stage ends, with what it dropped, and between them at most one a minute."""

    def __init__(self, out: TextIO | None = None, every: float = 60.0):
        self.out, self.every, self.last = out or sys.stderr, every, 0.0
        self.reported: set[str] = set()
        self.before: Counter[str] = Counter()

    def begin(self, name: str, place: str) -> None:
        super().begin(name, place)
        self.reported.clear()
        self.before.clear()
        self.last = time.monotonic()
        print(f"{name} → {place}", file=self.out, flush=True)

    def show(self) -> None:
        now = time.monotonic()
        for stage in self.stages.values():
            if stage.ended and stage.name not in self.reported:
                self.reported.add(stage.name)
                self._line(stage, now)
        if now - self.last >= self.every and self.current:
            self._line(self.current, now)

    def _line(self, stage: Stage, now: float) -> None:
        self.last = now
        words = [f"{stage.name}: {stage.counted}"]
        if stage.computed or stage.inside:
            words.append(f"{stage.pace(now):,.0f} rows/s")
        if stage.feed():
            words.append(stage.feed())
        words.append(f"took {span(stage.ended - stage.began)}" if stage.ended else stage.left(now))
        fresh = self.reasons - self.before
        if fresh:
            words.append("dropped: " + ", ".join(f"{reason} {n:,}" for reason, n in fresh.most_common(6)))
            self.before = Counter(self.reasons)
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
        for heading, side in (("stage", "left"), ("", "left"), ("done", "right"), ("rows/s", "right"), ("", "right")):
            table.add_column(heading, justify=side)
        for s in self.stages.values():
            seconds = (s.ended or now) - s.began
            pace = f"{s.pace(now):,.0f}" if s.computed or s.inside else ""
            state = Text(span(seconds), "green") if s.ended else Text(s.left(now), "yellow")
            bar = ProgressBar(total=1.0, completed=1.0 if s.ended else s.share, width=24)
            table.add_row(Text(s.name[:48]), bar, s.counted, pace, state)
            if s.feed():
                table.add_row(Text(f"  {s.feed()}", "dim"))
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
