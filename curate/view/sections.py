"""The sections of a report: each takes the facts and gives markup, or nothing where there is nothing to say."""

import json
import time
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from curate.dedup import keys
from curate.selector import identifier
from curate.view.charts import ranked, stacked, thinned
from curate.view.facts import Facts, Histogram, edge
from curate.view.grid import brief, captioned, documents, grouped
from curate.view.look import number, size
from curate.view.markup import PARTS, join, macros
from curate.view.progress import waiting
from curate.view.samples import groups, written
from curate.view.story import bounds, in_effect

SECTIONS = macros("sections.html")
NOTHING = Markup("")

#: Samples at each side of a threshold, groups of duplicates for each step, documents, captions.
SIDE, PAIRS, PAGES, CAPTIONS = 8, 6, 4, 8


def head(f: Facts) -> Markup:
    """Title, the numbers that everybody asks for, and how much of the run was looked at."""
    main = f.dataset.get("table", "images")
    kept, total = f.counts.get(main, {}).get("kept", 0), f.total.get(main, 0)
    tiles = [(f"{total:,}", f"{main} in"), (f"{kept:,}", "kept"), (f"{100 * kept / max(1, total):.1f} %", "of the rows")]
    if f.dataset.get("shards"):
        tiles += [
            (f"{f.dataset['samples']:,}", "samples"),
            (f"{len(f.dataset['shards']):,}", "shard" if len(f.dataset["shards"]) == 1 else "shards"),
            (size(f.dataset["bytes"]), "in the tars"),
        ]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(f.recipe["began"])) if "began" in f.recipe else ""
    words = [f.run.store.url, when, f"root hash {f.dataset['root_hash'][:16]}"]
    looked = f"Counts are of all rows. Everything else is of a sample: one part in {f.step}." if f.step > 1 else ""
    return SECTIONS.head(f.name, " · ".join(w for w in words if w), tiles, looked)


def funnel(f: Facts) -> Markup:
    """Rows in, dropped rule by rule, kept: every row once."""
    return SECTIONS.by_table([(t, _funnel(f, t)) for t in f.total], len(f.total) > 1)


def _funnel(f: Facts, name: str) -> Markup:
    total = left = f.total[name]
    asks = {s["step"]: bounds(s) for s in f.steps if s.get("table", "images") == name}
    rows = [("rows in", "", "", f"{total:,}", "", PARTS.bar([("keep", 1.0)]))]
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
                PARTS.bar([("keep", share[0]), ("drop", share[1])]),
            )
        )
    share = left / max(1, total)
    rows.append((SECTIONS.kept(), "", "", f"{left:,}", f"{100 * share:.2f} %", PARTS.bar([("keep", share)])))
    return SECTIONS.funnel(rows)


def _rule(rule: str, asks: str, reasons: list[tuple[str, int]]) -> Markup:
    """A rule by its name, with what it asks, and its reasons where they are not its name."""
    if len(reasons) == 1 and reasons[0][0] != f"document:{rule}":
        rule = reasons[0][0]
    return SECTIONS.rule(rule, asks, [(reason, f"{n:,}") for reason, n in reasons])


# ---- scores


def scores(f: Facts) -> Markup:
    """The histogram of each score, with its bound and a slider that moves it."""
    charts = {name: [_chart(h) for c in f.scores(name) if (h := f.histogram(name, c))] for name in f.total}
    words = (("keep", "kept"), ("drop", "dropped by this threshold"), ("other", "dropped by another step"))
    return SECTIONS.scores(PARTS.legend(words), _by_table(f, charts)) if any(charts.values()) else NOTHING


def _by_table(f: Facts, charts: dict[str, list[Markup]]) -> Markup:
    """The charts of the tables that have some, under their names where the run has several tables."""
    return SECTIONS.by_table([(t, PARTS.grid(of, "charts")) for t, of in charts.items() if of], len(f.total) > 1)


def _chart(h: Histogram) -> Markup:
    picture = stacked(h.edges, [("k", h.kept), ("d", h.mine), ("o", h.other)], [edge(b, h.whole) for b in h.bounds], h.low)
    signs = {"min": "≥", "max": "≤"}
    rules = "; ".join(f"{'' if b.rule == h.column else f'{b.rule} '}{signs[b.side]} {number(b.value)}" for b in h.bounds)
    tops = " · ".join(f"{100 - p}th\u00a0{number(v)}" for p, v in reversed(h.tops.items()))
    side = h.bounds[0].side if h.bounds else "min"
    at = min(range(len(h.edges)), key=lambda i: abs(h.edges[i] - (edge(h.bounds[0], h.whole) if h.bounds else h.edges[0])))
    data = {
        "edges": h.edges,
        "kept": h.kept,
        "mine": h.mine,
        "other": h.other,
        "side": side,
        "whole": h.whole,
        "at": at if h.bounds else -1,
        "setting": h.bounds[0].setting if h.bounds else "",
    }
    return SECTIONS.histogram(h, rules, picture, json.dumps(data), at, tops)


