"""From a file's own columns to those of a pool: names that do not clash, plain types, whole text, a uid."""

import difflib
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from curate.errors import PoolError, RecipeError
from curate.schema import STR

#: Characters of the name of a source's column; the rest is left out.
LONGEST_NAME = 100
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def pick(wanted: str, names: list[str], file: str, role: str) -> str:
    """`wanted` if it is one of the names; else a RecipeError that says which there are, and the nearest."""
    if wanted in names:
        return wanted
    folded = {n.casefold(): n for n in reversed(names)}
    near = difflib.get_close_matches(wanted.casefold(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    raise RecipeError(f"{file}: no column {wanted!r} for the {role}; its columns are: {', '.join(names) or 'none'}{hint}")


def fit(name: str) -> str:
    """A column's name without what no table can have in it: control characters, lone surrogates, endless length."""
    return _UNFIT.sub("\ufffd", name[:LONGEST_NAME])


def carried(names: Iterable[str], own: Iterable[str] = ("source_file", "source_row")) -> dict[str, str]:
    """For each of a source's further columns its name in the pool: `source_<name>`, whatever it is called, so that it can be
    none of ours. One that differs from another, or from one of ours (`own`), at most in case gets `_` behind it: SQL does not tell
    these apart."""
    taken, renamed = set(own), {}
    for name in names:
        new = "source_" + fit(name)
        while new.casefold() in taken:
            new += "_"
        taken.add(new.casefold())
        renamed[name] = new
    return renamed


def plain_type(field: pa.Field, file: str) -> pa.DataType:
    """The type a column is carried with: 64-bit offsets, no dictionaries. Extension types are refused, at any depth."""
    kind = field.type
    named = (field.metadata or {}).get(b"ARROW:extension:name")
    if isinstance(kind, pa.BaseExtensionType) or named:
        name = named.decode(errors="replace") if named else kind.extension_name
        raise RecipeError(
            f"{file}: column {field.name!r} has the extension type {name!r}, which is never loaded; leave the column out"
        )
    if pt.is_dictionary(kind):
        return plain_type(pa.field(field.name, kind.value_type), file)
    for i in range(kind.num_fields):
        plain_type(kind.field(i), file)
    if pt.is_string(kind) or pt.is_string_view(kind):
        return STR
    return pa.large_binary() if pt.is_binary(kind) or pt.is_binary_view(kind) else kind


def text_type(field: pa.Field, file: str) -> None:
    """RecipeError if a column cannot be read as text."""
    kind = plain_type(field, file)
    if pt.is_nested(kind):
        raise RecipeError(f"{file}: column {field.name!r} holds {kind}, not text")


def repaired(table: pa.Table, file: str) -> tuple[pa.Table, pa.Array]:
    """The table with valid UTF-8 throughout, and a mask of the rows in which something had to be replaced."""
    broken = pa.repeat(False, len(table))
    for i, name in enumerate(table.column_names):
        column = table[name]
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as e:
            if column.type != STR:
                raise PoolError(f"{file}: column {name!r}: {e}") from e
            raw = [v for chunk in column.chunks for v in chunk.view(pa.large_binary()).to_pylist()]
            text = [v if v is None else v.decode("utf-8", "replace") for v in raw]
            changed = pa.array([v is not None and t.encode() != v for v, t in zip(raw, text, strict=True)])
            table = table.set_column(i, name, pa.array(text, STR))
            broken = pc.or_(broken, changed)
    return table, broken


def first_of(reasons: Iterable[tuple[pa.Array, str]], count: int) -> pa.Array:
    """For each row the name of the first mask that is True there, else null."""
    given = pa.nulls(count, STR)
    for mask, name in reasons:
        if isinstance(mask, pa.ChunkedArray):
            mask = mask.combine_chunks()
        given = pc.if_else(pc.and_(mask, pc.is_null(given)), pa.scalar(name, STR), given)
    return given


def rows(file: str, start: int, count: int) -> dict[str, pa.Array]:
    """`source_file` and `source_row` of `count` rows from row `start`."""
    return {"source_file": pa.repeat(pa.scalar(file, STR), count), "source_row": pa.array(np.arange(start, start + count))}
