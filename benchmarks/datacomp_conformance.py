"""DataComp's filtering rules, by curate and by an independent oracle in plain Python and numpy: the same bytes?

Generates metadata with ties, NaNs, boundary values and odd white space, runs `no_filter`, `basic`, `clip_score` (fraction
and bound) and `text_based` both ways, and compares the subset files byte by byte.

    python benchmarks/datacomp_conformance.py [ROWS] [WORDNET_FOLDER]
"""

import hashlib
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.balance.text_based import TextBased
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.image_side import ImageSide
from curate.filters.language import Language, packaged
from curate.select.exchange import frame_of
from curate.select.top_fraction import TopFraction
from curate.select.where import Where
from curate.shard.export import datacomp_subset
from curate.sources.wordnet import wordnet_of, wordnet_table

WORDS = (
    "a photo of the red car cats running men city 橙色的猫 Katze sehr schön dogs' geese ÉTÉ leaves 12 x … img_2031.jpg click "
    "house best sports bank flies baking quickly indices"
).split()
BLANKS = [" "] * 30 + ["  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2009", "\x0b", "\x1c", "\x85", "\u200b", "\u2028"]


def metadata(rows: int, seed: int = 0) -> pa.Table:
    """Captions of every kind of white space, sizes round 200 px and 3:1, scores with ties and NaNs."""
    rng = np.random.default_rng(seed)
    texts = []
    for count in rng.integers(0, 9, rows):
        words, blanks = rng.choice(WORDS, count), rng.choice(BLANKS, count + 1)
        texts.append(
            "".join(b + w for b, w in zip(blanks, words))[rng.integers(0, 2) :] + (blanks[-1] if rng.random() < 0.2 else "")
        )
    short = rng.choice([199, 200, 201, 333, 640], rows)
    long = np.where(rng.random(rows) < 0.3, short * 3 + rng.integers(-1, 2, rows), short + rng.integers(0, 500, rows))
    swap = rng.random(rows) < 0.5
    scores = rng.normal(0.22, 0.06, rows).astype(np.float16).astype(np.float32)
    scores[rng.random(rows) < 0.01] = np.nan
    uids = [hashlib.md5(f"{t}{i}".encode()).hexdigest() for i, t in enumerate(texts)]
    return pa.table(
        {
            "id": np.arange(rows),
            "uid": uids,
            "text": pa.array(texts, pa.large_string()),
            "original_width": np.where(swap, short, long).astype(np.int32),
            "original_height": np.where(swap, long, short).astype(np.int32),
            "width": np.where(swap, short, long).astype(np.int32),
            "height": np.where(swap, long, short).astype(np.int32),
            "clip_score": scores,
        }
    )


# ---- the oracle: DataComp's rules as its repository states them


def oracle(rule: str, table: pa.Table, english: np.ndarray, words: object, synsets: set[int]) -> bytes:
    texts, scores = table["text"].to_pylist(), table["clip_score"].to_numpy()
    wide, high = table["original_width"].to_numpy().astype(float), table["original_height"].to_numpy().astype(float)
    if rule == "no_filter":
        keep = np.ones(len(texts), bool)
    elif rule == "basic":
        keep = english & [len(t.split()) > 2 and len(t) > 5 for t in texts]
        keep &= (np.minimum(wide, high) >= 200) & (np.maximum(wide, high) / np.minimum(wide, high) <= 3.0)
    elif rule == "clip_score 30 %":
        keep = scores >= np.sort(np.nan_to_num(scores, nan=-np.inf))[::-1][int(len(scores) * 0.3)]
    elif rule == "clip_score 0.28":
        keep = scores >= np.float32(0.28)
    else:
        keep = english & [any(words.offset(w) in synsets for w in t.split()) for t in texts]
    pairs = [(int(u[:16], 16), int(u[16:], 16)) for u, k in zip(table["uid"].to_pylist(), keep) if k]
    out = io.BytesIO()
    np.save(out, np.array(sorted(pairs), np.dtype("u8,u8")))
    return out.getvalue()


# ---- curate


def steps(rule: str, synsets: str, wordnet: str) -> list:
    return {
        "no_filter": [],
        "basic": [
            CaptionWords(min=3),
            CaptionChars(min=6),
            Language(among={"en"}, script_check=False),
            ImageSide(min=200),
            AspectRatio(max=3.0),
        ],
        "clip_score 30 %": [TopFraction("clip_score", fraction=0.3)],
        "clip_score 0.28": [Where("clip_score", min=float(np.float32(0.28)))],
        "text_based": [Language(among={"en"}, script_check=False), TextBased(synsets, wordnet)] if synsets else [],
    }[rule]


def by_curate(made: list, table: pa.Table) -> bytes:
    for step in made:
        if hasattr(step, "select"):
            dropped = step.select(frame_of(table)).dropped()
            table = table.filter(~np.isin(table["id"].to_numpy(), dropped))
        else:
            step.load()
            parts = [step.run(table.slice(at, step.chunk)) for at in range(0, len(table), step.chunk)]
            table = table.filter(step.judge(pa.concat_tables(parts)).is_null())
    return datacomp_subset(table["uid"].to_pylist())


def main(rows: int, wordnet: str) -> bool:
    table = metadata(rows)
    lid = packaged()
    label = Language(script_check=False) if lid else None
    rules = ["no_filter", "clip_score 30 %", "clip_score 0.28"] + (["basic"] if lid else [])
    english, words, listed, synsets = np.zeros(rows, bool), None, "", set()
    if lid:
        label.load()
        english = np.array(
            [label._model.predict(t.replace("\n", " "))[0][:1] == ("__label__en",) for t in table["text"].to_pylist()]
        )
        if (Path(wordnet) / "index.noun").exists():
            words = wordnet_of(wordnet_table(wordnet))
            synsets = {n for w in ("cat", "car", "house", "goose", "leaf", "bank") if (n := words.offset(w))}
            rules.append("text_based")
    same = []
    with tempfile.TemporaryDirectory() as folder:
        if words:
            listed = f"{folder}/synsets.txt"
            Path(listed).write_text("\n".join(f"n{n:08d}" for n in sorted(synsets)))
        print(
            f"{rows:,} rows; fastText {'lid.176' if lid else 'missing: basic and text_based left out'}; WordNet {'yes' if words else 'missing'}"
        )
        for rule in rules:
            start = time.process_time()
            found = by_curate(steps(rule, listed, wordnet), table)
            spent, expected = time.process_time() - start, oracle(rule, table, english, words, synsets)
            same.append(found == expected)
            print(
                f"{rule:16} kept {(len(found) - 128) // 16:7,}  {'identical' if found == expected else 'DIFFERENT'}"
                f"  sha256 {hashlib.sha256(found).hexdigest()[:12]}  {spent:.2f} CPU s"
            )
    print(f"ratio conformance, rules with identical bytes: {sum(same) / len(same):.3f}")
    return all(same)


if __name__ == "__main__":
    sys.exit(
        not main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2] if len(sys.argv) > 2 else "/usr/share/wordnet")
    )
