"""`curate run --repair`: read everything a run keeps, and remove what is damaged, so that the run computes just that again.

Each file is verified as `store/folder.py` says. A payload that is lost is fetched again, and so is what was computed from it,
because the web may answer differently today.
"""

from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa

from curate.errors import PoolError
from curate.recipe import Recipe
from curate.stage import Stage
from curate.store import checksums as seal
from curate.store import folder
from curate.store.atomic import Store
from curate.store.folder import Role
from curate.upkeep import gc


def repair(store: Store, recipe: Recipe, run_map: Callable = map) -> list[str]:
    """Remove what is damaged; one line for each file that was removed. PoolError if something is that nothing can make again."""
    for name, why in folder.faults(store, Role.PEOPLE):
        raise PoolError(f"{store.path(name)}: {why}, and nothing can make it again: bring it back from a copy, or remove it")
    found = [*_inputs(store), *_outputs(store)]
    for name, why in list(folder.faults(store, Role.DERIVED)):
        found.append(_drop(store, name, f"{why}; it is made again"))
        for record in ("decision.json", "assigned.json"):  # without it the folder is made again
            store.remove(f"{name.rpartition('/')[0]}/{record}")
    found += _incomplete(store)
    stages = [s for s in recipe.steps if isinstance(s, Stage)]
    for lines in run_map(partial(_part, store, stages), store.names("parts")):
        found += lines
    stale = folder.files(store, Role.PASSING)  # nothing can tell whether these are whole
    if any(line.startswith("parts/") for line in found):
        # They may name payloads that are gone.
        stale += [n for n in folder.files(store, Role.DERIVED) if n.startswith(("gathered/", "decisions/"))]
    if store.names("removed") and any(not line.startswith("shards/") for line in found):
        # Without the rows taken down decisions may be others, under the same names: all that follows from them is made again.
        stale = folder.files(store, Role.PASSING, Role.DERIVED, Role.SHOWN)
    for name in stale:
        store.remove(name)
    if found:
        store.remove(seal.NAME)
    return found


def _incomplete(store: Store) -> Iterator[str]:
    """Records of what was decided, or where samples go, of which some chunk is missing."""
    for name in [n for n in folder.files(store, Role.DERIVED) if n.endswith(("/decision.json", "/assigned.json"))]:
        starts = store.json(name)["starts"]
        missing = [f for n in range(len(starts)) if not store.exists(f := f"{name.rpartition('/')[0]}/{n:05d}.parquet")]
        if missing:
            store.remove(name)
            yield f"{missing[0]}: missing; it is made again"


def _drop(store: Store, name: str, why: str) -> str:
    store.remove(name)
    return f"{name}: {why}"


def _outputs(store: Store) -> Iterator[str]:
    """Files that SHA256SUMS names and that have other bytes; without it the ledger, and shards that are not as their `.json` says."""
    sums = seal.read(store)
    for name in [*folder.files(store, Role.SHOWN), *(n for n in seal.SMALL if store.exists(n))]:
        if sums is not None and sums.get(name) != _hash(store, name):
            yield _drop(store, name, "other bytes than SHA256SUMS says; it is made again")
        elif sums is None and name.startswith("ledger/"):
            yield _drop(store, name, "no SHA256SUMS to tell whether it is whole; it is made again")
        elif sums is None and name.startswith("shards/") and name.endswith(".json") and not _is_as_said(store, name):
            yield _drop(store, name, "not the shard it tells of; it is made again")


def _is_as_said(store: Store, name: str) -> bool:
    try:
        info = store.json(name)
        recorded = {f"{name[: -len('.json')]}.{k}": info[k]["sha256"] for k in ("tar", "parquet")}
    except (PoolError, KeyError, TypeError):
        return name == "shards/sizes.json"
    return all(_hash(store, file) == hash for file, hash in recorded.items())


def _hash(store: Store, name: str) -> str:
    """The SHA-256 of a file; empty if it is gone or the disk cannot read it. An object store that does not answer is no damage."""
    try:
        return store.hash(name)
    except OSError as e:
        if folder.is_lost(store, e):
            return ""
        raise PoolError(f"{store.path(name)}: cannot be read: {e.strerror or e}") from e


