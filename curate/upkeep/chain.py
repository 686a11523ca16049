"""The chain of releases of a growing data set: check of the earlier releases, and takedown in all of them."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import duckdb

from curate.errors import PoolError
from curate.removed import Removed, removed
from curate.select.database import scan
from curate.shard.write import root_hash, shard_name
from curate.store.atomic import Store
from curate.store.releases import Release, chain_hash, located, named
from curate.upkeep.takedown import TakedownResult, closure, takedown


def chain(store: Store) -> list[Store]:
    """The runs of a growing data set, oldest first: the releases that a run extends, and the run itself."""
    return [*(located(store, place) for place in (store.json("recipe.json") or {}).get("onto", ())), store]


def take_down(
    stores: list[Store], requested: Removed, report: Callable[[Store], None], dry: bool = False
) -> list[tuple[Store, TakedownResult]]:
    """Take down the requested content in several runs, in this order, and what was taken down in any of them before; one result a run.

    Related rows of one run (same URL or bytes, duplicates) are taken down in all. report: rewrites a run's report and card."""
    found, size = Removed(), -1
    for store in stores:
        found.add(removed(store))
    while len(found) != size:
        size = len(found)
        for store in stores:
            found = closure(store, found | requested)
    return [(store, takedown(store, requested, partial(report, store), dry, found)) for store in stores]


def chain_faults(store: Store, dataset: dict[str, Any], con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Faults of the earlier releases: shards that differ from the root hash, uids kept in two releases, takedowns that this run lacks."""
    earlier, table = named(dataset), dataset.get("table", "images")
    if earlier and chain_hash([*(r.root_hash for r in earlier), dataset["root_hash"]]) != dataset.get("chain_hash"):
        yield "dataset.json: the hash of the chain is not that of its releases"
    for release in earlier:
        try:
            there = release.at(store)
            if not there.exists("dataset.json"):
                yield f"{release.run}: no finished run is there; put the folder of this release back, or at this path beside the run"
                continue
            yield from (f"{release.run}: {fault}" for fault in _release_faults(release, there))
            yield from _duplicate_uids(con, release, there, table)
            if len(missing := removed(there) - removed(store)):
                yield f"{release.run}: {len(missing)} entries that were taken down there are not on this run's list; `curate takedown` goes on"
        except (PoolError, OSError, KeyError, duckdb.Error) as e:
            yield f"{release.run}: cannot be read: {e}"


def _release_faults(release: Release, there: Store) -> Iterator[str]:
    found = there.json("dataset.json")
    if found["root_hash"] != release.root_hash:
        yield f"its root hash is {found['root_hash'][:12]}…, this run was made onto {release.root_hash[:12]}…"
    listed = found["shards"]
    if listed and root_hash(listed) != found["root_hash"]:
        yield "dataset.json: the root hash is not that of its shards"
    first, count = release.first_shard, release.shards
    if [s["name"] for s in listed] != [shard_name(first + n, first + count) for n in range(count)]:
        yield f"dataset.json: its shards are not numbered from {first} to {first + count - 1}"
    for entry in listed:
        for kind in ("tar", "parquet"):
            yield from hash_faults(there, f"shards/{entry['name']}.{kind}", entry[kind])


def _duplicate_uids(con: duckdb.DuckDBPyConnection, release: Release, there: Store, table: str) -> Iterator[str]:
    names = [f"ledger/{table}/{n}" for n in there.names(f"ledger/{table}")]
    if not there.local:
        con.register_filesystem(there.fs)
    both = f"from {table} join (select uid from {scan(there, names, columns='uid, kept')} where kept) using (uid) where kept"
    count, first = con.sql(f"select count(*), min(uid) {both}").fetchall()[0]
    if count:
        yield f"{release.run}: {count} uids are kept there and in this run too (first: {first})"


def hash_faults(store: Store, name: str, wanted: dict[str, Any]) -> Iterator[str]:
    """Faults of a file whose size or SHA-256 differs from its record."""
    try:
        with store.open(name) as f:
            found, size = hashlib.file_digest(f, "sha256").hexdigest(), f.seek(0, 2)
    except OSError as e:
        yield f"{name}: cannot be read: {e.strerror or e}"
        return
    if size != wanted["bytes"]:
        yield f"{name}: has {size} bytes, should have {wanted['bytes']}"
    elif found != wanted["sha256"]:
        yield f"{name}: the SHA-256 of its bytes is {found[:12]}…, should be {wanted['sha256'][:12]}…"
