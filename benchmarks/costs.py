"""How well a run says what a larger one costs: `curate plan --rows N -o RUN` against a run of N rows.

    python -m benchmarks.costs SMALLER.json LARGER.json

Points are written by `benchmarks.scale --json` and `benchmarks.pictures --json`, which print this comparison themselves.
"""

import json
import sys
from typing import Any

#: Quantities below this much a row (bytes; µs of work) are not shown; bytes below this share of all are not held against the formulas.
LEAST, SHARE = 0.5, 0.01


def errors(small: dict[str, Any], large: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """By quantity what it was a row in the smaller run (so the formula's rate), in the larger one, and the error of the formula there."""
    found = {}
    for kind, unit in (("bytes", 1.0), ("seconds", 1e6)):
        for name, rate in small["rates"][kind].items():
            was = large["rates"][kind].get(name, 0.0)
            if max(rate, was) * unit >= LEAST:
                found[f"{kind}: {name}"] = (rate * unit, was * unit, rate / was - 1 if was else float("inf"))
    found["kept"] = (small["rates"]["kept"], large["rates"]["kept"], small["rates"]["kept"] / large["rates"]["kept"] - 1)
    return found


def report(small: dict[str, Any], large: dict[str, Any]) -> None:
    """Print the comparison, and how far off the bytes and samples that count are."""
    print(f"\nat the rates of {small['n']:,} rows, {large['n']:,} rows take (bytes and µs a row):")
    found, total = errors(small, large), sum(large["rates"]["bytes"].values())
    for name, (rate, was, error) in found.items():
        print(f"  {name:34}{rate:>12,.4g} for {was:>12,.4g}{error:>+10.1%}")
    worst = max(
        abs(e) for name, (_, was, e) in found.items() if name == "kept" or (name.startswith("bytes") and was >= SHARE * total)
    )
    print(f"  samples, and bytes from {SHARE:.0%} of all: the largest error is {worst:.1%}", flush=True)


if __name__ == "__main__":
    report(*(json.loads(open(path).read())[-1] for path in sys.argv[1:3]))
