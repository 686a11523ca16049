"""SQL views of a finished run: its ledger, shards, duplicate pairs, verdicts and funnel."""

import json
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from curate.errors import PoolError
from curate.score.part import SHIFT
from curate.select.database import add_functions, scan
from curate.selector import PUBLISHED, quoted
from curate.store.atomic import Store
from curate.store.releases import named
from curate.store.slices import read_slices
from curate.view import verdicts

#: The views of a run, and what a row of each is.
VIEWS = {
    "images": "an input row: source columns, domain (the host of its url), all scores, drop_reason, drop_stage, kept, shard, place, key",
    "documents": "a web page (pools of pages)",
    "texts": "a paragraph of a page (pools of pages)",
    "shards": "a sample in the shards: shard (its number), and the columns that loaders see",
    "duplicates": "a row that was dropped as a duplicate: step, reason, uid, survivor (the uid kept for it), "
    "release (an earlier run, if the survivor is of one), similarity, id, survivor_id",
    "edges": "the same without reason: step, uid, survivor (a uid), similarity; id and survivor_id are the rows' numbers in the pool",
    "verdicts": "a row that people judged (`curate annotate`): verdict (good, bad, null where they disagree), the counts, weight",
    "judgements": "one person's word on a row: verdict, annotator, reason, comment",
    "funnel": "a table, stage and reason: rows, and percent of the table's rows",
}


def connect(store: Store, files: Callable[[list[str]], list[str]] = list) -> duckdb.DuckDBPyConnection:
    """DuckDB with the run's tables as views, see VIEWS, and the function image(uid): the bytes of an image as fetched, null if there
    are none. PoolError if there is no ledger.

    files: picks the ledger's files to look at, of a long list; the same ones for each table.
    """
    con = duckdb.connect()
    add_functions(con, "url_site(")
    ledger = {t: names for t in ("images", "documents", "texts") if (names := store.names(f"ledger/{t}"))}
    tables, recipe = list(ledger), store.json("recipe.json") or {}
    if not tables:
        raise PoolError(f"{store.url}: there is no ledger here; is it a run's folder, and did the run reach its end?")
    decided = [folder for _, folder, _ in recipe.get("decisions", [])]
    near = _near(con, store, [*(f"ledger/{t}" for t in tables), "shards", "verdicts", *decided])
    for table, names in ledger.items():
        _view(con, table, scan(near, [f"ledger/{table}/{n}" for n in files(names)]))
    _image_function(con, store, tables)
    sidecars = [f"shards/{n}" for n in store.names("shards") if n.endswith(".parquet")]
    _view(con, "shards", _numbered(near, sidecars) if sidecars else "(select 0 as shard, '' as key, '' as uid where false)")
    each = []
    release = _release(store)
    reasons = {s["step"]: s.get("reason") or s["step"] for s in recipe.get("steps", [])}
    for step, folder, _ in recipe.get("decisions", []):
        record = store.json(f"{folder}/decision.json")
        if record and record["edges"]:
            written = [f"{folder}/{n}" for n in store.names(folder) if n.endswith(".parquet")]
            each.append(
                f"""select {quoted(step)} as step, {quoted(reasons.get(step, step))} as reason, edge_uid as uid,
                edge_survivor_uid as survivor, {release} as release, edge_similarity as similarity,
                edge_id as id, edge_survivor as survivor_id from {scan(near, written)} where edge_id is not null"""
            )
    nothing = "select '' as step, '' as reason, '' as uid, '' as survivor, '' as release, 0::float as similarity, 0::bigint as id, 0::bigint as survivor_id where false"
    con.execute("create view duplicates as " + " union all ".join(each or [nothing]))
    con.execute("create view edges as select * exclude (reason) from duplicates")
    judged = [f"verdicts/{n}" for n in store.names("verdicts")]
    for view in verdicts.views(scan(near, judged) if judged else None):
        con.execute(view)
    con.execute(
        "create view funnel as "
        + " union all ".join(
            f"""select '{t}' as "table", coalesce(drop_stage, '') as stage, coalesce(drop_reason, 'kept') as reason,
            count(*) as rows, round(100 * count(*) / sum(count(*)) over (), 2) as percent from {t} group by all"""
            for t in tables
        )
    )
    return con


#: Bytes of tables of an object store that are copied to look at them.
NEAR = 128 << 20


