"""Who survives among duplicates: the better row by named columns, then the smaller uid; never the one that came first."""

import numpy as np

from curate.selector import Live


def better_first(by: tuple[str, ...]) -> str:
    """An SQL `order by` list that puts the survivor first.

    Larger values are better; a leading `-` prefers smaller ones. Null and NaN are worst. The uid decides the rest.
    """
    terms = []
    for column in by:
        name, way = (column[1:], "asc") if column.startswith("-") else (column, "desc")
        # NaN is DuckDB's largest number: without this a broken score would win.
        terms.append(f'nullif("{name}"::double, \'nan\'::double) {way} nulls last')
    return ", ".join([*terms, "uid"])


def columns(by: tuple[str, ...]) -> tuple[str, ...]:
    """The column names in a `by` list."""
    return tuple(c.removeprefix("-") for c in by)


def ranks(live: Live, order: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids in ascending order, and each one's place (0 = best) in an SQL order."""
    table = live.sql(f"select id, row_number() over (order by {order}) - 1 as place from live order by id").to_arrow_table()
    return table["id"].to_numpy(), table["place"].to_numpy()
