"""Pairs for image-text matching: each picture with its own text, and with the text of another that is hard to tell from it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.selector import NONE, Live, Selection, Selector, coin


@dataclass
class MatchingNegatives(Selector):
    """Adds `<name>_uid`, `<name>_text` and `<name>_score`: the row whose text fits this picture best without being its own.
    Drops nothing.

    As BLIP and ALBEF mine them in a batch, with the cosine of the CLIP embeddings; here in groups of `group` rows, dealt out by
    the hash of the uid: the larger, the harder. A text equal to the row's own (case aside) is no negative, nor one that fits
    better than its own by more than `margin`: that one is likely true as well. A row for which none is left has nulls.
    """

    image: str = "clip_image"
    of: str = "text"
    vector: str = "clip_text"
    group: int = 4096
    margin: float = 0.0
    seed: int = 0

    def __post_init__(self):
        self.name = self.name or "matching_negative"
        super().__post_init__()
        if self.group < 2:
            raise RecipeError(f"{self.name}: a group has 2 rows or more")
        self.reads = (self.image, self.of, self.vector)

    def adds(self) -> dict[str, pa.DataType]:
        return {
            f"{self.name}_uid": pa.large_string(),
            f"{self.name}_text": pa.large_string(),
            f"{self.name}_score": pa.float32(),
        }

    def select(self, live: Live) -> Selection:
        rows = live.table("id", "uid", self.of, self.image, self.vector)
        rows = rows.filter(pc.and_(rows[self.of].is_valid(), rows[self.vector].is_valid()))
        turn = np.lexsort(
            (np.asarray(rows["uid"].to_pylist(), dtype=object), coin(rows["uid"].to_pylist(), self.seed, self.name))
        )
        other, score = np.full(len(rows), -1), np.full(len(rows), np.nan, np.float32)
        plain = np.array([" ".join(t.lower().split()) for t in rows[self.of].to_pylist()], dtype=object)
        for first in range(0, len(rows), self.group):
            at = turn[first : first + self.group]
            some = rows.take(pa.array(at))
            other[at], score[at] = self._hardest(matrix(some[self.image]), matrix(some[self.vector]), plain[at], at)
        picks = pa.array(other, mask=other < 0)
        found = {
            f"{self.name}_uid": rows["uid"].take(picks),
            f"{self.name}_text": rows[self.of].take(picks),
            f"{self.name}_score": pa.array(score, mask=other < 0),
        }
        return Selection(
            NONE,
            pa.table({"id": rows["id"], **found}),
            notes={"mined": int(np.sum(other >= 0)), "without": int(np.sum(other < 0))},
        )

    def _hardest(self, image: np.ndarray, text: np.ndarray, plain: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = (image @ text.T).astype(np.float16).astype(np.float32)  # rounded, so that no machine decides otherwise
        own = scores.diagonal()[:, None]
        barred = (scores > own + self.margin) | (plain[:, None] == plain[None])
        scores[barred] = -np.inf
        best = scores.argmax(1)
        top = scores[np.arange(len(best)), best]
        return np.where(np.isfinite(top), at[best], -1), top


def matrix(vectors: pa.ChunkedArray) -> np.ndarray:
    """A column of lists of one length as float32 (n, dim)."""
    lists = vectors.combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(lists), -1)
