"""`curate gc`: remove from a run's folder what nothing names. It takes the lease, so it never runs beside a driver.

A stage's commit is named by itself and stays, also that of an older recipe: that is what makes going back free. What goes:
half-written files of dead writers, payload tars that no commit names (of an attempt that died, or lost to another), and, once
a run is finished, what selectors read on the way, what they decided for other bounds, the plan of the shards, and shards or
ledger files that SHA256SUMS does not name.
"""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curate.store import checksums as seal
from curate.store import folder
from curate.store.atomic import Store
from curate.store.lease import held


def collect(store: Store, dry: bool = False) -> dict[str, int]:
    """Remove what nothing names (or just look, if `dry`); the removed names with their sizes in bytes."""
    with held(store):
        garbage = dict(_garbage(store))
        if not dry:
            for name in garbage:
                store.remove(name)
            store.sweep()
    return garbage


def _garbage(store: Store) -> Iterator[tuple[str, int]]:
    for part in store.names("parts"):
        sizes = store.sizes(f"parts/{part}")
        tars = {n for n in sizes if n.endswith(".tar")}
        known = named(store, part, sizes) if tars else set()
        yield from ((f"parts/{part}/{n}", sizes[n]) for n in sorted(tars - known))
    sums = seal.read(store)
    if sums is None or not seal.is_whole(store):
        return
    # The rest is made again from the commits, should another recipe ask. The places of the samples could not be after a takedown,
    # nor what was decided.
    recipe, dataset = (json.loads(store.read(name)) for name in seal.SMALL)
    stays = {*sums, *decided(recipe), dataset.get("assigned")}
    for name, size in folder.sizes(store, folder.Role.DERIVED, folder.Role.PASSING, folder.Role.SHOWN):
        if name not in stays and name.rpartition("/")[0] not in stays:
            yield name, size


def decided(recipe: dict[str, Any]) -> set[str]:
    """The folders of what the selectors of a finished run decided, by its record."""
    return {made for _, made, _ in recipe.get("decisions", [])}


def named(store: Store, part: str, sizes: dict[str, int]) -> set[str]:
    """The tars that some commit of a part names in its column `payload`. A commit that cannot be read ends in its PoolError."""
    found: set[str] = set()
    for name in [f"parts/{part}/{n}" for n in sizes if n.endswith(".parquet")]:
        found |= tars(store.table(name, ["payload"]), part)
    return found


def tars(table: pa.Table, part: str) -> set[str]:
    """The part's own tars that a commit's rows lie in."""
    if "payload" not in table.column_names:
        return set()
    here = f"parts/{part}/"
    return {n.removeprefix(here) for n in table["payload"].unique().drop_null().to_pylist() if n.startswith(here)}
