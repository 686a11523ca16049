"""Embeddings of a pool in chunks, clusters of them, and exact cosines.

In frames vectors are float16 and of unit length. Whatever decides something is computed again in float64 for the few pairs in
question, so that block sizes, threads and devices cannot move a decision.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.models import card
from curate.select.database import query
from curate.select.exchange import Frame

#: Decimals that count in a cosine: two equal vectors have similarity 1, whatever the last bits say.
DECIMALS = 6

#: Cosines in float32 are right within this; what is closer to a bound, or to another, is computed again.
MARGIN = 2e-5


# ---- vectors in tables


def matrix(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of vectors as (rows, width), in its own type. RecipeError if they differ in length."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    if not len(values):
        return np.empty((0, 0), np.float32)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    width = len(flat) // len(values)
    lengths = values.value_lengths().to_numpy(zero_copy_only=False) if not pa.types.is_fixed_size_list(values.type) else []
    if len(flat) != width * len(values) or any(n != width for n in np.unique(lengths)):
        raise RecipeError("vectors of different lengths")
    return flat.reshape(len(values), width)


def column(vectors: np.ndarray, kind: type = np.float16) -> pa.Array:
    """(rows, width) vectors as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors, kind).ravel()), max(vectors.shape[1], 1))


@dataclass(frozen=True)
class Embedded:
    """A task: the rows that have a vector in a column: `id`, `uid`, the columns of an SQL select list, the vector as `v` (float16, unit length;
    zeros for one that is zero or has NaN in it: like nothing else), and `same`, 16 bytes that equal vectors share."""

    column: str
    more: str = ""

    def __call__(self, live: pa.Table) -> pa.Table:
        found = live.filter(live[self.column].is_valid())
        try:
            raw = matrix(found[self.column])
        except RecipeError as e:
            raise RecipeError(f"column {self.column}: {e}") from e
        rows = found.drop_columns([self.column])
        more = f", {self.more}" if self.more else ""
        order = query(f"select row_number() over () - 1 as at, id, uid{more} from live", {"live": rows})
        order = order.take(pa.array(np.argsort(order["id"].to_numpy(), kind="stable")))
        # DuckDB may give the rows in any order: they are put beside their vectors by id.
        ids = found["id"].to_numpy()
        raw = raw[np.argsort(ids, kind="stable")]
        vectors = unit(raw.astype(np.float32))
        zero = ~vectors.any(axis=1)
        same = [hashlib.md5(v.tobytes(), usedforsecurity=False).digest() for v in raw]
        same = [i.to_bytes(16, "big") if z else s for s, z, i in zip(same, zero.tolist(), order["id"].to_pylist())]
        return order.drop_columns(["at"]).append_column("v", column(vectors)).append_column("same", pa.array(same, pa.binary()))


def embedded(live: Frame, name: str, more: str = "") -> tuple[Frame, int]:
    """The rows with a vector in a column (Embedded), and the vectors' width, 0 if there are none."""
    rows = live.each(Embedded(name, more))
    widths = {w for t in rows.each(_width).tables() for w in t["width"].to_pylist() if w}
    if len(widths) > 1:
        raise RecipeError(f"column {name}: vectors of different lengths: {', '.join(map(str, sorted(widths)))}")
    return rows, max(widths, default=0)


def _width(rows: pa.Table) -> pa.Table:
    return pa.table({"width": [rows["v"].type.list_size if len(rows) else 0]})


@dataclass(frozen=True)
class Without:
    """A task: the ids of the rows that have no vector. Where one decides they are dropped, as a null score is."""

    column: str

    def __call__(self, live: pa.Table) -> pa.Table:
        return live.filter(live[self.column].is_null()).select(["id"])


# ---- arithmetic


def unit(vectors: np.ndarray) -> np.ndarray:
    """Float16 vectors of length 1 (within float16's precision)."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scaled = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return np.where(np.isfinite(scaled).all(axis=1, keepdims=True), scaled, 0).astype(np.float16)


def l2_normalize(vectors: np.ndarray) -> np.ndarray:
    """Float32 copies of length 1 in float32's precision; zeros stay zeros."""
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of `a` with the same row of `b`, rounded to DECIMALS; 0 where a vector is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.round((a * b).sum(axis=1) / np.where(size > 0, size, np.inf), DECIMALS)


