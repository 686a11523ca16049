"""CLIP embeddings of paragraphs."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters.clip_embed import vectors
from curate.stage import Stage


@dataclass
class ClipText(Stage):
    """Adds `clip_text` to `texts`: embeddings of length 1, as lists of float16, for Align. CLIP reads the first 77 tokens, some
    50 words. model: as in ClipEmbed, and the same one."""

    table = "texts"
    gpus = 1
    reads = ("text",)

    model: str = "ViT-B-32:laion2b_s34b_b79k"

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(pa.float16())}

    def weights(self) -> dict[str, str]:
        from curate.models import weights_id

        return {"weights": weights_id(self.model)}

    def load(self) -> None:
        from curate.models import clip

        self._clip = clip(self.model)

    def run(self, live: pa.Table) -> pa.Table:
        texts = live["text"].to_pylist()
        known = np.array([t is not None for t in texts], dtype=bool)
        return pa.table({self.name: vectors(self._clip.encode_texts([t for t in texts if t is not None]), known)})
