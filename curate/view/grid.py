"""HTML of samples: grids of pictures, duplicates side by side, documents as pages; all texts are escaped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from curate.errors import PoolError
from curate.fetch.isolate import Isolated
from curate.selector import quoted
from curate.view.bounds import bounds_of
from curate.view.describe import missing, scored, tail, words
from curate.view.look import number
from curate.view.markup import PARTS, join, macros, page
from curate.view.reading import still_as_read, writing
from curate.view.run import Run, Tables
from curate.view.samples import Card, Group, Pair, cards, drawn, groups, light, samples

CARDS = macros("cards.html")


def shown(card: Card, first: Mapping[str, Sequence[str]] | None = None) -> Markup:
    """A card: picture, caption, what became of it, where it came from, and its scores.

    first: by rule the columns that it judges. Those of the rule that dropped the row lead; the others can be unfolded.
    """
    row, first = card.row, first or {}
    why = row.get("drop_reason")
    names = [k for k, v in row.items() if scored(k, v)]
    leading = [k for k in names if k in first.get(why or "", (why,)) or (why and k.startswith(f"{why}_"))]
    leading = leading or [k for columns in reversed(first.values()) for k in columns if k in names][:2]
    return CARDS.shown(card, leading, [k for k in names if k not in leading]) if first else CARDS.shown(card, [], names)


def brief(cards: Sequence[Card], scores: Sequence[str]) -> Markup:
    """Small cards in a strip, for many at a time: picture, caption, address, these scores; lines of text where there is no picture."""
    if any(c.thumbnail for c in cards):
        return PARTS.grid([CARDS.brief(c, scores) for c in cards], "strip")
    rows = [(words(c.row), CARDS.address(c.row), *(number(c.row.get(s)) for s in scores)) for c in cards]
    return PARTS.table(("text", "url", *scores), rows, range(2, 2 + len(scores)))


def beside(pair: Pair) -> Markup:
    """A duplicate and the copy that was kept for it, side by side."""
    return grouped(Group(pair.step, pair.survivor, [(pair.dropped, pair.similarity)], 1))


def grouped(group: Group) -> Markup:
    """A group of duplicates: the kept copy first, then those dropped for it, with the scores in which they differ."""
    kept, rows = group.kept.row, [c.row for c, _ in group.dropped]
    names = [k for k in kept if scored(k, kept[k]) and any(r.get(k) not in (None, kept[k]) for r in rows)][:6]
    return CARDS.grouped(group, names)


# ---- raw and synthetic captions


def captioned(cards: Sequence[Card], columns: Sequence[str]) -> Markup:
    """Pictures with their raw text and, beside it, what models wrote, each with its score."""
    rows = [(CARDS.thumbnail(c), c.row.get("text") or "–", *(CARDS.caption(c.row, name) for name in columns)) for c in cards]
    return CARDS.captioned(PARTS.table(("", "text", *columns), rows))


# ---- a document as a page


def documents(
    run: Tables, n: int, reason: str | None = None, where: str | None = None, child: Isolated | None = None
) -> list[Markup]:
    """`n` web pages with their texts and images in page order; what was dropped from them is shown pale, with its reason."""
    return [document(run, row, child) for row in drawn(run, "documents", reason, n, where)]


def document(run: Tables, row: dict[str, Any], child: Isolated | None = None) -> Markup:
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
    parts = [(t["position"], CARDS.paragraph(t)) for t in texts] + [(c.row["position"], _figure(c)) for c in images]
    title = row.get("title") or (tail(row["video"]) if row.get("video") else "no title")
    return CARDS.document(row, title, [part for _, part in sorted(parts, key=lambda p: p[0])])


def _figure(card: Card) -> Markup:
    at, why = card.row.get("at"), card.row.get("drop_reason")
    caption = (card.row.get("text") if at is None else f"{at:g} s", why, "" if card.thumbnail else missing(card.row))
    return CARDS.figure(card, " · ".join(w for w in caption if w))


# ---- curate show


def contents(run: Run, reason: str | None, n: int, where: str | None, sort: str = "", nth: int = 1) -> tuple[Markup, str]:
    """What `curate show` shows, and in words what it is: groups of duplicates where the reason is a dedup's, else page `nth` of a grid."""
    steps = {s["step"] for s in run.recipe.get("steps", [])}
    if reason in steps and where is None and not sort and (found := groups(run, reason, n)):
        what = f"{len(found)} groups of duplicates of {run.store.url}: the least alike, and others drawn by a hash"
        return PARTS.grid(map(grouped, found), "pairs"), what
    found = samples(run, reason, n, where, sort, nth)
    by = f"{sort[1:]}, largest first" if sort.startswith("-") else sort
    order = f"sorted by {by}" if sort else "drawn by a hash of their uid"
    words = f"{len(found)} samples of {run.store.url}, {order}{f', page {nth}' if nth > 1 else ''}{f', where {where}' if where else ''}"
    first: dict[str, list[str]] = {}
    for bound in bounds_of(run.recipe):
        first.setdefault(bound.rule, []).append(bound.column)
    return PARTS.grid([shown(card, first) for card in found]) if found else CARDS.nothing(), words


def write_page(
    run: Run,
    reason: str | None,
    n: int,
    where: str | None,
    out: str | None,
    pages: bool = False,
    sort: str = "",
    nth: int = 1,
) -> str:
    """Write a grid (or documents as pages) as an HTML file; returns its path."""
    title = "kept" if reason in (None, "kept") else f"dropped by {reason}"
    if pages:
        words = f"documents of {run.store.url}, drawn by a hash of their uid"
        body = join(documents(run, n, reason, where)) or CARDS.nothing()
    else:
        body, words = contents(run, reason, n, where, sort, nth)
    name = "show.html" if reason is None else f"show-{''.join(c if c.isalnum() else '-' for c in reason)}.html"
    return put(run, page(title, PARTS.heading(title, words) + body, "enlarge.js"), name, out)


def put(run: Run, text: str, name: str, out: str | None) -> str:
    """Write a page to the file `out`, or else into the run's folder; returns where it is."""
    if out:
        still_as_read(run)
        try:
            Path(out).write_bytes(text.encode())
        except OSError as e:
            raise PoolError(f"{out}: cannot write: {e.strerror}") from e
        return out
    with writing(run):
        run.store.publish_bytes(name, text.encode())
    return run.store.path(name)
