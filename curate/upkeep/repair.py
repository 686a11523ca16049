"""`curate run --repair`: read everything a run keeps, and remove what is damaged, so that the run computes just that again.

Page checksums tell of damaged tables, the name of a payload tar of damaged bytes, SHA256SUMS of damaged outputs. A payload
that is lost is fetched again, and so is what was computed from it, because the web may answer differently today.
"""

import errno
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import PoolError
from curate.recipe import Recipe
from curate.stage import Stage
from curate.store import checksums as seal
from curate.store.atomic import Store
from curate.upkeep import gc


def repair(store: Store, recipe: Recipe, run_map: Callable = map) -> list[str]:
    """Remove what is damaged; one line for each file that was removed."""
    found = [*_inputs(store), *_outputs(store), *_derived(store)]
    stages = [s for s in recipe.steps if isinstance(s, Stage)]
    for lines in run_map(partial(_part, store, stages), store.names("parts")):
        found += lines
    folders = (
        ["gathered", "decisions"] if any(line.startswith("parts/") for line in found) else []
    )  # they may name payloads that are gone
    if store.names("removed") and any(not line.startswith("shards/") for line in found):
        # Without the rows taken down decisions may be others, under the same names: all that follows from them is made again.
        folders = [*seal.DERIVED, *seal.SHOWN]
    for name in [f"{folder}/{n}" for folder in folders for n in store.names(folder)]:
        store.remove(name)
    if found:
        store.remove(seal.NAME)
    return found


def _drop(store: Store, name: str, why: str) -> str:
    store.remove(name)
    return f"{name}: {why}"


def _outputs(store: Store) -> Iterator[str]:
    """Files that SHA256SUMS names and that have other bytes; without it the ledger, and shards that are not as their `.json` says."""
    sums = seal.read(store)
    shown = [f"{folder}/{n}" for folder in seal.SHOWN for n in store.names(folder)]
    for name in [*shown, *(n for n in seal.SMALL if store.exists(n))]:
        if sums is not None and sums.get(name) != _hash(store, name):
            yield _drop(store, name, "other bytes than SHA256SUMS says; it is made again")
        elif sums is None and name.startswith("ledger/"):
            yield _drop(store, name, "no SHA256SUMS to tell whether it is whole; it is made again")
        elif sums is None and name.startswith("shards/") and name.endswith(".json") and not _is_as_said(store, name):
            yield _drop(store, name, "not the shard it tells of; it is made again")


def _is_as_said(store: Store, name: str) -> bool:
    try:
        info = store.json(name)
        said = {f"{name[: -len('.json')]}.{k}": info[k]["sha256"] for k in ("tar", "parquet")}
    except (PoolError, KeyError, TypeError):
        return name == "shards/sizes.json"
    return all(_hash(store, file) == hash for file, hash in said.items())


def _hash(store: Store, name: str) -> str:
    """The SHA-256 of a file; empty if it is gone or the disk cannot read it. An object store that does not answer is no damage."""
    try:
        return store.hash(name)
    except OSError as e:
        if isinstance(e, FileNotFoundError) or (store.local and e.errno == errno.EIO):
            return ""
        raise PoolError(f"{store.path(name)}: cannot be read: {e.strerror or e}") from e


def _inputs(store: Store) -> Iterator[str]:
    """Records of input files that do not agree with the parts read from them."""
    for n in store.names("inputs"):
        try:
            record = store.json(f"inputs/{n}")
            sound = f"{record['key']}.json" == n and all(
                part["id"] == f"{record['key']}-{i:06d}"
                and part["rows"] == {t: _rows(store, f"parts/{part['id']}/source.{t}.parquet") for t in part["rows"]}
                for i, part in enumerate(record["parts"])
            )
        except (PoolError, KeyError, TypeError, OSError, pa.ArrowException):
            sound = False
        if not sound:
            yield _drop(store, f"inputs/{n}", "does not agree with its parts; the input is read again")


def _rows(store: Store, name: str) -> int:
    with store.open(name) as f:
        return pq.ParquetFile(f).metadata.num_rows


def _derived(store: Store) -> Iterator[str]:
    """Tables that follow from others: what selectors read and decided, and the plan."""
    for folder in seal.DERIVED:
        for n in store.names(folder):
            if _table(store, f"{folder}/{n}") is None:
                yield _drop(store, f"{folder}/{n}", "damaged; it is made again")


def _table(store: Store, name: str, columns: list[str] | None = None) -> pa.Table | None:
    try:
        return store.table(name, columns)
    except (PoolError, pa.ArrowException, FileNotFoundError, MemoryError):
        return None


def _part(store: Store, stages: list[Stage], part: str) -> list[str]:
    """The rows, columns and payloads of one part."""
    folder, found, lost = f"parts/{part}", [], False
    names = store.names(folder)
    for n in [n for n in names if n.startswith("source.") and _table(store, f"{folder}/{n}") is None]:
        found += [
            _drop(store, f"inputs/{part.rpartition('-')[0]}.json", "its rows are damaged; the input is read again"),
            _drop(store, f"{folder}/{n}", "damaged; the input is read again"),
        ]
    tars = {n for n in names if n.endswith(".tar")}
    damaged = {t for t in tars if not _hash(store, f"{folder}/{t}").startswith(t[: -len(".tar")])}
    parked: set[int] | None = None
    home = ""  # the table whose rows were parked
    for stage in stages:
        for n in [n for n in names if n.startswith(f"{stage.table}.{stage.name}-")]:
            table = _table(store, f"{folder}/{n}")
            named = gc.tars(table, part) if table is not None else set()
            rows = set(table["row"].to_pylist()) if table is not None else set()
            # A value of a row that no payload was ever parked for: the commit that said so is gone.
            lost = lost or (parked is not None and stage.table == home and not stage.parks and not rows <= parked)
            parked, home = ((parked or set()) | rows, stage.table) if stage.parks and not stage.passes else (parked, home)
            if lost or table is None or named - tars | named & damaged:
                why = (
                    "damaged"
                    if table is None
                    else "what it was computed from is fetched again"
                    if lost
                    else f"{len(table)} rows, fetched or made again: their payload is lost"
                )
                if stage.parks and table is not None and "sha256" in table.column_names:
                    # What was fetched, so that it can be told if the web gives something else now.
                    store.publish_table(f"{folder}/lost.{n}", table.select(["row", "sha256"]))
                found.append(_drop(store, f"{folder}/{n}", why))
                lost = lost or stage.parks
        if stage.parks and not stage.passes and parked is None:
            parked, home = set(), stage.table
    return found + [_drop(store, f"{folder}/{t}", "damaged") for t in sorted(damaged)]
