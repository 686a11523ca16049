"""Rows per second and core of every filter, beside Data-Juicer's operator of the same job on the same input.

    python benchmarks/filters.py [--juicer VENV/bin/python] [--texts 20000] [--images 200]

`--juicer` is the Python of an environment of its own with py-data-juicer (and aiohttp, opencv-python-headless<5,
fasttext-numpy2). Input: the demo's real pairs (`curate demo` fetches them). "Core" is CPU time of all threads. Filters of
pixels share one decode in a run; here decoding (Pillow) is a line of its own, and is added where a line is set beside an
operator that decodes too. Then: false alarms on real captions and pictures, planted faults, and clip_embed
against its bare forward pass.
"""

import argparse
import importlib
import io
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFilter
from safetensors.numpy import save_file

from curate.demo.faults import BOILERPLATE
from curate.demo.packages import cache
from curate.filters.language import packaged
from curate.models import clip
from curate.stage import Stage

TEXT = (
    "caption_chars",
    "caption_words",
    "caption_repetition",
    "boilerplate_text",
    "parts_of_speech",
    "rare_tokens",
    "language",
    "paragraph_symbols",
    "paragraph_char_repetition",
    "paragraph_word_repetition",
    "paragraph_punctuation",
)
COLUMN = ("image_side", "aspect_ratio", "image_bytes", "clip_score", "aesthetic", "watermark")
PIXEL = ("single_colour", "sharpness", "faces", "nsfw", "ocr_area")
#: Lines whose Data-Juicer operator opens or decodes the picture.
HEADER, DECODED = ("image_side", "aspect_ratio"), ("faces",)


def pairs(texts: int, images: int) -> tuple[list[str], list[np.ndarray], list[bytes]]:
    """Captions, pictures on white, and the pictures as PNG files, out of the demo's largest set of pairs."""
    (*_, file) = sorted((cache() / "pairs").glob("*.parquet"), key=lambda p: p.stat().st_size)
    table = pq.read_table(file, columns=["text", "image"])
    chosen = np.random.default_rng(0).choice(len(table), images, replace=False)
    pictures, files = [], []
    for data in table["image"].take(pa.array(chosen)).to_pylist():
        with Image.open(io.BytesIO(data)) as im:
            seen = im.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        white.alpha_composite(seen)
        pictures.append(np.asarray(white.convert("RGB")))
        buffer = io.BytesIO()
        white.convert("RGB").save(buffer, "PNG")
        files.append(buffer.getvalue())
    captions = table["text"].to_pylist()
    return (captions * (texts // len(captions) + 1))[:texts], pictures, files


def timed(run: Callable, count: int) -> tuple[float, object]:
    """Rows per CPU second of the best of three runs, and the result."""
    spent = []
    for _ in range(3):
        started = time.process_time()
        result = run()
        spent.append(time.process_time() - started)
    return count / max(min(spent), 1e-6), result


def made(name: str, folder: Path) -> Stage:
    """A filter ready to run; those that need a file get one of random numbers or of the captions' own words."""
    kind = getattr(importlib.import_module(f"curate.filters.{name}"), "".join(w.title() for w in name.split("_")))
    extra = {
        "rare_tokens": {"vocabulary": str(folder / "words.txt")},
        "aesthetic": {"head": str(folder / "head.safetensors")},
        "watermark": {"head": str(folder / "head.safetensors")},
    }
    stage = kind(**extra.get(name, {}))
    stage.load()
    return stage


def ours(
    folder: Path, captions: list[str], pictures: list[np.ndarray], files: list[bytes]
) -> dict[str, tuple[float, pa.Table]]:
    """Every filter on its rows: name -> (rows per CPU second, what it computed)."""
    (folder / "words.txt").write_text("\n".join(sorted({w for c in captions[::2] for w in c.lower().split()})))
    save_file({"weight": np.ones((1, 512), np.float32)}, folder / "head.safetensors")
    text = pa.table({"text": pa.array(captions, pa.large_string())})
    count, rng = 20_000, np.random.default_rng(0)
    vectors = rng.standard_normal((count, 512)).astype(np.float16)
    listed = pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * 512), pa.array(vectors.reshape(-1)))
    column = pa.table(
        {
            "clip_image": listed,
            "clip_text": listed,
            **{n: pa.array(rng.integers(1, 999, count), pa.int32()) for n in ("original_width", "original_height")},
            "payload_size": pa.array(rng.integers(1, 99999, count)),
        }
    )
    sizes = pa.table(
        {
            "original_width": pa.array([p.shape[1] for p in pictures], pa.int32()),
            "original_height": pa.array([p.shape[0] for p in pictures], pa.int32()),
            "payload_size": pa.array([len(f) for f in files]),
        }
    )
    rows = pa.table({"uid": list(map(str, range(len(pictures))))})
    found = {}
    for name in TEXT:
        stage = made(name, folder)
        found[name] = timed(lambda: stage.run(text), len(text))  # noqa: B023  run at once
    for name in COLUMN:
        stage = made(name, folder)
        rate, out = timed(lambda: stage.run(column), count)  # noqa: B023
        found[name] = rate, stage.run(sizes) if name in (*HEADER, "image_bytes") else out
    for name in PIXEL:
        stage = made(name, folder)
        found[name] = timed(lambda: stage.run(rows, pictures), len(pictures))  # noqa: B023
    return found


