"""Cost estimates of steps for `curate plan`: formulas in N, the number of rows, with their values where no run was measured."""

import math
from typing import NamedTuple

#: Assumptions where no run was measured: bytes of a fetched picture, dimensions of an embedding, and operations a second of a GPU
#: (half precision, sustained) and of a CPU core (benchmarks/dedup.py: 25 to 39 GFLOP/s at 10^5 to 10^7 vectors).
PICTURE, DIMENSIONS, FLOPS, CORE = 60_000, 768, 100e12, 30e9


class Cost(NamedTuple):
    """An estimated quantity with its formula and amount; unit: bytes (B), seconds (s), operations, or a number ("").

    linear: it is proportional to the rows, so a measured run of fewer rows gives a better estimate.
    """

    quantity: str
    formula: str
    amount: float
    unit: str = ""
    linear: bool = True


def clustering(rows: int, clusters: int, probes: int = 0) -> list[Cost]:
    """The cost of spherical k-means (64 points a cluster, 20 rounds) and assignment; with `probes` also of the comparisons within each
    row's nearest clusters. clusters: 0 is SemanticDedup's default."""
    n, k, d = rows, clusters or max(1, round(math.sqrt(2 * rows))), DIMENSIONS
    work = {"k-means": ("40 x 64 K² D", 40 * 64 * k * k * d), "assignment": ("2 N K D", 2 * n * k * d)}
    if probes:
        work["within clusters"] = (f"{probes * probes} N (N / K) D", probes * probes * n * (n / k) * d)
    total = sum(operations for _, operations in work.values())
    return [
        Cost("clusters K", "as given" if clusters else "√(2 N)", k, linear=False),
        *(Cost(f"{what}, operations", formula, n, "operations", False) for what, (formula, n) in work.items()),
        Cost("time of a GPU", f"sum / {FLOPS / 1e12:.0f} TFLOP/s", total / FLOPS, "s", False),
        Cost("time of a core", f"sum / {CORE / 1e9:.0f} GFLOP/s", total / CORE, "s", False),
    ]
