"""Samples as people look at them: grids of pictures, duplicates side by side, documents as pages; everything escaped, every
thumbnail made anew in a process of its own."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import PoolError, RecipeError
from curate.fetch.image import inspect
from curate.fetch.isolate import Isolated
from curate.fetch.pixels import Resize
from curate.part import SHIFT
from curate.reporting.look import Html, fill, image, join, number, page, picture, table
from curate.selector import coin_sql, identifier, quoted
from curate.store import Store, read_slices

#: Columns that say where a sample came from rather than what it is like; the cards leave them out of the scores.
QUIET = {
    "uid",
    "url",
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
}

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


def columns(run: Any, table: str) -> dict[str, str]:
    """The columns of a table or view, with their DuckDB types."""
    found = run.sql(f"select * from {table} limit 0")
    return dict(zip(found.columns, map(str, found.types)))


def light(run: Any, table: str = "images") -> str:
    """The columns of a table that a card can show: no vectors, no bytes."""
    return ", ".join(identifier(c) for c, t in columns(run, table).items() if "[" not in t and t != "BLOB")


# ---- what is shown


def samples(run: Any, reason: str | None, n: int, where: str | None) -> list[Card]:
    """`n` rows drawn by a hash of their uid: kept ones, or those dropped for a reason."""
    return cards(run.store, _drawn(run, "images", reason, n, where))


def _drawn(run: Any, table: str, reason: str | None, n: int, where: str | None) -> list[dict[str, Any]]:
    if table not in run.recipe.get("rows", [table]):
        raise RecipeError(f"there are no {table} in this run; there are {', '.join(run.recipe['rows'])}")
    chosen = "kept" if reason in (None, "kept") else f"drop_reason = {quoted(reason)}"
    query = (
        f"select {light(run, table)} from {table} where {chosen}"
        + (f" and ({where})" if where else "")
        + f" order by {coin_sql('uid', 0, 'show')}, uid limit {int(n)}"
    )
    rows = run.sql(query).to_arrow_table().to_pylist()
    if not rows and reason is not None:
        found = run.sql(f"select distinct coalesce(drop_reason, 'kept') from {table} order by 1").fetchall()
        there = [r for (r,) in found]
        if reason not in there:
            raise RecipeError(f"nothing was dropped for {reason}; there are: {', '.join(there)}")
    return rows


def pairs(run: Any, step: str, n: int, child: Isolated | None = None) -> list[Pair]:
    """`n` duplicates of a step with their survivors: half of them the least alike, half drawn by a hash of their uid."""
    coin = coin_sql("uid", 0, "show")
    edges = run.sql(f"""with mine as (select *, row_number() over (order by similarity, {coin}, id) as alike,
        row_number() over (order by {coin}, id) as drawn from edges where step = {quoted(step)})
        select step, id, survivor_id, similarity from mine order by least(2 * alike, 2 * drawn + 1), alike limit {int(n)}""").fetchall()
    return _pairs(run, edges, child)


def pairs_of(run: Any, uid: str, n: int = 8) -> list[Pair]:
    """Pairs in which a uid is the dropped row or the survivor."""
    edges = run.sql(f"""select step, id, survivor_id, similarity from edges where {quoted(uid)} in (uid, survivor)
        order by uid <> {quoted(uid)}, similarity desc, id limit {int(n)}""").fetchall()
    return _pairs(run, edges, None)


def _pairs(run: Any, edges: list[tuple[str, int, int, float]], child: Isolated | None) -> list[Pair]:
    ids = sorted({i for e in edges for i in e[1:3]})
    known = dict(zip(ids, cards(run.store, rows_at(run.store, "images", ids), child=child)))
    return [Pair(step, known[dropped], known[survivor], similarity) for step, dropped, survivor, similarity in edges]


def rows_at(store: Store, table: str, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of the ledger by their number in the pool (part and row), in the order given; a file of the ledger is read once."""
    found: dict[int, dict[str, Any]] = {}
    for part in sorted({i >> SHIFT for i in ids}):
        mine = [i for i in ids if i >> SHIFT == part]
        with store.open(f"ledger/{table}/{part:06d}.parquet") as f:
            data = pq.ParquetFile(f)
            rows = data.read(
                columns=[
                    c.name for c in data.schema_arrow if not (pa.types.is_nested(c.type) or pa.types.is_large_binary(c.type))
                ]
            )
        found |= dict(zip(mine, rows.take([i & ((1 << SHIFT) - 1) for i in mine]).to_pylist()))
    return [found[i] for i in ids]


def cards(store: Store, rows: list[dict[str, Any]], side: int = 320, child: Isolated | None = None) -> list[Card]:
    """Rows of the ledger with their thumbnails, where there are bytes; `child` decodes them (none given: one for this call)."""
    found = read_slices(store, *([r.get(c) for r in rows] for c in _WHERE))
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


# ---- how it is shown


