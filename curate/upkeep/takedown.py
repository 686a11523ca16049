"""`curate takedown`: remove content from a run permanently, and keep it from being ingested again.

The request is first extended to all rows with the same URL or bytes, to the content of a page, and to the run's duplicates of these.
Then the list (digests only) is committed, and all files of the folder are rewritten without this content. Rows become tombstones,
with the reason `removed`. Shards with such samples are rewritten; the others are unchanged.

Each step is idempotent: after a kill the next `curate takedown` or `curate run` continues from the list.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PoolError
from curate.recipe import Shards
from curate.removed import FOLDER, JOURNAL, REASON, Removed, is_in, pending, removed, unfinished, url_digest, without_rows
from curate.schema import TABLES
from curate.score.part import SHIFT
from curate.select.database import database, scan
from curate.select.exchange import Exchange, Frame
from curate.shard import write as shards
from curate.shard.ledger import LedgerRows, uid_hash
from curate.shard.plan import draft, kept_rows_of_shard
from curate.shard.write import pretty
from curate.store import checksums as seal
from curate.store import folder as folders
from curate.store.atomic import Store
from curate.store.folder import DECISIONS, GATHERED, PARTS
from curate.store.inputs import run_record
from curate.store.lease import held
from curate.store.releases import refreshed
from curate.upkeep import gc
from curate.upkeep.rewrite import blank_rows, copy_with_zeros, remove_rows


@dataclass
class TakedownResult:
    """The result of a takedown: rows by table, shards rewritten, root hashes before and after, files outside the run that still hold the
    bytes (`elsewhere`), and requested entries that match no row (`missing`)."""

    rows: dict[str, int] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    before: str | None = None
    after: str | None = None
    elsewhere: list[str] = field(default_factory=list)
    missing: Removed = field(default_factory=Removed)


def takedown(
    store: Store, requested: Removed, report: Callable[[], None], dry: bool = False, along: Removed | None = None
) -> TakedownResult:
    """Take down the requested content. report: rewrites the report and the card. dry: only report what would be removed. along: content
    taken down in other runs of the same set. PoolError if this is not a run's folder."""
    here = set(store.names(""))
    # A run killed early has no recipe.json yet, and an empty folder may become a run. A missing folder is a mistyped path.
    waits = not dry and store.local and Path(store.root).is_dir()
    if "recipe.json" not in here and (here - folders.top(*folders.EARLY) or not (here or waits)):
        raise PoolError(f"{store.url}: no recipe.json here, so this is not a run's folder")
    with contextlib.nullcontext() if dry else held(store):
        if not dry:
            store.sweep()
            finish(store, report)
        known, wanted = removed(store), requested | (along or Removed())
        new = closure(store, known | wanted) - known
        result, missing = count_affected(store, new), without_rows(store, wanted)
        result.missing = requested - (requested - missing)
        if len(new) and not dry:
            store.commit_table(f"{FOLDER}/{new.digest}.parquet", new.table(missing))
            result.before, result.after = _clear(store, known | new, result, report)
        return result


def finish(store: Store, report: Callable[[], None]) -> None:
    """Complete a pending takedown: one that was killed, or one not yet applied to files adopted from another run."""
    if not pending(store):
        return
    known = removed(store)
    new = closure(store, known) - known
    if len(new):
        store.commit_table(f"{FOLDER}/{new.digest}.parquet", new.table())
    _clear(store, known | new, TakedownResult(), report)


def reset_to_unfinished(store: Store) -> None:
    """Record that a pending takedown treats the run as unfinished: all files derived from the parts are removed and recomputed."""
    store.publish_bytes(JOURNAL, pretty({"dataset": None, "affected": [], "shard": None}))


# ---- the rows concerned


