"""Training samples that are too near to an evaluation set."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from curate.dedup.chunks import load, scratch, spill
from curate.dedup.likeness import Same, likeness
from curate.dedup.phash import VIEWS, hashes, stacked, thumbnail
from curate.dedup.text import normal
from curate.dedup.vectors import ROWS, file_hash, lengthened, load_vectors, vectors_ready, write_vectors
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector
from curate.stage import digest

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_BLOCK = 1 << 22  # pairs of hashes compared at a time


@dataclass
class Decontaminate(Selector):
    """Drops rows that are near any image or text of the evaluation sets, which are named in the run's record.

    `sets` maps names to paths. What a path is decides what is compared:
      a folder or .tar (WebDataset)  its images with the columns of PerceptualHash, as NearDedup does (mirrored, crops of
                                     either); its .txt members with the `text` column: the same after normalisation, if
                                     they have `min_words` words or more, since short texts are everybody's
      a .npy file                    embeddings, made by the model of `column`: a cosine of `min` or more
    DataComp uses a copy-detection model at 0.604; for CLIP ViT-B/32 at 0.96 it reports a recall of 0.02, so embeddings of
    such a model need a lower bound or the hashes beside them.

    Adds `<name>_match`, set and item, and `<name>_similarity`.
    """

    version = 3

    sets: dict[str, str] | None = None
    column: str = "clip_image"
    min: float = 0.95
    max_distance: int = 7
    min_similarity: float = 0.95
    min_view_similarity: float = 0.90
    tolerance: float = 1.5
    text: str = "text"
    min_words: int = 6
    chunk: int = 20_000  # rows a task; moves nothing but speed

    free = ("chunk",)

    def __post_init__(self):
        super().__post_init__()
        if self.tolerance <= 0:
            raise RecipeError(f"{self.name}: tolerance must be above 0; 1 is what NearDedup takes")
        if not self.sets:
            raise RecipeError(f"{self.name}: sets= must name evaluation sets: a dict from names to folders, .tar or .npy files")
        for path in self.sets.values():
            if not Path(path).exists():
                raise RecipeError(f"{self.name}: {path}: no such file or folder")
        self.vectors = {k: p for k, p in self.sets.items() if p.endswith(".npy")}
        self.samples = {k: p for k, p in self.sets.items() if k not in self.vectors}
        pixels = ("phash", "phash_mirror", "phash_views", "thumbnail", self.text) if self.samples else ()
        self.reads = (*pixels, *([self.column] if self.vectors else []))

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_match": pa.large_string(), f"{self.name}_similarity": pa.float32()}

    def weights(self) -> dict[str, str]:
        return {f"set_{name}": digest([file_hash(f) for f in _files(Path(path))]) for name, path in self.sets.items()}

    def preflight(self, widths: dict[str, int]) -> None:
        for path in self.vectors.values():
            vectors_ready(self.name, path, self.column, widths.get(self.column))

    def select(self, live: Live) -> Selection:
        found: list[tuple] = []
        notes = {"sets": {}}
        with scratch(live) as folder:
            if self.samples:
                found += self._by_samples(live, folder, notes)
            if self.vectors:
                found += self._by_vectors(live, folder, notes)
        best: dict[int, tuple[float, str]] = {}
        for row, alike, item in found:
            best[row] = max(best.get(row, (-1.0, "")), (alike, item))
        ids = np.array(sorted(best), np.int64)
        matches, alike = [best[i][1] for i in ids.tolist()], [best[i][0] for i in ids.tolist()]
        columns = [ids, pa.array(matches, pa.large_string()), pa.array(alike, pa.float32())]
        return Selection(ids, columns=pa.table(columns, names=["id", *self.adds()]), notes=notes)

    def _by_samples(self, live: Live, folder: Path, notes: dict) -> list[tuple]:
        names, rows, thumbs, texts = [], [], [], {}
        for name, path in self.samples.items():
            images = 0
            for member, data in members(path):
                if member.lower().endswith(".txt"):
                    words = normal(data.decode("utf-8", "replace"))
                    if len(words.split()) >= self.min_words:
                        texts.setdefault(words, f"{name}: {member}")
                elif (picture := pixels(data)) is not None and (found := hashes(picture)) is not None:
                    names.append(f"{name}: {member}")
                    rows.append(found)
                    thumbs.append(np.frombuffer(thumbnail(picture), np.uint8))
                    images += 1
            notes["sets"][name] = {"images": images, "path": str(path)}
        notes["texts"] = len(texts)
        np.savez(
            folder / "known.npz",
            hashes=np.array(rows, np.uint64).reshape(-1, len(VIEWS) + 1),
            thumbs=np.array(thumbs, np.uint8).reshape(len(rows), -1),
        )
        query = f'select id, phash, phash_mirror, phash_views, thumbnail, "{self.text}" as text from live'
        chunks = spill(live, query, folder, self.chunk)
        bounds = Same(self.max_distance, self.min_similarity, self.min_view_similarity, self.tolerance)
        near = live.map(_near, [(str(p), str(folder / "known.npz"), bounds) for p in chunks])
        found = [(row, alike, names[n]) for part in near for row, n, alike in part]
        (folder / "texts.json").write_text(json.dumps(list(texts)))
        same = live.map(_same, [(str(p), str(folder / "texts.json")) for p in chunks]) if texts else ()
        return found + [(row, 1.0, texts[words]) for part in same for row, words in part]

    def _by_vectors(self, live: Live, folder: Path, notes: dict) -> list[tuple]:
        vectors = write_vectors(live, self.column, folder / "vectors.npy")
        found = []
        for name, path in self.vectors.items():
            notes["sets"][name] = {"vectors": len(vectors.given(path, least=0)), "path": str(path)}
            items = [(vectors.path, path, self.min, low, low + ROWS) for low in range(0, len(vectors.ids), ROWS)]
            for part in live.map(_close, items):
                found += [(int(vectors.ids[row]), alike, f"{name}: {n}") for row, n, alike in part]
        return found


def _files(path: Path) -> list[Path]:
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def members(path: str) -> Iterator[tuple[str, bytes]]:
    """The images and .txt files of a folder or a tar, sorted by name in a folder."""
    wanted = (*_IMAGES, ".txt")
    if Path(path).is_dir():
        for file in sorted(Path(path).rglob("*")):
            if file.suffix.lower() in wanted:
                yield str(file.relative_to(path)), file.read_bytes()
        return
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(wanted):
                    yield member.name, tar.extractfile(member).read()
    except tarfile.TarError as e:
        raise RecipeError(f"{path}: neither a folder nor a tar: {e}") from e


def pixels(data: bytes) -> np.ndarray | None:
    """An evaluation image as RGB, transparent parts white; None if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image = image.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB"))


