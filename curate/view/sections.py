"""The sections of a report: each takes the facts and gives markup, or nothing where there is nothing to say."""

import json
import time
from collections.abc import Iterator
from typing import Any

from curate.dedup import keys
from curate.selector import identifier
from curate.view.facts import Facts, Histogram, edge
from curate.view.grid import brief, captioned, documents, grid, grouped
from curate.view.look import Html, bar, fill, join, legend, number, ranked, size, stacked, table, thinned
from curate.view.progress import waiting
from curate.view.samples import groups, written
from curate.view.story import bounds, in_effect

#: Samples at each side of a threshold, groups of duplicates for each step, documents, captions.
SIDE, PAIRS, PAGES, CAPTIONS = 8, 6, 4, 8


def head(f: Facts) -> Html:
    """Title, the numbers that everybody asks for, and how much of the run was looked at."""
    main = f.dataset.get("table", "images")
    kept, total = f.counts.get(main, {}).get("kept", 0), f.total.get(main, 0)
    tiles = [(f"{total:,}", f"{main} in"), (f"{kept:,}", "kept"), (f"{100 * kept / max(1, total):.1f} %", "of the rows")]
    if f.dataset.get("shards"):
        tiles += [
            (f"{f.dataset['samples']:,}", "samples"),
            (f"{len(f.dataset['shards']):,}", "shards"),
            (size(f.dataset["bytes"]), "in the tars"),
        ]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(f.recipe["began"])) if "began" in f.recipe else ""
    words = [f.run.store.url, when, f"root hash {f.dataset['root_hash'][:16]}"]
    looked = f"Counts are of all rows. Everything else is of a sample: one part in {f.step}." if f.step > 1 else ""
    return fill(
        '<h1>{}</h1><p class="sub">{}</p><div class="tiles">{}</div>{}',
        f.name,
        " · ".join(w for w in words if w),
        join(fill('<div class="tile"><b>{}</b>{}</div>', value, name) for value, name in tiles),
        fill('<p class="sub">{}</p>', looked) if looked else "",
    )


def funnel(f: Facts) -> Html:
    """Rows in, dropped rule by rule, kept: every row once."""
    return join(_funnel(f, t) for t in f.total)


def _funnel(f: Facts, name: str) -> Html:
    total = left = f.total[name]
    asks = {s["step"]: bounds(s) for s in f.steps if s.get("table", "images") == name}
    rows = [("rows in", "", "", f"{total:,}", "", bar(("keep", 1.0)))]
    for rule, reasons in f.rules(name):
        gone, came = sum(n for _, n in reasons), left
        left -= gone
        share = (left / max(1, total), gone / max(1, total))
        rows.append(
            (
                _rule(rule, asks.get(rule, ""), reasons),
                f"−{gone:,}" if gone else "0",
                f"{100 * gone / max(1, came):.2f} %",
                f"{left:,}",
                f"{100 * share[0]:.2f} %",
                bar(("keep", share[0]), ("drop", share[1])),
            )
        )
    share = left / max(1, total)
    rows.append((Html('<b class="keep">kept</b>'), "", "", f"{left:,}", f"{100 * share:.2f} %", bar(("keep", share))))
    heading = fill("<h3>{}</h3>", name) if len(f.total) > 1 else ""
    head = ("step", "dropped", "of those that reach it", "left", "of all", "")
    return fill('{}<div class="funnel">{}</div>', heading, table(head, rows, numbers=[1, 2, 3, 4]))


def _rule(rule: str, asks: str, reasons: list[tuple[str, int]]) -> Html:
    """A rule by its name, with what it asks, and its reasons where they are not its name."""
    if len(reasons) == 1 and reasons[0][0] != f"document:{rule}":
        rule = reasons[0][0]
    words = fill("{}{}", rule, fill("<span>{}</span>", asks) if asks else "")
    if len(reasons) < 2:
        return words
    inner = table(("reason", "rows"), [(r, f"{n:,}") for r, n in reasons], numbers=[1])
    return fill("<details><summary>{}<span>{} reasons</span></summary>{}</details>", rule, len(reasons), inner)


# ---- scores


