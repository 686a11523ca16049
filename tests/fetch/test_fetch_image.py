"""Headers, completeness and caps from bytes; pixels from bytes; img2dataset's resize modes."""

import io
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from fetch_pictures import FORMATS, jpeg, photo, saved
from hostile_web import bomb_png
from PIL import Image

from curate.fetch.image import Broken, header, inspect, sniff
from curate.fetch.isolate import Isolated
from curate.fetch.pixels import decode
from curate.fetch.reencode import Resize, upright
from curate.fetch.stage import Fetch

FILES = {mime: saved(photo(), name) for mime, name in FORMATS.items()}


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


@pytest.mark.parametrize("mime", FILES)
def test_header(mime):
    found = header(FILES[mime])
    assert (found.mime, found.width, found.height, found.frames, found.whole) == (mime, 64, 48, 1, True)
    assert inspect(FILES[mime])[0] == "ok"


@pytest.mark.parametrize("mime", FILES)
def test_every_cut_is_seen(mime):
    """At whatever byte a file is cut, the outcome is not `ok`, and nothing but an outcome comes out."""
    data = FILES[mime]
    for end in range(len(data)):
        outcome, _ = inspect(data[:end])
        assert outcome in ("empty", "not_an_image", "broken_image", "truncated") or (
            mime == "image/gif" and end == len(data) - 1
        ), end
    assert inspect(data[: len(data) * 2 // 3])[0] == "truncated"


@pytest.mark.parametrize("mime", FILES)
def test_junk_behind_the_picture_is_tolerated(mime):
    assert inspect(FILES[mime] + b"<!-- cache: hit -->")[0] == "ok"


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_frames(format):
    data = saved(photo(), format, frames=3)
    assert header(data).frames == 3
    assert inspect(data, max_frames=2)[0] == "too_many_pixels"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 40,
        b"<html>",
        b"<svg xmlns=''>",
        b"%PDF-1.7",
        b"%!PS-Adobe",
        b"BM" + bytes(60),
        b"II*\0" + bytes(60),
        b"MM\0*" + bytes(60),
        b"\0\0\1\0" + bytes(40),
        box(b"ftyp", b"heic\0\0\0\0heicmif1"),
        box(b"ftyp", b"mp42\0\0\0\0isom"),
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\xff\xd8",
        b"GIF90a" + bytes(20),
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\xff\x0a",
        b"gimp xcf",
    ],
)
def test_other_formats_are_not_let_in(data):
    assert sniff(data) is None and inspect(data)[0] == "not_an_image"


def test_sizes_that_lie():
    png = bytearray(FILES["image/png"])
    png[16:24] = struct.pack(">II", 100_000, 100_000)
    assert inspect(bytes(png))[0] == "too_many_pixels"
    png[16:24] = struct.pack(">II", 0, 5)
    assert inspect(bytes(png))[0] == "broken_image"
    assert inspect(bomb_png())[0] == "too_many_pixels"
    gif = bytearray(FILES["image/gif"])
    at = gif.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 64, 48))
    gif[at + 5 : at + 9] = struct.pack("<HH", 65535, 65535)  # a frame larger than its canvas: decoders grow the canvas
    assert inspect(bytes(gif))[0] == "too_many_pixels"
    assert inspect(FILES["image/jpeg"], max_pixels=64 * 48 - 1)[0] == "too_many_pixels"


def test_a_jpeg_of_many_scans_is_a_bomb():
    data = saved(photo(), progressive=True)
    assert 2 <= header(data).scans <= 20
    start = data.rindex(b"\xff\xda")
    assert inspect(data[:start] + data[start:-2] * 200 + data[-2:])[0] == "too_many_pixels"


def test_the_scans_of_a_large_picture_are_fewer():
    """Each costs a pass over all pixels: 15 of 64 MP take as long as a hundred of 10 MP."""

    def of(width, count):
        data = bytearray(scans(0xC2, count))
        at = data.index(b"\xff\xc2")
        data[at + 5 : at + 9] = struct.pack(">HH", width, width)
        return inspect(bytes(data))[0]

    assert of(8000, 15) == of(3000, 100) == "ok"
    assert of(8000, 16) == of(3200, 100) == "too_many_pixels"


def scans(frame: int, count: int, between: bytes = b"") -> bytes:
    """A JPEG of three components, each scan of which holds one of them; `between` comes after the first scan."""
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64
    tables += b"".join(b"\xff\xc4\0\x14" + bytes([kind, 1]) + bytes(15) + b"\0" for kind in (0, 0x10))
    parts = b"".join(bytes((i, 0x11, 0)) for i in (1, 2, 3))
    size = struct.pack(">HBHHB", 17, 8, 48, 64, 3)
    scan = b"\xff\xda\0\x08\1\1\0\0" + (b"\x3f\0" if frame == 0xC0 else b"\0\0") + b"\0\0"
    return b"\xff\xd8" + tables + bytes((0xFF, frame)) + size + parts + scan + between + scan * (count - 1) + b"\xff\xd9"


