"""`curate check`: verify a run by reading all its files and comparing records, ledger and shards with each other."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from curate import removed
from curate.documents.verify import content_faults, document_contents, document_faults
from curate.errors import PoolError
from curate.fetch.image import SUFFIX, sniff
from curate.paths import parquet
from curate.selector import identifier
from curate.shard import write as shards
from curate.shard.members import bulky, caption, to_json
from curate.sources.tarindex import Sample, members, samples
from curate.store import checksums as seal
from curate.store.atomic import Store
from curate.store.inputs import run_record
from curate.upkeep.chain import chain_faults, hash_faults
from curate.upkeep.kept import kept_faults
from curate.view import views

#: Faults of a shard that are listed; the others are counted.
MAX_LISTED = 5


def check(store: Store) -> list[str]:
    """The faults of a run, one line each with file and cause; an empty list if it is intact."""
    kept = list(kept_faults(store))
    try:
        return kept + (list(_faults(store)) or seal.faults(store))
    except (PoolError, duckdb.Error) as e:
        return [*kept, f"{store.url}: {e}"]
    except (KeyError, TypeError, ValueError) as e:  # a record has other names or types than were written
        return kept + (seal.faults(store) or [f"{store.url}: a record is damaged: {type(e).__name__} {e}"])


def _faults(store: Store) -> Iterator[str]:
    recipe, dataset, sizes = (_read_json(store, n) for n in ("recipe.json", "dataset.json", "shards/sizes.json"))
    without = recipe is not None and recipe.get("shards", "") is None
    for name, found in (("recipe.json", recipe), ("dataset.json", dataset), ("shards/sizes.json", sizes)):
        if found is None and not (without and "/" in name):
            yield f"{name}: missing, or not JSON; the run has not reached its end, or was changed since"
    if recipe is None or dataset is None:
        return
    if recipe.get("state") != "finished":
        yield f"recipe.json: the run has not reached its end (state {recipe.get('state')!r})"
    recipe, con = run_record(store), views.connect(store)
    main = dataset.get("table", "images")
    yield from ledger_faults(con, recipe, () if without else tuple(recipe["rows"]) if main == "documents" else (main,))
    if without:
        return
    if removed.pending(store):
        yield "removed: a takedown has not reached its end; `curate takedown` goes on with it"
    gone = con.sql(f"select count(*) from {main} where drop_reason = '{removed.REASON}'").fetchall()[0][0]
    yield from folder_faults(store, dataset, sizes or {}, gone)
    sound, how = [], recipe.get("shards") or {}
    for entry in dataset["shards"]:
        faults = list(shard_faults(store, entry, main, how))
        if main == "documents" and not faults:
            faults = [f"shards/{entry['name']}: {fault}" for fault in _content_faults(store, con, entry["name"], how)]
        yield from _limited(faults)
        sound += [] if faults else [entry["name"]]
    yield from chain_faults(store, dataset, con)
    yield from agreement_faults(store, con, sound, len(sound) == len(dataset["shards"]), main, _redacts(how, main))


def _redacts(how: dict[str, Any], table: str) -> dict[str, str]:
    """The redacted columns of a table: from each column to the one with its redacted values, by recipe.json."""
    return how.get("redacts", {}).get(table, {})


def _read_json(store: Store, name: str) -> dict[str, Any] | None:
    try:
        found = json.loads(store.read(name))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _limited(faults: list[str]) -> Iterator[str]:
    yield from faults[:MAX_LISTED]
    if len(faults) > MAX_LISTED:
        yield f"{faults[-1].split(':')[0]}: {len(faults) - MAX_LISTED} more faults"


# ---- the ledger: rows in = kept + dropped by reason


def ledger_faults(con: duckdb.DuckDBPyConnection, recipe: dict[str, Any], sharded: tuple[str, ...]) -> Iterator[str]:
    """Faults of the ledger: rows without exactly one outcome, kept rows (of sharded tables) without key and shard, other counts than
    in recipe.json."""
    for table, reasons in recipe.get("rows", {}).items():
        ingested = sum(i["rows"].get(table, 0) for i in recipe["inputs"])
        found = dict(con.sql(f"select coalesce(drop_reason, 'kept'), count(*) from {table} group by 1").fetchall())
        if sum(found.values()) != ingested:
            yield f"ledger/{table}: {sum(found.values())} rows, but the input has {ingested} (recipe.json)"
        for reason in sorted(set(found) | set(reasons)):
            if found.get(reason, 0) != reasons.get(reason, 0):
                yield f"ledger/{table}: {found.get(reason, 0)} rows are {reason}, recipe.json says {reasons.get(reason, 0)}"
        rules = [
            ("kept is null or kept = (drop_reason is not null)", "are neither kept nor dropped for a reason, or both"),
            ("(drop_reason is null) <> (drop_stage is null)", "have a drop_reason without drop_stage, or the reverse"),
            ("uid is null or not regexp_full_match(uid, '[0-9a-f]{32}')", "have no uid of 32 hex digits"),
        ]
        if table in sharded:
            rules += [
                ("kept and (key is null or shard is null)", "are kept, but have no key or no shard"),
                ("not kept and (key is not null or shard is not null)", "are dropped, but have a key or a shard"),
            ]
        for rule, fault in rules:
            yield from _count(con, f"from {table} where {rule}", "uid", f"ledger/{table}: {{n}} rows {fault}")
        yield from _count(
            con,
            f"from (select uid from {table} where kept group by uid having count(*) > 1)",
            "uid",
            f"ledger/{table}: {{n}} uids are kept more than once",
        )


def _count(con: duckdb.DuckDBPyConnection, query: str, name: str, fault: str) -> Iterator[str]:
    """The fault, with the number of rows of a query (`{n}`) and the first of them; nothing if the query has no rows."""
    count, first = con.sql(f"select count(*), min({name}) {query}").fetchall()[0]
    if count:
        yield f"{fault.replace('{n}', str(count))} (first: {first})"


# ---- the folder of shards


def folder_faults(store: Store, dataset: dict[str, Any], sizes: dict[str, Any], gone: int = 0) -> Iterator[str]:
    """Faults of the shards' folder: missing and unknown files, lists that disagree, another root hash.

    gone: number of rows taken down, which allows smaller shards.
    """
    listed = dataset["shards"]
    expected = {f"{s['name']}.{k}" for s in listed for k in ("tar", "parquet", "json")} | {"sizes.json"}
    there = set(store.names("shards"))
    yield from (f"shards/{name}: missing" for name in sorted(expected - there))
    yield from (f"shards/{name}: not a file of this data set (dataset.json)" for name in sorted(there - expected))
    first = dataset.get("first_shard", 0)
    if [s["name"] for s in listed] != [shards.shard_name(first + i, first + len(listed)) for i in range(len(listed))]:
        yield f"dataset.json: the shards are not numbered from {first} without gaps"
    counts = [s["samples"] for s in listed]
    if counts and max(counts) - min(counts) > 1 + gone:
        yield f"dataset.json: shard sizes differ by more than one sample ({min(counts)} to {max(counts)})"
    if sum(counts) != dataset["samples"]:
        yield f"dataset.json: says {dataset['samples']} samples, its shards have {sum(counts)}"
    if sizes != {f"{s['name']}.tar": s["samples"] for s in listed}:
        yield "shards/sizes.json: does not agree with dataset.json"
    if shards.root_hash(listed) != dataset["root_hash"]:
        yield "dataset.json: the root hash is not that of its shards"


# ---- one shard


def shard_faults(store: Store, entry: dict[str, Any], table: str, how: dict[str, Any]) -> Iterator[str]:
    """Faults of one shard (tar, Parquet, JSON): other bytes than recorded, samples whose image, caption, `.json` and Parquet row differ.
    how: the run's shard settings in recipe.json (recipe.Shards)."""
    name = f"shards/{entry['name']}"
    info = _read_json(store, f"{name}.json")
    if info is None:
        yield f"{name}.json: missing, or not JSON"
        info = entry
    elif any(info.get(k) != entry[k] for k in ("name", "samples", "tar", "parquet")):
        yield f"{name}.json: does not agree with dataset.json"
    for kind in ("tar", "parquet"):
        yield from hash_faults(store, f"{name}.{kind}", entry[kind])
    try:
        yield from _sample_faults(store, name, entry["samples"], info.get("hashed"), table, how)
    except (PoolError, OSError, pa.ArrowException) as e:
        yield f"{name}: cannot be read: {e}"


