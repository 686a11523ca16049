"""The command line: what makes and keeps runs; `looking` has what looks at them, `proving` what trains on them."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from curate import looking, proving
from curate.arguments import Commands, Help, Parser
from curate.errors import CurateError, RecipeError
from curate.look import clean
from curate.looking import folder as _folder

EPILOG = """\
A recipe is one of those that `curate recipes` lists, or a Python file with a function recipe(source, ...). Its parameters
are its options: `curate run RECIPE --help` says what they mean. RUN is a run's folder, local or any fsspec URL.

exit codes:
  0    all rows accounted for
  1    the run or the check found something wrong; one line says what
  2    the command was wrong; one line says how
  130  stopped with Ctrl-C; the same command goes on"""


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
    top = Parser(
        prog="curate",
        description="Web image-text pairs and web pages become balanced, explained WebDataset shards.",
        epilog=EPILOG,
        formatter_class=Commands,
        allow_abbrev=False,
    )
    top.add_argument("--debug", action="store_true", help="show tracebacks and every log line")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    recipe = next((a for a in argv[1:] if not a.startswith("-")), None) if argv[:1] in (["plan"], ["run"]) else None
    for name, about, add in COMMANDS:
        sub = commands.add_parser(
            name, help=about, description=about[0].upper() + about[1:] + ".", allow_abbrev=False, formatter_class=Help
        )
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
    from curate.recipes import load

    sub.add_argument("recipe", metavar="RECIPE", help="one of those that `curate recipes` lists, or a Python file")
    if recipe:
        file = load(recipe)
        sub.description = file.doc or sub.description
        own = sub.add_argument_group(f"options of {file.name}")
        for o in file.options:
            own.add_argument(
                o.flag,
                type=o.type,
                default=o.default,
                required=o.required,
                metavar=o.metavar,
                help=(o.about or f"the recipe's parameter {o.name}").replace("%", "%%"),
            )
        sub.set_defaults(file=file)
    source = sub.add_argument_group(
        "source", "One of --pairs, --pool, --pages, --page-urls, --videos; paths may be local or any fsspec URL."
    )
    source.add_argument("--pairs", metavar="GLOB", nargs="+", help="lists of image URLs: Parquet, CSV, TSV, JSON lines")
    source.add_argument("--url", metavar="COLUMN", default="url", help="column of the list that has the image's URL")
    source.add_argument("--text", metavar="COLUMN", default="text", help="column of the list that has the caption")
    source.add_argument(
        "--pool", metavar="FOLDER", nargs="+", help="WebDataset folders or tars (img2dataset, DataComp, a run's shards)"
    )
    source.add_argument(
        "--pages",
        metavar="GLOB",
        nargs="+",
        help="web pages: WARC, WARC.gz, Common Crawl's warc.paths.gz, HTML files or folders",
    )
    source.add_argument(
        "--page-urls",
        metavar="GLOB",
        nargs="+",
        help="lists of page URLs to fetch: text files, one a line, or Parquet with a column url",
    )
    source.add_argument(
        "--videos",
        metavar="GLOB",
        nargs="+",
        help="videos with their speech beside them (.vtt, .srt, .json), or tables of clips (video, start, end, text)",
    )
    source.add_argument(
        "--part-size",
        type=int,
        metavar="ROWS",
        help="rows in a part, the unit of work and of retry (default: 10000, or as in the run that is there or reused)",
    )


def _build(args: argparse.Namespace) -> Any:
    """The recipe that the arguments ask for."""
    given = [k for k in ("pairs", "pool", "pages", "page_urls", "videos") if getattr(args, k)]
    if len(given) != 1:
        raise RecipeError(
            "say where the rows come from: one of --pairs GLOB, --pool FOLDER, --pages GLOB, --page-urls GLOB, --videos GLOB"
        )
    recipe = args.file.build(_source(args, given[0]), **{o.name: getattr(args, o.name) for o in args.file.options})
    recipe.name = recipe.name or args.file.name
    allow = getattr(args, "allow_private", None)
    for step in [recipe.source, *recipe.steps]:
        if allow and hasattr(step, "allow_private"):
            step.allow_private = tuple(allow)
    if match := getattr(args, "match", None):
        _match(recipe, match)
    return recipe


def _match(recipe: Any, match: str) -> None:
    """Let the operator's function see every file that is fetched."""
    from curate.fetch.stage import Fetch, hook

    fetching = [s for s in recipe.steps if isinstance(s, Fetch)]
    if not fetching:
        raise RecipeError(f"--match {match}: nothing in recipe {recipe.name} fetches with Fetch")
    hook(match)
    for step in fetching:
        step.match = match


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
    if kind == "videos":
        from curate.sources.videos import Videos

        return Videos(args.videos)
    from curate.sources.web_pages import WebPages

    return WebPages(args.pages)


