"""Stages and filters: what is computed for one part at a time, and the drop ledger.

A stage adds columns to the live rows of one table. What it adds is committed and never changes; who is dropped for
it is judged from the committed columns each time, so that moving a bound costs nothing.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.cost import Cost
from curate.preprocess import PREPARED, Preprocess


def column(read: str) -> str:
    """The column in which what a step reads is kept: pixels and bytes are where their payload is."""
    return "payload" if read in ("image", "bytes") else read


def snake(name: str) -> str:
    """`CaptionWords` -> `caption_words`; `ClipScore` -> `clip_score`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def digest(value: Any) -> str:
    """12 hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass
class Step:
    """What stages and selectors share: a name (of the class, unless given), what they read, their parameters."""

    table = "images"  # of the rows that it sees; a step of any table has it as a parameter
    reads: ClassVar[tuple[str, ...]] = ()  # columns; "image" means decoded pixels, "bytes" the file as kept
    version: ClassVar[int] = 1  # goes up when the meaning of what it adds changes
    untracked: ClassVar[tuple[str, ...]] = ()  # parameters that do not change what is stored (bounds, time-outs)
    redacts: ClassVar[Mapping[str, str]] = MappingProxyType({})  # columns -> those of `adds` that shards hold in their place
    captions: ClassVar[str] = ""  # the column of `adds` that shards take for the caption where it is not empty
    network: ClassVar[bool] = False  # waits on the network rather than on a core
    context: ClassVar[tuple[str, ...]] = ()  # tables of which the part's rows are given too, as keyword arguments
    writes_payload: ClassVar[bool] = False  # writes bytes (fetching): `run` gets a payload.Parcel
    hashes: ClassVar[str] = ""  # where it writes bytes: the column of `adds` with their SHA-256, unless that is `sha256`
    exposes: ClassVar[tuple[tuple[str, str], ...]] = ()  # texts (table, column) of other tables that its strings pass on

    name: str = field(default="", kw_only=True)

    def __post_init__(self):
        self.name = self.name or snake(type(self).__name__)

    def adds(self) -> dict[str, pa.DataType]:
        """The columns it adds, with their types."""
        return {}

    def parameters(self) -> dict[str, Any]:
        """The parameters as plain JSON values: this goes into recipe.json."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}

    def identity(self) -> dict[str, Any]:
        """What its stored values depend on, besides its input: class, version and the parameters that count."""
        counted = {k: v for k, v in self.parameters().items() if k not in self.untracked}
        return {"class": type(self).__name__, "version": self.version, **counted, **self.weights()}

    def weights(self) -> dict[str, str]:
        """Hashes of the model files it uses, by role; empty for a step without a model."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """Where the captions that it writes come from, for the record of each shard; empty for a step that writes none."""
        return {}

    @property
    def rewrites(self) -> bool:
        """Whether the bytes that it keeps are not those of `sha256`."""
        return False

    def preflight(self, widths: dict[str, int]) -> None:
        """RecipeError if something that it loads is missing or does not fit. Called once, before a run fetches anything; downloads
        nothing. widths: lengths of the embeddings in columns, as far as they are known."""

    def costs(self, rows: int) -> list[Cost]:
        """What it costs for so many rows of which all reach it, where that is more than a rule's; no run was measured."""
        return []

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        """Let it contact networks that are not public, such as `127.0.0.0/8`; nothing for a step that contacts none."""

    def widths(self) -> dict[str, int]:
        """Lengths of the embeddings that it adds, by column, where they are known before it runs."""
        return {}