def closure(store: Store, wanted: Removed) -> Removed:
    """The transitive closure of a request: all rows of the run with the same URL, bytes or page, that are duplicates of these, or that hold
    text or a picture of these in columns of their own."""
    found, size = wanted | Removed(), -1
    while len(found) != size:
        size = len(found)
        for part in store.names(PARTS):
            for table in _tables(store, part):
                found.add(_matching_identities(store, part, table, found))
        for edges in _edges(store):
            own = edges.filter(pc.or_(*(is_in(edges[c], found.uids) for c in _EDGE)))
            found.uids |= {uid for c in _EDGE for uid in own[c].to_pylist()}
        found.uids |= {borrower for borrower, lender in _borrowers(store) if lender in found.uids}
    return found


_EDGE = ("edge_uid", "edge_survivor_uid")


def _edges(store: Store) -> Iterator[pa.Table]:
    """The duplicate pairs (uids) in all decisions."""
    for name in folders.files(store, folders.Role.DERIVED):
        if name.startswith(f"{DECISIONS}/") and name.endswith(".parquet"):
            edges = store.table(name, list(_EDGE))
            if len(edges.column_names) == len(_EDGE):
                yield edges.filter(edges["edge_uid"].is_valid())


def _borrowers(store: Store) -> Iterator[tuple[str, str]]:
    """(uid, other uid) of rows to which a selector gave text or a picture of another row: `<name>_uid` beside `<name>_text`, as in
    MatchingNegatives and PairedRow."""
    recipe = run_record(store) or {}
    of_input: dict[str, list[str]] = {}
    for name in sorted(store.names(PARTS)):
        of_input.setdefault(name.rpartition("-")[0], []).append(name)
    parts = [p for i in recipe.get("inputs", ()) for p in of_input.get(i.get("key", ""), ())]
    steps = {s["step"]: s for s in recipe.get("steps", ())}
    for name in folders.files(store, folders.Role.DERIVED):
        step = name.removeprefix(f"{DECISIONS}/").split("/")[0].rpartition("-")[0]
        if not name.startswith(f"{DECISIONS}/") or not name.endswith(".parquet") or step not in steps:
            continue
        adds = steps[step]["adds"]
        for lender in [c for c in adds if c.endswith("_uid") and c.removesuffix("uid") + "text" in adds]:
            rows = store.table(name, ["id", lender])
            rows = rows.filter(rows[lender].is_valid())
            ids = rows["id"].to_numpy()
            for index in np.unique(ids >> SHIFT).tolist():
                uids = store.table(f"{PARTS}/{parts[index]}/source.{steps[step]['table']}.parquet", ["uid"])["uid"]
                own = ids >> SHIFT == index
                at = pa.array(ids[own] & ((1 << SHIFT) - 1))
                yield from zip(uids.take(at).to_pylist(), rows[lender].filter(pa.array(own)).to_pylist())


def _matching_identities(store: Store, part: str, table: str, wanted: Removed) -> Removed:
    """The identities (uids, URLs, hashes) of the rows of a part that match a request."""
    views = list(_identity_tables(store, part, table))
    places = _matching_rows(views, wanted)
    matching = Removed()
    for at, rows in views if len(places) else ():
        own = rows.filter(pa.array(np.isin(at, places)))
        matching.uids |= set(own["uid"].to_pylist())
        matching.urls |= {url_digest(u) for u in own["url"].to_pylist() if u} if "url" in own.column_names else set()
        matching.hashes |= {h for h in own["sha256"].to_pylist() if h} if "sha256" in own.column_names else set()
    return matching


def _tables(store: Store, part: str) -> list[str]:
    return [t for t in TABLES if f"source.{t}.parquet" in store.names(f"{PARTS}/{part}")]