def products(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The inner product of each point, made unit, with the same row of `centroids` as they are, rounded to DECIMALS: the cosine where
    these are unit too."""
    points, centroids = points.astype(np.float64), centroids.astype(np.float64)
    size = np.sqrt((points * points).sum(axis=1))
    return np.round((points * centroids).sum(axis=1) / np.where(size > 0, size, np.inf), DECIMALS)


def place(device: str) -> str | None:
    """Where this process computes, for `auto`, `cpu` or `gpu`: torch's name of a card, or None for its cores."""
    if device not in ("auto", "cpu", "gpu"):
        raise RecipeError(f"device must be auto, cpu or gpu, not {device}")
    found = card.name() if device != "cpu" else None
    if device == "gpu" and not found:
        raise RecipeError("device gpu: torch sees no card in this process")
    return found


def gpus(device: str) -> float:
    """The share of a card that a task asks for which computes on `device`, on a cluster that has cards: two tasks share one, so that
    one reads while the other computes."""
    return 0.0 if device in ("", "cpu") else 0.5


@dataclass(frozen=True)
class _Taken:
    device: str

    @property
    def gpus(self) -> float:
        return gpus(self.device)

    def __call__(self, rows: pa.Table) -> pa.Table:
        return pa.table({"device": [place(self.device) or "cores"]})


def taken(rows: Frame, device: str) -> str:
    """Where the tasks of a plan compute, for the notes of a run: asked of one of them."""
    return rows.put(pa.table({})).each(_Taken(device)).table()["device"][0].as_py()


def comparer(device: str) -> tuple[Callable[[np.ndarray], Any], Callable[[Any, Any, float], tuple[np.ndarray, ...]], float]:
    """How blocks of float16 vectors are compared here: a function that takes a block to where that is done; one that finds the pairs of
    two blocks (`pairs`); and within what its cosines are right."""
    where = place(device)
    if where is None:
        return l2_normalize, pairs, MARGIN
    return partial(card.block, card=where), card.pairs, card.MARGIN


def pairs(left: np.ndarray, right: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a cosine of at least `least`, within MARGIN: places in `left`, ascending, places in `right`, cosines. Of a block with
    itself (`right is left`) each pair once, the later row in `left`."""
    found = left @ right.T
    over = found >= least
    i, j = np.nonzero(np.tril(over, -1) if right is left else over)
    return i, j, found[i, j]


def file_hash(path: str | Path) -> str:
    """12 hex digits of the SHA-256 of a file."""
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()[:12]
    except OSError as e:
        raise RecipeError(f"{path}: {e.strerror}") from e


def bytes_hash(data: bytes) -> str:
    """12 hex digits of the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()[:12]


def vectors_ready(who: str, path: str, column: str, width: int | None, least: int = 1) -> None:
    """RecipeError unless a .npy file has `least` vectors, of the width of the column's; only its head is read."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as e:
        raise RecipeError(f"{who}: {path}: not a .npy file of vectors: {e}") from e
    if found.ndim != 2 or len(found) < least or found.dtype.kind not in "fiu":
        raise RecipeError(f"{who}: {path}: {found.dtype} of shape {found.shape}, and not a row of numbers for each vector")
    if width not in (None, found.shape[1]):
        raise RecipeError(f"{who}: {path} has vectors of {found.shape[1]} numbers, {column} of {width}: made by another model?")


def load_vectors(path: str, width: int | None, least: int = 1) -> np.ndarray:
    """A .npy file of `least` finite vectors or more, of a given width (None: any); RecipeError if it is something else."""
    try:
        found = np.load(path)
    except (OSError, ValueError) as e:
        raise RecipeError(f"{path}: not a .npy file of vectors: {e}") from e
    if found.ndim != 2 or width not in (None, found.shape[1]):
        raise RecipeError(f"{path}: shape {found.shape} does not fit vectors of {width or 'some'} numbers")
    if len(found) < least:
        raise RecipeError(f"{path}: no vectors")
    found = found.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise RecipeError(f"{path}: row {broken[0]} has NaN or infinity in it ({len(broken)} such rows)")
    return found
