"""Checks before anything is fetched: models, word lists, entries, heads, centroids, evaluation sets."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from curate.errors import PoolError, RecipeError
from curate.recipe import Recipe
from curate.score.part import commits
from curate.stage import Stage, plain
from curate.store.atomic import Store
from curate.store.folder import PARTS

log = logging.getLogger(__name__)


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


def settle(recipe: Recipe, record: dict[str, Any] | None, gpus: Callable[[], float] | None = None) -> None:
    """Fix the precision of models before fingerprints are computed: that of the run that `record` belongs to, so that no run
    mixes two; else by `gpus`."""
    steps = {s["step"]: s.get("precision") for s in (record or {}).get("steps", ())}
    for stage in [s for s in recipe.steps if isinstance(s, Stage) and s.casts]:
        here = "bfloat16" if gpus and gpus() else "float32"
        stage.precision = steps.get(stage.name) or here
        if gpus and stage.precision != here:
            log.warning("%s goes on in %s, in which this run was begun; here it would be %s", stage.name, stage.precision, here)
    for known in ("fingerprints", "fingerprint"):
        recipe.__dict__.pop(known, None)


def same_recipe(store: Store, earlier: dict[str, Any], recipe: Recipe) -> None:
    """RecipeError if the folder holds the run of another recipe (record `earlier`), whose shards the new run would replace."""
    if earlier.get("fingerprint") == recipe.fingerprint:
        return
    before = earlier.get("name", "")
    if before and recipe.name:
        same = before == recipe.name
    else:  # a recipe without a name is another one if they have no step in common, fetching apart
        fetching = {s.name for s in recipe.steps if s.network} | {"duplicate_uid", "decode"}
        steps, now = ({s["step"] for s in earlier.get("steps", ())} - fetching, {s.name for s in recipe.steps} - fetching)
        same = not (steps and now) or bool(steps & now)
    if same:
        return
    source = json.loads(json.dumps(plain(recipe.source), default=str))
    alike = {**earlier.get("source", {}), "paths": None} == {**source, "paths": None}
    ways = (
        f"another folder with -o (--reuse {store.url} begins with what is computed there)"
        if alike
        else "another folder with -o"
    )
    raise RecipeError(
        f"{store.url}: holds a run of {_called(before)} ({_state(store, earlier)}), and this is {_called(recipe.name)}: "
        f"choose {ways}" + (", or --replace (in Python replace=True) to replace it" if alike else "")
    )


def _called(name: str) -> str:
    return f"recipe {name}" if name else "a recipe without a name"


def _state(store: Store, earlier: dict[str, Any]) -> str:
    """When a run ended or began, and its number of samples."""
    day = lambda seconds: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))  # noqa: E731
    if earlier.get("state") != "finished":
        return f"begun {day(earlier['began'])}, not finished" if "began" in earlier else "not finished"
    ended = f"finished {day(earlier['began'] + earlier['seconds'])}, " if "began" in earlier else ""
    try:
        samples = (store.json("dataset.json") or {})["samples"]
    except (PoolError, KeyError):
        return ended + "its dataset.json is missing or damaged"
    return f"{ended}{samples:,} sample{'s' * (samples != 1)}"


def _computed(recipe: Recipe, store: Store) -> set[str]:
    """The fingerprints of steps that have columns in the first and the last part."""
    parts = store.names(PARTS)
    listed = [store.names(f"{PARTS}/{part}") for part in {parts[0], parts[-1]}] if parts else []
    prints = ((s.table, s.name, recipe.fingerprints[s.name]) for s in recipe.steps)
    return {p for table, name, p in prints if listed and all(commits(names, table, name, p) for names in listed)}


def _same_input(recipe: Recipe, earlier: dict[str, Any]) -> bool:
    return sorted(recipe.source.files()) == sorted(i.get("path", "") for i in earlier.get("inputs", ()))
