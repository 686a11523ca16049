"""`curate takedown`: content leaves a run for good, and does not come in again.

What is asked for is widened first: to all rows with the same URL or the same bytes, to what stands on a page, and to what the run
itself took for duplicates of these. Then the list (digests only) is committed, and everything in the folder is rewritten
without it. Rows stay, with the reason `removed`. Shards that hold such samples are written again; others keep their places.

Each step can be done twice: after a kill the next `curate takedown` or `curate run` goes on from the list.
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
from curate.store.lease import held
from curate.store.releases import refreshed
from curate.upkeep import gc
from curate.upkeep.rewrite import copied, empty, leave_out


@dataclass
class Taken:
    """What a takedown did: rows by table, shards written again, root hashes, inputs that still hold bytes; and what no row has."""

    rows: dict[str, int] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    before: str | None = None
    after: str | None = None
    elsewhere: list[str] = field(default_factory=list)
    missing: Removed = field(default_factory=Removed)


def takedown(store: Store, asked: Removed, tell: Callable[[], None], dry: bool = False, along: Removed | None = None) -> Taken:
    """Take down what is asked for. `tell` writes the report and the card anew. dry: only say what would go. along: what goes in other runs
    of the same set."""
    here = set(store.names(""))
    # A run that was killed early has no recipe.json yet. An empty folder may wait for one; what is not there is mistyped.
    waits = not dry and store.local and Path(store.root).is_dir()
    if "recipe.json" not in here and (here - folders.top(*folders.EARLY) or not (here or waits)):
        raise PoolError(f"{store.url}: no recipe.json here, so this is not a run's folder")
    with contextlib.nullcontext() if dry else held(store):
        if not dry:
            store.sweep()
            finish(store, tell)
        known, wanted = removed(store), asked | (along or Removed())
        new = widened(store, known | wanted) - known
        taken, missing = survey(store, new), without_rows(store, wanted)
        taken.missing = asked - (asked - missing)
        if len(new) and not dry:
            store.commit_table(f"{FOLDER}/{new.digest}.parquet", new.table(missing))
            taken.before, taken.after = _clear(store, known | new, taken, tell)
        return taken


def finish(store: Store, tell: Callable[[], None]) -> None:
    """Go on with what was begun: a takedown that was killed, or another run's parts taken over."""
    if not pending(store):
        return
    known = removed(store)
    new = widened(store, known) - known
    if len(new):
        store.commit_table(f"{FOLDER}/{new.digest}.parquet", new.table())
    _clear(store, known | new, Taken(), tell)


def begin_anew(store: Store) -> None:
    """Let a takedown end as that of a run that was not finished: all that follows from the parts goes, and is made again."""
    store.publish_bytes(JOURNAL, pretty({"dataset": None, "affected": [], "shard": None}))


# ---- what goes


def widened(store: Store, wanted: Removed) -> Removed:
    """With everything that goes along, until nothing more does."""
    found, size = wanted | Removed(), -1
    while len(found) != size:
        size = len(found)
        for part in store.names("parts"):
            for table in _tables(store, part):
                found.add(_met(store, part, table, found))
        for edges in _edges(store):
            mine = edges.filter(pc.or_(*(is_in(edges[c], found.uids) for c in _EDGE)))
            found.uids |= {uid for c in _EDGE for uid in mine[c].to_pylist()}
    return found


_EDGE = ("edge_uid", "edge_survivor_uid")


def _edges(store: Store) -> Iterator[pa.Table]:
    """The duplicate pairs in all decisions."""
    for name in folders.files(store, folders.Role.DERIVED):
        if name.startswith("decisions/") and name.endswith(".parquet"):
            edges = store.table(name, list(_EDGE))
            if len(edges.column_names) == len(_EDGE):
                yield edges.filter(edges["edge_uid"].is_valid())


def _met(store: Store, part: str, table: str, wanted: Removed) -> Removed:
    """The identities of the rows of a part that are among what is wanted."""
    views = list(_views(store, part, table))
    places = _places(views, wanted)
    met = Removed()
    for at, rows in views if len(places) else ():
        mine = rows.filter(pa.array(np.isin(at, places)))
        met.uids |= set(mine["uid"].to_pylist())
        met.urls |= {url_digest(u) for u in mine["url"].to_pylist() if u} if "url" in mine.column_names else set()
        met.hashes |= {h for h in mine["sha256"].to_pylist() if h} if "sha256" in mine.column_names else set()
    return met


def _tables(store: Store, part: str) -> list[str]:
    return [t for t in TABLES if f"source.{t}.parquet" in store.names(f"parts/{part}")]


def _views(store: Store, part: str, table: str) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """What tells who a table's rows are, with their places: the source's columns, and each commit that knows of bytes."""
    folder = f"parts/{part}"
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


def _places(views: list[tuple[np.ndarray, pa.Table]], wanted: Removed) -> np.ndarray:
    return np.unique(np.concatenate([at[wanted.matches(rows)] for at, rows in views]))


