"""Whether two thumbnails show the same picture: alike as a whole, and different in no place."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from curate.dedup.phash import CROPS, THUMB, VIEWS, resample

_STEP, _GLANCES = 4_096, 1 << 20  # pairs compared at a time, and before that at a glance
_GAINS = (0.88, 0.94, 1.0, 1.06, 1.12)  # times that of a view: how much brighter a thumbnail is made before it is compared
_SHIFTS = (-0.125, 0.0, 0.125)  # of what a crop takes off: where else it is looked for
_BLUR = np.eye(THUMB) * 6 + np.eye(THUMB, k=1) + np.eye(THUMB, k=-1)
_BLUR = (_BLUR / _BLUR.sum(axis=1, keepdims=True)).astype(np.float32)  # what cutting a crop out of a thumbnail does to it
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_SHARE = 0.4  # of a picture's contrast: the least of the bounds where there is little to see, as of a small thing on white
_SLACK, _TRIED = (
    1.3,
    3,
)  # variants that differ at 8 x 8 pixels by less than so many times the bounds; how many are looked at closely


@dataclass(frozen=True)
class Same:
    """When two pictures are one.

    distance    bits of 64 in which their hashes may differ
    whole       the least correlation of their thumbnails, where one matches the other as it is
    view        the same, where it matches the other brightened or cropped
    tolerance   times the bounds on the difference of any place, once one is made as bright as the other: a star on a flag, the
                hands of a clock, a mouth. A place is 3 x 3 pixels of the thumbnails.
    """

    distance: int
    whole: float
    view: float
    tolerance: float

    def most(self, view: int) -> tuple[float, float]:
        """Levels by which a place may differ: in grey, and in any of its colours. JPEG spoils colours more than greys; what
        brightening clips, and where a crop was cut, are only known nearly."""
        grey, colour = (28, 28) if cropped(view) else (21, 24.5) if view else (14, 36)
        return grey * self.tolerance, colour * self.tolerance

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
    for low in range(0, len(one), _GLANCES):
        part = slice(low, low + _GLANCES)
        near = low + np.flatnonzero(_glance(first, second, one[part], other[part], view, mirrored[part], same))
        for start in range(0, len(near), _STEP):
            at = near[start : start + _STEP]
            b = _pictures(second, other[at])
            b = np.where(mirrored[at, None, None, None], b[..., ::-1], b)
            out[at] = _best(_pictures(first, one[at]), _BLUR @ b @ _BLUR.T if cropped(view) else b, view, same)
    return out


def _glance(
    first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray, view: int, mirrored: np.ndarray, same: Same
) -> np.ndarray:
    """Which pairs are worth a look at all: those whose view as it is differs by no more than twice the bounds at 8 x 8 pixels.
    Each picture is made that small once, in however many pairs it is."""
    middle, whole = len(_variants(view)) // 2, _coarse(0.0, 1.0)
    (rows, at), (others, to) = (np.unique(n, return_inverse=True) for n in (one, other))
    a = np.empty((len(rows), 3, 8, 8), np.float32)
    b = np.empty((len(others), 3, 8, 8), np.float32)
    for low in range(0, len(rows), _STEP):
        a[low : low + _STEP] = _small_variant(_pictures(first, rows[low : low + _STEP]), view, middle)
    soft = whole @ _BLUR if cropped(view) else whole
    for low in range(0, len(others), _STEP):
        b[low : low + _STEP] = soft @ _pictures(second, others[low : low + _STEP]) @ soft.T
    near, bounds = np.empty(len(one), bool), np.array(same.most(view))
    for low in range(0, len(one), _STEP):
        part = slice(low, low + _STEP)
        y = b[to[part]]
        y = np.where(mirrored[part, None, None, None], y[..., ::-1], y)
        near[part] = _excess(_left(a[at[part]], y), bounds) <= 2
    return near


def _pictures(thumbs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows, 3, 32, 32): rows of pixels by columns, colour first: one small matrix product a picture, so that a pair's value is
    the same in any company."""
    return np.ascontiguousarray(thumbs[rows].reshape(-1, THUMB, THUMB, 3).transpose(0, 3, 1, 2), np.float32)


