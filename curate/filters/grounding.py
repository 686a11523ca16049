"""Grounding: boxes of the caption's noun phrases, by a detector."""

import copy
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.filters.toxicity import imported
from curate.stage import Filter
from curate.synth.phrases import RELATIONS, parse

#: Abstract nouns, which have no box; the published list has `time`, `love`, `freedom` and others.
ABSTRACT = frozenset(
    "time love freedom idea thought fun life hope dream joy peace beauty way day year month week night morning summer winter "
    "spring autumn luck success history future past style quality price sale news information help work job".split()
)
BOX = pa.struct(
    {"phrase": pa.large_string(), "start": pa.int32(), "end": pa.int32(), "box": pa.list_(pa.float32()), "sure": pa.float32()}
)


@dataclass
class Grounding(Filter):
    """How many phrases of the caption have a box. Adds `grounding_boxes`: a list of phrase, its place in the text (code points,
    end exclusive), box (x_min, y_min, x_max, y_max as shares of width and height) and the detector's certainty; and
    `grounding_chunks`, the same for the noun phrases alone ("a dog" of "a dog in a field"): GRIT's `ref_exps` and `noun_chunks`.

    As GRIT was made (KOSMOS-2, 2306.14824): noun phrases without abstract nouns; boxes; of boxes that overlap by more than
    `overlap` (intersection over union) the surest stays; those surer than `sure` count; a phrase grows to the whole expression
    ("a dog in a field"), and one inside another falls. Phrases are found by rule (English), where GRIT used spaCy. Boxes are cut at the
    picture's edges; one that lies outside, or has no area, is none.

    detector: `python:module:function`, from a list of images (uint8, height x width x 3, RGB) and a list of lists of phrases to,
    for each image, a list of (place of the phrase in its list, certainty, box). GRIT used GLIP; none comes along.

    sure: certainty that a box must exceed, 0 to 1. overlap: intersection over union from which on two boxes are one.
    """

    reads = ("image", "text")
    dtype = pa.int32()
    unit = "phrases"
    version = 3
    min: float | None = 1

    detector: str = ""
    sure: float = 0.65
    overlap: float = 0.5

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: self.dtype, f"{self.name}_boxes": pa.list_(BOX), f"{self.name}_chunks": pa.list_(BOX)}

    def weights(self) -> dict[str, str]:
        return {"weights": self.detector}

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        if not self.detector.startswith("python:"):
            raise RecipeError(f"{self.name}: detector= must name a function, python:module:function")
        self._detect = imported(self.name, self.detector)

    def run(self, live: pa.Table, images: list[np.ndarray]) -> pa.Table:
        texts = live["text"].to_pylist()
        phrases = [expressions(t) if t else [] for t in texts]
        requested = [i for i, found in enumerate(phrases) if found]
        detections = (
            self._detect([images[i] for i in requested], [[noun for noun, _, _ in phrases[i]] for i in requested])
            if requested
            else []
        )
        found: list[tuple[list[dict], list[dict]]] = [([], []) for _ in texts]
        for i, detection in zip(requested, detections, strict=True):
            found[i] = self.chosen(texts[i], phrases[i], detection)
        counts = [None if t is None else len({(b["start"], b["end"]) for b in boxes}) for t, (boxes, _) in zip(texts, found)]
        lists = [[None if t is None else pair[k] for t, pair in zip(texts, found)] for k in (0, 1)]
        kind = pa.list_(BOX)
        return pa.table([pa.array(counts, self.dtype), *(pa.array(v, kind) for v in lists)], names=list(self.adds()))

    def chosen(self, text: str, phrases: list[tuple[str, int, int]], found: list) -> tuple[list[dict], list[dict]]:
        """Select boxes by certainty and overlap: those of whole expressions, and those of noun phrases, in text order."""
        kept: list[tuple] = []
        inside = [(place, sure, [min(max(float(v), 0.0), 1.0) for v in box]) for place, sure, box in found]
        solid = [f for f in inside if f[2][0] < f[2][2] and f[2][1] < f[2][3]]
        for place, sure, box in sorted(solid, key=lambda f: (-f[1], f[0], f[2])):
            if sure > self.sure and all(shared(box, other[2]) <= self.overlap for other in kept):
                kept.append((place, sure, box))
        spans = {phrases[place][1:] for place, _, _ in kept}
        whole = {s for s in spans if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in spans)}
        rows = [(*phrases[place][1:], sure, box) for place, sure, box in kept if phrases[place][1:] in whole]
        nouns = [(phrases[p][1], phrases[p][1] + len(phrases[p][0]), sure, box) for p, sure, box in kept]
        return _boxes(text, rows), _boxes(text, nouns)


def _boxes(text: str, rows: list[tuple]) -> list[dict]:
    """Values of BOX from (start, end, certainty, box), in the order of the text."""
    return [
        {"phrase": text[start:end], "start": start, "end": end, "box": box, "sure": float(np.float16(sure))}
        for start, end, sure, box in sorted(rows)
    ]


def expressions(text: str) -> list[tuple[str, int, int]]:
    """The noun phrases of a text for the detector, each with the span (start, end) of its whole expression."""
    parsed, found = parse(text), []
    for i, phrase in enumerate(parsed.phrases):
        last = i
        while last < len(parsed.joints) and parsed.joints[last] in RELATIONS:
            last += 1
        if phrase.noun.lower().split()[-1] not in ABSTRACT:
            found.append((text[phrase.start : phrase.end], phrase.start, parsed.phrases[last].end))
    return found


def shared(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, wide) * max(0.0, high)
    every = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / every if every > 0 else 0.0