def _sample_faults(store: Store, name: str, count: int, hashed: str | None, kind: str, how: dict[str, Any]) -> Iterator[str]:
    table = store.table(f"{name}.parquet")
    if len(table) != count:
        yield f"{name}.parquet: has {len(table)} rows, should have {count}"
    in_sidecar = how.get("model_scores", {}).get(kind, [])
    rows = table.select([f.name for f in table.schema if not bulky(f.type) and f.name not in in_sidecar])
    with store.open(f"{name}.tar") as f:
        for sample, row in itertools.zip_longest(samples(members(f, f"{name}.tar")), _iterate_rows(rows)):
            if sample is None or row is None or sample.key != row["key"]:
                here, there = sample.key if sample else "its end", row["key"] if row else "its end"
                yield f"{name}.tar: has {here or 'a damaged place'} where {name}.parquet has {there}"
                return
            if kind == "documents":
                yield from (
                    f"{name}.tar: {row['key']}{fault}"
                    for fault in document_faults(sample, partial(_member, f, sample), row, hashed, _is_image)
                )
            elif "mime" in row:
                yield from _image_faults(f, f"{name}.tar: {row['key']}", sample, row, hashed, how.get("captions", ""))


def _member(f: Any, sample: Sample, suffix: str) -> bytes:
    f.seek(sample.members[suffix].offset)
    return f.read(sample.members[suffix].size)


