"""Stages that query a generating model for each row: rows stream to the model, answers are committed as they complete."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.cost import Cost, model_time
from curate.errors import RecipeError
from curate.score.budget import Allowance, Spending
from curate.stage import Stage, digest, plain
from curate.synth.captioners.base import Answer, Content, Decoding, PreparedImage, Writer, seed_of
from curate.synth.captioners.named import named
from curate.synth.captioners.request_loop import CompletedRequest, PendingRequest, RequestLoop
from curate.synth.captioners.schema import checked, validated
from curate.synth.prompts import prompt_hash, prompt_text

#: What is recorded of every text. The first six are the same for a whole stage; they stand in each row so that
#: `select ... where caption_coca_made.model = ...` needs no other file.
MADE = {
    "model": pa.large_string(),
    "weights": pa.large_string(),
    "engine": pa.large_string(),
    "prompt": pa.large_string(),  # its hash, prompts.prompt_hash
    "decoding": pa.large_string(),  # hash of the Decoding; recipe.json has it in full
    "seed": pa.int64(),
    "image_sha256": pa.large_string(),  # of several pictures: of their hashes, one after another
    "image_width": pa.int32(),
    "image_height": pa.int32(),  # as the model saw it, of several the first
}
#: What is recorded of every answer: one value, or a list if there are several candidates.
ANSWER = {"finish": pa.large_string(), "tokens": pa.int32(), "tokens_in": pa.int32(), "cost": pa.float64()}

#: Seconds after which answers are handed on though there is no chunk of them.
MAX_DELAY = 60.0
#: Rows that fail before any other does not, after which the model is taken for broken.
MAX_FAILURES = 64


@dataclass
class AnsweredRow:
    """A row with its answers (one a turn) and the pictures as the model saw them."""

    place: int
    uid: str
    answers: list[Answer | None]
    pictures: tuple[PreparedImage, ...] = ()


@dataclass
class ModelStage(Stage):
    """Queries a model for each row. Define `contents` (the model's input for each row) and `columns` (from answers to
    columns).

    by: the model (curate.synth.captioners), or its name, as `small` or `caption:Salesforce/blip2-opt-2.7b`. prompt: a name of
    synth.prompts.PROMPTS, or a text. The seed of an answer is a hash of uid, seed and its turn among the n. A row without an answer
    stays, and `finish` says why.
    """

    streams = True
    chunk: ClassVar[int] = 256  # answers that are committed together: no more are lost, or asked for again, when a worker dies

    by: Writer | str = field(default_factory=Writer)
    prompt: str = "none"
    n: int = 1
    decoding: Decoding = field(default_factory=Decoding)
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.by = named(self.by) if isinstance(self.by, str) else self.by
        self.gpus, self.network, self.model = self.by.gpus, self.by.network, self.by.model
        self._prompt = prompt_text(self.prompt)
        self._asking: RequestLoop | None = None
        if self.decoding.schema:
            checked(self.decoding.schema)
        if self.n < 1:
            raise RecipeError(f"{self.name}: n is {self.n}; it is at least 1")
        if self.n > 1 and self.decoding.temperature == 0:
            raise RecipeError(f"{self.name}: {self.n} candidates without a temperature would all be the same")

    def contents(self, live: pa.Table, *inputs: Any, **context: Any) -> Iterable[Content | Answer]:
        """For each row, in order, the model's input; or an answer for a row that needs no query."""
        raise NotImplementedError(f"{type(self).__name__} must define contents()")

    def columns(self, rows: list[AnsweredRow]) -> pa.Table:
        """The columns of `adds` for answered rows."""
        raise NotImplementedError(f"{type(self).__name__} must define columns()")

    def identity(self) -> dict[str, Any]:
        own = {"by": self.by.identity(), "prompt": self._prompt, "decoding": self.decoding.plain()}
        return {**super().identity(), **own}

    def provenance(self) -> dict[str, Any]:
        """For a shard's `.json`: what the short hashes in the rows stand for."""
        return {
            "column": next(iter(self.adds())),
            "by": plain(self.by),
            "weights": self.by.weights(),
            "engine": self.by.version(),
            "prompt": {"name": self.prompt, "hash": prompt_hash(self._prompt), "text": self._prompt},
            "decoding": self.decoding.plain(),
            "n": self.n,
            "seed": self.seed,
        }

    def costs(self, rows: int) -> list[Cost]:
        return model_time(rows)

    def preflight(self, widths: dict[str, int]) -> None:
        self.by.preflight()

    def load(self) -> None:
        self.by.load()
        self._asking = RequestLoop(self.by, self.decoding)

    def close(self) -> None:
        """Close the model; pending requests raise Closed."""
        if self._asking:
            self._asking.close()
            self._asking = None

    def run(self, live: pa.Table, *inputs: Any, **context: Any) -> pa.Table:
        tables = list(self.stream(iter([(np.arange(len(live)), live, inputs, context)]), Allowance()))
        if not tables:
            return self.columns([])
        at = np.concatenate([places for places, _ in tables])
        return pa.concat_tables([columns for _, columns in tables]).take(pa.array(np.argsort(at)))

    def stream(
        self, chunks: Iterator[tuple[np.ndarray, pa.Table, Any, Any]], allowance: Allowance
    ) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Answered rows in order of completion, at most `chunk` at a time."""
        rows, ready, handed, failed = {}, [], time.monotonic(), 0
        for got in self._asking.answers(self._wanted(chunks, rows, ready, allowance)):
            place, turn = got.key
            row = rows[place]
            row.answers[turn], row.pictures = self._checked(got.answer), got.pictures
            allowance.count(_spent(got.answer))
            if failed is not None:
                failed = self._count_failures(failed, got)
            if None not in row.answers:
                ready.append(rows.pop(place))
            if len(ready) >= self.chunk or (ready and time.monotonic() - handed > MAX_DELAY):
                yield self._take_chunk(ready)
                handed = time.monotonic()
        if failed is not None and failed >= 8:
            raise RuntimeError(f"{self.by.model} fails for every row; see the log")
        while ready:
            yield self._take_chunk(ready)

    def _wanted(
        self, chunks: Any, rows: dict[int, AnsweredRow], ready: list[AnsweredRow], allowance: Allowance
    ) -> Iterator[PendingRequest | None]:
        """The requests of the rows; rows without one are ready at once. Yields None where the cost of pending requests must be
        known first; ends with the allowance."""
        for places, live, inputs, context in chunks:
            for place, uid, content in zip(places.tolist(), live["uid"].to_pylist(), self.contents(live, *inputs, **context)):
                if allowance.exhausted and not isinstance(content, Answer):
                    content = Answer(None, "over_budget")
                if isinstance(content, Answer):
                    ready.append(AnsweredRow(place, uid, [content] * self.n))
                    continue
                while allowance.capped and not allowance.left(under_way := _open(rows)):
                    if not under_way:
                        return
                    yield None
                rows[place] = AnsweredRow(place, uid, [None] * self.n)
                for turn in range(self.n):
                    yield PendingRequest((place, turn), content, seed_of(uid, self.seed, turn))

    def _checked(self, answer: Answer) -> Answer:
        return validated(answer, self.decoding.schema) if self.decoding.schema else answer

    def spent(self, columns: pa.Table) -> tuple[float, int]:
        made = columns[self.made_column].to_pylist()
        of = lambda name: sum(v or 0 for m in made if m for v in (m[name] if self.n > 1 else [m[name]]))  # noqa: E731
        return float(of("cost")), int(of("tokens") + of("tokens_in"))

    def open_again(self, columns: pa.Table, failed: bool) -> np.ndarray:
        words = {"over_budget", *(("error", "late", "invalid") if failed else ())}
        ends = [m and m["finish"] for m in columns[self.made_column].to_pylist()]
        return np.array([bool(words & set(e if isinstance(e, list) else [e])) for e in ends], dtype=bool)

    @property
    def made_column(self) -> str:
        """The column with the provenance of its answers."""
        return f"{self.name}_made"

    def _take_chunk(self, ready: list[AnsweredRow]) -> tuple[np.ndarray, pa.Table]:
        some = ready[: self.chunk]
        del ready[: self.chunk]
        return np.array([r.place for r in some], np.int64), self.columns(some)

    def _count_failures(self, failed: int, got: CompletedRequest) -> int | None:
        """The number of failed requests before the first answer; None from the first answer on. RuntimeError at MAX_FAILURES."""
        if got.answer.finish != "error":
            return None if got.answer.finish != "bad_image" else failed
        if failed + 1 >= MAX_FAILURES:
            raise RuntimeError(f"{self.by.model} fails for every row; see the log")
        return failed + 1

    def made(self, rows: list[AnsweredRow]) -> pa.Array:
        """The provenance of the rows' answers: structs of MADE and ANSWER, with lists for ANSWER where n > 1."""
        fixed = {
            "model": self.by.model,
            "weights": self.by.weights(),
            "engine": self.by.version(),
            "prompt": prompt_hash(self._prompt),
            "decoding": digest(self.decoding.plain()),
            "seed": self.seed,
        }
        values = [{**fixed, **_seen(row.pictures), **self._ended(row.answers)} for row in rows]
        return pa.array(values, self.made_type())

    def _ended(self, answers: list[Answer]) -> dict[str, Any]:
        lists = {k: [getattr(a, k) for a in answers] for k in ANSWER}
        return lists if self.n > 1 else {k: v[0] for k, v in lists.items()}

    def made_type(self) -> pa.DataType:
        answer = ANSWER if self.n == 1 else {k: pa.list_(v) for k, v in ANSWER.items()}
        return pa.struct(list((MADE | answer).items()))


def _open(rows: dict[int, AnsweredRow]) -> int:
    """The number of pending answers."""
    return sum(a is None for row in rows.values() for a in row.answers)


def _spent(answer: Answer) -> Spending:
    return Spending(answer.cost or 0.0, (answer.tokens or 0) + (answer.tokens_in or 0))


def _seen(pictures: tuple[PreparedImage, ...]) -> dict[str, Any]:
    """What is recorded of the pictures."""
    if not pictures:
        return {}
    hashes = "".join(p.sha256 for p in pictures)
    whole = hashes if len(pictures) == 1 else hashlib.sha256(hashes.encode()).hexdigest()
    return {"image_sha256": whole, "image_width": pictures[0].width, "image_height": pictures[0].height}