def _best(a: np.ndarray, b: np.ndarray, view: int, same: Same) -> np.ndarray:
    """The likeness of each pair of pictures in the variant of the view that differs least."""
    best, least = np.zeros(len(a)), np.ones(len(a))
    bounds = np.array(same.most(view))
    for n, hope in enumerate(_hopes(a, b, view, bounds).T):
        at = np.flatnonzero(hope)
        x, y = _variant(a[at], view, n), b[at]
        plain = centred(y)
        alike = _cosines(centred(x), plain)
        good = alike >= same.least(view)
        at, alike = at[good], alike[good]
        most = np.minimum(bounds, _SHARE * same.tolerance * _contrast(plain[good])[:, None])
        excess = _excess(_places(_left(x[good], y[good])), np.maximum(most, 1e-9))
        less = excess <= least[at]
        best[at[less]], least[at[less]] = alike[less], excess[less]
    return best


def _hopes(a: np.ndarray, b: np.ndarray, view: int, bounds: np.ndarray) -> np.ndarray:
    """(pairs, variants of the view): which are worth a close look. At 8 x 8 pixels, at a tenth of the cost: the _TRIED that differ
    least, if they nearly keep to the bounds."""
    whole, variants = _coarse(0.0, 1.0), _variants(view)
    small = whole @ b @ whole.T
    excess = np.stack([_excess(_left(_small_variant(a, view, n), small), bounds) for n in range(len(variants))], axis=1)
    rank = np.argsort(np.argsort(excess, axis=1, kind="stable"), axis=1, kind="stable")
    return (excess <= _SLACK) & (rank < _TRIED)


def _small_variant(a: np.ndarray, view: int, n: int) -> np.ndarray:
    """A variant of a view, at 8 x 8 pixels."""
    change, whole = _variants(view)[n], _coarse(0.0, 1.0)
    return change[2] @ a @ change[3] if isinstance(change, tuple) else whole @ _variant(a, view, n) @ whole.T


@lru_cache(maxsize=512)
def _coarse(low: float, high: float) -> np.ndarray:
    return resample(low, high, THUMB, 8).astype(np.float32)


@lru_cache(maxsize=len(VIEWS))
def _variants(view: int) -> tuple:
    """What is tried of a view: gains, or of a crop the matrices that cut it out, in full and as 8 x 8 pixels."""
    gain, (top, bottom, left, _right) = VIEWS[view]
    if not cropped(view):
        return (np.float32(1),) if gain == 1 else tuple(np.float32(gain * more) for more in _GAINS)
    off = 1 - (bottom - top)
    tops, lefts = ([min(max(edge + shift * off, 0), off) for shift in _SHIFTS] for edge in (top, left))
    return tuple(
        (_cut(y, y + 1 - off), _cut(x, x + 1 - off).T, _coarse(y, y + 1 - off), _coarse(x, x + 1 - off).T)
        for y in tops
        for x in lefts
    )


def _cut(low: float, high: float) -> np.ndarray:
    return resample(low, high, THUMB, THUMB).astype(np.float32)


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


def _places(a: np.ndarray) -> np.ndarray:
    """Averages of all 3 x 3 pixels."""
    n = THUMB - 2
    return sum(a[..., y : y + n, x : x + n] for y in range(3) for x in range(3)) / 9


def _contrast(plain: np.ndarray) -> np.ndarray:
    """How far any place of a centred picture is from its mean, in levels."""
    return np.abs(_places(plain)).max(axis=(1, 2, 3), initial=0)


def _excess(left: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """For each pair how many times its bounds the largest of what is left is, in grey or in any colour."""
    grey = np.abs(np.einsum("pcyx,c->pyx", left, _GREY)).max(axis=(1, 2), initial=0)
    most = np.stack([grey, np.abs(left).max(axis=(1, 2, 3), initial=0)], axis=1)
    return (most / bounds).max(axis=1, initial=0)


def _left(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What is left of `b` without `a`, made as bright; in levels of the brighter one."""
    gain = (a * b).sum(axis=(1, 2, 3)) / np.maximum((a * a).sum(axis=(1, 2, 3)), 1.0)
    gain = np.maximum(gain, np.float32(0.01))[:, None, None, None]
    return (b - gain * a) / np.minimum(gain, np.float32(1))