def beside(name: str, rate: float, out: pa.Table, theirs: dict, decode: float, header: float) -> str:
    """One line of the table: our rate, theirs, the ratio on the same work, and the share of equal values."""
    if name not in theirs:
        return f"| {name} | {rate:,.0f} | | | | |"
    other = theirs[name]
    same_work = 1 / (1 / rate + (1 / decode if name in DECODED else 1 / header if name in HEADER else 0))
    values, expected = out[name].to_pylist(), other["values"]
    if name == "aspect_ratio":  # theirs is width over height
        expected = [max(v, 1 / v) for v in expected]
    same = [a == b if isinstance(a, str) else abs(a - b) < 1e-4 for a, b in zip(values, expected)]
    equal = "(theirs: both sides)" if name == "image_side" else f"{np.mean(same):.1%}"
    ratio = f"{same_work / other['rate']:.1f}"
    return f"| {name} | {rate:,.0f} | {other['operator']} | {other['rate']:,.0f} | {ratio} | {equal} |"


def alarms(found: dict[str, tuple[float, pa.Table]], folder: Path, images: int) -> None:
    """What falls of captions and pictures that are fine, and what is caught of planted texts."""
    planted = made("boilerplate_text", folder).run(pa.table({"text": pa.array(BOILERPLATE, pa.large_string())}))[
        "boilerplate_text"
    ]
    scores = {
        n: np.asarray(out[n].to_pylist(), float)
        for n, (_, out) in found.items()
        if n in ("boilerplate_text", "nsfw", "ocr_area", "single_colour", "faces")
    }
    print(
        f"\nboilerplate_text: {np.mean(np.asarray(planted) > 0.5):.0%} of {len(BOILERPLATE)} planted texts "
        f"fall (the list was at hand when the rules were written), "
        f"and {np.mean(scores['boilerplate_text'] > 0.5):.2%} of real captions"
    )
    print(
        f"on {images} clip-art pictures: nsfw > 0.5 {np.mean(scores['nsfw'] > 0.5):.1%}; "
        f"ocr_area > 0.1 {np.mean(scores['ocr_area'] > 0.1):.1%}; "
        f"single_colour > 0.98 {np.mean(scores['single_colour'] > 0.98):.1%}; a face {np.mean(scores['faces'] > 0):.1%}"
    )


