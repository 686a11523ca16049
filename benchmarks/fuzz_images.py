"""Hundreds of thousands of damaged pictures through header check, decoder and re-encoder: nothing but an outcome may come out.

    python benchmarks/fuzz_images.py [--mutations 100000] [--workers 2] [--files FOLDER] [--seed 0]

Seeds are real photos in JPEG, PNG, WebP, GIF and AVIF, in many flavours; FOLDER adds files of your own: the test images in
Pillow's source package are made for this (`pip download --no-deps --no-binary pillow pillow`, then its `Tests/images`).
A mutation's number and the seed say what it is, so a finding can be made again with `--only N`.

What must hold: this process does not die; every outcome is of the closed lists; the time of a picture is bounded; what the
header check lets pass decodes to at most the pixels it allows. Exit code 1, with the mutations' numbers, where it does not.
"""

import argparse
import io
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from curate import schema
from curate.extras.demo.pairs import sample_photos
from curate.fetch.image import MAX_PIXELS, inspect
from curate.fetch.isolate import Isolated
from curate.fetch.reencode import Resize

#: How seeds are saved: format, mode, options.
FLAVOURS = (
    ("JPEG", "RGB", {"quality": 90}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("JPEG", "RGB", {"subsampling": 0, "restart_marker_rows": 1}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "L", {}),
    ("PNG", "I;16", {}),
    ("PNG", "1", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("GIF", "RGB", {}),
    ("AVIF", "RGB", {}),
    ("AVIF", "RGBA", {}),
)
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
#: Numbers that lengths and sizes go wrong at.
EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds(folder: Path | None = None, photos: list[bytes] | None = None) -> list[bytes]:
    """Small real photos in every flavour, and the files of a folder that are smaller than 200 kB."""
    made = []
    for i, photo in enumerate(photos or sample_photos(len(FLAVOURS), (96, 72))):
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        format, mode, options = FLAVOURS[i % len(FLAVOURS)]
        made.append(saved(converted(image, mode), format, options))
        format = ANIMATED[i % len(ANIMATED)]
        made.append(saved(image, format, {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}))
    if folder:
        found = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size < 200_000)
        made += [p.read_bytes() for p in found]
    return [m for m in made if m]


def converted(image: Image.Image, mode: str) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)


def saved(image: Image.Image, format: str, options: dict) -> bytes:
    out = io.BytesIO()
    if format == "JPEG":
        options = {**options, "exif": turned()}
    image.save(out, format, **options)
    return out.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


# ---- mutations: each takes a file and a random source


def flip(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    for _ in range(chance.choice((1, 1, 3, 10, 50))):
        data[chance.randrange(len(data))] = chance.randrange(256)


def flip_head(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    for _ in range(chance.choice((1, 2, 5))):
        data[chance.randrange(min(len(data), 200))] = chance.randrange(256)


def edge(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    """An edge number, in some width and byte order, somewhere; more often near the start, where the headers are."""
    size, order = chance.choice((1, 2, 3, 4, 8)), chance.choice(("big", "little"))
    at = chance.randrange(min(len(data), chance.choice((64, 400, 1 << 30))))
    data[at : at + size] = (chance.choice(EDGES) & (1 << 8 * size) - 1).to_bytes(size, order)


def cut(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    del data[chance.randrange(len(data)) :]


def drop(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 8, 100, 2000))]


def double(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    """A stretch once more, or many times."""
    at, size = chance.randrange(len(data)), chance.choice((2, 12, 100, 1000))
    data[at:at] = data[at : at + size] * chance.choice((1, 1, 2, 30))


def splice(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    """The rest from another file."""
    other = chance.choice(others)
    data[chance.randrange(len(data)) :] = other[chance.randrange(len(other)) :]


MUTATIONS: tuple[Callable, ...] = (flip, flip, flip_head, flip_head, edge, edge, cut, drop, double, splice)


def mutation(number: int, seed: int, files: list[bytes]) -> bytes:
    """The number-th damaged file; depends on nothing else."""
    chance = random.Random(f"{seed}:{number}")
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 2, 3))):
        if data:
            chance.choice(MUTATIONS)(data, chance, files)
    return bytes(data)


# ---- trying them


class Tally:
    """Outcomes counted, findings by number, the longest time."""

    def __init__(self):
        self.fetch, self.decode, self.findings, self.slowest, self.lost = Counter(), Counter(), {}, (0.0, -1), Counter()

    def find(self, number: int, what: str) -> None:
        self.findings[number] = what


def try_one(number: int, data: bytes, child: Isolated, tally: Tally) -> None:
    started = time.perf_counter()
    outcome, header = inspect(data)
    tally.fetch[outcome] += 1
    if outcome not in schema.FETCH:
        tally.find(number, f"outcome {outcome!r}")
    if outcome in ("ok", "truncated"):
        if header.width * header.height > MAX_PIXELS:
            tally.find(number, f"let pass {header}")
        if number % 4:
            pixels = child.decode(data)
            outcome = pixels if isinstance(pixels, str) else "ok"
            if outcome == "ok" and (pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.size > 3 * MAX_PIXELS):
                tally.find(number, f"pixels {pixels.shape} {pixels.dtype}")
        else:
            outcome, width, height, made = child.resize(Resize("center_crop", 32), data)
            if outcome == "ok" and ((width, height) != (32, 32) or inspect(made)[0] != "ok"):
                tally.find(number, f"re-encoded to {width}x{height}, {inspect(made)[0]}")
        tally.decode[outcome] += 1
        if outcome not in schema.DECODE:
            tally.find(number, f"outcome {outcome!r}")
        if outcome.startswith("decoder_"):
            tally.lost[number] = outcome
    took = time.perf_counter() - started
    tally.slowest = max(tally.slowest, (took, number))


def run(numbers: range | list[int], seed: int, files: list[bytes], workers: int = 1) -> Tally:
    """Try mutations; `workers` threads, each with a decoder process of its own."""
    tally = Tally()

    def lane(start: int) -> None:
        with Isolated() as child:
            for number in numbers[start::workers]:
                data = mutation(number, seed, files)
                try:
                    try_one(number, data, child, tally)
                except Exception as e:  # whatever it is, it is a finding
                    tally.find(number, f"{type(e).__name__}: {e}")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lane, range(workers)))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--files", type=Path, help="a folder of further seeds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one mutation, by its number")
    args = parser.parse_args()
    files, started = seeds(args.files), time.perf_counter()
    numbers = range(args.mutations) if args.only is None else [args.only]
    tally = run(numbers, args.seed, files, args.workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(numbers)} mutations of {len(files)} files in {time.perf_counter() - started:.0f} s, seed {args.seed}; "
        f"peak memory of this process {peak:.0f} MB"
    )
    print("header check:", ", ".join(f"{n} {k}" for k, n in tally.fetch.most_common()))
    print("decoder:     ", ", ".join(f"{n} {k}" for k, n in tally.decode.most_common()))
    print(f"slowest: {tally.slowest[0]:.2f} s, mutation {tally.slowest[1]}")
    for number, outcome in sorted(tally.lost.items())[:20]:
        print(f"  {outcome}: mutation {number}")
    for number, what in sorted(tally.findings.items())[:50]:
        print(f"  FINDING, mutation {number}: {what}")
    print(f"{len(tally.findings)} findings")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
