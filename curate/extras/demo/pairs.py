"""Real image-text pairs from the packages: pictures opened, drawings rendered.

The same packages give the same pairs, byte for byte, for any order or number of threads. Built pairs are cached under a hash of
their inputs.
"""

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curate.extras.demo import readers
from curate.extras.demo.readers import Draft, Emoji
from curate.models.packages import Fetched, Missing, cache, fetch

#: To be raised when the same packages would give other pairs.
VERSION = 1
#: The packages of each tier. T is for tests (npm only, seconds), S the default, M for measuring dedup and training.
TIERS = {
    "T": ("openmoji", "emojibase"),
    "S": ("openmoji", "emojibase", "fluent", "stamps", "skimage", "sklearn"),
    "M": ("openmoji", "emojibase", "fluent", "stamps", "skimage", "sklearn", "noto", "clipart_svg", "clipart_png", "furniture"),
}
#: Pairs that tier T takes.
TINY = 400
#: Drawings are rendered at one of these widths, chosen by their name.
SIDES = (224, 256, 320, 384)
#: Larger pictures are scaled down to MAX_SIDE pixels; those with a side under MIN_SIDE or an aspect ratio over MAX_RATIO are
#: left out, so that a filter with loose bounds drops no real pair for its size.
MAX_SIDE, MIN_SIDE, MAX_RATIO = 512, 64, 3.0
#: Pictures of more pixels are left out: three of the clip arts are bombs of 231 to 623 megapixels.
MAX_PIXELS = 40_000_000

SCHEMA = pa.schema(
    [
        ("id", pa.large_string()),
        ("source", pa.large_string()),
        ("title", pa.large_string()),
        ("text", pa.large_string()),
        ("licence", pa.large_string()),
        ("captions", pa.large_string()),
        ("suffix", pa.large_string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("held_out", pa.bool_()),
        ("image", pa.large_binary()),
    ]
)


@dataclass(frozen=True)
class Pair:
    """One picture and its true caption."""

    id: str  # source/key
    source: str  # the short name of its package
    title: str  # what it shows, without keywords
    text: str  # the English caption
    licence: str
    captions: dict[str, str]  # in other languages, by code
    suffix: str  # ".png", ".jpg" or ".webp": what the bytes are
    width: int
    height: int
    held_out: bool  # its title is in the eighth that the small CLIP was not trained on
    image: bytes


def held_out(title: str) -> bool:
    """True for one title in eight, by its hash, so that all styles of a thing are on the same side of the split."""
    plain = re.sub(r"\W+", " ", title.lower()).strip()
    return hashlib.sha256(plain.encode()).digest()[0] < 32


def pairs(tier: str = "S", say: Callable[[str], None] = print) -> tuple[list[Pair], Fetched]:
    """The pairs of a tier, in a fixed order, and the fetched packages. Downloads what is not in the cache."""
    fetched = fetch(TIERS[tier], say)
    made_of = {"version": VERSION, "tier": tier, "packages": {k: v["sha256"] for k, v in fetched.records().items()}}
    name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    file = cache() / "pairs" / f"{tier}-{name}.parquet"
    if not file.exists():
        _write(file, list(_open(_drafts(tier, fetched), say)))
    return _read(file), fetched


def _drafts(tier: str, fetched: Fetched) -> list[Draft]:
    """The drafts of all available packages, source by source."""
    have, found = fetched.folders, []
    if "emojibase" in have:
        emoji = Emoji(have["emojibase"])
        for name, reader in {"openmoji": readers.openmoji, "fluent": readers.fluent, "noto": readers.noto}.items():
            found += reader(have[name], emoji) if name in have else []
    found += readers.stamps(have["stamps"]) if "stamps" in have else []
    found += readers.clipart(have["clipart_svg"], have["clipart_png"]) if {"clipart_svg", "clipart_png"} <= have.keys() else []
    found += readers.furniture(have["furniture"]) if "furniture" in have else []
    return sorted(found, key=lambda d: hashlib.sha256(d.key.encode()).digest())[:TINY] if tier == "T" else found


def _open(drafts: list[Draft], say: Callable[[str], None]) -> Iterator[Pair]:
    """Open pictures on all cores, in order; those that cannot be opened or are out of bounds are left out."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, pair in enumerate(pool.map(_pair, drafts), 1):
            if n % 1000 == 0 or n == len(drafts):
                say(f"opened {n} of {len(drafts)} pictures")
            if pair is not None:
                yield pair


def _pair(draft: Draft) -> Pair | None:
    """The pair of a draft, or None if its picture cannot be opened or is out of bounds."""
    try:
        data = _picture(draft)
        if _png_pixels(data) > MAX_PIXELS:
            return None
        with Image.open(io.BytesIO(data)) as im:
            if max(im.size) > MAX_SIDE:
                data = _smaller(im)
    except (OSError, ValueError, SyntaxError):
        return None
    with Image.open(io.BytesIO(data)) as im:
        width, height, suffix = im.width, im.height, {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}[im.format]
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_RATIO * min(width, height):
        return None
    return Pair(
        f"{draft.source}/{draft.key}",
        draft.source,
        draft.title,
        draft.text,
        draft.licence,
        draft.captions,
        suffix,
        width,
        height,
        held_out(draft.title),
        data,
    )


def _picture(draft: Draft) -> bytes:
    """The picture file of a draft unchanged, or a drawing rendered on white, as JPEG or PNG."""
    if draft.member:
        with zipfile.ZipFile(draft.picture) as archive:
            return archive.read(draft.member)
    if draft.picture.suffix != ".svg":
        return draft.picture.read_bytes()
    import resvg_py  # only the demo needs a renderer

    chance = hashlib.sha256(draft.key.encode()).digest()
    png = bytes(
        resvg_py.svg_to_bytes(
            svg_path=str(draft.picture), width=SIDES[chance[0] % len(SIDES)], background="#ffffff", skip_system_fonts=True
        )
    )
    if chance[1] % 2:
        return png
    with Image.open(io.BytesIO(png)) as im:
        return encode(im, ".jpg")


def _png_pixels(data: bytes) -> int:
    """Width x height from a PNG's header, without decoding; 0 for other formats, which are small here."""
    return int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) if data.startswith(b"\x89PNG") else 0


