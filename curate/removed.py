"""What was taken down: a run remembers it by digests, without the content, and never takes it in again.

Each `removed/<digest>.parquet` is a list: `kind` (`url`, `uid`, `sha256`) and `value`: a uid as it is, the SHA-256 of a file's
bytes, the SHA-256 of a URL. `removed/<digest>.json` says that this run holds nothing of it any more.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.sources.columns import text_type
from curate.sources.formats import tables
from curate.store.atomic import Store

FOLDER = "removed"

#: What is needed to go on after a kill: the dataset as it was, and the shards that are to change. There while a takedown is at work.
BEGUN = f"{FOLDER}/begun.json"

#: The drop reason of a row whose content was taken down; `fetch:removed` is that of bytes that arrived again, and were let go.
REASON = "removed"

#: What stays of such a row: who it was and where it stood, so that every input row still has its one outcome.
STAYS = frozenset({"uid", "source_file", "source_row", "doc_uid", "position"})

_SCHEMA = pa.schema([("kind", pa.large_string()), ("value", pa.large_string())])
_UID, _SHA256 = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
_PORTS = {"http": 80, "https": 443}


@dataclass
class Removed:
    """Digests of what was taken down: `urls` (SHA-256 of `canonical`), `uids`, `hashes` (SHA-256 of bytes)."""

    urls: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.urls) + len(self.uids) + len(self.hashes)

    def __or__(self, other: "Removed") -> "Removed":
        return Removed(self.urls | other.urls, self.uids | other.uids, self.hashes | other.hashes)

    def add(self, other: "Removed") -> None:
        self.urls |= other.urls
        self.uids |= other.uids
        self.hashes |= other.hashes

    def __sub__(self, other: "Removed") -> "Removed":
        return Removed(self.urls - other.urls, self.uids - other.uids, self.hashes - other.hashes)

    def has_url(self, url: str | None) -> bool:
        return bool(self.urls) and url is not None and url_digest(url) in self.urls

    def among(self, table: pa.Table) -> np.ndarray:
        """For each row whether it is one of these: by uid, its page's uid, URL, or the hash of its bytes."""
        found = np.zeros(len(table), dtype=bool)
        for column, known in (("uid", self.uids), ("doc_uid", self.uids), ("sha256", self.hashes)):
            if known and column in table.column_names:
                found |= np.asarray(is_in(table[column], known))
        for column in ("url", "final_url") if self.urls else ():
            if column in table.column_names:
                found |= np.fromiter((self.has_url(u) for u in table[column].to_pylist()), dtype=bool, count=len(table))
        return found

    def scrubbed(self, table: pa.Table) -> pa.Table:
        """Rows as a source brought them; those that are among these keep nothing but STAYS, and the reason."""
        hit = self.among(table) if len(self) else np.zeros(len(table), dtype=bool)
        return emptied(table, hit, {"drop_reason": REASON}) if hit.any() else table

    def table(self) -> pa.Table:
        rows = [
            (kind, v)
            for kind, values in (("url", self.urls), ("uid", self.uids), ("sha256", self.hashes))
            for v in sorted(values)
        ]
        return pa.table([[k for k, _ in rows], [v for _, v in rows]], schema=_SCHEMA)

    @property
    def digest(self) -> str:
        """12 hex digits that name this list."""
        return hashlib.sha256("\n".join(f"{k} {v}" for k, v in zip(*self.table().to_pydict().values())).encode()).hexdigest()[
            :12
        ]


