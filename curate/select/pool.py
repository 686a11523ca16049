"""The pool at a point of the recipe: the columns that selectors read, and their decisions."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import CurateError, PoolError
from curate.score.part import SHIFT, Decision, Part, PartState, overlay
from curate.select.database import out_of_memory
from curate.select.exchange import BYTES, ROWS, Chunk, Exchange, Frame, Held, TooLarge
from curate.select.schemas import unified
from curate.selector import EDGES, Selection, Selector
from curate.stage import Stage, Step, digest
from curate.store.atomic import Store
from curate.store.folder import ASSIGNED, DECISIONS, EXCHANGE, GATHERED
from curate.store.parquet import write_table

_GATHERED = re.compile(r"(.+)\.(\d+)\.(\d+)\.([0-9a-f]+)\.parquet")


@dataclass(frozen=True)
class Point:
    """A point of a recipe: the steps before it, and the decisions of the selectors among them."""

    store: Store
    steps: list[Step]
    fingerprints: dict[str, str]
    decisions: list[Decision] = field(default_factory=list)

    def open(self, part: Part, columns: dict[str, set[str]] | None, names: list[str]) -> PartState:
        """The state of a part, with these files, at this point."""
        return PartState(self.store, part, self.fingerprints, self.decisions, columns, names).replay(self.steps)

    def names(self, part: Part) -> list[str]:
        """The names of a part's files, as far as a step before this point has any."""
        return self.store.names(part.folder) if any(isinstance(s, Stage) for s in self.steps) else []

    def state(self, part: Part, names: list[str]) -> str:
        """12 hex digits that identify what the live rows of a part with these files depend on at this point."""
        # What a stage with context computed follows from the rest: which rows live, and its fingerprint.
        heads = {f".{s.name}-{self.fingerprints[s.name]}." for s in self.steps if isinstance(s, Stage) and not s.context}
        # A commit that a repair let go (`lost.…`) counts: what is fetched in its place may be something else, under the same name.
        names = [n for n in names if any(h in n for h in heads)]
        return digest([part.id, part.index, part.columns, names, self.described, [d.folder for d in self.decisions]])

    @cached_property
    def described(self) -> list[list[Any]]:
        """The steps' names, fingerprints and parameters."""
        return [[s.name, self.fingerprints[s.name], s.parameters()] for s in self.steps]


# ---- what selectors read


@dataclass(frozen=True)
class Gathered:
    """The live rows of a part at a point, with the columns that the next selectors read, as a file of so many bytes; `content` is a
    digest of it: a decision depends on what its selector reads and on which rows are live, not on how that came about. chunk: a file
    with the rows of the whole chunk of the pool, if there is one."""

    file: str
    part: int
    rows: int
    bytes: int
    content: str
    chunk: str = ""


@dataclass(frozen=True)
class Known:
    """Names of gathered files by what they were made of: of existing files, and of those that decisions were made of."""

    there: dict[str, str]
    named: dict[str, str]


def known(store: Store) -> Known:
    """What is known of gathered rows.

    Rows made of the same have the same content, but for a takedown: then they keep the name that they had before, so that nothing is
    decided anew, and all other samples keep their places.
    """
    there = {m[1]: n for n in store.names(GATHERED) if (m := _GATHERED.fullmatch(n))}
    made = [f"{d}/{n}" for d in (DECISIONS, ASSIGNED) for n in store.names(d)] if store.names("removed") else []
    records = [store.json(f"{d}/{'decision' if d.startswith(DECISIONS) else 'assigned'}.json") for d in made]
    named = {_GATHERED.fullmatch(n)[1]: n for r in records if r for n in r["of"]}
    return Known(there, named | there)


def reread(name: str, part: int) -> Gathered:
    """Gathered rows from the name of their file."""
    _, rows, size, content = _GATHERED.fullmatch(name).groups()
    return Gathered(f"{GATHERED}/{name}", part, int(rows), int(size), content)


def publish_gathered(store: Store, name: str | None, head: str, part: int, found: pa.Table) -> Gathered:
    """Write gathered rows under their earlier name, or one with the digest of their content."""
    with store.private(f"{GATHERED}/{head}") as path:
        size = write_table(path, found)
        if name is None:
            with open(path, "rb") as f:
                name = f"{head}.{len(found)}.{size}.{hashlib.file_digest(f, 'sha256').hexdigest()[:16]}.parquet"
        store.publish(f"{GATHERED}/{name}", path, size)
    return reread(name, part)