def survey(store: Store, new: Removed) -> Taken:
    """Rows by table, shards, and files outside the run, that a list is about."""
    taken = Taken()
    outside: set[str] = set()
    for part in store.names("parts") if len(new) else ():
        for table in _tables(store, part):
            places = _places(list(_views(store, part, table)), new)
            source = store.table(f"parts/{part}/source.{table}.parquet", ["payload", "drop_reason"]).take(pa.array(places))
            before = source["drop_reason"].to_pylist().count(REASON) if "drop_reason" in source.column_names else 0
            taken.rows[table] = taken.rows.get(table, 0) + len(places) - before
            outside |= set(source["payload"].to_pylist()) - {None} if "payload" in source.column_names else set()
    taken.elsewhere = sorted(outside)
    dataset = store.json("dataset.json")
    taken.shards = _affected(store, dataset, new.uids) if dataset else []
    return taken


def _affected(store: Store, dataset: dict[str, Any], uids: set[str]) -> list[str]:
    """The shards that hold something of these rows, by the ledger."""
    found: set[int] = set()
    for name in [f"{folder}/{n}" for folder in seal.LEDGER for n in store.names(folder)]:
        rows = store.table(name, ["uid", "shard"])
        if "shard" in rows.column_names:
            found |= set(rows["shard"].filter(is_in(rows["uid"], uids)).drop_null().to_pylist())
    return [shards.shard_names(dataset)[n] for n in sorted(found)]


# ---- clearing


def _clear(store: Store, gone: Removed, taken: Taken, tell: Callable[[], None]) -> tuple[str | None, str | None]:
    """Rewrite all that the folder holds; the root hashes before and after, None of a run that was not finished."""
    begun = _begin(store, gone)
    store.remove(seal.NAME)
    store.remove("dataset.json")
    for name in folders.files(store, folders.Role.PAGE):
        store.remove(name)  # they show pictures; the report and the card are made again
    moved: dict[str, str] = {}
    for part in store.names("parts"):
        moved |= _clear_part(store, part, gone)
    for name in store.names("verdicts"):  # what people wrote of it
        leave_out(store, f"verdicts/{name}", moved, {"uid": gone.uids})
    after = _clear_finished(store, gone, moved, begun, tell) if begun["dataset"] else _clear_unfinished(store)
    before = begun["dataset"] and begun["dataset"]["root_hash"]
    note = {
        "at": int(time.time()),
        "rows": taken.rows,
        "shards": begun["affected"],
        "root_hash": {"before": before, "after": after},
    }
    for name in unfinished(store):
        store.publish_record(f"{FOLDER}/{name}.json", note)
    for name in [n for n in store.names(FOLDER) if n.startswith("moved-")]:
        store.remove(f"{FOLDER}/{name}")
    store.remove(JOURNAL)
    return before, after


def _begin(store: Store, gone: Removed) -> dict[str, Any]:
    """What the run was before anything was touched."""
    if begun := store.json(JOURNAL):
        return begun
    recipe, dataset = store.json("recipe.json"), store.json("dataset.json")
    if dataset is None or recipe is None or recipe.get("state") != "finished":
        dataset = None
    affected = _affected(store, dataset, gone.uids) if dataset else []
    begun = {
        "dataset": dataset,
        "affected": affected,
        "shard": store.json(f"shards/{dataset['shards'][0]['name']}.json") if dataset and dataset["shards"] else None,
    }
    store.publish_bytes(JOURNAL, pretty(begun))
    return begun


def _clear_part(store: Store, part: str, gone: Removed) -> dict[str, str]:
    """Rewrite a part's rows, columns and payloads; for each payload that changed its new name."""
    folder, note = f"parts/{part}", f"{FOLDER}/moved-{part}.json"
    places = {t: _places(list(_views(store, part, t)), gone) for t in _tables(store, part)}
    moved = store.json(note) or {}
    if any(map(len, places.values())):
        commits = {n: t for t in places for n in store.names(folder) if n.startswith(f"{t}.") and len(places[t])}
        for name, table in commits.items():
            moved |= _blanked(store, folder, name, places[table])
        if moved:
            store.publish_bytes(note, pretty(moved))
        for name in [n for n in store.names(folder) if n.split(".")[0] in places]:
            leave_out(store, f"{folder}/{name}", moved, {"row": places[name.split(".")[0]].tolist()})
        for table, rows in places.items():
            empty(store, f"{folder}/source.{table}.parquet", rows, {"drop_reason": REASON}, {})
    sizes = store.sizes(folder)
    tars = [n for n in sizes if n.endswith(".tar")]
    for name in set(tars) - gc.named(store, part, sizes) if tars else ():
        store.remove(f"{folder}/{name}")  # also that of an attempt that died
    return moved