def _inputs(store: Store) -> Iterator[str]:
    """Records of input files that are damaged, or do not agree with the parts read from them."""
    for name in folder.files(store, Role.INPUT):
        if name.startswith("inputs/") and (why := folder.fault(store, name) or next(disagreements(store, name), "")):
            yield _drop(store, name, f"{why}; the input is read again")


def disagreements(store: Store, name: str) -> Iterator[str]:
    """Where the record of an input file does not agree with the parts read from it."""
    try:
        record = store.json(name)
        if f"inputs/{record['key']}.json" != name:
            yield "is the record of another input"
        for i, part in enumerate(record["parts"]):
            if part["id"] != f"{record['key']}-{i:06d}":
                yield f"its part {i} is called {part['id']}"
            for table, rows in part["rows"].items():
                file = f"parts/{part['id']}/source.{table}.parquet"
                if (there := _rows(store, file)) != rows:
                    yield f"says {rows} rows are in {file}, there are {'none' if there is None else there}"
    except (PoolError, KeyError, TypeError) as e:
        yield f"damaged ({type(e).__name__}: {e})"


def _rows(store: Store, name: str) -> int | None:
    try:
        with store.parquet(name) as file:
            return file.metadata.num_rows
    except PoolError:
        return None


def _table(store: Store, name: str) -> pa.Table | None:
    """The rows of a commit, with the payloads they lie in; None if it is damaged."""
    return None if folder.fault(store, name) else store.table(name, ["row", "payload", "sha256"])


def _part(store: Store, stages: list[Stage], part: str) -> list[str]:
    """The rows, columns and payloads of one part."""
    here, found, lost = f"parts/{part}", [], False
    names = store.names(here)
    sources = {n: folder.fault(store, f"{here}/{n}") for n in names if n.startswith("source.")}
    for n, why in ((n, why) for n, why in sources.items() if why):
        found += [
            _drop(store, f"inputs/{part.rpartition('-')[0]}.json", "its rows are damaged; the input is read again"),
            _drop(store, f"{here}/{n}", f"{why}; the input is read again"),
        ]
    tars = {n for n in names if n.endswith(".tar")}
    damaged = {t for t in tars if folder.fault(store, f"{here}/{t}")}
    parked: set[int] | None = None
    home = ""  # the table whose rows were parked
    seen: set[str] = set()
    for stage in stages:
        for n in [n for n in names if n.startswith(f"{stage.table}.{stage.name}-")]:
            seen.add(n)
            table = _table(store, f"{here}/{n}")
            named = gc.tars(table, part) if table is not None else set()
            rows = set(table["row"].to_pylist()) if table is not None else set()
            # A value of a row that no payload was ever parked for: the commit that said so is gone.
            lost = lost or (parked is not None and stage.table == home and not stage.writes_payload and not rows <= parked)
            parked, home = (
                ((parked or set()) | rows, stage.table) if stage.writes_payload and not stage.skip_where else (parked, home)
            )
            if lost or table is None or named - tars | named & damaged:
                why = (
                    "damaged"
                    if table is None
                    else "what it was computed from is fetched again"
                    if lost
                    else f"{len(table)} rows, fetched or made again: their payload is lost"
                )
                if stage.writes_payload and table is not None and "sha256" in table.column_names:
                    # What was fetched, so that it can be told if the web gives something else now.
                    store.publish_table(f"{here}/lost.{n}", table.select(["row", "sha256"]))
                found.append(_drop(store, f"{here}/{n}", why))
                lost = lost or stage.writes_payload
        if stage.writes_payload and not stage.skip_where and parked is None:
            parked, home = set(), stage.table
    found += [_drop(store, f"{here}/{t}", "damaged") for t in sorted(damaged)]
    # Of other recipes: nothing here needs them, and going back to those computes them again.
    for n in [n for n in names if n.endswith(".parquet") and n not in seen and not n.startswith("source.")]:
        table = _table(store, f"{here}/{n}")
        if table is None or gc.tars(table, part) - (tars - damaged):
            found.append(_drop(store, f"{here}/{n}", "damaged" if table is None else "its payload is lost"))
    return found
