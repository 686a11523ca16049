"""Stage that blurs faces in the files that go into the shards."""

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

#: Rows whose files are read at a time.
_READ_ROWS = 128
#: zlib's level for PNG: the next ones take much longer and save little.
_PNG_LEVEL = 4


@dataclass
class BlurFaces(Stage):
    """Blurs the face boxes in a column and stores the changed files; pictures without a box keep their bytes.

    boxes: a column with lists of x_min, y_min, x_max, y_max as shares of width and height: Faces' own, or `source_face_bboxes`,
        as DataComp and others publish them; null means no box.
    quality: 0 to 100, of JPEG and WebP. A file stays in its format (GIF becomes PNG, AVIF JPEG); metadata is removed, after its
        orientation and colour profile are applied.
    share: margin added to a box on every side, and the blur's sigma, as a share of the box's diagonal. 0.1 obscured ImageNet's faces
        (Yang et al. 2022, arXiv 2103.06191) and is used by DataComp's downloader: a face stays visible as one, not recognisable.

    Adds the number of boxes blurred, and the SHA-256 of the bytes kept, `blur_faces_sha256`, which the shards are checked against;
    `sha256` stays that of the bytes fetched. A picture that cannot be decoded, or has an invalid box (in pixels, reversed, outside
    the picture), is dropped. The bytes as fetched stay only in the run's `work/parts/`.
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
            for start in range(0, len(live), _READ_ROWS):
                rows = live.slice(start, _READ_ROWS).to_pylist()
                files = read_slices(parcel.store, *([r[c] for r in rows] for c in schema.PAYLOAD))
                made += [self._row(row, data, parcel, child) for row, data in zip(rows, files)]
        return pa.Table.from_pylist(made, schema.arrow(self.adds()))

    def _row(self, row: dict, data: bytes | None, parcel: Parcel, child: Isolated) -> dict:
        kept = {c: row[c] for c in schema.KEPT}
        boxes = parse_boxes(row[self.boxes])
        if data is None or boxes is None:
            return {self.name: None, self.hashes: None, **kept}
        if not boxes:
            return {self.name: 0, self.hashes: _sha256(data), **kept}
        pixels, orientation = child.flatten(data)  # untrusted input: decoded in a child process
        if isinstance(pixels, str):
            return {self.name: None, self.hashes: None, **kept}
        format, quality = self._format(row["mime"])
        pixels = upright(blurred(pixels, boxes, self.share), orientation)
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
        return format, _PNG_LEVEL if format == "png" else self.quality

    def judge(self, columns: pa.Table) -> pa.Array:
        return reasons(columns[self.name].is_valid(), self.name)


def parse_boxes(boxes: list | str | None) -> list[list[float]] | None:
    """A row's boxes, as a list or as JSON text; None if one is not a box within the picture."""
    try:
        found = json.loads(boxes or "[]") if isinstance(boxes, str) else boxes or []
        found = [[float(v) for v in box] for box in found]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return found if all(map(_is_box, found)) else None


def _is_box(box: list[float]) -> bool:
    """Whether these are four shares, minimum before maximum; a box may extend beyond the picture, as detectors' boxes do."""
    if len(box) != 4 or not all(-1 <= v <= 2 for v in box):  # False for NaN too
        return False
    return all(low < high and low < 1 and high > 0 for low, high in zip(box[:2], box[2:]))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blurred(pixels: np.ndarray, boxes: list[list[float]], share: float) -> np.ndarray:
    """A copy with each box, enlarged by `share` of its diagonal, under a Gaussian blur of that sigma and with soft edges."""
    out = pixels.copy()
    size = np.array([pixels.shape[1], pixels.shape[0]])
    for box in np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, 1):
        first, last = box[:2] * size, box[2:] * size
        sigma = max(1.0, share * float(np.hypot(*(last - first))))
        # The crop includes what the blur reads around the box.
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