def _identity_tables(store: Store, part: str, table: str) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Row numbers and identity columns of a part's table: of the source, and of each commit with hashes of bytes."""
    folder = f"{PARTS}/{part}"
    source = store.table(f"{folder}/source.{table}.parquet", ["uid", "doc_uid", "url", "sha256"])
    yield np.arange(len(source)), source
    for name in [n for n in store.names(folder) if n.startswith((f"{table}.", f"lost.{table}."))]:
        found = store.table(f"{folder}/{name}", ["row", "sha256", "final_url"])
        if "sha256" in found.column_names:
            rows = source.select(["uid"]).take(found["row"])
            yield (
                found["row"].to_numpy(),
                pa.table(
                    {**dict(zip(rows.column_names, rows.columns)), **{c: found[c] for c in found.column_names if c != "row"}}
                ),
            )


def _matching_rows(views: list[tuple[np.ndarray, pa.Table]], wanted: Removed) -> np.ndarray:
    return np.unique(np.concatenate([at[wanted.matches(rows)] for at, rows in views]))


def count_affected(store: Store, new: Removed) -> TakedownResult:
    """Count what a list concerns: rows by table, shards, and files outside the run."""
    result = TakedownResult()
    outside: set[str] = set()
    for part in store.names(PARTS) if len(new) else ():
        for table in _tables(store, part):
            places = _matching_rows(list(_identity_tables(store, part, table)), new)
            source = store.table(f"{PARTS}/{part}/source.{table}.parquet", ["payload", "drop_reason"]).take(pa.array(places))
            before = source["drop_reason"].to_pylist().count(REASON) if "drop_reason" in source.column_names else 0
            result.rows[table] = result.rows.get(table, 0) + len(places) - before
            outside |= set(source["payload"].to_pylist()) - {None} if "payload" in source.column_names else set()
    result.elsewhere = sorted(outside)
    dataset = store.json("dataset.json")
    result.shards = _affected(store, dataset, new.uids) if dataset else []
    return result


def _affected(store: Store, dataset: dict[str, Any], uids: set[str]) -> list[str]:
    """The names of the shards that hold these rows, by the ledger."""
    found: set[int] = set()
    for name in [f"{folder}/{n}" for folder in seal.LEDGER for n in store.names(folder)]:
        rows = store.table(name, ["uid", "shard"])
        if "shard" in rows.column_names:
            found |= set(rows["shard"].filter(is_in(rows["uid"], uids)).drop_null().to_pylist())
    return [shards.shard_names(dataset)[n] for n in sorted(found)]


# ---- clearing


def _clear(store: Store, gone: Removed, result: TakedownResult, report: Callable[[], None]) -> tuple[str | None, str | None]:
    """Rewrite all files of the folder; returns the root hashes before and after, None for an unfinished run."""
    state = _record_state(store, gone)
    store.remove(seal.NAME)
    store.remove("dataset.json")
    for name in folders.files(store, folders.Role.PAGE):
        store.remove(name)  # they may show the pictures; the report and the card are rewritten
    moved: dict[str, str] = {}
    for part in store.names(PARTS):
        moved |= _clear_part(store, part, gone)
    for name in store.names("verdicts"):  # people's verdicts
        remove_rows(store, f"verdicts/{name}", moved, {"uid": gone.uids})
    after = _clear_finished(store, gone, moved, state, report) if state["dataset"] else _clear_unfinished(store)
    before = state["dataset"] and state["dataset"]["root_hash"]
    note = {
        "at": int(time.time()),
        "rows": result.rows,
        "shards": state["affected"],
        "root_hash": {"before": before, "after": after},
    }
    for name in unfinished(store):
        store.publish_record(f"{FOLDER}/{name}.json", note)
    for name in [n for n in store.names(FOLDER) if n.startswith("moved-")]:
        store.remove(f"{FOLDER}/{name}")
    store.remove(JOURNAL)
    return before, after


def _record_state(store: Store, gone: Removed) -> dict[str, Any]:
    """The run's state before the takedown, written once so that a killed takedown can continue."""
    if state := store.json(JOURNAL):
        return state
    recipe, dataset = store.json("recipe.json"), store.json("dataset.json")
    if dataset is None or recipe is None or recipe.get("state") != "finished":
        dataset = None
    affected = _affected(store, dataset, gone.uids) if dataset else []
    state = {
        "dataset": dataset,
        "affected": affected,
        "shard": store.json(f"shards/{dataset['shards'][0]['name']}.json") if dataset and dataset["shards"] else None,
    }
    store.publish_bytes(JOURNAL, pretty(state))
    return state