def scores(f: Facts) -> Html:
    """The histogram of each score, with its bound and a slider that moves it."""
    blocks = []
    for name in f.total:
        charts = [_chart(h) for c in f.scores(name) if (h := f.histogram(name, c))]
        heading = fill("<h3>{}</h3>", name) if len(f.total) > 1 else ""
        blocks += [fill("{}{}", heading, grid(charts, "charts"))] if charts else []
    if not blocks:
        return Html("")
    words = fill(
        '<p class="sub">Rows that have the score. A dashed line is the threshold; the slider shows what another one would do, and the option that applies it.</p>{}',
        legend(("keep", "kept"), ("drop", "dropped by this threshold"), ("other", "dropped by another step")),
    )
    return fill("{}{}", words, join(blocks))


def _chart(h: Histogram) -> Html:
    picture = stacked(h.edges, [("k", h.kept), ("d", h.mine), ("o", h.other)], [edge(b, h.whole) for b in h.bounds], h.low)
    signs = {"min": "≥", "max": "≤"}
    rules = "; ".join(f"{'' if b.rule == h.column else f'{b.rule} '}{signs[b.side]} {number(b.value)}" for b in h.bounds)
    tops = " · ".join(f"{100 - p}th\u00a0{number(v)}" for p, v in reversed(h.tops.items()))
    side = h.bounds[0].side if h.bounds else "min"
    at = min(range(len(h.edges)), key=lambda i: abs(h.edges[i] - (edge(h.bounds[0], h.whole) if h.bounds else h.edges[0])))
    data = json.dumps(
        {
            "edges": h.edges,
            "kept": h.kept,
            "mine": h.mine,
            "other": h.other,
            "side": side,
            "whole": h.whole,
            "at": at if h.bounds else -1,
            "setting": h.bounds[0].setting if h.bounds else "",
        }
    )
    return fill(
        '<div class="chart" data-bins="{}"><h3>{}</h3><div class="dim">{}</div>{}<input type="range" min="0" max="{}" value="{}" '
        'aria-label="threshold of {}"><output></output><div class="dim">percentiles: {}</div></div>',
        data,
        h.column,
        rules or "no threshold",
        picture,
        len(h.edges) - 1,
        at,
        h.column,
        tops,
    )


# ---- samples


def kept(f: Facts) -> Html:
    """Kept samples."""
    found = f.samples.get("kept", [])
    if not found:
        return Html("")
    bounded = list(dict.fromkeys(b.column for b in reversed(f.bounds) if b.column in f.scores("images")))
    return brief(found, (bounded or f.scores("images")[-2:])[:2])


def dropped(f: Facts) -> Html:
    """Some samples of each reason, the most frequent reason first."""
    blocks = []
    for reason, n in sorted(f.counts.get("images", {}).items(), key=lambda c: (-c[1], c[0])):
        mine = f.samples.get(reason, [])
        if reason != "kept" and mine:
            score = [b.column for b in f.bounds if b.rule == reason] or [
                c for c in f.columns["images"] if c == reason or c.startswith(f"{reason}_")
            ]
            blocks.append(
                fill(
                    '<details{}><summary><b>{}</b> <span class="dim">{:} rows</span></summary>{}</details>',
                    Html(" open" if len(blocks) < 10 else ""),
                    reason,
                    f"{n:,}",
                    brief(mine, score[:2]),
                )
            )
    return join(blocks)


def borderline(f: Facts) -> Html:
    """For each bound on the images' scores: who just passed, and who just did not."""
    blocks = []
    for bound in sorted(f.bounds, key=lambda b: -f.counts.get("images", {}).get(b.rule, 0)):
        if bound.column not in f.columns.get("images", {}) or f.columns["images"][bound.column] == "VARCHAR":
            continue
        passed, fell = f.near(bound, SIDE)
        if passed and fell:
            sides = join(
                fill("<h3>{}</h3>{}", words, brief(side, [bound.column]))
                for words, side in (("just kept", passed), ("just dropped", fell))
            )
            blocks.append(
                fill(
                    '<details{}><summary><b>{}</b> <span class="dim">{} {} {}</span></summary>{}</details>',
                    Html(" open" if len(blocks) < 3 else ""),
                    bound.rule,
                    bound.column,
                    "≥" if bound.side == "min" else "≤",
                    number(bound.value),
                    sides,
                )
            )
    return join(blocks)


