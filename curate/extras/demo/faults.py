"""The faults of the demo's web: edited pictures, invalid files, useless texts, bad URLs, and server faults."""

import functools
import io
import struct
import zlib

from PIL import Image, ImageEnhance, ImageOps

from curate.extras.demo.pairs import Pair, encode, flat

#: Alt texts that do not describe their picture.
BOILERPLATE = (
    "logo.png",
    "image",
    "IMG_2031.JPG",
    "click here",
    "photo",
    "picture",
    "untitled",
    "DSC00417.jpg",
    "banner",
    "thumbnail",
    "image1.jpeg",
    "click to enlarge",
    "loading...",
    "spacer.gif",
    "Screenshot 2021-03-04 at 11.02.17.png",
    "no caption",
    "image may be subject to copyright",
    "click here for a larger version of this image",
    "download free stock image",
    "advertisement",
    "icon",
    "avatar",
    "read more",
    "home page logo",
    "[object Object]",
    "null",
)

#: Invalid URLs.
BAD_URLS = (
    "",
    "not a url",
    "http://",
    "javascript:void(0)",
    "data:image/png;base64,iVBORw0KGgo=",
    "ftp://127.0.0.2/pub/cat.jpg",
    "/img/relative.jpg",
    "mailto:someone@example.com",
    "http://:80/no-host.jpg",
)

#: Addresses that no fetcher may contact, even where loopback is allowed for the demo.
PRIVATE = (
    "http://10.0.0.1/admin.jpg",
    "http://169.254.169.254/latest/meta-data/",
    "http://192.168.1.1/router.png",
    "http://172.16.0.5/intern.jpg",
    "http://[fe80::1]/link.jpg",
    "http://0.0.0.0/zero.jpg",
    "http://100.64.0.1/carrier.png",
)

#: Redirects to something that is not the web.
BAD_LOCATIONS = ("file:///etc/passwd", "ftp://127.0.0.2/cat.jpg", "javascript:alert(1)", "gopher://127.0.0.2/1")

#: Faults of a server: kind -> (the server's behaviour, the correct outcomes). The picture itself is valid.
SERVER = {
    "http_404": ({"do": "status", "code": 404}, ["fetch:http_404"]),
    "http_410": ({"do": "status", "code": 410}, ["fetch:http_410"]),
    "http_403": ({"do": "status", "code": 403}, ["fetch:http_403"]),
    "http_401": ({"do": "status", "code": 401}, ["fetch:http_401"]),
    "http_418": ({"do": "status", "code": 418}, ["fetch:http_4xx"]),
    "http_429": ({"do": "status", "code": 429, "headers": "Retry-After: 1\r\n"}, ["fetch:http_429"]),
    "http_503": ({"do": "status", "code": 503}, ["fetch:http_5xx"]),
    "500_then_200": ({"do": "flaky", "code": 500, "times": 1}, []),
    "429_then_200": ({"do": "flaky", "code": 429, "times": 1, "headers": "Retry-After: 1\r\n"}, []),
    "slow": ({"do": "slow", "seconds": 1.5}, []),
    "chunked": ({"do": "chunked"}, []),
    "stalled": ({"do": "stalled"}, ["fetch:timeout"]),
    "short_body": ({"do": "short"}, ["fetch:truncated", "fetch:connection"]),
    "giant": ({"do": "giant"}, ["fetch:too_large"]),
    "endless": ({"do": "endless"}, ["fetch:too_large", "fetch:timeout"]),
    "reset": ({"do": "reset"}, ["fetch:connection", "fetch:bad_response"]),
    "garbage": ({"do": "garbage"}, ["fetch:bad_response", "fetch:connection"]),
}


def rgb_picture(pair: Pair) -> Image.Image:
    """The picture of a pair in RGB, on white."""
    with Image.open(io.BytesIO(pair.image)) as im:
        return flat(im)


def _crop(im: Image.Image, share: float) -> Image.Image:
    """Crop `share` of width and height, half on each side."""
    dx, dy = int(im.width * share / 2), int(im.height * share / 2)
    return im.crop((dx, dy, im.width - dx, im.height - dy))


#: Near duplicates: how a picture is edited, and the JPEG quality it is saved with.
EDITS = {
    "resize": (lambda im: im.resize((max(64, im.width * 2 // 3), max(64, im.height * 2 // 3)), Image.Resampling.LANCZOS), 90),
    "jpeg_q30": (lambda im: im, 30),
    "crop_10": (lambda im: _crop(im, 0.10), 90),
    "crop_25": (lambda im: _crop(im, 0.25), 90),
    "mirror": (ImageOps.mirror, 90),
    "brightness": (lambda im: ImageEnhance.Brightness(im).enhance(0.75), 90),
}


def edited(pair: Pair, edit: str) -> bytes:
    """A near duplicate as JPEG. Brightness is reduced to 0.75, since most of these pictures are on white, which cannot get brighter."""
    change, quality = EDITS[edit]
    return encode(change(rgb_picture(pair)), ".jpg", quality)


def tiny(pair: Pair, side: int) -> bytes:
    """The picture as an icon of 8 to 24 pixels."""
    return encode(rgb_picture(pair).resize((side, side)), ".png")


def banner(pair: Pair, upright: bool) -> bytes:
    """The picture repeated eight times in a row or a column: an aspect ratio of about 8."""
    im = rgb_picture(pair)
    im.thumbnail((96, 96))
    wide, high = (im.width, im.height * 8) if upright else (im.width * 8, im.height)
    strip = Image.new("RGB", (wide, high), "white")
    for i in range(8):
        strip.paste(im, (0, i * im.height) if upright else (i * im.width, 0))
    return encode(strip, ".jpg")


@functools.cache
def bomb(side: int = 50_000) -> bytes:
    """A white PNG of side x side pixels, 1 bit each: 0.3 MB on disk, 2.5 billion pixels when decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze, rows = zlib.compressobj(9), b"\x00" + b"\xff" * (side // 8)
    body = b"".join(squeeze.compress(rows * 100) for _ in range(side // 100)) + squeeze.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def html_page(pair: Pair) -> bytes:
    """The HTML page with which a dead image host answers, with status 200, instead of a picture."""
    return (
        f"<!DOCTYPE html><html><head><title>{pair.title}</title></head><body><h1>This image is no longer here</h1>"
        f"<p>Sign in to see {pair.title}.</p></body></html>"
    ).encode()
