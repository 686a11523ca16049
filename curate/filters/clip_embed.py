"""CLIP embeddings of image and caption."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.cost import DIMENSIONS, Cost, model_time
from curate.models import Clip, clip, clip_ready, clip_width, weights_id, with_size
from curate.stage import Stage


@dataclass
class ClipEmbed(Stage):
    """Adds `clip_image` and `clip_text`: embeddings of length 1, as lists of float16.

    model: `MODEL[:PRETRAINED_OR_FILE]` as in curate.models. Under another name, say `name="clip_l14"`, the columns are
    `clip_l14_image` and `clip_l14_text`. A null caption has a null embedding.

    CLIP (2103.00020), by open_clip (https://github.com/mlfoundations/open_clip).
    """

    gpus = 1
    casts = prepared = True
    reads = ("image", "text")

    model: str = "ViT-B-32:laion2b_s34b_b79k"

    def adds(self) -> dict[str, pa.DataType]:
        head = "clip" if self.name == "clip_embed" else self.name
        return {f"{head}_{part}": pa.list_(pa.float16()) for part in ("image", "text")}

    def costs(self, rows: int) -> list[Cost]:
        stored = Cost("embeddings, float16", "N x (2 x 2D + 44) B", rows * (4 * DIMENSIONS + 44), "B")
        return [stored, *model_time(rows, self.model, images=1, texts=1)]

    def weights(self) -> dict[str, str]:
        return {"weights": weights_id(self.model)}

    def preflight(self, widths: dict[str, int]) -> None:
        clip_ready(self.model)

    def widths(self) -> dict[str, int]:
        width = clip_width(self.model)
        return dict.fromkeys(self.adds(), width) if width else {}

    def loading(self) -> str:
        return with_size(self.model)

    def load(self) -> None:
        self._clip = clip(self.model, self.precision)
        self.preprocess, self.batch = self._clip.preprocess, self._clip.batch
        self.chunk = max(type(self).chunk, self.batch)

    def run(self, live: pa.Table, images: Sequence[np.ndarray]) -> pa.Table:
        begun = self._clip.begin_images(images)
        text = text_vectors(self._clip, live["text"])  # tokenised while a card is at work on the images
        return pa.table(dict(zip(self.adds(), (vectors(begun(), np.ones(len(images), dtype=bool)), text))))


def text_vectors(model: Clip, texts: pa.ChunkedArray) -> pa.Array:
    """Embed texts, as an array of `vectors`; null for a null text."""
    return vectors(model.encode_texts(texts.drop_null().to_pylist()), np.asarray(pc.is_valid(texts)))


def vectors(rows: np.ndarray, known: np.ndarray) -> pa.Array:
    """Float rows (n, dim) as an array of float16 lists, null where not `known`."""
    dim = rows.shape[1]
    offsets = np.concatenate([[0], np.cumsum(np.where(known, dim, 0))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.astype(np.float16).reshape(-1)), mask=pa.array(~known))
