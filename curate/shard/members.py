"""The members of a sample in a shard: `.jpg`, `.json`, `.txt`, each as bytes or as a slice of a payload file."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from curate.errors import PoolError
from curate.fetch.image import SUFFIX

#: Ledger columns that are not in the shards. Some depend on the time or the folder of a run, not on its bytes;
#: the others are the same for every row of a shard. The ledger has them all, by `uid`.
LEFT_OUT = frozenset(
    {
        "fetched_at",
        "payload",
        "payload_offset",
        "payload_size",
        "part",
        "row",
        "source_file",
        "source_row",
        "kept",
        "drop_reason",
        "drop_stage",
        "shard",
        "place",
        "position",
        "fetched_with",
    }
)


@dataclass(frozen=True)
class Slice:
    """A slice of a payload file, from which a shard's member is copied. sha256: checked while copying; None: unknown."""

    payload: str
    offset: int
    size: int
    sha256: str | None = None


#: A sample's members in their order in the tar: suffix (what follows `<key>.`) -> its bytes, or the slice that has them.
Members = dict[str, bytes | Slice]


def caption(row: dict[str, Any], column: str = "") -> str:
    """The caption of a row: the value of `column`, the recipe's choice, if that is not empty, else the raw text."""
    return (column and row[column]) or row["text"] or ""


def image_members(row: dict[str, Any], meta: dict[str, Any], hashed: str | None, captions: str = "") -> Members:
    """The members of a row of `images`: `<key>.jpg|png|…`, `<key>.json` and `<key>.txt`; a null caption is an empty file.

    meta: the fields of the `.json`. hashed: the column with the SHA-256 of the kept bytes, `sha256` if they are as fetched. captions:
    the column that is the caption where it is not empty. PoolError if the row has no image of a known format.
    """
    suffix = SUFFIX.get(row.get("mime"))
    if suffix is None or row.get("payload") is None:
        raise PoolError(
            f"{row.get('payload') or 'no payload'}: no image of a known format ({row.get('mime')}, uid {row['uid']})"
        )
    image = Slice(row["payload"], row["payload_offset"], row["payload_size"], row[hashed] if hashed else None)
    parts = {suffix: image, "json": to_json(meta), "txt": caption(row, captions).encode()}
    return dict(sorted(parts.items()))


def _as_text(value: Any) -> str:
    """A value without a JSON type as text: bytes in hex, times in ISO 8601, decimals."""
    return value.hex() if isinstance(value, bytes) else value.isoformat() if hasattr(value, "isoformat") else str(value)


_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_as_text).encode


def to_json(value: dict[str, Any]) -> bytes:
    """Canonical JSON: sorted names, no white space, NaN and infinity as null, times as text."""
    try:
        return _dumps(value).encode()
    except ValueError:
        return _dumps(_finite(value)).encode()


def _finite(value: Any) -> Any:
    """The same value with null for NaN and infinity, at any depth."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def payload_reference(kind: pa.DataType) -> bool:
    """True for a struct that locates another row's bytes in this run's folder, which has no meaning outside it."""
    return pt.is_struct(kind) and kind.get_field_index("payload") >= 0


def bulky(kind: pa.DataType) -> bool:
    """True for embeddings, lists of hashes and raw bytes: they are in the ledger, not in the `.json` members."""
    # DuckDB hands out lists of float16 as float32.
    if pt.is_list(kind) or pt.is_large_list(kind):
        return kind.value_type in (pa.float16(), pa.float32(), pa.uint64())
    return pt.is_fixed_size_list(kind) or pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)
