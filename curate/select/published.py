"""Rows of earlier releases, which selectors of a growing set see beside the new ones."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.recipe import Recipe
from curate.score.part import SHIFT
from curate.select.pool import Gathered, Known, publish_gathered, reread
from curate.selector import PUBLISHED, Selector
from curate.stage import Stage, column, digest
from curate.store.atomic import Store
from curate.store.releases import Release


@dataclass(frozen=True)
class EarlierRows:
    """The kept rows of the releases that a run is made onto. Their ids begin at PUBLISHED and follow the order of the releases."""

    store: Store  # of the run itself
    releases: tuple[Release, ...] = ()

    def rows(self, table: str, selectors: list[Selector], known: Known, run_map: Callable = map) -> list[Gathered]:
        """The columns that selectors of a table read of earlier releases: a file for each ledger file."""
        seen = [s for s in selectors if s.table == table and s.sees_published]
        columns = tuple(sorted({c for s in seen for c in s.reads} - {"id"}))
        items = [item for release in self.releases if seen for item in self._items(release, table, columns)]
        return list(run_map(partial(_gather, self.store, table, columns, known), items))

    def _items(self, release: Release, table: str, columns: tuple[str, ...]) -> list["_Ledger"]:
        there = release.at(self.store)
        makers = {c: m.get("fingerprint", "") for c in columns if (m := _maker(there.json("recipe.json") or {}, table, c))}
        names = there.names(f"ledger/{table}")
        paths = [there.path(f"ledger/{table}/{name}") for name in names]
        marks = [digest([release.made, name, sorted(makers.items())]) for name in names]
        return [_Ledger(path, release.first_part + n, mark) for n, (path, mark) in enumerate(zip(paths, marks))]

    def check(self, recipe: Recipe) -> None:
        """RecipeError if a release lacks a column that a selector compares by, or has one that another model made."""
        for release in self.releases:
            there = release.at(self.store)
            record = there.json("recipe.json") or {}
            for selector in [s for s in recipe.steps if isinstance(s, Selector) and s.sees_published]:
                names = there.names(f"ledger/{selector.table}")
                fields = there.fields(f"ledger/{selector.table}/{names[0]}").names if names else []
                for read in selector.reads:
                    if column(read) not in [*fields, "id"]:
                        raise RecipeError(
                            f"{selector.name} compares new rows by {read} with those of {there.url}, which have no such column: "
                            f"run that recipe with the step that adds it, or leave {selector.name} out"
                        )
                    _same_maker(recipe, selector, read, record, there.url)


@dataclass(frozen=True)
class _Ledger:
    """A ledger file of a release: its number over all releases, and the makers of its columns."""

    path: str
    number: int
    mark: str


def _gather(store: Store, table: str, columns: tuple[str, ...], known: Known, item: _Ledger) -> Gathered:
    """Write `id`, `uid` and these columns of the kept rows of a ledger's file into the run, unless they are there."""
    head, part = f"published-{table}-{digest([item.mark, item.number, columns])}", (PUBLISHED >> SHIFT) + item.number
    if head in known.there:
        return reread(known.there[head], part)
    rows = store.table(item.path, list(dict.fromkeys(["uid", "kept", *columns])))
    ids = pa.array((part << SHIFT) + np.arange(len(rows)), pa.int64())
    kept = rows.append_column("id", ids).filter(rows["kept"])
    for missing in set(columns) - set(kept.column_names):
        kept = kept.append_column(missing, pa.nulls(len(kept)))
    kept = kept.select(list(dict.fromkeys(["id", "uid", *columns]))).replace_schema_metadata(None)
    return publish_gathered(store, known.named.get(head), head, part, kept)


# ---- whether columns can be compared


def _maker(record: dict[str, Any], table: str, name: str) -> dict[str, Any] | None:
    """The record of the step that made a column; None for a source column."""
    steps = [s for s in record.get("steps", ()) if s.get("table", "images") == table and column(name) in s.get("adds", ())]
    return steps[-1] if steps else None


def _same_maker(recipe: Recipe, selector: Selector, read: str, record: dict[str, Any], url: str) -> None:
    """RecipeError if a column's step here differs from the one that made it in a release."""
    steps = [s for s in recipe.steps if s.table == selector.table and column(read) in s.adds()]
    theirs = _maker(record, selector.table, read)
    if not steps or not isinstance(steps[-1], Stage) or theirs is None:
        return
    ours = json.loads(json.dumps(steps[-1].identity(), default=str))
    if other := [k for k, v in ours.items() if k != "name" and theirs.get(k) != v]:
        raise RecipeError(
            f"{selector.name} compares by {read}, which was made otherwise in {url}: {other[0]} is {theirs.get(other[0])!r} there "
            f"and {ours[other[0]]!r} here; use the same, or run {url} anew with this one"
        )