def plain(value: Any) -> Any:
    """A parameter as JSON: dataclasses become dicts, sets are sorted, paths and types become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


@dataclass
class Stage(Step):
    """Adds columns to the live rows of one table of one part, looking at one row at a time.

    Write `run`. It gets the live rows (their `reads`, and `uid`) and returns a table of the columns in `adds()`, one
    row for each row given, in order. A stage that reads "image" gets a second argument: a list of uint8 arrays of shape
    (height, width, 3), RGB, or where it is `prepared` one array (rows, size, size, 3); one that reads "bytes" a list of bytes.
    One that `writes_payload` bytes gets a payload.Parcel, the payload being written; it is given all live rows of the part at once.
    A stage that overrides `load` keeps a model: it lives in an actor, and may ask for a GPU with `gpus`. `load` and `run` are called in
    one thread.
    """

    gpus: ClassVar[float] = 0  # of a GPU, for each actor; where there is none the stage runs on the CPU
    chunk: ClassVar[int] = (
        256  # rows handed to `run` at a time; independent of scheduling, so that scheduling cannot move a score
    )
    casts: ClassVar[bool] = False  # its model works in bfloat16 on a GPU, see `precision`
    prepared: ClassVar[bool] = False  # pictures come as its model's input: `load` says in `preprocess` how they are made
    optional_reads: ClassVar[tuple[str, ...]] = ()  # columns that it gets too where the rows have them
    instead: ClassVar[str] = ""  # the column that it gets as `text`, see `reading`
    looks: ClassVar[bool] = (
        False  # `run` gets a function that decodes pictures of `context`: rows with schema.PAYLOAD -> pixels
    )
    skip_where: ClassVar[str] = ""  # a column: rows in which it is not null get no values of this stage
    streams: ClassVar[bool] = False  # rows flow through `stream`; it has no deadline for a part

    #: Rows in one pass of its model, where those are not all of a call; set by `load`.
    batch = 0
    #: Of the weights and products of a model that `casts`: settled when a run begins, the same throughout.
    precision = "float32"
    preprocess: ClassVar[Preprocess | None] = None
    #: By time.monotonic: what is not done by then is left undone, or the whole part is lost. Set before each `run`.
    ends = math.inf
    #: Hears how many rows a `run` that takes long is through with. Set before each `run`.
    tell = staticmethod(lambda rows: None)

    def reading(self, column: str) -> Self:
        """The same stage with another column in the place of `text`: a filter of captions asked of a cleaned or a written one."""
        self.instead, self.reads = column, tuple(column if read == "text" else read for read in self.reads)
        return self

    def identity(self) -> dict[str, Any]:
        more = {"instead": self.instead} if self.instead else {}
        more |= {"pixels": PREPARED} if self.prepared else {}
        return super().identity() | more | ({"precision": self.precision} if self.casts else {})

    def load(self) -> None:
        """Load the model. Called once in each worker, before the first `run`."""

    def loading(self) -> str:
        """What `load` loads, for people who wait: the model's name, with its size where that is known."""
        return getattr(self, "model", "") or self.name

    @property
    def loads(self) -> bool:
        """True if it keeps a model."""
        return type(self).load is not Stage.load

    @property
    def pixels(self) -> bool:
        return "image" in self.reads

    def run(self, live: pa.Table, *inputs: Any, **context: Any) -> pa.Table:
        raise NotImplementedError(f"{type(self).__name__} must define run()")

    def stream(
        self, chunks: Iterator[tuple[np.ndarray, pa.Table, Any, Any]], allowance: Any
    ) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """For a stage that `streams`: in come some rows at a time, as (their places in the part, their table, further positional
        arguments of `run`, keyword arguments of `run`), read only as far as they are needed; out go rows that are done, in any order,
        as (places, columns), which are committed at once. When the allowance (score.budget.Allowance) is spent it reads no more."""
        raise NotImplementedError(f"{type(self).__name__} must define stream()")

    def spent(self, columns: pa.Table) -> tuple[float, int]:
        """The cost of its values in these rows, and the tokens that a model read and wrote for them."""
        return 0.0, 0

    def open_again(self, columns: pa.Table, failed: bool) -> np.ndarray:
        """Of committed rows those to be computed again: that were left out for lack of budget, and those that failed if so asked."""
        return np.zeros(len(columns), dtype=bool)

    def close(self) -> None:
        """Close what `load` or `stream` opened; called when a run ends while the process goes on."""

    def judge(self, columns: pa.Table) -> pa.Array:
        """For each row of its committed columns: null to keep, else the reason for dropping it."""
        return pa.nulls(len(columns), pa.large_string())


@dataclass
class Filter(Stage):
    """Adds one score column, named like itself, and keeps `min <= score <= max`. A null score is a drop, never a pass.

    Write `score`: live rows in, and what `run` of a stage gets besides; one value a row out, in order.
    """

    untracked = ("min", "max")
    dtype: ClassVar[pa.DataType] = pa.float32()
    unit: ClassVar[str] = ""  # of the score, or its range, for the reference

    min: float | None = None
    max: float | None = None

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: self.dtype}

    def run(self, live: pa.Table, *inputs: Any, **context: Any) -> pa.Table:
        scores = self.score(live, *inputs, **context)
        if isinstance(scores, pa.ChunkedArray):
            scores = scores.combine_chunks()
        elif not isinstance(scores, pa.Array):
            scores = pa.array(scores, self.dtype, from_pandas=True)
        if self.loads and pa.types.is_floating(self.dtype):
            scores = float16(scores)
        return pa.table({self.name: scores.cast(self.dtype)})

    def score(self, live: pa.Table, *inputs: Any, **context: Any) -> pa.Array | np.ndarray | list:
        raise NotImplementedError(f"{type(self).__name__} must define score()")

    def judge(self, columns: pa.Table) -> pa.Array:
        return within(columns[self.name], self.min, self.max, self.name)


def within(score: pa.ChunkedArray | pa.Array, min: float | None, max: float | None, reason: str) -> pa.Array:
    """Null where min <= score <= max, the reason elsewhere; a null or NaN score gets the reason."""
    floating = pa.types.is_floating(score.type)
    # A bound is as precise as its score: float32 0.7 keeps min=0.7.
    low, high = (b if b is None or not floating else pa.scalar(b, score.type) for b in (min, max))
    keep = pc.is_finite(pc.fill_null(score, float("nan"))) if floating else pc.is_valid(score)
    if low is not None:
        keep = pc.and_(keep, pc.fill_null(pc.greater_equal(score, low), False))
    if high is not None:
        keep = pc.and_(keep, pc.fill_null(pc.less_equal(score, high), False))
    return reasons(keep, reason)


def below(bound: float) -> float:
    """The largest float32 under a bound: for a published "less than" where `max` is inclusive."""
    return float(np.nextafter(np.float32(bound), np.float32(-np.inf)))


def above(bound: float) -> float:
    """The smallest float32 over a bound: for a published "greater than" where `min` is inclusive."""
    return float(np.nextafter(np.float32(bound), np.float32(np.inf)))


def reasons(keep: pa.ChunkedArray | pa.Array, reason: str) -> pa.Array:
    """Null where kept, the reason elsewhere."""
    drop = pc.if_else(keep, pa.scalar(None, pa.large_string()), pa.scalar(reason, pa.large_string()))
    return drop.combine_chunks() if isinstance(drop, pa.ChunkedArray) else drop


def float16(scores: pa.Array) -> pa.Array:
    """Rounded to float16 precision (kept as float32): the last bits of a model's output depend on the machine."""
    values = np.asarray(scores.to_numpy(zero_copy_only=False), dtype=np.float32)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16).astype(np.float32)
    large = np.isinf(halves) & np.isfinite(values)
    part, power = np.frexp(values[large])
    halves[large] = np.ldexp(np.round(part * 2048) / 2048, power)  # as many bits, beyond what float16 reaches
    return pa.array(halves, mask=np.asarray(pc.is_null(scores)))
