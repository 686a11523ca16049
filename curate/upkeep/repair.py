"""`curate run --repair`: verify all files of a run and remove damaged ones, so that the run recomputes only these.

Files are verified by the table in `store/folder.py`. A lost payload is fetched again, and what was computed from it is recomputed,
because the web may return something else today.
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
from curate.store.folder import DECISIONS, GATHERED, INPUT_RECORDS, PARTS, Role
from curate.upkeep import gc


def repair(store: Store, recipe: Recipe, run_map: Callable = map) -> list[str]:
    """Remove damaged files; returns one line for each. PoolError if one of people's decisions is damaged, which cannot be recomputed."""
    for name, cause in folder.faults(store, Role.PEOPLE):
        raise PoolError(f"{store.path(name)}: {cause}, and nothing can make it again: bring it back from a copy, or remove it")
    found = [*_repair_inputs(store), *_repair_outputs(store)]
    for name, cause in list(folder.faults(store, Role.DERIVED)):
        found.append(_remove(store, name, f"{cause}; it is made again"))
        for record in ("decision.json", "assigned.json"):  # without its record the folder is recomputed
            store.remove(f"{name.rpartition('/')[0]}/{record}")
    found += _remove_incomplete(store)
    stages = [s for s in recipe.steps if isinstance(s, Stage)]
    for lines in run_map(partial(_repair_part, store, stages), store.names(PARTS)):
        found += lines
    stale = folder.files(store, Role.PASSING)  # these cannot be verified
    if any(line.startswith(f"{PARTS}/") for line in found):
        # They may reference payloads that were removed.
        stale += [n for n in folder.files(store, Role.DERIVED) if n.startswith((f"{GATHERED}/", f"{DECISIONS}/"))]
    if store.names("removed") and any(not line.startswith("shards/") for line in found):
        # Recomputed without the rows taken down, decisions may differ under the same names: recompute all that depends on them.
        stale = folder.files(store, Role.PASSING, Role.DERIVED, Role.SHOWN)
    for name in stale:
        store.remove(name)
    if found:
        store.remove(seal.NAME)
    return found


def _remove_incomplete(store: Store) -> Iterator[str]:
    """Remove the records of decisions and assignments that lack a chunk; one line for each."""
    for name in [n for n in folder.files(store, Role.DERIVED) if n.endswith(("/decision.json", "/assigned.json"))]:
        starts = store.json(name)["starts"]
        missing = [f for n in range(len(starts)) if not store.exists(f := f"{name.rpartition('/')[0]}/{n:05d}.parquet")]
        if missing:
            store.remove(name)
            yield f"{missing[0]}: missing; it is made again"


def _remove(store: Store, name: str, cause: str) -> str:
    store.remove(name)
    return f"{name}: {cause}"


def _repair_outputs(store: Store) -> Iterator[str]:
    """Remove ledger and shards that differ from SHA256SUMS; without it the whole ledger, and shards that differ from their `.json`."""
    sums = seal.read(store)
    for name in [*folder.files(store, Role.SHOWN), *(n for n in seal.SMALL if store.exists(n))]:
        if sums is not None and sums.get(name) != _hash(store, name):
            yield _remove(store, name, "other bytes than SHA256SUMS says; it is made again")
        elif sums is None and name.startswith("ledger/"):
            yield _remove(store, name, "no SHA256SUMS to verify it; it is made again")
        elif sums is None and name.startswith("shards/") and name.endswith(".json") and not _matches_record(store, name):
            yield _remove(store, name, "does not match its shard; it is made again")


def _matches_record(store: Store, name: str) -> bool:
    try:
        info = store.json(name)
        recorded = {f"{name[: -len('.json')]}.{k}": info[k]["sha256"] for k in ("tar", "parquet")}
    except (PoolError, KeyError, TypeError):
        return name == "shards/sizes.json"
    return all(_hash(store, file) == hash for file, hash in recorded.items())


def _hash(store: Store, name: str) -> str:
    """The SHA-256 of a file; empty if it is missing or unreadable on disk. PoolError if an object store fails, which is not damage."""
    try:
        return store.hash(name)
    except OSError as e:
        if folder.is_lost(store, e):
            return ""
        raise PoolError(f"{store.path(name)}: cannot be read: {e.strerror or e}") from e


