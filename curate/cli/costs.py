"""What a recipe costs at a size of pool: formulas of the rows and what they come to, from what a run of it took where there is one."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from curate.recipe import Recipe
from curate.runner.preflight import settle
from curate.stage import Stage
from curate.store.atomic import Store
from curate.store.folder import Role
from curate.store.folder import sizes as sizes_of
from curate.store.inputs import run_record
from curate.view.look import plain, size

#: What is assumed where no run says it: bytes of a picture as fetched, dimensions of an embedding, and operations a second: of a GPU
#: (half precision, sustained), and of a core (benchmarks/dedup.py: 25 to 39 at 10^5 to 10^7 vectors).
PICTURE, DIMENSIONS, FLOPS, CORE = 60_000, 768, 100e12, 30e9

#: Seconds of a core for a row in cheap rules, selection, ledger and plan: benchmarks/scale.py at 10^6 and 10^7 rows.
ROW = 25e-6

#: Parts of a run that are looked at, spread over all of them.
PARTS = 400


@dataclass(frozen=True)
class Cost:
    """A quantity, its formula in N (rows), and its value in words."""

    quantity: str
    formula: str
    value: str


@dataclass(frozen=True)
class Rates:
    """What a run took for each row of its pool (for each page, of a pool of pages).

    seconds   of workers, by stage; of the whole machine, by selector that decided in the last visit
    bytes     by what holds them: source, columns (of all stages), parked, decisions (also where each sample goes), ledger, shards,
              and `until gc` (what selectors read and the plan of the shards)
    kept      share of the rows that became samples
    """

    run: str
    rows: int
    seconds: dict[str, float]
    bytes: dict[str, float]
    kept: float


def measured(store: Store, recipe: Recipe) -> Rates | None:
    """The rates of a finished run of this recipe, or of another one over the same stages; None if there is no ledger."""
    record = run_record(store) or {}
    if record.get("state") != "finished":
        return None
    rows = sum(i["rows"].get("documents", i["rows"].get("images", 0)) for i in record["inputs"] if "rows" in i)
    if not rows:
        return None
    settle(recipe, record)
    folders = store.names("parts")
    some = folders[:: max(1, math.ceil(len(folders) / PARTS))]
    seconds, held = _parts(store, recipe, some)
    scale = len(folders) / max(len(some), 1) / rows
    below: Counter[str] = Counter()
    for name, n in sizes_of(store, Role.DERIVED, Role.SHOWN):
        below[name.split("/")[0]] += n / rows
    kept = json.loads(store.read("dataset.json"))["samples"] if store.exists("dataset.json") else 0
    return Rates(
        store.url,
        rows,
        {k: v * scale for k, v in seconds.items()} | _decided(record, recipe, rows),
        {k: v * scale for k, v in held.items()}
        | {"decisions": sum(below[f] for f in ("decisions", "assigned"))}
        | {"ledger": below["ledger"], "shards": below["shards"], "until gc": below["gathered"] + below["planned"]},
        kept / rows,
    )


def _decided(record: dict[str, Any], recipe: Recipe, rows: int) -> dict[str, float]:
    """Seconds by selector of the recipe that decided there; the run may be one of another recipe."""
    prints = {s["step"]: s["fingerprint"] for s in record["steps"]}
    return {k: d["seconds"] / rows for k, d in record.get("decided", {}).items() if recipe.fingerprints.get(k) == prints[k]}


def _parts(store: Store, recipe: Recipe, folders: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by stage, and bytes of what came in, of columns and of payloads, of these parts."""
    stages = [s for s in recipe.steps if isinstance(s, Stage)]
    seconds: dict[str, float] = {}  # of the stages with commits there
    held = {"source": 0.0, "columns": 0.0, "parked": 0.0}
    for folder in folders:
        sizes = store.sizes(f"parts/{folder}")
        held["source"] += sum(n for name, n in sizes.items() if name.startswith("source."))
        held["parked"] += sum(n for name, n in sizes.items() if name.endswith(".tar"))
        for stage in stages:
            head = f"{stage.table}.{stage.name}-" + ("" if stage.context else f"{recipe.fingerprints[stage.name]}.")
            for name in (n for n in sizes if n.startswith(head)):
                held["columns"] += sizes[name]
                with store.open(f"parts/{folder}/{name}") as f:
                    note = (pq.ParquetFile(f).schema_arrow.metadata or {}).get(b"curate", b"{}")
                seconds[stage.name] = seconds.get(stage.name, 0.0) + json.loads(note).get("seconds", 0.0)
    return seconds, held


def costs(recipe: Recipe, rows: int, part_size: int = 10_000, rates: Rates | None = None) -> list[Cost]:
    """The costs of a recipe for a pool of `rows`: at the rates of a run, else for rows of which all reach every step (an upper
    bound)."""
    n, stages = rows, sum(isinstance(s, Stage) for s in recipe.steps)
    parts = math.ceil(n / part_size)
    found = [Cost("parts", f"N / {part_size:,}", f"{parts:,}"), Cost("commits", "parts x stages", f"{parts * stages:,}")]
    found += _as_measured(recipe, n, rates) if rates else _assumed(recipe, n)
    for step in recipe.steps:
        if hasattr(step, "centroids"):
            found += _clusters(step, n)
    return found


