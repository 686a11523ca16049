"""How a run grows with its rows: a made list through cheap filters, selectors, the ledger and the plan of shards.

    python -m benchmarks.scale [--rows 10000 100000 1000000] [--engine local] [--json FILE]
    python -m benchmarks.scale --dispatch 500 2000      # what a task costs the driver, on Ray

A list of URLs, captions, declared sizes, hashes and scores is made (Parquet, a million rows a file) and taken through everything but
bytes: `duplicate_uid`, three filters, ExactDedup on the listed hash, Where, TopFraction, MetaCLIP's Balance, the ledger of all rows,
and the plan that says which sample goes into which shard. One process a size. Printed for each act: wall and CPU microseconds a
row, and the peak of resident memory while it ran; at the end the exponents: log of the CPU time over log of the rows.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.costs import report as compare
from benchmarks.tree import cpu_seconds, resident

BATCH, FILE = 100_000, 1_000_000
WORDS = (
    "a",
    "the",
    "photo",
    "of",
    *(f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "st", "l", "k", "m")),
)


def pool(folder: Path, rows: int, seed: int = 0) -> None:
    """A list in files of a million rows: every hundredth row is listed twice, every twentieth shares its image with another one."""
    chance = np.random.default_rng(seed)
    for first in range(0, rows, FILE):
        with pq.ParquetWriter(
            folder / f"list-{first // FILE:05d}.parquet", batch(0, 1, chance).schema, compression="zstd"
        ) as writer:
            for start in range(first, min(rows, first + FILE), BATCH):
                writer.write_table(batch(start, min(BATCH, rows - start), chance))


def batch(start: int, count: int, chance: np.random.Generator) -> pa.Table:
    number = np.arange(start, start + count)
    number[number % 100 == 99] -= 1
    image = np.where(number % 20 == 19, number // 2, number)
    # Words by Zipf's law; the row's number decides them, so that a row that is listed twice is the same.
    mix = number[:, None].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.arange(12, dtype=np.uint64) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    share = ((mix ^ (mix >> np.uint64(29))) >> np.uint64(11)).astype(np.float64) / 2.0**53
    rank = np.minimum((len(WORDS) ** share - 1).astype(np.int64), len(WORDS) - 1)
    length = 2 + number % 11
    words = pa.array(WORDS).take(pa.array(rank[np.arange(12)[None, :] < length[:, None]]))
    text = pc.binary_join(pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(length)]).astype(np.int32), words), " ")
    digits = pa.array(number).cast(pa.string())
    return pa.table(
        {
            "url": pc.binary_join_element_wise(
                "http://host",
                pa.array(number % 5003).cast(pa.string()),
                ".example/media/",
                pa.array(mix[:, 0] ^ (mix[:, 11] >> np.uint64(7))).cast(pa.string()),
                "/",
                digits,
                ".jpg",
                "",
            ),
            "text": text,
            "declared_width": pa.array((32 << (number % 7)).astype(np.int32)),
            "declared_height": pa.array((48 << (number % 5)).astype(np.int32)),
            "image_hash": pc.binary_join_element_wise(
                pa.array(image.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).cast(pa.string()),
                pa.array(image).cast(pa.string()),
                "-",
            ),
            "similarity": pa.array(chance.random(count, np.float32)),
        }
    )


def recipe(folder: Path) -> Any:
    from curate.balance.metaclip import Balance
    from curate.dedup.exact import ExactDedup
    from curate.filters.caption_chars import CaptionChars
    from curate.filters.caption_words import CaptionWords
    from curate.recipe import Recipe, Shards
    from curate.select.top_fraction import TopFraction
    from curate.select.where import Where
    from curate.sources.url_pairs import UrlPairs

    return Recipe(
        UrlPairs(str(folder / "*.parquet")),
        [CaptionWords(min=3), CaptionChars(min=6)],
        [
            Where(sql="least(source_declared_width, source_declared_height) >= 64", name="declared_size"),
            ExactDedup(key=("source_image_hash",), by=("source_similarity",)),
            Where("source_similarity", min=0.05),
            TopFraction("source_similarity", 0.7),
            Balance(list(WORDS), tail=0.3),
        ],
        shards=Shards(),
        name="scale",
    )


@dataclass
class Clock:
    """A run's progress as times: for each act wall and CPU seconds of the process tree and its highest resident memory, in MB."""

    acts: dict[str, dict[str, float]] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        self.watching = True
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.watching:
            self._look()
            time.sleep(0.05)

    def _look(self) -> None:
        if act := self.acts.get(self.name):
            driver, tree = resident(os.getpid())
            act["driver"], act["tree"] = max(act["driver"], driver), max(act["tree"], tree)

    def turn(self, name: str) -> None:
        """What follows belongs to another act."""
        self._look()
        now, cpu = time.perf_counter(), cpu_seconds(os.getpid())
        if self.name:
            self.acts[self.name]["wall"] += now - self.since
            self.acts[self.name]["cpu"] += cpu - self.spent
        self.name, self.since, self.spent = name, now, cpu
        if name:
            self.acts.setdefault(name, {"wall": 0.0, "cpu": 0.0, "driver": 0.0, "tree": 0.0})

    def begin(self, name: str, place: str) -> None: ...

    def stage(self, name: str, total: int, rows: int) -> None:
        self.turn(name)

    def step(self, name: str, done: Any) -> None: ...

    def end(self, run: Any, word: str) -> None:
        self.turn("")
        self.watching = False

    def state(self) -> dict[str, Any]:
        return {}


