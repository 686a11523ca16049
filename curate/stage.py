"""Base classes of steps, stages and filters. Stages and filters compute columns for one part at a time.

A stage adds columns to the live rows of one table. These are committed and never change; which rows are dropped is derived from the
committed columns each time, so that moving a bound costs nothing.
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

from curate.cost import Cost, model_time
from curate.preprocess import PREPARED, Preprocess


def column(read: str) -> str:
    """The column of a table behind an entry of `Step.reads`: `payload` for pixels and bytes."""
    return "payload" if read in ("image", "bytes") else read


def snake(name: str) -> str:
    """A class name in snake case: `CaptionWords` -> `caption_words`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def digest(value: Any) -> str:
    """12 hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass
class Step:
    """Base class of stages and selectors: a name (default: the class in snake case), the columns read and added, the parameters."""

    table = "images"  # of the rows that it sees; a step of any table has it as a parameter
    reads: ClassVar[tuple[str, ...]] = ()  # columns; "image" means decoded pixels, "bytes" the kept file
    version: ClassVar[int] = 1  # to be raised when the meaning of its columns changes
    untracked: ClassVar[tuple[str, ...]] = ()  # parameters that do not change stored values (bounds, time-outs)
    redacts: ClassVar[Mapping[str, str]] = MappingProxyType({})  # columns -> those of `adds` that replace them in shards
    captions: ClassVar[str] = ""  # the column of `adds` that is the caption in shards where it is not empty
    network: ClassVar[bool] = False  # it mostly waits for the network
    context: ClassVar[tuple[str, ...]] = ()  # further tables whose rows of the part are passed to `run`, as keyword arguments
    writes_payload: ClassVar[bool] = False  # it writes bytes (fetching): `run` gets a payload.Parcel
    hashes: ClassVar[str] = ""  # if it writes bytes: the column of `adds` with their SHA-256, unless that is `sha256`
    exposes: ClassVar[tuple[tuple[str, str], ...]] = ()  # (table, column) of texts of other tables that its strings contain
    gpus: ClassVar[float] = 0  # GPUs (or a share of one) for each worker; without a GPU it runs on cores
    device = ""  # where the tasks of a selector compute, a parameter of those that can use a GPU: auto, cpu or cuda
    model = ""  # the model, a parameter of steps that use one
    streams: ClassVar[bool] = False  # it implements `stream` instead of `run`; a part has no deadline

    name: str = field(default="", kw_only=True)

    def __post_init__(self):
        self.name = self.name or snake(type(self).__name__)

    def adds(self) -> dict[str, pa.DataType]:
        """The columns it adds, with their types."""
        return {}

    def parameters(self) -> dict[str, Any]:
        """The parameters as plain JSON values, for recipe.json."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}

    def identity(self) -> dict[str, Any]:
        """What its stored values depend on, besides its input: class, version, tracked parameters and model files."""
        counted = {k: v for k, v in self.parameters().items() if k not in self.untracked}
        return {"class": type(self).__name__, "version": self.version, **counted, **self.weights()}

    def weights(self) -> dict[str, str]:
        """Hashes of the model files it uses, by role; empty for a step without a model."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """The origin of the captions that it writes, for the `.json` of each shard; empty for a step that writes none."""
        return {}

    @property
    def rewrites(self) -> bool:
        """Whether the bytes that it keeps are not those of `sha256`."""
        return False

    def preflight(self, widths: dict[str, int]) -> None:
        """RecipeError if a file that it loads is missing or does not fit. Called once, before a run fetches anything; downloads
        nothing. widths: lengths of the embeddings by column, as far as they are known."""

    def costs(self, rows: int) -> list[Cost]:
        """Its estimated cost if `rows` rows reach it, for `curate plan`; empty for a cheap step."""
        return []

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        """Allow it to contact networks that are not public, such as `127.0.0.0/8`; no effect on a step that contacts none."""

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
    """Base class of steps that add columns to the live rows of one table, one part at a time and row by row.

    Subclasses implement `run`. It gets the live rows (their `reads`, and `uid`) and returns a table of the columns in `adds()`, one
    row for each input row, in order. A stage that reads "image" gets a second argument: a list of uint8 arrays of shape
    (height, width, 3), RGB, or if it is `prepared` one array (rows, size, size, 3); one that reads "bytes" a list of bytes.
    One that `writes_payload` gets a payload.Parcel, the payload being written, and all live rows of the part at once.
    A stage that overrides `load` keeps a model: it runs in an actor, and may request a GPU with `gpus`. `load` and `run` are called in
    one thread.
    """

    chunk: ClassVar[int] = 256  # rows of one call of `run`; fixed, so that scheduling cannot change a score
    casts: ClassVar[bool] = False  # its model computes in bfloat16 on a GPU, see `precision`
    prepared: ClassVar[bool] = False  # it gets pictures as its model's input: `load` sets `preprocess`
    optional_reads: ClassVar[tuple[str, ...]] = ()  # columns that it also gets if the rows have them
    instead: ClassVar[str] = ""  # the column that it gets as `text`, see `reading`
    decodes_context: ClassVar[bool] = (
        False  # `run` gets a function that decodes pictures of `context`: rows with schema.PAYLOAD -> pixels
    )
    skip_where: ClassVar[str] = ""  # a column: rows in which it is not null get no values of this stage

    #: Rows in one pass of its model, if not all of a call; set by `load`.
    batch = 0
    #: Precision of the weights and products of a model that `casts`; decided at the start of a run, the same throughout.
    precision = "float32"
    preprocess: ClassVar[Preprocess | None] = None
    #: Deadline (time.monotonic) after which `run` must leave rows undone, or the whole part is lost. Set before each `run`.
    deadline_at = math.inf
    #: Callback for the number of rows that a long `run` has finished. Set before each `run`.
    report_progress = staticmethod(lambda rows: None)

    def reading(self, column: str) -> Self:
        """The same stage, changed to read another column as `text`, such as a cleaned or a synthetic caption."""
        self.instead, self.reads = column, tuple(column if read == "text" else read for read in self.reads)
        return self

    def identity(self) -> dict[str, Any]:
        more = {"instead": self.instead} if self.instead else {}
        more |= {"pixels": PREPARED} if self.prepared else {}
        return super().identity() | more | ({"precision": self.precision} if self.casts else {})

    def costs(self, rows: int) -> list[Cost]:
        return model_time(rows) if self.gpus else []

    def load(self) -> None:
        """Load the model. Called once in each worker, before the first `run`."""

    def loading(self) -> str:
        """What `load` loads, for the progress display: the model's name, with its size if that is known."""
        return self.model or self.name

    @property
    def loads(self) -> bool:
        """Whether it keeps a model."""
        return type(self).load is not Stage.load

    @property
    def pixels(self) -> bool:
        """Whether it reads decoded pictures."""
        return "image" in self.reads

    def run(self, live: pa.Table, *inputs: Any, **context: Any) -> pa.Table:
        """The columns of `adds()` for the live rows, in order. inputs: pixels, bytes or the parcel; context: rows of other tables."""
        raise NotImplementedError(f"{type(self).__name__} must define run()")

    def stream(
        self, chunks: Iterator[tuple[np.ndarray, pa.Table, Any, Any]], allowance: Any
    ) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """The columns of finished rows, for a stage that `streams`: (indices of the rows in the part, columns), in any order, which are
        committed at once.

        chunks: input rows as (indices in the part, table, further positional arguments of `run`, keyword arguments of `run`), to be
        read only as needed, and no further when the allowance (score.budget.Allowance) is spent.
        """
        raise NotImplementedError(f"{type(self).__name__} must define stream()")

    def spent(self, columns: pa.Table) -> tuple[float, int]:
        """The cost of its values in these rows, and the number of tokens that a model read and wrote for them."""
        return 0.0, 0

    def open_again(self, columns: pa.Table, failed: bool) -> np.ndarray:
        """A mask of the committed rows to be computed again: those left out for lack of budget, and if `failed` those that failed."""
        return np.zeros(len(columns), dtype=bool)

    def close(self) -> None:
        """Release what `load` or `stream` opened; called when a run ends while the process continues."""

    def judge(self, columns: pa.Table) -> pa.Array:
        """For each row of its committed columns null to keep it, else the drop reason."""
        return pa.nulls(len(columns), pa.large_string())