def _as_measured(recipe: Recipe, n: int, rates: Rates) -> Iterator[Cost]:
    for name, each in rates.bytes.items():
        if each and name != "shards":
            yield Cost(f"bytes: {name}", f"N x {_plain(each)} B", size(n * each))
    if recipe.shards:
        samples = n * rates.kept
        yield Cost("samples", f"N x {rates.kept:.3g}", f"{samples:,.0f}")
        yield Cost("shards", f"samples / {recipe.shards.size:,}", f"{math.ceil(samples / recipe.shards.size):,}")
        yield Cost("bytes: shards", f"N x {_plain(rates.bytes['shards'])} B", size(n * rates.bytes["shards"]))
    for step in recipe.steps:
        each = rates.seconds.get(step.name)
        if each is None:
            yield Cost(f"time: {step.name}", "not measured", "not known")
        elif each >= 1e-7:
            yield Cost(f"time: {step.name}", f"N x {_plain(1e6 * each)} µs", _span(n * each))


def _plain(value: float) -> str:
    """Three digits, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _assumed(recipe: Recipe, n: int) -> Iterator[Cost]:
    yield Cost("time: rules without pixels, selection, ledger", f"N x {ROW * 1e6:.0f} µs", _span(n * ROW))
    if recipe.shards:
        yield Cost("shards", f"N / {recipe.shards.size:,}", f"{math.ceil(n / recipe.shards.size):,}")
        yield Cost("bytes: shards", f"N x {PICTURE // 1000} kB", size(n * PICTURE))
    for step in recipe.steps:
        kind = type(step).__name__
        if kind == "Fetch":
            yield Cost(f"{step.name}: fetched and parked", f"N x {PICTURE // 1000} kB", size(n * PICTURE))
            yield Cost(f"{step.name}: time at 1 Gbit/s", "bytes / 125 MB/s", _span(n * PICTURE / 125e6))
        elif kind == "ClipEmbed":
            yield Cost(f"{step.name}: embeddings, float16", "N x (2 x 2D + 44) B", size(n * (4 * DIMENSIONS + 44)))
        elif kind == "PerceptualHash":
            yield Cost(f"{step.name}: hashes and thumbnails, thrice", "3 x N x 6.6 kB", size(3 * n * 6_600))
        elif kind == "ExactDedup":
            yield Cost(f"{step.name}: keys", "28 N B", size(28 * n))
        elif kind == "Balance":
            yield Cost(f"{step.name}: matches", "3.5 N x 8 B", size(28 * n))


def _clusters(step: Any, n: int) -> Iterator[Cost]:
    """Spherical k-means (64 points a cluster, 20 rounds) and assignment; of SemanticDedup the comparisons within clusters."""
    given = step.clusters[0] if isinstance(step.clusters, tuple) else step.clusters
    k, d, name = given or max(1, round(math.sqrt(2 * n))), DIMENSIONS, step.name
    yield Cost(f"{name}: clusters K", "as given" if given else "√(2 N)", f"{k:,}")
    work = {"k-means": ("40 x 64 K² D", 40 * 64 * k * k * d), "assignment": ("2 N K D", 2 * n * k * d)}
    if probes := getattr(step, "probes", 0):
        work["within clusters"] = (f"{probes * probes} N (N / K) D", probes * probes * n * (n / k) * d)
    for what, (formula, operations) in work.items():
        yield Cost(f"{name}: {what}, operations", formula, f"{operations:.3g}")
    total = sum(operations for _, operations in work.values())
    yield Cost(f"{name}: time of a GPU", f"sum / {FLOPS / 1e12:.0f} TFLOP/s", _span(total / FLOPS))
    yield Cost(f"{name}: time of a core", f"sum / {CORE / 1e9:.0f} GFLOP/s", _span(total / CORE))


def _span(seconds: float) -> str:
    for unit, each in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * each:
            return f"{seconds / each:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.1 else "below 0.1 s"


def as_text(recipe: Recipe, rows: int, part_size: int = 10_000, rates: Rates | None = None) -> str:
    """The costs as a table, and what they rest on."""
    lines = [(c.quantity, c.formula, c.value) for c in costs(recipe, rows, part_size, rates)]
    if rates:
        head = f"at N = {rows:,} rows like the {rates.rows:,} of {rates.run}:"
        foot = (
            "times of stages are seconds of workers (of one core, or of waiting where a stage fetches), those of selectors of that machine; "
            f"a run also takes seconds to start{f'; clusters: D = {DIMENSIONS}' if any(': clusters K' in c[0] for c in lines) else ''}"
        )
    else:
        head = f"at N = {rows:,} rows, if all of them reach every step:"
        foot = (
            f"assumed: {PICTURE // 1000} kB a picture, D = {DIMENSIONS}; orders of magnitude, to plan with. Run a part of the pool, "
            "and say -o RUN: then rates are those of that run"
        )
    return "\n".join([head, plain(("quantity", "formula", "comes to"), lines), foot])
