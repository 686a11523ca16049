"""Files that decoders disagree about: transparency, colour keys, 16 bits, palettes, CMYK, orientation, profiles, damage."""

import io
import struct
import zlib

import numpy as np
from fetch_pictures import photo, saved
from PIL import Image, ImageCms, ImageDraw


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, kind: int, row: bytes, width: int, *extra: bytes, height: int = 64) -> bytes:
    """A PNG of equal rows."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
        + chunk(b"IEND", b"")
    )


def disc(mode: str, format: str, **options) -> bytes:
    """A dark disc on a transparent ground."""
    image = Image.new("RGBA", (96, 80), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((20, 20, 70, 70), fill=(20, 30, 40, 255))
    out = io.BytesIO()
    image.convert(mode).save(out, format, **options)
    return out.getvalue()


def keyed(depth: int, kind: int = 0) -> bytes:
    """Grey (kind 0), RGB (2) or palette (3), the left half of the colour that is transparent."""
    key = {1: 1, 2: 2, 4: 9, 8: 77, 16: 0x4D00}[depth]
    if kind == 3:
        return png(8, 3, bytes([0] * 32 + [1] * 32), 64, chunk(b"PLTE", bytes([9, 9, 9, 200, 10, 10])), chunk(b"tRNS", b"\0"))
    samples = [key] * 32 * (kind + 1) + [0] * 32 * (kind + 1)
    if depth == 16:
        row = struct.pack(f">{len(samples)}H", *samples)
    else:
        bits = np.array([[s >> (depth - 1 - b) & 1 for b in range(depth)] for s in samples], np.uint8)
        row = np.packbits(bits).tobytes()
    return png(depth, kind, row, 64, chunk(b"tRNS", struct.pack(">H", key) * (kind + 1)))


def turned(format: str, value: int = 6, **options) -> bytes:
    """64 x 48 with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(photo(), format, exif=exif.tobytes(), **options)


def long_tag(order: bytes = b"MM") -> bytes:
    """A JPEG whose orientation is a LONG."""
    mark = ">" if order == b"MM" else "<"
    tiff = order + struct.pack(mark + "HIHHHIII", 42, 8, 1, 0x112, 4, 1, 6, 0)
    segment = b"Exif\0\0" + tiff
    data = saved(photo(), quality=95)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def swapped_profile() -> bytes:
    """An RGB profile of the size of sRGB whose first and third primaries have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(struct.unpack_from(">I", data, 128)[0])}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "BGR!".encode("utf-16-be")).replace(b"sRGB", b"BGR!")


def stray(at_scan: bool = False, junk: bytes = b"\0\0") -> bytes:
    """A JPEG with a few bytes between segments of its header, as cameras and old software leave them."""
    data = saved(photo(), quality=95)
    at = data.index(b"\xff\xda") if at_scan else 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + junk + data[at:]


def cmyk(**options) -> bytes:
    return saved(photo(), "JPEG", "CMYK", quality=95, **options)


#: Name -> file; open_clip's loader opens them.
ODD = {
    "plain.jpg": saved(photo(), quality=90),
    "progressive.jpg": saved(photo(), quality=90, progressive=True),
    "grey.jpg": saved(photo(), mode="L"),
    "cmyk.jpg": cmyk(),
    "turned.jpg": turned("JPEG"),
    "long.jpg": long_tag(),
    "stray.jpg": stray(),
    "newline.jpg": stray(junk=b"\n"),
    "zeros.jpg": stray(at_scan=True, junk=bytes(7)),
    "profile.jpg": saved(photo(), quality=95, icc_profile=swapped_profile()),
    "rgba.png": disc("RGBA", "PNG"),
    "la.png": disc("LA", "PNG"),
    "palette_alpha.png": disc("P", "PNG"),
    "palette.png": saved(photo(), "PNG", "P"),
    "bilevel.png": saved(photo(), "PNG", "1"),
    "turned.png": turned("PNG"),
    "grey16.png": png(16, 0, b"".join(struct.pack(">H", x * 900) for x in range(64)), 64),
    "rgb16.png": png(16, 2, b"".join(struct.pack(">3H", x * 900, 0x1234, 65535 - x) for x in range(64)), 64),
    "rgba16.png": png(16, 6, b"".join(struct.pack(">4H", x * 900, 0x1234, 99, x * 1000) for x in range(64)), 64),
    "no_end.png": saved(photo(), "PNG")[:-12],
    "animated.png": saved(photo(), "PNG", frames=3),
    **{f"key{depth}.png": keyed(depth) for depth in (1, 2, 4, 8, 16)},
    "key_rgb.png": keyed(8, 2),
    "key_rgb16.png": keyed(16, 2),
    "key_palette.png": keyed(8, 3),
    "alpha.webp": disc("RGBA", "WEBP", lossless=True),
    "lossy.webp": saved(photo(), "WEBP", quality=80),
    "lossy_alpha.webp": disc("RGBA", "WEBP", quality=80),
    "turned.webp": turned("WEBP"),
    "animated.webp": saved(photo(), "WEBP", frames=3),
}

#: Files that it does not open, though others do.
CLOSED = {
    "gif.gif": disc("RGBA", "GIF"),
    "animated.gif": saved(photo(), "GIF", frames=3),
    "avif.avif": disc("RGBA", "AVIF"),
    "turned.avif": turned("AVIF", quality=95),
    "text.png": png(8, 0, bytes(range(64)), 64, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 2_000_000))),
    "crc.png": png(8, 0, bytes(range(64)), 64, chunk(b"tEXt", b"a\0b")[:-1] + b"\0"),
}

#: Files with a sound header that nothing opens.
EMPTY = {
    "no_pixels.png": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
    + chunk(b"IEND", b""),
    "no_pixels.gif": b"GIF89a"
    + struct.pack("<HHBBB", 64, 64, 0, 0, 0)
    + b"\x2c"
    + struct.pack("<4HB", 0, 0, 64, 64, 0)
    + b"\x02\0\x3b",
}
