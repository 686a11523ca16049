"""Filter of clips by the rate of speech."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, summed


@dataclass
class DocumentSpeechRate(DocumentFilter):
    """Live words of speech a second of a video's clip. People speak 2 to 3; far above lie transcripts that are out of step, far
    below clips in which next to nothing is said.

    Ours.
    """

    reads = ("uid", "start", "end")
    unit = "words a second"
    min: float | None = 0.2
    max: float | None = 6.0
    version = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        words = summed(live, texts, [len(paragraph_ratios.words(t or "")) for t in texts["text"].to_pylist()])
        seconds = np.asarray(live["end"].to_numpy() - live["start"].to_numpy(), dtype=np.float32)
        return np.where(seconds > 0, words / np.maximum(seconds, 1e-6), np.nan).astype(np.float32)
