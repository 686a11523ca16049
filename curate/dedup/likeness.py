"""Whether two thumbnails show the same picture: alike as a whole, and different in no place."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from curate.dedup.phash import CROPS, THUMB, VIEWS, resample

_STEP = 4_096  # pairs compared at a time
_GAINS = (0.88, 0.94, 1.0, 1.06, 1.12)  # times that of a view: how much brighter a thumbnail is made before it is compared
_SHIFTS = (-0.125, 0.0, 0.125)  # of what a crop takes off: where else it is looked for
_BLUR = np.eye(THUMB) * 6 + np.eye(THUMB, k=1) + np.eye(THUMB, k=-1)
_BLUR /= _BLUR.sum(axis=1, keepdims=True)  # what cutting a crop out of a thumbnail does to it
_PLAIN = 0.8  # of the difference: what is allowed where nothing was cut or brightened
_HOPE = 0.1  # a crop is looked for elsewhere if it correlates so little worse than it must


@dataclass(frozen=True)
class Same:
    """When two pictures are one.

    distance    bits of 64 in which their hashes may differ
    whole       the least correlation of their thumbnails, where one matches the other as it is
    view        the same, where it matches the other brightened or cropped
    difference  grey levels by which any colour of any 3 x 3 pixels of the thumbnails may differ on average, once brightness and
                contrast are made the same: a star on a flag, the hands of a clock, a mouth
    """

    distance: int
    whole: float
    view: float
    difference: float

    def most(self, view: int) -> float:
        return self.difference if view else self.difference * _PLAIN

    def least(self, view: int) -> float:
        return self.view if view else self.whole


def cropped(view: int) -> bool:
    """Whether a view (phash.VIEWS) is a crop."""
    return view >= len(VIEWS) - len(CROPS)


def likeness(
    first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray, view: int, mirrored: np.ndarray, same: Same
) -> np.ndarray:
    """For each pair of places the correlation of a view of a thumbnail of `first` with a whole one of `second`; 0 where they
    are not the same."""
    out = np.zeros(len(one))
    for low in range(0, len(one), _STEP):
        part = slice(low, low + _STEP)
        # Rows of pixels by columns, colour first: one small matrix product a picture, so that a pair's value is the same
        # in any company.
        a, b = (
            thumbs[rows[part]].reshape(-1, THUMB, THUMB, 3).transpose(0, 3, 1, 2).astype(np.float64)
            for thumbs, rows in ((first, one), (second, other))
        )
        b = np.where(mirrored[part, None, None, None], b[..., ::-1], b)
        b = centred(_BLUR @ b @ _BLUR.T if cropped(view) else b)
        hope = np.arange(len(a))
        if cropped(view):
            hope = np.flatnonzero(_cosines(centred(_variant(a, view, 4)), b) >= same.view - _HOPE)
        out[low + hope] = _best(a[hope], b[hope], view, same)
    return out


def _best(a: np.ndarray, b: np.ndarray, view: int, same: Same) -> np.ndarray:
    """The likeness of each pair of pictures in the variant of the view that differs least."""
    best, least = np.zeros(len(a)), np.full(len(a), np.inf)
    for n in range(len(_variants(view))):
        x = centred(_variant(a, view, n))
        alike = _cosines(x, b)
        good = np.flatnonzero(alike >= same.least(view))
        differ = _differences(x[good], b[good])
        good, differ = good[differ < least[good]], differ[differ < least[good]]
        best[good], least[good] = alike[good], differ
    return np.where(least <= same.most(view), best, 0)


@lru_cache(maxsize=len(VIEWS))
def _variants(view: int) -> tuple:
    """What is tried of a view: gains, or the two matrices of a crop. Of a crop the fifth is the crop itself."""
    gain, (top, bottom, left, _right) = VIEWS[view]
    if not cropped(view):
        return (1.0,) if gain == 1 else tuple(gain * more for more in _GAINS)
    off = 1 - (bottom - top)
    tops, lefts = ([min(max(edge + shift * off, 0), off) for shift in _SHIFTS] for edge in (top, left))
    return tuple(
        (resample(y, y + 1 - off, THUMB, THUMB), resample(x, x + 1 - off, THUMB, THUMB).T) for y in tops for x in lefts
    )


def _variant(a: np.ndarray, view: int, n: int) -> np.ndarray:
    change = _variants(view)[n]
    if isinstance(change, tuple):
        return change[0] @ a @ change[1]
    return a if change == 1 else np.minimum(a * change, 255)


def centred(a: np.ndarray) -> np.ndarray:
    """Pictures less their mean level."""
    return a - a.mean(axis=(1, 2, 3), keepdims=True)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlations of centred pictures, pair by pair; 0 where one of them has no contrast."""
    size = np.sqrt((a * a).sum(axis=(1, 2, 3)) * (b * b).sum(axis=(1, 2, 3)))
    return (a * b).sum(axis=(1, 2, 3)) / np.maximum(size, 1.0)


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest difference of 3 x 3 pixels on average, in levels of the picture with more contrast."""
    sizes = [np.maximum(np.sqrt((x * x).sum(axis=(1, 2, 3), keepdims=True)), 1.0) for x in (a, b)]
    left = (a / sizes[0] - b / sizes[1]) * np.maximum(*sizes)
    n = THUMB - 2
    boxes = sum(left[:, :, y : y + n, x : x + n] for y in range(3) for x in range(3)) / 9
    return np.abs(boxes).max(axis=(1, 2, 3), initial=0)
