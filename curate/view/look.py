"""How curate's HTML looks: one page in one file, no network, light and dark, narrow and wide; text that is always escaped.

Html marks what is markup already; `fill` escapes everything else. A page's content security policy lets nothing load and
no script run but the one that the page was written with.
"""

import base64
import hashlib
import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # the wide signs are taken for the others in Asian locales


class Html(str):
    """Markup, as opposed to text."""


def fill(template: str, *values: Any) -> Html:
    """The template with its {} filled: Html goes in as it is, anything else as escaped text."""
    return Html(template.format(*(v if isinstance(v, Html) else html.escape(str(v)) for v in values)))


def join(pieces: Iterable[str], between: str = "") -> Html:
    """Pieces after one another; those that are not Html are escaped."""
    return Html(between.join(p if isinstance(p, Html) else html.escape(str(p)) for p in pieces))


def clean(text: str) -> str:
    """Text from outside, safe for a terminal: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def inert(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula, also behind blanks, and in which nothing is invisible."""
    shown = clean(text)
    return f"'{shown}" if _FORMULA.match(shown) else shown


def plain(head: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 160, numbers: Iterable[int] = ()) -> str:
    """A table for a terminal. Cells longer than their share of the width are cut, control characters are shown."""
    right = set(numbers)
    cells = [[clean(number(c, 6)).replace("\n", " ") for c in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    while sum(widths) + 2 * len(widths) > width and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1
    cut = [[c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(row, widths)] for row in cells]
    lines = [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in cut
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def wide(text: str, width: int) -> bool:
    """Whether a line is longer than the terminal is wide."""
    return max(map(len, text.splitlines())) > width


def vertical(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows for a terminal, a line a column; control characters are shown, and values are cut after 1,000 characters."""
    names = [clean(h).replace("\n", " ") for h in head]
    side = max(map(len, names))
    blocks = []
    for n, row in enumerate(rows, 1):
        cells = [clean(number(c, 6)).replace("\n", " ") for c in row]
        lines = [f"{name:<{side}}  {c if len(c) <= 1000 else c[:999] + '…'}".rstrip() for name, c in zip(names, cells)]
        blocks.append("\n".join([*([f"── row {n}"] if len(rows) > 1 else []), *lines]))
    return "\n".join(blocks)


STYLE = """
:root { color-scheme: light dark; --back: light-dark(#fbfaf8, #16171a); --card: light-dark(#fff, #1e2024); --ink: light-dark(#1d1f23, #e7e6e3);
  --dim: light-dark(#65686f, #9b9da3); --line: light-dark(#e2dfd9, #34363c); --soft: light-dark(#f1efea, #26282d);
  --keep: light-dark(#2f7d5b, #58b58b); --drop: light-dark(#c2543c, #e07a62); --other: light-dark(#c9c5bc, #4b4e56); --link: light-dark(#2b5fa8, #84b0ee) }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0 auto; max-width: 1180px; padding: 1.4rem 1.2rem 4rem }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.15rem; margin: 2.6rem 0 .2rem; scroll-margin-top: 3.2rem }
h3 { font-size: .95rem; margin: 1.3rem 0 .4rem } p { margin: .2rem 0 .8rem } .dim, .sub { color: var(--dim); font-size: .88rem }
a { color: var(--link) } code { font-size: .88em; overflow-wrap: anywhere } td code { white-space: nowrap }
nav { position: sticky; top: 0; z-index: 2; background: var(--back); border-bottom: 1px solid var(--line); margin: .9rem -1.2rem 0; padding: .45rem 1.2rem; display: flex; gap: 1rem; overflow-x: auto; font-size: .9rem; white-space: nowrap }
nav a { text-decoration: none }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(130px, 44%), 1fr)); gap: 10px; margin: 1.1rem 0 }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .6rem .8rem } .tile { min-width: 0; overflow-wrap: anywhere } .tile b { display: block; font-size: clamp(1.05rem, 5.2vw, 1.35rem); line-height: 1.25; font-variant-numeric: tabular-nums; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .88rem; width: 100% } th { text-align: left; font-weight: 500; color: var(--dim) }
td, th { padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { display: flex; height: 12px; border-radius: 3px; overflow: hidden; background: var(--soft); min-width: 130px; margin-top: .3rem } .bar i { display: block; background: var(--keep) } .bar i.drop { background: var(--drop) } .bar i.other { background: var(--other) }
.keep { color: var(--keep); font-weight: 600 } .drop { color: var(--drop); font-weight: 600 }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 12px; align-items: start }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 10px }
.card, .pair, .doc { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; min-width: 0 }
.pic { height: 190px; background: light-dark(#f1efea, #3a3d44); display: flex; align-items: center; justify-content: center } .strip .pic { height: 116px }
.pic img { max-width: 100%; max-height: 100%; object-fit: contain } .pic span { color: var(--dim); font-size: .8rem; padding: .6rem; text-align: center; overflow-wrap: anywhere }
.body { padding: .5rem .65rem .6rem; font-size: .85rem; overflow-wrap: anywhere } .body .text { margin-bottom: .25rem; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 6; overflow: hidden }
.strip .body { font-size: .78rem; padding: .35rem .5rem .45rem; line-height: 1.35 } .strip .text { -webkit-line-clamp: 3 }
.url { color: var(--dim); font-size: .75rem } .body table { font-size: .78rem; margin-top: .35rem } .body td { border: 0; padding: 0 .3rem 0 0 } .body td + td { text-align: right; font-variant-numeric: tabular-nums }
.one { white-space: nowrap; overflow: hidden; text-overflow: ellipsis } .score { display: flex; justify-content: space-between; gap: .4rem; font-variant-numeric: tabular-nums } .score b { font-weight: 400; white-space: nowrap } .score span { color: var(--dim); overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.body .url a, .url a { color: inherit } .lead td { font-weight: 600 } [data-uid] .pic img { cursor: zoom-in } dialog.large { border: 1px solid var(--line); border-radius: 12px; background: var(--back); color: var(--ink); max-width: min(760px, 94vw); overflow-wrap: anywhere } dialog.large::backdrop { background: #000a } dialog.large img { width: min(640px, 100%); max-height: 70vh; object-fit: contain; display: block; margin: auto }
.members { display: flex; flex-wrap: wrap; gap: 1px; background: var(--line) } .members > div { flex: 1 1 180px; background: var(--card); min-width: 0 }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr)); gap: 12px } .pair header { padding: .4rem .7rem; font-size: .85rem; border-bottom: 1px solid var(--line) }
.pair > div { display: grid; grid-template-columns: 1fr 1fr } .pair > div > div + div { border-left: 1px solid var(--line) }
.captions td { min-width: 9rem; max-width: 26rem } .captions td:first-child { width: 130px; min-width: 130px } .captions img { max-width: 120px; max-height: 120px; border-radius: 4px }
.doc { padding: 1rem 1.2rem; max-width: 720px; margin: 0 0 14px } .doc img { max-width: 100%; max-height: 260px; display: block; margin: .5rem 0 } .doc .gone { opacity: .55; border-left: 3px solid var(--drop); padding-left: .6rem } .doc h1 { font-size: 1.1rem } .doc figure { margin: .5rem 0 }
.clip { display: flex; flex-wrap: wrap; gap: 0 .6rem; align-items: flex-end } .clip h1, .clip p { flex-basis: 100% } .doc.clip img { max-height: 88px; margin: 0 }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 12px; align-items: start } .chart { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem .85rem; min-width: 0 } .chart h3 { margin: 0 0 .1rem } .chart .bar { min-width: 60px }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--dim); font: 10px system-ui, sans-serif } .k { fill: var(--keep) } .d { fill: var(--drop) } .o { fill: var(--other) } .axis { stroke: var(--line) } .cut { fill: none; stroke: var(--card); stroke-width: 2.5 } .bound { stroke: var(--ink); stroke-dasharray: 3 2 } .moved { stroke: var(--link); stroke-width: 1.5 }
.line { fill: none; stroke-width: 2 } .line.before { stroke: var(--other) } .line.after { stroke: var(--keep) }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .82rem; color: var(--dim); margin: .2rem 0 .7rem } .legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: .35rem }
input[type=range] { width: 100%; margin: .2rem 0 0; accent-color: var(--link) } output { display: block; font-size: .82rem; min-height: 2.6em }
details { margin: .5rem 0 } td details { margin: 0 } summary { margin-bottom: .3rem } td summary { margin: 0 } summary { cursor: pointer } summary b { font-weight: 600 }
.funnel th { white-space: normal; vertical-align: bottom } .funnel th.n { max-width: 7rem } .funnel td:first-child span { color: var(--dim); font-size: .82rem; margin-left: .5rem }
@media (max-width: 560px) { .funnel :is(td, th):is(:nth-child(3), :nth-child(5)), .funnel td:first-child > span { display: none } .funnel .bar { min-width: 60px } body { padding: 1rem .8rem 3rem } nav { margin: .8rem -.8rem 0; padding: .45rem .8rem } .grid { grid-template-columns: repeat(2, 1fr) } .pic { height: 130px } }
@media print { nav { display: none } }
"""


def page(title: str, body: Iterable[str], script: str = "") -> str:
    """A whole HTML file."""
    allowed = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'"
    return fill(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{}</title><style>{}</style></head>\n<body>\n{}\n{}</body></html>\n',
        policy,
        title,
        Html(STYLE),
        join(body, "\n"),
        Html(f"<script>{script}</script>") if script else "",
    )


def picture(jpeg: bytes | None, missing: str = "no image") -> Html:
    """A thumbnail in the page itself, or a word where there is none."""
    if jpeg is None:
        return fill('<div class="pic"><span>{}</span></div>', missing)
    return fill('<div class="pic">{}</div>', image(jpeg))


def link(url: str | None, words: str | None = None, kind: str = "") -> Html:
    """An address as a link, if it is one of the web; as text otherwise."""
    if not (url or "").lower().startswith(("http://", "https://")):
        return fill("{}", words or url or "")
    return fill('<a class="{}" href="{}" target="_blank" rel="noopener noreferrer">{}</a>', kind, url, words or url)


def image(jpeg: bytes) -> Html:
    return Html(f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">')


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int] = ()) -> Html:
    """A table; `numbers` are the columns set flush right."""
    right = set(numbers)
    mark = [Html(' class="n"') if i in right else Html("") for i in range(len(head))]
    first = join(fill("<th{}>{}</th>", m, h) for m, h in zip(mark, head))
    lines = join(fill("<tr>{}</tr>\n", join(fill("<td{}>{}</td>", m, cell) for m, cell in zip(mark, row))) for row in rows)
    return fill('<div class="wide"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>', first, lines)


def bar(*shares: tuple[str, float]) -> Html:
    """A bar of parts, each a class and a share from 0 to 1."""
    parts = (Html(f'<i class="{kind}" style="width:{100 * share:.3f}%"></i>') for kind, share in shares if share > 0)
    return fill('<div class="bar">{}</div>', join(parts))


def legend(*entries: tuple[str, str]) -> Html:
    """What the colours mean: (keep, drop or other) and words."""
    return fill(
        '<div class="legend">{}</div>',
        join(fill('<span><i style="background:var(--{})"></i>{}</span>', k, w) for k, w in entries),
    )


def number(value: Any, digits: int = 3) -> str:
    """A value as people read it: so many digits of a fraction, thousands apart."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (1000 <= abs(value) < 1e15) or (value.is_integer() and abs(value) < 1e15):
        return f"{round(value):,}"
    return f"{value:.{digits}g}" if math.isfinite(value) else str(value)


