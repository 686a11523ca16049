"""What the ledger costs: a pool of rows through cheap filters, selection and ledger, beside bare Arrow filters.

    python -m benchmarks.ledger [--rows 10000 100000 1000000] [--engines local ray]

The bare form reads the same Parquet file, computes the same two scores, drops the rows out of bounds and forgets them. Ours keeps
every row with its scores and its reason, committed part by part (a kill loses nothing), and ends with a checked funnel.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH = 10_000


def pool(path: Path, rows: int) -> None:
    """A list of made-up URLs and captions, written a batch at a time."""
    with pq.ParquetWriter(path, pa.schema([("url", pa.string()), ("text", pa.string())])) as writer:
        for start in range(0, rows, BATCH):
            n = range(start, min(rows, start + BATCH))
            writer.write_table(
                pa.table(
                    {
                        "url": [f"http://host{i % 5003}.example/{i}.jpg" for i in n],
                        "text": [f"a photo of thing number {i} " * (i % 3) for i in n],
                    }
                )
            )


def bare(path: Path) -> int:
    """The same two filters on Arrow batches; returns the rows kept."""
    kept = 0
    for batch in pq.ParquetFile(path).iter_batches(BATCH):
        batch = batch.filter(
            pc.greater_equal(pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(batch["text"]))), 3)
        )
        kept += len(batch.filter(pc.greater_equal(pc.utf8_length(batch["text"]), 6)))
    return kept


def ours(path: Path, out: str, engine: str) -> int:
    from curate.filters.caption_chars import CaptionChars
    from curate.filters.caption_words import CaptionWords
    from curate.recipe import Recipe
    from curate.runner.driver import run
    from curate.sources.url_pairs import UrlPairs

    recipe = Recipe(UrlPairs(str(path)), [CaptionWords(min=3), CaptionChars(min=6)], shards=None, name="ledger")
    return run(recipe, out, engine).dataset["samples"]


def child(what: str, path: str, out: str) -> None:
    """One measurement in a process of its own: prints rows kept, seconds, CPU seconds, peak memory of this process in MB."""
    began, cpu = time.perf_counter(), time.process_time()
    kept = bare(Path(path)) if what == "bare" else ours(Path(path), out, what)
    peak = next(
        int(line.split()[1]) // 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(json.dumps({"kept": kept, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "mb": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(*args.child)
    print(f"{'rows':>10} {'engine':>7} {'µs/row':>8} {'CPU µs/row and filter':>22} {'driver MB':>10} {'x bare':>7}")
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pairs.parquet"
            pool(path, rows)
            base = None
            for what in ("bare", *args.engines):
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.ledger", "--child", what, str(path), os.path.join(folder, what)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found = json.loads(done.stdout.splitlines()[-1])
                base = base or found
                assert found["kept"] == base["kept"], (found, base)
                print(
                    f"{rows:>10,} {what:>7} {1e6 * found['seconds'] / rows:>8.2f} {1e6 * found['cpu'] / rows / 2:>22.2f} {found['mb']:>10,}"
                    f" {found['seconds'] / base['seconds']:>7.1f}",
                    flush=True,
                )
                if what == "local":
                    print(f"ratio ledger, bare CPU over ours, {rows:,} rows: {base['cpu'] / found['cpu']:.3f}")


if __name__ == "__main__":
    main()
