"""Selection of a run's rows for display, at random or by a query, with thumbnails re-encoded in a child process."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import RecipeError
from curate.fetch.image import inspect
from curate.fetch.isolate import Isolated
from curate.fetch.reencode import Resize
from curate.score.part import SHIFT
from curate.selector import PUBLISHED, coin_sql, identifier, quoted
from curate.store.atomic import Store
from curate.store.releases import Release, located, named, of_part
from curate.store.slices import read_slices
from curate.view.run import Tables

#: Columns that say where a sample came from rather than what it is like; the cards leave them out of the scores.
QUIET = {
    "uid",
    "url",
    "domain",
    "text",
    "source_file",
    "source_row",
    "payload",
    "payload_offset",
    "payload_size",
    "final_url",
    "fetched_at",
    "sha256",
    "fetch",
    "http_status",
    "drop_reason",
    "drop_stage",
    "kept",
    "key",
    "decode",
    "mime",
    "original_width",
    "original_height",
    "width",
    "height",
    "shard",
    "place",
    "doc_uid",
    "position",
    "source_key",
    "phash",
    "phash_mirror",
    "release",
}

#: Duplicates of a group that are shown.
MEMBERS = 5

_WHERE = ("payload", "payload_offset", "payload_size")


@dataclass
class Card:
    """One sample as it is shown: a thumbnail (None: no bytes, or none that decode), and its row of the ledger."""

    row: dict[str, Any]
    thumbnail: bytes | None


@dataclass
class Pair:
    """A row that was dropped and the row for which it was, and how alike they are (1.0: the same)."""

    step: str
    dropped: Card
    survivor: Card
    similarity: float


def columns(run: Tables, table: str) -> dict[str, str]:
    """The columns of a table or view, with their DuckDB types."""
    found = run.sql(f"select * from {table} limit 0")
    return dict(zip(found.columns, map(str, found.types)))


def light(run: Tables, table: str = "images") -> str:
    """The columns of a table that a card can show: no vectors, no bytes, not what is computed of others."""
    return ", ".join(identifier(c) for c, t in columns(run, table).items() if "[" not in t and t != "BLOB" and c != "domain")


def samples(run: Tables, reason: str | None, n: int, where: str | None, sort: str = "", page: int = 1) -> list[Card]:
    """`n` rows drawn by a hash of their uid: kept images, or rows dropped for a reason, of the table that its step worked on.

    sort: a column instead of the draw, `-column` for the largest first. page: the n rows after the first (page - 1) * n.
    """
    return cards(run.store, drawn(run, table_of(run, reason), reason, n, where, sort, page))


def table_of(run: Tables, step: str | None) -> str:
    """The table that a step of the recipe worked on; `images` for what is no step's name."""
    return next((s.get("table", "images") for s in run.recipe.get("steps", ()) if s["step"] == step), "images")


def drawn(
    run: Tables, table: str, reason: str | None, n: int, where: str | None, sort: str = "", page: int = 1
) -> list[dict[str, Any]]:
    if table not in run.recipe.get("rows", [table]):
        raise RecipeError(f"there are no {table} in this run; there are {', '.join(run.recipe['rows'])}")
    order = coin_sql("uid", 0, "show")
    if sort:
        name, there = sort.removeprefix("-"), columns(run, table)
        if name not in there:
            raise RecipeError(f"no column {name} to sort by; there are: {', '.join(there)}")
        order = f"{identifier(name)} {'desc' if sort.startswith('-') else 'asc'} nulls last"
    chosen = "kept" if reason in (None, "kept") else f"drop_reason = {quoted(reason)}"
    query = (
        f"select {light(run, table)} from {table} where {chosen}"
        + (f" and ({where})" if where else "")
        + f" order by {order}, uid limit {int(n)} offset {(int(page) - 1) * int(n)}"
    )
    try:
        rows = run.sql(query).to_arrow_table().to_pylist()
    except duckdb.ParserException as e:
        cause = str(e).split("\n")[0]
        raise RecipeError(f"{where!r} is not a condition such as clip_score < 0.2 ({cause}); --sort orders the rows") from e
    if not rows and page == 1 and reason is not None:
        found = run.sql(f"select distinct coalesce(drop_reason, 'kept') from {table} order by 1").fetchall()
        there = [r for (r,) in found]
        if reason not in there:
            raise RecipeError(f"nothing was dropped for {reason}; there are: {', '.join(there)}")
    return rows


@dataclass
class Group:
    """Duplicates of one row: the copy that was kept for them, some of those that were dropped (least alike first) with their
    similarity, and how many there are."""

    step: str
    kept: Card
    dropped: list[tuple[Card, float]]
    rows: int


def groups(run: Tables, step: str, n: int, child: Isolated | None = None) -> list[Group]:
    """`n` groups of duplicates of a step: those of the pairs that `pairs` picks, each with up to MEMBERS of its members."""
    chosen = list(dict.fromkeys(e[2] for e in _edges(run, step, n)))[:n]
    listed = ", ".join(map(str, chosen)) or "null"
    edges = run.sql(f"""select step, id, survivor_id, similarity, count(*) over (partition by survivor_id) from edges
        where step = {quoted(step)} and survivor_id in ({listed})
        qualify row_number() over (partition by survivor_id order by similarity, id) <= {MEMBERS} order by similarity, id""").fetchall()
    found = [(edge, pair) for edge, pair in zip(edges, _pairs(run, [e[:4] for e in edges], child))]
    made = []
    for survivor in chosen:
        mine = [(edge, pair) for edge, pair in found if edge[2] == survivor]
        made.append(Group(step, mine[0][1].survivor, [(p.dropped, p.similarity) for _, p in mine], mine[0][0][4]))
    return made


