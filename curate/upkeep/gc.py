"""`curate gc`: remove from a run's folder what nothing names. It takes the lease, so it never runs beside a driver.

A stage's commit is named by itself and stays, also that of an older recipe: that is what makes going back free. What goes:
half-written files of dead writers, payload tars that no commit names (of an attempt that died, or lost to another), and, once
a run is finished, what selectors read on the way and shards or ledger files that SHA256SUMS does not name.
"""

from collections.abc import Iterator

import pyarrow.parquet as pq

from curate import seal
from curate.store import Store
from curate.upkeep.lease import held


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
    # Made again from the commits, should another recipe ask. After a takedown the places of the samples could not be.
    for folder in ("gathered", "planned", *(() if store.names("removed") else ("assigned",))):
        yield from ((f"{folder}/{n}", size) for n, size in sorted(store.sizes(folder).items()))
    for folder in ("shards", *(f"ledger/{t}" for t in ("images", "documents", "texts"))):
        yield from ((f"{folder}/{n}", size) for n, size in sorted(store.sizes(folder).items()) if f"{folder}/{n}" not in sums)


def named(store: Store, part: str, sizes: dict[str, int]) -> set[str]:
    """The tars that some commit of a part names in its column `payload`. A commit that cannot be read ends in its PoolError."""
    found: set[str] = set()
    for n in [n for n in sizes if n.endswith(".parquet")]:
        with store.open(f"parts/{part}/{n}") as f:
            has = "payload" in pq.ParquetFile(f).schema_arrow.names
        if has:
            payloads = store.table(f"parts/{part}/{n}", ["payload"])["payload"].unique().drop_null().to_pylist()
            found |= {name.rpartition("/")[2] for name in payloads}
    return found
