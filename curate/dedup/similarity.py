"""Whether two signatures (phash.signature) show one picture: their correlation, their largest local difference, their fine structure."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from curate.dedup.fine_structure import agree
from curate.dedup.phash import CROPS, THUMB, THUMB_BYTES, VIEWS, resample

_STEP, _CLOSE = 4_096, 512  # pairs compared at a time: at a tenth of the places, and at all
_GAINS = (0.88, 0.94, 1.0, 1.06, 1.12)  # times that of a view: how much brighter a thumbnail is made before it is compared
_SHIFTS = (-0.125, 0.0, 0.125)  # of what a crop takes off: where else it is looked for
_BLUR = np.eye(THUMB) * 6 + np.eye(THUMB, k=1) + np.eye(THUMB, k=-1)
_BLUR = (_BLUR / _BLUR.sum(axis=1, keepdims=True)).astype(np.float32)  # what cutting a crop out of a thumbnail does to it
_FEW = np.repeat(np.eye(10, dtype=np.float32), 3, axis=1) / 3  # a tenth of the places: averages of 3 x 3 pixels side by side
_FEW = np.pad(_FEW, ((0, 0), (1, 1)))
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_SHARE = 0.4  # of a picture's contrast: the least of the bounds where there is little to see, as of a small thing on white
# Times the bounds by which a view as it is, and a variant of it, may differ at a tenth of the places to be looked at further.
_PREFILTER, _SHORTLIST = 2.5, 1.15
_CONTRAST, _FAINT = 48.0, 8.0  # root mean square levels: what `toned` makes, and of what it makes no more
_VARIANTS_CHECKED = 3  # so many variants are looked at in all places


@dataclass(frozen=True)
class Bounds:
    """Bounds within which two pictures count as the same.

    distance    bits of 64 in which their hashes may differ
    whole       the least correlation of their thumbnails, where one matches the other as it is
    view        the same, where it matches the other brightened or cropped
    tolerance   times the bounds on the difference of any place, once one is made as bright as the other: a star on a flag, the
                hands of a clock, a mouth. A place is 3 x 3 pixels of the thumbnails.
    fine        the least correlation of their fine structure in any place (fine_structure.agree): other words in the same lines. Below -1
                it is not looked at.
    """

    distance: int
    whole: float
    view: float
    tolerance: float
    fine: float = 0.5

    def max_difference(self, view: int) -> tuple[float, float]:
        """Levels by which a place may differ: in grey, and in any of its colours. JPEG spoils colours more than greys; what
        brightening clips, and where a crop was cut, are only known nearly."""
        grey, colour = (28, 28) if cropped(view) else (21, 24.5) if view else (14, 36)
        return grey * self.tolerance, colour * self.tolerance

    def min_correlation(self, view: int) -> float:
        return self.view if view else self.whole


def cropped(view: int) -> bool:
    """Whether a view (phash.VIEWS) is a crop."""
    return view >= len(VIEWS) - len(CROPS)


def toned(rows: np.ndarray) -> np.ndarray:
    """Signatures with thumbnails in grey, of one mean and one contrast: without what colour, saturation and contrast say."""
    pixels = rows[:, :THUMB_BYTES].reshape(len(rows), THUMB * THUMB, 3).astype(np.int64)
    grey = pixels @ np.array([299, 587, 114])
    grey = grey - grey.mean(axis=1, keepdims=True)
    contrast = np.sqrt((grey**2).mean(axis=1, keepdims=True))
    grey = np.clip(np.rint(128 + _CONTRAST * grey / np.maximum(contrast, _FAINT * 1000)), 0, 255).astype(np.uint8)
    return np.concatenate([np.repeat(grey, 3, axis=1), rows[:, THUMB_BYTES:]], axis=1)


def similarity(
    first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray, view: int, mirrored: np.ndarray, bounds: Bounds
) -> np.ndarray:
    """For each pair of rows the correlation of a view of a thumbnail of `first` with a whole one of `second`, mirrored or not;
    0 where they are not the same. `first`, `second`: (rows, SIGNATURE) bytes of phash.signature.

    A tenth of the places tells most pairs apart: first those whose view as it is differs by far more than the bounds, then
    those of which no variant nearly keeps to them. Only what is left is looked at in all places, the nearest variant first. What is
    computed of a picture is computed once for all of its pairs; a pair's value is the same in any company.
    """
    out = np.zeros(len(one))
    limits, middle = np.array(bounds.max_difference(view)), len(_variants(view)) // 2
    wholes, to = np.unique(other * 2 + mirrored, return_inverse=True)
    soft = _FEW @ _BLUR if cropped(view) else _FEW
    features = _Features.join(
        [_sparse(_wholes(second, wholes[n : n + _STEP]), soft, soft.T) for n in range(0, len(wholes), _STEP)]
    )
    order = np.argsort(one, kind="stable")
    for low in range(0, len(one), _STEP):
        part = order[low : low + _STEP]
        rows, at = np.unique(one[part], return_inverse=True)
        pictures = _pictures(first, rows)
        near = np.flatnonzero(
            _compare(_sparse_variant(pictures, view, middle), at, features, to[part], limits)[1] <= _PREFILTER
        )
        part, (some, at) = part[near], np.unique(at[near], return_inverse=True)
        pictures = pictures[some]
        tried = [_sparse_variant(pictures, view, n) for n in range(len(_variants(view)))]
        excess = np.stack([_compare(t, at, features, to[part], limits)[1] for t in tried], axis=1)
        nearest = np.argsort(excess, axis=1, kind="stable")[:, :_VARIANTS_CHECKED]
        for variant in nearest.T:
            hope = np.flatnonzero((excess[np.arange(len(part)), variant] <= _SHORTLIST) & (out[part] == 0))
            for n in range(0, len(hope), _CLOSE):
                h = hope[n : n + _CLOSE]
                out[part[h]] = _full_correlation(pictures, at[h], variant[h], second, wholes[to[part[h]]], view, bounds)
    found = np.flatnonzero(out) if bounds.fine >= -1 else np.empty(0, np.int64)
    fine = (first[:, THUMB_BYTES:], second[:, THUMB_BYTES:])
    out[found[~agree(*fine, one[found], other[found], view, mirrored[found], bounds.fine)]] = 0
    return out


def _full_correlation(
    pictures: np.ndarray, at: np.ndarray, variant: np.ndarray, second: np.ndarray, wholes: np.ndarray, view: int, bounds: Bounds
) -> np.ndarray:
    """The correlation of each pair, seen in all places; 0 where it is not the same."""
    many = len(_variants(view))
    wanted, at = np.unique(variant * len(pictures) + at, return_inverse=True)
    n, rows = np.divmod(wanted, len(pictures))
    a = _Features.join([_dense(_variant(pictures[rows[n == v]], view, v)) for v in range(many) if (n == v).any()])
    wholes, to = np.unique(wholes, return_inverse=True)
    b = _wholes(second, wholes)
    b = _dense(_BLUR @ b @ _BLUR.T if cropped(view) else b)
    contrast = np.abs(b.places[:, 1:] - b.mean[:, None, None]).max(axis=(1, 2), initial=0)
    most = np.minimum(bounds.max_difference(view), _SHARE * bounds.tolerance * contrast[:, None])
    alike, excess = _compare(a, at, b, to, np.maximum(most, 1e-9)[to])
    return np.where((excess <= 1) & (alike >= bounds.min_correlation(view)), alike, 0)


@dataclass(frozen=True)
class _Features:
    """What of pictures is compared.

    levels  (pictures, size), less their `mean`; `power` is the sum of their squares
    places  (pictures, 4, places): averages of 3 x 3 pixels, in grey and in each colour
    """

    levels: np.ndarray
    mean: np.ndarray
    power: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, levels: np.ndarray, places: np.ndarray) -> "_Features":
        levels, places = (a.reshape(len(a), 3, a.shape[2] * a.shape[3]) for a in (levels, places))
        mean = levels.mean(axis=(1, 2))
        levels = levels.reshape(len(levels), 3 * levels.shape[2]) - mean[:, None]
        grey = sum(share * places[:, [n]] for n, share in enumerate(_GREY))
        return cls(levels, mean, np.vecdot(levels, levels), np.concatenate([grey, places], axis=1))

    @classmethod
    def join(cls, batches: list["_Features"]) -> "_Features":
        if len(batches) == 1:
            return batches[0]
        batches = batches or [_sparse(np.empty((0, 3, THUMB, THUMB), np.float32))]
        return cls(*(np.concatenate([getattr(p, f.name) for p in batches]) for f in fields(cls)))


def _sparse(pictures: np.ndarray, down: np.ndarray = _FEW, across: np.ndarray = _FEW.T) -> _Features:
    few = down @ pictures @ across
    return _Features.of(few, few)


def _sparse_variant(pictures: np.ndarray, view: int, n: int) -> _Features:
    """A variant at few places; of a crop without making the crop."""
    change = _variants(view)[n]
    return _sparse(pictures, *change[2:]) if isinstance(change, tuple) else _sparse(_variant(pictures, view, n))


def _dense(pictures: np.ndarray) -> _Features:
    n = THUMB - 2
    rows = pictures[..., :n, :] + pictures[..., 1 : n + 1, :] + pictures[..., 2:, :]
    return _Features.of(pictures, (rows[..., :n] + rows[..., 1 : n + 1] + rows[..., 2:]) / 9)


def _compare(a: _Features, at: np.ndarray, b: _Features, to: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pair the correlation, and how many times its bounds, in grey and in any colour, the most that a place of `b` differs
    from that of `a`, made as bright, in levels of the brighter one."""
    size = a.levels.shape[1]
    both = np.vecdot(a.levels[at], b.levels[to])
    alike = both / np.maximum(np.sqrt(a.power[at] * b.power[to]), 1)
    gain = (both + size * a.mean[at] * b.mean[to]) / np.maximum(a.power[at] + size * a.mean[at] ** 2, 1)
    gain = np.maximum(gain, np.float32(0.01))
    left = a.places[at]
    left *= gain[:, None, None]
    np.subtract(b.places[to], left, out=left)
    np.abs(left, out=left)
    most = np.stack([left[:, 0].max(axis=1, initial=0), left[:, 1:].max(axis=(1, 2), initial=0)], axis=1)
    return alike, (most / limits).max(axis=1, initial=0) / np.minimum(gain, 1)