def names(gathered: list[Gathered]) -> list[str]:
    """The names of gathered rows, for the record of what is made of them."""
    return [g.file.removeprefix(f"{GATHERED}/") for g in gathered]


def grouped(gathered: Iterable[Gathered]) -> list[list[Gathered]]:
    """Gathered parts in groups of about a million rows, in order: the chunks of the pool, which depend on the pool alone."""
    groups: list[list[Gathered]] = []
    rows = size = 0
    for g in gathered:
        if not groups or (rows + g.rows > ROWS or size + g.bytes > BYTES):
            groups.append([])
            rows = size = 0
        groups[-1].append(g)
        rows, size = rows + g.rows, size + g.bytes
    return groups


def in_chunks(store: Store, gathered: list[Gathered], run_map: Callable = map) -> list[Gathered]:
    """Gathered parts, and a file with the rows of each chunk, from which several selectors read them."""
    groups = grouped(gathered)
    files = run_map(partial(_joined, store), groups)
    return [replace(g, chunk=file) for group, file in zip(groups, files) for g in group]


def _joined(store: Store, group: list[Gathered]) -> str:
    name = f"{GATHERED}/chunk-{digest([g.content for g in group])}.parquet"
    if len(group) > 1 and not store.exists(name):
        store.publish_table(name, _decoded(unified([store.table(g.file) for g in group])))
    return name if len(group) > 1 else ""


def starts_of(groups: list[list[Gathered]]) -> tuple[int, ...]:
    """The index of the first part of each chunk, counted from the pool's first part on."""
    return tuple(0 if n == 0 else g[0].part for n, g in enumerate(groups))


def first_ids(starts: tuple[int, ...]) -> tuple[int, ...]:
    """The first id of each chunk."""
    return tuple(s << SHIFT for s in starts)


@dataclass(frozen=True)
class Survivors:
    """A chunk of the pool: gathered rows that no earlier selector of the block dropped, with the columns that those added."""

    rows: int
    gathered: tuple[str, ...]
    columns: tuple[str, ...]
    earlier: tuple[str, ...] = ()

    def load(self, store: Store) -> pa.Table:
        wanted = ["id", *dict.fromkeys(["uid", *(c for c in self.columns if c != "id")])]
        rows = _decoded(unified([store.table(f, wanted) for f in self.gathered]))
        for file in self.earlier:
            made = store.table(file, ["id", "reason", *self.columns])
            fell = made.filter(made["reason"].is_valid())["id"].to_numpy()
            rows = rows.filter(pa.array(~np.isin(rows["id"].to_numpy(), fell)))
            for name in set(self.columns) & set(made.column_names) - {"id", "uid", "reason"}:
                rows = _laid(rows, name, made.select(["id", name]))
        return rows


def survivors(
    store: Store, gathered: Sequence[Gathered], decisions: Sequence[Decision], columns: tuple[str, ...]
) -> list[Survivors]:
    """The chunks of gathered rows without those that these decisions drop, with these columns."""
    groups = grouped(gathered)
    dropped = [sum(n) for n in zip([0] * len(groups), *(store.json(d.record)["dropped"] for d in decisions))]
    return [
        Survivors(
            sum(g.rows for g in group) - fell,
            tuple(dict.fromkeys(g.chunk or g.file for g in group)),
            columns,
            tuple(d.file(start) for d in decisions),
        )
        for group, fell, start in zip(groups, dropped, starts_of(groups))
    ]


def _laid(rows: pa.Table, name: str, made: pa.Table) -> pa.Table:
    """The rows with a decision's values of a column joined by id; rows without a value keep theirs."""
    ids, order = rows["id"].to_numpy(), np.argsort(rows["id"].to_numpy(), kind="stable")
    made = made.filter(pa.array(np.isin(made["id"].to_numpy(), ids)))
    at = order[np.searchsorted(ids[order], made["id"].to_numpy())]
    base = rows[name].combine_chunks() if name in rows.column_names else None
    values = _decoded(made)[name]
    base = base.chunk(0) if isinstance(base, pa.ChunkedArray) else base
    if base is None and not len(at):
        laid = pa.nulls(len(rows), values.type)
    else:
        laid = overlay(base, len(rows), at, values)
    kept = rows.drop_columns([name]) if name in rows.column_names else rows
    return kept.append_column(name, laid)


