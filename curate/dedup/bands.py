"""Duplicate pictures in a pool of any size: most pairs of hashes within a Hamming distance, by bit sampling.

Each of several tables takes some of the 64 bits, drawn once for all; hashes that agree in these meet in a bucket and are compared
(bit sampling, Indyk and Motwani 1998). A pair that differs in d bits meets in a table with the probability C(64 - d, b) / C(64, b),
so the share of pairs found can be estimated from the found ones.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import comb

import numpy as np
import pyarrow as pa

from curate.dedup.greedy import PAIRS
from curate.dedup.matching import PictureMatcher
from curate.dedup.similarity import similarity
from curate.select.database import query
from curate.select.exchange import Frame, Sql, same
from curate.select.partition import ByHash, ById
from curate.selector import PUBLISHED

#: Tables of bits, and those for the many hashes of crops.
TABLES, CROPPED = 16, 4
_FIRST = 64  # a hash is compared with so many of its bucket, those of the best rows
_FEW_VIEWS = 3
_MIRROR = -1


@dataclass
class Bands:
    """Finds matching pairs of pictures (greedy.Find); `found` counts them by the Hamming distance of their hashes."""

    live: Frame
    matcher: PictureMatcher
    found: Counter[int] = field(default_factory=Counter)
    bits: int = 0

    def __call__(self, rows: Frame) -> Frame:
        self.bits = max(16, min(40, rows.rows.bit_length()))
        tables = self._tables()
        entries = tables * (self.matcher.views + self.matcher.mirror)
        hashed = _Hashes(self.matcher.views, self.matcher.mirror, tables, self.bits)
        near = rows.shuffle(ByHash("hash"), _Candidates(self.matcher.bounds.distance), hashed, entries)
        one = near.shuffle(ById(self.live.starts, "id"), Sql("select distinct * from live")).at(self.live)
        half = one.each(_WithPicture("id"), rows)
        pairs = half.shuffle(ById(self.live.starts, "other"), same).at(self.live).each(_WithPicture("other"), rows)
        alike = pairs.each(_Verified(self.matcher))
        for t in alike.each(Sql("select distance, count(*) as n from live group by all")).tables():
            self.found.update(dict(zip(t["distance"].to_pylist(), t["n"].to_pylist())))
        return alike.each(_named)

    def _tables(self) -> int:
        return TABLES if self.matcher.views <= _FEW_VIEWS else CROPPED

    def recall(self) -> float:
        """The estimated share of the pairs that was found: each pair stands for one over the probability to find it (Horvitz and
        Thompson 1952)."""
        met = {d: 1 - (1 - comb(64 - d, self.bits) / comb(64, self.bits)) ** self._tables() for d in self.found}
        return round(self.found.total() / sum(n / met[d] for d, n in self.found.items()), 4) if self.found else 1.0


def masks(tables: int, bits: int) -> np.ndarray:
    """The sampled bits of each table as (tables,) uint64 masks, the same in every run."""
    draw = np.random.Generator(np.random.PCG64(64))
    chosen = [draw.permutation(64)[:bits].astype(np.uint64) for _ in range(tables)]
    return np.array([np.bitwise_or.reduce(np.uint64(1) << c) for c in chosen], np.uint64)


def arrays(values: pa.ChunkedArray, kind: type) -> np.ndarray:
    """A column of equally long byte strings as a (rows, items) array of `kind`."""
    found = values.to_pylist()
    return np.frombuffer(b"".join(found), kind).reshape(len(found), -1) if found else np.empty((0, 1), kind)


@dataclass(frozen=True)
class _Hashes:
    """Each row once for each table and hash: `key` (what of the hash the table takes), its `view` (_MIRROR: the mirror image), `bits`."""

    views: int
    mirror: bool
    tables: int
    bits: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        hashes = arrays(rows["hashes"], np.uint64)
        numbers = [*range(self.views), *([_MIRROR] if self.mirror else [])]
        each = hashes[:, numbers] if len(rows) else np.empty((0, len(numbers)), np.uint64)
        parts = [
            query(
                "select id, rank, view, bits, key, hash(key, number) as hash, number from live",
                {"live": self._of(rows, each, numbers, n, mask)},
            )
            for n, mask in enumerate(masks(self.tables, self.bits))
        ]
        return pa.concat_tables(parts)

    def _of(self, rows: pa.Table, each: np.ndarray, numbers: list[int], number: int, mask: np.uint64) -> pa.Table:
        at = pa.array(np.repeat(np.arange(len(rows)), len(numbers)))
        columns = {
            "id": rows["id"].take(at),
            "rank": rows["rank"].take(at),
            "view": np.tile(np.array(numbers, np.int32), len(rows)),
            "bits": each.ravel(),
            "key": (each & mask).ravel(),
            "number": np.full(each.size, number, np.int32),
        }
        return pa.table(columns)


@dataclass(frozen=True)
class _Candidates:
    """Candidate pairs of a bucket, a view of `id` and the whole of `other`, with `view`, `mirrored` and `distance` (bits)."""

    distance: int

    def __call__(self, hashed: pa.Table) -> Iterator[pa.Table]:
        order = query(
            "select id, view, bits, hash(key, number) as hash from live order by number, key, rank, view", {"live": hashed}
        )
        ids, views, bits, keys = (order[c].to_numpy() for c in ("id", "view", "bits", "hash"))
        start = np.maximum.accumulate(np.where(np.append(True, np.diff(keys) != 0)[: len(keys)], np.arange(len(keys)), 0))
        count = np.minimum(np.arange(len(keys)) - start, _FIRST)
        step = 1 << 18
        yield _found(np.empty((5, 0), np.int64))
        for low in range(0, len(keys), step):
            n = count[low : low + step]
            one = np.repeat(np.arange(low, low + len(n)), n)
            two = np.arange(len(one)) - np.repeat(np.cumsum(n) - n, n) + start[one]
            wholes = [np.isin(views[x], (0, _MIRROR)) for x in (one, two)]
            new = np.minimum(ids[one], ids[two]) < PUBLISHED  # what is published stays
            fit = new & (ids[one] != ids[two]) & (wholes[0] | wholes[1]) & ((views[one] >= 0) | (views[two] >= 0))
            distance = np.bitwise_count(bits[one] ^ bits[two])
            fit &= distance <= self.distance
            # `one` is the view and `two` the whole, mirrored or not.
            swap = fit & (~wholes[1] | (views[one] == _MIRROR))
            a, b = np.where(swap, two, one)[fit], np.where(swap, one, two)[fit]
            yield _found(np.stack([ids[a], ids[b], views[a], views[b] == _MIRROR, distance[fit]]))


def _found(pairs: np.ndarray) -> pa.Table:
    columns = [pairs[0], pairs[1], pairs[2].astype(np.int32), pairs[3].astype(bool), pairs[4].astype(np.int32)]
    table = pa.table(columns, names=["id", "other", "view", "mirrored", "distance"])
    return table.group_by(table.column_names).aggregate([])


@dataclass(frozen=True)
class _WithPicture:
    """Joins uid, rank, thumbnail and `asked` of the row that `column` names to pairs."""

    column: str

    def __call__(self, pairs: pa.Table, rows: pa.Table) -> pa.Table:
        ids = rows["id"].to_numpy()
        order = np.argsort(ids)
        at = pa.array(
            order[np.searchsorted(ids[order], pairs[self.column].to_numpy())] if len(pairs) else np.empty(0, np.int64)
        )
        for name in ("uid", "rank", "thumb", "asked"):
            pairs = pairs.append_column(f"{self.column}_{name}", rows[name].take(at))
        return pairs


@dataclass(frozen=True)
class _Verified:
    """The candidate pairs whose thumbnails match, with their `similarity`."""

    matcher: PictureMatcher

    def __call__(self, pairs: pa.Table) -> pa.Table:
        alike = np.zeros(len(pairs), np.float32)
        views, mirrored = pairs["view"].to_numpy(), pairs["mirrored"].to_numpy()
        one, other = (arrays(pairs[f"{side}_thumb"], np.uint8) for side in ("id", "other"))
        for view in np.unique(views).tolist():
            at = np.flatnonzero(views == view)
            alike[at] = similarity(one, other, at, at, view, mirrored[at], self.matcher.bounds)
        found = pairs.drop_columns(["id_thumb", "other_thumb"]).append_column("similarity", pa.array(alike))
        return found.filter(pa.array(alike > 0))


def _named(found: pa.Table) -> pa.Table:
    """Verified pairs as greedy.PAIRS: the better row is the survivor."""
    named = """select if(worse, id, other) as id, if(worse, id_uid, other_uid) as uid, if(worse, other, id) as survivor,
        if(worse, other_uid, id_uid) as survivor_uid, if(worse, other_rank, id_rank) as rank, similarity, view
        from (select *, id_rank > other_rank as worse from live) where if(worse, id_asked, other_asked)"""
    return query(named, {"live": found}).cast(PAIRS)
