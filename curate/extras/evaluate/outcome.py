"""The result of a comparison: means and standard deviations over seeds, as text and as HTML."""

import math
import statistics
from dataclasses import dataclass
from typing import Any

import scipy.stats
from markupsafe import Markup

from curate.extras.evaluate.heldout import score
from curate.view.charts import dots
from curate.view.look import plain
from curate.view.markup import macros, page

#: Fields of a set with the numbers of samples that were left out.
LEFT_OUT = ("captions_held_out", "pictures_held_out")


@dataclass(frozen=True)
class Outcome:
    """The result of a comparison. how: the training; measured: one entry for each training and held-out set: `set`, `seed`, `held_out`,
    `metrics`, and `languages`, the share of pictures whose caption is found first, by its language."""

    sets: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    how: dict[str, Any]
    measured: list[dict[str, Any]]
    versions: dict[str, str]

    def values(self, name: str, held_out: str, metric: str) -> list[float]:
        """A metric of a set for each seed; `score` is the score of a held-out set."""
        mine = sorted((m for m in self.measured if m["set"] == name and m["held_out"] == held_out), key=lambda m: m["seed"])
        return [score(m["metrics"]) if metric == "score" else m["metrics"][metric] for m in mine]

    def average(self, name: str) -> list[float]:
        """The mean score over the held-out sets for each seed."""
        return [statistics.mean(of) for of in zip(*(self.values(name, h["name"], "score") for h in self.held_out))]

    def languages(self) -> list[tuple[str, str, list[str]]]:
        """(held-out set, language, a cell for each set) where captions have several languages."""
        found = []
        for h in self.held_out:
            mine = [m for m in self.measured if m["held_out"] == h["name"]]
            for code in sorted(mine[0]["languages"]):
                by_set = [[m["languages"][code] for m in mine if m["set"] == s["name"]] for s in self.sets]
                found.append((h["name"], code, [spread(values) for values in by_set]))
        return found

    def noise(self) -> float:
        """The standard error of a mean score that comes from the number of held-out samples, as of a share of so many: of the first
        set, whose score is about that of the others."""
        name = self.sets[0]["name"]
        shares = [(statistics.mean(self.values(name, h["name"], "score")), h["samples"]) for h in self.held_out]
        return math.sqrt(sum(p * (1 - p) / n for p, n in shares)) / len(shares)

    def metrics(self, held_out: str) -> list[str]:
        return next(list(m["metrics"]) for m in self.measured if m["held_out"] == held_out)

    def rows(self) -> list[tuple[str, str, list[str]]]:
        """(held-out set, metric, a cell for each set)."""
        found = [
            (h["name"], metric, [spread(self.values(s["name"], h["name"], metric)) for s in self.sets])
            for h in self.held_out
            for metric in self.metrics(h["name"])
        ]
        return [*found, ("all", "score", [spread(self.average(s["name"])) for s in self.sets])]

    def verdicts(self) -> list[str]:
        """Sentences that compare the first set with each of the others, by the mean score over the held-out sets."""
        first = self.sets[0]["name"]
        found = [verdict(first, self.average(first), s["name"], self.average(s["name"])) for s in self.sets[1:]]
        noise = f"other held-out samples of the same kind and number would move a score by ± {100 * self.noise():.2f} points (standard error)"
        return [*found, noise]

    def leaks(self) -> list[str]:
        return [
            f"left out of {s['name']}: {s['captions_held_out']:,} samples whose caption is held out, {s['pictures_held_out']:,} whose "
            "picture is"
            for s in self.sets
            if s["captions_held_out"] or s["pictures_held_out"]
        ]

    def compute(self) -> str:
        return (
            f"{self.how['samples_seen']:,} samples seen by each training, batches of {self.how['batch']}, model {self.how['model']}, "
            f"learning rate {self.how['rate']:g}, {self.how['seeds']} seeds; %, mean ± standard deviation over seeds"
        )

    def __str__(self) -> str:
        head = ["held out", "metric", *(f"{s['name']} ({s['samples']:,})" for s in self.sets)]
        lines = plain(head, [[h, m, *cells] for h, m, cells in self.rows()], numbers=range(2, len(head)))
        spoken = [[h, code, *cells] for h, code, cells in self.languages()]
        by_language = ["", plain(["held out", "language", *head[2:]], spoken, numbers=range(2, len(head)))] if spoken else []
        return "\n".join([lines, self.compute(), *by_language, "", *self.verdicts(), *self.leaks()])

    def as_html(self) -> str:
        head = ["held out", "metric", *(s["name"] for s in self.sets)]
        held = ", ".join(f"{h['name']} ({h['samples']:,} samples: {' and '.join(h['tasks'])})" for h in self.held_out)
        sets = [
            (s["name"], f"{s['samples']:,}", f"{s['shards']:,}", s["hash"], *(f"{s[k]:,}" for k in LEFT_OUT)) for s in self.sets
        ]
        charts = [self._chart(*of) for of in [("all", "score"), *((h, m) for h, m, _ in self.rows()[:-1])]]
        numbers = [[h, m, *cells] for h, m, cells in self.rows()]
        versions = ", ".join(f"{k} {v}" for k, v in self.versions.items())
        spoken = [[h, code, *cells] for h, code, cells in self.languages()]
        values = (self.compute(), self.verdicts(), charts, head, numbers, spoken, held, sets, versions)
        return page("curate evaluate", macros("evaluation.html").evaluation(*values))

    def _chart(self, held_out: str, metric: str) -> tuple[str, str, Markup]:
        """The metric, the held-out set, and the sets' values as dots."""
        series = [
            (s["name"], self.average(s["name"]) if held_out == "all" else self.values(s["name"], held_out, metric))
            for s in self.sets
        ]
        where = "mean over the held-out sets" if held_out == "all" else held_out
        return metric, where, dots([(name, [100 * v for v in values]) for name, values in series], "%")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def verdict(one: str, first: list[float], other: str, second: list[float]) -> str:
    """A sentence that compares two sets, seed by seed: the mean difference with its 95 % confidence interval (Student's t)."""
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    gap, count = statistics.mean(gaps), len(gaps)
    words = f"{one} is {abs(100 * gap):.2f} points {'above' if gap >= 0 else 'below'} {other}"
    if count < 2:
        return f"{words}; one seed says nothing of chance"
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * statistics.stdev(gaps) / math.sqrt(count)
    beyond = "more than chance" if abs(gap) > half else "within chance"
    return f"{words} (95 % interval {100 * (gap - half):.2f} to {100 * (gap + half):.2f} over {count} paired seeds): {beyond}"
