"""Every kind of file in a run's folder, declared once: its names, how damage is found, and whether it can be made again.

Resuming, `gc`, `check`, `--repair`, takedown, `--reuse` and SHA256SUMS walk this table. A new kind of file is a new line of KINDS.
"""

import errno
import fnmatch
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from curate.errors import PoolError
from curate.schema import TABLES
from curate.store import parquet
from curate.store.atomic import Store
from curate.store.inputs import INPUTS
from curate.store.records import record, verified

#: Everything that can be rebuilt from the inputs lies below `work/`, whose layout is private to curate.
WORK = "work"
INPUT_RECORDS, PARTS = f"{WORK}/inputs", f"{WORK}/parts"
GATHERED, EXCHANGE, DECISIONS = f"{WORK}/gathered", f"{WORK}/exchange", f"{WORK}/decisions"
ASSIGNED, PLANNED, ASSETS = f"{WORK}/assigned", f"{WORK}/planned", f"{WORK}/assets"

#: Files that are verified at a time.
_READERS = 8


class Role(Enum):
    """What a file is for, and with it what becomes of it when it is lost."""

    MOMENT = auto()  # who is at work, and how far: of no use afterwards
    PEOPLE = auto()  # what people decided: nothing can make it again
    INPUT = auto()  # rows as they came in: read again from the input
    COMPUTED = auto()  # values and bytes of parts: computed or fetched again, at a cost
    DERIVED = auto()  # follows from the parts, under names made of digests: made again
    PASSING = auto()  # between two steps of one computation; only who made it can tell whether it is whole
    SHOWN = auto()  # what the run is for, named in SHA256SUMS: made again from the rest
    RECORD = auto()  # what ran and what came of it
    PAGE = auto()  # for people to look at: made again


#: What a folder may hold before its run has a recipe.json.
EARLY = (Role.MOMENT, Role.PEOPLE, Role.INPUT, Role.COMPUTED)


@dataclass(frozen=True)
class Kind:
    """A kind of file. pattern: its names, a glob for each folder on the way. fault: what is wrong with such a file, by its own bytes;
    None where another file says what they are (SHA256SUMS), or nothing does."""

    name: str
    pattern: str
    role: Role
    fault: Callable[[Store, str], str] | None = None

    def matches(self, name: str) -> bool:
        parts, globs = name.split("/"), self.pattern.split("/")
        return len(parts) == len(globs) and all(fnmatch.fnmatchcase(p, g) for p, g in zip(parts, globs))


# ---- how damage is found


def _table(store: Store, name: str) -> str:
    """A table has its own checksum."""
    with store.open(name) as f:
        return parquet.fault(f)


def _named(store: Store, name: str) -> str:
    """The name ends with the SHA-256 of the bytes, as far as it goes."""
    digest = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].rsplit("-", 1)[-1]
    return "" if store.hash(name).startswith(digest) else "damaged (other bytes than its name says)"


def _record(store: Store, name: str) -> str:
    """A record has its own checksum."""
    data = store.read(name)
    try:
        return "" if data == record(verified(json.loads(data))) else "damaged (not as it was written)"
    except (ValueError, AttributeError) as e:
        return f"damaged ({e})"


# ---- the table

KINDS = (
    Kind("lease", "lease/*", Role.MOMENT),
    Kind("progress", "progress.json", Role.MOMENT),
    Kind("takedown at work", "removed/begun.json", Role.MOMENT),
    Kind("takedown at work", "removed/moved-*.json", Role.MOMENT),
    Kind("takedown list", "removed/*.parquet", Role.PEOPLE, _table),
    Kind("takedown note", "removed/*.json", Role.PEOPLE, _record),
    Kind("verdicts", "verdicts/*.parquet", Role.PEOPLE, _table),
    Kind("input", f"{INPUT_RECORDS}/*.json", Role.INPUT, _record),
    Kind("rows", f"{PARTS}/*/source.*.parquet", Role.INPUT, _table),
    Kind("payload", f"{PARTS}/*/*.tar", Role.COMPUTED, _named),
    Kind("hashes of lost files", f"{PARTS}/*/lost.*.parquet", Role.COMPUTED, _table),
    Kind("columns", f"{PARTS}/*/*.parquet", Role.COMPUTED, _table),
    Kind("columns for selectors", f"{GATHERED}/*.parquet", Role.DERIVED, _table),
    Kind("exchange", f"{EXCHANGE}/*/*/*", Role.PASSING),
    Kind("decision", f"{DECISIONS}/*/*.parquet", Role.DERIVED, _table),
    Kind("decision", f"{DECISIONS}/*/*.json", Role.DERIVED, _record),
    Kind("centroids", f"{DECISIONS}/*/*.npy", Role.DERIVED, _named),
    Kind("places of samples", f"{ASSIGNED}/*/*.parquet", Role.DERIVED, _table),
    Kind("places of samples", f"{ASSIGNED}/*/*.json", Role.DERIVED, _record),
    Kind("plan of shards", f"{PLANNED}/*.parquet", Role.DERIVED, _table),
    Kind("copies of files that steps name", f"{ASSETS}/*", Role.DERIVED, _named),
    Kind("shard", "shards/*", Role.SHOWN),
    *(Kind("ledger", f"ledger/{table}/*.parquet", Role.SHOWN) for table in TABLES),
    Kind("recipe", "recipe.json", Role.RECORD),
    Kind("inputs of the run", INPUTS, Role.RECORD, _table),
    Kind("data set", "dataset.json", Role.RECORD),
    Kind("checksums", "SHA256SUMS", Role.RECORD),
    Kind("page", "*.html", Role.PAGE),
    Kind("card", "README.md", Role.PAGE),
    Kind("card", "croissant.json", Role.PAGE),
)