def is_in(column: pa.ChunkedArray, known: Collection) -> pa.Array:
    """For each value whether it is one of these."""
    found = pc.is_in(column, value_set=pa.array(list(known), column.type))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def emptied(table: pa.Table, hit: np.ndarray, said: dict[str, object]) -> pa.Table:
    """The table with nothing but STAYS in some rows, and there the values that are `said`; columns that it lacks are added."""
    mask, places, columns = pa.array(hit), pa.array(np.arange(len(hit)), mask=hit), {}
    for name in dict.fromkeys([*table.column_names, *said]):
        old = table[name] if name in table.column_names else pa.nulls(len(table), pa.large_string())
        if name not in STAYS:
            old = old.take(places)
        columns[name] = pc.if_else(mask, pa.scalar(said[name], old.type), old) if name in said else old
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def canonical(url: str) -> str:
    """What is compared of a URL: host in lower case, port unless it is the usual one, path, query; neither scheme nor fragment."""
    try:
        parts = urlsplit(url.strip())
        port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
        return f"//{parts.hostname or ''}{port}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    except ValueError:
        return url.strip()


def url_digest(url: str) -> str:
    return hashlib.sha256(canonical(url).encode("utf-8", "surrogatepass")).hexdigest()


# ---- what a run remembers


def lists(store: Store) -> list[str]:
    """The digests of a run's lists."""
    return [n.removesuffix(".parquet") for n in store.names(FOLDER) if n.endswith(".parquet")]


def unnoted(store: Store) -> list[str]:
    """Those without a note that the run was cleared of them."""
    names = set(store.names(FOLDER))
    return [d for d in lists(store) if f"{d}.json" not in names]


def pending(store: Store) -> bool:
    """Whether a takedown has not reached its end."""
    return bool(unnoted(store)) or store.exists(BEGUN)


def removed(store: Store) -> Removed:
    """All that was taken down in a run, and may not come in again."""
    found = Removed()
    for name in lists(store):
        table = store.table(f"{FOLDER}/{name}.parquet")
        sets = {k: set(table["value"].filter(pc.equal(table["kind"], k)).to_pylist()) for k in ("url", "uid", "sha256")}
        found.add(Removed(sets["url"], sets["uid"], sets["sha256"]))
    return found


# ---- what somebody asks for


def asked(path: str) -> Removed:
    """A list of what is to go: Parquet, CSV, TSV or JSON lines with some of the columns url, uid, sha256; or a text file with one
    of these a line. RecipeError names the row that is none."""
    found = Removed()
    for row, kind, value in _values(path):
        value = value.strip()
        if kind == "url":
            found.urls.add(url_digest(value))
        elif kind == "uid" and _UID.fullmatch(value.lower()):
            found.uids.add(value.lower())
        elif kind == "sha256" and _SHA256.fullmatch(value.lower()):
            found.hashes.add(value.lower())
        else:
            raise RecipeError(f"{path}: row {row}: {value[:80]!r} is no {kind or 'URL, uid or SHA-256'}")
    if not len(found):
        raise RecipeError(f"{path}: names nothing; it needs a column url, uid or sha256 with values")
    return found


def _values(path: str) -> Iterator[tuple[int, str, str]]:
    """(row, kind, value) of all that is not null or blank."""
    try:
        if path.lower().endswith(".txt"):
            with fsspec.open(path, "rt", encoding="utf-8") as f:
                lines = [(row, line.strip()) for row, line in enumerate(f)]
            yield from ((row, _kind(line), line) for row, line in lines if line and not line.startswith("#"))
            return
        row = 0
        for table, bad in tables(path, 10_000):
            if any(bad):
                raise RecipeError(f"{path}: row {row + bad.index(True)}: cannot be read")
            for name in [n for n in table.column_names if n.lower() in ("url", "uid", "sha256")]:
                text_type(table.schema.field(name), path)  # values of extension types may be code
                yield from (
                    (row + i, name.lower(), str(v))
                    for i, v in enumerate(table[name].to_pylist())
                    if v is not None and str(v).strip()
                )
            row += len(table)
    except (OSError, ValueError, pa.ArrowException) as e:
        raise RecipeError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _kind(value: str) -> str:
    return (
        "url"
        if "://" in value
        else "uid"
        if _UID.fullmatch(value.lower())
        else "sha256"
        if _SHA256.fullmatch(value.lower())
        else ""
    )
