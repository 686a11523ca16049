"""Images of one colour: placeholders, spacers, blank scans."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.stage import Filter

#: The image is looked at as a grid of at most this many pixels a side.
GRID = 96


@dataclass
class SingleColour(Filter):
    """Share of pixels of the most frequent colour, 0 to 1, colours being told apart in 16 steps a channel.

    A blank image has 1; a drawing on white may well have 0.8. Two neighbouring steps count together, so that a colour on
    the edge between them is not halved.
    """

    reads = ("image",)
    max: float | None = 0.98

    def score(self, live: pa.Table, images: list[np.ndarray]) -> pa.Array:
        return pa.array([most_frequent(image) for image in images], self.dtype)


def most_frequent(image: np.ndarray) -> float:
    step = [max(1, side // GRID) for side in image.shape[:2]]
    pixels = image[:: step[0], :: step[1]].reshape(-1, 3)
    best = 0
    for shift in (0, 8):  # steps of 16 starting at 0, and at 8
        steps = (pixels.astype(np.uint16) + shift) >> 4
        codes = (steps[:, 0] * 17 + steps[:, 1]) * 17 + steps[:, 2]
        best = max(best, int(np.bincount(codes).max()))
    return best / len(pixels)
