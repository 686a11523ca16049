"""Bytes to the pixels that a training loader sees in them.

The loader is open_clip's (webdataset's `pilrgb`): Pillow's first frame, converted to RGB. So EXIF orientation and colour profiles
are ignored, transparency is cut off (what lies behind it shows, often black), and 16 bits of grey become 8 as Pillow makes them.
What a file looks like to people is what `reencode` writes.
"""

import io
import struct
import warnings
import zlib

import numpy as np
import simplejpeg
from PIL import Image

from curate.fetch.image import LOADED, MAX_PIXELS, Broken, Header, inspect
from curate.store import failpoints

#: What Pillow, simplejpeg and Python's own modules raise at files they do not like.
REFUSALS: tuple[type[Exception], ...] = (
    ValueError,
    OSError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode(data: bytes, max_pixels: int = MAX_PIXELS, least: int = 0) -> np.ndarray:
    """The first frame as uint8, shape (height, width, 3), RGB, as open_clip's loader has it. Raises Broken where that refuses the
    file, or MemoryError. least: a JPEG may come smaller, its shorter side no less than so many pixels; 0: every pixel."""
    found = checked(data, max_pixels)
    try:
        failpoints.at("decode", data)
        with opened(data, found, max_pixels) as image:
            if (
                image.format in ("JPEG", "MPO")
                and image.mode in ("RGB", "L")
                and (pixels := _strictly(data, least)) is not None
            ):
                return pixels
            return np.array(image.convert("RGB"))
    except REFUSALS as e:
        raise Broken(f"{found.mime}: {type(e).__name__}: {e}") from e


def checked(data: bytes, max_pixels: int) -> Header:
    """The header of a file that may be decoded. Raises Broken."""
    outcome, found = inspect(data, max_pixels)
    if found is None or outcome not in ("ok", "truncated"):
        raise Broken(outcome)
    return found


def opened(data: bytes, found: Header, max_pixels: int) -> Image.Image:
    """The file in Pillow, its pixels not yet decoded. Raises one of REFUSALS, ValueError where the header that was checked lies."""
    name = found.mime.removeprefix("image/").upper()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=[name, "MPO"] if name == "JPEG" else [name])
    if image.width * image.height > max_pixels or (found.mime in LOADED and image.size != (found.width, found.height)):
        raise ValueError(f"{image.width}x{image.height} pixels, the header says {found.width}x{found.height}")
    return image


def _strictly(data: bytes, least: int) -> np.ndarray | None:
    """A sound JPEG in two thirds of Pillow's time, the same pixels (or fewer, by libjpeg's scaled DCT); None where libjpeg has something
    to say, and Pillow decides."""
    try:
        return simplejpeg.decode_jpeg(data, "RGB", strict=True, min_height=least, min_width=least)
    except ValueError:
        return None
