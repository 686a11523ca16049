"""Queries for the report over a run's tables: counts over all rows, everything else over a sample of whole parts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb

from curate.fetch.isolate import Isolated
from curate.selector import coin_sql, identifier, quoted
from curate.view import views
from curate.view.bounds import Bound, bounds_of
from curate.view.run import Run
from curate.view.samples import QUIET, Card, cards, columns, light

#: Columns that say how a row came here; no histogram or table of values is made of them.
PLUMBING = QUIET | {
    "status",
    "seed",
    "alt",
    "title",
    "figcaption",
    "dom_path",
    "link",
    "origin",
    "level",
    "candidates",
    "source_offset",
    "captured_at",
    "start",
    "end",
    "at",
    "fps",
    "video_seconds",
    "charset",
    "thumbnail",
    "copies",
}
BINS = 48
#: Columns of a list that a report looks at, besides those that steps read: each is a question about all rows.
LISTED = 50

#: Samples that are drawn of the kept rows, and of each reason.
KEPT, EACH = 24, 8


@dataclass
class Histogram:
    """Rows with a value of one column, by bin: kept, dropped by a rule that bounds this column, dropped by another one."""

    table: str
    column: str
    edges: list[float]
    kept: list[int]
    mine: list[int]
    other: list[int]
    bounds: list[Bound]
    whole: bool  # whole numbers: a bin is [k, k+1)
    low: float  # the least value drawn where it lies within the first bin
    tops: dict[int, float]  # percent of the rows with a value -> the value that so many reach


class Facts:
    """A run, and a sample of its ledger: at most `rows` rows of each table, in whole parts spread evenly over the pool."""

    def __init__(self, run: Run, rows: int):
        self.run, self.store, self.recipe, self.dataset = run, run.store, run.recipe, run.dataset
        self.name = self.recipe.get("name") or "run"
        self.counts: dict[str, dict[str, int]] = self.recipe.get("rows", {})
        self.total = {t: sum(c.values()) for t, c in self.counts.items()}
        most = max(self.total.values(), default=0)
        self.step = max(1, math.ceil(most / rows))
        self.con = run.con if self.step == 1 else views.connect(run.store, lambda names: names[:: self.step])
        self.child = Isolated()
        self.steps: list[dict[str, Any]] = self.recipe.get("steps", [])

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """A query over the sample; `edges`, `shards` are whole."""
        return self.con.sql(query)

    def rows(self, query: str) -> list[dict[str, Any]]:
        return self.con.sql(query).to_arrow_table().to_pylist()

    @cached_property
    def columns(self) -> dict[str, dict[str, str]]:
        """For each table its columns with their DuckDB types; of a list's own those that steps read, and the first few."""
        read = {c for s in self.steps for c in (s.get("column"), *(s.get("columns") or ())) if isinstance(c, str)}
        found = {t: columns(self, t) for t in self.total}
        listed = {t: [n for n in names if n.startswith("source_") and n not in read | PLUMBING] for t, names in found.items()}
        return {t: {n: k for n, k in names.items() if n not in listed[t][LISTED:]} for t, names in found.items()}

    # ---- rules and reasons

    def rules(self, table: str) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        """The rules of a table in order, each with its reasons and their rows; rules that dropped nothing are there too."""
        counts = dict(self.counts[table])
        counts.pop("kept", None)
        # A reason that several steps gave is that of the one with the most rows.
        home = {
            r["drop_reason"]: r["drop_stage"]
            for r in self.rows(f"""select drop_reason, drop_stage from {table} where not kept group by drop_reason, drop_stage
            qualify row_number() over (partition by drop_reason order by count(*) desc, drop_stage) = 1""")
        }
        # A document's rule takes its children along where it stands in the recipe.
        names = ["source", *(s["step"] for s in self.steps if s.get("table", "images") == table or s["step"] in home.values())]
        names += sorted({home.get(r) or r.split(":")[0] for r in counts} - set(names))
        for name in names:
            mine = sorted(
                ((r, n) for r, n in counts.items() if (home.get(r) or r.split(":")[0]) == name), key=lambda c: (-c[1], c[0])
            )
            if mine or name != "source":
                yield name, mine

    @cached_property
    def bounds(self) -> list[Bound]:
        """The bounds on columns of numbers: that of an embedding is one on a cosine."""
        return [b for b in bounds_of(self.recipe) if not any(c.get(b.column, "").endswith("[]") for c in self.columns.values())]

    # ---- histograms

    def scores(self, table: str) -> list[str]:
        """The numeric columns that a step added, those with a bound first, in the order of the recipe."""
        order = {b.column: i for i, b in reversed(list(enumerate(self.bounds)))}
        numeric = ("INTEGER", "BIGINT", "SMALLINT", "TINYINT", "FLOAT", "DOUBLE")
        names = [
            n
            for n, kind in self.columns[table].items()
            if kind in numeric and n not in PLUMBING and not n.endswith(("_position", "_cluster"))
        ]
        return sorted(names, key=lambda n: order.get(n, 10**6))

    def histogram(self, table: str, column: str) -> Histogram | None:
        """None where no row has a value, or all have the same and nothing bounds it."""
        bounds = [
            b
            for b in self.bounds
            if b.column == column
            and any(b.rule in (s["step"], s.get("reason")) and s.get("table", "images") == table for s in self.steps)
        ]
        name, whole = identifier(column), self.columns[table][column] not in ("FLOAT", "DOUBLE")
        valid = f"{name} is not null" + ("" if whole else f" and isfinite({name})")
        low, high, count, *tops = (
            self.con.sql(f"""select quantile_cont({name}, 0.002)::double, quantile_cont({name}, 0.998)::double, count(*),
            {", ".join(f"quantile_disc({name}, {1 - p / 100})::double" for p in TOPS)} from {table} where {valid}""").fetchall()[
                0
            ]
        )
        if not count or (low == high and not bounds):
            return None
        low = math.floor(low) if whole else low
        edges = bins(low, high, bounds, whole)
        rules = ", ".join(quoted(b.rule) for b in bounds) or "''"
        place = f"({name}::double - {edges[0]!r}) / {edges[1] - edges[0]!r}"
        # A bin holds the value at the end where the bound keeps it.
        at = f"ceil({place} - 1e-9) - 1" if bounds and bounds[0].side == "max" and not whole else f"floor({place} + 1e-9)"
        found = self.con.sql(f"""select greatest(0, least({len(edges) - 2}, {at}))::int as bin,
            count(*) filter (kept), count(*) filter (not kept and drop_reason in ({rules})), count(*) filter (not kept and drop_reason not in ({rules}))
            from {table} where {valid} group by all""").fetchall()
        series = [[0] * (len(edges) - 1) for _ in range(3)]
        for i, *values in found:
            for counts, n in zip(series, values):
                counts[i] = n
        return Histogram(table, column, edges, *series, bounds, whole, max(low, edges[0]), dict(zip(TOPS, tops)))

    # ---- samples

    @cached_property
    def samples(self) -> dict[str, list[Card]]:
        """For each reason (and `kept`) some rows of images, drawn by a hash of their uid."""
        if "images" not in self.total:
            return {}
        drawn = self.rows(f"""select coalesce(drop_reason, 'kept') as reason, arg_min(uid, {coin_sql("uid", 0, "show")}, {KEPT}) as uids
            from images group by all""")
        found = [{"reason": r["reason"], "uids": r["uids"][: KEPT if r["reason"] == "kept" else EACH]} for r in drawn]
        shown = self.cards({u for r in found for u in r["uids"]})
        mine: dict[str, dict[str, Card]] = {}
        for card in shown:
            mine.setdefault(card.row["drop_reason"] or "kept", {})[card.row["uid"]] = card
        return {
            r["reason"]: [mine[r["reason"]][u] for u in dict.fromkeys(r["uids"]) if u in mine.get(r["reason"], {})]
            for r in found
        }

    def near(self, bound: Bound, n: int) -> tuple[list[Card], list[Card]]:
        """The n rows nearest to a bound on either side: those that passed it, and those that it dropped. A coin parts rows as near."""
        column = identifier(bound.column)
        far = f"""{{'by': abs({column} - {bound.value!r})::double, 'coin': {coin_sql("uid", 0, "show")}}}"""
        inside = f"{column} {'>=' if bound.side == 'min' else '<='} {bound.value!r}"
        passed, fell = self.con.sql(f"""select arg_min(uid, {far}, {n}) filter ({inside} and kept), arg_min(uid, {far}, {n})
            filter (not {inside} and drop_reason = {quoted(bound.rule)}) from images""").fetchall()[0]
        shown = self.cards({*(passed or ()), *(fell or ())})
        order = {u: i for i, u in enumerate([*(passed or ()), *(fell or ())])}
        ranked = sorted({c.row["uid"]: c for c in shown}.values(), key=lambda c: order[c.row["uid"]])
        return [c for c in ranked if c.row["kept"]], [c for c in ranked if c.row["drop_reason"] == bound.rule]

    def cards(self, uids: set[str], side: int = 200) -> list[Card]:
        if not uids:
            return []
        listed = ", ".join(quoted(u) for u in sorted(uids))
        return cards(
            self.run.store,
            self.rows(f"select {light(self)} from images where uid in ({listed}) order by kept desc, uid"),
            side,
            self.child,
        )

    # ---- what the rows are made of

    def values(self, table: str, expression: str, n: int = 8, order: str = "-count(*)") -> list[tuple[str, int, int]]:
        """The most frequent values of an expression, or the first ones in an order: rows in, rows kept; the rest as `others`."""
        found = self.con.sql(f"""with each as (select ({expression})::varchar as v, count(*) as n, count(*) filter (kept) as k, {order} as o
            from {table} group by 1 having v is not null)
            select v, n, k, (sum(n) over ())::bigint, (sum(k) over ())::bigint from each order by o, v limit {n}""").fetchall()
        rows = [row[:3] for row in found]
        rest = [found[0][at + 2] - sum(r[at] for r in rows) for at in (1, 2)] if found else [0]
        return rows + ([("others", *rest)] if rest[0] else [])

    def words(self, table: str) -> list[str]:
        """The string columns with few values, like a language, a licence or a format."""
        names = [
            n
            for n, kind in self.columns[table].items()
            if kind == "VARCHAR" and n not in (PLUMBING - {"mime"}) and not n.startswith("caption_")
        ]
        if not names:
            return []
        counts = self.con.sql(
            f"""select {", ".join(f"approx_count_distinct({identifier(n)})" for n in names)} from {table}"""
        ).fetchall()[0]
        return [n for n, c in zip(names, counts) if 1 < c <= 300]

    def groups(self, column: str) -> tuple[list[int], list[int]]:
        """The sizes of the groups of a column, before and after, largest first."""
        name = identifier(column)
        found = self.con.sql(
            f"select count(*) as n, count(*) filter (kept) as k from images where {name} is not null group by {name}"
        ).fetchall()
        return sorted((n for n, _ in found), reverse=True), sorted((k for _, k in found), reverse=True)


#: Shares in percent for which the histogram names the value that so many rows reach.
TOPS = (10, 30, 50, 70, 90)


def bins(low: float, high: float, bounds: list[Bound], whole: bool) -> list[float]:
    """Edges of about BINS bins over [low, high] and the bounds; the first bound is an edge."""
    at = [edge(b, whole) for b in bounds]
    low, high = min([low, *at]), max([high, *at])
    if whole:
        low, high = math.floor(low), math.floor(high) + 1
    width = (high - low) / BINS or max(abs(low), 1.0) / BINS
    if whole:
        width = math.ceil(width)
    start = at[0] - math.ceil((at[0] - low) / width - 1e-9) * width if at else low
    return [start + i * width for i in range(max(1, math.ceil((high - start) / width - 1e-9)) + 1)]


def edge(bound: Bound, whole: bool) -> float:
    """Where a bound parts the bins: of whole numbers, `max 3` keeps the bin [3, 4)."""
    return bound.value + 1 if whole and bound.side == "max" else bound.value
