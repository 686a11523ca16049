"""Decode pictures to the pixels that a training loader gets.

The loader is open_clip's (webdataset's `pilrgb`): Pillow's first frame, converted to RGB. So EXIF orientation and colour profiles
are ignored, the alpha channel is dropped (transparent pixels show their colour, often black), and 16-bit grey becomes 8-bit as in
Pillow. `reencode` renders a file as browsers do.
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

#: Exceptions that Pillow, simplejpeg and Python's own modules raise for invalid files.
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
    """The first frame as RGB, uint8 (height, width, 3), as open_clip's loader decodes it.

    least: scale a JPEG down while decoding, its shorter side to no less than so many pixels; 0: full size. Raises Broken where the
    loader refuses the file, or MemoryError."""
    found = checked(data, max_pixels)
    try:
        failpoints.at("decode", data)
        with opened(data, found, max_pixels) as image:
            if (
                image.format in ("JPEG", "MPO")
                and image.mode in ("RGB", "L")
                and (pixels := _decode_jpeg(data, least)) is not None
            ):
                return pixels
            return np.array(image.convert("RGB"))
    except REFUSALS as e:
        raise Broken(f"{found.mime}: {type(e).__name__}: {e}") from e


def checked(data: bytes, max_pixels: int) -> Header:
    """The header of a file, if it may be decoded: accepted format, within the limits. Raises Broken."""
    outcome, found = inspect(data, max_pixels)
    if found is None or outcome not in ("ok", "truncated"):
        raise Broken(outcome)
    return found


def opened(data: bytes, found: Header, max_pixels: int) -> Image.Image:
    """Open a file in Pillow without decoding it. Raises one of REFUSALS; ValueError if Pillow reads another size than the checked header."""
    name = found.mime.removeprefix("image/").upper()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=[name, "MPO"] if name == "JPEG" else [name])
    if image.width * image.height > max_pixels or (found.mime in LOADED and image.size != (found.width, found.height)):
        raise ValueError(f"{image.width}x{image.height} pixels, the header says {found.width}x{found.height}")
    return image


def _decode_jpeg(data: bytes, least: int) -> np.ndarray | None:
    """Decode a valid JPEG in two thirds of Pillow's time to the same pixels (or fewer, by libjpeg's scaled DCT); None where libjpeg warns,
    so that Pillow decides."""
    try:
        return simplejpeg.decode_jpeg(data, "RGB", strict=True, min_height=least, min_width=least)
    except ValueError:
        return None
