"""The budget of a run for generating models: divided among the tasks at work, counted as they end."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from curate.recipe import Recipe
from curate.runner.workers import Lane
from curate.score.budget import UNLIMITED, Spending, committed
from curate.score.part import Part
from curate.score.result import TaskResult
from curate.stage import Stage
from curate.store.atomic import Store


class SharedBudget:
    """A run's budget, divided among the tasks at work: no task gets what another one may still spend."""

    def __init__(self, cap: Spending, spent: dict[str, Spending]):
        self.cap, self.spent = cap, dict(spent)
        self.reserved: dict[Any, Spending] = {}

    @property
    def total(self) -> Spending:
        return sum(self.spent.values(), Spending())

    def share(self, visit: Any, calls: int) -> Spending | None:
        """A task's share; zero if all is spent, None if the rest is reserved by other tasks and this one has to wait."""
        left = self.cap - self.total
        if left.cost <= 0 or left.tokens <= 0:
            return Spending()
        free = left - sum(self.reserved.values(), Spending()) if self.reserved else left
        if free.cost <= 0 or free.tokens <= 0:
            return None
        share = Spending(
            *(min(f, max(f / (4 * calls), c / 100)) for f, c in ((free.cost, self.cap.cost), (free.tokens, self.cap.tokens)))
        )
        self.reserved[visit] = share
        return share

    def settle(self, visit: Any, part: str, spent: Spending) -> None:
        """Count what a task spent, at its end."""
        self.reserved.pop(visit, None)
        self.spent[part] = self.spent.get(part, Spending()) + spent

    def recount(self, visit: Any, part: str, spent: Spending) -> None:
        """Count a task whose worker died, by what the part's commits record (`spent`)."""
        self.reserved.pop(visit, None)
        self.spent[part] = spent


class RunBudget:
    """The cap of a run, what it has spent, and the rows that no model was asked about because of it.

    cap: of all visits to the run. What earlier ones spent is read from their commits.
    """

    def __init__(self, store: Store, recipe: Recipe, cap: Spending):
        self.store, self.cap = store, cap
        self.stages = [(s, recipe.fingerprints[s.name]) for s in recipe.steps if isinstance(s, Stage) and s.streams]
        self.purse: SharedBudget | None = None
        self.spent = Spending()  # in this visit to the run
        self.over: dict[tuple[str, str], int] = {}  # rows that were not asked about, by lane and part

    def divide(self, engine: Any, lanes: list[Lane], parts: Iterable[Part]) -> None:
        """Divide the budget among the concurrent calls of lanes that query models."""
        asking = [lane for lane in lanes if lane.target.streams]
        if self.cap == UNLIMITED or not asking:
            return
        if self.purse is None:
            parts = list(parts)
            spent = engine.map(partial(committed, self.store, self.stages), parts)
            self.purse = SharedBudget(self.cap, {part.id: each for part, each in zip(parts, spent)})
        for lane in asking:
            lane.besides = partial(self._share, lane.name, sum(each.calls for each in asking))

    def _share(self, lane: str, calls: int, part: Part) -> tuple[Spending] | None:
        share = self.purse.share((lane, part.id), calls)
        return None if share is None else (share,)

    def seen(self, lane: Lane, part: Part, done: TaskResult) -> None:
        """Count a task's result."""
        if lane.target.streams:
            self.spent += done.spent
            self.over[lane.name, part.id] = done.over_budget
            if self.purse:
                self.purse.settle((lane.name, part.id), part.id, done.spent)

    def lost(self, lane: Lane, part: Part) -> None:
        """Count a task that ended without a result, by the part's commits."""
        if self.purse and lane.target.streams:
            self.purse.recount((lane.name, part.id), part.id, committed(self.store, self.stages, part))

    def record(self) -> dict[str, Any]:
        """What recipe.json records of the budget."""
        cap = {} if self.cap == UNLIMITED else {"max_cost": _finite(self.cap.cost), "max_tokens": _finite(self.cap.tokens)}
        return {"cost": self.spent.cost, "tokens": self.spent.tokens, **cap, "over_budget": sum(self.over.values())}

    def reaches_further(self, earlier: dict[str, Any] | None) -> bool:
        """Whether the cap was raised since the last run, so that rows skipped for lack of budget can be computed."""
        before = (earlier or {}).get("spent", {})
        caps = ((before.get("max_cost"), self.cap.cost), (before.get("max_tokens"), self.cap.tokens))
        return (
            bool(before.get("over_budget"))
            and all(now >= (then or 0) for then, now in caps)
            and any(then is not None and now > then for then, now in caps)
        )


def _finite(amount: float) -> float | None:
    return amount if amount < UNLIMITED.cost else None