def duplicates(f: Facts) -> Html:
    """Groups of duplicates of each step: the copy that was kept with those dropped for it; half of them the least alike."""
    blocks = []
    for step in [
        r["step"]
        for r in f.rows(
            "select step, count(*) as n from edges where step <> 'duplicate_uid' group by all order by n desc, step"
        )
    ]:
        n = f.con.sql("select count(*) from edges where step = $1", params=[step]).fetchall()[0][0]
        found = groups(f, step, PAIRS, f.child)
        blocks.append(
            fill('<h3>{} <span class="dim">{} duplicates</span></h3>{}', step, f"{n:,}", grid(map(grouped, found), "pairs"))
        )
    return join(blocks)


def captions(f: Facts) -> Html:
    """Raw captions beside those that models wrote."""
    made = written(f) if "images" in f.total else []
    cards = [c for c in f.samples.get("kept", []) if any(c.row.get(n) for n in made)][:CAPTIONS]
    return captioned(cards, made) if cards else Html("")


def pages(f: Facts) -> Html:
    """Kept web pages as they will be read."""
    return join(documents(f, PAGES, child=f.child)) if "documents" in f.total else Html("")


# ---- what the rows are made of


def makeup(f: Facts) -> Html:
    """Domains, languages, formats, resolutions: rows in beside rows kept."""
    blocks = []
    for name in f.total:
        charts = [c for title, *how in _makings(f, name) if (c := _values(f, name, title, *how))]
        heading = fill("<h3>{}</h3>", name) if len(f.total) > 1 else ""
        blocks += [fill("{}{}", heading, grid(charts, "charts"))] if charts else []
    return (
        fill("{}{}", legend(("keep", "share of the rows kept"), ("other", "share of the rows in")), join(blocks))
        if blocks
        else Html("")
    )


def _makings(f: Facts, name: str) -> Iterator[tuple[str, ...]]:
    """What a table is made of: a title, an SQL expression, and the order of its values where that is not by frequency."""
    if "url" in f.columns[name]:
        yield "domain", keys.sql("host(url)")
    for word in f.words(name):
        yield word, identifier(word)
    if "original_width" in f.columns[name]:
        side = "least(original_width, original_height)"
        power = f"case when {side} is null then null else (2 ** floor(log2(greatest({side}, 1))))::bigint end"
        yield "shorter side, pixels", f"{power} || '–' || (2 * {power} - 1)", f"min({side})"


def _values(f: Facts, name: str, title: str, expression: str, order: str = "-count(*)") -> Html:
    rows = f.values(name, f"nullif(({expression})::varchar, '')", 8 if order.startswith("-") else 16, order)
    total, left = max(1, sum(r[1] for r in rows)), max(1, sum(r[2] for r in rows))
    if len(rows) < 2:
        return Html("")
    most = max(max(n / total, k / left) for _, n, k in rows)
    lines = [
        (
            value,
            f"{100 * n / total:.1f} %",
            f"{100 * k / left:.1f} %",
            fill("{}{}", bar(("other", n / total / most)), bar(("keep", k / left / most))),
        )
        for value, n, k in rows
    ]
    return fill('<div class="chart"><h3>{}</h3>{}</div>', title, table(("", "in", "kept", ""), lines, numbers=[1, 2]))


def balance(f: Facts) -> Html:
    """How even the groups are before and after, and what the selectors noted."""
    names = [n for n in f.columns.get("images", {}) if n.endswith("_cluster")] + (
        ["language"] if "language" in f.columns.get("images", {}) else []
    )
    charts = []
    for name in names:
        before, after = f.groups(name)
        if len(before) > 2 and sum(n > 0 for n in after) > 2:
            words = f"the largest tenth of the groups holds {_top(before):.0f} % of the rows before, {_top(after):.0f} % after"
            charts.append(_balanced(name, words, ranked(thinned(before), thinned(after))))
    notes = f.recipe.get("notes", {})
    charts += [
        _entries(step, name, noted)
        for step, noted_lists in notes.items()
        for name, noted in noted_lists.get("lists", {}).items()
        if noted.get("ranked")
    ]
    flat = [(step, *line) for step, noted in notes.items() for line in _flat(noted)]
    if not charts and not flat:
        return Html("")
    lines = fill("<h3>What the selectors noted</h3>{}", table(("step", "what", ""), flat)) if flat else ""
    words = legend(("other", "before"), ("keep", "after")) if charts else ""
    return fill("{}{}{}", words, grid(charts, "charts") if charts else "", lines)


def _balanced(title: str, words: str, chart: Html) -> Html:
    return fill('<div class="chart"><h3>{}</h3><div class="dim">{}</div>{}</div>', title, words, chart)


