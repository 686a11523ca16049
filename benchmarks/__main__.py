"""Short forms of the benchmarks that need nothing from outside: `make bench`, or `python -m benchmarks [NAME ...]`."""

import subprocess
import sys

#: Name and arguments of the short form. The others (fetch, pages, documents, captions, chaos ...) ask for servers, packages or time:
#: run `python -m benchmarks.NAME --help`.
SHORT = {
    "ledger": ("--rows", "10000", "100000"),
    "shards": ("--samples", "2000"),
    "datacomp_conformance": (),
}


def main(names: list[str]) -> int:
    """Run them one after another; 1 if one failed."""
    unknown = [n for n in names if n not in SHORT]
    if unknown:
        print(f"no short form of {', '.join(unknown)}; there are: {', '.join(SHORT)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or SHORT:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *SHORT[name]], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
