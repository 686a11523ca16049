"""The command line. Exit codes: 0 all rows accounted for; 1 the run or the check found something wrong; 2 the command was wrong."""

import argparse
import difflib
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from curate import looking
from curate.errors import CurateError, RecipeError
from curate.look import clean, plain
from curate.looking import folder as _folder

EPILOG = """\
A recipe is a name in pipelines/ or a Python file with a function recipe(source, ...); its parameters are its options
(`curate run RECIPE --help` lists them).

exit codes: 0 all rows accounted for; 1 the run or the check found something wrong; 2 the command was wrong"""


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, "") else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the option or command you meant."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice: " in message:
            wrong, known = message.split("invalid choice: '")[-1].split("'")[0], [name for name, _, _ in COMMANDS]
        else:
            wrong = message.split("unrecognized arguments: ")[-1].split()[0] if "unrecognized" in message else ""
            known = [o for a in self._actions for o in a.option_strings]
        near = difflib.get_close_matches(wrong.split("=")[0], known, 1) if wrong else []
        self.exit(2, f"{self.prog}: {message}" + (f"; did you mean {near[0]}?" if near else "") + f"\ntry: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        args = parse([a for a in argv if a != "--debug"])
        return args.command(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    except CurateError as e:
        if debug:
            raise
        print(f"curate: {clean(str(e))}", file=sys.stderr)
        return 2 if isinstance(e, RecipeError) else 1


def parser(argv: list[str]) -> tuple[Parser, dict[str, argparse.ArgumentParser]]:
    """The parser of everything, and those of the commands; `plan` and `run` know the options of the recipe that argv names."""
    top = Parser(prog="curate", description="Web image-text pairs and web pages become balanced, explained WebDataset shards.",
                 epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    top.add_argument("--debug", action="store_true", help="show tracebacks and every log line")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    recipe = next((a for a in argv[1:] if not a.startswith("-")), None) if argv[:1] in (["plan"], ["run"]) else None
    for name, about, add in COMMANDS:
        sub = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".", allow_abbrev=False,
                                  formatter_class=Help)
        add(sub, recipe if argv[:1] == [name] else None)
    return top, commands.choices


def parse(argv: list[str]) -> argparse.Namespace:
    top, commands = parser(argv)
    args, rest = top.parse_known_args(argv)
    if rest:  # said by the command's own parser, which knows its options
        commands[argv[0]].error(f"unrecognized arguments: {' '.join(rest)}")
    return args


# ---- recipes: plan, run


def _recipe_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    from curate.recipes import load, names

    sub.add_argument("recipe", metavar="RECIPE", help="a Python file, or one of: " + ", ".join(names()))
    source = sub.add_argument_group("source (one of --pairs, --pool, --pages, --page-urls)")
    source.add_argument("--pairs", metavar="GLOB", nargs="+", help="lists of image URLs: Parquet, CSV, TSV, JSON lines; local or any fsspec URL")
    source.add_argument("--url", metavar="COLUMN", default="url", help="the list's column of URLs")
    source.add_argument("--text", metavar="COLUMN", default="text", help="the list's column of captions")
    source.add_argument("--pool", metavar="FOLDER", nargs="+", help="WebDataset folders or tars (img2dataset, DataComp, a run's shards)")
    source.add_argument("--pages", metavar="GLOB", nargs="+", help="web pages: WARC, WARC.gz, HTML files or folders")
    source.add_argument("--page-urls", metavar="GLOB", nargs="+", help="lists of page URLs to fetch: text files, one a line, or Parquet with a column url")
    sub.add_argument("--part-size", type=int, default=10_000, metavar="ROWS", help="rows in a part, the unit of work and of retry")
    if not recipe:
        return
    file = load(recipe)
    sub.description = file.doc.split("\n\n")[0]
    own = sub.add_argument_group(f"options of {file.name}")
    for o in file.options:
        about = "" if o.required or o.default in (None, "") else " "
        own.add_argument("--" + o.name.replace("_", "-"), type=o.type, default=o.default, required=o.required, metavar=o.name.upper(), help=about)
    sub.set_defaults(file=file)


def _build(args: argparse.Namespace) -> Any:
    """The recipe that the arguments ask for."""
    given = [k for k in ("pairs", "pool", "pages", "page_urls") if getattr(args, k)]
    if len(given) != 1:
        raise RecipeError("say where the rows come from: one of --pairs GLOB, --pool FOLDER, --pages GLOB, --page-urls GLOB")
    recipe = args.file.build(_source(args, given[0]), **{o.name: getattr(args, o.name) for o in args.file.options})
    recipe.name = recipe.name or args.file.name
    allow = getattr(args, "allow_private", None)
    for step in [recipe.source, *recipe.steps]:
        if allow and hasattr(step, "allow_private"):
            step.allow_private = tuple(allow)
    return recipe


def _source(args: argparse.Namespace, kind: str) -> Any:
    if kind == "pairs":
        from curate.sources.url_pairs import UrlPairs

        return UrlPairs(args.pairs, url=args.url, text=args.text)
    if kind == "pool":
        from curate.sources.webdataset import WebDataset

        return WebDataset(args.pool)
    if kind == "page_urls":
        from curate.sources.page_urls import PageUrls

        return PageUrls(args.page_urls)
    from curate.sources.web_pages import WebPages

    return WebPages(args.pages)


def _plan_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    _recipe_options(sub, recipe)
    sub.add_argument("-o", "--out", metavar="RUN", help="a run's folder: say what is done there already")
    sub.add_argument("--rows", type=int, metavar="N", help="say what it costs for a pool of so many rows, with the formulas")
    sub.set_defaults(command=plan)


def plan(args: argparse.Namespace) -> int:
    from curate.planning import describe

    recipe = _build(args).check()
    print(describe(recipe, args.out, args.part_size))
    if args.rows:
        from curate.costs import as_text

        print("\n" + as_text(recipe, args.rows, args.part_size))
    return 0


def _run_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    _recipe_options(sub, recipe)
    sub.add_argument("-o", "--out", metavar="RUN", required=True, help="the run's folder; a run that is there goes on")
    sub.add_argument("--engine", choices=("ray", "local"), default="ray", help="where to work; the bytes are the same")
    sub.add_argument("--address", metavar="HOST:PORT", help="a Ray cluster; without it Ray starts on this machine")
    sub.add_argument("--workers", type=int, metavar="N", help="cores to use on this machine (all)")
    sub.add_argument("--allow-private", metavar="NET", nargs="+", help="networks that may be fetched from though they are private, like 127.0.0.0/8")
    sub.add_argument("--reuse", metavar="RUN", help="begin with what another run has fetched and computed; nothing there changes")
    sub.add_argument("--refetch", choices=("failed",), help="fetch again what failed before")
    sub.add_argument("--repair", action="store_true", help="read all that the run keeps first, and compute again what is damaged")
    sub.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from curate.driver import run as start
    from curate.progress import Lines, Live, funnel

    recipe = _build(args)
    if args.reuse:
        _reuse(args.out, args.reuse)
    progress = Live() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines()
    try:
        made = start(recipe, args.out, args.engine, args.address, args.workers, args.part_size, args.refetch == "failed", progress, args.repair)
    finally:
        if isinstance(progress, Live):
            progress.close()
    for line in made.repaired:
        print(f"repaired: {clean(line)}")
    print(funnel(made.stats().to_pylist()))
    print(f"\n{made.dataset['samples']:,} samples in {len(made.dataset['shards'])} shards: {made.store.path('shards')}"
          f"   root hash {made.dataset['root_hash'][:16]}")
    for problem in made.problems:
        print(f"curate: not read: {clean(problem)}", file=sys.stderr)
    return 1 if made.problems else 0


def _reuse(out: str, other: str) -> None:
    from curate.adopt import adopt
    from curate.store import Store

    print(f"{adopt(Store(out), Store(other)):,} files of {other} are used here too", file=sys.stderr)


# ---- looking


def _stats_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.set_defaults(command=stats)


def stats(args: argparse.Namespace) -> int:
    from curate.driver import open_run
    from curate.progress import funnel

    print(funnel(open_run(args.folder).stats().to_pylist()))
    return 0


def _sql_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.add_argument("query", metavar="QUERY", help='DuckDB SQL over images, documents, texts, shards, edges, funnel')
    sub.add_argument("-o", "--out", metavar="FILE", help="write the result as .csv, .parquet or .json instead of printing it")
    sub.set_defaults(command=sql)


def sql(args: argparse.Namespace) -> int:
    import duckdb

    from curate.driver import open_run

    run = open_run(args.folder)
    try:
        found = run.sql(args.query)
        if found is None:
            return 0
        if not args.out:
            print(_printed(found))
            return 0
        write = {".csv": found.write_csv, ".parquet": found.write_parquet,
                 ".json": lambda path: Path(path).write_text("".join(json.dumps(r, default=str, ensure_ascii=False) + "\n" for r in found.to_arrow_table().to_pylist()))}
        kind = Path(args.out).suffix
        if kind not in write:
            raise RecipeError(f"{args.out}: the name must end in .csv, .parquet or .json")
        write[kind](args.out)
    except duckdb.Error as e:
        raise RecipeError(f"SQL: {e}") from e
    return 0


def _printed(found: Any, most: int = 40) -> str:
    """The first rows of a relation as text; numbers stand right."""
    rows = found.limit(most + 1).to_arrow_table().to_pylist()
    numbers = [i for i, t in enumerate(found.types) if str(t) in ("BIGINT", "INTEGER", "DOUBLE", "FLOAT", "HUGEINT", "SMALLINT", "TINYINT", "UBIGINT")]
    text = plain(found.columns, [list(r.values()) for r in rows[:most]], shutil.get_terminal_size((160, 40)).columns, numbers)
    more = f"\nthe first {most} rows; -o FILE.csv, .parquet or .json writes them all" if len(rows) > most else ""
    return text + more + ("" if rows else "\nno rows")


def _show_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.add_argument("--reason", metavar="R", help="rows dropped for this reason (default: kept rows)")
    sub.add_argument("-n", type=int, default=16, help="how many samples, drawn by a hash of their uid")
    sub.add_argument("--documents", action="store_true", help="web pages with their images in place instead of single images")
    sub.add_argument("--where", metavar="SQL", help="only rows for which this holds, like clip_score < 0.2")
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN/show.html, or show-R.html)")
    sub.set_defaults(command=show)


def show(args: argparse.Namespace) -> int:
    import duckdb

    from curate.driver import open_run
    from curate.grid import write_page

    try:
        print(write_page(open_run(args.folder), args.reason, args.n, args.where, args.out, args.documents))
    except duckdb.Error as e:
        raise RecipeError(f"SQL: {e}") from e
    return 0


def _check_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.set_defaults(command=check)


def check(args: argparse.Namespace) -> int:
    from curate.check import check as faults_of
    from curate.driver import open_run

    run = open_run(args.folder)
    faults = faults_of(run.store)
    for fault in faults:
        print(clean(fault))
    if not faults:
        print(f"fine: {run.dataset['samples']:,} samples in {len(run.dataset['shards'])} shards, root hash {run.dataset['root_hash']}")
    return 1 if faults else 0


def _gc_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    sub.set_defaults(command=gc)


def gc(args: argparse.Namespace) -> int:
    from curate.driver import open_run
    from curate.gc import collect

    removed = collect(open_run(args.folder).store, args.dry_run)
    for name, size in removed.items():
        print(f"{size:>14,}  {name}")
    print(f"{'would remove' if args.dry_run else 'removed'} {len(removed):,} files, {sum(removed.values()):,} bytes")
    return 0


def _export_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    from curate.export import FORMS

    _folder(sub)
    sub.add_argument("--format", required=True, choices=FORMS, help="; ".join(f"{name}: {what}" for name, what in FORMS.items()))
    sub.add_argument("-o", "--out", metavar="FILE", required=True, help="the file, or folder, to write")
    sub.set_defaults(command=export)


def export(args: argparse.Namespace) -> int:
    from curate.driver import open_run
    from curate.export import export as write

    run = open_run(args.folder)
    print(f"{write(run.store, run.dataset, args.format, args.out):,} samples: {args.out}")
    return 0


def _demo_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("-o", "--out", metavar="RUN", default="demo-run", help="the run's folder")
    sub.add_argument("--tier", choices=("S", "M"), default="S", help="size of the pool: S a few thousand pairs, M 13,500")
    sub.add_argument("--engine", choices=("ray", "local"), default="ray", help="where to work")
    sub.add_argument("--seed", type=int, default=0, help="of the pool, its faults and the shuffle")
    sub.set_defaults(command=demo)


def demo(args: argparse.Namespace) -> int:
    from curate.demo.job import main_job

    return main_job(args.out, args.tier, args.engine, args.seed)


COMMANDS = [
    ("plan", "what will run where, what is already done, what it will cost", _plan_options),
    ("run", "run a recipe into a folder, or go on with the run there", _run_options),
    ("stats", "the funnel: in = kept + reasons, for every table", _stats_options),
    ("sql", "ask the run's tables with DuckDB", _sql_options),
    ("show", "samples as a picture grid (HTML), kept ones or those dropped for a reason", _show_options),
    ("check", "counts, hashes, loaders; names what is wrong", _check_options),
    ("gc", "remove from a run's folder what nothing names any more", _gc_options),
    ("export", "the samples in the formats of other tools", _export_options),
    *looking.COMMANDS,
    ("demo", "the main job on real data, from nothing", _demo_options),
]


if __name__ == "__main__":
    sys.exit(main())