def _clear_part(store: Store, part: str, gone: Removed) -> dict[str, str]:
    """Rewrite a part's rows, columns and payloads; returns the new name of each rewritten payload."""
    folder, note = f"{PARTS}/{part}", f"{FOLDER}/moved-{part}.json"
    places = {t: _matching_rows(list(_identity_tables(store, part, t)), gone) for t in _tables(store, part)}
    moved = store.json(note) or {}
    if any(map(len, places.values())):
        commits = {n: t for t in places for n in store.names(folder) if n.startswith(f"{t}.") and len(places[t])}
        for name, table in commits.items():
            moved |= _blank_payloads(store, folder, name, places[table])
        if moved:
            store.publish_bytes(note, pretty(moved))
        for name in [n for n in store.names(folder) if n.split(".")[0] in places]:
            remove_rows(store, f"{folder}/{name}", moved, {"row": places[name.split(".")[0]].tolist()})
        for table, rows in places.items():
            blank_rows(store, f"{folder}/source.{table}.parquet", rows, {"drop_reason": REASON}, {})
    sizes = store.sizes(folder)
    tars = [n for n in sizes if n.endswith(".tar")]
    for name in set(tars) - gc.named(store, part, sizes) if tars else ():
        store.remove(f"{folder}/{name}")  # also those of attempts that died
    return moved


def _blank_payloads(store: Store, folder: str, commit: str, places: np.ndarray) -> dict[str, str]:
    """Copy the payloads of these rows with zeros in place of their bytes, so that all offsets stay valid; from old to new names."""
    rows = store.table(f"{folder}/{commit}", ["row", "payload", "payload_offset", "payload_size"])
    if "payload" not in rows.column_names:
        return {}
    rows = rows.filter(pa.array(np.isin(rows["row"].to_numpy(), places)))
    slices: dict[str, list[tuple[int, int]]] = {}
    for row in rows.to_pylist():
        if row["payload"] and row["payload"].startswith(f"{folder}/"):
            slices.setdefault(row["payload"], []).append((row["payload_offset"], row["payload_size"]))
    moved = {}
    for tar, ranges in slices.items():
        with store.private(tar) as path, store.open(tar) as old, open(path, "wb") as new:
            hash, size = copy_with_zeros(old, new, sorted(set(ranges)))
            new.flush()
            moved[tar] = f"{folder}/{hash[:32]}.tar"
            store.commit(moved[tar], path, size)
    return moved


def _clear_unfinished(store: Store) -> None:
    """Remove all files of an unfinished run but its parts: the next run recomputes the rest."""
    for name in folders.files(store, folders.Role.DERIVED, folders.Role.PASSING, folders.Role.SHOWN):
        store.remove(name)


def _clear_finished(
    store: Store, gone: Removed, moved: dict[str, str], state: dict[str, Any], report: Callable[[], None]
) -> str:
    """Rewrite ledger, shards and derived files of a finished run; returns the new root hash."""
    recipe = json.loads(store.read("recipe.json"))
    ledger = {t: [f"ledger/{t}/{n}" for n in names] for t in TABLES if (names := store.names(f"ledger/{t}"))}
    ids = {t: _clear_ledger(store, files, gone, moved) for t, files in ledger.items()}
    _clear_derived(store, recipe, state["dataset"], gone, moved, ids)
    infos = _clear_shards(store, recipe, state, ledger)
    dataset = {k: v for k, v in state["dataset"].items() if k not in ("root_hash", "samples", "bytes", "shards")}
    dataset = refreshed(store, dataset)
    sums = {n: store.hash(n) for files in ledger.values() for n in files}
    recipe["rows"] = _counts(store, ledger)
    if infos is None:
        root, count = uid_hash(Frame(Exchange(store), [LedgerRows(file) for file in ledger[dataset["table"]]]))
        written = shards.publish_dataset(store, dataset, root, count, [])
    else:
        written = shards.finish(store, infos, dataset)
        sums |= {f"shards/{i['name']}.{kind}": i[kind]["sha256"] for i in infos for kind in ("tar", "parquet")}
    store.publish_bytes("recipe.json", (json.dumps(recipe, indent=1) + "\n").encode())
    report()
    seal.write(store, sums)
    return written["root_hash"]


