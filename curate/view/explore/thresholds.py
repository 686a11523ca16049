"""Thresholds moved by hand: how many rows pass, who would leave and who would enter, and the options that apply them to a run."""

from dataclasses import dataclass
from typing import Any

from curate.errors import RecipeError
from curate.selector import identifier, quoted
from curate.view.bounds import Bound, bounds_of
from curate.view.explore.query import finite

#: Rows of each side that are shown: those nearest to the threshold.
SHOWN = 24


@dataclass(frozen=True)
class Move:
    """A threshold of the recipe and the value that it is moved to."""

    bound: Bound
    value: float

    def passes(self) -> str:
        """SQL: whether a row would pass; null where it has no value."""
        return _passes(self.bound, self.value)


def moves_of(asked: Any, recipe: dict[str, Any], table: str) -> list[Move]:
    """The moves that a page asks for, as [{setting, value}]; RecipeError for a threshold that the recipe does not have."""
    there = {b.setting: b for b in bounds_of(recipe, table) if b.setting}
    if not isinstance(asked, list) or not all(isinstance(a, dict) for a in asked):
        raise RecipeError("thresholds: a list of settings with values")
    for one in asked:
        if one.get("setting") not in there:
            raise RecipeError(f"the recipe has no threshold {str(one.get('setting'))[:80]}")
    return [Move(there[one["setting"]], finite(one.get("value"), one["setting"])) for one in asked]


def outcome(con: Any, table: str, moves: list[Move], recipe: dict[str, Any]) -> dict[str, Any]:
    """What moved thresholds would do to the rows of the whole run: counts, some uids of either side, and the options.

    Rows that enter were dropped by a moved rule and would pass it now; later steps may still drop them. Rows that leave are kept now.
    """
    if not moves:
        return {"leave": 0, "enter": 0, "leaving": [], "entering": [], "options": [], "passes": []}
    leave, enter = _leaves(moves), _enters(moves, bounds_of(recipe, table))
    first = moves[-1].bound
    far = f"abs({identifier(first.column)} - {first.value!r})"
    counts = ", ".join(f"count(*) filter ({m.passes()}), count({identifier(m.bound.column)})" for m in moves)
    left, entered, leaving, entering, *rest = con.execute(
        f"""select count(*) filter ({leave}), count(*) filter ({enter}), arg_min(uid, {far}, {SHOWN}) filter ({leave}),
        arg_min(uid, {far}, {SHOWN}) filter ({enter}), {counts} from {table}"""
    ).fetchall()[0]
    passing = [{"rows": n, "of": of} for n, of in zip(rest[::2], rest[1::2])]
    options = [f"--set {option(m, p['rows'], p['of'])}" for m, p in zip(moves, passing)]
    return {
        "leave": left,
        "enter": entered,
        "leaving": list(dict.fromkeys(leaving or ())),
        "entering": list(dict.fromkeys(entering or ())),
        "passes": passing,
        "options": options,
    }


def option(move: Move, passing: int, of: int) -> str:
    """The setting of a threshold as `--set` takes it; of a ranking the fraction of the rows that pass."""
    value = passing / of if move.bound.setting.endswith(".fraction") and of else move.value
    return f"{move.bound.setting}={value:.6g}"


def _leaves(moves: list[Move]) -> str:
    """Rows that are kept and fail a moved threshold."""
    return f"kept and not coalesce({' and '.join(m.passes() for m in moves)}, true)"


def _enters(moves: list[Move], bounds: list[Bound]) -> str:
    """Rows that a moved rule dropped, which pass all thresholds of that rule where it is now, and the other moved ones as far as they
    have values."""
    moved = {m.bound.setting: m for m in moves}
    cases = []
    for rule in dict.fromkeys(m.bound.rule for m in moves):
        mine = [moved.get(b.setting, Move(b, b.value)) for b in bounds if b.rule == rule]
        others = [m for m in moves if m.bound.rule != rule]
        tests = [m.passes() for m in mine] + [f"coalesce({m.passes()}, true)" for m in others]
        cases.append(f"(drop_reason = {quoted(rule)} and coalesce({' and '.join(tests)}, false))")
    return f"not kept and ({' or '.join(cases)})"


def _passes(bound: Bound, value: float) -> str:
    column = identifier(bound.column)
    return f"({column} {'>=' if bound.side == 'min' else '<='} {value!r} and not isnan({column}::double))"
