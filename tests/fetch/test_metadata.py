"""What files say besides their pixels: reported of originals, gone after re-encoding."""

import io
import struct
import tracemalloc
import zlib

import pyarrow as pa
import pytest
from documents.page_web import serving
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from curate.fetch.metadata import LOCATION, NONE, SOME, metadata
from curate.fetch.stage import Fetch
from curate.filters.image_metadata import ImageMetadata
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.url_pairs import UrlPairs

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description %s/></rdf:RDF></x:xmpmeta>'
MARK = b"mark of the camera"


def exif(gps: bool) -> bytes:
    found = Image.Exif()
    found[0x010F] = MARK.decode()
    if gps:
        found.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return found.tobytes()


def saved(kind: str, size: int = 48, **said) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((size, size), 80).convert("RGB").save(out, kind, **said)
    return out.getvalue()


def raw_profile(data: bytes) -> bytes:
    """EXIF in a PNG as ImageMagick wrote it: hex in a compressed text."""
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(data):8d}\n{data.hex()}\n", zip=True)
    return saved("PNG", pnginfo=info)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        *((saved(k, exif=exif(True)), LOCATION) for k in ("JPEG", "PNG", "WEBP", "AVIF")),
        *((saved(k, exif=exif(False)), SOME) for k in ("JPEG", "PNG", "WEBP")),
        *((saved(k), NONE) for k in ("JPEG", "PNG", "WEBP", "GIF")),
        *((saved(k, xmp=XMP % b'exif:GPSLatitude="52,31.2N"'), LOCATION) for k in ("JPEG", "WEBP", "AVIF")),
        *((saved(k, xmp=XMP % b'dc:title="x"'), SOME) for k in ("JPEG", "WEBP", "AVIF")),
        (saved("JPEG", comment=b"call me"), SOME),
        (saved("GIF", comment=b"call me"), SOME),
        (raw_profile(exif(True)), LOCATION),
        (raw_profile(exif(False)), SOME),
        (b"", NONE),
        (b"GIF89a", NONE),
        (b"II*\0 nothing", NONE),
    ],
)
def test_metadata(data, found):
    assert metadata(data) == found


def text(kind: bytes, body: bytes, times: int = 1) -> bytes:
    data, chunk = saved("PNG"), struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk * times + data[33:]


def packed(data: bytes, window: int = 15) -> bytes:
    squeeze = zlib.compressobj(9, wbits=window)
    return squeeze.compress(data) + squeeze.flush()


XMP_GPS = XMP % b'exif:GPSLatitude="52,31.2N"'


@pytest.mark.parametrize(
    "chunk",
    [
        *((b"zTXt", b"Raw profile type exif\0\0", lambda d, w=w: packed(d, w), "exif") for w in (9, 12, 14, 15)),
        (b"tEXt", b"Raw profile type exif\0", bytes, "exif"),
        (b"tEXt", b"Raw profile type APP1\0", bytes, "exif"),
        (b"zTXt", b"Raw profile type xmp\0\0", packed, "xmp"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", bytes, None),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", lambda d: packed(d, 12), None),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0x-default\0xXx\0", packed, None),
    ],
)
def test_places_in_the_texts_of_a_png(chunk):
    kind, head, pack, profile = chunk
    data = exif(True) if profile == "exif" else XMP_GPS
    if profile:
        data = f"\n{profile}\n{len(data):8d}\n".encode() + b"\n".join(
            data.hex()[i : i + 72].encode() for i in range(0, 2 * len(data), 72)
        )
    assert metadata(text(kind, head + pack(data))) == LOCATION


def test_bytes_that_fill_up_to_a_marker():
    data = saved("JPEG", exif=exif(True))
    assert metadata(data[:2] + b"\xff\xff" + data[2:]) == LOCATION


@pytest.mark.parametrize(
    "data",
    [
        lambda: text(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20)), 200),  # 200 MB
        lambda: saved("AVIF", exif=exif(False)) + struct.pack(">I4s", 80_008, b"free") + b"II*\0" * 20_000,  # 800 MB of tails
    ],
)
def test_memory_is_bounded_by_the_file(data):
    data = data()
    tracemalloc.start()
    assert metadata(data) == SOME
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_text_chunk_is_unpacked_to_a_limit():
    info = PngInfo()
    info.add(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100 << 20), 1))  # 100 MB
    assert metadata(saved("PNG", pnginfo=info)) == SOME


def test_damaged_files_break_nothing():
    for data in (
        saved("JPEG", exif=exif(True)),
        saved("PNG", exif=exif(True)),
        saved("WEBP", exif=exif(True)),
        saved("GIF", comment=b"x" * 300),
        raw_profile(exif(True)),
    ):
        for cut in range(0, len(data), 7):
            metadata(data[:cut])
            metadata(data[:cut] + b"\xff" * 40 + data[cut:])


@pytest.mark.parametrize("mode", [None, "keep_ratio"])
def test_a_real_jpeg_with_gps_on_its_way_into_a_shard(tmp_path, mode):
    """Kept as it is: told, in the ledger and on the card. Re-encoded: none of it is in any shard."""
    files = {
        "/gps.jpg": saved("JPEG", 300, exif=exif(True), quality=90),
        "/exif.png": saved("PNG", 300, exif=exif(False)),
        "/plain.jpg": saved("JPEG", 300),
    }
    assert MARK in files["/gps.jpg"]
    with serving(files) as (address, _):
        (tmp_path / "pairs.csv").write_text("url,text\n" + "".join(f"{address}{p},a caption of three words\n" for p in files))
        recipe = Recipe(
            UrlPairs(str(tmp_path / "pairs.csv")),
            [Fetch(allow_private=("127.0.0.0/8",), robots=False, resize_mode=mode), ImageMetadata()],
            shards=Shards(size=10),
            name="x",
        )
        made = run(recipe, str(tmp_path / "run"), engine="local")
    found = made.sql("select image_metadata from images order by source_row").fetchall()
    assert found == ([(LOCATION,), (SOME,), (NONE,)] if mode is None else [(NONE,)] * 3)
    shard = (tmp_path / "run/shards/00000.tar").read_bytes()
    card = (tmp_path / "run/README.md").read_text()
    if mode is None:
        assert (
            MARK in shard
            and "Of 3 files kept as they came 2 carry metadata (EXIF, XMP, IPTC, comments), 1 of them a place (GPS)." in card
        )
    else:
        assert MARK not in shard and b"Exif" not in shard and "2 carry metadata" not in card


def test_ruled_out(tmp_path):
    stage = ImageMetadata(max=1)
    live = pa.table({"uid": ["a", "b"]})
    assert stage.judge(stage.run(live, [saved("JPEG", exif=exif(True)), saved("JPEG", exif=exif(False))])).to_pylist() == [
        "image_metadata",
        None,
    ]