# ---- samples


def kept(f: Facts) -> Markup:
    """Kept samples."""
    found = f.samples.get("kept", [])
    if not found:
        return NOTHING
    bounded = list(dict.fromkeys(b.column for b in reversed(f.bounds) if b.column in f.scores("images")))
    return brief(found, (bounded or f.scores("images")[-2:])[:2])


def dropped(f: Facts) -> Markup:
    """Some samples of each reason, the most frequent reason first."""
    blocks = []
    for reason, n in sorted(f.counts.get("images", {}).items(), key=lambda c: (-c[1], c[0])):
        mine = f.samples.get(reason, [])
        if reason != "kept" and mine:
            score = [b.column for b in f.bounds if b.rule == reason] or [
                c for c in f.columns["images"] if c == reason or c.startswith(f"{reason}_")
            ]
            blocks.append(SECTIONS.folded(reason, f"{n:,} row{'s' * (n != 1)}", brief(mine, score[:2]), len(blocks) < 10))
    return join(blocks)


def borderline(f: Facts) -> Markup:
    """For each bound on the images' scores: who just passed, and who just did not."""
    blocks = []
    for bound in sorted(f.bounds, key=lambda b: -f.counts.get("images", {}).get(b.rule, 0)):
        if bound.column not in f.columns.get("images", {}) or f.columns["images"][bound.column] == "VARCHAR":
            continue
        passed, fell = f.near(bound, SIDE)
        if passed and fell:
            sides = [
                SECTIONS.titled(words, brief(side, [bound.column]))
                for words, side in (("just kept", passed), ("just dropped", fell))
            ]
            what = f"{bound.column} {'≥' if bound.side == 'min' else '≤'} {number(bound.value)}"
            blocks.append(SECTIONS.folded(bound.rule, what, join(sides), len(blocks) < 3))
    return join(blocks)


def duplicates(f: Facts) -> Markup:
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
        blocks.append(SECTIONS.titled(step, PARTS.grid(map(grouped, found), "pairs"), f"{n:,} duplicates"))
    return join(blocks)


def captions(f: Facts) -> Markup:
    """Raw captions beside those that models wrote."""
    made = written(f) if "images" in f.total else []
    cards = [c for c in f.samples.get("kept", []) if any(c.row.get(n) for n in made)][:CAPTIONS]
    return captioned(cards, made) if cards else NOTHING


def pages(f: Facts) -> Markup:
    """Kept web pages as they will be read."""
    return join(documents(f, PAGES, child=f.child)) if "documents" in f.total else NOTHING


# ---- what the rows are made of


def makeup(f: Facts) -> Markup:
    """Domains, languages, formats, resolutions: rows in beside rows kept."""
    charts = {t: [c for title, *how in _makings(f, t) if (c := _values(f, t, title, *how))] for t in f.total}
    words = PARTS.legend((("keep", "share of the rows kept"), ("other", "share of the rows in")))
    return words + _by_table(f, charts) if any(charts.values()) else NOTHING


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


def _values(f: Facts, name: str, title: str, expression: str, order: str = "-count(*)") -> Markup:
    rows = f.values(name, f"nullif(({expression})::varchar, '')", 8 if order.startswith("-") else 16, order)
    total, left = max(1, sum(r[1] for r in rows)), max(1, sum(r[2] for r in rows))
    if len(rows) < 2:
        return NOTHING
    most = max(max(n / total, k / left) for _, n, k in rows)
    lines = [
        (
            value,
            f"{100 * n / total:.1f} %",
            f"{100 * k / left:.1f} %",
            PARTS.bar([("other", n / total / most)]) + PARTS.bar([("keep", k / left / most)]),
        )
        for value, n, k in rows
    ]
    return PARTS.chart(title, "", PARTS.table(("", "in", "kept", ""), lines, (1, 2)))


