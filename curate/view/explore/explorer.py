"""The API of `curate explore` as JSON values: rows, columns, pictures, histories, groups of duplicates, the map, thresholds."""

import math
import threading
from dataclasses import asdict
from datetime import date, datetime
from functools import cached_property
from typing import Any

from curate.errors import RecipeError
from curate.fetch.isolate import Isolated
from curate.selector import identifier, quoted
from curate.store.slices import read_slices
from curate.view.bounds import bounds_of
from curate.view.describe import missing, words
from curate.view.explore import thresholds
from curate.view.explore.query import MOST, NUMBERS, Query, known, parse, whole
from curate.view.explore.vectors import Vectors, embedding_of
from curate.view.reading import at_rest
from curate.view.run import Run, open_run
from curate.view.samples import QUIET, columns, light, small
from curate.view.story import fate, stories_of

#: Embeddings that are kept in memory, bins of a histogram, values of a column that are listed.
EMBEDDINGS, BINS, VALUES = 100_000, 40, 40
#: Groups of duplicates on a page, and members of each that are shown.
GROUPS, MEMBERS = 20, 12
#: A whole number of JavaScript; larger ones are sent as text.
_WHOLE = 2**53

_WHERE = ("payload", "payload_offset", "payload_size")


class Explorer:
    """A finished run, open for a page. Its methods may be called by several threads at a time."""

    def __init__(self, folder: str, embeddings: int = EMBEDDINGS):
        self.run = open_run(folder)
        self.run.state = at_rest(self.run.store)
        self.embeddings = embeddings
        self.child, self.lock = Isolated(), threading.Lock()
        self.slices: dict[str, tuple[Any, ...]] = {}  # uid -> where the bytes of its image are
        self.columns: dict[str, dict[str, str]] = {t: _shown(self.run, t) for t in self.run.recipe.get("rows", {"images": {}})}

    def __enter__(self) -> "Explorer":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()

    def here(self) -> Run:
        """The run with a database cursor of its own, for one answer."""
        run = Run(self.run.store, state=self.run.state)
        run.__dict__ |= {"con": self.run.con.cursor(), "recipe": self.run.recipe, "dataset": self.run.dataset}
        return run

    # ---- what there is

    def about(self) -> dict[str, Any]:
        """Name, tables with their columns and reasons, thresholds, and what can be searched."""
        recipe = self.run.recipe
        embedding = embedding_of(recipe) if "images" in self.columns else None
        return {
            "name": recipe.get("name") or "run",
            "folder": self.run.store.url,
            "root_hash": self.run.dataset["root_hash"],
            "tables": [self._table(name) for name in self.columns],
            "embedding": asdict(embedding) if embedding else None,
            "duplicates": self._steps_with_groups(),
            "recipe": recipe.get("name", ""),
        }

    def _table(self, name: str) -> dict[str, Any]:
        counts = self.run.recipe.get("rows", {}).get(name, {})
        kinds = {c: "number" if t in NUMBERS else "truth" if t == "BOOLEAN" else "text" for c, t in self.columns[name].items()}
        bounds = [asdict(b) for b in bounds_of(self.run.recipe, name) if b.column in kinds and b.setting]
        scores = [c for c, k in kinds.items() if k == "number" and c not in QUIET]
        first = dict.fromkeys(b["column"] for b in reversed(bounds))  # later steps say more
        return {
            "name": name,
            "rows": sum(counts.values()),
            "reasons": counts,
            "columns": kinds,
            "bounds": bounds,
            "scores": [*(c for c in first if c in scores), *(c for c in scores if c not in first)],
        }

    def _steps_with_groups(self) -> list[dict[str, Any]]:
        found = self.here().con.execute("""select step, count(*), count(distinct survivor) from duplicates
            where step <> 'duplicate_uid' group by all order by 2 desc, 1""")
        return [{"step": s, "rows": n, "groups": g} for s, n, g in found.fetchall()]

    # ---- rows

    def rows(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One page of the rows that a query asks for, and how many there are in all."""
        query = parse(asked, self.columns)
        run = self.here()
        where, values = query.where()
        total = run.con.execute(f"select count(*) from {query.table} where {where}", values).fetchall()[0][0]
        found = run.con.sql(
            f"""select {light(run, query.table)} from {query.table} where {where} {query.order()}
            limit {query.size} offset {query.page * query.size}""",
            params=values,
        ).to_arrow_table()
        return {"total": total, "rows": [self._row(r) for r in found.to_pylist()]}

    def of_uids(self, uids: list[str], table: str = "images") -> list[dict[str, Any]]:
        """The rows with these uids, in their order; of rows with the same uid the one that went furthest."""
        if not uids:
            return []
        run = self.here()
        listed = ", ".join(map(quoted, uids))
        found = run.con.sql(f"select {light(run, table)} from {table} where uid in ({listed}) order by kept").to_arrow_table()
        there = {r["uid"]: r for r in found.to_pylist()}
        return [self._row(there[u]) for u in uids if u in there]

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as the page shows it; where its image lies is kept here."""
        has = row.get("payload") is not None
        if has:
            if len(self.slices) > 200_000:
                self.slices.clear()
            self.slices[row["uid"]] = tuple(row[c] for c in _WHERE)
        values = {k: plain(v) for k, v in row.items() if k not in _WHERE}
        return {"values": values, "words": words(row), "image": has, "missing": "" if has else missing(row)}

    def facet(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The values of a column among the rows that the other conditions leave: a histogram of numbers, or the most frequent ones."""
        query = parse(asked, self.columns)
        column = known(query.columns, asked.get("column"))
        rest = query.without(column)
        return self._histogram(rest, column) if query.columns[column] in NUMBERS else self._values(rest, column)

    def _histogram(self, query: Query, column: str) -> dict[str, Any]:
        where, values = query.where()
        con, x = self.here().con, f"{identifier(column)}::double"
        ends = ", ".join(f"approx_quantile({x}, {q})" for q in (0.002, 0.5, 0.998))
        rows, *quantiles = con.execute(
            f"select count(*), {ends} from {query.table} where {where} and isfinite({x})", values
        ).fetchall()[0]
        if not rows:
            return {"kind": "number", "rows": 0, "edges": [], "kept": [], "dropped": []}
        edges = _edges(*quantiles, whole=query.columns[column] not in ("FLOAT", "DOUBLE"))
        found = con.execute(
            f"""select greatest(0, least({len(edges) - 2}, floor({_place(x, edges)} + 1e-9)))::int,
            count(*) filter (kept), count(*) filter (not kept) from {query.table}
            where {where} and isfinite({x}) group by 1""",
            values,
        ).fetchall()
        counts = {b: (k, d) for b, k, d in found}
        kept, dropped = zip(*(counts.get(b, (0, 0)) for b in range(len(edges) - 1)))
        return {"kind": "number", "rows": rows, "edges": edges, "kept": kept, "dropped": dropped}

    def _values(self, query: Query, column: str) -> dict[str, Any]:
        where, values = query.where()
        found = self.here().con.execute(
            f"""select {identifier(column)}::varchar, count(*), count(*) filter (kept) from {query.table} where {where}
            group by 1 order by 2 desc, 1 limit {VALUES + 1}""",
            values,
        )
        rows = [{"value": v, "rows": n, "kept": k} for v, n, k in found.fetchall()]
        return {"kind": "text", "values": rows[:VALUES], "more": len(rows) > VALUES}

    def picture(self, uid: str, side: int) -> bytes | None:
        """A JPEG of an image, made anew in a process of its own, at most `side` pixels wide and high; None if there is none."""
        where = self.slices.get(uid) or self._slice(uid)
        if not where:
            return None
        (data,) = read_slices(self.run.store, *([w] for w in where))
        return small(self.child, data, side) if data else None

    def _slice(self, uid: str) -> tuple[Any, ...] | None:
        if not set(_WHERE) <= set(self.columns.get("images", {})):
            return None
        found = self.here().con.execute(
            f"select {', '.join(_WHERE)} from images where uid = ? and payload is not null limit 1", [uid]
        )
        return found.fetchone()

    # ---- one row

    def story(self, uid: str) -> dict[str, Any]:
        """What each step made of a row, the duplicates that it was compared with, and the images nearest to it."""
        run = self.here()
        stories = stories_of(run, uid, thumbnails=False)
        lines = [
            {"table": s.table, "fate": fate(s), "lines": [asdict(line) for line in s.lines], "row": self._row(s.card.row)}
            for s in stories
        ]
        twins = stories[0].twins
        return {
            "stories": lines,
            "duplicates": [
                {
                    "step": t.step,
                    "similarity": t.similarity,
                    "dropped": self._row(t.dropped.row),
                    "kept": self._row(t.survivor.row),
                }
                for t in twins
            ],
        }

    # ---- groups of duplicates

    def groups(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Groups of duplicates, the largest first: the copy that was kept, and those dropped for it, the least alike first."""
        page, step = whole(asked.get("page", 0), 0, 10**9), asked.get("step") or ""
        chosen = "step <> 'duplicate_uid' and (? = '' or step = ?)"
        con = self.here().con
        total = con.execute(
            f"select count(*) from (select distinct step, survivor from duplicates where {chosen})", [step, step]
        ).fetchall()[0][0]
        found = con.execute(
            f"""select step, survivor, count(*) as n, min(similarity), arg_min({{'uid': uid, 'similarity': similarity}}, similarity, {MEMBERS})
            from duplicates where {chosen} group by all order by n desc, survivor limit {GROUPS} offset {page * GROUPS}""",
            [step, step],
        ).fetchall()
        tables = {s["step"]: s.get("table", "images") for s in self.run.recipe.get("steps", [])}
        there: dict[tuple[str, str], dict[str, Any]] = {}
        for table in {tables.get(f[0], "images") for f in found}:
            uids = {u for s, kept, _, _, m in found if tables.get(s, "images") == table for u in (kept, *(x["uid"] for x in m))}
            there |= {(table, r["values"]["uid"]): r for r in self.of_uids(sorted(uids), table)}
        return {"total": total, "groups": [_group(f, there, tables.get(f[0], "images")) for f in found]}

    # ---- embeddings

    @cached_property
    def _vectors(self) -> Vectors:
        embedding = embedding_of(self.run.recipe)
        if embedding is None:
            raise RecipeError("this run has no CLIP embeddings: its recipe has no ClipEmbed")
        return Vectors(self.here(), embedding, self.embeddings)

    @property
    def vectors(self) -> Vectors:
        with self.lock:
            return self._vectors

    def near(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The images whose embeddings are nearest to those of a text (`words`), or of a row (`uid`; none if it was dropped
        before it had an embedding); or just those of a list (`uids`)."""
        if "uids" in asked:
            return {"rows": self.of_uids([str(u) for u in asked["uids"]][:MOST])}
        n, uid, text = whole(asked.get("n", 48), 1, 200), asked.get("uid") or "", asked.get("words") or ""
        vectors = self.vectors
        vector = vectors.of_row(self.here(), str(uid)) if uid else vectors.of_words(str(text)[:1000])
        return self._found([] if vector is None else vectors.nearest(vector, n, str(uid)))

    def near_image(self, data: bytes) -> dict[str, Any]:
        """The images nearest to the image in a file; RecipeError if it cannot be decoded."""
        pixels = self.child.decode(data)
        if isinstance(pixels, str):
            raise RecipeError(f"the file cannot be decoded as an image ({pixels})")
        return self._found(self.vectors.nearest(self.vectors.of_pixels(pixels), 48))

    def _found(self, near: list[tuple[str, float]]) -> dict[str, Any]:
        rows = self.of_uids([uid for uid, _ in near])
        alike = dict(near)
        return {"rows": [r | {"similarity": alike[r["values"]["uid"]]} for r in rows], **self._looked()}

    def _looked(self) -> dict[str, int]:
        return {"looked": len(self.vectors.uids), "rows_with": self.vectors.rows}

    def map(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Points (x, y, uid) on the map, and for each the value of a column: a number, or the place in a list of words."""
        column = known(self.columns["images"], asked.get("colour") or "drop_reason")
        vectors = self.vectors
        values = [plain(v) for v in vectors.values(column)[vectors.shown]]
        with self.lock:
            vectors.map.start()
        pending, at = vectors.map.pending, vectors.map.places.round(4)
        numeric = self.columns["images"][column] in NUMBERS and not column.endswith("_cluster")
        return {
            "uids": vectors.uids[vectors.shown],
            "x": at[:, 0].tolist(),
            "y": at[:, 1].tolist(),
            "column": column,
            "method": vectors.map.method,
            "pending": pending,
            **({"values": values} if numeric else _legend(values, "kept" if column.startswith("drop_") else "none")),
            **self._looked(),
        }

    # ---- thresholds

    def move(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What moved thresholds would do, with the rows nearest to the one that was moved last."""
        table = asked.get("table", "images")
        if table not in self.columns:
            raise RecipeError(f"no table {table} in this run")
        moves = thresholds.moves_of(asked.get("moves", []), self.run.recipe, table)
        found = thresholds.outcome(self.here().con, table, moves, self.run.recipe)
        return found | {side: self.of_uids(found[side], table) for side in ("leaving", "entering")}


def _shown(run: Run, table: str) -> dict[str, str]:
    """The columns of a table that can be filtered and shown: no vectors, no bytes, and not `domain`, which is slow to compute for all rows."""
    quick = {c: t for c, t in columns(run, table).items() if c != "domain"}
    return {c: t for c, t in quick.items() if "[" not in t and t != "BLOB" and not t.startswith(("STRUCT", "MAP"))}


def _edges(low: float, middle: float, high: float, whole: bool) -> list[float]:
    """Edges of bins from quantiles: equally wide ones, or ever wider ones where most values are near the low end of a long range."""
    if low > 0 and high > 30 * middle:
        return [low * (high / low) ** (i / BINS) for i in range(BINS + 1)]
    if whole:
        low, width = math.floor(low), max(1, math.ceil((math.floor(high) + 1 - math.floor(low)) / BINS))
        return [float(low + width * i) for i in range(math.ceil((math.floor(high) + 1 - low) / width) + 1)]
    return [low + ((high - low) or 1.0) * i / BINS for i in range(BINS + 1)]


def _place(x: str, edges: list[float]) -> str:
    """SQL: the place of a number among edges that _edges made, 0 to the number of bins; a fraction within its bin."""
    low, width = edges[0], edges[1] - edges[0]
    if edges[-1] - edges[-2] < 1.5 * width:
        return f"({x} - {low!r}) / {width!r}"
    return f"ln(greatest({x}, {low!r}) / {low!r}) / {math.log(edges[-1] / low)!r} * {BINS}"


def _group(found: tuple[Any, ...], rows: dict[tuple[str, str], dict[str, Any]], table: str) -> dict[str, Any]:
    step, kept, n, least, members = found
    shown = [rows[table, m["uid"]] | {"similarity": plain(m["similarity"])} for m in members if (table, m["uid"]) in rows]
    return {"step": step, "rows": n, "least": plain(least), "kept": rows.get((table, kept)), "members": shown}


def _legend(values: list[Any], nothing: str, most: int = 11) -> dict[str, Any]:
    """Values as places in a list of the most frequent ones; the rest is the last, `others`."""
    words = [nothing if v is None else str(v) for v in values]
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    names = sorted(counts, key=lambda w: (-counts[w], w))
    shown = names if len(names) <= most + 1 else names[:most]
    place = {w: i for i, w in enumerate(shown)}
    legend = [{"value": w, "rows": counts[w]} for w in shown]
    if len(shown) < len(names):
        legend.append({"value": "others", "rows": sum(counts[w] for w in names[most:])})
    return {"legend": legend, "classes": [place.get(w, len(shown)) for w in words]}


def plain(value: Any) -> Any:
    """A value of DuckDB as JSON has it: no NaN, no whole number that JavaScript would round, dates as text."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) < _WHOLE else str(value)
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
