"""Rows per second and core of every filter, beside Data-Juicer's operator of the same job on the same input.

    python -m benchmarks.filters [--juicer VENV/bin/python] [--texts 20000] [--images 200]

`--juicer` is the Python of an environment of its own with py-data-juicer (and aiohttp, opencv-python-headless<5,
fasttext-numpy2). Input: the demo's real pairs; documents are ten of its captions and two pictures
each. "Core" is CPU time of all threads. Filters of pixels share one decode in a run; here decoding (Pillow) is a line of its
own, and is added where a line is set beside an operator that decodes too. What the filters find is in benchmarks/planted.py.
Last: clip_embed against its bare forward pass.
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
from PIL import Image
from safetensors.numpy import save_file

from curate.extras.demo.pairs import pairs as demo_pairs
from curate.fetch.blur_faces import blurred
from curate.fetch.reencode import encode
from curate.filters.language import packaged
from curate.filters.paragraph_flagged_words import FLAGGED
from curate.filters.stop_words import STOP_WORDS
from curate.models import clip
from curate.stage import Stage

TEXT = (
    "caption_chars",
    "caption_words",
    "script_words",
    "caption_capitals",
    "caption_label",
    "caption_repetition",
    "boilerplate_text",
    "parts_of_speech",
    "rare_tokens",
    "listed_words",
    "language",
    "image_url_words",
    "paragraph_words",
    "paragraph_symbols",
    "paragraph_punctuation",
    "paragraph_char_repetition",
    "paragraph_word_repetition",
    "paragraph_stop_words",
    "paragraph_flagged_words",
    "paragraph_spam_words",
    "paragraph_links",
    "paragraph_language",
    "url_blocklist",
)
DOCUMENT = (
    "document_texts",
    "document_images",
    "document_words",
    "document_symbols",
    "document_punctuation",
    "document_char_repetition",
    "document_word_repetition",
    "document_stop_words",
    "document_flagged_words",
    "document_words_per_image",
    "document_image_set",
    "document_text",
    "document_language",
)
COLUMN = (
    "image_side",
    "aspect_ratio",
    "aspect_bucket",
    "image_bytes",
    "declared_size",
    "declared_aspect",
    "clip_score",
    "aesthetic",
    "watermark",
)
PIXEL = ("single_colour", "sharpness", "faces", "nsfw", "ocr_area")
#: Filters whose cost is that of a model or function of the user's, or that need columns which only whole pages have.
NOT_TIMED = (
    "toxicity",
    "grounding",
    "paragraph_perplexity",
    "alt_score",
    "masked_clip_score",
    "clip_text",
    "document_aligned",
    "document_coherence",
)
#: Lines whose Data-Juicer operator opens or decodes the picture.
HEADER, DECODED = ("image_side", "aspect_ratio"), ("faces", "blur_faces")
#: Operators that define the number otherwise than we do.
OTHERWISE = {
    "caption_words": "strips symbols",
    "script_words": "strips symbols",
    "paragraph_words": "strips symbols",
    "caption_repetition": "n-grams seen twice",
    "paragraph_symbols": "a list of characters",
    "document_symbols": "a list of characters",
    "language": "lower-cases",
    "faces": "another cascade and scale",
    "image_side": "both sides",
    "document_words": "strips symbols",
}
#: Paragraphs of a document.
TOGETHER = 10


def pairs(texts: int, images: int) -> tuple[list[str], list[np.ndarray], list[bytes]]:
    """Captions, pictures on white, and the pictures as PNG files, out of the demo's pairs."""
    drawn, _ = demo_pairs("S", say=lambda line: None)
    chosen = np.random.default_rng(0).choice(len(drawn), images, replace=False)
    pictures, files = [], []
    for data in (drawn[i].image for i in chosen):
        with Image.open(io.BytesIO(data)) as im:
            seen = im.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        white.alpha_composite(seen)
        pictures.append(np.asarray(white.convert("RGB")))
        buffer = io.BytesIO()
        white.convert("RGB").save(buffer, "PNG")
        files.append(buffer.getvalue())
    captions = [p.text for p in drawn]
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
    words, head, hosts = (str(folder / n) for n in ("words.txt", "head.safetensors", "hosts.txt"))
    extra = {
        "rare_tokens": {"vocabulary": words},
        "listed_words": {"words": words},
        "aesthetic": {"head": head},
        "watermark": {"head": head},
        "url_blocklist": {"list": hosts},
    }
    stage = kind(**extra.get(name, {}))
    stage.load()
    return stage


