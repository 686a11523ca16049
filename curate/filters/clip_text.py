"""CLIP embeddings of paragraphs."""

from dataclasses import dataclass

import pyarrow as pa

from curate.cost import Cost, model_time
from curate.filters.clip_embed import text_vectors
from curate.models import clip, clip_ready, weights_id, with_size
from curate.stage import Stage


@dataclass
class ClipText(Stage):
    """Adds `clip_text` to `texts`: embeddings of length 1, as lists of float16, for Align. CLIP reads the first 77 tokens, some
    50 words. model: as in ClipEmbed, and the same one.

    mmc4 (2304.06939) matches images and sentences by such embeddings.
    """

    table = "texts"
    gpus = 1
    casts = True
    reads = ("text",)

    model: str = "ViT-B-32:laion2b_s34b_b79k"

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(pa.float16())}

    def costs(self, rows: int) -> list[Cost]:
        return model_time(rows, self.model, texts=1)

    def weights(self) -> dict[str, str]:
        return {"weights": weights_id(self.model)}

    def preflight(self, widths: dict[str, int]) -> None:
        clip_ready(self.model)

    def loading(self) -> str:
        return with_size(self.model)

    def load(self) -> None:
        self._clip = clip(self.model, self.precision)

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table({self.name: text_vectors(self._clip, live["text"])})
