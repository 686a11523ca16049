"""Edited pictures found again, and different pictures taken for one: by perceptual hash, by embedding, by both.

    python -m benchmarks.near [--pictures N] [--edited N] [--seed N] [--folder FOLDER] [--no-embedding] [--sheet FILE.png]

Pictures are the demo's of tier M (emoji in three styles, clip art, furniture, stamps), or those of a folder; some of them are edited
in every way of EDITS, saved as JPEG of quality 90, and join the pool. `--pictures` takes so many by chance, and all clocks and flags.
An edit is found if it fell. An original that fell for another original is a suspect if their titles differ and the two differ to
a referee that looks at 96 x 96 pixels: more than 1 % of them by more than 48 levels in some colour. It is a false merge if the referee
can, besides, turn neither into the other by the edits above: mirrored, brighter or darker by up to 1.65, 10 or 25 % cut off. (Nobody
could tell an orange hexagon from a brown one made brighter, or the raised hand from its back, mirrored.) The same thing drawn by
another hand is counted apart: emoji come in three styles. `--sheet` draws the suspects side by side, false merges first.
"""

import argparse
import io
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, ImageEnhance, ImageOps

from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash, hashes
from curate.dedup.semantic import SemanticDedup
from curate.extras.demo.pairs import flat, pairs
from curate.models import clip
from curate.select.exchange import frame_of
from curate.selector import Selector


