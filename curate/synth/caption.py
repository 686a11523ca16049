"""Texts that a model writes for a row: captions from its picture, rewritings from its texts; and where each came from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.selector import coin
from curate.synth.captioners.base import Answer, Content
from curate.synth.captioners.schema import arrow_type, value
from curate.synth.model_stage import AnsweredRow, ModelStage
from curate.synth.prompts import names


@dataclass
class TextStage(ModelStage):
    """What Caption and Rewrite share. Under the name `caption_x` it adds `caption_x`, the text, and `caption_x_made`, a struct
    of where it came from (asked.MADE and ANSWER). With n > 1 it adds `caption_x_candidates`, a list of n texts, for BestOf to
    choose from. A text that could not be had is null.

    With `decoding.schema` the text is JSON that follows it, and `caption_x_data` has it as a struct: `caption_x_data.colour` in SQL.

    of: for each name in the prompt's braces the column that it stands for, e.g. {"text": "text", "synthetic": "caption_coca"}.
    A row of which one of them is null or empty is not asked for: its text is null. Without `of` braces mean themselves.
    """

    of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if not self.name.startswith("caption_"):
            self.name = f"caption_{self.name}"
        lacking = set(names(self._prompt)) - set(self.of)
        if self.of and lacking:
            raise RecipeError(f"{self.name}: the prompt has {{{', '.join(sorted(lacking))}}}, which `of` does not name")
        self.reads = tuple(dict.fromkeys((*type(self).reads, *self.of.values())))

    def prompts(self, live: pa.Table) -> Iterator[str | None]:
        """The prompt of each row, with its texts; None where one of them is lacking."""
        needed = names(self._prompt) if self.of else []
        columns = {name: live[self.of[name]].to_pylist() for name in needed}
        for i in range(len(live)):
            row = {name: values[i] for name, values in columns.items()}
            yield (self._prompt.format(**row) if needed else self._prompt) if all(row.values()) else None

    @property
    def column(self) -> str:
        return self.name if self.n == 1 else f"{self.name}_candidates"

    def adds(self) -> dict[str, pa.DataType]:
        text = pa.large_string() if self.n == 1 else pa.list_(pa.large_string())
        data = {} if not self._typed else {f"{self.name}_data": arrow_type(self.decoding.schema)}
        return {self.column: text, f"{self.name}_made": self.made_type(), **data}

    @property
    def _typed(self) -> bool:
        return self.decoding.schema is not None and self.n == 1

    def columns(self, rows: list[AnsweredRow]) -> pa.Table:
        texts = [[a.text for a in r.answers] if self.n > 1 else r.answers[0].text for r in rows]
        kinds = TextStage.adds(self)
        found = pa.table({self.column: pa.array(texts, kinds[self.column]), self.made_column: self.made(rows)})
        if not self._typed:
            return found
        kind = kinds[f"{self.name}_data"]
        data = [None if text is None else value(json.loads(text), kind) for text in texts]
        return found.append_column(f"{self.name}_data", pa.array(data, kind))


@dataclass
class Caption(TextStage):
    """A model's captions of the row's picture, asked for with a prompt that may have texts of the row in it.

    share: of the rows, those that are captioned, drawn by the coin of Mix: where Mix draws the written text last, with this share and
    seed, every row that it draws for has one. The others have no text, and `finish` is `not_drawn`.

    As LAION-COCO, BLIP (2201.12086) and Recap-DataComp (2406.08478) ask their captioners.
    """

    reads = ("image",)

    share: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise RecipeError(f"{self.name}: share is {self.share:g}; it is above 0 and at most 1")

    def contents(self, live: pa.Table, images: list[np.ndarray | str]) -> Iterator[Content | Answer]:
        drawn = coin(live["uid"].to_pylist(), self.seed, "mix") >= 1 - self.share
        for image, prompt, mine in zip(images, self.prompts(live), drawn):
            if not mine or isinstance(image, str) or prompt is None:
                yield Answer(None, "not_drawn" if not mine else "no_text" if prompt is None else "bad_image")
            else:
                yield image, prompt


@dataclass
class Rewrite(TextStage):
    """A text made of the row's texts by a text-only model: LaCLIP's rewriting, CapsFusion's fusion."""

    prompt: str = "rewrite"
    of: dict[str, str] = field(default_factory=lambda: {"text": "text"})

    def contents(self, live: pa.Table) -> Iterator[Content | Answer]:
        for prompt in self.prompts(live):
            yield Answer(None, "no_text") if prompt is None else (prompt,)


@dataclass
class Translate(Rewrite):
    """The text in English. A row whose language (the column `language`, of filters.Language) is English is not asked for: its text
    stays as it is, and `finish` is `same`.

    language: column with the language of the text.
    """

    prompt: str = "translate"
    language: str = "language"

    def __post_init__(self):
        super().__post_init__()
        self.reads = (*self.reads, self.language)

    def contents(self, live: pa.Table) -> Iterator[Content | Answer]:
        texts = live[next(iter(self.of.values()))].to_pylist()
        for text, language, asked in zip(texts, live[self.language].to_pylist(), super().contents(live)):
            yield Answer(text, "same") if text and language == "en" else asked
