"""Short forms of the benchmarks, their ratios beside those recorded: `make bench`, or `python -m benchmarks [--quick] [--record] [NAME ...]`.

A benchmark prints what is worth guarding as a line `ratio WHAT: NUMBER`, the larger the better, never an absolute time. Ratios are
compared with `recorded.json`: below SLOWER of the recorded one is told, below LOST is a failure, as is a script that fails. `--quick`
runs those of a minute in all (CI does), `--record` writes the ratios down. What a script needs and is not here is said, and it is left out.
"""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from curate.models.packages import cache

HOME = Path(__file__).parent
RECORDED = HOME / "recorded.json"
SLOWER, LOST = 0.7, 1 / 3


@dataclass(frozen=True)
class Short:
    """A short form: its arguments, whether it belongs to the quick ones, the modules it needs, and what must lie in the demo's cache."""

    words: str = ""
    quick: bool = False
    modules: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()

    def missing(self) -> str:
        """What it needs and is not here, in words; empty if nothing."""
        lacks = [f"pip install {m}" for m in self.modules if importlib.util.find_spec(m) is None]
        lacks += [f"`curate demo` brings {c}" for c in self.cached if not any(cache().glob(c))]
        return ", ".join(lacks)


SHORT = {
    "ledger": Short("--rows 100000 --engines local", quick=True),
    "shards": Short("--samples 2000 --rounds 2", quick=True, modules=("webdataset",)),
    "datacomp_conformance": Short("20000", quick=True),
    "balance": Short("40000 40000", quick=True),
    "dedup": Short("semantic 10000 hashes 20000", quick=True),
    "pages": Short("short", quick=True),
    "house": Short(quick=True),
    "scale": Short("--rows 10000 100000"),
    "looking": Short("--rows 10000"),
    "near": Short("--pictures 400 --edited 40 --no-embedding", cached=("pairs/M-*.parquet",)),
    "planted": Short("--count 20 --only captions", cached=("pairs/S-*.parquet",)),
    "language": Short(cached=("debian/tuxpaint-stamps-default", "debian/debian-handbook")),
    "filters": Short("--texts 2000 --images 12 --embed 32 4", cached=("pairs/S-*.parquet", "small_clip-*")),
    "captions": Short("--pictures 32", cached=("pairs/S-*.parquet", "small_clip-*")),
    "documents": Short("growth 200", cached=("pages-0/pages.warc.gz",)),
    "endpoint": Short("--requests 60"),
    "videos": Short("--films 2 --seconds 10", modules=("av",)),
    "chaos": Short("--seeds 1 --kills 4 --ray 0 --no-walk"),
    "fuzz_images": Short("--mutations 500", cached=("pypi/scikit-image",)),
    "gpu": Short("--tiny"),
    "contacts": Short(modules=("phonenumbers",)),
}
#: Scripts without a short form, and why.
LONG = {
    "costs": "compares what scale and pictures have measured",
    "pictures": "needs nginx, 300 MB of Debian's packages and minutes",
    "evaluate": "trains for half an hour; tests/test_evaluate.py has it in small",
    "fetch": "needs nginx and an environment with img2dataset",
    "filters_juicer": "the other side of filters",
    "page_templates": "pages for the benchmark of pages",
    "peers": "needs an environment for each peer and minutes",
    "peers_nemo": "the other side of peers",
    "train_small_captioner": "makes weights; `--measure` needs features that take 25 minutes",
    "train_small_clip": "makes weights; `--measure` needs features that take 25 minutes",
    "tree": "what the others measure with",
    "two_nodes": "needs root and minutes",
}


def measured(name: str) -> tuple[dict[str, float], int]:
    """Run a short form, its output passed on; its ratios, and how it ended."""
    found: dict[str, float] = {}
    command = [sys.executable, "-m", f"benchmarks.{name}", *SHORT[name].words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HOME.parent) as child:
        for line in child.stdout:
            print("  " + line, end="", flush=True)
            if said := re.fullmatch(r"ratio (.+): ([\d.]+)\s*", line):
                found[said[1]] = float(said[2])
    return found, child.returncode


def compare(found: dict[str, float], recorded: dict[str, float]) -> tuple[list[str], list[str]]:
    """A line of a table for each ratio, and what is lost: a third and less of what was recorded, or not told any more."""
    lines, lost = [f"{'ratio':<84}{'recorded':>9}{'now':>9}"], []
    for what in sorted(found.keys() | recorded.keys()):
        now, then = found.get(what), recorded.get(what)
        word = (
            "new" if then is None else "LOST" if now is None or now < LOST * then else "slower" if now < SLOWER * then else ""
        )
        lines.append(
            f"{what:<84}{'' if then is None else f'{then:.3f}':>9}{'' if now is None else f'{now:.3f}':>9}  {word}".rstrip()
        )
        lost += [what] if word == "LOST" else []
    return lines, lost


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"these alone, of {', '.join(SHORT)}")
    parser.add_argument("--quick", action="store_true", help="those of a minute in all")
    parser.add_argument("--record", action="store_true", help="write the ratios down as those to compare with")
    args = parser.parse_args(argv)
    if unknown := [n for n in args.names if n not in SHORT]:
        parser.error(f"no short form of {', '.join(unknown)}; there are: {', '.join(SHORT)}")
    recorded: dict[str, dict[str, float]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    found: dict[str, dict[str, float]] = {}
    failed = []
    for name in args.names or [n for n, short in SHORT.items() if short.quick or not args.quick]:
        if missing := SHORT[name].missing():
            print(f"== {name}: left out: {missing}", flush=True)
            continue
        began = time.monotonic()
        print(f"== {name} {SHORT[name].words}", flush=True)
        found[name], code = measured(name)
        failed += [name] if code else []
        print(f"  took {time.monotonic() - began:.0f} s", flush=True)
    if not args.names and not args.quick:
        others = {p.stem for p in HOME.glob("*.py")} - {"__init__", "__main__"} - set(SHORT)
        print("no short form: " + "; ".join(f"{n} ({LONG.get(n, 'nobody has given it one')})" for n in sorted(others)))
    lines, lost = compare(_flat(found), _flat({n: recorded.get(n, {}) for n in found}))
    print("\n".join(["", *lines]))
    if args.record:
        RECORDED.write_text(
            json.dumps(recorded | {n: r for n, r in found.items() if r}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        )
    for what, names in (("failed", failed), ("lost", [] if args.record else lost)):
        if names:
            print(f"{what}: {'; '.join(names)}", file=sys.stderr)
    return int(bool(failed or (lost and not args.record)))


def _flat(ratios: dict[str, dict[str, float]]) -> dict[str, float]:
    return {what: value for of in ratios.values() for what, value in of.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