def test_scans_are_counted_in_every_kind_of_jpeg_and_nowhere_but_in_its_scans():
    hiding = b"\xff\xfe\0\4\xff\xd9"  # the end marker in a comment is none
    for frame in (0xC0, 0xC1, 0xC2, 0xCA):
        assert header(scans(frame, 100)).scans == header(scans(frame, 100, hiding)).scans == 100
        assert inspect(scans(frame, 100))[0] == "ok"
        assert inspect(scans(frame, 101))[0] == inspect(scans(frame, 101, hiding))[0] == "too_many_pixels"
    comment = b"\xff\xfe\x01\x92" + b"\xff\xda" * 200
    data = jpeg()
    assert header(data[:2] + comment + data[2:] + b"\xff\xda" * 200).scans == 1  # nor are scans in comments, or behind the end


def test_a_jpeg_of_many_segments_is_refused_soon():
    started = time.perf_counter()
    assert inspect(b"\xff\xd8" + b"\xff\xc2\0\2" * 40_000 + b"\xff\xda" + bytes(50))[0] == "broken_image"
    assert time.perf_counter() - started < 1


def test_a_thumbnails_end_is_not_the_pictures_end():
    small = jpeg(16, 16)
    inner = b"Exif\0\0" + small
    data = jpeg()
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + data[2:]
    assert inspect(with_thumbnail) == inspect(data)
    assert inspect(with_thumbnail[:-100])[0] == "truncated"


def test_upright_agrees_with_pillow():
    from PIL import ImageOps

    for value in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = value
        image = Image.open(io.BytesIO(saved(photo(), "PNG", exif=exif)))
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), upright(photo(), value))


# ---- pixels


@pytest.mark.parametrize(
    ("format", "mode", "options", "error"),
    [
        ("JPEG", None, {"quality": 95}, 3),
        ("JPEG", None, {"progressive": True}, 5),
        ("JPEG", "CMYK", {"quality": 95}, 4),
        ("JPEG", "L", {}, None),
        ("PNG", None, {}, 0),
        ("PNG", "RGBA", {}, 0),
        ("PNG", "P", {}, 40),
        ("PNG", "L", {}, None),
        ("PNG", "LA", {}, None),
        ("PNG", "1", {}, None),
        ("WEBP", None, {"lossless": True}, 0),
        ("WEBP", None, {"quality": 95}, 4),
        ("WEBP", "RGBA", {"lossless": True}, 0),
        ("GIF", None, {}, 15),
        ("AVIF", None, {"quality": 95}, 4),
        ("AVIF", "RGBA", {"quality": 95}, 4),
    ],
)
def test_decode(format, mode, options, error):
    data = saved(photo(), format, mode, **options)
    pixels = decode(data)
    assert pixels.dtype == np.uint8 and pixels.shape == (48, 64, 3) and pixels.flags.c_contiguous
    if error is not None:
        assert np.abs(pixels.astype(int) - photo()).mean() <= error
    else:
        seen = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(pixels - seen).max() <= 1


def test_first_frame():
    for format in ("GIF", "WEBP", "AVIF", "PNG"):
        data = saved(photo(), format, frames=3, **({"lossless": True} if format == "WEBP" else {}))
        assert np.abs(decode(data).astype(int) - photo()).mean() < 16, format


def test_orientation_is_for_loaders_to_ignore_and_lost_with_the_metadata():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(photo(), quality=95, exif=exif)
    assert decode(data).shape == (48, 64, 3)
    kept, width, height = Resize("no", format="png", quality=1)(data)
    assert (width, height) == (48, 64) and decode(kept).shape == (64, 48, 3)
    assert np.array_equal(decode(kept), upright(decode(data), 6))


def test_broken_files_are_refused():
    for data in (
        b"",
        b"nothing",
        FILES["image/png"][:60],
        FILES["image/webp"][:40],
        FILES["image/gif"][:30],
        FILES["image/avif"][:-50],
        FILES["image/jpeg"][:30],
        bomb_png(),
    ):
        with pytest.raises(Broken):
            decode(data)
        with pytest.raises(Broken):
            Resize()(data)
    bad = bytearray(FILES["image/png"])
    bad[60:90] = bytes(30)
    with pytest.raises(Broken):
        decode(bytes(bad))


