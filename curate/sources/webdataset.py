"""Source WebDataset: existing tars of img2dataset, DataComp, plain WebDataset, or a run's own shards."""

import contextlib
import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import PoolError
from curate.paths import filesystem
from curate.schema import STR
from curate.source import Source, expand
from curate.sources import contained, parquet
from curate.sources.columns import as_kind, carried, carry_table, common, rows
from curate.sources.contained import Opened
from curate.sources.formats import json_object, json_table, json_types
from curate.sources.tarindex import Member, Sample, members, samples
from curate.sources.url_pairs import folders_opened, naming

log = logging.getLogger(__name__)

#: Suffixes of images in order of preference; the real format is determined later by the bytes.
SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "avif")

#: Columns of a sidecar or fields of a `.json` that hold the caption.
CAPTIONS = ("text", "caption")

#: Largest size of a `.txt` or `.json` in bytes.
LONGEST_TEXT = 1 << 20


@dataclass
class WebDataset(Source):
    """One row = one sample of a tar; its image is not copied and is read from the tar.

    paths: tars, folders of tars, runs, globs, `{00000..00012}` ranges; any fsspec path. A Parquet file beside a tar
    (`00000.parquet`) supplies the columns, and the rows whose download failed; without it the `.json` members do. All but the URL
    and the caption, except those in `without`, become `source_<name>`.

    Members of one sample that are not consecutive are joined, with a warning, if they are within one part.

    A `uid` of 32 hex digits is kept. Otherwise it is made of text and URL, or without a URL of text, the tar's
    name and the sample's key. The sample's key becomes `source_key`.

    Invalid rows are kept with a `drop_reason`: `source:failed` (by the Parquet file), `source:no_image` (none, or
    truncated), `source:bad_row` (a caption or `.json` that cannot be read), `source:broken_tar` (a damaged header: its member
    is lost, and reading continues after it).
    """

    version: ClassVar[int] = 4

    paths: str | list[str]
    without: tuple[str, ...] = ()

    def files(self) -> list[str]:
        named = [self.paths] if isinstance(self.paths, str) else self.paths
        paths = [p for each in named for p in ([each] if _is_there(each) else ranges(each))]
        return expand(folders_opened([_run_shards(p) for p in paths], (".tar",)))

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        """The columns of the first file that can be read, as far as its first samples show them."""
        for file in self.files():
            with contextlib.suppress(PoolError), naming(file, 0), contextlib.closing(self._parts(file, 100)) as parts:
                for (first,) in parts:
                    return {f.name: f.type for f in first.schema if f.name != "drop_reason"}
        return {**super().adds(table), **schema.PAYLOAD, "source_key": STR}

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        done, parts = 0, self._parts(file, part_size)
        while True:
            with naming(file, done):
                (part,) = next(parts, (None,))
            if part is None:
                return
            yield {"images": part}
            done += len(part)

    def _parts(self, file: str, size: int) -> Iterator[tuple[pa.Table]]:
        """A tar as tables of `size` rows."""
        beside = file.removesuffix(".tar") + ".parquet"
        files = [file, beside] if file.endswith(".tar") and _is_there(beside) else [file]
        return contained.read("curate.sources.webdataset:parts", files, files, size, list(self.without))


@dataclass
class Found:
    """A row under construction: the contents of the tar and the sidecar for a sample."""

    key: str | None
    image: Member | None = None
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)  # from the `.json`, where there is no sidecar
    at: int | None = None  # the row in the sidecar
    reason: str | None = None

    def completed_by(self, other: "Found") -> bool:
        """Whether another one, of the same key, only has members that this one lacks."""
        whole = {self.reason, other.reason} <= {None, "source:no_image"} and other.at is None
        return whole and not ((self.image and other.image) or (self.text and other.text) or (self.metadata and other.metadata))

    def complete(self, other: "Found") -> None:
        """Add the members of another one."""
        self.image, self.metadata = self.image or other.image, self.metadata or other.metadata
        self.text = self.text if other.text is None else other.text
        self.reason = None if self.image else self.reason


def parts(files: list[Opened], paths: list[str], size: int, without: list[str]) -> Iterator[tuple[pa.Table]]:
    """The tables of a tar and of its sidecar, if there is one, in the child that reads them."""
    side = Sidecar.of(files[1], paths[1], without) if len(files) > 1 else Sidecar(pa.table({}))
    file, names = paths[0], {}
    with files[0]() as f:
        start, found = 0, itertools.chain((_look(f, s, side) for s in samples(members(f, file))), side.unseen())
        for chunk in _chunks(found, size, file):
            yield (_table(chunk, side, file, start, names, without),)
            start += len(chunk)


