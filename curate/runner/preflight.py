"""What a recipe loads is looked for before anything is fetched: models, word lists, entries, heads, centroids, evaluation sets."""

from typing import Any

from curate.errors import RecipeError
from curate.recipe import Recipe
from curate.score.part import commits
from curate.store.atomic import Store


def preflight(recipe: Recipe, earlier: dict[str, Any] | None = None, reused: Store | None = None) -> None:
    """RecipeError, in one line, of all that is missing or does not fit.

    earlier: the record of the run that is there. Steps that it has finished over the same input load nothing, and are not asked;
    nor those whose columns the run has that a new one begins with (`reused`).
    """
    finished = set()
    if earlier and earlier.get("state") == "finished" and _same_input(recipe, earlier):
        finished = {s.get("fingerprint") for s in earlier.get("steps", ())}
    elif earlier is None and reused is not None:
        finished = _computed(recipe, reused)
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


def _computed(recipe: Recipe, store: Store) -> set[str]:
    """The fingerprints of steps that the first and the last part have columns of."""
    parts = store.names("parts")
    listed = [store.names(f"parts/{part}") for part in {parts[0], parts[-1]}] if parts else []
    prints = ((s.table, s.name, recipe.fingerprints[s.name]) for s in recipe.steps)
    return {p for table, name, p in prints if listed and all(commits(names, table, name, p) for names in listed)}


def _same_input(recipe: Recipe, earlier: dict[str, Any]) -> bool:
    return sorted(recipe.source.files()) == sorted(i.get("path", "") for i in earlier.get("inputs", ()))
