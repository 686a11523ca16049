"""CLIP similarity of image and caption."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter, float16


@dataclass
class ClipScore(Filter):
    """Cosine of the CLIP embeddings of image and caption, -1 to 1, rounded to float16 precision.

    LAION keeps 0.28 and more with ViT-B/32, DataComp the best 30 % (about 0.28 with B/32, 0.24 with L/14). Bounds of taste
    belong into a selector (`Where`, `TopFraction`); a bound here is judged before the pool is complete.
    """

    reads = ("clip_image", "clip_text")
    unit = "cosine, -1 to 1"

    def score(self, live: pa.Table) -> pa.Array:
        image, text = (live[c].combine_chunks() for c in self.reads)
        whole = np.asarray(pc.and_(pc.is_valid(image), pc.is_valid(text)))
        score = np.full(len(live), np.nan, dtype=np.float32)
        if whole.any():
            a, b = (flat(x.filter(pa.array(whole))) for x in (image, text))
            score[whole] = np.einsum("ij,ij->i", a, b)
        return float16(pa.array(score, mask=~whole))


def flat(vectors: pa.ListArray) -> np.ndarray:
    """A list array without nulls, all of one length, as float32 (n, dim)."""
    return vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(vectors), -1)
