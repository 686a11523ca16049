"""Takedown lists: a run records removed content by digests, without the content itself, and never ingests it again.

Each `removed/<digest>.parquet` is a list with the columns `kind` (`url`, `uid`, `sha256`), `value` (a uid, the SHA-256 of a file's
bytes, or the SHA-256 of a URL) and `met` (whether the run had such a row then). `removed/<digest>.json` marks that the removal is complete.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.sources.columns import check_text
from curate.sources.formats import tables
from curate.sources.lines import bare, lines, unwrapped
from curate.store.atomic import Store
from curate.store.folder import PARTS
from curate.web.url import comparable, split

FOLDER = "removed"

#: The journal of a takedown in progress, to resume it after a kill: the dataset as it was, and the affected shards.
JOURNAL = f"{FOLDER}/begun.json"

#: The drop reason of a row whose content was taken down; bytes that are fetched again are discarded with `fetch:removed`.
REASON = "removed"

#: Columns that are kept of such a row: its uid and its position, so that every input row still has one outcome.
RETAINED = frozenset({"uid", "source_file", "source_row", "doc_uid", "position"})

_KINDS = ("url", "uid", "sha256")
_SCHEMA = pa.schema([("kind", pa.large_string()), ("value", pa.large_string()), ("met", pa.bool_())])
#: A uid, also in the form of a UUID; a hash, also as `sha256sum` and container tools write it.
_UID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"(?:sha-?256[:-])?([0-9a-f]{64})(?: [ *].*)?")
_TEXT = re.compile(r"\.(?:txt|lst|list)(?:\.(?:gz|bz2|xz|zst))?$", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|\s)#")
#: Invalid entries of a list that an error names.
_MAX_NAMED = 5


@dataclass
class Removed:
    """A set of removed content: `urls` (as url_digest), `uids`, `hashes` (SHA-256 of bytes)."""

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

    def matches(self, table: pa.Table) -> np.ndarray:
        """For each row whether it is in this set: by uid, its page's uid, URL, or the hash of its bytes."""
        found = np.zeros(len(table), dtype=bool)
        for column, known in (("uid", self.uids), ("doc_uid", self.uids), ("sha256", self.hashes)):
            if known and column in table.column_names:
                found |= np.asarray(is_in(table[column], known))
        for column in ("url", "final_url") if self.urls else ():
            if column in table.column_names:
                found |= np.fromiter((self.has_url(u) for u in table[column].to_pylist()), dtype=bool, count=len(table))
        return found

    def scrubbed(self, table: pa.Table) -> pa.Table:
        """A source's rows, with only RETAINED and the drop reason in those that are in this set."""
        matched = self.matches(table) if len(self) else np.zeros(len(table), dtype=bool)
        return clear_rows(table, matched, {"drop_reason": REASON}) if matched.any() else table

    def present_in(self, table: pa.Table) -> "Removed":
        """The entries that some row has: as its uid, its page's uid, one of its URLs, or the hash of its bytes."""
        rows = {name: set(table[name].to_pylist()) for name in table.column_names} if len(self) else {}
        urls = rows.get("url", set()) | rows.get("final_url", set()) if self.urls else set()
        return Removed(
            {digest for u in urls if u and (digest := url_digest(u)) in self.urls},
            self.uids & (rows.get("uid", set()) | rows.get("doc_uid", set())),
            self.hashes & rows.get("sha256", set()),
        )

    def has(self, kind: str, value: str) -> bool:
        return value in {"url": self.urls, "uid": self.uids, "sha256": self.hashes}[kind]

    def table(self, missing: "Removed | None" = None) -> pa.Table:
        """The content of its file. missing: the entries for which the run had no row."""
        rows = [
            {"kind": kind, "value": value, "met": not (missing and missing.has(kind, value))}
            for kind, values in zip(_KINDS, (self.urls, self.uids, self.hashes))
            for value in sorted(values)
        ]
        return pa.Table.from_pylist(rows, _SCHEMA)

    @property
    def digest(self) -> str:
        """12 hex digits of its entries, which name its file."""
        kinds, values, _ = self.table().to_pydict().values()
        return hashlib.sha256("\n".join(f"{k} {v}" for k, v in zip(kinds, values)).encode()).hexdigest()[:12]


def is_in(column: pa.ChunkedArray, known: Collection) -> pa.Array:
    """For each value of a column whether it is in `known`."""
    found = pc.is_in(column, value_set=pa.array(list(known), column.type))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def clear_rows(table: pa.Table, cleared: np.ndarray, values: dict[str, object]) -> pa.Table:
    """The table with only RETAINED and `values` (by column) in the rows of the mask `cleared`; missing columns are added."""
    mask, indices, columns = pa.array(cleared), pa.array(np.arange(len(cleared)), mask=cleared), {}
    for name in dict.fromkeys([*table.column_names, *values]):
        old = table[name] if name in table.column_names else pa.nulls(len(table), pa.large_string())
        if name not in RETAINED:
            old = old.take(indices)
        columns[name] = pc.if_else(mask, pa.scalar(values[name], old.type), old) if name in values else old
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def url_digest(url: str) -> str:
    """The SHA-256 of a URL in its comparable form (web.url.comparable)."""
    return hashlib.sha256(comparable(unwrapped(url)).encode("utf-8", "surrogatepass")).hexdigest()


