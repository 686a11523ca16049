"""Perceptual hashes: a few numbers that stay almost the same when a picture is resized, recompressed, mirrored or cropped."""

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from curate.stage import Stage

SIDE = 64            # the grey picture that is hashed
THUMB = 16           # the small colour picture kept beside the hashes
_TERMS = 16          # cosine terms computed in each direction
_DEAD = 0.02         # of the mean size of a term: smaller ones count as zero
_FLAT = 0.5          # grey levels: a picture whose terms are smaller on average has no hash

#: Parts of a picture that are hashed besides the whole: (top, bottom, left, right), as fractions. Nine places for a crop
#: that takes 10 % off width and height, nine for 25 %.
CROPS = tuple((y, y + 1 - cut, x, x + 1 - cut) for cut in (0.10, 0.25) for y in (0, cut / 2, cut) for x in (0, cut / 2, cut))

#: The 64 lowest frequencies but the constant one, as (vertical, horizontal).
_BITS = np.array(sorted(((u, v) for u in range(_TERMS) for v in range(_TERMS) if u + v), key=lambda t: (sum(t), t))[:64]).T


def resample(low: float, high: float, size: int, to: int) -> np.ndarray:
    """A (to, size) matrix that averages the stretch [low, high) of `size` points, in fractions, into `to` points."""
    edges = np.linspace(low * size, high * size, to + 1)
    points = np.arange(size)
    cover = np.clip(np.minimum(edges[1:, None], points + 1) - np.maximum(edges[:-1, None], points), 0, None)
    return cover / cover.sum(axis=1, keepdims=True)


def _basis(low: float, high: float) -> np.ndarray:
    """A (terms, side) matrix: that stretch of a line of pixels, as 32 points, as its first cosine terms."""
    angle = np.pi * np.arange(_TERMS)[:, None] * (np.arange(32) + 0.5) / 32
    return np.cos(angle) * np.sqrt(2 / 32) @ resample(low, high, SIDE, 32)


_STRETCHES = sorted({s[i:i + 2] for s in ((0, 1, 0, 1), *CROPS) for i in (0, 2)})
_ALL = np.concatenate([_basis(*s) for s in _STRETCHES])


def _blocks(crops: tuple) -> np.ndarray:
    """For each crop, where its 64 terms lie in the matrix of all stretches against all stretches."""
    rows = np.array([_STRETCHES.index(c[:2]) for c in crops])[:, None] * _TERMS + _BITS[0]
    cols = np.array([_STRETCHES.index(c[2:]) for c in crops])[:, None] * _TERMS + _BITS[1]
    return rows * len(_ALL) + cols


_PLACES = _blocks(((0, 1, 0, 1), *CROPS))


def hashes(image: np.ndarray) -> np.ndarray | None:
    """64-bit hashes of the whole picture, its mirror image and its crops; None if there is nothing to see.

    As pHash, the signs of the lowest frequencies of a cosine transform, but with a dead zone: in a symmetric picture half
    of the terms are zero but for noise, and their signs would be drawn by the JPEG encoder.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    terms = (_ALL @ grey.astype(np.float64) @ _ALL.T).ravel()[_PLACES]
    size = np.sqrt((terms**2).mean(axis=1, keepdims=True))
    if size[0] < _FLAT:
        return None
    mirrored = terms[0] * np.where(_BITS[1] % 2, -1, 1)   # mirroring turns the sign of the odd horizontal frequencies
    bits = np.concatenate([terms[:1], mirrored[None], terms[1:]]) > _DEAD * np.concatenate([size[:1], size[:1], size[1:]])
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def thumbnail(image: np.ndarray) -> bytes:
    """The picture as 16 x 16 RGB pixels, whatever its shape: 768 bytes."""
    return cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA).tobytes()


@dataclass
class PerceptualHash(Stage):
    """What NearDedup compares: 20 hashes and a thumbnail, 930 bytes a row.

    `phash` the whole picture, `phash_mirror` its mirror image, `phash_crops` 18 crops (CROPS), each 64 bits; `thumbnail`
    16 x 16 RGB. The hashes of a picture of one colour are null.
    """

    reads = ("image",)

    def adds(self) -> dict[str, pa.DataType]:
        return {"phash": pa.uint64(), "phash_mirror": pa.uint64(), "phash_crops": pa.list_(pa.uint64()),
                "thumbnail": pa.large_binary()}

    def run(self, live: pa.Table, pixels: list[np.ndarray]) -> pa.Table:
        found = [hashes(image) for image in pixels]
        columns = {"phash": [None if h is None else int(h[0]) for h in found],
                   "phash_mirror": [None if h is None else int(h[1]) for h in found],
                   "phash_crops": [None if h is None else h[2:] for h in found],
                   "thumbnail": [thumbnail(image) for image in pixels]}
        return pa.table({name: pa.array(values, self.adds()[name]) for name, values in columns.items()})
