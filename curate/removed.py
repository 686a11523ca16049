"""What was taken down: a run remembers it by digests, without the content, and never takes it in again.

Each `removed/<digest>.parquet` is a list: `kind` (`url`, `uid`, `sha256`), `value`: a uid as it is, the SHA-256 of a file's
bytes, the SHA-256 of a URL, and `met`: whether there was such a row then. `removed/<digest>.json` says that this run holds nothing of it any more.
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
from curate.web.url import comparable, split

FOLDER = "removed"

#: What is needed to go on after a kill: the dataset as it was, and the shards that are to change. There while a takedown is at work.
BEGUN = f"{FOLDER}/begun.json"

#: The drop reason of a row whose content was taken down; `fetch:removed` is that of bytes that arrived again, and were let go.
REASON = "removed"

#: What stays of such a row: who it was and where it stood, so that every input row still has its one outcome.
STAYS = frozenset({"uid", "source_file", "source_row", "doc_uid", "position"})

_KINDS = ("url", "uid", "sha256")
_SCHEMA = pa.schema([("kind", pa.large_string()), ("value", pa.large_string()), ("met", pa.bool_())])
#: A uid, also in the form of a UUID; a hash, also as `sha256sum` and container tools write it.
_UID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"(?:sha-?256[:-])?([0-9a-f]{64})(?: [ *].*)?")
_TEXT = re.compile(r"\.(?:txt|lst|list)(?:\.(?:gz|bz2|xz|zst))?$", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|\s)#")
#: Entries of a list that are wrong, of which an error tells.
_TOLD = 5


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

    def met(self, table: pa.Table) -> "Removed":
        """Those of these that some row has: as its uid, its page's uid, one of its URLs, or the hash of its bytes."""
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
        """As it is kept; `missing` are those of which no row was there."""
        rows = [
            {"kind": kind, "value": value, "met": not (missing and missing.has(kind, value))}
            for kind, values in zip(_KINDS, (self.urls, self.uids, self.hashes))
            for value in sorted(values)
        ]
        return pa.Table.from_pylist(rows, _SCHEMA)

    @property
    def digest(self) -> str:
        """12 hex digits that name this list."""
        kinds, values, _ = self.table().to_pydict().values()
        return hashlib.sha256("\n".join(f"{k} {v}" for k, v in zip(kinds, values)).encode()).hexdigest()[:12]


def is_in(column: pa.ChunkedArray, known: Collection) -> pa.Array:
    """For each value whether it is one of these."""
    found = pc.is_in(column, value_set=pa.array(list(known), column.type))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def emptied(table: pa.Table, hit: np.ndarray, values: dict[str, object]) -> pa.Table:
    """The table with nothing but STAYS in some rows, and there the given `values`; columns that it lacks are added."""
    mask, places, columns = pa.array(hit), pa.array(np.arange(len(hit)), mask=hit), {}
    for name in dict.fromkeys([*table.column_names, *values]):
        old = table[name] if name in table.column_names else pa.nulls(len(table), pa.large_string())
        if name not in STAYS:
            old = old.take(places)
        columns[name] = pc.if_else(mask, pa.scalar(values[name], old.type), old) if name in values else old
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def url_digest(url: str) -> str:
    """The SHA-256 of what the spellings of a URL have in common."""
    return hashlib.sha256(comparable(unwrapped(url)).encode("utf-8", "surrogatepass")).hexdigest()


# ---- what a run remembers


def lists(store: Store) -> list[str]:
    """The digests of a run's lists."""
    return [n.removesuffix(".parquet") for n in store.names(FOLDER) if n.endswith(".parquet")]


def unnoted(store: Store) -> list[str]:
    """Those without a note that the run was cleared of them."""
    return _unnoted(set(store.names(FOLDER)))


def _unnoted(names: set[str]) -> list[str]:
    found = [n.removesuffix(".parquet") for n in sorted(names) if n.endswith(".parquet")]
    return [digest for digest in found if f"{digest}.json" not in names]


def pending(store: Store) -> bool:
    """Whether a takedown has not reached its end."""
    names = set(store.names(FOLDER))
    return BEGUN.removeprefix(f"{FOLDER}/") in names or bool(_unnoted(names))


def removed(store: Store) -> Removed:
    """All that was taken down in a run, and may not come in again."""
    return _listed(store, pc.scalar(True))


def without_rows(store: Store, asked: Removed) -> Removed:
    """Those that no row of the run has, and that no row had when they were asked for before."""
    left = asked - (removed(store) - _listed(store, ~pc.field("met")))
    for part in store.names("parts"):
        for name in [n for n in store.names(f"parts/{part}") if n.endswith(".parquet")]:
            if len(left):
                left -= left.met(store.table(f"parts/{part}/{name}", ["uid", "doc_uid", "url", "final_url", "sha256"]))
    return left


def _listed(store: Store, wanted: pc.Expression) -> Removed:
    found = Removed()
    for name in lists(store):
        table = store.table(f"{FOLDER}/{name}.parquet").filter(wanted)
        found.add(Removed(*(set(table["value"].filter(pc.equal(table["kind"], k)).to_pylist()) for k in _KINDS)))
    return found


# ---- what somebody asks for


@dataclass(frozen=True)
class Entry:
    """What a list asks for: `value` is a uid, or the SHA-256 of bytes or of a URL; `origin` is how and where it is written."""

    kind: str  # url, uid, sha256
    value: str
    origin: str


def asked(path: str) -> list[Entry]:
    """A list of what is to go: Parquet, CSV, TSV or JSON lines with some of the columns url, uid, sha256; or a text file with one
    of these a line (`#` at its start, or behind a blank, begins a comment). RecipeError names the entries that are none."""
    found, wrong = [], []
    for place, kind, written in _values(path):
        value = unwrapped(written)
        origin = f"{path}: {place}: {value[:200]}"
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
            wrong.append(f"{place}: {value[:80]!r} is no {kind or 'URL, uid or SHA-256'}")
    if wrong:
        more = f"; and {len(wrong) - _TOLD:,} more" if len(wrong) > _TOLD else ""
        raise RecipeError(f"{path}: {'; '.join(wrong[:_TOLD])}{more}")
    if not found:
        raise RecipeError(
            f"{path}: names nothing; it needs a column url, uid or sha256 with values, or a name that ends in .txt"
        )
    return found


def _values(path: str) -> Iterator[tuple[str, str, str]]:
    """(place, kind, value) of all that is not null or blank."""
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
                        yield f"row {i}", kind, _written(kind, value)
            row += len(table)
    except (OSError, ValueError, pa.ArrowException) as e:
        raise RecipeError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _written(kind: str, value: object) -> str:
    """A cell as text; of a uid or hash in binary the hex digits."""
    if not isinstance(value, bytes):
        return str(value)
    return value.hex() if len(value) == {"uid": 16, "sha256": 32}.get(kind) else value.decode(errors="replace")


def _is_url(value: str) -> bool:
    """Whether it is meant as one: a list of URLs may hold what is none, and a takedown list the same."""
    try:
        return "://" in value or split(value).scheme in ("http", "https")
    except ValueError:
        return False