def _plan_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    _recipe_options(sub, recipe)
    sub.add_argument("-o", "--out", metavar="RUN", help="a run's folder: say what is done there already")
    sub.add_argument("--rows", type=int, metavar="N", help="say what it costs for a pool of so many rows, with the formulas")
    sub.set_defaults(command=plan)
    sub.epilog = """examples:
  curate plan datacomp_basic --pairs 'lists/*.parquet' --url URL --text TEXT
  curate plan obelics --pages 'crawl/*.warc.gz' -o out --rows 1000000000"""


def plan(args: argparse.Namespace) -> int:
    from curate.planning import describe

    recipe = _build(args).check()
    part_size = _part_size(args)
    print(describe(recipe, args.out, part_size))
    if args.rows:
        from curate.costs import as_text

        print("\n" + as_text(recipe, args.rows, part_size))
    return 0


def _part_size(args: argparse.Namespace) -> int:
    """As said, else that of the run that goes on, else of the one that is reused: parts of another size would have nothing in common."""
    from curate.store import Store

    if args.part_size:
        return args.part_size
    stores = [Store(folder) for folder in (args.out, getattr(args, "reuse", None)) if folder]
    known = (json.loads(s.read("recipe.json")).get("part_size") for s in stores if s.exists("recipe.json"))
    return next(filter(None, known), 10_000)


def _run_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    _recipe_options(sub, recipe)
    sub.add_argument("-o", "--out", metavar="RUN", required=True, help="the run's folder; a run that is there goes on")
    sub.add_argument("--engine", choices=("ray", "local"), default="ray", help="where to work; the bytes are the same")
    sub.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="a Ray cluster, or auto for the one this machine is in; without it Ray starts here",
    )
    sub.add_argument("--workers", type=int, metavar="N", help="cores to use on this machine (all)")
    sub.add_argument(
        "--allow-private",
        metavar="NET",
        nargs="+",
        help="networks that may be fetched from though they are private, like 127.0.0.0/8",
    )
    sub.add_argument(
        "--match",
        metavar="MODULE:FUNCTION",
        help="a function (of bytes, or in FILE.py:FUNCTION) that sees every fetched file first; True: nothing of it is kept",
    )
    sub.add_argument(
        "--reuse", metavar="RUN", help="begin with what another run has fetched and computed; nothing there changes"
    )
    sub.add_argument("--refetch", choices=("failed",), help="fetch again what failed before")
    sub.add_argument(
        "--repair", action="store_true", help="read all that the run keeps first, and compute again what is damaged"
    )
    sub.set_defaults(command=run)
    sub.epilog = """examples:
  curate run clip_score_top30 --pairs 'lists/*.parquet' --url URL --text TEXT -o out
  curate run obelics --pages 'crawl/*.warc.gz' -o out
  curate run mine.py --pool out/shards -o second --reuse out
  curate run mine.py --pool s3://bucket/pool -o s3://bucket/run --address auto"""


def run(args: argparse.Namespace) -> int:
    from curate.driver import run as start
    from curate.progress import Lines, Live, funnel

    recipe, part_size = _build(args), _part_size(args)
    if args.reuse:
        _reuse(args.out, args.reuse)
    progress = Live() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines()
    try:
        made = start(
            recipe,
            args.out,
            args.engine,
            args.address,
            args.workers,
            part_size,
            args.refetch == "failed",
            progress,
            args.repair,
        )
    finally:
        if isinstance(progress, Live):
            progress.close()
    for line in made.repaired:
        print(f"repaired: {clean(line)}")
    print(funnel(made.stats().to_pylist()))
    print(
        f"\n{made.dataset['samples']:,} samples in {len(made.dataset['shards'])} shards: {made.store.path('shards')}"
        f"   root hash {made.dataset['root_hash'][:16]}"
    )
    for problem in made.problems:
        print(f"curate: not read: {clean(problem)}", file=sys.stderr)
    return 1 if made.problems else 0


def _reuse(out: str, other: str) -> None:
    from curate.adopt import adopt
    from curate.store import Store

    print(f"{adopt(Store(out), Store(other)):,} files of {other} are used here too", file=sys.stderr)


# ---- keeping


def _check_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.set_defaults(command=check)
    sub.epilog = """examples:
  curate check out
  curate run mine.py --pool pool -o out --repair     # computes again what is damaged"""


def check(args: argparse.Namespace) -> int:
    from curate.check import check as faults_of
    from curate.driver import open_run

    run = open_run(args.folder)
    faults = faults_of(run.store)
    for fault in faults:
        print(clean(fault))
    if not faults:
        print(
            f"fine: {run.dataset['samples']:,} samples in {len(run.dataset['shards'])} shards, root hash {run.dataset['root_hash']}"
        )
    return 1 if faults else 0