def _near(con: duckdb.DuckDBPyConnection, store: Store, folders: list[str]) -> Store:
    """Where DuckDB, which asks for every stretch of every column, reads the tables in these folders: from copies below TMPDIR, which go
    with the connection, where those of an object store are small."""
    if store.local:
        return store
    sizes = {f"{folder}/{n}": size for folder in folders for n, size in store.sizes(folder).items() if n.endswith(".parquet")}
    if sum(sizes.values()) > NEAR:
        con.register_filesystem(store.listed(*folders))
        return store
    con.register_filesystem(store.fs)
    folder = tempfile.TemporaryDirectory(prefix="curate-")
    weakref.finalize(con, folder.cleanup)
    paths = [store.inner(name) for name in sizes]
    for name, data in zip(sizes, store.fs.cat_ranges(paths, [0] * len(paths), list(sizes.values()), on_error="raise")):
        path = Path(folder.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Store(folder.name)


def _view(con: duckdb.DuckDBPyConnection, name: str, rows: str) -> None:
    """A view of these rows, and of the domain of their URL where they have one and no column of that name."""
    there = {c.lower() for c in con.sql(f"from {rows} limit 0").columns}
    domain = ", url_site(url) as domain" if "url" in there and "domain" not in there else ""
    con.execute(f"create view {name} as select *{domain} from {rows}")


def _release(store: Store) -> str:
    """SQL: the earlier release that the survivor of an edge is of; null: of the run itself."""
    first = lambda r: PUBLISHED + (r.first_part << SHIFT)  # noqa: E731
    cases = [f"when edge_survivor >= {first(r)} then {quoted(r.run)}" for r in reversed(named(store.json("dataset.json")))]
    return f"case {' '.join(cases)} end" if cases else "null::varchar"


def _numbered(store: Store, sidecars: list[str]) -> str:
    """The samples of all sidecars, each with the number of its shard, which is its file's name."""
    number = r"regexp_extract(filename, '([0-9]+)\.parquet$', 1)::int as shard"
    return scan(store, sidecars, columns=f"{number}, *")


def _image_function(con: duckdb.DuckDBPyConnection, store: Store, tables: list[str]) -> None:
    """image(uid): it is looked up in the ledger, as a join, and read from the payloads."""
    where = ("payload", "payload_offset", "payload_size")
    if "images" not in tables or not set(where) <= set(con.sql("from images limit 0").columns):
        con.execute("create macro image(sample) as null::blob")
        return

    def read(files: pa.Array, offsets: pa.Array, sizes: pa.Array) -> pa.Array:
        return pa.array(read_slices(store, *(a.to_pylist() for a in (files, offsets, sizes))), pa.binary())

    con.create_function("payload_bytes", read, ["VARCHAR", "BIGINT", "BIGINT"], "BLOB", type="arrow", null_handling="special")
    # A macro's argument is put in as it is written: the inner columns have names that no argument has.
    con.execute(
        """create view "payloads of images" as select uid as "sample uid", {file: payload, start: payload_offset, size: payload_size}
        as "where" from images where payload is not null"""
    )
    con.execute(
        """create macro image(sample) as (select payload_bytes("any".file, "any".start, "any".size) from
        (select any_value("where") as "any" from "payloads of images" where "sample uid" = sample))"""
    )


def averages(con: duckdb.DuckDBPyConnection, query: str) -> str | None:
    """The query with the arguments of avg and mean as numbers, true as 1: DuckDB itself averages no BOOLEAN like `kept`. None if it
    has no such call, or is no select."""
    ask = lambda function, text: con.execute(f"select {function}", [text]).fetchall()[0][0]  # noqa: E731
    parsed = lambda text: json.loads(ask("json_serialize_sql(?::varchar)", text))  # noqa: E731
    written = lambda tree: ask("json_deserialize_sql(?::json)", json.dumps(tree))  # noqa: E731
    tree, example = parsed(query), parsed("select cast(x as double)")
    if tree["error"]:
        return None
    chosen = example["statements"][0]["node"]["select_list"]
    cast = chosen[0]

    def name(column: dict[str, Any]) -> str:
        chosen[0] = column
        return written(example).removeprefix("SELECT ")

    return written(tree) if _as_numbers(tree, cast, name) else None


def _as_numbers(node: Any, cast: dict[str, Any], name: Callable[[dict[str, Any]], str]) -> bool:
    """Put `cast` around the arguments of averages in a syntax tree of DuckDB; whether there are any. Columns of the result keep the
    names that they would have had."""
    if isinstance(node, list):
        return any([_as_numbers(child, cast, name) for child in node])
    if not isinstance(node, dict):
        return False
    found = False
    for key, child in node.items():
        for column in child if key == "select_list" else [child]:
            alias = key == "select_list" and (column["alias"] or name(column))
            if _as_numbers(column, cast, name):
                found = True
                if alias:
                    column["alias"] = alias
    if node.get("function_name") in ("avg", "mean") and len(node.get("arguments", ())) == 1:
        argument = node["arguments"][0]
        argument["expression"] = cast | {"child": argument["expression"]}
        found = True
    return found
