"""SQL views of a finished run: its ledger, shards, duplicate pairs, verdicts and funnel."""

from collections.abc import Callable

import duckdb

from curate.errors import PoolError
from curate.select.database import add_functions, scan
from curate.selector import quoted
from curate.store.atomic import Store
from curate.view import verdicts

#: The views of a run, and what a row of each is.
VIEWS = {
    "images": "an input row: source columns, all scores, drop_reason, drop_stage, kept, shard, place, key",
    "documents": "a web page (pools of pages)",
    "texts": "a paragraph of a page (pools of pages)",
    "shards": "a sample in the shards, with the columns that loaders see",
    "edges": "a duplicate: step, uid, survivor (a uid), similarity; id and survivor_id are the rows' numbers in the pool",
    "verdicts": "a row that people judged (`curate annotate`): verdict (good, bad, null where they disagree), how many said what, weight",
    "judgements": "one person's word on a row: verdict, annotator, reason, comment",
    "funnel": "a table, stage and reason: rows, and percent of the table's rows",
}


def connect(store: Store, files: Callable[[list[str]], list[str]] = list) -> duckdb.DuckDBPyConnection:
    """DuckDB with the run's tables as views, see VIEWS. PoolError if there is no ledger.

    files: picks the ledger's files to look at, of a long list; the same ones for each table.
    """
    con = duckdb.connect()
    add_functions(con, "url_site(")
    if not store.local:
        con.register_filesystem(store.fs)
    tables = [t for t in ("images", "documents", "texts") if store.names(f"ledger/{t}")]
    if not tables:
        raise PoolError(f"{store.url}: there is no ledger here; is it a run's folder, and did the run reach its end?")
    for table in tables:
        con.execute(
            f"create view {table} as select * from {scan(store, [f'ledger/{table}/{n}' for n in files(store.names(f'ledger/{table}'))])}"
        )
    sidecars = [f"shards/{n}" for n in store.names("shards") if n.endswith(".parquet")]
    con.execute(
        "create view shards as select "
        + (f"* from {scan(store, sidecars)}" if sidecars else "'' as key, '' as uid where false")
    )
    each = []
    for step, folder, _ in (store.json("recipe.json") or {}).get("decisions", []):
        record = store.json(f"{folder}/decision.json")
        if record and record["edges"]:
            files = [f"{folder}/{n}" for n in store.names(folder) if n.endswith(".parquet")]
            each.append(
                f"""select {quoted(step)} as step, edge_uid as uid, edge_survivor_uid as survivor, edge_similarity as similarity,
                edge_id as id, edge_survivor as survivor_id from {scan(store, files)} where edge_id is not null"""
            )
    nothing = "select '' as step, '' as uid, '' as survivor, 0::float as similarity, 0::bigint as id, 0::bigint as survivor_id where false"
    con.execute("create view edges as " + " union all ".join(each or [nothing]))
    judged = [f"verdicts/{n}" for n in store.names("verdicts")]
    for view in verdicts.views(scan(store, judged) if judged else None):
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
