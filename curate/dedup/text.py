"""Texts that are the same after normalisation, or nearly the same: MinHash-LSH, then exact Jaccard similarity."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from curate.dedup.chunks import load, save_rows, scratch, spill
from curate.dedup.graph import Pairs, first_of, resolve, spread
from curate.dedup.quality import better_first, columns, ranked
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector

_BUCKET = 256  # better rows of a bucket, of those that stay, that a row is compared with
_NO_WORD = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """Compatibility-normalised, lower case, everything but letters, marks and digits as single blanks.

    A text without any of them is only stripped.
    """
    words = _NO_WORD.sub(_blanks, unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words.split()) or text.strip()


def _blanks(found: re.Match) -> str:
    """A blank for each character that is no mark: Hindi and Thai write vowels as marks, which are no letters to `re`."""
    run = found[0]
    return " " if run.isascii() else "".join(c if unicodedata.category(c)[0] == "M" else " " for c in run)


def shingles(text: str, size: int) -> set[str]:
    """All pieces of `size` characters of a normalised text; the text itself if it is shorter."""
    return {text[i : i + size] for i in range(max(len(text) - size + 1, 1))}


def jaccard(a: set, b: set) -> float:
    """Shared pieces among all pieces."""
    both = len(a & b)
    return both / (len(a) + len(b) - both)


@dataclass
class TextDedup(Selector):
    """Of texts that are the same or nearly so one stays: the best by the `by` columns, then by uid.

    The same: equal after `normal`. Nearly: their sets of `shingle` characters have a Jaccard similarity of `min` or more;
    1 turns this part off. Pairs are proposed by MinHash-LSH (`bands` x `rows` minima by the package rensa; a pair of
    similarity s is proposed with probability 1 - (1 - s^rows)^bands, 0.95 at the default 0.8, 0.9999 at 0.9) and checked
    exactly, so nothing falls by a collision. In a bucket with more than 256 rows that stay a row is compared with the best 256 of
    them only: pairs of a similarity near `min` that share no smaller bucket may be missed there; notes count such buckets as
    `crowded`. Rows with a null or blank text stay.
    """

    version = 2

    column: str = "text"
    min: float = 0.8
    shingle: int = 5
    bands: int = 16
    rows: int = 8
    by: tuple[str, ...] = ()
    seed: int = 0
    table: str = field(default="images", kw_only=True)
    chunk: int = 20_000  # rows a task; moves nothing but speed

    free = ("chunk",)

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.min <= 1 or min(self.shingle, self.bands, self.rows) < 1:
            raise RecipeError(f"{self.name}: min must lie above 0 and be at most 1; shingle, bands and rows be at least 1")
        self.by = tuple(self.by)
        self.reads = tuple(dict.fromkeys((self.column, *columns(self.by))))

    def select(self, live: Live) -> Selection:
        with scratch(live) as folder:
            some = f"""regexp_matches("{self.column}", '[^\\pZ\\p{{Cc}}\\p{{Cf}}]')"""
            ranks = ranked(live, better_first(self.by), some)
            paths = spill(live, f'select id, "{self.column}" as text from live where {some}', folder, self.chunk)
            bands = self.bands if self.min < 1 else 0
            items = [(str(p), self.shingle, bands, self.rows, self.seed) for p in paths]
            order = np.argsort(ranks.of(np.concatenate([np.empty(0, np.int64), *live.map(_sign, items)])))
            keys = _joined(paths, ".keys.npy", folder / "keys.npy", 2, len(order))[order]
            first = first_of(keys[:, 0], keys[:, 1:], np.arange(len(keys)))
            distinct = np.flatnonzero(first == np.arange(len(keys)))
            if bands:
                save_rows(
                    folder / "bands.npy", _joined(paths, ".bands.npy", folder / "all.npy", bands, len(order)), order[distinct]
                )
                _write_texts(paths, folder, order[distinct])
            judged = resolve(len(distinct), lambda asked, alive: self._find(live, folder, bands, asked, alive))
            np.save(folder / "alive.npy", ~judged.dropped)
            crowded = sum(live.map(_crowded, [(str(folder), band) for band in range(bands)]))
            done = spread(judged, first)
        edges = done.edges(ranks.ids)
        notes = {"texts": len(keys), "distinct": len(distinct), "pairs": done.pairs, "rounds": done.rounds, "crowded": crowded}
        return Selection(edges, edges=edges, notes=notes)

    def _find(self, live: Live, folder: Path, bands: int, asked: np.ndarray, alive: np.ndarray) -> Iterator[Pairs]:
        np.save(folder / "asked.npy", asked)
        np.save(folder / "alive.npy", alive)
        yield from live.map(_collide, [(str(folder), band, self.min, self.shingle) for band in range(bands)])


def _sign(item: tuple[str, int, int, int, int]) -> np.ndarray:
    """Of a chunk: 128-bit keys, band hashes and normalised texts go to files, its ids come back."""
    path, size, bands, rows, seed = item
    chunk = load(Path(path))
    texts = [normal(t) for t in chunk["text"].to_pylist()]
    digests = b"".join(hashlib.md5(t.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest() for t in texts)
    np.save(path + ".keys.npy", np.frombuffer(digests, np.uint64).reshape(-1, 2))
    if bands:
        from rensa import RMinHash

        minima = RMinHash.digests_from_token_sets([list(shingles(t, size)) for t in texts], num_perm=bands * rows, seed=seed)
        minima = np.array(minima, np.uint64).reshape(len(texts), bands, rows)
        with np.errstate(over="ignore"):
            odd = np.cumprod(np.full(rows, 0x9E3779B97F4A7C15, np.uint64))
            np.save(path + ".bands.npy", ((minima + np.uint64(1)) * odd).sum(axis=2, dtype=np.uint64) * odd[0])
        raw = [t.encode("utf-8", "surrogatepass") for t in texts]
        Path(path + ".texts").write_bytes(b"".join(raw))
        np.save(path + ".sizes.npy", np.array([len(r) for r in raw], np.int64))
    return chunk["id"].to_numpy()


def _joined(paths: list[Path], suffix: str, file: Path, width: int, count: int) -> np.ndarray:
    """What the chunks wrote of all rows, as one file, mapped."""
    out, at = np.lib.format.open_memmap(file, "w+", np.uint64, (count, width)), 0
    for path in paths:
        some = np.load(f"{path}{suffix}")
        out[at : at + len(some)] = some
        at += len(some)
    return out


def _write_texts(paths: list[Path], folder: Path, order: np.ndarray) -> None:
    """All texts as one file of bytes, with start and size of those wanted."""
    with open(folder / "texts", "wb") as out:
        for path in paths:
            out.write(Path(f"{path}.texts").read_bytes())
    sizes = np.concatenate([np.empty(0, np.int64), *(np.load(f"{p}.sizes.npy") for p in paths)])
    starts = np.cumsum(sizes) - sizes
    np.save(folder / "places.npy", np.stack([starts[order], sizes[order]]))


def _buckets(folder: Path, band: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows alive, bucket by bucket, ranks ascending in each; and where the buckets begin and end."""
    hashes = np.load(folder / "bands.npy", mmap_mode="r")[:, band]
    order = np.flatnonzero(np.load(folder / "alive.npy"))
    order = order[np.argsort(hashes[order], kind="stable")]
    edges = np.flatnonzero(np.diff(hashes[order], prepend=0, append=0))
    return order, np.unique(np.concatenate([[0], edges, [len(order)]]))


