"""CLIP similarity of the caption and the image with its text masked."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.cost import Cost, model_time
from curate.filters.clip_score import flat
from curate.models import clip, clip_ready, weights_id
from curate.stage import Filter


@dataclass
class MaskedClipScore(Filter):
    """Cosine of the caption and the image with its lines of text painted over, -1 to 1 (T-MARS, 2307.03132).

    A picture that only shows its caption as text has a high CLIP score and a low one here. The boxes are OcrArea's, filled with
    the mean colour around them; a picture without boxes keeps ClipEmbed's embedding. model: ClipEmbed's.
    """

    gpus = 1
    casts = True
    reads = ("image", "ocr_area_boxes", "clip_image", "clip_text")
    unit = "cosine, -1 to 1"

    model: str = "ViT-B-32:openai"

    def costs(self, rows: int) -> list[Cost]:
        return model_time(rows, self.model, images=1)

    def weights(self) -> dict[str, str]:
        return {"weights": weights_id(self.model)}

    def preflight(self, widths: dict[str, int]) -> None:
        clip_ready(self.model)

    def load(self) -> None:
        self._clip = clip(self.model, self.precision)

    def score(self, live: pa.Table, images: list[np.ndarray]) -> np.ndarray:
        image, text = (live[c].combine_chunks() for c in ("clip_image", "clip_text"))
        boxes = live["ocr_area_boxes"].to_pylist()
        known = np.asarray(pc.and_(pc.is_valid(image), pc.is_valid(text))) & np.array([b is not None for b in boxes], bool)
        out = np.full(len(live), np.nan, np.float32)
        if not known.any():
            return out
        a, b = (flat(x.filter(pa.array(known))) for x in (image, text))
        rows = np.flatnonzero(known)
        written = [i for i, row in enumerate(rows) if boxes[row]]
        if written:
            a[written] = self._clip.encode_images([masked(images[rows[i]], boxes[rows[i]]) for i in written])
        out[known] = np.einsum("ij,ij->i", a, b)
        return out


def masked(image: np.ndarray, boxes: list[list[float]]) -> np.ndarray:
    """A copy of the image (height, width, 3) with the boxes (shares of width and height) in the mean colour of the pixels
    around each."""
    painted = image.copy()
    height, width = image.shape[:2]
    for x0, y0, x1, y1 in boxes:
        left, top = int(x0 * width), int(y0 * height)
        right, bottom = max(left + 1, int(np.ceil(x1 * width))), max(top + 1, int(np.ceil(y1 * height)))
        around = np.ones((min(height, bottom + 1) - max(0, top - 1), min(width, right + 1) - max(0, left - 1)), bool)
        around[top - max(0, top - 1) :, left - max(0, left - 1) :][: bottom - top, : right - left] = False
        ring = image[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1][around]
        painted[top:bottom, left:right] = ring.mean(0) if len(ring) else image.reshape(-1, 3).mean(0)
    return painted
