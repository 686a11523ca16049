"""The commands that ask a run: stats, sql, near."""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from curate.cli.arguments import folder
from curate.errors import PoolError, RecipeError
from curate.selector import identifier, quoted
from curate.view.look import clean, inert, plain, vertical, wide


def _stats_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.set_defaults(command=stats)
    sub.epilog = "examples:\n  curate stats out"


def stats(args: argparse.Namespace) -> int:
    from curate.view.closing import funnel
    from curate.view.reading import consistent

    print(funnel(consistent([args.folder], lambda run: run.stats().to_pylist())))
    return 0


def _sql_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument(
        "query",
        metavar="QUERY",
        help="DuckDB SQL over images, documents, texts, shards, duplicates, edges, verdicts, judgements, funnel",
    )
    sub.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="write the result as .csv, .parquet or .json instead of printing it; in a .csv text that spreadsheets take for a formula "
        "gets a ' before it, and control characters are replaced",
    )
    sub.set_defaults(command=sql)
    sub.epilog = """examples:
  curate sql out "select reason, rows, percent from funnel order by rows desc"
  curate sql out "select url, text from images where drop_reason = 'language'" -o dropped.csv
  curate sql out "select domain, count(*), avg(kept) from images group by domain order by 2 desc"
  curate sql s3://bucket/run "describe images"
More queries: docs/queries.md"""


def sql(args: argparse.Namespace) -> int:
    import duckdb

    from curate.view.reading import consistent
    from curate.view.run import Run

    if not args.query.strip(" \n\t;"):
        raise RecipeError("the query is empty")
    if args.out and not os.path.isdir(os.path.dirname(args.out) or "."):
        raise RecipeError(f"{args.out}: there is no such folder")
    if args.out and Path(args.out).suffix not in _WRITERS:
        raise RecipeError(f"{args.out}: the name must end in .csv, .parquet or .json")

    def read(run: Run) -> str:
        found = run.sql(args.query)
        if found is None:
            return ""
        if not args.out:
            return _printed(found)
        _WRITERS[Path(args.out).suffix](found, args.out)
        return ""

    try:
        if text := consistent([args.folder], read):
            print(text)
    except duckdb.Error as e:
        raise RecipeError(f"SQL: {e}") from e
    except OSError as e:
        raise PoolError(f"{args.out}: cannot write: {e.strerror}") from e
    return 0


def _write_json(found: Any, path: str) -> None:
    # As a table of its own, in which no two columns have the same name.
    rows = found.query("found", "select * from (from found)").to_arrow_table().to_pylist()
    Path(path).write_text("".join(json.dumps(r, default=str, ensure_ascii=False) + "\n" for r in rows))


_WRITERS: dict[str, Any] = {
    ".csv": lambda found, path: _for_people(found).write_csv(path),
    ".parquet": lambda found, path: found.write_parquet(path),
    ".json": _write_json,
}


def _for_people(found: Any) -> Any:
    """A relation for a CSV file: no text in it is a formula or holds control characters."""
    unseen = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]"
    formula = r"^[\s\p{Cf}\x{fffd}]*[=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
    columns = []
    for number, (name, kind) in enumerate(zip(found.columns, found.types), 1):
        shown = f"regexp_replace(#{number}, {quoted(unseen)}, chr(65533), 'g')"
        cell = f"case when regexp_matches({shown}, {quoted(formula)}) then '''' || {shown} else {shown} end"
        columns.append(f"{cell if str(kind) == 'VARCHAR' else f'#{number}'} as {identifier(inert(name))}")
    return found.project(", ".join(columns))


def _printed(found: Any, most: int = 40) -> str:
    """The first rows of a relation as text; numbers stand right. What is wider than the terminal stands vertically, a line a column."""
    rows = found.limit(most + 1).to_arrow_table().to_pylist()
    numbers = [
        i
        for i, t in enumerate(found.types)
        if str(t) in ("BIGINT", "INTEGER", "DOUBLE", "FLOAT", "HUGEINT", "SMALLINT", "TINYINT", "UBIGINT")
    ]
    cells = [[f"<{len(c):,} bytes>" if isinstance(c, bytes) else c for c in r.values()] for r in rows[:most]]
    width = shutil.get_terminal_size((160, 40)).columns
    text = plain(found.columns, cells, width, numbers)
    if len(found.columns) > 1 and (wide(text, width) or (len(rows) == 1 and wide(plain(found.columns, cells, 10**6), width))):
        text = vertical(found.columns, cells)
    more = f"\nthe first {most} rows; -o FILE.csv, .parquet or .json writes them all" if len(rows) > most else ""
    return text + more + ("" if rows else "\nno rows")


def _near_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("file", metavar="FILE", help="a picture, or a table of records (.parquet, .csv, .jsonl)")
    sub.add_argument("--json", action="store_true", help="print a line of JSON for each duplicate")
    sub.set_defaults(command=near)
    sub.epilog = """A table may have the columns text, url, image (bytes), sha256, and the run's columns of embeddings. It is compared by the same
pair of text and URL, the same bytes, near pictures, near texts and near embeddings, as far as the run has the columns for it, with
the bounds of its own steps; also with the earlier releases that the run was made onto.

examples:
  curate near out picture.jpg
  curate near out new.parquet --json"""


def near(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from curate.view.lookup import look_up
    from curate.view.reading import consistent

    found = consistent([args.folder], lambda run: look_up(run, args.file))
    for match in found.matches:
        if args.json:
            print(json.dumps(asdict(match), ensure_ascii=False))
            continue
        where = f"shard {match.row['shard']}, " if match.row.get("shard") is not None else ""
        text = match.row.get("url") or match.row.get("text") or ""
        print(
            clean(
                f"record {match.record}: {match.rule} {match.similarity:.3f}: {match.row['uid']} in {match.run} ({where}{text})"
            )
        )
    if not args.json:
        known = len({m.record for m in found.matches})
        print(f"{known:,} of {found.records:,} records are duplicates; compared by {', '.join(found.rules)}")
    return 0


COMMANDS = {
    "stats": ("print the funnel: in = kept + reasons, for every table", _stats_options),
    "sql": ("query the run's tables with DuckDB", _sql_options),
    "near": ("find the rows of a run of which a new record is a duplicate", _near_options),
}
