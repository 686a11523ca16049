"""Ingestion: input files are read into committed parts."""

import json
import logging
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import CurateError, PoolError, RecipeError
from curate.paths import is_utf8, printable
from curate.removed import Removed, removed
from curate.schema import ROW
from curate.score.part import Part
from curate.source import Source, file_identity, file_version
from curate.sources.columns import common
from curate.stage import digest
from curate.store.atomic import Store
from curate.store.folder import INPUT_RECORDS, PARTS

log = logging.getLogger(__name__)

#: Inputs whose versions are looked up at a time.
_LOOKS = 16


def ingest(
    store: Store,
    source: Source,
    path: str,
    part_size: int,
    earlier: dict[str, Any] | None = None,
    gone: Removed | None = None,
    there: Container[str] | None = None,
) -> dict[str, Any]:
    """Read one input file into committed parts; returns its record, which is committed last and makes a rerun free.

    An unreadable file does not stop the others: its record has an `error`, and the parts before the fault stay. Parts of an
    interrupted ingestion stay too; a source that asks the web, whose answers may change, continues after them.
    earlier: the file's identity when it was last read. gone: content taken down. there: the names of existing input records.
    """
    if not is_utf8(path):
        return {
            "path": printable(path),
            "error": f"{printable(path)}: the name is not UTF-8; give the file another one",
            "parts": [],
        }
    try:
        known = file_identity(path, earlier)
    except OSError as e:
        return {"path": path, "error": f"{path}: {e.strerror or e}", "parts": []}
    key = input_key(known, source, part_size)
    name = f"{INPUT_RECORDS}/{key}.json"
    if (there is None or f"{key}.json" in there) and (done := store.json(name)) is not None:
        return done | known
    parts, last = resumable_parts(store, source, key) if source.asks else ([], -1)
    record = {**known, "key": key, "parts": parts}
    source.removed, fresh = removed(store) if gone is None else gone, []
    read = source.read(path, part_size, last) if source.asks else source.read(path, part_size)
    try:
        for tables in _readable_slices(read, path):
            parts.append(_commit_part(store, source.removed, part_id(key, len(parts)), tables, fresh))
    except _Unreadable as e:
        return {**record, "error": str(e)}
    if not is_unchanged(known):
        for file in fresh:  # they may mix two versions of the input
            store.remove(file)
        return {**known, "error": f"{path}: changed while it was read", "parts": []}
    store.commit_record(name, record)
    return record


class _Unreadable(Exception):
    """A fault of the input; faults of the run's own disk are not caught and end the run."""


def _readable_slices(read: Iterator[dict[str, pa.Table]], path: str) -> Iterator[dict[str, pa.Table]]:
    """The slices of an input. Raises _Unreadable."""
    while True:
        try:
            tables = next(read, None)
        except (CurateError, OSError, pa.ArrowException) as e:
            raise _Unreadable(str(e)) from e
        except Exception as e:
            log.warning("%s: cannot be read", path, exc_info=True)
            raise _Unreadable(f"{path}: cannot be read: {type(e).__name__}: {e}") from e
        if tables is None:
            return
        yield tables


def _commit_part(store: Store, gone: Removed, part: str, tables: dict[str, pa.Table], fresh: list[str]) -> dict[str, Any]:
    """Commit the tables of a part and return its record; files that this call committed are added to `fresh`."""
    counts, columns = {}, {}
    for table, rows in tables.items():
        file = f"{PARTS}/{part}/source.{table}.parquet"
        if store.commit_table(file, gone.scrubbed(rows)):
            fresh.append(file)
            counts[table], columns[table] = len(rows), _own_columns(rows.schema)
        else:
            counts[table], columns[table] = len(store.table(file, ["uid"])), _own_columns(store.fields(file))
    return {"id": part, "rows": counts, "columns": columns}


def is_unchanged(known: dict[str, Any]) -> bool:
    """Whether an input still has its recorded size and version (ETag, modification time), as far as its store has these."""
    try:
        now = file_version(known["path"])
    except (OSError, CurateError):
        return False
    return all(now[k] == known.get(k, now[k]) for k in ("size", "version"))


def changed_since(inputs: list[dict[str, Any]]) -> list[str]:
    """A warning for each input that has changed since it was read."""
    inputs = [i for i in inputs if "error" not in i]
    with ThreadPoolExecutor(_LOOKS) as lookups:
        same = list(lookups.map(is_unchanged, inputs))
    return [
        f"{i['path']}: has changed since it was read; this run has its rows as they were"
        for i, is_same in zip(inputs, same)
        if not is_same
    ]


