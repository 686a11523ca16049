"""Share of the image covered by text, by OCR."""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.models import file_sha256, text_reader, weights_file
from curate.stage import Filter, float16

#: A box counts as text from this many letters or digits on, at this confidence. On 120 clip-art pictures the detector alone
#: sees more than a tenth of text on 61 %; with this rule on 3 to 12 % of several samples, and drawn text is all still found.
LETTERS, SURE = 2, 0.6


@dataclass
class OcrArea(Filter):
    """Share of the image under lines of text, 0 to 1. Adds the lines too: `ocr_area_boxes`, lists of x_min, y_min, x_max,
    y_max as shares of width and height, and `ocr_area_text`, what they say, a line each.

    By RapidOCR with the PP-OCR models of its package, the image's longer side brought down to `side` pixels for finding:
    smaller is faster and blind to small print. T-MARS (2307.03132) masks such boxes before it scores; text-rich sets want a
    `min`.

    side: longer side of the image in which text is looked for, in pixels.
    """

    reads = ("image",)
    unit = "0 to 1"
    side: int = 320

    def adds(self) -> dict[str, pa.DataType]:
        return {
            self.name: self.dtype,
            f"{self.name}_boxes": pa.list_(pa.list_(pa.float32())),
            f"{self.name}_text": pa.large_string(),
        }

    def weights(self) -> dict[str, str]:
        files = (weights_file(self.name, "", ("rapidocr", f"*_{part}_*.onnx")) for part in ("det", "rec"))
        return {part: f"sha256:{file_sha256(str(file))}" for part, file in zip(("finder", "reader"), files)}

    def load(self) -> None:
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        self._read = text_reader(self.side)

    def run(self, live: pa.Table, images: list[np.ndarray]) -> pa.Table:
        lines = [readable(self._read(image)) for image in images]
        areas = [covered([polygon for polygon, _ in found], image) for found, image in zip(lines, images)]
        boxes = [shares([polygon for polygon, _ in found], image) for found, image in zip(lines, images)]
        texts = ["\n".join(text for _, text in found) for found in lines]
        names, kinds = zip(*self.adds().items())
        return pa.table([float16(pa.array(areas, kinds[0])), pa.array(boxes, kinds[1]), pa.array(texts, kinds[2])], names=names)


def readable(lines: list[tuple[np.ndarray, str, float]]) -> list[tuple[np.ndarray, str]]:
    """Lines that are text, not a shape that looks like a letter."""
    return [(polygon, text) for polygon, text, score in lines if score >= SURE and sum(map(str.isalnum, text)) >= LETTERS]


def shares(polygons: list[np.ndarray], image: np.ndarray) -> list[list[float]]:
    """Upright boxes around polygons (4, 2), as shares of width and height."""
    size = np.array(image.shape[1::-1])
    corners = [np.concatenate([polygon.min(0) / size, polygon.max(0) / size]) for polygon in polygons]
    return [np.clip(c, 0, 1).astype(np.float16).astype(np.float32).tolist() for c in corners]


def covered(polygons: list[np.ndarray], image: np.ndarray) -> float:
    """The share of the image under polygons; where they overlap it counts once."""
    import cv2

    mask = np.zeros(image.shape[:2], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
    return float(mask.mean())
