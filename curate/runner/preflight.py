"""What a recipe loads is looked for before anything is fetched: models, word lists, entries, heads, centroids, evaluation sets."""

from typing import Any

from curate.errors import RecipeError
from curate.recipe import Recipe


def preflight(recipe: Recipe, earlier: dict[str, Any] | None = None) -> None:
    """RecipeError, in one line, of all that is missing or does not fit.

    earlier: the record of the run that is there. Steps that it has finished over the same input load nothing, and are not asked.
    """
    finished = set()
    if earlier and earlier.get("state") == "finished" and _same_input(recipe, earlier):
        finished = {s.get("fingerprint") for s in earlier.get("steps", ())}
    problems: list[str] = []
    widths: dict[str, int] = {}
    for step in recipe.steps:
        try:
            if recipe.fingerprints[step.name] not in finished:
                step.preflight(widths)
            widths |= step.widths()
        except RecipeError as e:
            problems.append(str(e))
    if problems:
        raise RecipeError("; ".join(dict.fromkeys(problems)))


def _same_input(recipe: Recipe, earlier: dict[str, Any]) -> bool:
    return sorted(recipe.source.files()) == sorted(i.get("path", "") for i in earlier.get("inputs", ()))