def _clear_ledger(store: Store, files: list[str], gone: Removed, moved: dict[str, str]) -> set[int]:
    """Blank the rows of one table's ledger files; returns their ids in the pool."""
    ids: set[int] = set()
    for name in files:
        matching = np.flatnonzero(np.asarray(is_in(store.table(name, ["uid"])["uid"], gone.uids)))
        ids |= set(((int(Path(name).stem) << SHIFT) + matching).tolist())
        blank_rows(store, name, matching, {"drop_reason": REASON, "drop_stage": "source", "kept": False}, moved)
    return ids


def _clear_derived(
    store: Store,
    recipe: dict[str, Any],
    dataset: dict[str, Any],
    gone: Removed,
    moved: dict[str, str],
    ids: dict[str, set[int]],
) -> None:
    """Remove the rows from the selectors' inputs and decisions and from the plan; files of other recipes are removed, as recomputable."""
    planned = {file for files in dataset.get("planned", {}).values() for file in files}
    current = {*gc.decided(recipe), dataset.get("assigned"), *planned}
    table = {s["step"]: s["table"] for s in recipe["steps"]}
    for name in folders.files(store, folders.Role.DERIVED, folders.Role.PASSING):
        is_current = name in current or name.rpartition("/")[0] in current
        if is_current and not name.endswith(".parquet"):
            continue  # records of a decision and its centroids hold nothing of a single row
        if name.startswith(f"{DECISIONS}/") and is_current:
            remove_rows(store, name, moved, {"id": ids[table[name.split("/")[-2].rsplit("-", 1)[0]]]})
        elif name.startswith(f"{GATHERED}/") or is_current:
            remove_rows(store, name, moved, {"uid": gone.uids})
        else:
            store.remove(name)


def _clear_shards(
    store: Store, recipe: dict[str, Any], state: dict[str, Any], ledger: dict[str, list[str]]
) -> list[dict[str, Any]] | None:
    """Rewrite the affected shards; returns the `.json` record of every shard, None for a run without shards."""
    if recipe["shards"] is None:
        return None
    how = Shards(**{k: v for k, v in recipe["shards"].items() if k != "class"})
    how.without = tuple(how.without)
    shard, infos = state["shard"], []
    own = ("name", "samples", "tar", "tar_made_of", "parquet", "hashed", "plan")
    provenance = {k: v for k, v in (shard or {}).items() if k not in own}
    for name in [s["name"] for s in state["dataset"]["shards"]]:
        if name not in state["affected"]:
            infos.append(json.loads(store.read(f"shards/{name}.json")))
            continue
        rows = kept_rows_of_shard(store, name, ledger, state["dataset"]["table"], how)
        store.remove(f"shards/{name}.json")  # else the old shard would count as written
        infos += shards.write_group(store, [draft(rows, how, name)], shard["plan"], provenance, how, shard["hashed"])
    return infos


def _counts(store: Store, ledger: dict[str, list[str]]) -> dict[str, dict[str, int]]:
    with database(store) as (con, _):
        return {
            t: dict(
                con.sql(
                    f"select coalesce(drop_reason, 'kept') as r, count(*) from {scan(store, files)} group by r order by r"
                ).fetchall()
            )
            for t, files in ledger.items()
        }