def size(count: float) -> str:
    """Bytes in units of a thousand: 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return ""


# ---- charts

WIDE, HIGH, FOOT = 340, 118, 16


def stacked(
    edges: Sequence[float],
    series: Sequence[tuple[str, Sequence[int]]],
    bounds: Iterable[float] = (),
    first: float | None = None,
) -> Html:
    """A histogram as SVG: series (class, counts by bin) stacked, dashed lines at the bounds, the axis's ends and bounds named.

    `first` is the axis's left end where that says more than the first edge.
    """
    low, span = edges[0], (edges[-1] - edges[0]) or 1.0
    totals = [sum(counts) for counts in zip(*(c for _, c in series))]
    order = [*sorted(totals, reverse=True), 0, 0]
    most = min(order[0], 3 * order[1] or order[0]) or 1  # one spike does not flatten all others
    x = lambda v: (v - low) / span * WIDE  # noqa: E731
    marks, base = [], [0.0] * len(totals)
    for kind, counts in series:
        for i, n in enumerate(counts):
            if n:
                tall = min(max(0.6, n / most * HIGH), HIGH - base[i])
                marks.append(
                    f'<rect class="{kind}" x="{x(edges[i]):.1f}" y="{HIGH - base[i] - tall:.1f}" '
                    f'width="{max(0.6, x(edges[i + 1]) - x(edges[i]) - 0.6):.1f}" height="{tall:.1f}"/>'
                )
                base[i] += tall
    marks += [_cut(x(edges[i]), x(edges[i + 1])) for i, n in enumerate(totals) if n > most]
    ends = [(0.0, "start", edges[0] if first is None else first), (float(WIDE), "end", edges[-1])]
    lines = []
    for b in bounds:
        at = min(max(x(b), 0.0), float(WIDE))
        lines.append(f'<line class="bound" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{HIGH}"/>')
        ends = [e for e in ends if abs(e[0] - at) > 44] + [
            (at, "start" if at < 12 else "end" if at > WIDE - 12 else "middle", b)
        ]
    words = [
        f'<text x="{at:.1f}" y="{HIGH + 12}" text-anchor="{side}">{html.escape(number(float(v)))}</text>'
        for at, side, v in ends
    ]
    return Html(
        f'<svg viewBox="0 -2 {WIDE} {HIGH + FOOT + 2}" role="img">{"".join(marks)}<line class="axis" x1="0" x2="{WIDE}" y1="{HIGH}" y2="{HIGH}"/>'
        f'{"".join(lines)}<line class="moved" x1="-9" x2="-9" y1="0" y2="{HIGH}"/>{"".join(words)}</svg>'
    )


def _cut(left: float, right: float) -> str:
    """The mark on a column that is higher than the chart."""
    return f'<path class="cut" d="M{left:.1f} 9 L{(left + right) / 2:.1f} 5 L{right:.1f} 9"/>'


def ranked(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]], what: str = "groups") -> Html:
    """Sizes of groups by their rank from the largest on, before and after, as (rank, size); both axes logarithmic."""
    most, last = max([n for _, n in before] + [2]), max([r for r, _ in before] + [2])
    place = lambda rank, n: f"{math.log(rank) / math.log(last) * WIDE:.1f},{HIGH - math.log(n) / math.log(most) * HIGH:.1f}"  # noqa: E731

    def line(sizes: Sequence[tuple[int, int]], kind: str) -> str:
        return f'<polyline class="line {kind}" points="{" ".join(place(r, n) for r, n in sizes if n)}"/>'

    return Html(
        f'<svg viewBox="0 -2 {WIDE} {HIGH + FOOT + 2}" role="img">{line(before, "before")}{line(after, "after")}'
        f'<line class="axis" x1="0" x2="{WIDE}" y1="{HIGH}" y2="{HIGH}"/><text x="0" y="{HIGH + 12}">the largest: {most:,} rows</text>'
        f'<text x="{WIDE}" y="{HIGH + 12}" text-anchor="end">{last:,} {html.escape(what)}</text></svg>'
    )


def thinned(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Sizes from the largest to the smallest as (rank, size), ever fewer of them."""
    return [(i + 1, n) for i, n in enumerate(sorted((s for s in sizes if s), reverse=True)) if i < 40 or i % (1 + i // 40) == 0]


def dots(series: Sequence[tuple[str, Sequence[float]]], unit: str = "") -> Html:
    """A line a group: its values as dots, their mean as a bar, named and in numbers. The axis begins at 0."""
    most, step = max((v for _, values in series for v in values), default=0) or 1.0, 30
    rows = []
    for i, (name, values) in enumerate(series):
        y, mean = i * step + 20, sum(values) / len(values)
        marks = "".join(
            f'<circle class="{"k" if i == 0 else "d"}" cx="{v / most * (WIDE - 8) + 2:.1f}" cy="{y}" r="3.5" fill-opacity=".75"/>'
            for v in values
        )
        at = mean / most * (WIDE - 8) + 2
        rows.append(
            f'<text x="0" y="{y - 8}">{html.escape(name)}</text><text x="{WIDE}" y="{y - 8}" text-anchor="end">{mean:.2f} {html.escape(unit)}</text>'
            f'<line class="axis" x1="0" x2="{WIDE}" y1="{y}" y2="{y}"/>{marks}<line class="bound" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 6}" y2="{y + 6}"/>'
        )
    return Html(f'<svg viewBox="0 -2 {WIDE} {len(series) * step + 4}" role="img">{"".join(rows)}</svg>')
