"""Who survives among duplicates: the better row by named columns, then the smaller uid; never the one that came first."""

from curate.selector import PUBLISHED, coin_sql, identifier

#: The first terms of every rank: rows of earlier releases are better than all others.
PUBLISHED_FIRST = f"id < {PUBLISHED}, 'ASC NULLS LAST'"


def columns(by: tuple[str, ...]) -> tuple[str, ...]:
    """The column names in a `by` list."""
    return tuple(c.removeprefix("-") for c in by)


def sort_key(by: tuple[str, ...]) -> str:
    """The order of survivors as an SQL expression: bytes, the smaller the better, that compare alike in every chunk.

    Larger values of a column are better; a leading `-` prefers smaller ones. Null and NaN are worst. The uid decides the rest.
    """
    terms = [PUBLISHED_FIRST]
    for column in by:
        name, way = (column[1:], "ASC") if column.startswith("-") else (column, "DESC")
        # NaN is DuckDB's largest number: without this a broken score would win.
        terms.append(f"nullif({identifier(name)}::double, 'nan'::double), '{way} NULLS LAST'")
    return f"create_sort_key({', '.join([*terms, 'uid'])}, 'ASC NULLS LAST')"


def coin_key(seed: int, salt: str) -> str:
    """An order by a seeded coin, then by uid, as such an expression."""
    return f"create_sort_key({PUBLISHED_FIRST}, {coin_sql('uid', seed, salt)}, 'ASC NULLS LAST', uid, 'ASC NULLS LAST')"
