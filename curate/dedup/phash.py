"""Perceptual hashes that survive resizing, recompression, mirroring, brightening and crops, and the signatures that verify matches."""

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from curate.cost import Cost
from curate.stage import Stage

SIDE = 64  # the grey picture that is hashed
THUMB = 32  # the small colour picture kept beside the hashes
FINE = 80  # the side of what is kept of structure finer than that
_SMALL = 128  # pictures are shrunk to this side first, shape aside
_TERMS = 16  # cosine terms computed in each direction
_DEAD = 0.02  # of the mean size of a term: smaller ones count as zero
_FLAT = 0.5  # grey levels: a picture whose terms are smaller on average has no hash

#: Bytes of a signature: the thumbnail, then the fine structure, two pixels a byte.
THUMB_BYTES, FINE_BYTES = THUMB * THUMB * 3, FINE * FINE // 2
SIGNATURE = THUMB_BYTES + FINE_BYTES

_AROUND = 17  # pixels of the row, of the column and of the square that a pixel of the fine structure is compared with
_MOST = 64  # grey levels that count
#: Grey levels by the four bits that stand for them: narrow steps for small ones.
FINE_LEVELS = np.array([np.sign(n) * _MOST * (n / 7) ** 2 for n in range(-7, 9)], np.float32)
_EDGES = np.array([np.sign(n) * _MOST * (n / 7) ** 2 * _AROUND**2 for n in np.arange(-6.5, 7)])

#: (FINE, FINE) matrix of these averages along a line, reflected at its ends.
AROUND_MEAN = cv2.blur(np.eye(FINE), (1, _AROUND), borderType=cv2.BORDER_REFLECT)

_WHOLE = (0.0, 1.0, 0.0, 1.0)

#: Parts of a picture that are hashed besides the whole: (top, bottom, left, right), as fractions. 25 places for a crop that
#: takes 10 % off width and height, nine for 25 %.
CROPS = tuple(
    (y, y + 1 - cut, x, x + 1 - cut)
    for cut, steps in ((0.10, 4), (0.25, 2))
    for y in (cut * n / steps for n in range(steps + 1))
    for x in (cut * n / steps for n in range(steps + 1))
)

#: What of a picture is hashed: how much brighter, which part. What brightening clips cannot be undone, so that the darker of
#: two pictures has to be made like the brighter one; the same holds for crops.
VIEWS = ((1.0, _WHOLE), (1.25, _WHOLE), (1.5, _WHOLE), *((1.0, crop) for crop in CROPS))
BRIGHT = tuple(n for n, (gain, _) in enumerate(VIEWS) if gain > 1)

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


_STRETCHES = sorted({s[i : i + 2] for s in (_WHOLE, *CROPS) for i in (0, 2)})
_ALL = np.concatenate([_basis(*s) for s in _STRETCHES])
_ONE = _basis(0, 1)


def _blocks(crops: tuple) -> np.ndarray:
    """For each crop, where its 64 terms lie in the matrix of all stretches against all stretches."""
    rows = np.array([_STRETCHES.index(c[:2]) for c in crops])[:, None] * _TERMS + _BITS[0]
    cols = np.array([_STRETCHES.index(c[2:]) for c in crops])[:, None] * _TERMS + _BITS[1]
    return rows * len(_ALL) + cols


_PLACES = _blocks((_WHOLE, *CROPS))


def small(image: np.ndarray) -> np.ndarray:
    """The picture at a size that hashes and thumbnails are made of."""
    return cv2.resize(image, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA) if min(image.shape[:2]) > _SMALL else image


