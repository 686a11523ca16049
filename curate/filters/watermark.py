"""Probability that the image has a visible watermark."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters.embedding_head import EmbeddingHead


@dataclass
class Watermark(EmbeddingHead):
    """Probability of a visible watermark, 0 to 1: the logistic of a head on the image's embedding.

    head: a file of your own making; none is published for CLIP embeddings. LAION-Aesthetics v1 keeps `pwatermark` below 0.8,
    Stable Diffusion below 0.5.
    """

    unit = "probability, 0 to 1"

    max: float | None = 0.5

    def score(self, live: pa.Table) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(self.logits(live), -60, 60)))