def resumable_parts(store: Store, source: Source, key: str) -> tuple[list[dict[str, Any]], int]:
    """The complete parts of an interrupted ingestion, and the last source row in them. Files of an incomplete part are removed: tables
    from different answers of a server do not fit together."""
    parts, last = [], -1
    while True:
        part = part_id(key, len(parts))
        files = {t: f"{PARTS}/{part}/source.{t}.parquet" for t in source.tables}
        if not all(store.exists(f) for f in files.values()):
            break
        rows = {t: store.table(f, ["source_row"])["source_row"] for t, f in files.items()}
        columns = {t: _own_columns(store.fields(f)) for t, f in files.items()}
        parts.append({"id": part, "rows": {t: len(r) for t, r in rows.items()}, "columns": columns})
        last = pc.max(rows[source.tables[0]]).as_py()
    for file in files.values():
        store.remove(file)
    return parts, last


def _own_columns(fields: pa.Schema) -> dict[str, str]:
    """The source's own columns (`source_*`) with their types."""
    return {f.name: str(f.type) for f in fields if f.name.startswith("source_") and f.name not in ROW}


def number_parts(parts: list[dict[str, Any]], read: Container[str]) -> list[Part]:
    """The numbered parts of a pool, with source columns unified: names that differ only in case become the first of them, types the one
    that holds all values (columns.common). read: columns that steps read; a part whose file lacks one has nulls."""
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    names: dict[tuple[str, str], str] = {}
    for part in parts:
        for table, columns in part.get("columns", {}).items():
            for name, kind in columns.items():
                kinds.setdefault((table, name.casefold()), {})[kind] = None
                names.setdefault((table, name.casefold()), name)
    types = {key: common(found) for key, found in kinds.items()}
    made = []
    for number, part in enumerate(parts):
        changes: dict[str, dict[str, tuple[str, str]]] = {}
        for table, columns in part.get("columns", {}).items():
            mine = {n.casefold(): n for n in columns}
            for (of, folded), kind in types.items():
                if of == table:
                    has, name = mine.get(folded, ""), names[table, folded]
                    if (has != name or columns[has] != kind) if has else name in read:
                        changes.setdefault(table, {})[name] = (has, kind)
        made.append(Part(part["id"], number, part["rows"], changes))
    return made


def input_key(known: dict[str, Any], source: Source, part_size: int) -> str:
    """The key of an input file's parts: a digest of its content, its path, and the source's parameters."""
    return digest({"hash": known["hash"], "path": known["path"], "source": source.identity(), "part_size": part_size})


def part_id(key: str, number: int) -> str:
    """The id of the n-th part of the input with this key."""
    return f"{key}-{number:06d}"


def require_same_source(
    store: Store, earlier: dict[str, Any], source: dict[str, Any], part_size: int, files: list[str]
) -> None:
    """RecipeError if the run in the folder, whose record is `earlier`, reads another source or has another part size."""
    before, now = earlier["source"], json.loads(json.dumps(source, default=str))
    for key in sorted(set(before) | set(now)):
        if key != "paths" and before.get(key) != now.get(key):
            raise RecipeError(
                f"{store.url}: holds a run over another source: its {key} is {before.get(key)!r}, now {now.get(key)!r}"
            )
    if earlier["part_size"] != part_size:
        size = earlier["part_size"]
        raise RecipeError(f"{store.url}: was begun with parts of {size} rows; say --part-size {size}")
    there = set(files)
    if gone := [i["path"] for i in earlier["inputs"] if i["path"] not in there]:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise RecipeError(f"{store.url}: holds a run over another source: it also reads {gone[0]}{more}")


def require_unchanged_inputs(earlier: dict[str, Any], found: dict[str, dict[str, Any]]) -> None:
    """RecipeError if an input has changed since the run read it, PoolError if rows that were read then cannot be read now. found: the
    record that `ingest` returned for each file."""
    for before in earlier["inputs"]:
        now = found[before["path"]]
        if before.get("hash") and now.get("hash", before["hash"]) != before["hash"] and "error" not in before:
            raise RecipeError(f"{before['path']}: has changed since this run read it; a run reads one state of its input")
        if "error" in now and sum(before["rows"].values()) > sum(sum(p["rows"].values()) for p in now["parts"]):
            raise PoolError(
                f"{now['error']}; this run has rows of it and would lose them: make it readable again, or begin a run "
                "without it in another folder, with --reuse of this one"
            )