def pairs(run: Tables, step: str, n: int, child: Isolated | None = None) -> list[Pair]:
    """`n` duplicates of a step with their survivors: half of them the least alike, half drawn by a hash of their uid."""
    return _pairs(run, _edges(run, step, n), child)


def _edges(run: Tables, step: str, n: int) -> list[tuple[str, int, int, float]]:
    orders = [f"similarity, {(coin := coin_sql('uid', 0, 'show'))}, id", f"{coin}, id"]
    few = (
        f"""select *, 2 * row_number() over (order by {order}) + {odd} as turn
        from (select * from edges where step = {quoted(step)} order by {order} limit {int(n)})"""
        for odd, order in enumerate(orders)
    )
    return run.sql(f"""select step, id, survivor_id, similarity from ({" union all ".join(few)})
        group by all order by min(turn) limit {int(n)}""").fetchall()


def pairs_of(run: Tables, uid: str, table: str = "images", n: int = 8, thumbnails: bool = True) -> list[Pair]:
    """Pairs in which a uid of a table is the dropped row or the survivor."""
    steps = ", ".join(quoted(s["step"]) for s in run.recipe.get("steps", ()) if s.get("table", "images") == table) or "null"
    edges = run.sql(f"""select step, id, survivor_id, similarity from edges where {quoted(uid)} in (uid, survivor)
        and step in ({steps}) order by uid <> {quoted(uid)}, similarity desc, id limit {int(n)}""").fetchall()
    return _pairs(run, edges, None, thumbnails)


def _pairs(
    run: Tables, edges: list[tuple[str, int, int, float]], child: Isolated | None, thumbnails: bool = True
) -> list[Pair]:
    """Ids are numbers of rows in the table of their step: the same ones are other rows in another table."""
    wanted = {(table_of(run, e[0]), i) for e in edges for i in e[1:3]}
    known: dict[tuple[str, int], Card] = {}
    for table in sorted({t for t, _ in wanted}):
        ids = sorted(i for t, i in wanted if t == table)
        rows = rows_at(run.store, table, ids)
        shown = cards(run.store, rows, child=child) if thumbnails else [Card(row, None) for row in rows]
        known |= zip([(table, i) for i in ids], shown)
    return [
        Pair(step, known[table_of(run, step), dropped], known[table_of(run, step), survivor], similarity)
        for step, dropped, survivor, similarity in edges
    ]


def rows_at(store: Store, table: str, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of the ledger by their number in the pool (part and row), in the order given; a file of the ledger is read once. Those of an
    earlier release say of which (`release`)."""
    found: dict[int, dict[str, Any]] = {}
    for part in sorted({i >> SHIFT for i in ids}):
        mine = [i for i in ids if i >> SHIFT == part]
        release, file = _file_of(store, table, part)
        with store.open(file) as f:
            data = pq.ParquetFile(f)
            rows = data.read(
                columns=[
                    c.name for c in data.schema_arrow if not (pa.types.is_nested(c.type) or pa.types.is_large_binary(c.type))
                ]
            )
        found |= dict(zip(mine, rows.take([i & ((1 << SHIFT) - 1) for i in mine]).to_pylist()))
        for i in mine if release else ():
            found[i]["release"] = release.run
    return [found[i] for i in ids]


def _file_of(store: Store, table: str, part: int) -> tuple[Release | None, str]:
    """The file of the ledger that has a part's rows: of the run, or of an earlier release."""
    if part < PUBLISHED >> SHIFT:
        return None, f"ledger/{table}/{part:06d}.parquet"
    part -= PUBLISHED >> SHIFT
    release = of_part(named(store.json("dataset.json")), part)
    return release, release.at(store).path(f"ledger/{table}/{part - release.first_part:06d}.parquet")


def cards(store: Store, rows: list[dict[str, Any]], side: int = 320, child: Isolated | None = None) -> list[Card]:
    """Rows of the ledger with their thumbnails, where there are bytes; `child` decodes them (none given: one for this call)."""
    found: list[bytes | None] = [None] * len(rows)
    for release in {r.get("release") for r in rows}:
        at = [i for i, r in enumerate(rows) if r.get("release") == release]
        there = located(store, release) if release else store
        for i, data in zip(at, read_slices(there, *([rows[i].get(c) for i in at] for c in _WHERE))):
            found[i] = data
    with contextlib.nullcontext(child) if child else Isolated() as decoder:
        return [Card(row, small(decoder, data, side) if data else None) for row, data in zip(rows, found)]


def small(child: Isolated, data: bytes, side: int = 320) -> bytes | None:
    """A JPEG thumbnail, encoded anew so that nothing of the original file remains; None if it cannot be decoded.

    A picture may have been dropped before anything decoded it, so it is opened in a process of its own.
    """
    if inspect(data)[0] not in ("ok", "truncated"):
        return None
    outcome, _, _, jpeg = child.resize(Resize("keep_ratio_largest", side, only_if_bigger=True, quality=75), data)
    return jpeg if outcome == "ok" else None


def written(run: Tables) -> list[str]:
    """The columns with captions that models wrote."""
    return [
        n
        for n, k in columns(run, "images").items()
        if n.startswith("caption_") and k == "VARCHAR" and not n.endswith(("_model", "_source"))
    ]