def _entries(step: str, name: str, noted: dict[str, Any]) -> Html:
    """The entries of a balance by rank, and the most frequent of them by name."""
    points = noted["ranked"]
    chart = ranked([(p["rank"], p["before"]) for p in points], [(p["rank"], p["after"]) for p in points], "entries")
    head = table(
        ("entry", "before", "after"), [(p["entry"], f"{p['before']:,}", f"{p['after']:,}") for p in points[:6]], numbers=[1, 2]
    )
    title = step if name == "all" else f"{step}: {name}"
    return _balanced(
        title, f"rows by entry, from the most frequent entry on; t = {number(noted['t'])}", fill("{}{}", chart, head)
    )


def _flat(noted: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Notes within notes, a line each; long lists are left out."""
    for key, value in noted.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key} · ")
        elif not (isinstance(value, list) and len(value) > 8) and key != "ranked":
            yield f"{before}{key}", _note(value)


def _top(counts: list[int]) -> float:
    """Percent of the rows that the largest tenth of the groups holds."""
    return 100 * sum(counts[: max(1, len(counts) // 10)]) / max(1, sum(counts))


def _note(value: object) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return number(value)


# ---- how it ran


def speed(f: Facts) -> Html:
    """Rows and seconds of each step in the last visit to the run; what was there before is counted as reused."""
    decided = {k: {"computed": d["rows"], "reused": 0, "seconds": d["seconds"]} for k, d in f.recipe.get("decided", {}).items()}
    counters = {**f.recipe.get("counters", {}), **decided}
    if not counters:
        return Html("")
    longest = max((c["seconds"] for c in counters.values()), default=0) or 1
    rows = [
        (
            name,
            f"{int(c['computed']):,}",
            f"{int(c['reused']):,}",
            f"{c['seconds']:.1f}",
            f"{c['computed'] / c['seconds']:,.0f}" if c["seconds"] > 0.001 and c["computed"] else "–",
            waiting(c["busy"], c["waited"], c["cores"], c["batch"]) if c.get("busy") else "",
            bar(("other", c["seconds"] / longest)),
        )
        for name, c in counters.items()
    ]
    words = (
        f"The last visit took {f.recipe.get('seconds', 0):,.1f} s. Seconds of a stage are those of its workers, summed; of the first that "
        "reads pixels with those of the decoders, of all cores together; those of a selector are its own."
    )
    return fill(
        '<p class="sub">{}</p>{}',
        words,
        table(
            ("step", "rows computed", "reused", "seconds", "rows/s of a worker", "its model", ""), rows, numbers=[1, 2, 3, 4]
        ),
    )


def recipe(f: Facts) -> Html:
    """What ran: steps with parameters and fingerprints, inputs with hashes, versions."""
    steps = [
        (
            s["step"],
            s.get("class", ""),
            _parameters(in_effect(s)),
            fill("<code>{}</code>", s.get("fingerprint", "")),
        )
        for s in f.steps
    ]
    inputs = [
        (i["path"], number(i.get("size")), i.get("hash", "")[:19], i.get("error") or number(sum(i["rows"].values())))
        for i in f.recipe.get("inputs", [])
    ]
    more = len(inputs) - 20
    facts = [
        ("recipe fingerprint", f.recipe.get("fingerprint", "")),
        ("root hash", f.dataset["root_hash"]),
        ("source", _parameters({k: v for k, v in f.recipe.get("source", {}).items() if k not in ("class", "paths")})),
        ("shards", _parameters({k: v for k, v in (f.recipe.get("shards") or {}).items() if k != "class"})),
        ("versions", ", ".join(f"{k} {v}" for k, v in f.recipe.get("versions", {}).items())),
    ]
    return fill(
        "{}<h3>Input</h3>{}{}<h3>Record</h3>{}",
        table(("step", "class", "parameters", "fingerprint"), steps),
        table(("file", "bytes", "hash", "rows"), inputs[:20], numbers=[1, 3]),
        fill('<p class="sub">and {} more files</p>', f"{more:,}") if more > 0 else "",
        table(("", ""), facts),
    )


def _parameters(values: dict) -> str:
    stated = {k: v for k, v in values.items() if v not in (None, "", [], {}, False)}
    return ", ".join(f"{k} = {_note(v) if not isinstance(v, str) else v}" for k, v in stated.items()) or "–"
