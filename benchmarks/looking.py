"""What looking at a run costs as runs grow: the report, the funnel, one row's story, a query over all rows, answers of `curate explore`.

    python -m benchmarks.looking [--rows 10000 100000 1000000]

Pools of made-up URLs and captions go through two filters and a selector, without pictures; each command is then timed in a
process of its own, as a multiple of the time that the run itself took. The report looks at 200,000 rows at most.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ledger import pool

COMMANDS = {
    "report": ["report", "RUN"],
    "stats": ["stats", "RUN"],
    "why": ["why", "RUN", "http://host7.example/7.jpg"],
    "sql": ["sql", "RUN", "select drop_reason, count(*), avg(caption_words) from images group by all"],
}

#: What the page of `curate explore` asks.
ASKED = {
    "first page": ("rows", {}),
    "sorted": ("rows", {"sort": "caption_chars", "descending": True}),
    "words": ("rows", {"words": "host7 1234"}),
    "filtered": ("rows", {"conditions": [{"column": "caption_words", "operator": "min", "value": 8}], "page": 3}),
    "histogram": ("facet", {"column": "caption_chars"}),
    "values": ("facet", {"column": "drop_reason"}),
    "threshold": ("move", {"moves": [{"setting": "caption_words.min", "value": 5}]}),
}


def answers(folder: str) -> dict[str, float]:
    """Seconds until `curate explore` has opened a run, and of each answer."""
    from curate.view.explore.explorer import Explorer

    began = time.perf_counter()
    with Explorer(folder) as explorer:
        explorer.about()
        took = {"open": time.perf_counter() - began}
        for name, (method, asked) in ASKED.items():
            began = time.perf_counter()
            getattr(explorer, method)(asked)
            took[name] = time.perf_counter() - began
    return took


def make(rows: int, folder: Path) -> float:
    """A run in folder/run; returns the seconds it took."""
    from curate.dedup.frequency import Frequency
    from curate.filters.caption_chars import CaptionChars
    from curate.filters.caption_words import CaptionWords
    from curate.recipe import Recipe
    from curate.runner.driver import run
    from curate.sources.url_pairs import UrlPairs

    pool(folder / "pairs.parquet", rows)
    recipe = Recipe(
        UrlPairs(str(folder / "pairs.parquet")),
        [CaptionWords(min=3), CaptionChars(min=30)],
        [Frequency(("text",), max=10)],
        shards=None,
        name="looking",
    )
    began = time.perf_counter()
    run(recipe, str(folder / "run"), "local")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    args = parser.parse_args()
    print(
        f"{'rows':>10} {'run s':>7} "
        + " ".join(f"{name + ' / run':>13}" for name in COMMANDS)
        + f" {'report s':>9} {'kB':>6} {'sampled':>8}"
    )
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            took, cells = make(rows, Path(folder)), []
            for words in COMMANDS.values():
                began = time.perf_counter()
                command = [sys.executable, "-m", "curate.cli", *(w.replace("RUN", f"{folder}/run") for w in words)]
                subprocess.run(command, capture_output=True, check=True)
                cells.append(time.perf_counter() - began)
            explored = answers(f"{folder}/run")
            page = Path(folder, "run", "report.html").read_text()
            sampled = "one part in" in page
            assert sampled == (rows > 200_000) and f"{rows:,}" in page
            print(
                f"{rows:>10,} {took:>7.1f} "
                + " ".join(f"{c / took:>13.2f}" for c in cells)
                + f" {cells[0]:>9.1f} {len(page) // 1000:>6,} {'yes' if sampled else 'no':>8}",
                flush=True,
            )
            print("explore, s: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in explored.items()))
            print(
                f"ratio exploring, the run's seconds over those of the slowest answer of explore, {rows:,} rows: {took / max(explored.values()):.3f}"
            )
            print(f"ratio looking, the run's seconds over those of its report, {rows:,} rows: {took / cells[0]:.3f}")


if __name__ == "__main__":
    main()