def load_or_build(store: Store, name: str, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Load the record of an artefact, or build the artefact. Its name holds the digest of its inputs, so an existing one is up to date.

    `build` writes the artefact's files and returns the record, which is written last and is the commit.
    """
    found = store.json(name)
    if found is None:
        found = build()
        store.publish_record(name, found)
    return found


def kind_of(name: str) -> Kind | None:
    """The kind of a file; None if a run has no such files."""
    return next((k for k in KINDS if k.matches(name)), None)


def refuse_older(store: Store) -> None:
    """PoolError if a run of version 0.1 is in the folder: it had no `work/`, and its parts and decisions beside the ledger."""
    if {"parts", "decisions", "edges"} & set(store.names("")):
        raise PoolError(
            f"{store.url}: a run of curate 0.1, whose folder had another layout; look at it with that version, or run into another folder"
        )


def top(*roles: Role) -> set[str]:
    """The names at the top of the folder that files of these roles are at or below."""
    return {k.pattern.split("/")[0] for k in KINDS if k.role in roles}


def sizes(store: Store, *roles: Role) -> Iterator[tuple[str, int]]:
    """The files of these roles with their sizes in bytes, by name within each folder."""
    folders = dict.fromkeys(k.pattern.rpartition("/")[0] for k in KINDS if k.role in roles)
    for pattern in folders:
        for folder in _folders(store, pattern.split("/") if pattern else []):
            for n, size in sorted(store.sizes(folder).items()):
                name = f"{folder}/{n}" if folder else n
                if (kind := kind_of(name)) and kind.role in roles:
                    yield name, size


def files(store: Store, *roles: Role) -> list[str]:
    """The names of the files of these roles."""
    return [name for name, _ in sizes(store, *roles)]


def _folders(store: Store, globs: list[str], above: str = "") -> Iterator[str]:
    """The folders that a pattern stands for."""
    if not globs:
        yield above
        return
    here, *rest = globs
    names = [here] if "*" not in here else [n for n in store.names(above) if kind_of(f"{above}/{n}") is None]
    for name in names:
        yield from _folders(store, rest, f"{above}/{name}" if above else name)


def fault(store: Store, name: str) -> str:
    """What is wrong with a file by its own bytes, all of which are read; empty if nothing is, or nothing could tell."""
    kind = kind_of(name)
    try:
        return kind.fault(store, name) if kind and kind.fault else ""
    except OSError as e:
        if is_lost(store, e):
            return "missing" if isinstance(e, FileNotFoundError) else f"damaged ({e.strerror})"
        raise PoolError(f"{store.path(name)}: cannot be read: {e.strerror or e}") from e


def is_lost(store: Store, error: OSError) -> bool:
    """Whether a file that cannot be read is gone, or on a bad place of the disk. A store that does not answer is no damage."""
    return isinstance(error, FileNotFoundError) or (store.local and error.errno == errno.EIO)


def faults(store: Store, *roles: Role) -> Iterator[tuple[str, str]]:
    """The damaged files of these roles, each with what is wrong."""
    names = files(store, *roles)
    with ThreadPoolExecutor(_READERS) as readers:
        for name, found in zip(names, readers.map(lambda n: fault(store, n), names)):
            if found:
                yield name, found