def _blanked(store: Store, folder: str, commit: str, places: np.ndarray) -> dict[str, str]:
    """Copies of the payloads that a commit names, with zeros where these rows' bytes were: all others stay where they are."""
    rows = store.table(f"{folder}/{commit}", ["row", "payload", "payload_offset", "payload_size"])
    if "payload" not in rows.column_names:
        return {}
    rows = rows.filter(pa.array(np.isin(rows["row"].to_numpy(), places)))
    slices: dict[str, list[tuple[int, int]]] = {}
    for row in rows.to_pylist():
        if row["payload"] and row["payload"].startswith(f"{folder}/"):
            slices.setdefault(row["payload"], []).append((row["payload_offset"], row["payload_size"]))
    moved = {}
    for tar, cut in slices.items():
        with store.private(tar) as path, store.open(tar) as old, open(path, "wb") as new:
            hash, size = copied(old, new, sorted(set(cut)))
            new.flush()
            moved[tar] = f"{folder}/{hash[:32]}.tar"
            store.commit(moved[tar], path, size)
    return moved


def _clear_unfinished(store: Store) -> None:
    """Of a run that has not reached its end nothing stays but its parts: the next run makes the rest again."""
    for name in folders.files(store, folders.Role.DERIVED, folders.Role.PASSING, folders.Role.SHOWN):
        store.remove(name)


def _clear_finished(store: Store, gone: Removed, moved: dict[str, str], begun: dict[str, Any], tell: Callable[[], None]) -> str:
    """Rewrite what a run shows and what it would go on from; returns the new root hash."""
    recipe = json.loads(store.read("recipe.json"))
    ledger = {t: [f"ledger/{t}/{n}" for n in names] for t in TABLES if (names := store.names(f"ledger/{t}"))}
    ids = {t: _clear_ledger(store, files, gone, moved) for t, files in ledger.items()}
    _clear_derived(store, recipe, begun["dataset"], gone, moved, ids)
    infos = _clear_shards(store, recipe, begun, ledger)
    dataset = {k: v for k, v in begun["dataset"].items() if k not in ("root_hash", "samples", "bytes", "shards")}
    dataset = refreshed(store, dataset)
    sums = {n: store.hash(n) for files in ledger.values() for n in files}
    recipe["rows"] = _counts(store, ledger)
    if infos is None:
        root, count = uid_hash(Frame(Exchange(store), [LedgerRows(file) for file in ledger[dataset["table"]]]))
        made = shards.publish_dataset(store, dataset, root, count, [])
    else:
        made = shards.finish(store, infos, dataset)
        sums |= {f"shards/{i['name']}.{kind}": i[kind]["sha256"] for i in infos for kind in ("tar", "parquet")}
    store.publish_bytes("recipe.json", (json.dumps(recipe, indent=1) + "\n").encode())
    tell()
    seal.write(store, sums)
    return made["root_hash"]


def _clear_ledger(store: Store, files: list[str], gone: Removed, moved: dict[str, str]) -> set[int]:
    """Empty the rows; their ids in the pool."""
    ids: set[int] = set()
    for name in files:
        hit = np.flatnonzero(np.asarray(is_in(store.table(name, ["uid"])["uid"], gone.uids)))
        ids |= set(((int(Path(name).stem) << SHIFT) + hit).tolist())
        empty(store, name, hit, {"drop_reason": REASON, "drop_stage": "source", "kept": False}, moved)
    return ids


def _clear_derived(
    store: Store,
    recipe: dict[str, Any],
    dataset: dict[str, Any],
    gone: Removed,
    moved: dict[str, str],
    ids: dict[str, set[int]],
) -> None:
    """What selectors read and decided, and the plan, without the rows; those of other recipes go, they can be made again."""
    planned = {file for files in dataset.get("planned", {}).values() for file in files}
    current = {*gc.decided(recipe), dataset.get("assigned"), *planned}
    table = {s["step"]: s["table"] for s in recipe["steps"]}
    for name in folders.files(store, folders.Role.DERIVED, folders.Role.PASSING):
        folder, stays = name.split("/")[0], name in current or name.rpartition("/")[0] in current
        if stays and not name.endswith(".parquet"):
            continue  # records of a decision, and its centroids: nothing of a single row
        if folder == "decisions" and stays:
            leave_out(store, name, moved, {"id": ids[table[name.split("/")[1].rsplit("-", 1)[0]]]})
        elif folder == "gathered" or stays:
            leave_out(store, name, moved, {"uid": gone.uids})
        else:
            store.remove(name)


def _clear_shards(
    store: Store, recipe: dict[str, Any], begun: dict[str, Any], ledger: dict[str, list[str]]
) -> list[dict[str, Any]] | None:
    """Write those that hold such rows again; what the `.json` of each shard says. None of a run without shards."""
    if recipe["shards"] is None:
        return None
    how = Shards(**{k: v for k, v in recipe["shards"].items() if k != "class"})
    how.without = tuple(how.without)
    shard, infos = begun["shard"], []
    provenance = {k: v for k, v in (shard or {}).items() if k not in ("name", "samples", "tar", "parquet", "hashed", "plan")}
    for name in [s["name"] for s in begun["dataset"]["shards"]]:
        if name not in begun["affected"]:
            infos.append(json.loads(store.read(f"shards/{name}.json")))
            continue
        rows = kept_rows_of_shard(store, name, ledger, begun["dataset"]["table"], how)
        store.remove(f"shards/{name}.json")  # else it would be taken for the one that is wanted
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
