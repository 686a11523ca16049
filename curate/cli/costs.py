"""What a recipe costs at a size of pool: formulas of the rows, and what they come to. Orders of magnitude, to plan with."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from curate.recipe import Recipe
from curate.reporting.look import plain, size

#: What is assumed: bytes of a picture as fetched, dimensions of an embedding, GPU work a second that is sustained (half
#: precision), and bytes a row of the ledger and a record of a commit take.
PICTURE, DIMENSIONS, FLOPS, LEDGER_ROW, RECORD = 60_000, 768, 100e12, 400, 300

#: Seconds of a core for a row in cheap rules, selection, ledger and plan: benchmarks/scale.py at 10^6 and 10^7 rows.
ROW = 21e-6

#: Steps that cluster vectors: K = 4 √N clusters, FAISS's 64 points each, 20 iterations.
CLUSTERING = ("SemanticDedup", "ClusterBalance", "ImageBased")


@dataclass(frozen=True)
class Cost:
    """A quantity, its formula in N (rows), and its value in words."""

    quantity: str
    formula: str
    value: str


def costs(recipe: Recipe, rows: int, part_size: int = 10_000) -> list[Cost]:
    """The costs of a recipe for a pool of `rows` images, of which all reach every step: an upper bound."""
    return [*_always(recipe, rows, part_size), *_by_step(recipe, rows)]


def _always(recipe: Recipe, n: int, part: int) -> Iterator[Cost]:
    parts, stages = math.ceil(n / part), len(recipe.steps)
    yield Cost("parts", f"N / {part:,}", f"{parts:,}")
    yield Cost("commits", "parts x steps", f"{parts * stages:,}")
    yield Cost("commit records, listed", f"commits x {RECORD} B", size(parts * stages * RECORD))
    yield Cost("ledger", f"N x {LEDGER_ROW} B", size(n * LEDGER_ROW))
    yield Cost("rules without pixels, selection, ledger: core time", f"N x {ROW * 1e6:.0f} µs", _span(n * ROW))
    if recipe.shards:
        yield Cost("shards", f"N / {recipe.shards.size:,}", f"{math.ceil(n / recipe.shards.size):,}")
        yield Cost("bytes in the shards", f"N x {PICTURE // 1000} kB", size(n * PICTURE))


def _by_step(recipe: Recipe, n: int) -> Iterator[Cost]:
    for step in recipe.steps:
        kind = type(step).__name__
        if kind == "Fetch":
            yield Cost(f"{step.name}: fetched and parked", f"N x {PICTURE // 1000} kB", size(n * PICTURE))
            yield Cost(f"{step.name}: time at 1 Gbit/s", "bytes / 125 MB/s", _span(n * PICTURE / 125e6))
        elif kind == "ClipEmbed":
            yield Cost(f"{step.name}: embeddings, float16", "N x (2 x 2D + 44) B", size(n * (4 * DIMENSIONS + 44)))
        elif kind == "ExactDedup":
            yield Cost(f"{step.name}: keys", "28 N B", size(28 * n))
        elif kind == "Balance":
            yield Cost(f"{step.name}: matches", "3.5 N x 8 B", size(28 * n))
        elif kind in CLUSTERING:
            yield from _clusters(step.name, n)


def _clusters(name: str, n: int) -> Iterator[Cost]:
    """Spherical k-means and exact blocks: the formulas of SemDeDup's design (2303.09540) with K growing as the root of N."""
    k, d = max(1, round(4 * math.sqrt(n))), DIMENSIONS
    train, inside = 40 * 64 * k * k * d, n * (n / k) * d
    flat, levels = 2 * n * k * d, 4 * n * math.sqrt(k) * d
    yield Cost(f"{name}: clusters K", "4 √N", f"{k:,}")
    yield Cost(f"{name}: k-means, operations", "40 x 64 K² D", f"{train:.3g}")
    yield Cost(f"{name}: assignment, operations", "2 N K D", f"{flat:.3g}")
    yield Cost(f"{name}: in two levels", "4 N √K D", f"{levels:.3g}")
    yield Cost(f"{name}: within clusters, operations", "N (N / K) D", f"{inside:.3g}")
    yield Cost(
        f"{name}: GPU time",
        f"sum / {FLOPS / 1e12:.0f} TFLOP/s",
        f"{_span((train + flat + inside) / FLOPS)}; {_span((train + levels + inside) / FLOPS)} in two levels",
    )


def _span(seconds: float) -> str:
    for unit, each in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * each:
            return f"{seconds / each:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.1 else "below 0.1 s"


def as_text(recipe: Recipe, rows: int, part_size: int = 10_000) -> str:
    """The costs as a table, and what they assume."""
    lines = [(c.quantity, c.formula, c.value) for c in costs(recipe, rows, part_size)]
    return "\n".join(
        [
            f"at N = {rows:,} rows, if all of them reach every step:",
            plain(("quantity", "formula", "comes to"), lines),
            f"assumed: {PICTURE // 1000} kB a picture, D = {DIMENSIONS}; orders of magnitude, to plan with",
        ]
    )
