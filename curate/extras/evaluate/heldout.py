"""Held-out sets and their metrics: image-text retrieval and zero-shot classification.

A held-out set is a run, a folder of tars or a tar. Samples with a `.txt` (each line is a caption) are for retrieval; samples
with a `.cls` (a number) and a `classnames.txt` beside the tars, or one folder up, for classification. This is how CLIP
benchmark keeps DataComp's evaluation sets.
"""

import functools
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import PoolError, RecipeError
from curate.source import file_identity
from curate.sources.tarindex import members, samples
from curate.sources.webdataset import WebDataset
from curate.stage import digest

#: Suffixes of pictures that open_clip's loader reads.
PICTURES = ("jpg", "jpeg", "png", "webp")
TEMPLATES = ["a photo of a {c}."]
#: Pictures decoded and embedded at a time.
CHUNK = 512
#: To be raised when the measurement changes, so that earlier ones are not reused.
VERSION = 3
#: Fewest samples of a language for figures of its own.
LANGUAGE_SAMPLES = 50


@dataclass(frozen=True)
class Sample:
    """A sample of a tar; image: the offset and size of its picture in the tar, () if it has none."""

    key: str
    image: tuple[int, int] | tuple[()]
    text: str | None
    label: int | None

    @property
    def captions(self) -> list[str]:
        """The lines of the text."""
        return [line.strip() for line in (self.text or "").splitlines() if line.strip()]


def samples_in(tar: str) -> Iterator[Sample]:
    """The samples of a tar, without reading pictures; PoolError names the tar and the sample if it is invalid."""
    with open(tar, "rb") as f:
        for sample in samples(members(f, tar)):
            inner = {k: m for k, m in sample.members.items() if m.whole}
            at = next((inner[s] for s in PICTURES if s in inner), None)
            content: dict[str, str] = {}
            for suffix in {"txt", "cls"} & inner.keys():
                f.seek(inner[suffix].offset)
                content[suffix] = f.read(inner[suffix].size).decode("utf-8", "replace").strip()
            if "cls" in content and not content["cls"].isdigit():
                raise PoolError(f"{tar}: sample {sample.key}: .cls holds {content['cls'][:20]!r}, not the number of a class")
            yield Sample(
                sample.key,
                (at.offset, at.size) if at else (),
                content.get("txt"),
                int(content["cls"]) if "cls" in content else None,
            )


@functools.lru_cache(maxsize=1 << 20)
def fingerprint(data: bytes) -> int | str:
    """A perceptual hash of a picture, equal for re-encoded and resized copies; the SHA-256 of bytes that show nothing."""
    from curate.dedup.phash import hashes
    from curate.fetch.pixels import decode

    pixels = decode(data)
    found = None if isinstance(pixels, str) else hashes(pixels)
    return hashlib.sha256(data).hexdigest() if found is None else int(found[0])


