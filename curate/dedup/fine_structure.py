"""Whether two pictures share the fine structure that thumbnails average away: letters, strokes, patterns.

At 32 x 32 pixels a line of text is a grey bar, whatever it says. So what is finer than the thumbnail is kept besides (phash.fine), and
compared where both pictures have some. A picture without any, because it is smooth, blurred or tiny, agrees with all.
"""

from functools import lru_cache

import cv2
import numpy as np

from curate.dedup.phash import AROUND_MEAN, CROPS, FINE, FINE_LEVELS, VIEWS, resample

_BLOCK = FINE // 4  # the side of what is correlated around each pixel
_LEAST = 3.0  # grey levels: where either has less fine structure than this, root mean square, nothing is compared
_PLACES = (
    200  # so many of the 6,400 may correlate less: at the edge of a crop, where brightening clips, on a line that JPEG blurred
)
_MARGIN = 1  # pixels by which resizing may move a detail
_MOVES = sorted(((y, x) for y in range(3) for x in range(3)), key=lambda m: m != (_MARGIN, _MARGIN))  # first, not at all
_SEEK = 5  # pixels by which a crop may lie elsewhere than the view does,
_SCALES = (-0.03, -0.015, 0.0, 0.015, 0.03)  # and by which its sides may be longer


def agree(
    first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray, view: int, mirrored: np.ndarray, least: float
) -> np.ndarray:
    """For each pair whether a view (phash.VIEWS) of a row of `first` and a row of `second`, mirrored or not, correlate by `least` or more
    in nearly every place where both have fine structure. `first`, `second`: (rows, FINE_BYTES) of phash.fine."""
    found = np.ones(len(one), bool)
    for n, (i, j, m) in enumerate(zip(one.tolist(), other.tolist(), mirrored.tolist())):
        a, b = unpacked(first[i]), unpacked(second[j])
        found[n] = _alike(a, b[:, ::-1] if m else b, view, least)
    return found


def unpacked(row: np.ndarray) -> np.ndarray:
    """A row of phash.fine as (FINE, FINE) grey levels above or below the surroundings."""
    return FINE_LEVELS[np.stack([row >> 4, row & 15], axis=1).ravel()].reshape(FINE, FINE)


def _alike(a: np.ndarray, b: np.ndarray, view: int, least: float) -> bool:
    a, b = _aligned(a, b, view)
    power, powers = _mean(a * a), _mean(b * b)
    wrong = np.minimum(power, _shifted(powers, _MARGIN, _MARGIN)) >= _LEAST**2
    for y, x in _MOVES:
        if np.count_nonzero(wrong) < _PLACES:
            return True
        wrong &= _mean(a * _shifted(b, y, x)) < least * np.sqrt(np.maximum(power * _shifted(powers, y, x), 0))
    return bool(np.count_nonzero(wrong) < _PLACES)


def _mean(a: np.ndarray) -> np.ndarray:
    return cv2.blur(a, (_BLOCK, _BLOCK), borderType=cv2.BORDER_CONSTANT)


def _shifted(b: np.ndarray, y: int, x: int) -> np.ndarray:
    return np.ascontiguousarray(b[y : y + FINE, x : x + FINE])


def _aligned(a: np.ndarray, b: np.ndarray, view: int) -> tuple[np.ndarray, np.ndarray]:
    """The view of `a`, and `b` with a margin around it, moved to where they correlate most."""
    cuts = _cuts(view)
    seek = _SEEK if cuts else _MARGIN
    wide = cv2.copyMakeBorder(np.ascontiguousarray(b), seek, seek, seek, seek, cv2.BORDER_CONSTANT)
    best = (-np.inf, a, (0, 0))
    for down, across in cuts or ((None, None),):
        view_of = a if down is None else down @ a @ across
        _, alike, _, at = cv2.minMaxLoc(cv2.matchTemplate(wide, view_of, cv2.TM_CCORR))
        best = max(best, (alike / max(float(np.linalg.norm(view_of)), 1e-6), view_of, at), key=lambda t: t[0])
    _, a, (x, y) = best
    wide = cv2.copyMakeBorder(wide, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_CONSTANT)
    side = FINE + 2 * _MARGIN
    return a, np.ascontiguousarray(wide[y : y + side, x : x + side])


@lru_cache(maxsize=len(VIEWS))
def _cuts(view: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The matrices that cut a crop out, a bit larger or smaller; none for a view of the whole."""
    if view < len(VIEWS) - len(CROPS):
        return ()
    top, bottom, left, right = VIEWS[view][1]
    return tuple((_cut(top, bottom, s), _cut(left, right, s).T) for s in _SCALES)


def _cut(low: float, high: float, longer: float) -> np.ndarray:
    side = (high - low) * (1 + longer)
    low = min(max((low + high - side) / 2, 0), 1 - side)
    cut = resample(low, low + side, FINE, FINE)
    return (cut - AROUND_MEAN @ cut).astype(np.float32)