def _chunks(found: Iterator[Found], size: int, file: str) -> Iterator[list[Found]]:
    """Rows in lists of `size`; samples whose members are not consecutive are joined."""
    chunk: list[Found] = []
    known: dict[str, Found] = {}
    apart = 0
    for row in found:
        earlier = known.get(row.key or "")
        if earlier is not None and earlier.completed_by(row):
            earlier.complete(row)
            apart += 1
            continue
        if len(chunk) == size:
            yield chunk
            chunk, known = [], {}
        chunk.append(row)
        known[row.key or ""] = row
    if chunk:
        yield chunk
    if apart:
        log.warning("%s: the members of %d samples are not next to each other; they were put together", file, apart)


def _look(f: BinaryIO, sample: Sample, side: "Sidecar") -> Found:
    """The row of a sample: reads its caption and, if it is not in the sidecar, its `.json`."""
    if not sample.members:
        return Found(None, reason="source:broken_tar")
    row = Found(sample.key, next((sample.members[s] for s in SUFFIXES if s in sample.members), None))
    row.at = side.claim(sample.key)
    try:
        row.text = _text(f, sample.members.get("txt"))
        if row.at is None and "json" in sample.members:
            row.metadata = json_object(_text(f, sample.members["json"]) or "")
            if any(isinstance((row.metadata or {}).get(name), (dict, list)) for name in ("url", *CAPTIONS)):
                row.metadata = None  # URL and caption must be text
    except ValueError:
        row.reason = "source:bad_row"
    if row.metadata is None:
        row.metadata, row.reason = {}, "source:bad_row"
    if row.image is None or not row.image.whole or not row.image.size:
        row.image, row.reason = None, "source:no_image"
    elif sample.broken:
        row.reason = "source:broken_tar"
    return row


def _text(f: BinaryIO, member: Member | None) -> str | None:
    """A member as text; ValueError if it is too long, cut short or not UTF-8."""
    if member is None:
        return None
    if member.size > LONGEST_TEXT or not member.whole:
        raise ValueError(member.name)
    f.seek(member.offset)
    return f.read(member.size).decode("utf-8-sig")


def _table(found: list[Found], side: "Sidecar", file: str, start: int, names: dict[str, int], without: list[str]) -> pa.Table:
    """Rows as a table: the columns of a pool, then all others of the sidecar or the `.json` members."""
    places = [r.at for r in found]
    brought = side.take(places)
    metadata = json_table([r.metadata for r in found], json_types(r.metadata for r in found))
    columns, broken = carry_table(_joined(brought, metadata))
    broken = broken.tolist() or [False] * len(found)
    text = _captions(found, columns)
    url = _strings(columns, "url", len(found))
    own = _strings(columns, "uid", len(found))
    uids = [
        u if schema.is_uid(u) else schema.uid(t, a if a is not None else _place(file, r.key, names))
        for u, t, a, r in zip(own, text, url, found, strict=True)
    ]
    used = {"url", "uid", *CAPTIONS[:1], *without} | ({"caption"} if "text" not in columns.column_names else set())
    others = [c for c in columns.column_names if c not in used and c != "key"]
    extras = {new: columns[c] for c, new in carried(others, ("source_file", "source_row", "source_key")).items()}
    reasons = [
        r.reason or ("source:bad_row" if b or at in side.bad else None) for r, b, at in zip(found, broken, places, strict=True)
    ]
    where = _absolute(file)
    images = [r.image for r in found]
    return pa.table(
        {
            "uid": pa.array(uids, STR),
            **rows(file, start, len(found)),
            "url": pa.array(url, STR),
            "text": pa.array(text, STR),
            "payload": pa.array([i and where for i in images], STR),
            "payload_offset": pa.array([i and i.offset for i in images], pa.int64()),
            "payload_size": pa.array([i and i.size for i in images], pa.int64()),
            "source_key": pa.array([r.key for r in found], STR),
            **extras,
            "drop_reason": pa.array(reasons, STR),
        }
    )


