"""Probability that the caption is toxic."""

import copy
import importlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.models import classifier_ready, fasttext, file_sha256, text_classifier, weights_file
from curate.stage import Filter


@dataclass
class Toxicity(Filter):
    """Probability that the caption is toxic, 0 to 1, by a model of your choice. DataComp drops what Detoxify puts above
    0.1.

    model: a fastText file (`.bin`, `.ftz`: as Dolma's Jigsaw classifiers); a function of yours, `python:module:function`,
    from a list of texts to a list of numbers; or the hub name (or folder) of a text classifier. labels: those that count;
    by default all that are not harmless, the most probable one.
    """

    reads = ("text",)
    unit = "probability, 0 to 1"
    max: float | None = 0.1

    model: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        self.labels = tuple(self.labels)

    @property
    def local(self) -> bool:
        return self.model.endswith((".bin", ".ftz")) or not self.model

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.model)))}" if self.local else self.model}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.local or self.model.startswith("python:"):
            copy.copy(self).load()
        else:
            classifier_ready(self.name, self.model)

    def load(self) -> None:
        if self.local:
            self._predict = fasttext(str(weights_file(self.name, self.model))).predict
            self._rate = self._fasttext
        elif self.model.startswith("python:"):
            self._rate = imported(self.name, self.model)
        else:
            self._rate = text_classifier(self.model, self.labels)

    def _fasttext(self, texts: list[str]) -> list[float]:
        labels, scores = self._predict([t.replace("\n", " ").replace("\r", " ") for t in texts], k=-1)
        harmless = ("__label__0", "__label__non", "__label__not", "__label__clean", "__label__safe")
        wanted = [f"__label__{label}" for label in self.labels]
        return [
            max(
                (
                    min(1.0, float(p))
                    for label, p in zip(*row)
                    if (label in wanted if wanted else not label.startswith(harmless))
                ),
                default=0.0,
            )
            for row in zip(labels, scores)
        ]

    def score(self, live: pa.Table) -> np.ndarray:
        known, out = np.asarray(pc.is_valid(live["text"])), np.full(len(live), np.nan, np.float32)
        if known.any():
            out[known] = self._rate(live["text"].drop_null().to_pylist())
        return out


def imported(who: str, model: str):
    """Import the function that `python:module:function` names. RecipeError, with the stage `who`, if it cannot be imported."""
    module, _, function = model.removeprefix("python:").partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        raise RecipeError(f"{who}: {model}: {e}") from e
