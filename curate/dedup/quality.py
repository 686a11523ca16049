"""Who survives among duplicates: the better row by named columns, then the smaller uid; never the one that came first."""

from dataclasses import dataclass

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
        terms.append(f"nullif(\"{name}\"::double, 'nan'::double) {way} nulls last")
    return ", ".join([*terms, "uid"])


def columns(by: tuple[str, ...]) -> tuple[str, ...]:
    """The column names in a `by` list."""
    return tuple(c.removeprefix("-") for c in by)


@dataclass
class Ranks:
    """Rows in an order of quality: `ids[r]` is the id of the row of rank r, 0 being the best."""

    ids: np.ndarray

    def __post_init__(self):
        self._order = np.argsort(self.ids)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The ranks of rows given by id."""
        return self._order[np.searchsorted(self.ids, ids, sorter=self._order)]


def ranked(live: Live, order: str, where: str = "true") -> Ranks:
    """The rows that fulfil a condition, in an SQL order."""
    return Ranks(live.sql(f"select id from live where {where} order by {order}").to_arrow_table()["id"].to_numpy())
