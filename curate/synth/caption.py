"""Texts that a model writes for a row: captions from its picture, rewritings from its texts; and where each came from."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import CurateError, RecipeError
from curate.stage import Stage, digest, plain
from curate.synth.captioners.base import Answer, Decoding, Request, Seen, Writer, seed_of
from curate.synth.prompts import names, prompt_hash, prompt_text

log = logging.getLogger(__name__)

#: What is recorded of every text. The first six are the same for a whole stage; they stand in each row so that
#: `select ... where caption_coca_made.model = ...` needs no other file.
MADE = {
    "model": pa.large_string(),
    "weights": pa.large_string(),
    "engine": pa.large_string(),
    "prompt": pa.large_string(),  # its hash, prompts.prompt_hash
    "decoding": pa.large_string(),  # hash of the Decoding; recipe.json has it in full
    "seed": pa.int64(),
    "image_sha256": pa.large_string(),
    "image_width": pa.int32(),
    "image_height": pa.int32(),  # as the model saw it
}
#: What is recorded of every answer: one value, or a list if there are several candidates.
ANSWER = {"finish": pa.large_string(), "tokens": pa.int32(), "tokens_in": pa.int32(), "cost": pa.float64()}


@dataclass
class Written(Stage):
    """What Caption and Rewrite share. Under the name `caption_x` it adds `caption_x`, the text, and `caption_x_made`, a struct
    of where it came from (MADE and ANSWER). With n > 1 it adds `caption_x_candidates`, a list of n texts, for BestOf to choose
    from.

    by: the model (curate.synth.captioners). prompt: a name of synth.prompts.PROMPTS, or a text. The seed of a text is a hash of uid,
    seed and its turn among the n. A text that could not be had is null, and `finish` says why; the row stays.
    """

    by: Writer = field(default_factory=Writer)
    prompt: str = "none"
    n: int = 1
    decoding: Decoding = field(default_factory=Decoding)
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if not self.name.startswith("caption_"):
            self.name = f"caption_{self.name}"
        self.gpus, self.network = self.by.gpus, self.by.network
        self._prompt = prompt_text(self.prompt)
        if self.n < 1:
            raise RecipeError(f"{self.name}: n is {self.n}; it is at least 1")
        if self.n > 1 and self.decoding.temperature == 0:
            raise RecipeError(f"{self.name}: {self.n} candidates without a temperature would all be the same")

    @property
    def column(self) -> str:
        return self.name if self.n == 1 else f"{self.name}_candidates"

    def adds(self) -> dict[str, pa.DataType]:
        text = pa.large_string() if self.n == 1 else pa.list_(pa.large_string())
        answer = ANSWER if self.n == 1 else {k: pa.list_(v) for k, v in ANSWER.items()}
        return {self.column: text, f"{self.name}_made": pa.struct(list((MADE | answer).items()))}

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "by": self.by.identity(), "prompt": self._prompt}

    def provenance(self) -> dict[str, Any]:
        """For a shard's `.json`: what the short hashes in the rows stand for."""
        return {
            "column": self.column,
            "by": plain(self.by),
            "weights": self.by.weights(),
            "engine": self.by.version(),
            "prompt": {"name": self.prompt, "hash": prompt_hash(self._prompt), "text": self._prompt},
            "decoding": plain(self.decoding),
            "n": self.n,
            "seed": self.seed,
        }

    def preflight(self, widths: dict[str, int]) -> None:
        self.by.preflight()

    def load(self) -> None:
        self.by.load()

    def ask(self, live: pa.Table, images: list[np.ndarray | str] | None, prompts: list[str | None]) -> pa.Table:
        """The stage's columns. A None among the prompts asks for nothing: its texts are null, finish `no_text`."""
        uids, answers, pictures = live["uid"].to_pylist(), [], []
        for first, ready in self._ready(images, len(uids)):
            rows = range(first, first + len(ready))
            wanted = [
                (i, turn)
                for i in rows
                if not isinstance(ready[i - first], str) and prompts[i] is not None
                for turn in range(self.n)
            ]
            asked = [Request(prompts[i], ready[i - first], seed_of(uids[i], self.seed, turn)) for i, turn in wanted]
            got = dict(zip(wanted, self._write(asked))) if asked else {}
            missing = {i: Answer(None, "no_text" if prompts[i] is None else "bad_image") for i in rows}
            answers += [[got.get((i, turn), missing[i]) for turn in range(self.n)] for i in rows]
            pictures += [replace(p, data=None) if isinstance(p, Seen) else None for p in ready]
        if len(answers) >= 8 and all(a.finish == "error" for each in answers for a in each):
            raise RuntimeError(f"{self.by.model} fails for every row; see the log")
        return self._table(answers, pictures)

    def _ready(self, images: list[np.ndarray | str] | None, count: int) -> Iterator[tuple[int, list[Any]]]:
        """Batches of prepared pictures; while the model is at work on one, threads prepare the next two."""
        size = max(1, self.by.batch // self.n)
        if images is None:
            yield from ((first, [None] * (min(first + size, count) - first)) for first in range(0, count, size))
            return
        with ThreadPoolExecutor(max(2, round(self.by.batch / 8))) as pool:
            ahead: deque[Future] = deque(pool.submit(self._prepare, i) for i in images[: 2 * size])
            for first in range(0, count, size):
                ready = [ahead.popleft().result() for _ in images[first : first + size]]
                ahead.extend(pool.submit(self._prepare, i) for i in images[first + 2 * size : first + 3 * size])
                yield first, ready

    def _prepare(self, image: np.ndarray | str) -> Seen | str:
        """One picture made ready, or a word for one that cannot be."""
        if isinstance(image, str):
            return image
        try:
            return self.by.prepare(image)
        except CurateError:
            raise
        except Exception as e:  # whatever a model's own preparation may raise: one bad picture costs one row
            log.warning("%s: a picture of %s cannot be prepared: %s: %s", self.name, image.shape, type(e).__name__, e)
            return "bad_image"

    def _write(self, requests: list[Request]) -> list[Answer]:
        """Answers to requests. If the batch breaks the model it is cut in halves, until the one that does is alone."""
        try:
            return self.by.write(requests, self.decoding)
        except CurateError:
            raise
        except Exception as e:
            if len(requests) == 1:
                log.warning("%s: seed %d: %s: %s", self.name, requests[0].seed, type(e).__name__, e)
                return [Answer(None, "error")]
            middle = len(requests) // 2
            return self._write(requests[:middle]) + self._write(requests[middle:])

    def _table(self, answers: list[list[Answer]], pictures: list[Seen | None]) -> pa.Table:
        fixed = {
            "model": self.by.model,
            "weights": self.by.weights(),
            "engine": self.by.version(),
            "prompt": prompt_hash(self._prompt),
            "decoding": digest(plain(self.decoding)),
            "seed": self.seed,
        }
        rows = []
        for each, picture in zip(answers, pictures):
            values = {k: [getattr(a, k) for a in each] for k in ANSWER}
            seen = (
                {"image_sha256": picture.sha256, "image_width": picture.width, "image_height": picture.height}
                if picture
                else {}
            )
            rows.append({**fixed, **seen, **(values if self.n > 1 else {k: v[0] for k, v in values.items()})})
        texts = [[a.text for a in each] if self.n > 1 else each[0].text for each in answers]
        text, made = list(Written.adds(self).items())
        return pa.table({text[0]: pa.array(texts, text[1]), made[0]: pa.array(rows, made[1])})


@dataclass
class Caption(Written):
    """A model's captions of the row's picture."""

    reads = ("image",)

    def run(self, live: pa.Table, images: list[np.ndarray | str]) -> pa.Table:
        return self.ask(live, images, [self._prompt] * len(live))


@dataclass
class Rewrite(Written):
    """A text made of the row's texts by a model without eyes: LaCLIP's rewriting, CapsFusion's fusion, translation.

    of: for each name in the prompt's braces the column that it stands for, e.g. {"text": "text", "synthetic": "caption_coca"}.
    A row of which one of them is null or empty is not asked for: its text is null.
    """

    prompt: str = "rewrite"
    of: dict[str, str] = field(default_factory=lambda: {"text": "text"})

    def __post_init__(self):
        super().__post_init__()
        lacking = set(names(self._prompt)) - set(self.of)
        if lacking:
            raise RecipeError(f"{self.name}: the prompt has {{{', '.join(sorted(lacking))}}}, which `of` does not name")
        self.reads = tuple(dict.fromkeys(self.of.values()))

    def run(self, live: pa.Table) -> pa.Table:
        columns = {name: live[column].to_pylist() for name, column in self.of.items()}
        rows = ({n: values[i] for n, values in columns.items()} for i in range(len(live)))
        return self.ask(
            live, None, [self._prompt.format(**r) if all(r[n] for n in names(self._prompt)) else None for r in rows]
        )
