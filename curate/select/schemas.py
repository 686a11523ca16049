"""Concatenation of tables whose columns differ."""

from collections.abc import Iterable

import pyarrow as pa


def unified(tables: list[pa.Table]) -> pa.Table:
    """Concatenated tables; a column with several types gets one that holds all values, or is text."""
    tables = [t for t in tables if len(t)] or tables[:1]  # an empty table may not know its types
    if all(t.schema.equals(tables[0].schema) for t in tables):
        return pa.concat_tables(tables)
    fields = common_fields(t.schema for t in tables)
    return pa.concat_tables([as_fields(t, fields) for t in tables])


def as_fields(table: pa.Table, fields: pa.Schema) -> pa.Table:
    """These columns, null where the table has none."""
    columns = [as_type(table[f.name], f.type) if f.name in table.column_names else pa.nulls(len(table), f.type) for f in fields]
    return pa.table(columns, schema=fields)


def common_fields(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The columns of all schemas, in the order in which they come, each with a type that holds it everywhere."""
    found: dict[str, pa.DataType] = {}
    for f in (f for schema in schemas for f in schema):
        found[f.name] = common_type(found.get(f.name, f.type), f.type)
    return pa.schema(list(found.items()))


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type that holds the values of both, text if none does."""
    if one == other:
        return one
    try:
        both = [pa.schema([("", one)]), pa.schema([("", other)])]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        return pa.large_string()


def as_type(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Values in a type; as text if they cannot be cast to it."""
    if values.type == kind:
        return values
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if kind != pa.large_string():
            raise
        return pa.chunked_array([[None if v is None else str(v) for v in values.to_pylist()]], kind)