def shown(card: Card, scores: Iterable[str] | None = None) -> Html:
    """A card: picture, caption, what became of it, where it came from, and its scores (all, or these)."""
    row = card.row
    why = row.get("drop_reason")
    verdict = fill('<div class="drop">{}</div>', why) if why else fill('<div class="keep">{}</div>', kept_words(row))
    names = [k for k, v in row.items() if scored(k, v)] if scores is None else [s for s in scores if row.get(s) is not None]
    lines = join(fill("<tr><td>{}</td><td>{}</td></tr>", k, number(row[k])) for k in names)
    return fill(
        '<div class="card">{}<div class="body"><div class="text" dir="auto">{}</div>{}<div class="url">{}</div><div class="url">{}</div>{}</div></div>',
        picture(card.thumbnail, missing(row)),
        words(row),
        verdict,
        row.get("url") or "",
        dimensions(row),
        fill("<table>{}</table>", lines) if lines else "",
    )


def brief(cards: Sequence[Card], scores: Sequence[str]) -> Html:
    """Small cards in a strip, for many at a time: picture, caption, address, these scores; lines of text where there is no picture."""
    if not any(c.thumbnail for c in cards):
        return table(
            ("text", "url", *scores),
            [
                (
                    words(c.row),
                    fill('<span class="url">{}</span>', c.row.get("url") or ""),
                    *(number(c.row.get(s)) for s in scores),
                )
                for c in cards
            ],
            numbers=range(2, 2 + len(scores)),
        )
    return grid((_brief(c, scores) for c in cards), "strip")


def _brief(card: Card, scores: Sequence[str]) -> Html:
    row = card.row
    lines = join(
        fill('<div class="score"><span>{}</span><b>{}</b></div>', s, number(row[s])) for s in scores if row.get(s) is not None
    )
    return fill(
        '<div class="card" title="{}">{}<div class="body"><div class="text" dir="auto">{}</div><div class="url one">{}</div>{}</div></div>',
        row.get("url") or "",
        picture(card.thumbnail, missing(row)),
        words(row),
        tail(row.get("url") or ""),
        lines,
    )


def words(row: dict[str, Any]) -> str:
    """The caption, of a document its title; blanks that would not be seen are named."""
    text = row.get("text", row.get("title"))
    return "no text" if text is None else text if text.strip() else f"{len(text)} blank character{'s' * (len(text) != 1)}"


def tail(url: str) -> str:
    """The end of an address, which says more than its beginning."""
    return url.rstrip("/").rsplit("/", 1)[-1] or url


def kept_words(row: dict[str, Any]) -> str:
    return "kept" if row.get("shard") is None else f"kept · shard {row['shard']}"


def missing(row: dict[str, Any]) -> str:
    """Why there is no picture."""
    fetch = row.get("fetch") or row.get("frames")
    return "not fetched" if fetch is None else f"no picture ({fetch})" if fetch != "ok" else "cannot be decoded"


def dimensions(row: dict[str, Any]) -> str:
    return f"{row['original_width']} × {row['original_height']} {row.get('mime') or ''}" if row.get("original_width") else ""


def scored(name: str, value: Any) -> bool:
    """True for a value that a card shows among the scores."""
    return name not in QUIET and value is not None and not isinstance(value, (list, dict, bytes))


def beside(pair: Pair) -> Html:
    """A duplicate and its survivor, side by side."""
    a, b = pair.dropped.row, pair.survivor.row
    names = [k for k in a if scored(k, a[k]) and a[k] != b.get(k)][:6]
    halves = join(fill("<div>{}</div>", _half(card, names)) for card in (pair.dropped, pair.survivor))
    return fill(
        '<div class="pair"><header><span class="drop">dropped</span> for <span class="keep">its survivor</span> · '
        "similarity {}</header><div>{}</div></div>",
        number(float(pair.similarity)),
        halves,
    )


def _half(card: Card, names: list[str]) -> Html:
    row = card.row
    facts = (
        fill("<table>{}</table>", join(fill("<tr><td>{}</td><td>{}</td></tr>", k, number(row.get(k))) for k in names))
        if names
        else ""
    )
    fate = row.get("drop_reason") or kept_words(row)
    return fill(
        '{}<div class="body"><div class="text" dir="auto">{}</div><div class="url">{}</div><div class="url">{}</div><div class="url">{}</div>{}</div>',
        picture(card.thumbnail, missing(row)),
        words(row),
        fate,
        row.get("url") or "",
        dimensions(row),
        facts,
    )


def grid(shown_cards: Iterable[Html], kind: str = "grid") -> Html:
    return fill('<div class="{}">{}</div>', kind, join(shown_cards, "\n"))


# ---- raw and synthetic captions


def written(run: Any) -> list[str]:
    """The columns with captions that models wrote."""
    return [
        n
        for n, k in columns(run, "images").items()
        if n.startswith("caption_") and k == "VARCHAR" and not n.endswith(("_model", "_source"))
    ]


