"""The state of the run in a folder: its record, and whether it is finished and up to date."""

import json
from collections.abc import Iterator
from typing import Any

from curate.errors import PoolError, RecipeError
from curate.paths import printable
from curate.recipe import Recipe
from curate.removed import pending
from curate.score.ingest import input_key, is_unchanged, part_id
from curate.stage import digest
from curate.store import checksums, releases
from curate.store.atomic import Store
from curate.store.folder import EARLY, PARTS, refuse_older, top
from curate.store.inputs import run_record
from curate.store.lease import ended
from curate.store.releases import Release


def record(store: Store, repair: bool) -> dict[str, Any] | None:
    """The record of the run in the folder, None if the folder is empty; RecipeError if it holds something else. A damaged
    record is None with `repair`, else a PoolError."""
    refuse_older(store)
    if store.exists("recipe.json"):
        sums = checksums.read(store) if repair else None
        if sums is not None and not checksums.holds(store, "recipe.json", sums):
            return None
        try:
            return run_record(store)
        except PoolError:
            if repair:
                return None
            raise
    other = [n for n in store.names("") if n not in top(*EARLY)]
    if other and not (repair and store.names(PARTS)):
        raise RecipeError(f"{store.url}: holds something else ({', '.join(other[:3])}), and no run; choose an empty folder")
    return None


def state_of(recipe: Recipe, parts: list[str], problems: list[str], published: list[Release]) -> str:
    """The digest that identifies a finished run: recipe, part ids, unreadable inputs, earlier releases."""
    onto = [[r.made for r in published]] if published else []
    return digest([recipe.fingerprint, parts, problems, *onto])


def is_finished(store: Store, state: str, published: list[Release]) -> bool:
    """Whether the run in the folder is complete and in this state."""
    if not checksums.is_whole(store):
        return False
    dataset = json.loads(store.read("dataset.json"))
    return dataset.get("state") == state and releases.named(dataset) == published


def nothing_to_do(store: Store, recipe: Recipe, earlier: dict[str, Any] | None, part_size: int) -> bool:
    """Whether the folder holds the finished run of this recipe on its input, judged by its record and listings without reading
    the input: the same files, in the versions that were read. False where only a full look can decide."""
    if not earlier or earlier.get("state") != "finished" or earlier.get("onto"):
        return False
    if pending(store) or not ended(store):  # a driver that died may have left more behind
        return False
    parts = list(_parts(recipe, earlier, part_size))
    return None not in parts and is_finished(store, state_of(recipe, parts, [], []), [])


def _parts(recipe: Recipe, earlier: dict[str, Any], part_size: int) -> Iterator[str | None]:
    """The part ids of all inputs; None for an input that has changed or was not read."""
    files, known = recipe.source.files(), {i["path"]: i for i in earlier["inputs"]}
    if sorted(map(printable, files)) != sorted(known):
        yield None
        return
    for before in (known[printable(file)] for file in files):
        same = before.get("version") and "error" not in before and is_unchanged(before)
        if not same or "parts" not in before or input_key(before, recipe.source, part_size) != before["key"]:
            yield None
            return
        yield from (part_id(before["key"], n) for n in range(before["parts"]))
