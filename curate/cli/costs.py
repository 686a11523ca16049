"""Cost estimates of a recipe for a pool of N rows: formulas and amounts, at the measured rates of a run where there is one."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from curate.cost import DECODED, DIMENSIONS, PICTURE, Cost, three_digits
from curate.recipe import Recipe, segments
from curate.runner.preflight import settle
from curate.stage import Stage
from curate.store.atomic import Store
from curate.store.folder import PARTS, WORK, Role
from curate.store.folder import sizes as sizes_of
from curate.store.inputs import run_record
from curate.view.look import plain, size

#: Core seconds a row for cheap rules, selection, ledger and plan: benchmarks/scale.py at 10^6 and 10^7 rows.
ROW_SECONDS = 25e-6

#: Seconds of the driver for each task that it sends on Ray and whose result it takes: benchmarks/scale.py --dispatch.
DISPATCH = 2e-3

#: Pools whose costs are shown beside those of N rows.
LARGE = (10**9, 10**10)

#: Parts of a run that are sampled, evenly spaced.
SAMPLED_PARTS = 400


@dataclass(frozen=True)
class Rates:
    """Measured rates of a run, for each row of its pool (for each page, of a pool of pages).

    seconds   of workers, by stage; of the whole machine, by selector computed in the last visit
    bytes     by kind of file: source, columns (of all stages), payloads, decisions (with the assignment of samples), ledger, shards,
              and `until gc` (the selectors' inputs and the plan of the shards)
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
    folders = store.names(PARTS)
    sampled = folders[:: max(1, math.ceil(len(folders) / SAMPLED_PARTS))]
    seconds, stored = _sample_parts(store, recipe, sampled)
    scale = len(folders) / max(len(sampled), 1) / rows
    below: Counter[str] = Counter()
    for name, n in sizes_of(store, Role.DERIVED, Role.SHOWN):
        below[name.removeprefix(f"{WORK}/").split("/")[0]] += n / rows
    kept = json.loads(store.read("dataset.json"))["samples"] if store.exists("dataset.json") else 0
    return Rates(
        store.url,
        rows,
        {k: v * scale for k, v in seconds.items()} | _selector_seconds(record, recipe, rows),
        {k: v * scale for k, v in stored.items()}
        | {"decisions": sum(below[f] for f in ("decisions", "assigned"))}
        | {"ledger": below["ledger"], "shards": below["shards"], "until gc": below["gathered"] + below["planned"]},
        kept / rows,
    )


def _selector_seconds(record: dict[str, Any], recipe: Recipe, rows: int) -> dict[str, float]:
    """Seconds a row by selector of the recipe that the run computed; the run may be of another recipe."""
    prints = {s["step"]: s["fingerprint"] for s in record["steps"]}
    return {k: d["seconds"] / rows for k, d in record.get("decided", {}).items() if recipe.fingerprints.get(k) == prints[k]}


def _sample_parts(store: Store, recipe: Recipe, folders: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by stage, and bytes of sources, columns and payloads, in these parts."""
    stages = [s for s in recipe.steps if isinstance(s, Stage)]
    seconds: dict[str, float] = {}  # of the stages with commits there
    stored = {"source": 0.0, "columns": 0.0, "payloads": 0.0}
    for folder in folders:
        sizes = store.sizes(f"{PARTS}/{folder}")
        stored["source"] += sum(n for name, n in sizes.items() if name.startswith("source."))
        stored["payloads"] += sum(n for name, n in sizes.items() if name.endswith(".tar"))
        for stage in stages:
            head = f"{stage.table}.{stage.name}-" + ("" if stage.context else f"{recipe.fingerprints[stage.name]}.")
            for name in (n for n in sizes if n.startswith(head)):
                stored["columns"] += sizes[name]
                with store.open(f"{PARTS}/{folder}/{name}") as f:
                    note = (pq.ParquetFile(f).schema_arrow.metadata or {}).get(b"curate", b"{}")
                seconds[stage.name] = seconds.get(stage.name, 0.0) + json.loads(note).get("seconds", 0.0)
    return seconds, stored


def costs(recipe: Recipe, rows: int, part_size: int = 10_000, rates: Rates | None = None) -> list[Cost]:
    """The costs of a recipe for a pool of `rows`: at the rates of a run, else as if all rows reached every step (an upper bound)."""
    stages, parts, tasks = sum(isinstance(s, Stage) for s in recipe.steps), math.ceil(rows / part_size), visits(recipe)
    result = [
        Cost("parts", f"N / {part_size:,}", parts),
        Cost("commits", "parts x stages", parts * stages),
        Cost("tasks over parts", f"parts x {tasks}", parts * tasks),
        Cost("time: the driver sends tasks", f"tasks x {1000 * DISPATCH:g} ms", parts * tasks * DISPATCH, "s"),
    ]
    result += _measured_costs(recipe, rows, rates) if rates else _assumed_costs(recipe, rows)
    each = [(step.name, cost) for step in recipe.steps for cost in step.costs(rows) if not (rates and cost.linear)]
    return result + [cost._replace(quantity=f"{name}: {cost.quantity}") for name, cost in each]


def visits(recipe: Recipe) -> int:
    """The tasks that look at each part: one a segment, one a block of selectors without stages, and one for the ledger."""
    return 1 + sum(len(segments(stages)) or bool(selectors) for stages, selectors in recipe.blocks())


def _measured_costs(recipe: Recipe, n: int, rates: Rates) -> Iterator[Cost]:
    for name, each in rates.bytes.items():
        if each and name != "shards":
            yield Cost(f"bytes: {name}", f"N x {three_digits(each)} B", n * each, "B")
    if recipe.shards:
        samples = n * rates.kept
        yield Cost("samples", f"N x {rates.kept:.3g}", samples)
        yield Cost("shards", f"samples / {recipe.shards.size:,}", math.ceil(samples / recipe.shards.size))
        yield Cost("bytes: shards", f"N x {three_digits(rates.bytes['shards'])} B", n * rates.bytes["shards"], "B")
    for step in recipe.steps:
        each = rates.seconds.get(step.name)
        if each is None:
            yield Cost(f"time: {step.name}", "not measured", math.nan, "s")
        elif each >= 1e-7:
            yield Cost(f"time: {step.name}", f"N x {three_digits(1e6 * each)} µs", n * each, "s")


def _assumed_costs(recipe: Recipe, n: int) -> Iterator[Cost]:
    yield Cost("time: rules without pixels, selection, ledger", f"N x {ROW_SECONDS * 1e6:.0f} µs", n * ROW_SECONDS, "s")
    if any(isinstance(step, Stage) and step.pixels for step in recipe.steps):
        yield Cost("time: decoding pictures, of a core", f"N / {DECODED}", n / DECODED, "s")
    if recipe.shards:
        yield Cost("shards", f"N / {recipe.shards.size:,}", math.ceil(n / recipe.shards.size))
        yield Cost("bytes: shards", f"N x {PICTURE // 1000} kB", n * PICTURE, "B")


def amount(cost: Cost) -> str:
    """A cost's amount with its unit, for display."""
    if cost.unit == "s":
        return "not known" if math.isnan(cost.amount) else _span(cost.amount)
    return size(cost.amount) if cost.unit == "B" else f"{cost.amount:.3g}" if cost.unit else f"{cost.amount:,.0f}"


def _span(seconds: float) -> str:
    for unit, each in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * each:
            return f"{seconds / each:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.1 else "below 0.1 s"


def as_text(recipe: Recipe, rows: int, part_size: int = 10_000, rates: Rates | None = None) -> str:
    """The costs as a text table, with those of LARGE pools beside, and the assumptions."""
    pools = [rows, *(n for n in LARGE if n != rows)]
    columns = [costs(recipe, n, part_size, rates) for n in pools]
    lines = [(each[0].quantity, each[0].formula, *map(amount, each)) for each in zip(*columns, strict=True)]
    if rates:
        head = f"at N = {rows:,} rows like the {rates.rows:,} of {rates.run}:"
        foot = (
            "times of stages are seconds of workers (of one core, or of waiting where a stage fetches), those of selectors of that machine; "
            f"a run also takes seconds to start{f'; clusters: D = {DIMENSIONS}' if any(': clusters K' in c[0] for c in lines) else ''}"
        )
    else:
        head = f"at N = {rows:,} rows, if all of them reach every step:"
        foot = f"""assumed: {PICTURE // 1000} kB a picture, D = {DIMENSIONS}; orders of magnitude, to plan with.
Times of an H200 and of a core were measured on other machines, not on this one: forward passes of CLIP alone (docs/costs.md).
`curate doctor --model MODEL` measures a CLIP here. After a run over a part of the pool, -o RUN gives all rates of that run."""
    return "\n".join([head, plain(("quantity", "formula", *(_rows(n) for n in pools)), lines), foot])


def _rows(count: int) -> str:
    """A number of rows as the head of a column: 10^9, or all its digits."""
    power = round(math.log10(max(count, 1)))
    return f"10^{power}" if count == 10**power else f"{count:,}"