def captioned(cards: Sequence[Card], columns: Sequence[str]) -> Html:
    """Pictures with their raw text and, beside it, what models wrote, each with its score."""
    rows = [
        (image(c.thumbnail) if c.thumbnail else "", c.row.get("text") or "–", *(_caption(c.row, n) for n in columns))
        for c in cards
    ]
    return fill('<div class="captions">{}</div>', table(("", "text", *columns), rows))


def _caption(row: dict[str, Any], name: str) -> Html:
    score = row.get(f"{name}_score")
    return fill("{}{}", row.get(name) or "–", fill(' <span class="dim">{}</span>', number(score)) if score is not None else "")


# ---- a document as a page


def documents(
    run: Any, n: int, reason: str | None = None, where: str | None = None, child: Isolated | None = None
) -> list[Html]:
    """`n` web pages with their texts and images in page order; what was dropped from them is shown pale, with its reason."""
    return [document(run, row, child) for row in _drawn(run, "documents", reason, n, where)]


def document(run: Any, row: dict[str, Any], child: Isolated | None = None) -> Html:
    """One page: its title and address, then its parts as they stood."""
    mine = f"doc_uid = {quoted(row['uid'])}"
    texts = (
        run.sql(f"select {light(run, 'texts')} from texts where {mine} order by position limit 400")
        .to_arrow_table()
        .to_pylist()
    )
    images = cards(
        run.store,
        run.sql(f"select {light(run)} from images where {mine} order by position limit 60").to_arrow_table().to_pylist(),
        480,
        child,
    )
    places = sorted(
        [(t["position"], _text(t)) for t in texts] + [(c.row["position"], _picture(c)) for c in images], key=lambda p: p[0]
    )
    fate = row.get("drop_reason") or "kept"
    kind, title = ("doc clip", tail(row["video"])) if row.get("video") else ("doc", "no title")
    return fill(
        '<article class="{}"><h1 dir="auto">{}</h1><p class="sub">{} · {}</p>{}</article>',
        kind,
        row.get("title") or title,
        row.get("url") or "",
        fate,
        join((p for _, p in places), "\n"),
    )


def _text(row: dict[str, Any]) -> Html:
    why = row.get("drop_reason")
    words = fill("<b>{}</b>", row["text"] or "") if row.get("kind") == "heading" else row["text"] or ""
    return (
        fill('<p class="gone" dir="auto">{}<br><span class="url">{}</span></p>', words, why)
        if why
        else fill('<p dir="auto">{}</p>', words)
    )


def _picture(card: Card) -> Html:
    why = card.row.get("drop_reason")
    inner = image(card.thumbnail) if card.thumbnail else ""
    words = card.row.get("text") if card.row.get("at") is None else f"{card.row['at']:g} s"
    said = " · ".join(w for w in (words, why, "" if card.thumbnail else missing(card.row)) if w)
    return fill(
        '<figure class="{}">{}<figcaption class="url" dir="auto">{}</figcaption></figure>', "gone" if why else "", inner, said
    )


# ---- curate show


def contents(run: Any, reason: str | None, n: int, where: str | None) -> tuple[Html, str]:
    """What `curate show` shows, and in words what it is: pairs where the reason names survivors, else a grid."""
    steps = {s["step"] for s in run.recipe.get("steps", [])}
    if reason in steps and where is None and (found := pairs(run, reason, n)):
        return grid(
            map(beside, found), "pairs"
        ), f"{len(found)} pairs of {run.store.url}: the least alike, and others drawn by a hash"
    found = samples(run, reason, n, where)
    words = f"{len(found)} samples of {run.store.url}, drawn by a hash of their uid" + (f", where {where}" if where else "")
    return grid(map(shown, found)) if found else Html("<p>no such rows</p>"), words


def write_page(run: Any, reason: str | None, n: int, where: str | None, out: str | None, pages: bool = False) -> str:
    """Write a grid (or documents as pages) as an HTML file; returns its path."""
    title = "kept" if reason in (None, "kept") else f"dropped for {reason}"
    if pages:
        words = f"documents of {run.store.url}, drawn by a hash of their uid"
        body = join(documents(run, n, reason, where), "\n") or Html("<p>no such rows</p>")
    else:
        body, words = contents(run, reason, n, where)
    name = "show.html" if reason is None else f"show-{''.join(c if c.isalnum() else '-' for c in reason)}.html"
    return put(run.store, page(title, [fill("<h1>{}</h1><p class=sub>{}</p>", title, words), body]), name, out)


def put(store: Store, text: str, name: str, out: str | None) -> str:
    """Write a page to the file `out`, or else into the run's folder; returns where it is."""
    if out:
        try:
            Path(out).write_bytes(text.encode())
        except OSError as e:
            raise PoolError(f"{out}: cannot write: {e.strerror}") from e
        return out
    store.publish_bytes(name, text.encode())
    return store.path(name)
