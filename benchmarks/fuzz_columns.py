"""Lists with columns of any name and type through whole small runs: nothing but those columns may differ from the run without them.

    python benchmarks/fuzz_columns.py [--runs 100] [--seed 0] [--only N]

Each run has a few dozen columns in the table beside a tar of pictures, or in a list of captions. Names are those that our own modules
use, with prefixes, in any case, and random characters; types are all that Arrow has. A run's number and the seed say which.

What must hold: the run ends and `check` is content; ledger and members of the shards are those of the run without the columns, but
for `source_...`. Exit code 1, with the runs' numbers, where it does not.
"""

import argparse
import ast
import datetime
import io
import json
import random
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import curate
from curate.fetch.stage import Fetch
from curate.filters.caption_words import CaptionWords
from curate.filters.redact_contacts import RedactContacts
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.select.top_fraction import TopFraction
from curate.sources.url_pairs import UrlPairs
from curate.sources.webdataset import WebDataset
from curate.upkeep.check import check

ROWS = 6
COLUMNS = 40
PREFIXES = ("", "redacted_", "caption_", "chosen_", "source_", "_")
#: What the value of a column may be, by its type; numbers are viewed as moments.
TYPES = (
    *(pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.binary()),
    *(
        pa.date32(),
        pa.timestamp("ns"),
        pa.timestamp("us", "Mars/Phobos"),
        pa.time64("us"),
        pa.duration("s"),
        pa.decimal128(20, 2),
    ),
    *(pa.list_(pa.string()), pa.list_(pa.float32(), 2), pa.struct([("uid", pa.string()), ("a b", pa.int8())])),
    *(pa.map_(pa.string(), pa.int64()), pa.dictionary(pa.int8(), pa.string()), pa.null(), pa.uuid()),
)


def written_names() -> list[str]:
    """All short string constants of our modules."""
    found = set()
    for file in Path(curate.__file__).parent.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        found |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and 0 < len(n.value) < 40}
    return sorted(found)


def name(chance: random.Random, names: list[str]) -> str:
    if chance.random() < 0.2:
        return "".join(chance.choice("ab\"'`;-$\\/{}()[]*?%\n\t\0\x1b\u202e é日😀.:=<>&") for _ in range(chance.randrange(12)))
    case = chance.choice((str.lower, str.upper, str.title, str))
    return case(chance.choice(PREFIXES) + chance.choice(names))


def value(chance: random.Random, kind: pa.DataType) -> Any:
    word = chance.choice(("EVIL", "", "x" * 300, "/etc/passwd", "http://127.0.0.1:1/x", "0" * 32, "é\u202e"))
    if isinstance(kind, pa.UuidType):
        return bytes(chance.randrange(256) for _ in range(16))
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return word
    if pa.types.is_map(kind):
        return [(word, chance.randrange(9))]
    if pa.types.is_struct(kind):
        return {"uid": word, "a b": 1}
    if pa.types.is_fixed_size_list(kind):
        return [0.5, float("nan")]
    if pa.types.is_list(kind):
        return [word, None]
    simple = {
        "bool": True,
        "binary": b"\xff\0",
        "null": None,
        "date32[day]": datetime.date(1, 1, 1),
        "time64[us]": datetime.time(1),
    }
    return simple.get(str(kind), chance.randrange(100) if not pa.types.is_floating(kind) else float("inf"))


def columns(chance: random.Random, names: list[str]) -> dict[str, pa.Array]:
    found = {}
    for _ in range(COLUMNS):
        kind = chance.choice(TYPES)
        values = [None if chance.random() < 0.3 else value(chance, kind) for _ in range(ROWS)]
        if pa.types.is_temporal(kind) and kind.bit_width == 64 and chance.random() < 0.5:
            found[name(chance, names)] = pa.array(
                [chance.choice((-(2**62), 2**62, 0, None)) for _ in range(ROWS)], pa.int64()
            ).view(kind)
        else:
            found[name(chance, names)] = pa.array(values, kind)
    return {n: c for n, c in found.items() if n not in ("url", "text", "key", "uid", "caption", "status")}


def made(folder: Path, listed: bool, more: dict[str, pa.Array]) -> tuple[list[dict], dict[str, bytes], list[str]]:
    """The rows of a run over the list or the tar, the members of its shards, and what `check` finds."""
    folder.mkdir()
    base = {
        "key": [f"{i:05d}" for i in range(ROWS)],
        "url": [f"http://a.example/{i}.jpg" for i in range(ROWS)],
        "text": [f"a caption, mail me@x{i}.example" for i in range(ROWS)],
    }
    pq.write_table(pa.table({**base, **more}), folder / "in.parquet")
    with tarfile.open(folder / "in.tar", "w") as tar:
        for i, key in enumerate(base["key"]):
            out = io.BytesIO()
            Image.new("RGB", (16, 16), (i * 40, 9, 9)).save(out, "JPEG")
            info = tarfile.TarInfo(f"{key}.jpg")
            info.size = out.tell()
            tar.addfile(info, io.BytesIO(out.getvalue()))
    steps = [CaptionWords(min=2), RedactContacts()]
    if listed:
        recipe = Recipe(UrlPairs(str(folder / "in.parquet")), steps, [TopFraction("caption_words", 0.9)], shards=None, name="x")
    else:
        recipe = Recipe(WebDataset(str(folder / "in.tar")), [Fetch(), *steps], shards=Shards(size=4), name="x")
    done = run(recipe, str(folder / "run"), engine="local", part_size=4)
    rows = done.sql("from images order by source_row").to_arrow_table().to_pylist()
    members = {}
    for path in done.tars:
        with tarfile.open(path) as tar:
            members |= {m.name: tar.extractfile(m).read() for m in tar}
    return [ours(r) for r in rows], {n: plain(n, d) for n, d in members.items()}, [*done.problems, *check(done.store)]


def ours(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what the list brought, and without where the run lies."""
    return {k: v for k, v in row.items() if not k.lower().startswith("source_") and k not in ("payload", "fetched_at")}


def plain(member: str, data: bytes) -> Any:
    return ours(json.loads(data)) if member.endswith(".json") else data


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    args = parser.parse_args()
    names, findings = written_names(), []
    with tempfile.TemporaryDirectory() as folder:
        bare = {listed: made(Path(folder, f"bare-{listed}"), listed, {}) for listed in (False, True)}
        for number in range(args.runs) if args.only is None else [args.only]:
            chance = random.Random(f"{args.seed}:{number}")
            more, listed = columns(chance, names), number % 2 == 0
            try:
                found = made(Path(folder, str(number)), listed, more)
            except Exception as e:
                findings.append(f"run {number}: {type(e).__name__}: {e}")
                continue
            if found[2] or found[:2] != bare[listed][:2]:
                findings.append(f"run {number}: {found[2][:3] or 'differs'} with the columns {sorted(more)[:COLUMNS]}")
    print(f"{args.runs} runs, {len(findings)} findings", *findings[:10], sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
