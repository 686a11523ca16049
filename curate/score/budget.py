"""Budgets for generating models: the share of one task, and the spending recorded in commits."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from curate.score.part import Part, commits
from curate.stage import Stage
from curate.store.atomic import Store


@dataclass(frozen=True)
class Spending:
    """An amount: `cost` in the currency of the prices given, and tokens, read and written together."""

    cost: float = 0.0
    tokens: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.cost + other.cost, self.tokens + other.tokens)

    def __sub__(self, other: "Spending") -> "Spending":
        pairs = ((self.cost, other.cost), (self.tokens, other.tokens))
        return Spending(*(mine if mine == math.inf else mine - theirs for mine, theirs in pairs))

    def __mul__(self, times: float) -> "Spending":
        return Spending(*(0.0 if times == 0 else each * times for each in (self.cost, self.tokens)))

    def within(self, cap: "Spending") -> bool:
        return self.cost <= cap.cost and self.tokens <= cap.tokens


#: No cap.
UNLIMITED = Spending(math.inf, math.inf)


class Allowance:
    """The share of a run's budget that one task may spend. A request is not sent if, at the average cost of the answers so far, it would
    exceed the share; a share of zero means that the run's budget is spent."""

    def __init__(self, share: Spending = UNLIMITED):
        self.share, self.spent, self.answers = share, Spending(), 0

    @property
    def exhausted(self) -> bool:
        return self.share == Spending()

    @property
    def capped(self) -> bool:
        return self.share != UNLIMITED

    def count(self, spent: Spending) -> None:
        """Count the spending of one answer."""
        self.spent, self.answers = self.spent + spent, self.answers + 1

    def left(self, under_way: int) -> bool:
        """Whether another request may be sent while `under_way` are pending; only one until the first answer shows the cost."""
        if self.capped and not self.answers:
            return under_way == 0 and not self.exhausted
        return (self.spent + self.spent * ((under_way + 1) / max(1, self.answers))).within(self.share)


def committed(store: Store, stages: Iterable[tuple[Stage, str]], part: Part) -> Spending:
    """The spending recorded in a part's commits of these stages, given with their fingerprints."""
    names, total = store.names(part.folder), Spending()
    for stage, fingerprint in stages:
        for name in commits(names, stage.table, stage.name, fingerprint):
            with store.parquet(f"{part.folder}/{name}") as data:
                note = json.loads((data.schema_arrow.metadata or {}).get(b"curate", b"{}"))
            total += Spending(note.get("cost", 0.0), note.get("tokens", 0.0))
    return total