def _gc_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    sub.set_defaults(command=gc)
    sub.epilog = "examples:\n  curate gc out --dry-run"


def gc(args: argparse.Namespace) -> int:
    from curate.driver import open_run
    from curate.gc import collect

    removed = collect(open_run(args.folder).store, args.dry_run)
    for name, size in removed.items():
        print(f"{size:>14,}  {name}")
    print(f"{'would remove' if args.dry_run else 'removed'} {len(removed):,} files, {sum(removed.values()):,} bytes")
    return 0


def _takedown_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    _folder(sub)
    sub.add_argument(
        "--list",
        metavar="FILE",
        nargs="+",
        default=[],
        help="what is to go: a table with some of the columns url, uid, sha256, or a .txt with one a line; without it an interrupted takedown goes on",
    )
    sub.add_argument("--dry-run", action="store_true", help="only say what would go")
    sub.set_defaults(command=takedown)
    sub.epilog = """examples:
  curate takedown out --list removed.parquet --dry-run
  curate takedown out --list removed.parquet"""


def takedown(args: argparse.Namespace) -> int:
    from curate.driver import open_run, tell
    from curate.removed import Removed, asked
    from curate.store import Store
    from curate.takedown import takedown as take

    wanted = Removed()
    for path in args.list:
        wanted.add(asked(path))
    taken = take(Store(args.folder), wanted, lambda: tell(open_run(args.folder)), args.dry_run)
    word = "would remove" if args.dry_run else "removed"
    print(
        f"{word} the content of "
        + (", ".join(f"{n:,} {t}" for t, n in taken.rows.items() if n) or "no row: nothing of it is here (any more)")
    )
    if taken.shards:
        print(
            f"shards {'to write' if args.dry_run else 'written'} again: {len(taken.shards):,} ({', '.join(taken.shards[:8])}{' …' if len(taken.shards) > 8 else ''})"
        )
    if taken.after and taken.after != taken.before:
        print(f"root hash {taken.before} -> {taken.after}")
    for path in taken.elsewhere:
        print(
            f"curate: {clean(path)} is an input and still holds bytes of it: curate changes nothing outside a run",
            file=sys.stderr,
        )
    return 0


def _export_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    from curate.export import FORMS

    _folder(sub)
    sub.add_argument("--format", required=True, choices=FORMS, metavar="FORM", help="one of the forms below")
    sub.add_argument("-o", "--out", metavar="FILE", required=True, help="the file, or folder, to write")
    sub.set_defaults(command=export)
    wide = max(map(len, FORMS))
    sub.epilog = "\n".join(
        [
            "forms:",
            *(f"  {name:<{wide}}  {what}" for name, what in FORMS.items()),
            "",
            """examples:
  curate export out --format datacomp-subset -o subset.npy
  curate export out --format markdown -o pages""",
        ]
    )


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
    sub.add_argument("--seed", type=int, default=0, help="seed of the pool, its faults and the shuffle")
    sub.set_defaults(command=demo)
    sub.epilog = "examples:\n  curate demo -o demo-run\n  curate demo -o demo-m --tier M --engine local"


def demo(args: argparse.Namespace) -> int:
    from curate.demo.job import main_job

    return main_job(args.out, args.tier, args.engine, args.seed)


def _completion_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="whose completion to print")
    sub.set_defaults(command=completion)
    sub.epilog = (
        'examples:\n  eval "$(curate completion bash)"          # in ~/.bashrc\n  curate completion zsh > ~/.zfunc/_curate'
    )


def completion(args: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as e:
        raise RecipeError("completion needs the package shtab: pip install shtab") from e
    print(shtab.complete(parser([])[0], shell=args.shell))
    return 0


_OWN = {
    "plan": ("what will run where, what is already done, what it will cost", _plan_options),
    "run": ("run a recipe into a folder, or go on with the run there", _run_options),
    "check": ("counts, hashes, loaders; names what is wrong", _check_options),
    "gc": ("remove from a run's folder what nothing names any more", _gc_options),
    "takedown": ("remove what a list names from everything that a run keeps, for good", _takedown_options),
    "export": ("the samples in the formats of other tools", _export_options),
    "demo": ("the main job on real data, from nothing", _demo_options),
    "completion": ("completion of commands and options for a shell", _completion_options),
}
#: Every command in the order of the help: to begin, to run, to look, to keep, this machine.
COMMANDS = [
    (name, *{**_OWN, **looking.COMMANDS, **proving.COMMANDS}[name])
    for name in (
        "demo",
        "recipes",
        "plan",
        "run",
        "watch",
        "stats",
        "report",
        "show",
        "why",
        "diff",
        "sql",
        "annotate",
        "evaluate",
        "check",
        "takedown",
        "gc",
        "export",
        "doctor",
        "completion",
    )
]


if __name__ == "__main__":
    sys.exit(main())
