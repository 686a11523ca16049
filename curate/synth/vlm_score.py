"""Ratings by a model that looks: how good a sample is on a scale, by a question, as a score column with bounds."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.stage import Filter
from curate.synth.captioners.base import Answer, Content, Decoding
from curate.synth.model_stage import AnsweredRow, ModelStage
from curate.synth.prompts import names

#: FineVision's four axes (2510.17269), rated from 1 to 5 there by Qwen3-32B and Qwen2.5-VL-32B; these words are ours.
AXES = {
    "formatting": (
        "Rate how well the following text is written and laid out: grammar, spelling, punctuation, no leftovers of markup or "
        "encoding.\n\n{text}"
    ),
    "relevance": "Rate how well the answer in the following text answers its question, or fits what is asked for.\n\n{text}",
    "visual_dependency": (
        "Rate how much the image is needed to write the following text: 1 if it can be known without seeing the image, the highest "
        "if only the image tells it.\n\n{text}"
    ),
    "image_correspondence": "Rate how well the image and the following text belong together.\n\n{text}",
}


@dataclass
class VlmScore(Filter, ModelStage):
    """Adds a rating by a chat model, a whole number on a scale, and keeps `min <= rating <= max`; and `<name>_made`, where it came
    from with tokens and cost. A row that the model does not rate has none, and falls.

    prompt: one of AXES (`VlmScore(by, "relevance", min=3, name="relevance")`), or a question with columns in braces. scale: the lowest and
    the highest rating. pictures: whether the model is shown the picture; `formatting` and `relevance` need a text-only model.

    min: smallest rating that is kept. scale: lowest and highest rating.

    The axes are FineVision's (https://huggingface.co/spaces/HuggingFaceM4/FineVision).
    """

    unit = "rating"

    prompt: str = "image_correspondence"
    scale: tuple[int, int] = (1, 5)
    pictures: bool | None = None
    decoding: Decoding = field(default_factory=lambda: Decoding(max_tokens=32))

    def __post_init__(self):
        low, high = self.scale = tuple(self.scale)
        if low >= high:
            raise RecipeError(f"VlmScore: scale {low} to {high}: from the lowest to the highest rating")
        if self.pictures is None:
            self.pictures = self.prompt not in ("formatting", "relevance")
        asked = self.prompt
        self.prompt = AXES.get(asked, asked)
        super().__post_init__()
        self.prompt = asked
        if self.n != 1:
            raise RecipeError(f"{self.name}: one rating a row")
        self._columns = names(self._prompt)
        self.reads = (*self._columns, *(("image",) if self.pictures else ()))
        rating = {"type": "object", "properties": {"rating": {"type": "integer", "enum": list(range(low, high + 1))}}}
        self.decoding = replace(self.decoding, schema=rating | {"required": ["rating"], "additionalProperties": False})
        self._end = f'\n\nAnswer with JSON, {{"rating": N}}, where N is a whole number from {low} (worst) to {high} (best).'

    def run(self, live: pa.Table, *inputs: Any, **context: Any) -> pa.Table:
        return ModelStage.run(self, live, *inputs, **context)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: self.dtype, self.made_column: self.made_type()}

    def contents(self, live: pa.Table, images: list[np.ndarray | str] | None = None) -> Iterator[Content | Answer]:
        columns = {name: live[name].to_pylist() for name in self._columns}
        for i in range(len(live)):
            row = {name: values[i] for name, values in columns.items()}
            if not all(row.values()):
                yield Answer(None, "no_text")
            elif images is not None and isinstance(images[i], str):
                yield Answer(None, "bad_image")
            else:
                question = self._prompt.format(**row) + self._end
                yield (question,) if images is None else (images[i], question)

    def _checked(self, answer: Answer) -> Answer:
        """Models that no grammar holds say the number alone, or with words around it."""
        found = super()._checked(answer)
        if found.finish != "invalid":
            return found
        numbers = {int(n) for n in re.findall(r"(?<![\d.])\d+(?![\d.]*\d)", answer.text or "")}
        if len(numbers) == 1 and self.scale[0] <= min(numbers) <= self.scale[1]:
            return replace(answer, text=json.dumps({"rating": numbers.pop()}))
        return found

    def columns(self, rows: list[AnsweredRow]) -> pa.Table:
        ratings: list[Any] = [None if (text := r.answers[0].text) is None else json.loads(text)["rating"] for r in rows]
        return pa.table({self.name: pa.array(ratings, self.dtype), self.made_column: self.made(rows)})