# ---- the lists of a run


def lists(store: Store) -> list[str]:
    """The digests of a run's takedown lists."""
    return [n.removesuffix(".parquet") for n in store.names(FOLDER) if n.endswith(".parquet")]


def unfinished(store: Store) -> list[str]:
    """The lists whose removal is not marked as complete."""
    return _without_marker(set(store.names(FOLDER)))


def _without_marker(names: set[str]) -> list[str]:
    found = [n.removesuffix(".parquet") for n in sorted(names) if n.endswith(".parquet")]
    return [digest for digest in found if f"{digest}.json" not in names]


def pending(store: Store) -> bool:
    """Whether a takedown is unfinished."""
    names = set(store.names(FOLDER))
    return JOURNAL.removeprefix(f"{FOLDER}/") in names or bool(_without_marker(names))


def removed(store: Store) -> Removed:
    """All content that was taken down in a run."""
    return _read_lists(store, pc.scalar(True))


def without_rows(store: Store, requested: Removed) -> Removed:
    """The requested entries that no row of the run has, nor had when they were requested before."""
    left = requested - (removed(store) - _read_lists(store, ~pc.field("met")))
    for part in store.names(PARTS):
        for name in [n for n in store.names(f"{PARTS}/{part}") if n.endswith(".parquet")]:
            if len(left):
                left -= left.present_in(store.table(f"{PARTS}/{part}/{name}", ["uid", "doc_uid", "url", "final_url", "sha256"]))
    return left


def _read_lists(store: Store, wanted: pc.Expression) -> Removed:
    found = Removed()
    for name in lists(store):
        table = store.table(f"{FOLDER}/{name}.parquet").filter(wanted)
        found.add(Removed(*(set(table["value"].filter(pc.equal(table["kind"], k)).to_pylist()) for k in _KINDS)))
    return found


# ---- lists of requests


@dataclass(frozen=True)
class Entry:
    """An entry of a list of requests. value: a uid, or the SHA-256 of bytes or of a URL; origin: file, position and text of the entry."""

    kind: str  # url, uid, sha256
    value: str
    origin: str


def read_requests(path: str) -> list[Entry]:
    """Read a list of content to remove: Parquet, CSV, TSV or JSON lines with some of the columns url, uid, sha256; or a text file with
    one of these a line (`#` at its start, or after white space, begins a comment). RecipeError names invalid entries."""
    found, wrong = [], []
    for position, kind, text in _values(path):
        value = unwrapped(text)
        origin = f"{path}: {position}: {value[:200]}"
        if not value:
            continue
        if kind == "url":
            found.append(Entry(kind, url_digest(value), origin))
        elif kind in ("", "uid") and _UID.fullmatch(value.lower()):
            found.append(Entry("uid", value.lower().replace("-", ""), origin))
        elif kind in ("", "sha256") and (digest := _SHA256.fullmatch(value.lower())):
            found.append(Entry("sha256", digest[1], origin))
        elif kind == "" and _is_url(value):
            found.append(Entry("url", url_digest(value), origin))
        else:
            wrong.append(f"{position}: {value[:80]!r} is no {kind or 'URL, uid or SHA-256'}")
    if wrong:
        more = f"; and {len(wrong) - _MAX_NAMED:,} more" if len(wrong) > _MAX_NAMED else ""
        raise RecipeError(f"{path}: {'; '.join(wrong[:_MAX_NAMED])}{more}")
    if not found:
        raise RecipeError(
            f"{path}: names nothing; it needs a column url, uid or sha256 with values, or a name that ends in .txt"
        )
    return found


def _values(path: str) -> Iterator[tuple[str, str, str]]:
    """(position, kind, value) of each value of a list; kind is empty in a text file."""
    if _TEXT.search(path):
        for number, line in enumerate(lines(path), 1):
            yield f"line {number}", "", _COMMENT.split(bare(line), maxsplit=1)[0]
        return
    row = 0
    try:
        for table, bad in tables(path):
            if any(bad):
                raise RecipeError(f"{path}: row {row + bad.index(True)}: cannot be read")
            names = {name: kind for name in table.column_names if (kind := unwrapped(name).lower()) in _KINDS}
            for name, kind in names.items():
                check_text(table.schema.field(name), path)
                for i, value in enumerate(table[name].to_pylist(), row):
                    if value is not None:
                        yield f"row {i}", kind, _cell_text(kind, value)
            row += len(table)
    except (OSError, ValueError, pa.ArrowException) as e:
        raise RecipeError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _cell_text(kind: str, value: object) -> str:
    """A cell as text; a binary uid or hash as hex digits."""
    if not isinstance(value, bytes):
        return str(value)
    return value.hex() if len(value) == {"uid": 16, "sha256": 32}.get(kind) else value.decode(errors="replace")


def _is_url(value: str) -> bool:
    """Whether a text is meant as a URL. It need not be valid: the lists that runs read contain invalid URLs too."""
    try:
        return "://" in value or split(value).scheme in ("http", "https")
    except ValueError:
        return False
