"""Decontamination: training samples that are too near to an evaluation set."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curate.dedup.bands import arrays
from curate.dedup.phash import VIEWS, hashes, signature, stacked
from curate.dedup.similarity import Bounds, similarity, toned
from curate.dedup.text import normal
from curate.dedup.vectors import column, embedded, file_hash, l2_normalize, load_vectors, matrix, vectors_ready
from curate.dedup.versions import versions
from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.selector import Selection, Selector, identifier
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
    Pictures are compared by the columns of PerceptualHash as NearDedup does, but in grey of one brightness and contrast; a row may
    besides be the evaluation picture's centre as a square (ImageNet's and CLIP's crops), or the picture in a white border or a
    letterbox, or turned by up to 3 degrees (versions.py). Not found: crops other than 10 or 25 % that are not in the middle, most
    pictures with large words on them, quarter turns, and rows that hold the whole of what the evaluation set has cropped to a
    square. The docs have the recall of each edit. For what is left use embeddings of a copy-detection model.
    DataComp uses a copy-detection model at 0.604; for CLIP ViT-B/32 at 0.96 it reports a recall of 0.02, so embeddings of
    such a model need a lower bound or the hashes beside them.

    Adds `<name>_match`, set and item, and `<name>_similarity`.

    sets: paths by name. max_distance: differing bits of 64 in the hashes, at most. min_similarity: correlation of thumbnails, at least.
    min_view_similarity: the same between views that were cropped, brightened or turned.
    tolerance: factor of the bounds on local differences (likeness.Same). min_fine: correlation of the fine structure, at least. min_words: words of an
    evaluation text that is compared.
    min: cosine with an evaluation embedding from which on a row falls.
    """

    version = 7

    sets: dict[str, str] | None = None
    column: str = "clip_image"
    min: float = 0.95
    max_distance: int = 7
    min_similarity: float = 0.95
    min_view_similarity: float = 0.90
    tolerance: float = 1.5
    min_fine: float = 0.3
    text: str = "text"
    min_words: int = 6

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

    def select(self, live: Frame) -> Selection:
        notes: dict[str, Any] = {"sets": {}}
        found = [live.each(Sql("select id, ''::varchar as match, 0::float as similarity from live limit 0"))]
        if self.samples:
            pictures, texts = self._known(notes)
            bounds = Bounds(self.max_distance, self.min_similarity, self.min_view_similarity, self.tolerance, self.min_fine)
            found.append(live.each(_Near(bounds), live.constant(pictures)))
            if len(texts):
                found.append(live.each(_SameText(self.text), live.constant(texts)))
        if self.vectors:
            rows, width = embedded(live, self.column)
            for name, path in self.vectors.items():
                known = load_vectors(path, width or None, least=0)
                notes["sets"][name] = {"vectors": len(known), "path": str(path)}
                if len(known) and rows.rows:
                    found.append(rows.each(_Close(name, self.min), rows.constant(pa.table({"v": column(known, np.float32)}))))
        both = found[0]
        for more in found[1:]:
            both = both.each(Sql("select * from live union all by name select * from other"), more)
        names = ", ".join(f"{c} as {identifier(name)}" for c, name in zip(("match", "similarity"), self.adds()))
        best = (
            f"select id, {names} from live qualify row_number() over (partition by id order by similarity desc, match desc) = 1"
        )
        columns = both.each(Sql(best))
        return Selection(columns, columns=columns, notes=notes)

    def _known(self, notes: dict[str, Any]) -> tuple[pa.Table, pa.Table]:
        """The evaluation sets' pictures and their versions (`item`, `hashes`, `thumb`, `itself`) and texts (`item`, `text`)."""
        names, rows, thumbs, itself, texts = [], [], [], [], {}
        for name, path in self.samples.items():
            images = 0
            for member, data in members(path):
                if member.lower().endswith(".txt"):
                    words = normal(data.decode("utf-8", "replace"))
                    if len(words.split()) >= self.min_words:
                        texts.setdefault(words, f"{name}: {member}")
                elif (picture := pixels(data)) is not None and hashes(picture) is not None:
                    images += 1
                    for n, version in enumerate((picture, *versions(picture))):
                        if (found := hashes(version)) is not None:
                            names.append(f"{name}: {member}")
                            rows.append(found.tobytes())
                            thumbs.append(signature(version))
                            itself.append(n == 0)
            notes["sets"][name] = {"images": images, "path": str(path)}
        notes["texts"] = len(texts)
        kinds = dict.fromkeys(("hashes", "thumb", "text"), pa.large_binary()) | {
            "item": pa.large_string(),
            "itself": pa.bool_(),
        }
        raw = [t.encode("utf-8", "surrogatepass") for t in texts]
        columns = [
            {"item": names, "hashes": rows, "thumb": thumbs, "itself": itself},
            {"item": list(texts.values()), "text": raw},
        ]
        return tuple(pa.table({n: pa.array(v, kinds[n]) for n, v in c.items()}) for c in columns)


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
    """An evaluation image as RGB, transparency cut off as fetch/pixels.py does it to the pool's; None if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _matches(rows: list[tuple[int, str, float]]) -> pa.Table:
    ids, items, alike = zip(*rows) if rows else ((), (), ())
    kinds = (pa.int64(), pa.large_string(), pa.float32())
    return pa.table([pa.array(v, k) for v, k in zip((ids, items, alike), kinds)], names=["id", "match", "similarity"])


@dataclass(frozen=True)
class _Near:
    """The rows whose picture matches an evaluation picture, a crop of one, or one is a crop of theirs."""

    bounds: Bounds

    def __call__(self, live: pa.Table, known: pa.Table) -> pa.Table:
        live, items = live.filter(live["phash"].is_valid()), known["item"].to_pylist()
        if not len(live) or not len(known):
            return _matches([])
        hashed, thumbs, mine = arrays(known["hashes"], np.uint64), toned(arrays(known["thumb"], np.uint8)), stacked(live)
        small, itself = toned(arrays(live["thumbnail"], np.uint8)), np.flatnonzero(known["itself"])
        found = []
        for view in range(len(VIEWS)):
            some = itself if view else np.arange(len(known))
            for whole in (0, -1):
                rows, n = _within(mine[:, view], hashed[some, whole], self.bounds.distance)
                found += _checked(small, thumbs, rows, some[n], view, whole == -1, self.bounds)
                if view:
                    n, rows = _within(hashed[some, view], mine[:, whole], self.bounds.distance)
                    found += [(r, m, s) for m, r, s in _checked(thumbs, small, some[n], rows, view, whole == -1, self.bounds)]
        ids = live["id"].to_numpy()
        return _matches([(int(ids[row]), items[n], alike) for row, n, alike in found])


def _within(a: np.ndarray, b: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs (into `a`, into `b`) of hashes that differ in at most `distance` bits."""
    step = max(1, _BLOCK // max(len(b), 1))
    pairs = [np.nonzero(np.bitwise_count(a[low : low + step, None] ^ b[None]) <= distance) for low in range(0, len(a), step)]
    rows = [i + n * step for n, (i, _) in enumerate(pairs)]
    none = np.empty(0, np.int64)
    return np.concatenate([none, *rows]), np.concatenate([none, *(j for _, j in pairs)])


def _checked(
    one: np.ndarray, other: np.ndarray, i: np.ndarray, j: np.ndarray, view: int, mirrored: bool, bounds: Bounds
) -> list[tuple]:
    alike = similarity(one, other, i, j, view, np.full(len(i), mirrored), bounds)
    good = alike > 0
    return list(zip(i[good].tolist(), j[good].tolist(), alike[good].tolist()))


@dataclass(frozen=True)
class _SameText:
    """The rows whose text is one of the evaluation sets'."""

    text: str

    def __call__(self, live: pa.Table, known: pa.Table) -> pa.Table:
        items = dict(zip(known["text"].to_pylist(), known["item"].to_pylist()))
        keys = (normal(text or "").encode("utf-8", "surrogatepass") for text in live[self.text].to_pylist())
        return _matches([(row, items[key], 1.0) for row, key in zip(live["id"].to_pylist(), keys) if key in items])


@dataclass(frozen=True)
class _Close:
    """The rows with an evaluation vector within the bound: the nearest one, and its cosine."""

    name: str
    bound: float

    def __call__(self, rows: pa.Table, known: pa.Table) -> pa.Table:
        vectors, wanted, ids, found = matrix(rows["v"]), l2_normalize(matrix(known["v"])), rows["id"].to_numpy(), []
        for low in range(0, len(rows), 1024):
            alike = l2_normalize(vectors[low : low + 1024]) @ wanted.T
            best = alike.argmax(axis=1)
            top = alike[np.arange(len(best)), best].round(4)
            found += [(int(ids[low + r]), f"{self.name}: {best[r]}", float(top[r])) for r in np.flatnonzero(top >= self.bound)]
        return _matches(found)