@dataclass
class HeldOut:
    """A held-out set; its pictures are read when it is measured."""

    name: str
    tars: list[str]
    classes: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=lambda: TEMPLATES)

    @cached_property
    def samples(self) -> list[tuple[str, Sample]]:
        """(tar, sample) of those with a picture and a text or a class."""
        return [(t, s) for t in self.tars for s in samples_in(t) if s.image and (s.text is not None or s.label is not None)]

    @cached_property
    def hash(self) -> str:
        """A hash of the bytes, the classes and the templates."""
        return digest([VERSION, [file_identity(t)["hash"] for t in self.tars], self.classes, self.templates])

    @cached_property
    def captions(self) -> frozenset[str]:
        return frozenset(c for _, s in self.samples for c in s.captions)

    @cached_property
    def pictures(self) -> frozenset[int | str]:
        """The fingerprints of its pictures."""
        return frozenset(fingerprint(data) for data in self._files())

    @cached_property
    def languages(self) -> list[str]:
        """The language of each sample's first caption (filters.Language with its rules); empty for those with fewer than
        LANGUAGE_SAMPLES samples, or where fastText's model is not installed."""
        from curate.filters.language import Language, packaged

        texts = [" ".join(s.captions[:1]) for _, s in self.samples]
        if packaged() is None:
            return [""] * len(texts)
        stage = Language(rules=True)
        stage.load()
        found = [label or "" for label, _ in stage.ruled(texts)]
        many = Counter(found)
        return [label if many[label] >= LANGUAGE_SAMPLES else "" for label in found]

    @property
    def tasks(self) -> list[str]:
        found = {
            "retrieval": bool(self.captions),
            "classification": bool(self.classes) and any(s.label is not None for _, s in self.samples),
        }
        return [task for task, there in found.items() if there]

    def measure(self, model: Any) -> dict[str, dict[str, float]]:
        """The `metrics` of a models.Clip on this set, from 0 to 1; and where captions have several `languages`, the share of each
        one's pictures whose own caption is found first among all."""
        images = np.concatenate([model.encode_images(pictures) for pictures in self._pictures()])
        found: dict[str, float] = {}
        languages: dict[str, float] = {}
        if "classification" in self.tasks:
            at = [i for i, (_, s) in enumerate(self.samples) if s.label is not None]
            found |= classification(images[at], self._class_vectors(model), np.array([self.samples[i][1].label for i in at]))
        if "retrieval" in self.tasks:
            captions = {i: s.captions for i, (_, s) in enumerate(self.samples) if s.captions}
            texts = sorted(self.captions)
            place = {t: n for n, t in enumerate(texts)}
            own = [{place[c] for c in each} for each in captions.values()]
            vectors, spoken = model.encode_texts(texts), np.array([self.languages[i] for i in captions])
            found |= retrieval(images[list(captions)], vectors, own)
            first = np.array([best in mine for mine, (best,) in zip(own, _best(images[list(captions)], vectors, 1).tolist())])
            languages = {k: float(first[spoken == k].mean()) for k in sorted(set(spoken.tolist()) - {""})}
        return {"metrics": found, "languages": languages if len(languages) > 1 else {}}

    def _files(self) -> Iterator[bytes]:
        """The picture of each sample, as it is stored."""
        for tar, (offset, size) in ((t, s.image) for t, s in self.samples if s.image):
            with open(tar, "rb") as f:
                f.seek(offset)
                yield f.read(size)

    def _pictures(self) -> Iterator[list[np.ndarray]]:
        from curate.fetch.pixels import decode

        named = zip(self.samples, map(decode, self._files()))
        while chunk := list(itertools.islice(named, CHUNK)):
            for (tar, sample), pixels in chunk:
                if isinstance(pixels, str):
                    raise PoolError(f"{tar}: sample {sample.key}: its picture does not open ({pixels})")
            yield [pixels for _, pixels in chunk]

    def _class_vectors(self, model: Any) -> np.ndarray:
        """One vector a class: the mean over the templates, of length 1 (Radford et al. 2021, 3.1.4)."""
        texts = [t.replace("{c}", c) for c in self.classes for t in self.templates]
        mean = model.encode_texts(texts).reshape(len(self.classes), len(self.templates), -1).mean(1)
        return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def open_held_out(name: str, path: str) -> HeldOut:
    """Open a held-out set. RecipeError if no model can be measured on it."""
    if "://" in path:
        raise RecipeError(f"{path}: held-out sets are read from this machine's disks: copy it here first")
    tars = [os.path.abspath(t) for t in WebDataset([path]).files()]
    folders = (Path(tars[0]).parent, Path(tars[0]).parent.parent)
    classes, templates = (
        next((_lines(f / n) for f in folders if (f / n).is_file()), [])
        for n in ("classnames.txt", "zeroshot_classification_templates.txt")
    )
    found = HeldOut(name, tars, classes, templates or TEMPLATES)
    if not found.tasks:
        raise RecipeError(
            f"{path}: nothing to measure on: no sample has a picture and a .txt, or a .cls with a classnames.txt beside the tars"
        )
    worst = max((s.label for _, s in found.samples if s.label is not None), default=0)
    if "classification" in found.tasks and worst >= len(classes):
        raise RecipeError(f"{path}: a sample is of class {worst}, but classnames.txt has {len(classes)} lines")
    return found


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


# ---- metrics


def retrieval(images: np.ndarray, texts: np.ndarray, own: list[set[int]]) -> dict[str, float]:
    """Recall at 1 and 5, image to text and text to image. own: the indices of each picture's texts, any of which is correct, as is any of
    a text's pictures. Equal to CLIP benchmark's recall, except that a text of several pictures counts once."""
    right = [[text in mine for text in row] for mine, row in zip(own, _best(images, texts, 5).tolist())]
    back = [[text in own[picture] for picture in row] for text, row in enumerate(_best(texts, images, 5).tolist())]
    return {
        f"{way} R@{k}": float(np.array(hit)[:, :k].any(1).mean())
        for way, hit in (("image→text", right), ("text→image", back))
        for k in (1, 5)
    }


def classification(images: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 and top-5 accuracy. labels: the class of each picture."""
    right = _best(images, classes, 5) == labels[:, None]
    return {f"top-{k}": float(right[:, :k].any(1).mean()) for k in (1, 5)}


def _best(asked: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """For each vector the indices of the `k` most similar others, the best first, ties by index. In chunks, since all scores of COCO's
    25,000 captions and 5,000 pictures would take 500 MB."""
    found = []
    for start in range(0, len(asked), CHUNK):
        score = asked[start : start + CHUNK] @ others.T
        best = np.empty((len(score), min(k, len(others))), np.int64)
        for place in range(best.shape[1]):
            best[:, place] = score.argmax(1)
            score[np.arange(len(score)), best[:, place]] = -np.inf
        found.append(best)
    return np.concatenate(found)


def score(metrics: dict[str, float]) -> float:
    """The score of a held-out set, as in DataComp: top-1, else the mean of R@1 in both directions."""
    return metrics["top-1"] if "top-1" in metrics else (metrics["image→text R@1"] + metrics["text→image R@1"]) / 2
