"""The thresholds of a recipe, as a finished run records them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """A threshold of a rule on a column: the rule's name is its drop reason; side is `min` or `max`.

    setting: the parameter that moves it, `STEP.PARAMETER` as `--set` takes it, or nothing.
    """

    rule: str
    column: str
    side: str
    value: float
    setting: str = ""


def bounds_of(recipe: dict[str, Any], table: str | None = None) -> list[Bound]:
    """Every min and max of a recipe.json's steps (of one table), and the cuts that rankings found."""
    found = []
    for step in recipe.get("steps", []):
        if table not in (None, step.get("table", "images")):
            continue
        column, rule = step.get("column") or step["step"], step.get("reason") or step["step"]
        found += [
            Bound(rule, column, side, float(step[side]), f"{step['step']}.{side}")
            for side in ("min", "max")
            if isinstance(step.get(side), (int, float))
        ]
        cut = recipe.get("notes", {}).get(step["step"], {}).get("cut")
        setting = f"{step['step']}.fraction" if "fraction" in step else ""
        found += [Bound(rule, column, "min", float(cut), setting)] if isinstance(cut, (int, float)) else []
    return found
