"""Which of two answers about a picture is better, as a vision-language model judges: pairs for preference training."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.stage import Stage
from curate.synth.captioners.base import Answer, Content
from curate.synth.model_stage import AnsweredRow, ModelStage
from curate.synth.prompts import prompt_text

#: The first number of an answer such as `2`, `Answer 2`, `The better answer is 2.`
_CHOICE = re.compile(r"(?<!\d)([12])(?!\d)")
PAIR = pa.struct(
    [
        ("question", pa.large_string()),
        ("first", pa.large_string()),
        ("second", pa.large_string()),
        ("preferred", pa.int8()),
    ]
)


@dataclass
class Prefer(ModelStage):
    """Adds `<name>`: 1 or 2, the better of the texts in the columns `of` as a model judges them beside the picture; null where it does
    not say, where one is lacking, or where both are the same. `<name>_made` has where the judgement came from.

    question: what the texts answer, a name of PROMPTS or a text. swapped: the second is shown first. Models prefer places: ask in both
    orders, and take what both say (2306.05685); Preference does.
    """

    reads = ("image",)

    prompt: str = "prefer"
    of: tuple[str, ...] = ()
    question: str = "question"
    swapped: bool = False

    def __post_init__(self):
        super().__post_init__()
        self.of = tuple(self.of)
        if len(self.of) != 2 or self.n != 1:
            raise RecipeError(f"{self.name}: two columns of texts, and one judgement")
        self.reads = ("image", *self.of)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int8(), f"{self.name}_made": self.made_type()}

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "question": prompt_text(self.question)}

    def contents(self, live: pa.Table, images: list[np.ndarray | str]) -> Iterator[Content | Answer]:
        question = prompt_text(self.question)
        for image, *texts in zip(images, *(live[c].to_pylist() for c in self.of)):
            if isinstance(image, str):
                yield Answer(None, "bad_image")
            elif not all(texts) or texts[0] == texts[1]:
                yield Answer(None, "no_text")
            else:
                first, second = texts[::-1] if self.swapped else texts
                yield image, self._prompt.format(question=question, first=first, second=second)

    def columns(self, rows: list[AnsweredRow]) -> pa.Table:
        better = [choice(row.answers[0].text) for row in rows]
        if self.swapped:
            better = [b and 3 - b for b in better]
        return pa.table({self.name: pa.array(better, pa.int8()), f"{self.name}_made": self.made(rows)})


def choice(text: str | None) -> int | None:
    """Which of the two an answer names; None where it names both or none."""
    found = set(_CHOICE.findall(text or ""))
    return int(found.pop()) if len(found) == 1 else None


@dataclass
class Preference(Stage):
    """Adds `<name>_pair`: the question, both texts, and which is preferred: what all judgements in the columns `by` say, null where they
    differ or one is lacking. Null without both texts. `curate export` writes it for trainers (`trl`, `llava-rlhf`);
    what people say in `curate annotate --pair` counts before it there.

    of: the two columns with texts. question: column with what was asked. by: columns with judgements. As LLaVA-RLHF (2309.14525) and DPO (2305.18290)
    read pairs.
    """

    of: tuple[str, ...] = ()
    question: str = "question"
    by: tuple[str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        self.of, self.by = tuple(self.of), tuple(self.by)
        if len(self.of) != 2:
            raise RecipeError(f"{self.name}: two columns of texts")
        self.reads = (*self.of, *self.by)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_pair": PAIR}

    def run(self, live: pa.Table) -> pa.Table:
        question = prompt_text(self.question)
        pairs = []
        for row in live.select(list(self.reads)).to_pylist():
            first, second = (row[c] for c in self.of)
            judgements = {row[c] for c in self.by}
            preferred = judgements.pop() if len(judgements) == 1 else None
            pair = {"question": question, "first": first, "second": second, "preferred": preferred}
            pairs.append(pair if first and second else None)
        return pa.table({f"{self.name}_pair": pa.array(pairs, PAIR)})