def balance(f: Facts) -> Markup:
    """How even the groups are before and after, and what the selectors noted."""
    names = [n for n in f.columns.get("images", {}) if n.endswith("_cluster")] + (
        ["language"] if "language" in f.columns.get("images", {}) else []
    )
    charts = []
    for name in names:
        before, after = f.groups(name)
        if len(before) > 2 and sum(n > 0 for n in after) > 2:
            words = f"the largest tenth of the groups holds {_top(before):.0f} % of the rows before, {_top(after):.0f} % after"
            charts.append(PARTS.chart(name, words, ranked(thinned(before), thinned(after))))
    notes = f.recipe.get("notes", {})
    charts += [
        _entries(step, name, noted)
        for step, noted_lists in notes.items()
        for name, noted in noted_lists.get("lists", {}).items()
        if noted.get("ranked")
    ]
    flat = [(step, *line) for step, noted in notes.items() for line in _flat(noted)]
    if not charts and not flat:
        return NOTHING
    lines = SECTIONS.titled("What the selectors noted", PARTS.table(("step", "what", ""), flat)) if flat else NOTHING
    words = PARTS.legend((("other", "before"), ("keep", "after"))) if charts else NOTHING
    return words + (PARTS.grid(charts, "charts") if charts else NOTHING) + lines


def _entries(step: str, name: str, noted: dict[str, Any]) -> Markup:
    """The entries of a balance by rank, and the most frequent of them by name."""
    points = noted["ranked"]
    chart = ranked([(p["rank"], p["before"]) for p in points], [(p["rank"], p["after"]) for p in points], "entries")
    most = [(p["entry"], f"{p['before']:,}", f"{p['after']:,}") for p in points[:6]]
    words = f"rows by entry, from the most frequent entry on; t = {number(noted['t'])}"
    title = step if name == "all" else f"{step}: {name}"
    return PARTS.chart(title, words, chart + PARTS.table(("entry", "before", "after"), most, (1, 2)))


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


def speed(f: Facts) -> Markup:
    """Rows and seconds of each step in the last visit to the run; what was there before is counted as reused."""
    decided = {k: {"computed": d["rows"], "reused": 0, "seconds": d["seconds"]} for k, d in f.recipe.get("decided", {}).items()}
    counters = {**f.recipe.get("counters", {}), **decided}
    if not counters:
        return NOTHING
    longest = max((c["seconds"] for c in counters.values()), default=0) or 1
    rows = [
        (
            name,
            f"{int(c['computed']):,}",
            f"{int(c['reused']):,}",
            f"{c['seconds']:.1f}",
            f"{c['computed'] / c['seconds']:,.0f}" if c["seconds"] > 0.001 and c["computed"] else "–",
            waiting(c["busy"], c["waited"], c["cores"], c["batch"]) if c.get("busy") else "",
            PARTS.bar([("other", c["seconds"] / longest)]),
        )
        for name, c in counters.items()
    ]
    words = (
        f"The last visit took {f.recipe.get('seconds', 0):,.1f} s. Seconds of a stage are those of its workers, summed; of the first that "
        "reads pixels with those of the decoders, of all cores together; those of a selector are its own."
    )
    head = ("step", "rows computed", "reused", "seconds", "rows/s of a worker", "its model", "")
    return SECTIONS.sub(words) + PARTS.table(head, rows, (1, 2, 3, 4))


def recipe(f: Facts) -> Markup:
    """What ran: steps with parameters and fingerprints, inputs with hashes, versions."""
    steps = [
        (s["step"], s.get("class", ""), _parameters(in_effect(s)), SECTIONS.code(s.get("fingerprint", ""))) for s in f.steps
    ]
    inputs = [
        (i["path"], number(i.get("size")), i.get("hash", "")[:19], i.get("error") or number(sum(i["rows"].values())))
        for i in f.recipe.get("inputs", [])
    ]
    facts = [
        ("recipe fingerprint", f.recipe.get("fingerprint", "")),
        ("root hash", f.dataset["root_hash"]),
        ("source", _parameters({k: v for k, v in f.recipe.get("source", {}).items() if k not in ("class", "paths")})),
        ("shards", _parameters({k: v for k, v in (f.recipe.get("shards") or {}).items() if k != "class"})),
        ("versions", ", ".join(f"{k} {v}" for k, v in f.recipe.get("versions", {}).items())),
    ]
    return SECTIONS.recipe(steps, inputs[:20], len(inputs) - 20, facts)


def _parameters(values: dict) -> str:
    stated = {k: v for k, v in values.items() if v not in (None, "", [], {}, False)}
    return ", ".join(f"{k} = {_note(v) if not isinstance(v, str) else v}" for k, v in stated.items()) or "–"
