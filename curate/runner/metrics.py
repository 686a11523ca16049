"""What a run measured: rows and seconds by step, notes of selectors, repeated calls, files that changed."""

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

from curate.score.model import ModelPace
from curate.score.result import TaskResult

log = logging.getLogger(__name__)


@dataclass
class RunMetrics:
    """The measurements that recipe.json has at the end of a run.

    counters: rows computed and reused, seconds and the model's pace by stage; decided: rows and seconds of selectors that had to decide;
    notes: of selectors; retries: calls that were made again; drift: files that differ from an earlier fetch (uid, before, after).
    """

    counters: dict[str, dict[str, float]] = field(default_factory=dict)
    decided: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    retries: list[dict[str, str]] = field(default_factory=list)
    drift: list[dict[str, str]] = field(default_factory=list)

    def add(self, done: TaskResult) -> None:
        """Add the result of a task."""
        self.drift += done.drift
        for what, by_stage in (("computed", done.computed), ("reused", done.reused), ("seconds", done.seconds)):
            for name, n in by_stage.items():
                counter = self.counters.setdefault(name, {"computed": 0, "reused": 0, "seconds": 0.0})
                counter[what] += n
        for name, pace in done.pace.items():
            whole = ModelPace(**{k: self.counters[name].get(k, 0) for k in vars(pace)})
            whole.add(pace)
            self.counters[name] |= vars(whole)

    def warn_of_drift(self) -> None:
        """Log how many files are not those that were fetched before."""
        if self.drift:
            log.warning(
                "%d files are not those that were fetched before (first: uid %s); all of them are in recipe.json, drift",
                len(self.drift),
                self.drift[0]["uid"],
            )

    def record(self) -> dict[str, Any]:
        """The fields of recipe.json."""
        return asdict(self)