def cut(image: Image.Image, share: float, where: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """Take `share` off width and height."""
    w, h = image.size
    x, y = int(w * share * where[0]), int(h * share * where[1])
    return image.crop((x, y, x + int(w * (1 - share)), y + int(h * (1 - share))))


EDITS = {
    "resize 2/3": lambda p, r: p.resize((max(64, p.width * 2 // 3), max(64, p.height * 2 // 3)), Image.Resampling.LANCZOS),
    "JPEG q30": lambda p, r: p,
    "mirror": lambda p, r: ImageOps.mirror(p),
    "brightness x0.75": lambda p, r: ImageEnhance.Brightness(p).enhance(0.75),
    "brightness x1.25": lambda p, r: ImageEnhance.Brightness(p).enhance(1.25),
    "brightness x1.1 to x1.6": lambda p, r: ImageEnhance.Brightness(p).enhance(r.uniform(1.1, 1.6)),
    "crop 10 % centre": lambda p, r: cut(p, 0.10),
    "crop 10 % anywhere": lambda p, r: cut(p, 0.10, tuple(r.random(2))),
    "crop 25 % centre": lambda p, r: cut(p, 0.25),
    "crop 25 % anywhere": lambda p, r: cut(p, 0.25, tuple(r.random(2))),
    "another caption": lambda p, r: p,
}


def originals(folder: str, most: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Pictures and what they are: `source: title`."""
    chance = np.random.default_rng(seed)
    if folder:
        files = sorted(f for f in Path(folder).rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
        read = [(f.read_bytes(), f"{f.name}") for f in files]
    else:
        read = [(p.image, f"{p.source}: {p.title}") for p in pairs("M", say=lambda line: None)[0]]
    order = chance.permutation(len(read))[:most].tolist()
    order += [n for n in sorted(set(range(len(read))) - set(order)) if hard(read[n][1])]
    found = []
    for n in order:
        with Image.open(io.BytesIO(read[n][0])) as image:
            image.thumbnail((512, 512))
            found.append((np.asarray(flat(image)), read[n][1]))
    found = [(p, t) for p, t in found if min(p.shape[:2]) >= 48]
    return [p for p, _ in found], [t for _, t in found]


def hard(title: str) -> bool:
    """A clock or a flag: pictures of them differ in little."""
    words = title.lower()
    return "o’clock" in words or "o'clock" in words or "-thirty" in words or "flag" in words


def plain(title: str) -> str:
    """What a picture shows, without where it is from."""
    return title.split(": ", 1)[-1].strip().lower()


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures differ to the referee, mirrored or not."""
    return _share(*(cv2.resize(x, (96, 96), interpolation=cv2.INTER_AREA) for x in (a, b))) > 0.01


def apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the referee can turn neither of two pictures into the other by an edit of EDITS."""
    return all(
        _share(edited, cv2.resize(y, (96, 96), interpolation=cv2.INTER_AREA)) > 0.01
        for x, y in ((a, b), (b, a))
        for edited in _edited(x)
    )


def _edited(x: np.ndarray) -> Iterator[np.ndarray]:
    """A picture at 96 x 96 pixels, in 22 brightnesses and 162 crops."""
    small = cv2.resize(x, (96, 96), interpolation=cv2.INTER_AREA)
    yield from (np.clip(small * gain, 0, 255) for gain in np.linspace(0.6, 1.65, 22))
    large = cv2.resize(x, (384, 384), interpolation=cv2.INTER_AREA if min(x.shape[:2]) > 384 else cv2.INTER_LINEAR)
    for share in (0.10, 0.25):
        side, places = int(384 * (1 - share)), np.linspace(0, 384 * share, 9).astype(int)
        yield from (
            cv2.resize(large[y : y + side, x_ : x_ + side], (96, 96), interpolation=cv2.INTER_AREA)
            for y in places
            for x_ in places
        )


def _share(a: np.ndarray, b: np.ndarray) -> float:
    """The share of pixels that differ by more than 48 levels in some colour, one of the two mirrored or not."""
    return min((np.abs(a.astype(int) - x).max(axis=2) > 48).mean() for x in (b, b[:, ::-1]))


def select(selector: Selector, table: pa.Table) -> tuple[dict[int, int], float]:
    """Survivors of the rows that fell, by row; and CPU seconds."""
    start = cpu()
    edges = selector.select(frame_of(table)).edges.table()
    return dict(zip(edges["id"].to_pylist(), edges["survivor"].to_pylist())), cpu() - start


def cpu() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def source(of: np.ndarray, row: int) -> int:
    """The original of an edit, or the row itself."""
    return int(of[row]) if of[row] >= 0 else row


def report(
    name: str,
    fell: dict[int, int],
    kinds: np.ndarray,
    of: np.ndarray,
    pool: list[np.ndarray],
    titles: list[str],
    seconds: float,
) -> list[tuple[int, int]]:
    """Print a method's recall by edit and its false merges; returned are the suspects, false merges first."""
    first = np.flatnonzero(kinds == "")
    merged = [(i, fell[i]) for i in first.tolist() if i in fell]
    other = [(i, j) for i, j in merged if differ(pool[i], pool[j])]
    suspect = [(i, j) for i, j in other if plain(titles[i]) != plain(titles[j])]
    false = [(i, j) for i, j in suspect if apart(pool[i], pool[j])]
    clocks = [i for i in first if hard(titles[i])]
    wrong = [
        i
        for i in np.flatnonzero(kinds != "").tolist()
        if i in fell
        and fell[i] != of[i]
        and fell.get(of[i]) != fell[i]
        and plain(titles[of[i]]) != plain(titles[source(of, fell[i])])
        and differ(pool[of[i]], pool[source(of, fell[i])])
    ]
    print(f"\n{name}: {seconds:.1f} CPU s", flush=True)
    for edit in EDITS:
        at = np.flatnonzero(kinds == edit)
        print(f"  {edit:24} {np.mean([i in fell for i in at]):.3f}")
    print(
        f"  originals that fell {len(merged)} of {len(first)}, for the same thing in another drawing {len(other) - len(suspect)}, suspect {len(suspect)} "
        f"({100 * len(suspect) / len(first):.2f} %), false {len(false)} "
        f"({100 * len(false) / len(first):.2f} %); of {len(clocks)} clocks and flags {sum(i in set(clocks) for i, _ in false)}; edits joined to another picture "
        f"{len(wrong)} of {len(kinds) - len(first)}"
    )
    for i, j in false[:12]:
        print(f"    {titles[i]}  |  {titles[j]}")
    return [*false, *(pair for pair in suspect if pair not in false)]


def sheet(pairs_: list[tuple[int, int]], pool: list[np.ndarray], file: str) -> None:
    """Pairs side by side, ten in a row."""
    tiles = [np.hstack([cv2.resize(pool[n], (72, 72), interpolation=cv2.INTER_AREA) for n in pair]) for pair in pairs_[:200]]
    tiles += [np.full((72, 144, 3), 128, np.uint8)] * (-len(tiles) % 10)
    rows = [np.hstack([np.pad(t, ((2, 2), (2, 2), (0, 0))) for t in tiles[n : n + 10]]) for n in range(0, len(tiles), 10)]
    if rows:
        Image.fromarray(np.vstack(rows)).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--edited", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of the draws of pictures and edits")
    parser.add_argument("--folder", default="")
    parser.add_argument("--sheet", default="")
    parser.add_argument("--no-embedding", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pool, titles = originals(options.folder, options.pictures, options.seed)
    count, chance = len(pool), np.random.default_rng(options.seed + 1)
    kinds, of = [""] * count, [-1] * count
    seen = np.flatnonzero([hashes(p) is not None for p in pool])
    print(f"{count - len(seen)} pictures of one colour are in the pool and are not edited")
    for name, edit in EDITS.items():
        for n in chance.permutation(seen)[: options.edited].tolist():
            out = io.BytesIO()
            edit(Image.fromarray(pool[n]), chance).save(out, "JPEG", quality=30 if name == "JPEG q30" else 90)
            pool.append(np.asarray(Image.open(out)))
            kinds.append(name)
            of.append(n)
    table = pa.table(
        {"id": np.arange(len(pool)), "uid": [f"{n:032x}" for n in range(len(pool))], "first": [int(k == "") for k in kinds]}
    )
    start = cpu()
    hashed = PerceptualHash().run(table, pool)
    print(
        f"{count:,} pictures, {options.edited} edits of each kind; hashing {1e3 * (cpu() - start) / len(pool):.2f} CPU ms a picture"
    )
    for column in hashed.column_names:
        table = table.append_column(column, hashed[column])
    judge(table, np.array(kinds), np.array(of), pool, titles, options)


def judge(
    table: pa.Table, kinds: np.ndarray, of: np.ndarray, pool: list[np.ndarray], titles: list[str], options: argparse.Namespace
) -> None:
    by_hash, seconds = select(NearDedup(by=("first",)), table)
    suspects = report("hash", by_hash, kinds, of, pool, titles, seconds)
    print(
        f"ratio near dedup, recall over all kinds of edits: {np.mean([i in by_hash for i in np.flatnonzero(kinds != '')]):.3f}"
    )
    if options.sheet:
        sheet(suspects, pool, options.sheet)
    if options.no_embedding:
        return
    small, start = clip("small"), time.perf_counter()
    vectors = small.encode_images(pool)
    print(f"\nembedding by the small CLIP: {len(pool) / (time.perf_counter() - start):.1f} pictures/s")
    table = table.append_column("v", pa.array(list(vectors.astype(np.float16)), pa.list_(pa.float16())))
    for eps in (0.02, 0.05, 0.1):
        by_vector, seconds = select(SemanticDedup("v", eps=eps, by=("first",)), table)
        report(f"embedding, eps {eps}", by_vector, kinds, of, pool, titles, seconds)
        report(f"both, eps {eps}", by_vector | by_hash, kinds, of, pool, titles, 0.0)


if __name__ == "__main__":
    main()
