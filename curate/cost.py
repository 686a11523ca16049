"""Cost estimates of steps for `curate plan`: formulas in N, the number of rows, with their values where no run was measured."""

import math
from typing import NamedTuple

#: Assumptions where no run was measured: bytes of a fetched picture, dimensions of an embedding, and operations a second of a GPU
#: (comparison within clusters on one NVIDIA H200, pairs listed) and of a CPU core (benchmarks/dedup.py: 25 to 39 GFLOP/s at 10^5 to 10^7
#: vectors).
PICTURE, DIMENSIONS, FLOPS, CORE = 60_000, 768, 44e12, 30e9

#: Images and texts a second by CLIP architecture, forward passes alone, on one NVIDIA H200 (bfloat16, batches of 1024, 29 November 2026)
#: and on one CPU core (float32, batches of 8): benchmarks/details/gpu.md.
H200 = {"ViT-B-32": (32_970, 33_310), "ViT-L-14": (2_620, 20_300)}
ONE_CORE = {"ViT-B-32": (4.0, 6.8)}

#: Pictures that a core decodes and resizes in a second, 640x480 JPEGs: benchmarks/gpu.py.
DECODED = 148


class Cost(NamedTuple):
    """An estimated quantity with its formula and amount; unit: bytes (B), seconds (s), operations, or a number ("").

    linear: it is proportional to the rows, so a measured run of fewer rows gives a better estimate.
    """

    quantity: str
    formula: str
    amount: float
    unit: str = ""
    linear: bool = True


def model_time(rows: int, model: str = "", images: int = 0, texts: int = 0) -> list[Cost]:
    """The time that a model takes for `rows` rows on a GPU and on a core: so many images and texts a row through CLIP `model`
    (`ARCHITECTURE:TAG`); not known of other models."""
    architecture, found = model.split(":")[0].removesuffix("-quickgelu"), []
    for quantity, rates in (("time of an H200", H200), ("time of a core", ONE_CORE)):
        if architecture in rates:
            by_image, by_text = rates[architecture]
            each = images / by_image + texts / by_text
            found.append(Cost(quantity, f"N x {three_digits(1e6 * each)} µs", rows * each, "s"))
    return found or [Cost("time of the model", "no rate is known", math.nan, "s")]


def three_digits(value: float) -> str:
    """Format a number with three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


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
        Cost("time of an H200", f"sum / {FLOPS / 1e12:.0f} TFLOP/s", total / FLOPS, "s", False),
        Cost("time of a core", f"sum / {CORE / 1e9:.0f} GFLOP/s", total / CORE, "s", False),
    ]
