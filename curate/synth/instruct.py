"""Instruction data in LLaVA's way (2304.08485): a text-only model writes a conversation from captions and boxes."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import PoolError, RecipeError
from curate.selector import coin
from curate.stage import Stage
from curate.synth.caption import Rewrite
from curate.synth.captioners.base import Answer, Content
from curate.synth.model_stage import AnsweredRow
from curate.synth.prompts import prompt_text

#: Where the picture stands in the first turn of a person.
IMAGE = "<image>"
#: LLaVA's samples of each kind.
LLAVA = {"conversation": 58_000, "detail": 23_000, "reasoning": 77_000}
TURN = pa.struct([("from", pa.large_string()), ("value", pa.large_string())])
_SPOKEN = re.compile(r"^\s*\**(question|answer)(?:\s*:\*+(?!\S)|\**\s*:)\s*", re.I | re.M)


@dataclass
class Instruct(Rewrite):
    """Adds `caption_<name>` (what the model wrote) and `caption_<name>_turns`: the conversation, a list of {from: human|gpt,
    value}, of which the first turn holds `<image>` once, on a line of its own. Null where the model did not write question and
    answer in turn.

    texts: columns of captions. boxes: a column of lists of {label, box: [x0, y0, x1, y1]}, in 0..1 of width and height, or "".
    prompt: `conversation`, `detail` or `reasoning` of synth.prompts, or a text with `{facts}`. kinds: several of these with their shares, of
    which each row has one, drawn by the hash of the uid and named in `caption_<name>_kind` (LLaVA's are LLAVA).
    """

    version = 3

    prompt: str = "conversation"
    of: dict[str, str] = field(default_factory=dict)  # made of texts and boxes
    texts: tuple[str, ...] = ("text",)
    boxes: str = ""
    kinds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        self.of = {"facts": "facts"}
        self.kinds = self.kinds or {self.prompt: 1.0}
        super().__post_init__()
        if self.n != 1:
            raise RecipeError(f"{self.name}: one conversation a row")
        self.texts = tuple(self.texts)
        self.reads = (*self.texts, *([self.boxes] if self.boxes else []))

    def adds(self) -> dict[str, pa.DataType]:
        return {**super().adds(), f"{self.name}_turns": pa.list_(TURN), f"{self.name}_kind": pa.large_string()}

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "prompts": {kind: prompt_text(kind) for kind in self.kinds}}

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "prompts": {kind: prompt_text(kind) for kind in self.kinds}}

    def drawn(self, uids: list[str]) -> list[str]:
        """The kind of each row."""
        reach = np.cumsum(list(self.kinds.values())) / sum(self.kinds.values())
        places = np.searchsorted(reach, coin(uids, self.seed, self.name), side="right")
        return [list(self.kinds)[min(at, len(self.kinds) - 1)] for at in places.tolist()]

    def contents(self, live: pa.Table) -> Iterator[Content | Answer]:
        rows = live.select(list(self.reads)).to_pylist()
        for row, kind in zip(rows, self.drawn(live["uid"].to_pylist())):
            known = facts([row[c] for c in self.texts], row[self.boxes] if self.boxes else None)
            yield (prompt_text(kind).format(facts=known),) if known else Answer(None, "no_text")

    def columns(self, rows: list[AnsweredRow]) -> pa.Table:
        turns = pa.array([conversation(r.answers[0].text) for r in rows], pa.list_(TURN))
        kinds = pa.array(self.drawn([r.uid for r in rows]), pa.large_string())
        made = super().columns(rows).append_column(f"{self.name}_turns", turns)
        return made.append_column(f"{self.name}_kind", kinds)


#: Ways to ask for the words in a picture.
TRANSCRIBE = (
    "What does the text in this image say?",
    "Read out the words that can be seen here.",
    "Which words are in this image?",
    "Write down all text in the picture, line by line.",
    "Can you read what is written here?",
)


@dataclass
class Transcribe(Stage):
    """Adds `<of>_turns`: a conversation of one question, drawn by the hash of the uid, for the words in the picture, and their text in the
    column `of` as the answer (LLaVAR's 422,000 instructions of this kind, 2306.17107, are noisy as the reader of text is). Null where
    fewer than `min_words` words were read.

    min_words: words in the picture that a row needs.
    """

    of: str = "ocr_area_text"
    min_words: int = 3
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.reads = (self.of,)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.of}_turns": pa.list_(TURN)}

    def run(self, live: pa.Table) -> pa.Table:
        drawn = (coin(live["uid"].to_pylist(), self.seed, self.name) * len(TRANSCRIBE)).astype(int)
        turns = [
            _turns(TRANSCRIBE[which], text) if text and len(text.split()) >= self.min_words else None
            for which, text in zip(drawn, live[self.of].to_pylist())
        ]
        return pa.table({f"{self.of}_turns": pa.array(turns, pa.list_(TURN))})


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": f"{IMAGE}\n{question}"}, {"from": "gpt", "value": answer.replace(IMAGE, "").strip()}]


def facts(captions: Iterable[str | None], boxes: list[dict[str, Any]] | None = None) -> str | None:
    """Captions and boxes as lines of text: `dog: [0.10, 0.25, 0.50, 0.90]`. None if there is nothing to tell."""
    lines = [c.strip() for c in captions if c and c.strip()]
    for each in boxes or ():
        if len(each["box"]) != 4 or not all(0 <= v <= 1 for v in each["box"]):
            raise PoolError(f"a box of {each['label']} is {each['box']}: four numbers from 0 to 1 are wanted")
        lines.append(f"{each['label']}: [" + ", ".join(f"{v:.2f}" for v in each["box"]) + "]")
    return "\n".join(lines) or None


def conversation(text: str | None) -> list[dict[str, str]] | None:
    """The turns of a text with lines that begin with `Question:` and `Answer:`; None unless they alternate, and none is
    empty."""
    if not text:
        return None
    pieces = _SPOKEN.split(text)
    speakers, values = [p.lower() for p in pieces[1::2]], [v.replace(IMAGE, "").strip() for v in pieces[2::2]]
    if not speakers or speakers != ["question", "answer"] * (len(speakers) // 2) or not all(values):
        return None
    values[0] = f"{IMAGE}\n{values[0]}"
    return [{"from": "human" if s == "question" else "gpt", "value": v} for s, v in zip(speakers, values)]