def _smaller(im: Image.Image) -> bytes:
    """A picture scaled down to MAX_SIDE, in its original format."""
    suffix = {"JPEG": ".jpg", "WEBP": ".webp"}.get(im.format, ".png")
    im = im.convert("RGBA" if im.mode in ("P", "LA", "PA") or "transparency" in im.info else im.mode)
    im.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX if im.mode == "1" else Image.Resampling.LANCZOS)
    return encode(im, suffix)


def encode(im: Image.Image, suffix: str, quality: int = 88) -> bytes:
    """A picture as file bytes; transparent pixels become white in JPEG."""
    out = io.BytesIO()
    if suffix == ".jpg":
        flat(im).save(out, "JPEG", quality=quality)
    else:
        im.save(out, {".png": "PNG", ".webp": "WEBP"}[suffix])
    return out.getvalue()


def flat(im: Image.Image) -> Image.Image:
    """A picture in RGB, with transparent pixels on white."""
    if im.mode in ("RGBA", "LA", "PA") or "transparency" in im.info:
        im = im.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", im.size, "white"), im).convert("RGB")
    return im.convert("RGB")


def _write(file: Path, rows: list[Pair]) -> None:
    """Write the cache file atomically."""
    columns = {name: [getattr(r, name) for r in rows] for name in SCHEMA.names if name != "captions"}
    columns["captions"] = [json.dumps(r.captions, ensure_ascii=False) for r in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_suffix(f".{os.getpid()}")
    pq.write_table(pa.table(columns).select(SCHEMA.names).cast(SCHEMA), work, compression="none")
    work.replace(file)


def _read(file: Path) -> list[Pair]:
    rows = pq.read_table(file).to_pylist()
    return [Pair(**{**row, "captions": json.loads(row["captions"])}) for row in rows]


def sample_photos(n: int, size: tuple[int, int] = (640, 480), quality: int = 90) -> list[bytes]:
    """n distinct JPEGs cropped from the photos in scikit-image and scikit-learn: about 60 kB each at 640x480, quality 90.

    Needs only pip. The i-th is always the same. Raises Missing if neither package is available.
    """
    photos = _photos()
    return [_crop(photos[i % len(photos)], i // len(photos), size, quality) for i in range(n)]


def _photos() -> list[Image.Image]:
    names = {"skimage": "skimage/data", "sklearn": "sklearn/datasets/images"}
    fetched = fetch(names, say=lambda line: None)
    if not fetched.folders:
        raise Missing("; ".join(fetched.left_out.values()))
    wanted = (
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "hubble_deep_field.jpg",
        "motorcycle_left.png",
        "rocket.jpg",
        "china.jpg",
        "flower.jpg",
    )
    files = [folder / names[k] / w for k, folder in fetched.folders.items() for w in wanted if (folder / names[k] / w).exists()]
    return [Image.open(f).convert("RGB") for f in files]


def _crop(photo: Image.Image, turn: int, size: tuple[int, int], quality: int) -> bytes:
    """The turn-th crop of a photo: sizes and positions follow the golden ratio, so that all are distinct."""
    share = 0.55 + 0.45 * ((turn * 0.618034) % 1)
    w = int(min(photo.width, photo.height * size[0] / size[1]) * share)
    h = w * size[1] // size[0]
    x, y = int((photo.width - w) * ((turn * 0.754878) % 1)), int((photo.height - h) * ((turn * 0.569840) % 1))
    return encode(photo.resize(size, Image.Resampling.BICUBIC, (x, y, x + w, y + h)), ".jpg", quality)