def _crowded(item: tuple[str, int]) -> int:
    """The number of buckets of one band with more rows than each is compared with."""
    return int((np.diff(_buckets(Path(item[0]), item[1])[1]) > _BUCKET + 1).sum())


def _collide(item: tuple[str, int, float, int]) -> Pairs:
    """The pairs that share a bucket of one band, checked."""
    folder, band, bound, size = Path(item[0]), *item[1:]
    order, edges = _buckets(folder, band)
    asked, places = (np.load(folder / f"{n}.npy") for n in ("asked", "places"))
    texts = np.memmap(folder / "texts", np.uint8, "r") if len(order) else None
    found = []
    for low, high in pairwise(edges.tolist()):
        if high - low > 1 and asked[order[low:high]].any():
            found += _bucket(texts, places, order[low:high], asked, bound, size)
    worse, better, alike = zip(*found) if found else ((), (), ())
    return np.array(worse, np.int64), np.array(better, np.int64), np.array(alike, np.float32)


def _bucket(
    texts: np.ndarray, places: np.ndarray, ranks: np.ndarray, asked: np.ndarray, bound: float, size: int
) -> Iterator[tuple]:
    """The pairs of one bucket that are alike. A row that was compared with some that may yet fall, and not with all, is paired with
    itself: it is to be asked about again."""
    more, sets = asked[ranks[:_BUCKET]].any(), []
    for n, rank in enumerate(ranks.tolist()):
        if n >= _BUCKET and not asked[rank]:
            continue
        start, length = places[:, rank].tolist()
        mine = shingles(bytes(texts[start : start + length]).decode("utf-8", "surrogatepass"), size)
        if asked[rank]:
            for other, theirs in zip(ranks[:n].tolist(), sets):
                # Sets of very different size cannot be alike: the cheap test goes first.
                if bound * max(len(mine), len(theirs)) <= min(len(mine), len(theirs)) and (s := jaccard(mine, theirs)) >= bound:
                    yield rank, other, s
            if more and n > _BUCKET:
                yield rank, rank, 0.0
        if len(sets) < _BUCKET:
            sets.append(mine)