@dataclass
class Filter(Stage):
    """Base class of stages that add one score column, named like the filter, and keep `min <= score <= max`. A null score is dropped.

    Subclasses implement `score`, which gets the arguments of `run` and returns one value for each live row, in order.
    """

    untracked = ("min", "max")
    dtype: ClassVar[pa.DataType] = pa.float32()
    unit: ClassVar[str] = ""  # unit of the score, or its range, for the reference

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
        """The scores of the live rows, in order."""
        raise NotImplementedError(f"{type(self).__name__} must define score()")

    def judge(self, columns: pa.Table) -> pa.Array:
        return within(columns[self.name], self.min, self.max, self.name)


def within(score: pa.ChunkedArray | pa.Array, min: float | None, max: float | None, reason: str) -> pa.Array:
    """Drop reasons of scores: null where min <= score <= max, the reason elsewhere, also for a null or NaN score."""
    floating = pa.types.is_floating(score.type)
    # A bound is rounded to the precision of the score: float32 0.7 passes min=0.7.
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
    """Drop reasons of a mask: null where it is true, the reason elsewhere."""
    drop = pc.if_else(keep, pa.scalar(None, pa.large_string()), pa.scalar(reason, pa.large_string()))
    return drop.combine_chunks() if isinstance(drop, pa.ChunkedArray) else drop


def float16(scores: pa.Array) -> pa.Array:
    """Scores rounded to float16 precision, as float32, since the last bits of a model's output depend on the machine."""
    values = np.asarray(scores.to_numpy(zero_copy_only=False), dtype=np.float32)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16).astype(np.float32)
    large = np.isinf(halves) & np.isfinite(values)
    part, power = np.frexp(values[large])
    halves[large] = np.ldexp(np.round(part * 2048) / 2048, power)  # as many bits, beyond what float16 reaches
    return pa.array(halves, mask=np.asarray(pc.is_null(scores)))