def columns(captions: list[str]) -> pa.Table:
    """A row for each caption, with whatever a filter of columns or texts may read."""
    count, rng, text = len(captions), np.random.default_rng(0), pa.large_string()
    listed = pa.ListArray.from_arrays(
        pa.array(np.arange(count + 1, dtype=np.int32) * 512), pa.array(rng.standard_normal(count * 512).astype(np.float16))
    )
    numbers = ("original_width", "original_height", "declared_width", "declared_height", "payload_size")
    return pa.table(
        {
            "uid": pa.array([f"{i:032x}" for i in range(count)], text),
            "text": pa.array(captions, text),
            "lang": pa.array(["en"] * count, text),
            "url": pa.array(
                [f"https://host{i % 999}.example.org/a/{'-'.join(c.split()[:4])}.jpg" for i, c in enumerate(captions)], text
            ),
            "link_share": pa.array(rng.random(count), pa.float32()),
            "clip_image": listed,
            "clip_text": listed,
            **{n: pa.array(rng.integers(1, 999, count), pa.int32()) for n in numbers},
        }
    )


def pages(captions: list[str]) -> tuple[pa.Table, dict[str, pa.Table]]:
    """Documents of some captions and two pictures each, and the tables of these."""
    text, count = pa.large_string(), len(captions) // TOGETHER
    owner = [f"{i:032x}" for i in range(count)]
    child = lambda n, **more: pa.table(  # noqa: E731
        {
            "uid": pa.array([f"{i:032x}" for i in range(n * count)], text),
            "doc_uid": pa.array([u for u in owner for _ in range(n)], text),
            "position": pa.array(list(range(n)) * count, pa.int32()),
            "live": [True] * (n * count),
            **more,
        }
    )
    images = child(2, url=pa.array([f"https://host.example/{i}.jpg" for i in range(2 * count)], text))
    texts = child(TOGETHER, text=pa.array(captions[: TOGETHER * count], text), lang=pa.array(["en"] * TOGETHER * count, text))
    return pa.table({"uid": pa.array(owner, text), "lang": pa.array(["en"] * count, text)}), {"images": images, "texts": texts}


def ours(
    folder: Path, captions: list[str], pictures: list[np.ndarray], files: list[bytes]
) -> dict[str, tuple[float, pa.Table]]:
    """Every filter on its rows: name -> (rows per CPU second, what it computed)."""
    (folder / "words.txt").write_text("\n".join(sorted({w for c in captions[::2] for w in c.lower().split()})))
    (folder / "hosts.txt").write_text("\n".join(f"bad{i}.example.org" for i in range(1000)))
    save_file({"weight": np.ones((1, 512), np.float32)}, folder / "head.safetensors")
    column, (documents, children), found = columns(captions), pages(captions), {}
    sizes = pa.table(
        {
            "original_width": pa.array([p.shape[1] for p in pictures], pa.int32()),
            "original_height": pa.array([p.shape[0] for p in pictures], pa.int32()),
            "payload_size": pa.array([len(f) for f in files]),
        }
    )
    rows = pa.table({"uid": list(map(str, range(len(pictures))))})
    for name in (*TEXT, *COLUMN):
        stage = made(name, folder)
        stage.run(column.slice(0, 9))  # what is made once
        rate, out = timed(lambda: stage.run(column), len(column))  # noqa: B023  run at once
        found[name] = rate, stage.run(sizes) if name in (*HEADER, "image_bytes") else out
    for name in DOCUMENT:
        stage = made(name, folder)
        context = {t: children[t] for t in stage.context}
        found[name] = timed(lambda: stage.run(documents, **context), len(documents))  # noqa: B023
    for name in PIXEL:
        stage = made(name, folder)
        seen = stage.preprocess.batch if stage.preprocess else list
        found[name] = timed(lambda: stage.run(rows, seen(pictures)), len(pictures))  # noqa: B023
        if name == "faces":
            found["blur_faces"] = timed(lambda: [_without_faces(stage, p) for p in pictures], len(pictures))  # noqa: B023
    return found


def _without_faces(faces: Stage, picture: np.ndarray) -> bytes | None:
    """What finding and blurring faces costs a picture whose pixels are at hand."""
    boxes = faces.boxes(picture)
    return encode(blurred(picture, boxes, 0.1), "png", 4) if boxes else None


