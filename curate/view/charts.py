"""Charts as SVG: histograms with bounds, sizes of groups by rank, values of groups as dots."""

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from curate.view.look import number
from curate.view.markup import macros

CHARTS = macros("charts.html")
WIDE, HIGH, FOOT = 340, 118, 16


def stacked(
    edges: Sequence[float],
    series: Sequence[tuple[str, Sequence[int]]],
    bounds: Iterable[float] = (),
    first: float | None = None,
) -> Markup:
    """A histogram: series (class, counts by bin) stacked, dashed lines at the bounds, the axis's ends and bounds named.

    `first` is the axis's left end where that says more than the first edge.
    """
    low, span = edges[0], (edges[-1] - edges[0]) or 1.0
    at = [(edge - low) / span * WIDE for edge in edges]
    totals = [sum(counts) for counts in zip(*(c for _, c in series))]
    order = [*sorted(totals, reverse=True), 0, 0]
    most = min(order[0], 3 * order[1] or order[0]) or 1  # one spike does not flatten all others
    columns, base = [], [0.0] * len(totals)
    for kind, counts in series:
        for i, n in enumerate(counts):
            if n:
                tall = min(max(0.6, n / most * HIGH), HIGH - base[i])
                columns.append((kind, at[i], HIGH - base[i] - tall, max(0.6, at[i + 1] - at[i] - 0.6), tall))
                base[i] += tall
    cuts = [(at[i], at[i + 1]) for i, n in enumerate(totals) if n > most]
    lines = [(min(max((b - low) / span * WIDE, 0.0), float(WIDE)), b) for b in bounds]
    ends = [(0.0, "start", edges[0] if first is None else first), (float(WIDE), "end", edges[-1])]
    for x, bound in lines:
        side = "start" if x < 12 else "end" if x > WIDE - 12 else "middle"
        ends = [end for end in ends if abs(end[0] - x) > 44] + [(x, side, bound)]
    labels = [(x, side, number(float(value))) for x, side, value in ends]
    return CHARTS.stacked(WIDE, HIGH, FOOT, columns, cuts, [x for x, _ in lines], labels)


def ranked(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]], what: str = "groups") -> Markup:
    """Sizes of groups by their rank from the largest on, before and after, as (rank, size); both axes logarithmic."""
    most, last = max([n for _, n in before] + [2]), max([r for r, _ in before] + [2])

    def points(sizes: Sequence[tuple[int, int]]) -> str:
        at = ((math.log(rank) / math.log(last) * WIDE, HIGH - math.log(n) / math.log(most) * HIGH) for rank, n in sizes if n)
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in at)

    return CHARTS.ranked(WIDE, HIGH, FOOT, points(before), points(after), f"the largest: {most:,} rows", f"{last:,} {what}")


def thinned(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Sizes from the largest to the smallest as (rank, size), ever fewer of them."""
    return [(i + 1, n) for i, n in enumerate(sorted((s for s in sizes if s), reverse=True)) if i < 40 or i % (1 + i // 40) == 0]


def dots(series: Sequence[tuple[str, Sequence[float]]], unit: str = "") -> Markup:
    """A line a group: its values as dots, their mean as a bar, named and in numbers. The axis begins at 0."""
    most = max((v for _, values in series for v in values), default=0) or 1.0
    x = lambda value: value / most * (WIDE - 8) + 2  # noqa: E731
    means = [sum(values) / len(values) for _, values in series]
    groups = [(name, f"{m:.2f} {unit}", x(m), [x(v) for v in values]) for m, (name, values) in zip(means, series)]
    return CHARTS.dots(WIDE, 30, groups)
