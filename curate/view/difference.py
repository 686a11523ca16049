"""`curate diff`: compares two runs over one pool: the rows that only one of them keeps, and the rules responsible."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
from markupsafe import Markup

from curate.errors import PoolError, RecipeError
from curate.fetch.isolate import Isolated
from curate.select.database import scan
from curate.selector import coin_sql, quoted
from curate.view.grid import brief, put
from curate.view.markup import macros, page
from curate.view.run import Run
from curate.view.samples import cards, light

#: A row that the other run has never seen.
ABSENT = "not in its input"

PICTURES = 8


@dataclass
class Change:
    """Rows that changed side for one reason: `entered` are kept by the second run only, `left` by the first only."""

    reason: str  # why the run that does not keep them dropped them
    side: str
    rows: int
    uids: list[str]  # some, drawn by a hash


def flat(parameters: dict[str, Any], head: str = "") -> dict[str, Any]:
    """Parameters with those of parameters under names with dots, as `--set` has them."""
    found = {}
    for name, value in parameters.items():
        found |= flat(value, f"{head}{name}.") if isinstance(value, dict) else {head + name: value}
    return found


def shown(value: Any) -> str:
    """A parameter as `--set` takes it."""
    if isinstance(value, list):
        return ",".join(map(shown, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


class Difference:
    """What the second run keeps that the first does not, and the other way round."""

    def __init__(self, first: Run, second: Run):
        self.first, self.second = first, second
        self.table, other = (run.dataset.get("table", "images") for run in (first, second))
        if self.table != other:
            raise RecipeError(f"the samples of {first.store.url} are {self.table}, those of {second.store.url} {other}")
        folder = f"ledger/{self.table}"
        self.con = duckdb.connect()
        for name, run in (("a", first), ("b", second)):
            if not run.store.local:
                self.con.register_filesystem(run.store.fs)
            files = [f"{folder}/{n}" for n in run.store.names(folder)]
            if not files:
                raise PoolError(f"{run.store.url}: there is no ledger of {self.table} here")
            self.con.execute(f"create view {name} as select uid, kept, drop_reason from {scan(run.store, files)}")

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """Rows kept by the first, by the second, by both."""
        return self.con.sql("""select (select count(*) from a where kept), (select count(*) from b where kept),
            (select count(*) from a join b using (uid) where a.kept and b.kept)""").fetchall()[0]

    @cached_property
    def changes(self) -> list[Change]:
        """Every change of side, by the reason that the run which dropped the rows gives; most rows first."""
        found = []
        for side, keeps, drops in (("entered", "b", "a"), ("left", "a", "b")):
            rows = self.con.sql(f"""with alone as (select uid from {keeps} where kept except select uid from {drops} where kept),
                why as (select uid, arg_min(drop_reason, drop_reason = 'duplicate_uid') as reason from {drops} semi join alone using (uid) group by uid)
                select coalesce(why.reason, {quoted(ABSENT)}) as reason, count(*) as n,
                       arg_min(alone.uid, {coin_sql("alone.uid", 0, "show")}, {PICTURES}) as uids
                from alone left join why using (uid) group by all order by n desc, reason""").fetchall()
            found += [Change(reason, side, n, uids) for reason, n, uids in rows]
        return found

    def parameters(self) -> list[tuple[str, str, str, str]]:
        """Where the two recipes differ: step, parameter, first, second."""
        one, two = ({s["step"]: s for s in run.recipe.get("steps", [])} for run in (self.first, self.second))
        found = []
        for step in [*one, *(s for s in two if s not in one)]:
            a, b = one.get(step), two.get(step)
            if a is None or b is None:
                found.append((step, "", "absent" if a is None else "present", "absent" if b is None else "present"))
                continue
            a, b = (flat({k: v for k, v in s.items() if k not in ("fingerprint", "adds")}) for s in (a, b))
            found += [(step, k, shown(a.get(k)), shown(b.get(k))) for k in {**a, **b} if a.get(k) != b.get(k)]
        return found

    def as_text(self) -> str:
        """The difference for a terminal."""
        a, b, both = self.counts
        lines = [f"{run.store.url}: {n:,} {self.table} kept" for run, n in ((self.first, a), (self.second, b))]
        lines.append(f"both: {both:,}")
        lines += [f"  {step} {key}: {x} → {y}" for step, key, x, y in self.parameters()]
        for side, words in (
            ("entered", "entered; the first run dropped them for"),
            ("left", "left; the second run dropped them for"),
        ):
            mine = [c for c in self.changes if c.side == side]
            lines.append(f"{sum(c.rows for c in mine):,} {words}" if mine else f"none {side}")
            lines += [f"  {c.reason:<34}{c.rows:>12,}" for c in mine]
        return "\n".join(lines)

    def as_html(self) -> str:
        """The difference with pictures."""
        a, b, both = self.counts
        tiles = [
            (a, f"{self.table} kept by {self.first.store.url}"),
            (b, f"{self.table} kept by {self.second.store.url}"),
            (both, "kept by both"),
            (b - both, "entered"),
            (a - both, "left"),
        ]
        with Isolated() as child:
            sides = [
                (side, [(c, self._pictures(c, run, child)) for c in self.changes if c.side == side])
                for side, run in (("entered", self.second), ("left", self.first))
            ]
        return page("what changed", macros("difference.html").difference(tiles, self.parameters(), sides), "enlarge.js")

    def _pictures(self, change: Change, run: Run, child: Isolated) -> Markup:
        listed = ", ".join(quoted(u) for u in change.uids)
        rows = (
            run.sql(f"select {light(run, self.table)} from {self.table} where kept and uid in ({listed}) order by uid")
            .to_arrow_table()
            .to_pylist()
        )
        bounded = [
            s.get("column") or s["step"] for s in run.recipe.get("steps", []) if change.reason in (s["step"], s.get("reason"))
        ]
        return brief(cards(run.store, rows, 200, child), [c for c in bounded if rows and c in rows[0]])

    def write(self, out: str | None) -> str:
        """Write the page beside the second run's report; returns where it is."""
        return put(self.second, self.as_html(), "diff.html", out)
