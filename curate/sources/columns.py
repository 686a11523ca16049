"""Conversion of input columns to those of a pool: names without collisions, a small set of types, valid text."""

import difflib
import re
import uuid
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from curate.errors import RecipeError
from curate.schema import STR
from curate.shard.members import to_json

#: Characters of the name of an input column; the rest is cut off.
LONGEST_NAME = 100
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

#: Bytes of a value; a row with a longer one is invalid.
LONGEST_VALUE = 1_000_000

#: Extension types that are read as their storage type; all others are refused, since their values may be code.
_HARMLESS = {
    "arrow.uuid",
    "arrow.json",
    "arrow.bool8",
    "arrow.opaque",
    "arrow.fixed_shape_tensor",
    "arrow.variable_shape_tensor",
}
_HARMLESS |= {"arrow.parquet.variant", "parquet.variant"}

#: Integer types that fit into int64.
_WHOLE = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"})

#: The first and the last time that Python, hence JSON and loaders, can represent: microseconds since 1970, and days.
_YEARS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_DAYS = (-719_162, 2_932_896)

#: An array in a type of pools, and a mask of its invalid values: too long, or not UTF-8.
Carried = tuple[pa.Array, np.ndarray]


def pick(wanted: str, names: list[str], file: str, role: str) -> str:
    """`wanted` if it is one of the names; else a RecipeError that lists the names and suggests the most similar. role: URL, text, …"""
    if wanted in names:
        return wanted
    folded = {n.casefold(): n for n in reversed(names)}
    near = difflib.get_close_matches(wanted.casefold(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    if any(n.startswith(("http://", "https://")) for n in names):
        hint = "; its first line is a row: put a line with the names of the columns before it, such as url,caption"
    shown = ", ".join(n[:60] for n in names[:40]) + (f" and {len(names) - 40:,} more" if len(names) > 40 else "")
    option = f"; choose one with --{role.lower()} (in Python {role.lower()}=)" if role in ("URL", "text") else ""
    holds = {"URL": "the image's URL", "text": "the caption"}.get(role, f"the {role}")
    raise RecipeError(f"{file}: no column {wanted!r} for {holds}; its columns are: {shown or 'none'}{hint}{option}")


#: Names of the columns of URLs and captions in published lists, most common first: LAION, DataComp, COYO, CC3M, img2dataset, WIT, …
USUAL = {
    "url": ("url", "image_url", "img_url", "image url", "image_link", "image", "link", "src"),
    "text": ("text", "caption", "alt", "alt_text", "alt text", "captions", "description", "title", "prompt"),
}


def usual(role: str, names: Iterable[str]) -> str:
    """The name that lists usually give to the column of a role (`url` or `text`), in any case; the role itself if there is none."""
    folded = {n.casefold(): n for n in reversed(list(names))}
    return next((folded[n] for n in USUAL[role] if n in folded), role)


def fit(name: str) -> str:
    """A column's name that tables can have: control characters and lone surrogates replaced, length limited."""
    return _UNFIT.sub("\ufffd", name[:LONGEST_NAME])


def carried(names: Iterable[str], own: Iterable[str] = ("source_file", "source_row")) -> dict[str, str]:
    """The names of further input columns in the pool: `source_<name>`, so that they do not collide with its own.

    A name that differs from another, or from one of `own`, at most in case gets `_` appended, since SQL does not distinguish them.
    """
    taken, renamed = set(own), {}
    for name in names:
        new = "source_" + fit(name)
        while new.casefold() in taken:
            new += "_"
        taken.add(new.casefold())
        renamed[name] = new
    return renamed


# ---- types: booleans, numbers, strings, bytes, dates, timestamps, and lists of the first three; others are converted to text


def refused(field: pa.Field) -> str:
    """The name of a refused extension type in a column, at any depth; empty if there is none."""
    kind, named = field.type, (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
    if isinstance(kind, pa.BaseExtensionType):
        named, kind = kind.extension_name, kind.storage_type
    if named and named not in _HARMLESS:
        return named
    inner = [pa.field("", kind.value_type)] if pt.is_dictionary(kind) or pt.is_run_end_encoded(kind) else []
    inner += [kind.field(i) for i in range(kind.num_fields)]
    return next((found for f in inner if (found := refused(f))), "")


def nested(kind: pa.DataType) -> bool:
    """Whether a type is nested (lists, structs, maps), so that the column is not text."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return nested(kind.value_type) if pt.is_dictionary(kind) or pt.is_run_end_encoded(kind) else pt.is_nested(kind)


def carry(column: pa.Array) -> Carried:
    """A column converted to a type of pools, and a mask of invalid values. Times outside of the years 1 to 9999 are null."""
    kind = column.type
    good = np.zeros(len(column), bool)
    if isinstance(kind, pa.BaseExtensionType):
        return _uuids(column) if kind.extension_name == "arrow.uuid" else carry(column.storage)
    if pt.is_dictionary(kind):
        values, bad = carry(column.dictionary)
        at = column.indices
        return values.take(at), np.append(bad, False)[np.asarray(pc.fill_null(at.cast(pa.int64()), len(values)))]
    if pt.is_run_end_encoded(kind):
        return carry(pc.run_end_decode(column))
    if pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal128(kind):
        return column, good
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return _text(column.cast(pa.large_string()))
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind) or pt.is_fixed_size_binary(kind):
        return _short(column.cast(pa.large_binary()))
    if pt.is_date(kind):
        days = column.cast(pa.date32(), safe=False)
        return _between(days, days.view(pa.int32()), _DAYS), good
    if pt.is_timestamp(kind):
        return _moments(column), good
    if pt.is_fixed_size_list(kind) and pt.is_floating(kind.value_type):
        return column, good
    if _is_list(kind) and _in_lists(kind.value_type):
        return _lists(column)
    return _words(column, good)


def as_text(column: pa.Array) -> Carried:
    """A column in a type of pools, converted to text."""
    kind = column.type
    if pt.is_large_string(kind):
        return column, np.zeros(len(column), bool)
    if pt.is_large_binary(kind):
        return _text(column.view(STR))
    return _words(column, np.zeros(len(column), bool))


def common(kinds: Iterable[str]) -> str:
    """The name of the common type of several: int64 for integers, double for integers and floats, text for all other mixtures."""
    kinds = set(kinds)
    if len(kinds) == 1:
        return kinds.pop()
    if kinds <= _WHOLE:
        return "int64"
    return "double" if kinds <= _WHOLE | {"halffloat", "float", "double"} else "large_string"


def as_kind(column: pa.Array, kind: str) -> pa.Array:
    """A column converted to a common type (see `common`)."""
    if str(column.type) == kind:
        return column
    return as_text(column)[0] if kind == "large_string" else column.cast(pa.type_for_alias(kind), safe=False)


def _uuids(column: pa.Array) -> Carried:
    spelled = [v and str(uuid.UUID(bytes=v)) for v in column.storage.to_pylist()]
    return pa.array(spelled, STR), np.zeros(len(column), bool)


def _short(raw: pa.Array) -> Carried:
    """Bytes with null for values that are too long."""
    long = np.asarray(pc.fill_null(pc.greater(pc.binary_length(raw), LONGEST_VALUE), False))
    if long.any():  # if a mask made them null Arrow would keep their bytes
        raw = raw.filter(pa.array(~long)).take(pa.array(np.cumsum(~long) - 1, mask=long))
    return raw, long


def _text(column: pa.Array) -> Carried:
    """Strings that are valid UTF-8, with replacement characters, and null for values that are too long."""
    raw, bad = _short(column.view(pa.large_binary()))
    text = raw.view(STR)
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        values = raw.to_pylist()
        clean = [v if v is None else v.decode("utf-8", "replace") for v in values]
        bad |= np.array([v is not None and t.encode() != v for v, t in zip(values, clean, strict=True)], bool)
        text = pa.array(clean, STR)
    return text, bad


def _between(values: pa.Array, numbers: pa.Array, bounds: tuple[int, int]) -> pa.Array:
    inside = pc.and_(pc.greater_equal(numbers, bounds[0]), pc.less_equal(numbers, bounds[1]))
    return pc.if_else(pc.fill_null(inside, False), values, pa.scalar(None, values.type))


def _moments(column: pa.Array) -> pa.Array:
    """Timestamps in microseconds, in UTC if they have a time zone."""
    per, numbers = {"s": 10**6, "ms": 10**3, "us": 1, "ns": 1}[column.type.unit], column.view(pa.int64())
    kind = pa.timestamp("us", column.type.tz and "UTC")
    if column.type.unit == "ns":
        return column.view(pa.timestamp("ns")).cast(pa.timestamp("us"), safe=False).cast(kind)
    kept = _between(numbers, numbers, (-(-_YEARS[0] // per), _YEARS[1] // per))
    return pc.multiply(kept, per).view(kind)


def _is_list(kind: pa.DataType) -> bool:
    return any(
        is_it(kind) for is_it in (pt.is_list, pt.is_large_list, pt.is_fixed_size_list, pt.is_list_view, pt.is_large_list_view)
    )


def _in_lists(kind: pa.DataType) -> bool:
    """Whether lists of this type are kept as lists."""
    if _is_list(kind):
        return _in_lists(kind.value_type)
    if pt.is_dictionary(kind):
        return _in_lists(kind.value_type)
    return pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind) or pt.is_string(kind) or pt.is_large_string(kind)


def _lists(column: pa.Array) -> Carried:
    values, bad = carry(pc.list_flatten(column))
    sizes = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    offsets = pa.array(np.append(0, np.cumsum(sizes)).astype(np.int32))
    made = pa.ListArray.from_arrays(offsets, values, mask=column.is_null())
    return made, np.bincount(np.repeat(np.arange(len(column)), sizes)[bad], minlength=len(column)) > 0


def _words(column: pa.Array, bad: np.ndarray) -> Carried:
    """Any values as text: nested ones as JSON, times in ISO 8601. Values that Python cannot represent are null."""
    if not pt.is_nested(column.type):
        try:
            return _text(column.cast(STR))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # converted one by one below
    spell: Callable = (lambda v: to_json(v).decode()) if pt.is_nested(column.type) else str
    found: list[str | None] = []
    for i, scalar in enumerate(column):
        try:
            value = scalar.as_py()
            found.append(value if value is None else spell(value))
        except UnicodeDecodeError:
            found.append(None)
            bad[i] = True
        except (ValueError, OverflowError, ArithmeticError, RecursionError):
            found.append(None)
    text, long = _text(pa.array(found, STR))
    return text, bad | long


def carry_table(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """A table converted to types of pools, and a mask of the rows with an invalid value. Metadata of a field names its original type if it
    was nested."""
    bad, arrays, fields = np.zeros(len(table), bool), [], []
    for field, column in zip(table.schema, table.columns):
        array, hostile = carry(column.combine_chunks())
        arrays.append(array)
        note = {b"nested": str(field.type).encode()} if nested(field.type) else (field.metadata or {})
        fields.append(pa.field(field.name, array.type, metadata={k: v for k, v in note.items() if k == b"nested"} or None))
        bad |= hostile
    return pa.table(arrays, schema=pa.schema(fields)), bad


def check_text(field: pa.Field, file: str) -> None:
    """RecipeError if a column of a table made by `carry_table` cannot be used as text."""
    if was := (field.metadata or {}).get(b"nested"):
        raise RecipeError(f"{file}: column {field.name!r} holds {was.decode()}, not text")


# ---- rows


def first_of(reasons: Iterable[tuple[pa.Array, str]], count: int) -> pa.Array:
    """For each row the name of the first mask that is true there, else null."""
    found = pa.nulls(count, STR)
    for mask, name in reasons:
        if isinstance(mask, pa.ChunkedArray):
            mask = mask.combine_chunks()
        found = pc.if_else(pc.and_(mask, pc.is_null(found)), pa.scalar(name, STR), found)
    return found


def rows(file: str, start: int, count: int) -> dict[str, pa.Array]:
    """`source_file` and `source_row` of `count` rows from row `start`."""
    return {"source_file": pa.repeat(pa.scalar(file, STR), count), "source_row": pa.array(np.arange(start, start + count))}
