"""`curate gc`: remove unreferenced files from a run's folder. It holds the lease, so it never runs beside a driver.

Stages' commits are kept, also those of older recipes, so that going back to one costs nothing. Removed are half-written files of
dead writers, payload tars that no commit references (of attempts that died, or lost to another), and, once a run is finished,
the selectors' intermediate files, decisions for other bounds, the plan of the shards, and shards or ledger files that SHA256SUMS
does not list.
"""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curate.store import checksums as seal
from curate.store import folder
from curate.store.atomic import Store
from curate.store.folder import PARTS
from curate.store.lease import held


def collect(store: Store, dry: bool = False) -> dict[str, int]:
    """Remove unreferenced files (dry: only list them); returns their names and sizes in bytes."""
    with held(store):
        garbage = dict(_garbage(store))
        if not dry:
            for name in garbage:
                store.remove(name)
            store.sweep()
    return garbage


def _garbage(store: Store) -> Iterator[tuple[str, int]]:
    for part in store.names(PARTS):
        sizes = store.sizes(f"{PARTS}/{part}")
        tars = {n for n in sizes if n.endswith(".tar")}
        known = named(store, part, sizes) if tars else set()
        yield from ((f"{PARTS}/{part}/{n}", sizes[n]) for n in sorted(tars - known))
    sums = seal.read(store)
    if sums is None or not seal.is_whole(store):
        return
    # Everything else can be recomputed from the commits, but after a takedown not the samples' places and the decisions: kept.
    recipe, dataset = (json.loads(store.read(name)) for name in seal.SMALL)
    current = {*sums, *decided(recipe), dataset.get("assigned")}
    for name, size in folder.sizes(store, folder.Role.DERIVED, folder.Role.PASSING, folder.Role.SHOWN):
        if name not in current and name.rpartition("/")[0] not in current:
            yield name, size


def decided(recipe: dict[str, Any]) -> set[str]:
    """The decision folders of a finished run, by its recipe.json."""
    return {made for _, made, _ in recipe.get("decisions", [])}


def named(store: Store, part: str, sizes: dict[str, int]) -> set[str]:
    """The tars that the commits of a part reference in their column `payload`. PoolError for a commit that cannot be read."""
    found: set[str] = set()
    for name in [f"{PARTS}/{part}/{n}" for n in sizes if n.endswith(".parquet")]:
        found |= tars(store.table(name, ["payload"]), part)
    return found


def tars(table: pa.Table, part: str) -> set[str]:
    """The part's own tars that the rows of a commit reference."""
    if "payload" not in table.column_names:
        return set()
    here = f"{PARTS}/{part}/"
    return {n.removeprefix(here) for n in table["payload"].unique().drop_null().to_pylist() if n.startswith(here)}
