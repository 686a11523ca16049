"""How well texts fit their picture: CLIP scores of captions, sentence by sentence, and the best of several."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.cost import Cost, model_time
from curate.errors import RecipeError
from curate.stage import Stage, float16
from curate.synth.faults import sentences


@dataclass
class Scored(Stage):
    """What stages that compare texts with `image`, the column of the picture's CLIP embedding, share. model: the one that made
    it."""

    gpus = 1
    casts = True

    model: str = "ViT-B-32:laion2b_s34b_b79k"
    image: str = "clip_image"

    def costs(self, rows: int) -> list[Cost]:
        return model_time(rows, self.model, texts=1)

    def weights(self) -> dict[str, str]:
        from curate.models import weights_id

        return {"weights": weights_id(self.model)}

    def preflight(self, widths: dict[str, int]) -> None:
        from curate.models import clip_ready

        clip_ready(self.model)

    def loading(self) -> str:
        from curate.models import with_size

        return with_size(self.model)

    def load(self) -> None:
        from curate.models import clip

        self._clip = clip(self.model, self.precision)

    def scores(self, live: pa.Table, texts: list[list[str]]) -> list[np.ndarray]:
        """Cosines of each row's texts with its picture, rounded to float16 precision; none where there is no picture."""
        pictures = live[self.image].to_pylist()
        texts = [each if picture is not None else [] for each, picture in zip(texts, pictures)]
        every = [t for each in texts for t in each]
        if not every:
            return [np.zeros(0, np.float32) for _ in texts]
        unique = {t: i for i, t in enumerate(dict.fromkeys(every))}
        vectors = self._clip.encode_texts(list(unique))
        if len(next(p for p in pictures if p is not None)) != vectors.shape[1]:
            raise RecipeError(f"{self.name}: {self.image} was not made by {self.model}: give both stages the same model")
        found = []
        for each, picture in zip(texts, pictures):
            cosines = vectors[[unique[t] for t in each]] @ np.asarray(picture, np.float32) if each else np.zeros(0)
            found.append(cosines.astype(np.float16).astype(np.float32))
        return found


@dataclass
class CaptionScore(Scored):
    """Adds `<of>_score` and `<of>_score_min`: mean and minimum over the sentences of the cosine of sentence and picture.

    Sentence by sentence, because CLIP reads 77 tokens and rates by length: on 180,000 pairs CLIP-L prefers neither the detailed
    caption nor the alt text, LongCLIP the detailed one in 90 % (Recap-DataComp, 2406.08478). A null text has null scores,
    and so has a row without the picture's embedding.
    """

    of: str = ""

    def __post_init__(self):
        self.name = self.name or f"{self.of}_score"
        super().__post_init__()
        self.reads = (self.of, self.image)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.float32(), f"{self.name}_min": pa.float32()}

    def run(self, live: pa.Table) -> pa.Table:
        parts = [sentences(t) if t else [] for t in live[self.of].to_pylist()]
        found = self.scores(live, parts)
        values = ([float(f(s)) if len(s) else None for s in found] for f in (np.mean, np.min))
        return pa.table({n: float16(pa.array(v, pa.float32())) for n, v in zip(self.adds(), values)})


@dataclass
class BestOf(Scored):
    """The `keep` texts with the highest CLIP score among those of the columns `of` (texts, or lists of candidates).

    Named `caption_best` it adds `caption_best`, `caption_best_score` and `caption_best_origin` (`raw` for the column text, else
    the column without `caption_`), and for the k-th best `caption_best_k`, `caption_best_k_score`, `caption_best_k_origin`. A
    row without a picture's embedding has none. A text that is there twice counts once; ties go to the one named first. BLIP-2
    (2301.12597): ten captions and the raw text, keep=2.

    keep: number of texts that are added, best first.
    """

    of: tuple[str, ...] = ()
    keep: int = 1

    def __post_init__(self):
        self.name = self.name or "caption_best"
        super().__post_init__()
        if not self.of or self.keep < 1:
            raise RecipeError(f"{self.name}: name the columns to choose from in `of`, and keep 1 or more")
        self.of = tuple(self.of)
        self.reads = (*self.of, self.image)

    def costs(self, rows: int) -> list[Cost]:
        return model_time(rows, self.model, texts=len(self.of))

    def adds(self) -> dict[str, pa.DataType]:
        kinds = {"": pa.large_string(), "_score": pa.float32(), "_origin": pa.large_string()}
        heads = [self.name, *(f"{self.name}_{k}" for k in range(2, self.keep + 1))]
        return {head + tail: kind for head in heads for tail, kind in kinds.items()}

    def run(self, live: pa.Table) -> pa.Table:
        texts = [self._candidates(row) for row in live.select(list(self.of)).to_pylist()]
        rows = [self._best(t, s) for t, s in zip(texts, self.scores(live, [list(t) for t in texts]))]
        return pa.table({n: pa.array([row[k] for row in rows], t) for k, (n, t) in enumerate(self.adds().items())})

    def _candidates(self, row: dict[str, Any]) -> dict[str, str]:
        """Each text, with where it is from; the first to have it."""
        found: dict[str, str] = {}
        for column, value in row.items():
            for text in value if isinstance(value, list) else [value]:
                if text:
                    found.setdefault(text, origin(column))
        return found

    def _best(self, texts: dict[str, str], scores: np.ndarray) -> list[Any]:
        order = np.argsort(-scores, kind="stable")[: self.keep]
        each = list(texts.items())
        flat = [v for i in order for v in (each[i][0], float(scores[i]), each[i][1])]
        return flat + [None] * (3 * self.keep - len(flat))


def origin(column: str) -> str:
    """`text` -> `raw`, `caption_coca` and `caption_coca_candidates` -> `coca`."""
    return "raw" if column == "text" else column.removeprefix("caption_").removesuffix("_candidates")