def _pictures(thumbs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows, 3, 32, 32): rows of pixels by columns, colour first: one small matrix product a picture, so that a pair's value is
    the same in any company."""
    return np.ascontiguousarray(thumbs[rows, :THUMB_BYTES].reshape(-1, THUMB, THUMB, 3).transpose(0, 3, 1, 2), np.float32)


def _wholes(thumbs: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Pictures by twice their place, one more if mirrored."""
    rows, mirrored = np.divmod(wholes, 2)
    pictures = _pictures(thumbs, rows)
    return np.where(mirrored.astype(bool)[:, None, None, None], pictures[..., ::-1], pictures)


@lru_cache(maxsize=len(VIEWS))
def _variants(view: int) -> tuple:
    """What is tried of a view: gains, or of a crop the matrices that cut it out, whole and at few places."""
    gain, (top, bottom, left, _right) = VIEWS[view]
    if not cropped(view):
        return (np.float32(1),) if gain == 1 else tuple(np.float32(gain * more) for more in _GAINS)
    off = 1 - (bottom - top)
    tops, lefts = ([min(max(edge + shift * off, 0), off) for shift in _SHIFTS] for edge in (top, left))
    cuts = [(_cut(y, y + 1 - off), _cut(x, x + 1 - off).T) for y in tops for x in lefts]
    return tuple((down, across, _FEW @ down, across @ _FEW.T) for down, across in cuts)


def _cut(low: float, high: float) -> np.ndarray:
    return resample(low, high, THUMB, THUMB).astype(np.float32)


def _variant(a: np.ndarray, view: int, n: int) -> np.ndarray:
    change = _variants(view)[n]
    if isinstance(change, tuple):
        return change[0] @ a @ change[1]
    return a if change == 1 else np.minimum(a * change, 255)
