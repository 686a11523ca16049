"""Agreement of annotators' verdicts with a run's rules, and the bounds at which they would agree most."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from curate import stage
from curate.view.annotate import ROWS, rules
from curate.view.bounds import Bound, bounds_of
from curate.view.look import plain
from curate.view.run import Run

#: With fewer good or fewer bad rows than this a suggested bound is marked as resting on few.
FEW = 30
#: A column without a bound is suggested one from this J on.
TELLING = 0.2
#: Resamples for the range of a bound.
RESAMPLES = 200
#: Numeric columns that are no scores.
_NO_SCORES = {
    "http_status",
    "source_row",
    "payload_offset",
    "payload_size",
    "shard",
    "place",
    "position",
    "copies",
    "width",
    "height",
}


@dataclass(frozen=True)
class Agreement:
    """A rule's drops beside the rows that people call bad, over the `rows` with a verdict that reached it.

    precision: share of the dropped that are bad. recall: share of the bad that it dropped. kappa (Cohen 1960): agreement beyond
    chance, 1 at best, 0 where rule and people have nothing in common. All are weighted.
    """

    rule: str
    rows: int
    dropped: int
    bad: int
    both: int
    precision: float | None
    recall: float | None
    kappa: float | None


@dataclass(frozen=True)
class Suggestion:
    """The bound on a column that parts good rows from bad ones best: by Youden's J (share of the good that stay + share of the
    bad that fall - 1), and by F1 of finding the bad.

    low, high: 5th and 95th percentile of the bound by J over resampled verdicts. now: the recipe's bound, `j_now` its J.
    auc: probability that a good row lies on the kept side of a bad one. few: fewer than FEW good or bad rows.
    """

    column: str
    side: str
    good: int
    bad: int
    auc: float
    bound: float
    low: float
    high: float
    j: float
    bound_f1: float
    f1: float
    now: float | None
    j_now: float | None
    few: bool


class Verdicts:
    """A run's rows on which people agreed, and what they make of its rules. `weighted` says whether the rows were drawn at random
    (they have weights, and rows without are left out of the agreement), so that they speak for the pool."""

    def __init__(self, run: Run):
        self.run = run
        self.table: pa.Table = run.sql(f"""select i.*, v.verdict as verdict_, v.weight as weight_, v.reason as reason_
            from {ROWS} i join verdicts v using (uid) where v.verdict is not null order by uid""").to_arrow_table()
        self.rows: list[dict[str, Any]] = self.table.to_pylist()
        self.counts = run.sql("""select count(*), count(*) filter (verdict is null and good > 0), count(*) filter (good + bad = 0),
            count(*) filter (uid not in (select uid from images)) from verdicts where first + second = 0""").fetchall()[0]
        self.pairs = run.sql("""select count(*), count(*) filter (first > second), count(*) filter (second > first)
            from verdicts where first + second > 0""").fetchall()[0]
        self.weighted = any(r["weight_"] is not None for r in self.rows)
        self.order = {"source": -1} | {name: i for i, name in enumerate(rules(run))}

    # ---- agreement

    def agreements(self) -> list[Agreement]:
        """Of all rules together, then of each that dropped a row with a verdict, in the order of the recipe."""
        drawn = [r for r in self.rows if r["weight_"] is not None] if self.weighted else self.rows
        fell = sorted({r["drop_stage"] for r in drawn} - {None}, key=lambda s: self.order.get(s, 10**6))
        return [self._agreement("", drawn), *(self._agreement(s, drawn) for s in fell)] if drawn else []

    def _agreement(self, rule: str, rows: list[dict[str, Any]]) -> Agreement:
        if rule:
            place = self.order.get(rule, -1)
            rows = [r for r in rows if r["drop_stage"] in (None, rule) or self.order.get(r["drop_stage"], -1) > place]
        dropped = np.array([r["drop_stage"] == rule if rule else not r["kept"] for r in rows])
        bad = np.array(
            [r["verdict_"] == "bad" and (not rule or not r["reason_"] or rule in r["reason_"].split()) for r in rows]
        )
        weight = np.array([1.0 if r["weight_"] is None else r["weight_"] for r in rows])
        share = lambda which: float(weight[which].sum() / weight.sum())  # noqa: E731
        both, d, b = share(dropped & bad), share(dropped), share(bad)
        chance, same = d * b + (1 - d) * (1 - b), share(dropped == bad)
        return Agreement(
            rule or "all rules",
            len(rows),
            int(dropped.sum()),
            int(bad.sum()),
            int((dropped & bad).sum()),
            both / d if d else None,
            both / b if b else None,
            (same - chance) / (1 - chance) if chance < 1 else None,
        )

    def alpha(self) -> tuple[int, int, float | None]:
        """Annotators, rows that two and more of them judged, and Krippendorff's alpha over these (nominal; 1: all agree)."""
        verdicts = self.run.sql(
            "select uid, verdict in ('bad', 'second') from judgements where verdict <> 'unsure' order by uid"
        ).fetchall()
        who = self.run.sql("select count(distinct annotator) from judgements").fetchall()[0][0]
        units = [[bad for _, bad in group] for _, group in groupby(verdicts, key=lambda s: s[0])]
        units = [u for u in units if len(u) > 1]
        total, bads = sum(map(len, units)), sum(map(sum, units))
        observed = sum(2 * sum(u) * (len(u) - sum(u)) / (len(u) - 1) for u in units)
        expected = 2 * bads * (total - bads) / (total - 1) if total > 1 else 0.0
        return who, len(units), 1 - observed / expected if expected else None

    # ---- bounds

    def suggestions(self) -> list[Suggestion]:
        """For each score with good and bad rows the bound at which it agrees most with people; bounded columns first, others if they tell."""
        bounds: dict[str, list[Bound]] = {}
        for bound in bounds_of(self.run.recipe, "images"):
            bounds.setdefault(bound.column, []).append(bound)
        numeric = [
            f.name
            for f in self.table.schema
            if (pa.types.is_integer(f.type) or pa.types.is_floating(f.type))
            and f.name not in _NO_SCORES
            and not f.name.endswith("_")
        ]
        columns = [*(c for c in bounds if c in numeric), *(n for n in numeric if n not in bounds)]
        return [s for c in columns for s in self._suggest(c, bounds.get(c, []))]

    def _suggest(self, column: str, bounds: list[Bound]) -> Iterator[Suggestion]:
        for side in dict.fromkeys(b.side for b in bounds) or ("",):
            # A range has two ends: what the other one drops says nothing about this one.
            others = [within(self.table[column], b) for b in bounds if b.side != side]
            known = np.logical_and.reduce([within(self.table[column]), *others])
            scores = self.table[column].filter(pa.array(known))
            good = np.array([r["verdict_"] == "good" for r, k in zip(self.rows, known) if k], dtype=bool)
            if not len(scores) or good.all() or not good.any() or len(scores.unique()) == 1:
                continue
            now = next((b for b in bounds if b.side == side), None)
            found = _suggestion(column, side, scores, good, now)
            if side or found.j >= TELLING:
                yield found

    def __str__(self) -> str:
        return "\n\n".join(_words(self))


