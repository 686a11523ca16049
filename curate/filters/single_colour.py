"""Images of one colour: placeholders, spacers, blank scans."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.stage import Filter

#: The image is looked at as a grid of about this many pixels a side.
GRID = 96
#: Colours this close in each channel (of 255) count as one: the noise of JPEG, not a gradient.
NEAR = 12


@dataclass
class SingleColour(Filter):
    """Share of pixels that have the most frequent colour or one close to it, 0 to 1.

    A blank image has 1; a drawing on white may well have 0.8.

    M3W (2204.14198) drops images of one colour; the bound is ours.
    """

    reads = ("image",)
    unit = "0 to 1"
    max: float | None = 0.98

    def score(self, live: pa.Table, images: list[np.ndarray]) -> pa.Array:
        return pa.array([most_frequent(image) for image in images], self.dtype)


def most_frequent(image: np.ndarray) -> float:
    step = [max(1, side // GRID) for side in image.shape[:2]]
    pixels = image[:: step[0], :: step[1]].reshape(-1, 3).astype(np.int16)
    codes = (pixels >> 4) @ np.array([256, 16, 1], np.int16)
    colour = np.median(pixels[codes == np.bincount(codes).argmax()], axis=0)
    return float(np.mean((np.abs(pixels - colour) <= NEAR).all(axis=1)))