def _repair_inputs(store: Store) -> Iterator[str]:
    """Remove records of input files that are damaged or disagree with their parts; one line for each."""
    for name in folder.files(store, Role.INPUT):
        if name.startswith(f"{INPUT_RECORDS}/") and (
            cause := folder.fault(store, name) or next(disagreements(store, name), "")
        ):
            yield _remove(store, name, f"{cause}; the input is read again")


def disagreements(store: Store, name: str) -> Iterator[str]:
    """Disagreements between the record of an input file and the parts read from it, one line each."""
    try:
        record = store.json(name)
        if f"{INPUT_RECORDS}/{record['key']}.json" != name:
            yield "is the record of another input"
        for i, part in enumerate(record["parts"]):
            if part["id"] != f"{record['key']}-{i:06d}":
                yield f"its part {i} is called {part['id']}"
            for table, rows in part["rows"].items():
                file = f"{PARTS}/{part['id']}/source.{table}.parquet"
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
    """Row numbers, payloads and hashes of a commit; None if it is damaged."""
    return None if folder.fault(store, name) else store.table(name, ["row", "payload", "sha256"])


def _repair_part(store: Store, stages: list[Stage], part: str) -> list[str]:
    """Remove damaged sources, commits and payloads of a part, and what depends on them; one line for each."""
    here, lost = f"{PARTS}/{part}", False
    names = store.names(here)
    found = _repair_sources(store, part, names)
    tars = {n for n in names if n.endswith(".tar")}
    damaged = {t for t in tars if folder.fault(store, f"{here}/{t}")}
    fetched_rows: set[int] | None = None
    fetched_table = ""  # the table of these rows
    seen: set[str] = set()
    for stage in stages:
        for n in [n for n in names if n.startswith(f"{stage.table}.{stage.name}-")]:
            seen.add(n)
            table = _table(store, f"{here}/{n}")
            named = gc.tars(table, part) if table is not None else set()
            rows = set(table["row"].to_pylist()) if table is not None else set()
            # A value of a row that no remaining commit fetched: the commit that did is gone.
            lost = lost or (
                fetched_rows is not None
                and stage.table == fetched_table
                and not stage.writes_payload
                and not rows <= fetched_rows
            )
            fetched_rows, fetched_table = (
                ((fetched_rows or set()) | rows, stage.table)
                if stage.writes_payload and not stage.skip_where
                else (fetched_rows, fetched_table)
            )
            if lost or table is None or named - tars | named & damaged:
                cause = (
                    "damaged"
                    if table is None
                    else "what it was computed from is fetched again"
                    if lost
                    else f"{len(table)} rows, fetched or made again: their payload is lost"
                )
                if stage.writes_payload and table is not None and "sha256" in table.column_names:
                    # Keep the hashes, to detect whether the web returns something else now.
                    store.publish_table(f"{here}/lost.{n}", table.select(["row", "sha256"]))
                found.append(_remove(store, f"{here}/{n}", cause))
                lost = lost or stage.writes_payload
        if stage.writes_payload and not stage.skip_where and fetched_rows is None:
            fetched_rows, fetched_table = set(), stage.table
    found += [_remove(store, f"{here}/{t}", "damaged") for t in sorted(damaged)]
    others = [n for n in names if n.endswith(".parquet") and n not in seen and not n.startswith("source.")]
    return found + _repair_other_recipes(store, part, others, tars - damaged)


def _repair_sources(store: Store, part: str, names: list[str]) -> list[str]:
    """Remove damaged source tables of a part, and the record of its input, which is then read again."""
    found = []
    for n in [n for n in names if n.startswith("source.")]:
        if cause := folder.fault(store, f"{PARTS}/{part}/{n}"):
            found += [
                _remove(
                    store, f"{INPUT_RECORDS}/{part.rpartition('-')[0]}.json", "its rows are damaged; the input is read again"
                ),
                _remove(store, f"{PARTS}/{part}/{n}", f"{cause}; the input is read again"),
            ]
    return found


def _repair_other_recipes(store: Store, part: str, names: list[str], tars: set[str]) -> list[str]:
    """Remove damaged commits of other recipes, which are computed again when a run goes back to these. tars: intact payloads."""
    found = []
    for n in names:
        table = _table(store, f"{PARTS}/{part}/{n}")
        if table is None or gc.tars(table, part) - tars:
            found.append(_remove(store, f"{PARTS}/{part}/{n}", "damaged" if table is None else "its payload is lost"))
    return found