def _decoded(table: pa.Table) -> pa.Table:
    """The table without dictionaries, which Arrow files with several batches cannot hold."""
    kinds = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds))))


# ---- what they decide


def decision(
    selector: Selector, gathered: list[Gathered], earlier: list[Decision], print_: str, published: Sequence[Gathered] = ()
) -> Decision:
    """The name of a selector's decision over these rows and the published ones, and its chunks."""
    beside = [[g.content for g in published]] if published else []
    key = digest([print_, selector.parameters(), [g.content for g in gathered], [d.folder for d in earlier], *beside])
    return Decision(selector.name, selector.table, f"{DECISIONS}/{selector.name}-{key}", starts_of(grouped(gathered)))


def decide(
    store: Store,
    selector: Selector,
    gathered: list[Gathered],
    earlier: list[Decision],
    wanted: Decision,
    run_map: Callable[[Callable, Iterable], Iterable] = map,
    published: Sequence[Gathered] = (),
) -> dict[str, Any]:
    """Let a selector decide, and write its decision, a file for each chunk; returns its record. A pool of one chunk is judged in one task.

    published: rows of earlier releases, which it sees as further chunks and decides nothing about."""
    earlier, reads = [d for d in earlier if d.table == selector.table], tuple(selector.reads)
    chunks = survivors(store, gathered, earlier, reads) + survivors(store, published, [], reads)
    starts = first_ids((*wanted.starts, *(group[0].part for group in grouped(published))))
    work = _Decide(store, selector, wanted, names([*gathered, *published]), starts)
    if len(grouped([*gathered, *published])) == 1:
        return next(iter(run_map(work.whole, [chunks])))
    exchange = Exchange(store, f"{EXCHANGE}/{wanted.folder.rpartition('/')[2]}", run_map)
    found = work(exchange, chunks)
    exchange.clear()
    return found


@dataclass(frozen=True)
class _Decide:
    """A selector's plan. starts: the first id of each chunk of the pool, then of earlier releases."""

    store: Store
    selector: Selector
    wanted: Decision
    made_of: list[str]
    starts: tuple[int, ...]

    def whole(self, chunks: list[Chunk]) -> dict[str, Any]:
        """The whole plan in this task."""
        return self(Exchange(self.store), [Held(c.rows, table=c.load(self.store)) for c in chunks])

    def __call__(self, exchange: Exchange, chunks: list[Any]) -> dict[str, Any]:
        live, selector = Frame(exchange, chunks, self.starts), self.selector
        try:
            return _record(live, selector, selector.select(live), self.wanted, self.made_of)
        except TooLarge as e:
            raise PoolError(f"selector {selector.name}: {e}") from e
        except Exception as e:
            if isinstance(e, CurateError) or out_of_memory(e):
                raise
            raise PoolError(f"selector {selector.name}: {type(e).__name__}: {e}") from e


def _record(live: Frame, selector: Selector, made: Selection, wanted: Decision, made_of: list[str]) -> dict[str, Any]:
    """Write a decision's files; returns its record."""
    store = live.exchange.store
    frames = [_frame(live, f) for f in (made.drop, made.columns, made.edges)]
    if strange := [f for f in frames if f is not None and f.starts != live.starts]:
        raise PoolError(
            f"selector {selector.name} returned {len(strange)} frames that are not in the chunks of the pool: use home()"
        )
    adds = pa.schema({"id": pa.int64(), **selector.adds()})
    keep = _Keep(store, selector.name, wanted.folder, adds, made.edges is not None, live.starts)
    items = [
        (n, live.chunks[n], *(None if f is None else f.chunks[n] for f in frames), wanted.file(start))
        for n, start in enumerate(wanted.starts)
    ]
    counts = list(live.exchange.map(keep, items) if live.exchange.folder else map(keep, items))
    for name, data in made.files.items():
        stem, suffix = name.split(".")
        store.publish_bytes(f"{wanted.folder}/{stem}-{hashlib.sha256(data).hexdigest()[:16]}.{suffix}", data)
    found = {
        "of": made_of,
        "starts": wanted.starts,
        "rows": [c.rows for c in live.chunks[: len(wanted.starts)]],
        "dropped": [c.total() for c in counts],
        "reasons": dict(sum(counts, Counter())),
        "edges": made.edges is not None,
        "notes": made.notes,
    }
    return json.loads(json.dumps(found, default=_plain))


