"""Faces made unrecognisable in the bytes that go into the shards."""

import hashlib
import json
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from curate import schema
from curate.fetch.image import SUFFIX
from curate.fetch.isolate import Isolated
from curate.fetch.reencode import FORMATS, encode, upright
from curate.stage import Stage, reasons
from curate.store.payload import Parcel
from curate.store.slices import read_slices

#: Bytes are read for so many rows at a time.
_READ = 128
#: zlib's level for PNG: the next ones take much longer and save little.
_PNG = 4


@dataclass
class BlurFaces(Stage):
    """Blurs the boxes in a column, and parks the changed files; pictures without a box keep their bytes.

    boxes: a column with lists of x_min, y_min, x_max, y_max as shares of width and height: Faces' own, or `source_face_bboxes`,
        as DataComp and others publish them in their lists; null is none.
    quality: 0 to 100, of JPEG and WebP. A file stays in its format (GIF becomes PNG, AVIF JPEG); metadata goes, and the
        orientation and the colour profile that it asked for are applied.
    share: by how much of its diagonal a box grows on every side, and the blur's sigma. 0.1 is how ImageNet's faces were obscured
        (Yang et al. 2022, arXiv 2103.06191), whom DataComp's downloader follows: nobody is recognised, that it is a face is still seen.

    Adds how many boxes were blurred, and the SHA-256 of the bytes kept, `blur_faces_sha256`, which the shards are checked against;
    `sha256` stays that of the bytes fetched. A picture that cannot be decoded, or one of whose boxes is none (in pixels, reversed,
    beside the picture), is dropped. The bytes as fetched stay in the run's `parts/`, and nowhere else.
    """

    version = 3
    writes_payload = True
    boxes: str = "faces_boxes"
    quality: int = 95
    share: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        self.reads = (self.boxes, "mime", "width", "height")
        self.hashes = f"{self.name}_sha256"

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int32(), self.hashes: schema.STR, **schema.KEPT}

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        made = []
        with Isolated() as child:
            for start in range(0, len(live), _READ):
                rows = live.slice(start, _READ).to_pylist()
                files = read_slices(parcel.store, *([r[c] for r in rows] for c in schema.PAYLOAD))
                made += [self._row(row, data, parcel, child) for row, data in zip(rows, files)]
        return pa.Table.from_pylist(made, schema.arrow(self.adds()))

    def _row(self, row: dict, data: bytes | None, parcel: Parcel, child: Isolated) -> dict:
        kept = {c: row[c] for c in schema.KEPT}
        boxes = listed(row[self.boxes])
        if data is None or boxes is None:
            return {self.name: None, self.hashes: None, **kept}
        if not boxes:
            return {self.name: 0, self.hashes: _sha256(data), **kept}
        pixels, turned = child.flatten(data)  # in a process of its own, as everything that strangers sent
        if isinstance(pixels, str):
            return {self.name: None, self.hashes: None, **kept}
        format, quality = self._format(row["mime"])
        pixels = upright(blurred(pixels, boxes, self.share), turned)
        data = encode(pixels, format, quality)
        offset = parcel.add(f"{row['uid']}.{format}", data)
        return {
            self.name: len(boxes),
            self.hashes: _sha256(data),
            "mime": FORMATS[format],
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "payload": None,
            "payload_offset": offset,
            "payload_size": len(data),
        }

    def _format(self, mime: str) -> tuple[str, int]:
        suffix = SUFFIX.get(mime) or "png"
        format = {"gif": "png", "avif": "jpg"}.get(suffix, suffix)
        return format, _PNG if format == "png" else self.quality

    def judge(self, columns: pa.Table) -> pa.Array:
        return reasons(columns[self.name].is_valid(), self.name)


def listed(boxes: list | str | None) -> list[list[float]] | None:
    """The boxes of a row, which a list of JSON or text may bring as text; None if one of them is no box in the picture."""
    try:
        found = json.loads(boxes or "[]") if isinstance(boxes, str) else boxes or []
        found = [[float(v) for v in box] for box in found]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return found if all(map(_is_box, found)) else None


def _is_box(box: list[float]) -> bool:
    """Four shares, the first two before the last two; a box may reach beyond the picture, as detectors' boxes do."""
    if len(box) != 4 or not all(-1 <= v <= 2 for v in box):  # nor is NaN in that range
        return False
    return all(low < high and low < 1 and high > 0 for low, high in zip(box[:2], box[2:]))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blurred(pixels: np.ndarray, boxes: list[list[float]], share: float) -> np.ndarray:
    """A copy in which each box, grown by `share` of its diagonal, is blurred with a sigma of that much, softly at its edges."""
    out = pixels.copy()
    size = np.array([pixels.shape[1], pixels.shape[0]])
    for box in np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, 1):
        first, last = box[:2] * size, box[2:] * size
        sigma = max(1.0, share * float(np.hypot(*(last - first))))
        # The cut is wide enough for the blur to see what lies around the box.
        low, high = (np.clip(v, 0, size).astype(int) for v in (first - 5 * sigma, np.ceil(last + 5 * sigma)))
        if (high <= low).any():
            continue
        x0, y0, x1, y1 = (
            *np.maximum(np.round(first - sigma).astype(int) - low, 0),
            *np.maximum(np.round(last + sigma).astype(int) - low, 0),
        )
        mask = np.zeros((high - low)[::-1], np.float32)
        mask[y0:y1, x0:x1] = 1
        mask = np.maximum(mask, 2 * cv2.GaussianBlur(mask, (0, 0), sigma / 2)).clip(0, 1)[:, :, None]
        cut = out[low[1] : high[1], low[0] : high[0]]
        cut[:] = np.round(cut + (cv2.GaussianBlur(cut.astype(np.float32), (0, 0), sigma) - cut) * mask).clip(0, 255)
    return out