def _near(item: tuple[str, str, Same]) -> list[tuple[int, int, float]]:
    """(id, evaluation image, similarity) of the rows of a chunk that look like one, or like a crop of one, or it of them."""
    path, known, same = item
    table = load(Path(path))
    table = table.filter(table["phash"].is_valid())
    if not len(table):
        return []
    with np.load(known) as theirs:
        hashed, thumbs = theirs["hashes"], theirs["thumbs"]
    mine = stacked(table)
    small = np.frombuffer(b"".join(table["thumbnail"].to_pylist()), np.uint8).reshape(len(table), -1)
    found = []
    for view in range(len(VIEWS)):
        for mirrored in (False, True):
            rows, n = _within(mine[:, view], hashed[:, -1 if mirrored else 0], same.distance)
            found += _checked(small, thumbs, rows, n, view, mirrored, same)
            if view:
                n, rows = _within(hashed[:, view], mine[:, -1 if mirrored else 0], same.distance)
                found += [(r, m, s) for m, r, s in _checked(thumbs, small, n, rows, view, mirrored, same)]
    ids = table["id"].to_numpy()
    return [(int(ids[row]), n, alike) for row, n, alike in found]


def _within(a: np.ndarray, b: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of places of hashes that differ in at most `distance` bits."""
    step = max(1, _BLOCK // max(len(b), 1))
    pairs = [np.nonzero(np.bitwise_count(a[low : low + step, None] ^ b[None]) <= distance) for low in range(0, len(a), step)]
    rows = [i + n * step for n, (i, _) in enumerate(pairs)]
    return tuple(np.concatenate([np.empty(0, np.int64), *part]) for part in (rows, [j for _, j in pairs]))


def _checked(
    one: np.ndarray, other: np.ndarray, i: np.ndarray, j: np.ndarray, view: int, mirrored: bool, same: Same
) -> list[tuple]:
    alike = likeness(one, other, i, j, view, np.full(len(i), mirrored), same)
    good = alike > 0
    return list(zip(i[good].tolist(), j[good].tolist(), alike[good].tolist()))


def _same(item: tuple[str, str]) -> list[tuple[int, str]]:
    """Rows of a chunk whose text is one of the evaluation sets', and that text."""
    table, known = load(Path(item[0])), frozenset(json.loads(Path(item[1]).read_text()))
    texts = ((row, normal(text or "")) for row, text in zip(table["id"].to_pylist(), table["text"].to_pylist()))
    return [(row, words) for row, words in texts if words in known]


def _close(item: tuple[str, str, float, int, int]) -> list[tuple[int, int, float]]:
    """(row, evaluation vector, cosine) of the rows of a range that have one within the bound, the nearest one."""
    path, target, bound, start, stop = item
    rows = np.load(path, mmap_mode="r")[start:stop]
    wanted = lengthened(load_vectors(target, rows.shape[1], least=0))
    if not len(wanted):
        return []
    found = []
    for low in range(0, len(rows), 1024):
        alike = lengthened(rows[low : low + 1024]) @ wanted.T
        best = alike.argmax(axis=1)
        top = alike[np.arange(len(best)), best].round(4)
        found += [(start + low + int(r), int(best[r]), float(top[r])) for r in np.flatnonzero(top >= bound)]
    return found