def planted(folder: Path, pictures: list[np.ndarray], captions: list[str]) -> None:
    """Pictures with a known fault: text drawn on pictures, pictures blurred, placeholders of one colour with JPEG's noise."""
    written, blurred, flat, rng = [], [], [], np.random.default_rng(1)
    for i, picture in enumerate(pictures[:40]):
        canvas = Image.fromarray(picture).resize((400, 300))
        ImageDraw.Draw(canvas).text((10, 40), captions[i][:24], fill="black", font_size=28, stroke_width=2, stroke_fill="white")
        written.append(np.asarray(canvas))
        blurred.append(np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(4))))
        flat.append(np.clip(rng.integers(256, size=3) + rng.integers(-3, 4, (200, 200, 3)), 0, 255).astype(np.uint8))
    rows = pa.table({"uid": list(map(str, range(40)))})
    ocr, colour, sharp = (made(n, folder) for n in ("ocr_area", "single_colour", "sharpness"))
    area = np.asarray(ocr.run(rows, written)["ocr_area"])
    share = np.asarray(colour.run(rows, flat)["single_colour"])
    before, after = (np.asarray(sharp.run(rows, given)["sharpness"]) for given in (pictures[:40], blurred))
    auc = np.mean(before[:, None] > after[None, :])
    print(
        f"planted, 40 each: ocr_area > 0.02 on {np.mean(area > 0.02):.0%} of pictures with text drawn on them; "
        f"single_colour > 0.98 on {np.mean(share > 0.98):.0%} of noisy placeholders; sharpness tells pictures from "
        f"blurred ones with AUC {auc:.2f}, below 100 fall {np.mean(after < 100):.0%} of the blurred, "
        f"{np.mean(before < 100):.0%} of the others"
    )


def embedding(model: str, images: int) -> None:
    """clip_embed's images per CPU second over the bare forward pass on ready tensors."""
    import torch

    loaded = clip(model)
    small = np.random.default_rng(0).integers(256, size=(30, 40, 3)).astype(np.uint8)
    base = np.asarray(Image.fromarray(small).resize((640, 480)))
    pictures = [np.ascontiguousarray(np.roll(base, i, 1)) for i in range(images)]
    ready = loaded._normal(np.stack([loaded.shrink(p) for p in pictures[:64]]))
    with torch.inference_mode():
        bare, _ = timed(
            lambda: [loaded.model.encode_image(ready[: len(pictures[i : i + 64])]) for i in range(0, images, 64)], images
        )
    whole, _ = timed(lambda: loaded.encode_images(pictures), images)
    print(
        f"\nclip_embed ({model}), {images} images of 640 x 480: "
        f"bare forward {bare:.1f}, encode_images {whole:.1f} images per CPU-s; ratio {whole / bare:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--juicer", default="", help="the Python of an environment with py-data-juicer")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--model", default="small")
    args = parser.parse_args()
    captions, pictures, files = pairs(args.texts, args.images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = {}
        (folder / "images").mkdir()
        (folder / "models").mkdir()
        (folder / "models" / "lid.176.bin").symlink_to(packaged())
        (folder / "texts.json").write_text(json.dumps(captions))
        for i, data in enumerate(files):
            (folder / "images" / f"{i:06}.png").write_bytes(data)
        if args.juicer:
            script = Path(__file__).with_name("filters_juicer.py")
            done = subprocess.run([args.juicer, script, name], capture_output=True, text=True, check=True, timeout=900)
            theirs = json.loads(done.stdout.splitlines()[-1])
        decode, _ = timed(lambda: [np.asarray(Image.open(io.BytesIO(f)).convert("RGB")) for f in files], len(files))
        header, _ = timed(lambda: [Image.open(io.BytesIO(f)).size for f in files], len(files))
        found = ours(folder, captions, pictures, files)
        print(
            f"{len(captions):,} captions, {len(files)} pictures; "
            f"decoding {decode:,.0f} and reading headers {header:,.0f} pictures per CPU-s\n"
        )
        print(
            "| filter | rows per CPU-s | Data-Juicer's operator | its rows per CPU-s | ratio, same work | equal values |\n"
            "|---|---:|---|---:|---:|---|"
        )
        for column, (rate, out) in found.items():
            print(beside(column, rate, out, theirs, decode, header))
        alarms(found, folder, len(files))
        planted(folder, pictures, captions)
    embedding(args.model, 192)


if __name__ == "__main__":
    main()