def beside(name: str, rate: float, out: pa.Table, theirs: dict, decode: float, header: float) -> str:
    """One line of the table: our rate, theirs, the ratio on the same work, and the share of equal values."""
    if name not in theirs:
        return f"| `{name}` | {rate:,.0f} | | | | |"
    other = theirs[name]
    same_work = 1 / (1 / rate + (1 / decode if name in DECODED else 1 / header if name in HEADER else 0))
    equal = ""
    if other["values"] and name != "image_side":
        # theirs is width over height
        expected = [max(v, 1 / v) for v in other["values"]] if name == "aspect_ratio" else other["values"]
        equal = f"{np.mean([a == b if isinstance(a, str) else abs(a - b) < 1e-4 for a, b in zip(out[name].to_pylist(), expected)]):.1%}"
    said = f"{equal} ({OTHERWISE[name]})" if name in OTHERWISE else equal
    return f"| `{name}` | {rate:,.0f} | {other['operator']} | {other['rate']:,.0f} | {same_work / other['rate']:.1f} | {said.strip()} |"


def embedding(model: str, images: int, rounds: int = 9) -> None:
    """clip_embed's images per CPU second over the bare forward pass on ready tensors: in turn, round by round, so that what else
    the machine does hits both; the median of the ratios, and the middle half of them."""
    import torch

    loaded = clip(model)
    small = np.random.default_rng(0).integers(256, size=(30, 40, 3)).astype(np.uint8)
    base = np.asarray(Image.fromarray(small).resize((640, 480)))
    pictures = [np.ascontiguousarray(np.roll(base, i, 1)) for i in range(images)]
    ready = loaded.normalize(np.stack([loaded.prepare(p) for p in pictures[:64]]))

    def bare() -> None:
        with torch.inference_mode():
            for i in range(0, images, 64):
                loaded.model.encode_image(ready[: len(pictures[i : i + 64])])

    def spent(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    pairs = [(spent(bare), spent(lambda: loaded.encode_images(pictures))) for _ in range(rounds + 1)][1:]
    ratios = np.sort([alone / ours for alone, ours in pairs])
    low, middle, high = (float(np.quantile(ratios, q)) for q in (0.25, 0.5, 0.75))
    print(
        f"\nclip_embed ({model}), {images} images of 640 x 480, {rounds} rounds in turn: {images / np.median([o for _, o in pairs]):.1f} images per CPU-s, "
        f"{middle:.2f} of the bare forward pass ({low:.2f} to {high:.2f} for the middle half)"
    )
    print(f"ratio clip_embed, CPU of the bare forward pass over ours: {middle:.3f}")


def juicer(python: str, folder: Path, captions: list[str], files: list[bytes]) -> dict:
    """What Data-Juicer's operators make of the same rows, in an interpreter of their own."""
    for name in ("images", "models", "words"):
        (folder / name).mkdir()
    (folder / "models" / "lid.176.bin").symlink_to(packaged())
    (folder / "words" / "stopwords.json").write_text(json.dumps({"en": sorted(STOP_WORDS["en"])}))
    (folder / "words" / "flagged_words.json").write_text(json.dumps({"en": sorted(FLAGGED)}))
    joined = ["\n".join(captions[i : i + TOGETHER]) for i in range(0, len(captions) // TOGETHER * TOGETHER, TOGETHER)]
    (folder / "rows.json").write_text(json.dumps({"text": captions, "document": joined}))
    for i, data in enumerate(files):
        (folder / "images" / f"{i:06}.png").write_bytes(data)
    script = Path(__file__).with_name("filters_juicer.py")
    done = subprocess.run([python, script, folder], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--juicer", default="", help="the Python of an environment with py-data-juicer")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--model", default="small")
    parser.add_argument(
        "--embed",
        type=int,
        nargs=2,
        metavar=("IMAGES", "ROUNDS"),
        default=(192, 9),
        help="for the model beside its bare forward pass",
    )
    args = parser.parse_args()
    captions, pictures, files = pairs(args.texts, args.images)
    with tempfile.TemporaryDirectory() as name:
        theirs = juicer(args.juicer, Path(name), captions, files) if args.juicer else {}
        decode, _ = timed(lambda: [np.asarray(Image.open(io.BytesIO(f)).convert("RGB")) for f in files], len(files))
        header, _ = timed(lambda: [Image.open(io.BytesIO(f)).size for f in files], len(files))
        found = ours(Path(name), captions, pictures, files)
        print(
            f"{len(captions):,} captions, {len(captions) // TOGETHER:,} documents, {len(files)} pictures; "
            f"decoding {decode:,.0f} and reading headers {header:,.0f} pictures per CPU-s\n"
        )
        print(
            "| filter | rows per CPU-s | Data-Juicer's operator | its rows per CPU-s | ratio, same work | equal values |\n|---|---:|---|---:|---:|---|"
        )
        for column, (rate, out) in found.items():
            print(beside(column, rate, out, theirs, decode, header))
        print(f"\nnot timed: {', '.join(NOT_TIMED)}")
    embedding(args.model, *args.embed)


if __name__ == "__main__":
    main()
