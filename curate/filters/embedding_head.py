"""Base class of filters that apply a small head to CLIP embeddings."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.filters.clip_score import flat
from curate.models import file_sha256, head, weights_file
from curate.stage import Filter


@dataclass
class EmbeddingHead(Filter):
    """A score from the embeddings in `column` (of length 1, from ClipEmbed) and the linear layers in the file `head`.

    The head must have been trained on embeddings of the same model. There is no default: heads are their publishers' to give.

    column: embeddings, of the head's own model. head: file of the layers (`.pth`, `.safetensors`). As LAION's aesthetic predictors (2210.08402).
    """

    reads = ("clip_image",)
    unit = "of the head"

    head: str = ""
    column: str = "clip_image"

    def __post_init__(self):
        super().__post_init__()
        self.reads = (self.column,)

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.head)))}"}

    def load(self) -> None:
        self._head = head(self.name, self.head)

    def preflight(self, widths: dict[str, int]) -> None:
        self._check_width(head(self.name, self.head).dim, widths.get(self.column))

    def _check_width(self, expected: int, actual: int | None) -> None:
        if actual not in (None, expected):
            raise RecipeError(f"{self.name}: {self.head} is for embeddings of length {expected}, {self.column} has {actual}")

    def logits(self, live: pa.Table) -> np.ndarray:
        """The head's output, NaN where there is no embedding."""
        vectors = live[self.column].combine_chunks()
        known = np.asarray(pc.is_valid(vectors))
        out = np.full(len(live), np.nan, np.float32)
        if known.any():
            rows = flat(vectors.drop_null())
            self._check_width(self._head.dim, rows.shape[1])
            out[known] = self._head(rows)
        return out

    def score(self, live: pa.Table) -> np.ndarray:
        return self.logits(live)
