"""Coherence of a document's image sequence."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters.document_children import DocumentFilter, gathered


@dataclass
class DocumentCoherence(DocumentFilter):
    """The mean cosine of neighbouring live images minus the mean over all pairs (CoMM's image-sequence score, arXiv
    2406.10462). Above 0: neighbours are more alike than the rest, as in a story. Documents with fewer than three embedded
    images score 0."""

    unit = "difference of cosines, -2 to 2"

    min: float | None = None
    column: str = "clip_image"  # embeddings, of any length

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        found = [[v for v in vectors if v is not None] for vectors in gathered(live, images, self.column)]
        return [coherence(np.asarray(v, dtype=np.float32)) if len(v) > 2 else 0.0 for v in found]


def coherence(vectors: np.ndarray) -> float:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    neighbours = float(np.diagonal(cosine, 1).mean())
    pairs = float(cosine[np.triu_indices(len(unit), 1)].mean())
    return round(neighbours - pairs, 4)  # the last bits depend on the machine