def _frame(live: Frame, made: Any) -> Frame | None:
    """A selector's result in the chunks of the pool; for a small pool it may be a table, or an array of ids."""
    if isinstance(made, (np.ndarray, list)):
        made = pa.table({"id": pa.array(made, pa.int64())})
    return live.put(made).home(live) if isinstance(made, pa.Table) else made


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)


@dataclass(frozen=True)
class _Keep:
    """Writes a chunk of a decision, sorted by id: the first reason of the rows that fall (else null), what the selector adds, and of a
    duplicate its edge. Returns the reasons with their counts."""

    store: Store
    name: str
    folder: str
    adds: pa.Schema
    edges: bool
    starts: tuple[int, ...]

    def __call__(self, item: tuple[int, Chunk, Chunk | None, Chunk | None, Chunk | None, str]) -> Counter[str]:
        number, live, drop, columns, edges, file = item
        fell = self._table(drop, ["id"])
        if "reason" not in fell.column_names:
            fell = fell.append_column("reason", pa.repeat(pa.scalar(self.name, pa.large_string()), len(fell)))
        found = _of_ids(fell.select(["id", "reason"]), pa.schema({"id": pa.int64(), "reason": pa.large_string()}))
        added = _of_ids(self._table(columns, self.adds.names), self.adds)
        named = {f"edge_{n}": EDGES.field(n).type for n in ("id", "uid", "survivor", "survivor_uid", "similarity")}
        pairs = self._table(edges, EDGES.names) if self.edges else pa.table({"id": pa.array([], pa.int64())})
        if self.edges:
            pairs = pairs.append_column("edge_id", pairs["id"]).rename_columns(
                {n: f"edge_{n}" for n in EDGES.names if n != "id"}
            )
            pairs = _of_ids(pairs, pa.schema({"id": pa.int64(), **named}))
        ids = np.unique(np.concatenate([t["id"].to_numpy() for t in (found, added, pairs)]))
        self._check(ids, number, live)
        table = {"id": pa.array(ids, pa.int64())}
        for part in (found, added, pairs):
            at = np.searchsorted(ids, part["id"].to_numpy())
            table |= {n: overlay(None, len(ids), at, part[n]) for n in part.column_names if n != "id"}
        self.store.publish_table(file, pa.table(table))
        return Counter(found["reason"].to_pylist())

    def _table(self, chunk: Chunk | None, names: list[str]) -> pa.Table:
        if chunk is None:
            return pa.table({n: pa.array([], self.adds.field(n).type if n in self.adds.names else pa.int64()) for n in names})
        table = chunk.load(self.store)
        if missing := sorted(set(names) - set(table.column_names)):
            raise PoolError(f"selector {self.name} did not return {', '.join(missing)}")
        return table

    def _check(self, ids: np.ndarray, number: int, live: Chunk) -> None:
        low = self.starts[number]
        high = self.starts[number + 1] if number + 1 < len(self.starts) else np.iinfo(np.int64).max
        wrong = ids[(ids < low) | (ids >= high)]
        if isinstance(live, Held) and live.table is not None:
            wrong = np.setdiff1d(ids, live.table["id"].to_numpy())
        if len(wrong):
            raise ValueError(f"there is no row with the id {wrong[0]}")


def _of_ids(table: pa.Table, fields: pa.Schema) -> pa.Table:
    """These columns cast to these types; of several rows with one id the first in order of the second column."""
    table = table.select(fields.names).cast(fields)
    order = (
        [(n, "ascending") for n in fields.names[:2]]
        if len(fields) > 1 and not pa.types.is_nested(fields[1].type)
        else [("id", "ascending")]
    )
    table = table.sort_by(order)
    _, first = np.unique(table["id"].to_numpy(), return_index=True)
    return table.take(pa.array(first))