def _is_image(data: bytes, mime: str) -> bool:
    return sniff(data) == mime


def _content_faults(store: Store, con: duckdb.DuckDBPyConnection, name: str, how: dict[str, Any]) -> Iterator[str]:
    """Faults of a shard's documents against the ledger's texts and images; the shard itself has none."""
    with store.open(f"shards/{name}.tar") as f:
        found = [
            content
            for sample in samples(members(f, name))
            for content in document_contents(json.loads(_member(f, sample, "json")))
        ]
    yield from content_faults(con, int(name), found, _redacts(how, "texts").get("text", ""))


def _iterate_rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def _image_faults(f: Any, name: str, sample: Sample, row: dict[str, Any], hashed: str | None, captions: str) -> Iterator[str]:
    """Faults of a sample of one image: its bytes, caption and `.json` against its row."""
    suffix = SUFFIX.get(row["mime"], "")
    if set(sample.members) != {suffix, "json", "txt"} or "." in sample.key or sample.broken:
        yield f"{name}: has the members {', '.join(sorted(sample.members))}, should have {suffix}, json, txt"
        return
    files = {}
    for kind, member in sample.members.items():
        f.seek(member.offset)
        files[kind] = f.read(member.size)
    if files["txt"] != caption(row, captions).encode():
        yield f"{name}.txt: is not the caption of its row"
    if _parsed(files["json"]) != json.loads(to_json(row)):
        yield f"{name}.json: is not its row"
    if not _is_image(files[suffix], row["mime"]):
        yield f"{name}.{suffix}: is not {row['mime']}"
    elif hashed and hashlib.sha256(files[suffix]).hexdigest() != row[hashed]:
        yield f"{name}.{suffix}: is not the image of its row (SHA-256)"


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


# ---- the ledger and the shards


def agreement_faults(
    store: Store, con: duckdb.DuckDBPyConnection, sound: list[str], whole: bool, table: str, hidden: dict[str, str]
) -> Iterator[str]:
    """Faults between ledger and shards: kept rows that are not samples of their shard, the wrong number of times, with other values.

    sound: the shards without faults, the only ones compared. whole: whether these are all.
    """
    if sound:
        files = [store.path(f"shards/{n}.parquet") for n in sound]
        found = parquet(files, "union_by_name = true, filename = '_file', file_row_number = true")
    else:
        found = f"(select uid, key, 0 as _file, 0 as file_row_number from {table} where false)"
    con.execute(f"create or replace temp view sample as select * from {found}")
    places = r"try_cast(regexp_extract(s._file, '(\d+)\.parquet$', 1) as int)" if sound else "0"
    joined = f"from sample s join {table} l using (uid) where l.kept"
    yield from _count(
        con, "from (select key from sample group by key having count(*) > 1)", "key", "shards: {n} keys come more than once"
    )
    yield from _count(
        con,
        f"from sample s where not exists (from {table} l where l.uid = s.uid and l.kept)",
        "key",
        f"shards: {{n}} samples are not kept rows of ledger/{table}",
    )
    yield from _count(
        con,
        f"{joined} and s.key = s.uid and (l.key <> s.key or l.shard <> {places})",
        "s.key",
        f"ledger/{table}: key or shard of {{n}} rows is not where the sample is",
    )
    if "place" in con.table(table).columns:
        # Places have gaps after a takedown.
        yield from _count(
            con,
            f"""from (select s.key, l.place, lag(l.place) over (partition by s._file order by s.file_row_number) as before
            {joined} and s.key = s.uid) where place is null or place <= before""",
            "key",
            f"ledger/{table}: {{n}} samples are not in the order of their places",
        )
    if whole:
        copies = "greatest(coalesce(l.copies, 1), 1)" if "copies" in con.table(table).columns else "1"
        yield from _count(
            con,
            f"""from {table} l left join (select uid, count(*) as n from sample group by uid) s using (uid)
            where l.kept and coalesce(s.n, 0) <> {copies}""",
            "uid",
            f"ledger/{table}: {{n}} kept rows are not in the shards, or not as often as they should be",
        )
    yield from _value_faults(con, table, joined, hidden)


def _value_faults(con: duckdb.DuckDBPyConnection, table: str, joined: str, hidden: dict[str, str]) -> Iterator[str]:
    """Faults of samples whose values differ from their row's (its redacted values, where redacted)."""
    in_both = set(con.table("sample").columns) & set(con.table(table).columns) - {"key", "shard", "uid"}
    for column in sorted(in_both):
        name = identifier(column)
        value = f"coalesce(l.{identifier(hidden[column])}, l.{name})" if column in hidden else f"l.{name}"
        yield from _count(
            con,
            f"{joined} and s.{name} is distinct from {value}",
            "s.key",
            f"ledger/{table}: {{n}} samples have another {column} than their row",
        )
