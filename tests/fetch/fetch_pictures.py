"""Small real-looking pictures in every allowed format."""

import io
from functools import cache

import numpy as np
from PIL import Image


@cache
def photo(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """Smooth colours with some structure, uint8 RGB."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def saved(pixels: np.ndarray, format: str = "JPEG", mode: str | None = None, frames: int = 1, **options) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    if mode:
        image = image.convert(mode)
    more = [Image.fromarray(np.roll(pixels, 5 * i, 1)) for i in range(1, frames)]
    image.save(out, format, **(options | ({"save_all": True, "append_images": more} if more else {})))
    return out.getvalue()


@cache
def jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    return saved(photo(width, height, seed), quality=90)


FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF", "image/avif": "AVIF"}