def test_the_cap_of_pixels_is_the_operators():
    with pytest.raises(Broken, match="too_many_pixels"):
        Resize("no", max_pixels=64 * 48 - 1)(jpeg())
    with Isolated() as child:
        assert child.resize(Resize("no", max_pixels=64 * 48 - 1), jpeg())[0] == "broken"
    assert Fetch(resize_mode="no", max_pixels=100_000_000).resizing().max_pixels == 100_000_000
    assert Resize("keep_ratio", 32, max_pixels=100_000_000)(bomb_png(8200))[1:] == (32, 32)


def test_damaged_animated_png():
    """OpenCV 4.14 dies of these: an error in a frame finds its way back into memory that is gone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    good, bad = (zlib.compress((filter + bytes(32)) * 32) for filter in (b"\x00", b"\x09"))  # there is no filter 9
    pieces = (
        (b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)),
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"IDAT", good),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 32, 32, 0, 0, 1, 10, 0, 0)),
        (b"fdAT", struct.pack(">I", 1) + bad),
        (b"fcTL", struct.pack(">IIIIIHHBB", 2, 32, 32, 0, 0, 1, 10, 0, 0)),
        (b"fdAT", struct.pack(">I", 3) + good),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in pieces)
    assert inspect(data)[0] == "ok"
    with Isolated() as child:
        found = child.decode(data)  # Pillow shows the picture that comes before the animation
        assert not isinstance(found, str) and found.shape == (32, 32, 3)


def test_metadata_is_stripped():
    exif = Image.Exif()
    exif[0x010E] = "GPS 52.52 13.40"
    data = saved(photo(), exif=exif, comment=b"call me")
    assert b"GPS 52" in data
    for format in ("jpg", "png", "webp"):
        kept, _, _ = Resize("no", format=format, quality=9)(data)
        assert b"GPS 52" not in kept and b"call me" not in kept


# ---- resizing


@pytest.mark.parametrize(
    ("mode", "size", "bigger", "wide", "tall"),
    [
        ("no", 32, False, (64, 48), (48, 64)),
        ("border", 32, False, (32, 32), (32, 32)),
        ("keep_ratio", 24, False, (32, 24), (24, 32)),
        ("keep_ratio_largest", 32, False, (32, 24), (24, 32)),
        ("center_crop", 24, False, (24, 24), (24, 24)),
        ("keep_ratio", 96, False, (128, 96), (96, 128)),
        ("border", 100, False, (100, 100), (100, 100)),
        ("keep_ratio", 96, True, (64, 48), (48, 64)),
        ("border", 100, True, (64, 48), (48, 64)),
        ("center_crop", 48, True, (64, 48), (48, 64)),
        ("center_crop", 40, True, (40, 40), (40, 40)),
        ("keep_ratio_largest", 63, True, (63, 47), (47, 63)),
    ],
)
def test_modes(mode, size, bigger, wide, tall):
    for source, expected in (((64, 48), wide), ((48, 64), tall)):
        kept, width, height = Resize(mode, size, bigger)(jpeg(*source))
        assert (width, height) == (header(kept).width, header(kept).height) == expected


def test_against_a_plain_area_resize():
    """Scaling while decoding changes little: at least 38 dB against resizing the full picture."""
    data = saved(photo(640, 480), quality=95)
    kept, width, height = Resize("keep_ratio", 256, format="png", quality=1)(data)
    plain = cv2.resize(decode(data), (width, height), interpolation=cv2.INTER_AREA).astype(float)
    assert (width, height) == (341, 256)
    assert 10 * np.log10(255**2 / ((decode(kept) - plain) ** 2).mean()) > 38


def test_border_is_white_and_centred():
    kept, _, _ = Resize("border", 64, format="png", quality=1)(saved(np.zeros((32, 64, 3), np.uint8), "PNG"))
    pixels = decode(kept)
    assert (pixels[:16] == 255).all() and (pixels[48:] == 255).all() and (pixels[16:48] == 0).all()


def test_odd_sizes_keep_the_right_size():
    for width, height in ((641, 479), (1023, 333), (333, 1023), (257, 256), (5000, 300), (17, 900)):
        how = Resize("keep_ratio", 256)
        _, w, h = how(jpeg(width, height))
        assert (w, h) == how.target(width, height) and min(w, h) == 256


def test_what_is_checked_is_what_is_decoded():
    """A header that says less than its data holds: the decoder goes by the same header."""
    png = FILES["image/png"]
    head = b"IHDR" + struct.pack(">II", 32, 24) + png[24:29]
    fake = png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]
    assert inspect(fake)[0] == "ok"
    try:
        assert decode(fake).shape == (24, 32, 3)
    except Broken:
        pass  # refusing it is right too