def child(folder: str, out: str, engine: str, free: str) -> None:
    """One size in a process of its own; prints its acts as JSON."""
    from curate.cli.costs import measured
    from curate.runner import driver
    from curate.runner import engine as engines
    from curate.runner.dataset import DatasetWriter
    from curate.select import database as tables
    from curate.shard import plan as layout
    from curate.store.atomic import Store
    from curate.store.lease import held

    class Planner(DatasetWriter):
        """Writes a data set up to where bytes would be copied."""

        def _write_shards(self, how: Any, assigned: Any, entered: dict, state: str) -> None:
            self.progress.stage("plan", 1, 0)
            planned = layout.plan(self.store, assigned, entered, "images", how, self.engine.map)
            self.progress.stage("planned", 1, 0)
            self.store.publish_bytes(
                "dataset.json",
                json.dumps(
                    {
                        "samples": sum(pq.read_metadata(self.store.path(file)).num_rows for file in planned["images"]),
                        "shards": [],
                        "root_hash": "",
                        "bytes": 0,
                        "count": assigned.shards,
                    }
                ).encode(),
            )

    driver.DatasetWriter, driver.write_pages = Planner, lambda made: None
    tables.free_memory = lambda: int(free) << 20
    clock = Clock()
    clock.turn("start")
    store = Store(out)
    with held(store):
        worker = engines.start(engine)
        made = driver.Driver(recipe(Path(folder)), store, worker, 10_000, False, clock, None).run()
        clock.turn("")
        worker.shutdown()
    rates = asdict(measured(store, recipe(Path(folder))))
    print(
        json.dumps(
            {"acts": clock.acts, "samples": made.dataset["samples"], "rows": made.recipe["rows"]["images"], "rates": rates}
        )
    )


def bytes_below(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def measure(rows: int, engine: str, free: int, keep: Path | None = None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=keep) as scratch:
        folder, out = Path(scratch) / "list", Path(scratch) / "run"
        folder.mkdir()
        pool(folder, rows)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", "--child", str(folder), str(out), engine, str(free)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
        found |= {
            "n": rows,
            "list": bytes_below(folder),
            "folder": {p.name: bytes_below(p) for p in sorted(out.iterdir()) if p.is_dir()},
        }
        assert sum(found["rows"].values()) == rows, found["rows"]
        return found


def report(found: dict[str, Any]) -> None:
    n, acts = found["n"], found["acts"]
    print(
        f"\n{n:,} rows, {found['samples']:,} kept; on disk, B/row: list {found['list'] / n:.0f}, "
        + ", ".join(f"{k} {v / n:.0f}" for k, v in found["folder"].items() if v / n >= 1)
    )
    print(f"{'act':42}{'wall µs/row':>12}{'CPU µs/row':>12}{'driver MB':>11}{'tree MB':>9}")
    for name, a in [*acts.items(), ("all", total(acts))]:
        print(
            f"{name[:41]:42}{1e6 * a['wall'] / n:>12.2f}{1e6 * a['cpu'] / n:>12.2f}{a['driver']:>11,.0f}{a['tree']:>9,.0f}",
            flush=True,
        )


def total(acts: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        k: (max if k in ("driver", "tree") else sum)(a[k] for a in acts.values()) for k in ("wall", "cpu", "driver", "tree")
    }


def exponent(small: dict[str, Any], large: dict[str, Any], what: str) -> float:
    """log of the ratio of the times over log of the ratio of the rows; 1 is proportional."""
    return math.log(total(large["acts"])[what] / total(small["acts"])[what]) / math.log(large["n"] / small["n"])


def nothing(item: int) -> int:
    return item


def dispatch(counts: list[int]) -> None:
    """Print the CPU milliseconds of the driver's process for each task that does nothing, sent through lanes and through `map`."""
    from curate.runner import engine as engines
    from curate.runner.workers import Lane, flow
    from curate.score.target import Function

    worker = engines.start("ray")
    try:
        list(worker.map(nothing, range(50)))
        for count in counts:
            spent = []
            for send in (
                lambda n: flow(worker, [Lane("nothing", Function(nothing), limit=worker.slots("cpu"))], list(range(n))),
                lambda n: list(worker.map(nothing, range(n))),
            ):
                before = time.process_time()
                send(count)
                spent.append(1000 * (time.process_time() - before) / count)
            print(f"{count:,} tasks: the driver's CPU ms a task: lanes {spent[0]:.2f}, map {spent[1]:.2f}", flush=True)
    finally:
        worker.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engine", default="local", choices=["local", "ray"])
    parser.add_argument(
        "--free", type=int, default=4000, help="MiB of memory that the run believes to be free; DuckDB takes a quarter"
    )
    parser.add_argument("--json", type=Path, help="write what was measured here")
    parser.add_argument("--folder", type=Path, help="where lists and runs are made, and removed (about 700 bytes a row)")
    parser.add_argument("--dispatch", type=int, nargs="+", metavar="TASKS", help="measure what so many tasks cost the driver")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.dispatch:
        return dispatch(args.dispatch)
    if args.child:
        return child(*args.child)
    points = []
    for rows in args.rows:
        points.append(measure(rows, args.engine, args.free, args.folder))
        report(points[-1])
    for small, large in itertools.pairwise(points):
        print(
            f"\n{small['n']:,} to {large['n']:,}: exponent {exponent(small, large, 'cpu'):.3f} of CPU time, {exponent(small, large, 'wall'):.3f} of wall time"
        )
        print(
            f"ratio scale, 1 over the exponent of CPU time, {small['n']:,} to {large['n']:,} rows: {1 / exponent(small, large, 'cpu'):.3f}"
        )
        compare(small, large)
    if args.json:
        args.json.write_text(json.dumps(points, indent=1))
    return None


if __name__ == "__main__":
    main()
