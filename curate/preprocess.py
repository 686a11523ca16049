"""Preprocessing of pictures for vision models: antialiased resize and centre crop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: JPEGs are decoded at the smallest eighth of their size (libjpeg's scaled DCT) that is at least this factor above the model's size.
#: With factor 2 embeddings are, on average over real photographs, within a cosine of 0.9997 of those of whole pictures, with 1 within 0.9966 (benchmarks.gpu).
FACTOR = 2
#: Part of the fingerprint of every stage that gets prepared pictures; must change when the same file would give another input.
PREPARED = f"libjpeg scaled DCT, at least {FACTOR} x the model's size; Pillow antialiased resize; 1"


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing of a model with an input of `size` x `size` pixels.

    mode: `shortest` resizes the shorter side to `full` and crops the centre, as open_clip and torchvision do; `squash` resizes both
    sides to `full`, whatever the aspect ratio. full: pixels before the crop, `size` if 0. bilinear: the resize filter, else bicubic.
    """

    size: int
    mode: str = "shortest"
    bilinear: bool = False
    full: int = 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3) -> uint8 (size, size, 3), equal to torchvision's transforms up to two grey levels. Only the crop is
        computed."""
        from PIL import Image

        picture = Image.fromarray(pixels)
        method = Image.Resampling.BILINEAR if self.bilinear else Image.Resampling.BICUBIC
        return np.asarray(picture.resize((self.size, self.size), method, box=self.box(*picture.size)))

    def batch(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures of any sizes -> uint8 (n, size, size, 3)."""
        empty = np.zeros((0, self.size, self.size, 3), np.uint8)
        return np.stack([self(picture) for picture in pictures]) if len(pictures) else empty

    @property
    def least(self) -> int:
        """The smallest shorter side, in pixels, at which a JPEG may be decoded for this model."""
        return FACTOR * (self.full or self.size)

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The crop in the coordinates of the original picture: left, top, right, bottom."""
        full = self.full or self.size
        wide, high = full, full
        if self.mode == "shortest":
            wide, high = (full, int(full * height / width)) if width <= height else (int(full * width / height), full)
        left, top = round((wide - self.size) / 2), round((high - self.size) / 2)
        x, y = width / wide, height / high
        return left * x, top * y, (left + self.size) * x, (top + self.size) * y