def _joined(brought: pa.Table, metadata: pa.Table) -> pa.Table:
    """The sidecar's columns, completed from the `.json` of samples that it does not have, and the further fields of those."""
    both = {c: brought[c] for c in brought.column_names}
    for name in metadata.column_names:
        one, other = both.get(name), metadata[name].combine_chunks()
        kind = common({str(c.type) for c in (one, other) if c is not None})
        both[name] = other if one is None else pc.coalesce(as_kind(one.combine_chunks(), kind), as_kind(other, kind))
    return pa.table(both)


def _captions(found: list[Found], columns: pa.Table) -> list[str | None]:
    """The `.txt` member; where there is none or it is empty, the sidecar's or the `.json`'s caption, which may be null."""
    name = next((c for c in CAPTIONS if c in columns.column_names), "")
    return [
        r.text or (r.text if other is None and r.at is None else other)
        for r, other in zip(found, _strings(columns, name, len(found)), strict=True)
    ]


def _strings(table: pa.Table, name: str, count: int) -> list[str | None]:
    return table[name].cast(STR).to_pylist() if name in table.column_names else [None] * count


def _place(file: str, key: str | None, names: dict[str, int]) -> str:
    """An identifier of a sample without a URL: the tar's name, the key, and a number if the key is repeated."""
    place = f"{file.rsplit('/', 1)[-1]}/{key}"
    names[place] = names.get(place, 0) + 1
    return place if names[place] == 1 else f"{place}#{names[place]}"


class Sidecar:
    """The Parquet file beside a tar: one row for each sample, by key, and for each download that failed."""

    def __init__(self, table: pa.Table, bad: Iterable[int] = (), name: str = ""):
        self.table, self.bad, self.name = table, frozenset(bad), name
        self.claimed = self.strangers = 0  # samples that are in the table, and that are not
        self.places: dict[str, list[int]] = {}
        for at, key in enumerate(_strings(table, "key", len(table))):
            self.places.setdefault(key or "", []).append(at)
        for places in self.places.values():
            places.reverse()

    @classmethod
    def of(cls, opened: Opened, name: str, without: list[str]) -> "Sidecar":
        """The sidecar of a tar; an empty one if its table has no keys."""
        with naming(name, 0):
            found = list(parquet.read(opened, without, []))
            table = pa.concat_tables(t for t, _ in found).combine_chunks()
        if "key" not in table.column_names:
            log.warning("%s: has no column key, and says nothing of the samples beside it", name)
            return cls(pa.table({}))
        return cls(table, np.flatnonzero([b for _, bad in found for b in bad]).tolist(), name)

    def claim(self, key: str) -> int | None:
        """The index of the next row with this key that no sample has claimed; None if there is none."""
        places = self.places.get(key.rsplit("/", 1)[-1])
        if not places:
            self.strangers += 1
            return None
        self.claimed += 1
        return places.pop()

    def unseen(self) -> Iterator[Found]:
        """The rows that no sample claimed, in order: failed downloads, and missing images."""
        if self.strangers and not self.claimed and self.places:
            log.warning("%s: none of its keys, like %r, is that of a sample in the tar", self.name, next(iter(self.places)))
        status = _strings(self.table, "status", len(self.table))
        keys = _strings(self.table, "key", len(self.table))
        for at in sorted(at for places in self.places.values() for at in places):
            lost = status[at] in (None, "success")
            yield Found(keys[at], at=at, reason="source:no_image" if lost else "source:failed")

    def take(self, places: list[int | None]) -> pa.Table:
        return self.table.take(pa.array(places, pa.int64())) if self.table.num_columns else self.table


def ranges(path: str) -> Iterator[str]:
    """The paths of a range `{00000..00012}`, expanded as by webdataset's loaders."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", path)
    if not found:
        yield path
        return
    low, high = found.groups()
    for n in range(int(low), int(high) + 1):
        yield from ranges(f"{path[: found.start()]}{n:0{len(low)}d}{path[found.end() :]}")


def _run_shards(path: str) -> str:
    """The folder of shards of a run's folder; any other path unchanged."""
    fs, inner = filesystem(path)
    return f"{path.rstrip('/')}/shards" if fs.isfile(f"{inner}/dataset.json") and fs.isdir(f"{inner}/shards") else path


def _is_there(path: str) -> bool:
    fs, inner = filesystem(path)
    return fs.exists(inner)


def _absolute(file: str) -> str:
    return file if "://" in file else os.path.abspath(file)
