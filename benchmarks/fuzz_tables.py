"""Damaged tables, tars and WARC files through their readers: rows or a named error come out, and nothing else.

    python benchmarks/fuzz_tables.py [--mutations 100000] [--seed 0] [--only N]

Seeds are a list in each format, a tar with a sidecar's worth of JSON, and a WARC file. A mutation's number and the seed say what it
is, so a finding can be made again with `--only N`.

What must hold: this process does not die; every error is a CurateError that names the file; memory stays bounded; in a list of lines
the lines that were not touched are read as before. Exit code 1, with the mutations' numbers, where it does not.
"""

import argparse
import gzip
import io
import json
import random
import resource
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError
from curate.sources import warc
from curate.sources.url_pairs import UrlPairs
from curate.sources.webdataset import WebDataset

ROWS = 12
#: Megabytes of this process's memory.
MOST = 1500
#: What parsers stumble over.
TOKENS = (
    b'"',
    b"\t",
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"{",
    b"[" * 200,
    b"]",
    b"\xff",
    b"\xed\xa0\x80",
    b"9" * 5000,
    b"1e999",
    b"NaN",
)
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LINES = ("csv", "tsv", "jsonl")


def seeds() -> dict[str, bytes]:
    """A small file in each format, by its ending."""
    rows = [
        {"url": f"http://a.example/{i}.jpg", "text": f"caption {i}, ünï", "n": i / 2, "tags": ["a", str(i)]}
        for i in range(ROWS)
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=5)
    made = {"parquet": out.getvalue(), "jsonl": "".join(json.dumps(r) + "\n" for r in rows).encode()}
    for kind, mark in (("csv", ","), ("tsv", "\t")):
        made[kind] = (f"url{mark}text\n" + "".join(f'{r["url"]}{mark}"{r["text"]}"\n' for r in rows)).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for i, row in enumerate(rows):
            for ending, data in (
                ("jpg", b"\xff\xd8 picture"),
                ("txt", row["text"].encode()),
                ("json", json.dumps(row).encode()),
            ):
                info = tarfile.TarInfo(f"{i:03d}{'ü' * (60 * (i % 3))}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    made["tar"] = out.getvalue()
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><body><p>A page of words.</p></body></html>"
    head = b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/%d\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n"
    records = [head % (i, len(page)) + page + b"\r\n\r\n" for i in range(ROWS)]
    return {**made, "warc": b"".join(records), "warc.gz": b"".join(map(gzip.compress, records))}


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, cut, doubled, or replaced by what parsers stumble over."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(found) or 1)
        end = min(len(found), at + chance.choice((1, 4, 64, 512)))
        match chance.randrange(6):
            case 0:
                found[at:end] = bytes(chance.randrange(256) for _ in range(end - at))
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end]
            case 3:
                found[at:end] = chance.choice(TOKENS)
            case 4:
                found[at : at + 4] = chance.choice(EDGES).to_bytes(4, chance.choice(("little", "big")))
            case _ if chance.random() < 0.2:
                del found[at:]
    return bytes(found)


def one_line(data: bytes, chance: random.Random) -> tuple[bytes, int]:
    """One line of a list, not the first, changed so that it stays one; its number."""
    lines = data.split(b"\n")
    at = chance.randrange(1, len(lines) - 1)
    lines[at] = mutated(lines[at], chance).replace(b"\n", b" ").replace(b"\r", b" ")
    return b"\n".join(lines), at


def texts(file: Path, kind: str) -> list[str | None]:
    if kind.startswith("warc"):
        return [answer.url for answer in warc.read(str(file), 1 << 20)]
    source = WebDataset(str(file)) if kind == "tar" else UrlPairs(str(file))
    return [t for part in source.read(str(file), 5) for t in part["images"]["text"].to_pylist()]


def run(numbers: range, seed: int) -> tuple[Counter, list[str]]:
    """Outcomes by format, and what should not have happened."""
    files, outcomes, findings = seeds(), Counter(), []
    before = _peak()
    kinds = list(files)
    with tempfile.TemporaryDirectory() as folder:
        whole = {}
        for kind in LINES:
            (path := Path(folder, f"good.{kind}")).write_bytes(files[kind])
            whole[kind] = texts(path, kind)
        for number in numbers:
            kind = kinds[number % len(kinds)]
            chance, path, line = random.Random(f"{seed}:{number}"), Path(folder, f"{kind}-bad.{kind}"), None
            data = mutated(files[kind], chance)
            if kind in LINES and chance.random() < 0.5:
                data, line = one_line(files[kind], chance)
            path.write_bytes(data)
            try:
                found = texts(path, kind)
                outcomes[kind, "rows"] += 1
                if line is not None and kind == "jsonl" and not set(whole[kind]) - {whole[kind][line]} <= set(found):
                    findings.append(f"{number}: {kind}: other lines than line {line} are not read as before")
            except CurateError as e:
                outcomes[kind, "error"] += 1
                if str(path) not in str(e):
                    findings.append(f"{number}: {kind}: the error does not name the file: {e}")
            except Exception as e:
                findings.append(f"{number}: {kind}: {type(e).__name__}: {e}")
    if (more := _peak() - before) > MOST:
        findings.append(f"{more} MB of memory")
    return outcomes, findings


def _peak() -> int:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    args = parser.parse_args()
    started = time.monotonic()
    numbers = range(args.mutations) if args.only is None else range(args.only, args.only + 1)
    outcomes, findings = run(numbers, args.seed)
    for (kind, what), count in sorted(outcomes.items()):
        print(f"{kind:8} {what:8} {count:8,}")
    print(
        f"{len(numbers):,} mutations in {time.monotonic() - started:.0f} s, {len(findings)} findings", *findings[:20], sep="\n"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
