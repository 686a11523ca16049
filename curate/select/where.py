"""Where: bounds on a column, or any SQL condition."""

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame
from curate.selector import Selection, Selector, identifier, quoted
from curate.stage import plain


@dataclass
class Where(Selector):
    """Keeps rows with min <= column <= max, or those for which `sql` holds; null and NaN are drops.

    What falls has the name of the column as its reason, or the step's name where one was set; of an SQL expression over several
    columns the step's. The name is `where_` and the columns by default, so that several are told apart. `columns`: those that an
    SQL expression uses, found in it by default.

    min, max: smallest and largest value that is kept; none: no limit.
    column: column with the score. sql: an SQL expression for DuckDB, in place of a column. columns: those that the expression uses; empty: found in it.
    Ours.
    """

    version = 2

    column: str = ""
    min: float | None = None
    max: float | None = None
    sql: str = ""
    columns: tuple[str, ...] = ()
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        if bool(self.column) == bool(self.sql):
            raise RecipeError(f"{self.name or 'where'}: give a column with min or max, or sql=")
        self.columns = tuple(self.columns)
        if self.sql and not self.columns:
            self.columns = used(self.sql, self.name or "where")
        self.reads = (self.column,) if self.column else self.columns
        own = self.reads[0] if len(self.reads) == 1 else ""
        self.reason = self.name or own
        self.name = self.name or "_".join(["where", *self.reads])
        self.reason = self.reason or self.name

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "reason": self.reason}

    def condition(self) -> str:
        if self.sql:
            return self.sql
        given = ((op, plain(bound)) for op, bound in ((">=", self.min), ("<=", self.max)) if bound is not None)
        # A number without an exponent is as precise as its column; infinity cannot be written so.
        written = ((op, f"{Decimal(repr(b)):f}" if math.isfinite(b) else f"'{b}'::float") for op, b in given)
        column = identifier(self.column)
        bounds = [f"{column} {op} {bound}" for op, bound in written]
        return " and ".join([f"not isnan({column}::double)", *bounds])

    def select(self, live: Frame) -> Selection:
        return Selection(live.each(_Unless(self.name, self.reason, self.condition())))


@dataclass(frozen=True)
class _Unless:
    """The rows for which a condition does not hold; RecipeError if it cannot be evaluated."""

    name: str
    reason: str
    condition: str

    def __call__(self, live: pa.Table) -> pa.Table:
        try:
            fallen = f"select id, {quoted(self.reason)} as reason from live where coalesce(not ({self.condition}), true)"
            return query(fallen, {"live": live})
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as e:
            raise RecipeError(f"{self.name}: {self.condition}: {str(e).splitlines()[0]}") from e


def used(sql: str, name: str) -> tuple[str, ...]:
    """The columns that an SQL expression names; RecipeError if it cannot be parsed."""
    try:
        with duckdb.connect() as con:
            tree = con.sql(f"select json_serialize_sql('select 1 where ' || {quoted(sql)})").fetchall()[0][0]
    except duckdb.Error as e:
        raise RecipeError(f"{name}: {sql}: {str(e).splitlines()[0]}") from e
    parsed = json.loads(tree)
    if parsed.get("error"):
        raise RecipeError(f"{name}: {sql}: {parsed.get('error_message')}")
    return tuple(sorted(_names(parsed)))


def _names(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["column_names"][-1]} if node.get("class") == "COLUMN_REF" else set()
        return own.union(*(_names(v) for v in node.values()))
    return set().union(*(_names(v) for v in node)) if isinstance(node, list) else set()