def within(scores: pa.ChunkedArray, bound: Bound | None = None) -> np.ndarray:
    """Whether a filter with this bound keeps each score; without one, whether it is there, and finite."""
    low, high = (bound.value if bound and bound.side == side else None for side in ("min", "max"))
    return np.asarray(stage.within(scores, low, high, "").is_null())


def _suggestion(column: str, side: str, scores: pa.ChunkedArray, good: np.ndarray, now: Bound | None) -> Suggestion:
    values, whole = scores.to_numpy().astype(np.float64), pa.types.is_integer(scores.type)
    side = side or ("max", "min")[above(values, good) >= 0.5]
    sign = 1.0 if side == "min" else -1.0
    cuts, bads = Cuts(sign * values, good), ~good
    place = lambda pair: spelled(sign * pair[0], sign * pair[1], whole)  # noqa: E731
    drawn = sorted(map(place, cuts.resampled()))
    return Suggestion(
        column,
        side,
        int(good.sum()),
        int(bads.sum()),
        above(sign * values, good),
        place(cuts.best(cuts.j)),
        drawn[len(drawn) // 20],
        drawn[-1 - len(drawn) // 20],
        float(cuts.j.max()),
        place(cuts.best(cuts.f1)),
        float(cuts.f1.max()),
        now and now.value,
        now and youden(within(scores, now), good),
        bool(min(good.sum(), bads.sum()) < FEW),
    )


class Cuts:
    """Every place at which a bound can part values (larger is better): between neighbours, and what J and F1 it has there."""

    def __init__(self, values: np.ndarray, good: np.ndarray):
        self.values, self.good = values, good
        levels, at = np.unique(values, return_inverse=True)
        g, b = (np.bincount(at, weights=which, minlength=len(levels)) for which in (good, ~good))
        fall, lost = np.cumsum(b)[:-1], np.cumsum(g)[:-1]  # bad and good below the cut after each level
        self.pairs = np.stack([levels[:-1], levels[1:]], 1)
        self.j = fall / b.sum() - lost / g.sum()
        self.f1 = 2 * fall / (fall + lost + b.sum())

    def best(self, by: np.ndarray) -> tuple[float, float]:
        """The neighbours between which the best bound lies; of several the loosest."""
        return tuple(self.pairs[int(np.argmax(by))])

    def resampled(self) -> list[tuple[float, float]]:
        """Best places over verdicts drawn with replacement."""
        rng, found = np.random.default_rng(0), []
        for _ in range(RESAMPLES):
            at = rng.integers(len(self.values), size=len(self.values))
            if 0 < self.good[at].sum() < len(at) and len(np.unique(self.values[at])) > 1:
                again = Cuts(self.values[at], self.good[at])
                found.append(again.best(again.j))
        return found or [self.best(self.j)]


def youden(kept: np.ndarray, good: np.ndarray) -> float:
    return float(kept[good].mean() - kept[~good].mean())


def above(values: np.ndarray, good: np.ndarray) -> float:
    """Probability that a good row's value is above a bad one's, ties counted half."""
    low = np.sort(values[~good])
    return float(
        (np.searchsorted(low, values[good], "left") + np.searchsorted(low, values[good], "right")).sum()
        / 2
        / len(low)
        / good.sum()
    )


def spelled(dropped: float, kept: float, whole: bool) -> float | int:
    """The bound between the last value that falls and the first that stays with the fewest digits; of whole numbers the kept one."""
    if whole:
        return int(kept)
    for digits in range(-3, 17):
        value = float(round((dropped + kept) / 2, digits))
        if min(dropped, kept) < value < max(dropped, kept):
            return value
    return float(kept)


# ---- in words


def _words(v: Verdicts) -> Iterator[str]:
    if v.pairs[0]:
        total, first, second = v.pairs
        yield f"{total:,} pairs judged: the first is better in {first:,}, the second in {second:,}" + (
            f", {total - first - second:,} on which they disagree" if total > first + second else ""
        )
    if v.counts[0] or not v.pairs[0]:
        yield _counted(v)
    if not v.rows:
        return
    basis = "for the pool, by weight" if v.weighted else "of the rows asked, not of the pool: they were not drawn at random"
    lines = [[a.rule, a.rows, a.dropped, a.bad, a.both, *map(_share, (a.precision, a.recall, a.kappa))] for a in v.agreements()]
    yield f"agreement {basis}\n" + plain(
        ["rule", "verdicts", "dropped", "bad", "both", "precision", "recall", "kappa"], lines, numbers=range(1, 8)
    )
    found = v.suggestions()
    if found:
        rows = [[of(s) for of in _SUGGESTED.values()] for s in found]
        yield "suggested bounds\n" + plain(list(_SUGGESTED), rows, numbers=range(2, 12))
    if any(s.few for s in found):
        yield f"few: fewer than {FEW} good or {FEW} bad rows have this score; ask for more before you move the bound"


def _counted(v: Verdicts) -> str:
    total, disputed, unsure, strangers = v.counts
    who, twice, alpha = v.alpha()
    bad = sum(r["verdict_"] == "bad" for r in v.rows)
    summary = f"{total:,} rows with a verdict (annotators: {who}): {len(v.rows) - bad:,} good, {bad:,} bad"
    summary += f", {disputed:,} on which they disagree, {unsure:,} unsure"
    if strangers:
        summary += f"; {strangers:,} of rows that this run does not have"
    if twice:
        summary += f"\n{twice:,} rows judged by two and more"
        summary += f", Krippendorff's alpha {alpha:.2f}" if alpha is not None else ""
    return summary


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


#: The columns of suggested bounds.
_SUGGESTED = {
    "score": lambda s: s.column,
    "side": lambda s: s.side,
    "good": lambda s: s.good,
    "bad": lambda s: s.bad,
    "AUC": lambda s: _share(s.auc),
    "bound now": lambda s: s.now,
    "J now": lambda s: _share(s.j_now),
    "best J": lambda s: _share(s.j),
    "bound": lambda s: s.bound,
    "90 % range": lambda s: f"{s.low:.6g} … {s.high:.6g}",
    "best F1": lambda s: _share(s.f1),
    "bound by F1": lambda s: s.bound_f1,
    "": lambda s: "few" if s.few else "",
}
