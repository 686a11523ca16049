"""Perplexity of a paragraph under a language model."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.filters.toxicity import imported
from curate.models import file_sha256, weights_file
from curate.stage import Filter

#: The largest float16: scores of models are kept in that precision.
MOST = 65_504.0


@dataclass
class ParagraphPerplexity(Filter):
    """Perplexity of a paragraph by a model of your choice, 1 and more, 65,504 at most. OBELICS' paper keeps up to 1,500 by a
    5-gram model of Wikipedia (arXiv 2306.16527); its release leaves the rule off. Bounds hold for one model in one language.

    model: a KenLM file (`.bin`, `.arpa`, both also gzipped; needs `pip install kenlm`), which reads the words as they stand, or
    a function of yours, `python:module:function`, from a list of texts to a list of perplexities (null: none can be given):
    the place for a tokenizer, as the published models of Wikipedia have one. A text's lines are sentences to KenLM; its
    perplexity is that of all of them, 10 ** (- sum of log10 / tokens), ends of sentences counted.
    """

    table = "texts"
    reads = ("text",)
    unit = "perplexity, 1 and more"
    max: float | None = 1500.0

    model: str = ""

    def weights(self) -> dict[str, str]:
        return {"weights": self.model if self.model.startswith("python:") else f"sha256:{file_sha256(str(self._file()))}"}

    def _file(self):
        return weights_file(self.name, self.model)

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        self._rate = (
            imported(self.name, self.model) if self.model.startswith("python:") else kenlm(self.name, str(self._file()))
        )

    def score(self, live: pa.Table) -> np.ndarray:
        texts, out = live["text"].to_pylist(), np.full(len(live), np.nan, np.float32)
        known = [i for i, t in enumerate(texts) if t and t.strip()]
        if known:
            out[known] = np.minimum(np.asarray(self._rate([texts[i] for i in known]), np.float64), MOST)
        return out


def kenlm(who: str, file: str) -> Callable[[list[str]], list[float]]:
    """Perplexities by a KenLM file."""
    try:
        from kenlm import Model
    except ImportError as e:
        raise RecipeError(f"{who}: {file} needs the package kenlm: pip install kenlm (it is built from source)") from e
    model = Model(file)

    def rate(texts: list[str]) -> list[float]:
        lines = [[line.split() for line in t.splitlines() if line.strip()] for t in texts]
        return [
            10 ** -(sum(model.score(" ".join(words)) for words in sentences) / sum(len(words) + 1 for words in sentences))
            for sentences in lines
        ]

    return rate
