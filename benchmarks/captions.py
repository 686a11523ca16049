"""Captioning measured: speed beside a plain loop, what is chosen where the raw text is wrong, and the realised mix.

    python benchmarks/captions.py [--pictures 512]

Pictures are the demo's (tier S), encoded as they come. The captioner is the small one; with --captioner any other. On a third
of the pictures the raw text is true, on a third it is another picture's, on a third boilerplate. Those captioned for quality
were never trained on.
"""

import argparse
import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from PIL import Image

from curate.extras.demo.pairs import Pair, flat, pairs
from curate.fetch.pixels import decode
from curate.models import clip
from curate.schema import uid
from curate.synth.caption import Caption
from curate.synth.captioners import BatchWriter, Decoding, Request, named
from curate.synth.captioners.small import plain_words
from curate.synth.choose import Mix
from curate.synth.score import CaptionScore

HOW = Decoding(max_tokens=16)
#: The cut of the second rule, for the small CLIP.
CUT = 0.2
BOILERPLATE = ("image", "IMG_2041.jpg", "click to enlarge", "photo", "untitled", "logo", "picture 1", "buy now")


class Watched:
    """Counts the seconds that a captioner's `write` is at work."""

    def __init__(self, writer: BatchWriter):
        self.write, self.busy = writer.write, 0.0
        writer.write = self

    def __call__(self, requests: list[Request], decoding: Decoding) -> list:
        start = time.perf_counter()
        try:
            return self.write(requests, decoding)
        finally:
            self.busy += time.perf_counter() - start


def plain_loop(writer: BatchWriter, files: list[bytes]) -> list[str]:
    """One picture after another, as a script would do it: decode, prepare, caption."""
    found = []
    for i, data in enumerate(files):
        with Image.open(io.BytesIO(data)) as im:
            seen = writer.prepare(np.asarray(flat(im)))
        found.append(writer.write([Request((seen, ""), i)], HOW)[0].text)
    return found


def batched_loop(writer: BatchWriter, files: list[bytes]) -> list[str]:
    """The same in the captioner's own batches; the model waits while a batch is prepared."""
    found = []
    for first in range(0, len(files), writer.batch):
        seen = []
        for data in files[first : first + writer.batch]:
            with Image.open(io.BytesIO(data)) as im:
                seen.append(writer.prepare(np.asarray(flat(im))))
        found += [a.text for a in writer.write([Request((s, "")) for s in seen], HOW)]
    return found


def ours(stage: Caption, files: list[bytes]) -> list[str]:
    """Through the stage, chunk by chunk; the next chunk is decoded beside it, as in a run."""
    cut = [files[i : i + stage.chunk] for i in range(0, len(files), stage.chunk)]
    found: list[str] = []
    with ThreadPoolExecutor(1) as beside:
        ahead = beside.submit(lambda c: [decode(d) for d in c], cut[0])
        for i, chunk in enumerate(cut):
            images = ahead.result()
            if i + 1 < len(cut):
                ahead = beside.submit(lambda c: [decode(d) for d in c], cut[i + 1])
            found += stage.run(pa.table({"uid": [str(n) for n in range(len(chunk))]}), images)[stage.name].to_pylist()
    return found


def speed(name: str, files: list[bytes]) -> None:
    writer = named(name)
    stage = Caption(writer, decoding=HOW, name="caption_bench")
    stage.load()
    ours(stage, files[: writer.batch])
    watch, results = Watched(writer), {}
    for what, call in (
        ("one at a time", lambda: plain_loop(writer, files)),
        ("in batches", lambda: batched_loop(writer, files)),
        ("the stage", lambda: ours(stage, files)),
    ):
        watch.busy, start = 0.0, time.perf_counter()
        texts = call()
        seconds = time.perf_counter() - start
        results[what] = len(files) / seconds
        print(f"{what:16} {len(files) / seconds:7.1f} pictures/s   model at work {watch.busy / seconds:5.1%} of the time")
        assert len(texts) == len(files)
    print(
        f"the stage is {results['the stage'] / results['one at a time']:.2f} x one at a time, "
        f"{results['the stage'] / results['in batches']:.2f} x in batches"
    )
    print(
        f"ratio captions, pictures a second by the stage over one at a time: {results['the stage'] / results['one at a time']:.3f}"
    )


