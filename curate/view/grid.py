"""Samples as people look at them: grids of pictures, duplicates side by side, documents as pages; everything escaped."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import PoolError
from curate.fetch.isolate import Isolated
from curate.selector import quoted
from curate.view.bounds import bounds_of
from curate.view.look import Html, fill, image, join, link, number, page, picture, table
from curate.view.reading import still_as_read, writing
from curate.view.samples import QUIET, Card, Group, Pair, cards, drawn, groups, light, samples
from curate.view.scripts import ENLARGE


def shown(card: Card, first: Mapping[str, Sequence[str]] | None = None) -> Html:
    """A card: picture, caption, what became of it, where it came from, and its scores.

    first: by rule the columns that it judges. Those of the rule that dropped the row lead; the others can be unfolded.
    """
    row, first = card.row, first or {}
    why = row.get("drop_reason")
    verdict = fill('<div class="drop">{}</div>', why) if why else fill('<div class="keep">{}</div>', kept_words(row))
    names = [k for k, v in row.items() if scored(k, v)]
    leading = [k for k in names if k in first.get(why or "", (why,)) or (why and k.startswith(f"{why}_"))]
    leading = leading or [k for columns in reversed(first.values()) for k in columns if k in names][:2]
    lines = (
        _lines(row, leading, "lead") + _lines(row, [k for k in names if k not in leading], "")
        if first
        else _lines(row, names, "")
    )
    return fill(
        '<div class="card" data-uid="{}">{}<div class="body"><div class="text" dir="auto">{}</div>{}<div class="url">{}</div><div class="url">{}</div>{}</div></div>',
        row.get("uid") or "",
        shot(card),
        words(row),
        verdict,
        link(row.get("url")),
        dimensions(row),
        Html(lines),
    )


def _lines(row: dict[str, Any], names: Sequence[str], kind: str) -> Html:
    """Scores as a table; those that do not lead are folded where there are many."""
    lines = fill(
        '<table class="{}">{}</table>', kind, join(fill("<tr><td>{}</td><td>{}</td></tr>", k, number(row[k])) for k in names)
    )
    many = fill('<details><summary class="dim">{} more</summary>{}</details>', len(names), lines)
    return Html("") if not names else lines if kind or len(names) < 4 else many


def brief(cards: Sequence[Card], scores: Sequence[str]) -> Html:
    """Small cards in a strip, for many at a time: picture, caption, address, these scores; lines of text where there is no picture."""
    if not any(c.thumbnail for c in cards):
        return table(
            ("text", "url", *scores),
            [
                (
                    words(c.row),
                    fill('<span class="url">{}</span>', link(c.row.get("url"))),
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
        '<div class="card" title="{}" data-uid="{}">{}<div class="body"><div class="text" dir="auto">{}</div><div class="url one">{}</div>{}</div></div>',
        row.get("url") or "",
        row.get("uid") or "",
        picture(card.thumbnail, missing(row)),
        words(row),
        link(row.get("url"), tail(row.get("url") or "")),
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
    kept = f"kept in the earlier release {row['release']}" if row.get("release") else "kept"
    return kept if row.get("shard") is None else f"{kept} · shard {row['shard']}"


def shot(card: Card) -> Html:
    """The picture of a card; nothing for a page or a paragraph, which is none."""
    row = card.row
    is_picture = card.thumbnail or "mime" in row or "fetch" in row or not ("title" in row or "doc_uid" in row)
    return picture(card.thumbnail, missing(row)) if is_picture else Html("")


def missing(row: dict[str, Any]) -> str:
    """Why there is no picture."""
    fetch = row.get("fetch") or row.get("frames")
    return "not fetched" if fetch is None else f"no image ({fetch})" if fetch != "ok" else "cannot be decoded"


def dimensions(row: dict[str, Any]) -> str:
    return f"{row['original_width']} × {row['original_height']} {row.get('mime') or ''}" if row.get("original_width") else ""


def scored(name: str, value: Any) -> bool:
    """True for a value that a card shows among the scores."""
    return name not in QUIET and value is not None and not isinstance(value, (list, dict, bytes))


def beside(pair: Pair) -> Html:
    """A duplicate and the copy that was kept for it, side by side."""
    return grouped(Group(pair.step, pair.survivor, [(pair.dropped, pair.similarity)], 1))


def grouped(group: Group) -> Html:
    """A group of duplicates: the kept copy first, then those dropped for it, with the scores in which they differ."""
    kept, rows = group.kept.row, [c.row for c, _ in group.dropped]
    names = [k for k in kept if scored(k, kept[k]) and any(r.get(k) not in (None, kept[k]) for r in rows)][:6]
    cells = [_half(group.kept, names, "")]
    cells += [
        _half(card, names, "identical" if alike >= 1 else f"similarity {number(float(alike))}") for card, alike in group.dropped
    ]
    more = f", {len(rows)} shown" if group.rows > len(rows) else ""
    header = f"{group.rows:,} duplicate{'s' * (group.rows != 1)}{more} of the "
    members = join(
        fill('<div data-uid="{}">{}</div>', card.row["uid"], cell)
        for card, cell in zip([group.kept, *(c for c, _ in group.dropped)], cells)
    )
    return fill(
        '<div class="pair"><header>{}<span class="keep">kept copy</span></header><div class="members">{}</div></div>',
        header,
        members,
    )


def _half(card: Card, names: list[str], alike: str) -> Html:
    row = card.row
    facts = (
        fill("<table>{}</table>", join(fill("<tr><td>{}</td><td>{}</td></tr>", k, number(row.get(k))) for k in names))
        if names
        else ""
    )
    fate = fill(
        '<span class="{}">{}</span>', "drop" if row.get("drop_reason") else "keep", row.get("drop_reason") or kept_words(row)
    )
    return fill(
        '{}<div class="body"><div class="text" dir="auto">{}</div><div>{} <span class="dim">{}</span></div><div class="url">{}</div><div class="url">{}</div>{}</div>',
        shot(card),
        words(row),
        fate,
        alike,
        link(row.get("url")),
        dimensions(row),
        facts,
    )


def grid(shown_cards: Iterable[Html], kind: str = "grid") -> Html:
    return fill('<div class="{}">{}</div>', kind, join(shown_cards, "\n"))


# ---- raw and synthetic captions


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
    return [document(run, row, child) for row in drawn(run, "documents", reason, n, where)]


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
    caption = " · ".join(w for w in (words, why, "" if card.thumbnail else missing(card.row)) if w)
    return fill(
        '<figure class="{}">{}<figcaption class="url" dir="auto">{}</figcaption></figure>',
        "gone" if why else "",
        inner,
        caption,
    )


# ---- curate show


def contents(run: Any, reason: str | None, n: int, where: str | None, sort: str = "", nth: int = 1) -> tuple[Html, str]:
    """What `curate show` shows, and in words what it is: groups of duplicates where the reason is a dedup's, else page `nth` of a grid."""
    steps = {s["step"] for s in run.recipe.get("steps", [])}
    if reason in steps and where is None and not sort and (found := groups(run, reason, n)):
        what = f"{len(found)} groups of duplicates of {run.store.url}: the least alike, and others drawn by a hash"
        return grid(map(grouped, found), "pairs"), what
    found = samples(run, reason, n, where, sort, nth)
    by = f"{sort[1:]}, largest first" if sort.startswith("-") else sort
    order = f"sorted by {by}" if sort else "drawn by a hash of their uid"
    words = f"{len(found)} samples of {run.store.url}, {order}{f', page {nth}' if nth > 1 else ''}{f', where {where}' if where else ''}"
    first: dict[str, list[str]] = {}
    for bound in bounds_of(run.recipe):
        first.setdefault(bound.rule, []).append(bound.column)
    return grid(shown(card, first) for card in found) if found else Html("<p>no such rows</p>"), words


def write_page(
    run: Any,
    reason: str | None,
    n: int,
    where: str | None,
    out: str | None,
    pages: bool = False,
    sort: str = "",
    nth: int = 1,
) -> str:
    """Write a grid (or documents as pages) as an HTML file; returns its path."""
    title = "kept" if reason in (None, "kept") else f"dropped for {reason}"
    if pages:
        words = f"documents of {run.store.url}, drawn by a hash of their uid"
        body = join(documents(run, n, reason, where), "\n") or Html("<p>no such rows</p>")
    else:
        body, words = contents(run, reason, n, where, sort, nth)
    name = "show.html" if reason is None else f"show-{''.join(c if c.isalnum() else '-' for c in reason)}.html"
    return put(run, page(title, [fill("<h1>{}</h1><p class=sub>{}</p>", title, words), body], ENLARGE), name, out)


def put(run: Any, text: str, name: str, out: str | None) -> str:
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