def hashes(image: np.ndarray) -> np.ndarray | None:
    """64-bit hashes of the VIEWS of a picture, and as the last one that of its mirror image; None if there is nothing to see.

    As pHash, the signs of the lowest frequencies of a cosine transform, but with a dead zone: in a symmetric picture half
    of the terms are zero but for noise, and their signs would be drawn by the JPEG encoder.
    """
    image = small(image)
    plain = _terms(image, 1.0, _PLACES)
    size = np.sqrt((plain**2).mean(axis=1, keepdims=True))
    if size[0] < _FLAT:
        return None
    mirrored = plain[:1] * np.where(_BITS[1] % 2, -1, 1)  # mirroring turns the sign of the odd horizontal frequencies
    bright = [_terms(image, VIEWS[n][0], _PLACES[:1]) for n in BRIGHT]
    terms = np.concatenate([plain[:1], *bright, plain[1:], mirrored])
    bits = terms > _DEAD * np.sqrt((terms**2).mean(axis=1, keepdims=True))
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def _terms(image: np.ndarray, gain: float, places: np.ndarray) -> np.ndarray:
    """Cosine terms of the picture, or of parts of it, made brighter."""
    lit = image if gain == 1 else cv2.convertScaleAbs(image, alpha=gain, beta=0)
    grey = cv2.resize(cv2.cvtColor(lit, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    if len(places) == 1:
        return (_ONE @ grey @ _ONE.T)[*_BITS][None]
    return (_ALL @ grey @ _ALL.T).ravel()[places]


def signature(image: np.ndarray) -> bytes:
    """What of a picture is compared where hashes are near: SIGNATURE bytes, `thumbnail` and `fine`."""
    image = small(image)
    return thumbnail(image).tobytes() + fine(image).tobytes()


def thumbnail(image: np.ndarray) -> np.ndarray:
    """The picture as 32 x 32 RGB pixels, whatever its shape."""
    return cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA)


def fine(image: np.ndarray) -> np.ndarray:
    """What is finer than a thumbnail shows, as letters are: 80 x 80 grey levels, less the averages of 17 pixels of their row and of
    their column, in 15 steps of four bits. A line of text as such leaves nothing, its words do. Whole numbers throughout, so that
    every processor has the same."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (FINE, FINE), interpolation=cv2.INTER_AREA).astype(np.float64)
    row, column, square = (
        cv2.boxFilter(grey, -1, size, normalize=False, borderType=cv2.BORDER_REFLECT)
        for size in ((_AROUND, 1), (1, _AROUND), (_AROUND, _AROUND))
    )
    steps = np.searchsorted(_EDGES, _AROUND * (_AROUND * grey - row - column) + square).astype(np.uint8)
    return steps[:, ::2] << 4 | steps[:, 1::2]


@dataclass
class PerceptualHash(Stage):
    """What NearDedup compares: 38 hashes, a thumbnail and the fine structure, 6.6 kB a row.

    `phash` the whole picture, `phash_mirror` its mirror image, `phash_views` the other VIEWS (brighter by 1.25 and 1.5, 34
    crops), each 64 bits; `thumbnail` 32 x 32 RGB, 3,072 bytes, and after it 3,200 bytes of `fine`. The hashes of a picture of one
    colour are null.

    The hash is pHash's (https://www.phash.org), of the discrete cosine transform.
    """

    reads = ("image",)
    version = 4

    def adds(self) -> dict[str, pa.DataType]:
        return {
            "phash": pa.uint64(),
            "phash_mirror": pa.uint64(),
            "phash_views": pa.list_(pa.uint64()),
            "thumbnail": pa.large_binary(),
        }

    def costs(self, rows: int) -> list[Cost]:
        return [Cost("hashes and thumbnails, thrice", "3 x N x 6.6 kB", 3 * rows * 6_600, "B")]

    def run(self, live: pa.Table, pixels: list[np.ndarray]) -> pa.Table:
        shrunk = [small(image) for image in pixels]
        found = [hashes(image) for image in shrunk]
        columns = {
            "phash": [None if h is None else int(h[0]) for h in found],
            "phash_mirror": [None if h is None else int(h[-1]) for h in found],
            "phash_views": [None if h is None else h[1:-1] for h in found],
            "thumbnail": [signature(image) for image in shrunk],
        }
        return pa.table({name: pa.array(values, self.adds()[name]) for name, values in columns.items()})


def signatures(table: pa.Table) -> np.ndarray:
    """The stored signatures as (rows, SIGNATURE) bytes."""
    return np.frombuffer(b"".join(table["thumbnail"].to_pylist()), np.uint8).reshape(len(table), SIGNATURE)


def stacked(table: pa.Table) -> np.ndarray:
    """The stored hashes as one array: a row each, its VIEWS and as the last column its mirror image."""
    views = table["phash_views"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return np.column_stack([table["phash"].to_numpy(), views, table["phash_mirror"].to_numpy()])
