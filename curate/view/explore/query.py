"""Which rows the page asks for: conditions on columns, words, an order, a page of the result; checked, then SQL with parameters."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from curate.errors import RecipeError
from curate.selector import coin_sql, identifier

#: What a condition can ask of a column, as SQL; ? is its value.
OPERATORS = {
    "min": "{} >= ?",
    "max": "{} <= ?",
    "is": "{}::varchar = ?",
    "not": "{}::varchar is distinct from ?",
    "has": "contains(lower({}::varchar), lower(?))",
    "present": "{} is not null",
    "missing": "{} is null",
}
#: DuckDB types that are numbers.
NUMBERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
}
#: Rows on a page, at most; characters of a value, at most.
MOST, LONGEST = 200, 10_000


@dataclass(frozen=True)
class Condition:
    """One column, an operator of OPERATORS, and a value where it takes one."""

    column: str
    operator: str
    value: str | float | None = None

    def sql(self) -> str:
        return OPERATORS[self.operator].format(identifier(self.column))

    def values(self) -> list[Any]:
        return [self.value] if "?" in OPERATORS[self.operator] else []


@dataclass(frozen=True)
class Query:
    """Rows of a table that fulfil all conditions and contain all `words`, sorted, and one page of them.

    columns: those of the table, with their DuckDB types. sort: a column; "" is the order of the source, "*" a draw by a hash of the uid.
    """

    table: str
    columns: dict[str, str]
    conditions: tuple[Condition, ...] = ()
    words: str = ""
    sort: str = ""
    descending: bool = False
    page: int = 0
    size: int = 24

    def where(self) -> tuple[str, list[Any]]:
        """A condition in SQL and the values of its parameters."""
        parts = [c.sql() for c in self.conditions]
        values = [v for c in self.conditions for v in c.values()]
        searched = [identifier(c) for c in self.columns if c in ("text", "title", "url") or _is_caption(c)]
        for word in self.words.split():
            if re.fullmatch("[0-9a-f]{32}", word):
                parts.append("uid = ?")
            else:
                parts.append(f"contains(lower(concat_ws(' ', {', '.join(searched) or repr('')})), lower(?))")
            values.append(word)
        return " and ".join(parts) or "true", values

    def order(self) -> str:
        """The ORDER BY clause, or nothing."""
        if self.sort == "*":
            return f"order by {coin_sql('uid', 0, 'show')}, uid"
        if not self.sort:
            return ""
        return f"order by {identifier(self.sort)} {'desc' if self.descending else 'asc'} nulls last, uid"

    def without(self, column: str) -> "Query":
        """The same without what it asks of a column."""
        return replace(self, conditions=tuple(c for c in self.conditions if c.column != column))


def _is_caption(column: str) -> bool:
    return column.startswith("caption_") and not column.endswith(("_model", "_source", "_score"))


def parse(asked: dict[str, Any], columns: dict[str, dict[str, str]]) -> Query:
    """The query that a page asks; RecipeError if it names what is not there or has values of the wrong kind."""
    table = asked.get("table", "images")
    if table not in columns:
        raise RecipeError(f"no table {table} in this run")
    there = columns[table]
    sort, words = asked.get("sort", ""), asked.get("words", "")
    if not isinstance(words, str) or len(words) > LONGEST:
        raise RecipeError("words: text of at most 10,000 characters")
    if sort not in ("", "*"):
        known(there, sort)
    found = tuple(_condition(c, there) for c in _list(asked.get("conditions", [])))
    page, size = whole(asked.get("page", 0), 0, 10**9), whole(asked.get("size", 24), 1, MOST)
    return Query(table, there, found, words, sort, bool(asked.get("descending")), page, size)


def _condition(asked: Any, columns: dict[str, str]) -> Condition:
    if not isinstance(asked, dict) or asked.get("operator") not in OPERATORS:
        raise RecipeError("a condition is a column, an operator and a value")
    column, operator, value = known(columns, asked.get("column")), asked["operator"], asked.get("value")
    if operator in ("min", "max"):
        if columns[column] not in NUMBERS:
            raise RecipeError(f"{column} is not a number: it has no min and max")
        value = finite(value, column)
    elif "?" in OPERATORS[operator] and (not isinstance(value, str) or len(value) > LONGEST):
        raise RecipeError(f"{column}: the value is text of at most 10,000 characters")
    return Condition(column, operator, value)


def known(columns: Iterable[str], name: Any) -> str:
    """The name of a column that is there; RecipeError if it is none."""
    if not isinstance(name, str) or name not in columns:
        raise RecipeError(f"no column {str(name)[:80]}")
    return name


def finite(value: Any, what: str) -> float:
    """A finite number; RecipeError if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RecipeError(f"{what}: not a number")
    return float(value)


def whole(value: Any, low: int, high: int) -> int:
    """A whole number in [low, high]; RecipeError if it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RecipeError(f"not a whole number from {low:,} to {high:,}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > 100:
        raise RecipeError("conditions: a list of at most 100")
    return value