def planted(rows: list[Pair]) -> tuple[list[str], list[str]]:
    """Raw texts and what was done to each: true, wrong (another picture's) or boilerplate."""
    kinds = [("true", "wrong", "boilerplate")[i % 3] for i in range(len(rows))]
    texts = [
        {"true": r.title, "wrong": rows[(i + 301) % len(rows)].title, "boilerplate": BOILERPLATE[i % len(BOILERPLATE)]}[k]
        for i, (r, k) in enumerate(zip(rows, kinds))
    ]
    return texts, kinds


def quality(name: str, rows: list[Pair]) -> None:
    """Choose between raw and synthetic by CLIP score; by the better one, and as Nguyen et al. do: raw where it passes a cut."""
    images, (texts, kinds) = [decode(r.image) for r in rows], planted(rows)
    live = pa.table({"uid": [uid(r.id, "") for r in rows], "text": texts})
    stage = Caption(named(name), decoding=Decoding(beams=3, max_tokens=16), name="caption_small")
    stage.load()
    live = live.append_column("caption_small", stage.run(live, images)["caption_small"])
    small = clip("small")
    vectors = small.encode_images(images)
    live = live.append_column("clip_image", pa.array(list(vectors), pa.list_(pa.float32())))
    scores = {}
    for column in ("text", "caption_small"):
        score = CaptionScore("small", of=column)
        score.load()
        scores[column] = score.run(live)[f"{column}_score"].to_numpy()
    rules = {
        "the better score": scores["caption_small"] > scores["text"],
        f"raw from {CUT} on": (scores["text"] < CUT) & (scores["caption_small"] >= CUT),
    }
    for rule, synthetic in rules.items():
        compare(rule, rows, live, kinds, scores, synthetic)


def compare(rule: str, rows: list[Pair], live: pa.Table, kinds: list[str], scores: dict, synthetic: np.ndarray) -> None:
    """Print what a rule makes of each kind of raw text. A hit: the text has a word of the picture's true title."""
    raw, made = (live[c].to_pylist() for c in ("text", "caption_small"))
    chosen = [m if s else r for s, m, r in zip(synthetic, made, raw)]
    best = np.where(synthetic, scores["caption_small"], scores["text"])
    hits = [
        np.array([bool(set(plain_words(t)) & set(plain_words(r.title))) for t, r in zip(said, rows)]) for said in (raw, chosen)
    ]
    print(f"\n{rule:18} {'rows':>5} {'replaced':>9} {'CLIP raw':>9} {'chosen':>7} {'word hit raw':>13} {'chosen':>7}")
    for kind in ("true", "wrong", "boilerplate"):
        of = np.array([k == kind for k in kinds])
        print(
            f"{kind:18} {of.sum():5d} {synthetic[of].mean():9.1%} {scores['text'][of].mean():9.3f} {best[of].mean():7.3f} "
            f"{hits[0][of].mean():13.1%} {hits[1][of].mean():7.1%}"
        )


def mix(n: int = 100_000) -> None:
    live = pa.table(
        {"uid": [uid("", str(i)) for i in range(n)], "text": ["r"] * n, "caption_coca": ["c"] * n, "caption_fused": ["f"] * n}
    )
    stage, start = Mix({"raw": 0.5, "coca": 0.3, "fused": 0.2}), time.perf_counter()
    found = stage.run(live)
    seconds = time.perf_counter() - start
    shares = {c["values"]: c["counts"] / n for c in found["chosen_origin"].value_counts().to_pylist()}
    off = max(abs(shares[k] - s) for k, s in stage.shares.items())
    print(
        f"\nmix of {n:,}: {', '.join(f'{k} {v:.2%}' for k, v in sorted(shares.items()))}; off by {100 * off:.2f} points; "
        f"the same again: {stage.run(live) == found}; {n / seconds:,.0f} rows/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--captioner", default="small")
    options = parser.parse_args()
    rows, _ = pairs("S", say=lambda line: None)
    speed(options.captioner, [r.image for r in rows[: options.pictures]])
    quality(options.captioner, [r for r in rows if r.held_out][: options.pictures])
    mix()


if __name__ == "__main__":
    main()
