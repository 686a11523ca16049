"""The commands that run recipes: plan, run, demo."""

import argparse
import inspect
import math
import sys
import traceback
from typing import Any

from curate.cli.arguments import amount, completing, count, named_count, place, seconds
from curate.cli.sources import kind_of, source_of, source_options
from curate.errors import CurateError, PoolError, RecipeError
from curate.settings import apply_settings
from curate.view.look import clean

#: Options that are renamed to `--run-…` where a recipe has a parameter of their name.
_RENAMABLE = ("--deadline", "--resize", "--image-size", "--only-if-bigger", "--format", "--quality")


def _rename_option(sub: argparse.ArgumentParser, flag: str) -> None:
    """Rename an option to `--run-…`, since the recipe has one of its name."""
    action, other = sub._option_string_actions[flag], flag.replace("--", "--run-", 1)
    action.option_strings.append(other)
    sub._option_string_actions[other] = action
    sub._handle_conflict_resolve(None, [(flag, action)])


def _recipe_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    """Add the options of a recipe and of its source; last, to detect conflicts with the command's own options."""
    from curate.runner.recipes import load

    sub.usage = "%(prog)s RECIPE [INPUT ...] [options]"
    name = sub.add_argument("recipe", metavar="RECIPE", help="one of those that `curate recipes` lists, or a Python file")
    name.complete = completing("recipes", "curate recipes --names; ls *.py 2>/dev/null")
    _settings(sub)
    if recipe is None:
        _all_source_options(sub)
        return
    file = load(recipe)
    sub.description = file.doc or sub.description
    own = sub.add_argument_group(f"options of {file.name}")
    _all_source_options(sub)
    for o in file.options:
        if o.flag in _RENAMABLE and o.flag in sub._option_string_actions:
            _rename_option(sub, o.flag)
        try:
            own.add_argument(
                o.flag,
                dest=_dest(o.name),
                type=o.type,
                default=o.default,
                required=o.required,
                metavar=o.metavar,
                help=(o.about or f"the recipe's parameter {o.name}").replace("%", "%%"),
            )
        except argparse.ArgumentError as e:
            raise RecipeError(
                f"{_location(file)}: parameter {o.name}: curate has an option {o.flag}; call it something else"
            ) from e
    sub.set_defaults(file=file, asked=recipe)


def _settings(sub: argparse.ArgumentParser) -> None:
    """Add the options that change any recipe's steps: --set and --skip."""
    setting = sub.add_argument(
        "--set",
        metavar="STEP.PARAMETER=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="change a parameter of a step, such as image_side.min=100; `curate recipes RECIPE` lists all",
    )
    skipped = sub.add_argument(
        "--skip", metavar="STEP", nargs="+", action="extend", default=[], help="leave steps of the recipe out"
    )
    listed = 'curate recipes --settings "$RECIPE" 2>/dev/null'
    setting.complete = completing("settings", f"{listed} | sed 's/=.*/=/'")
    skipped.complete = completing("steps", f"{listed} | sed 's/[.].*//' | sort -u")


def _dest(name: str) -> str:
    """The attribute of the parsed arguments for a recipe's parameter, distinct from all others."""
    return f"recipe {name}"


def _location(file: Any, line: int | None = None) -> str:
    """The location of a recipe's function, `FILE: line`, for messages."""
    code = inspect.unwrap(file.build).__code__
    return f"{code.co_filename}: {line or code.co_firstlineno}"


def _call_recipe(file: Any, source: Any, options: dict[str, Any]) -> Any:
    """Call the recipe's function. RecipeError, with file and line, if it fails or returns no Recipe."""
    from curate.recipe import Recipe

    try:
        recipe = file.build(source, **options)
    except CurateError:
        raise
    except Exception as e:
        mine = inspect.unwrap(file.build).__code__.co_filename
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == mine]
        raise RecipeError(f"{_location(file, lines[-1] if lines else None)}: {type(e).__name__}: {e}") from e
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{_location(file)}: recipe() returned {type(recipe).__name__}, not a Recipe")
    return recipe


def _all_source_options(sub: argparse.ArgumentParser) -> None:
    source_options(sub).add_argument(
        "--part-size",
        type=int,
        metavar="ROWS",
        help="rows in a part, the unit of work and of retry (default: 10000, or as in the existing or the reused run)",
    )
    _picture_options(sub)


def _picture_options(sub: argparse.ArgumentParser) -> None:
    from curate.fetch.stage import FORMATS, MODES

    pictures = sub.add_argument_group(
        "pictures", "As img2dataset re-encodes them; without these the bytes stay as they were fetched."
    )
    pictures.add_argument(
        "--resize", choices=MODES, help="how each picture is brought to --image-size; no: re-encoded as it is"
    )
    pictures.add_argument("--image-size", type=count, metavar="PIXELS", help="side of a resized picture (256)")
    pictures.add_argument("--only-if-bigger", action="store_true", help="smaller pictures keep their size")
    pictures.add_argument("--format", choices=FORMATS, help="what pictures are encoded as (jpg)")
    pictures.add_argument(
        "--quality", type=int, metavar="N", help="of jpg and webp, 0 to 100; of png its compression, 0 to 9 (95, png 6)"
    )
    pictures.add_argument(
        "--ground",
        choices=("white",),
        help="re-encode pictures with transparency, on white; else training sees what lies behind",
    )
    pictures.add_argument(
        "--reencode",
        action="store_true",
        help="re-encode what open_clip's loader does not open (GIF, AVIF, damaged PNG); else dropped",
    )


def _resize(recipe: Any, args: argparse.Namespace) -> None:
    """Set the re-encoding options on every Fetch of the recipe. RecipeError for options that do not go together, or without a Fetch."""
    from curate.fetch.stage import Fetch

    settings = {"image_size": args.image_size, "encode_format": args.format, "encode_quality": args.quality}
    settings = {k: v for k, v in settings.items() if v is not None} | ({"only_if_bigger": True} if args.only_if_bigger else {})
    if args.resize is None and ("image_size" in settings or "only_if_bigger" in settings):
        raise RecipeError(
            "--image-size and --only-if-bigger go with --resize MODE, which says how: border, keep_ratio, center_crop ..."
        )
    selective = ({"ground": args.ground} if args.ground else {}) | ({"reencode": True} if args.reencode else {})
    if args.resize is None and not settings and not selective:
        return
    fetching = [s for s in recipe.steps if isinstance(s, Fetch)]
    if not fetching:
        raise RecipeError(f"--resize, --format, --ground, --reencode: nothing in recipe {recipe.name} fetches with Fetch")
    if settings.get("encode_format") == "png":
        settings.setdefault("encode_quality", 6)
    settings |= selective or {"resize_mode": "no"}
    if args.resize is not None:
        settings["resize_mode"] = args.resize
    Fetch(**settings)  # validates them
    for step in fetching:
        for name, value in settings.items():
            setattr(step, name, value)


def _build(args: argparse.Namespace) -> Any:
    """Build the recipe from the arguments, with its settings, networks, re-encoding and match hook."""
    from curate.fetch.address import networks

    options = {o.name: getattr(args, _dest(o.name)) for o in args.file.options}
    recipe = _call_recipe(args.file, source_of(args), options)
    recipe.name = recipe.name or args.file.name
    recipe = apply_settings(recipe, args.set, args.skip)
    _check_tables(recipe, kind_of(args))
    allow = getattr(args, "allow_private", None)
    networks(allow or ())
    for step in [recipe.source, *recipe.steps] if allow else ():
        step.allow_networks(tuple(allow))
    _resize(recipe, args)
    if match := getattr(args, "match", None):
        _set_match(recipe, match)
    return recipe


def _check_tables(recipe: Any, given: str) -> None:
    """RecipeError if the recipe needs documents and the source has none."""
    if "documents" in {s.table for s in recipe.steps} and "documents" not in recipe.source.tables:
        raise RecipeError(
            f"recipe {recipe.name} is one of documents: give --pages, --page-urls, --pdfs, --corpus or --videos in place of --{given}"
        )


def _set_match(recipe: Any, match: str) -> None:
    """Set the match hook on every Fetch of the recipe. RecipeError without a Fetch, or if the hook cannot be loaded."""
    from curate.fetch.stage import Fetch, hook

    fetching = [s for s in recipe.steps if isinstance(s, Fetch)]
    if not fetching:
        raise RecipeError(f"--match {match}: nothing in recipe {recipe.name} fetches with Fetch")
    hook(match)
    for step in fetching:
        step.match = match


def _plan_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    sub.add_argument(
        "-o", "--out", type=place, metavar="RUN", help="a run's folder: say what is done there already; costs are at its rates"
    )
    sub.add_argument(
        "--rows",
        type=count,
        metavar="N",
        help="say what it costs for a pool of so many rows, with the formulas; with -o at the rates of that run",
    )
    _recipe_options(sub, recipe)
    sub.set_defaults(command=plan)
    sub.epilog = """examples:
  curate plan datacomp_basic --pairs 'lists/*.parquet' --url URL --text TEXT
  curate plan obelics --pages 'crawl/*.warc.gz' -o out --rows 1000000000"""


def plan(args: argparse.Namespace) -> int:
    from curate.runner.planning import describe

    recipe = _build(args).check()
    part_size = _part_size(args)
    print(describe(recipe, args.out, part_size))
    if args.rows:
        from curate.cli.costs import as_text, measured
        from curate.store.atomic import Store

        print("\n" + as_text(recipe, args.rows, part_size, measured(Store(args.out), recipe) if args.out else None))
    return 0


def _part_size(args: argparse.Namespace) -> int:
    """The rows of a part: by --part-size, else of the run in the folder, else of the reused run, since parts of another size cannot be
    reused."""
    from curate.store.atomic import Store

    if args.part_size is not None:
        if args.part_size < 1:
            raise RecipeError(f"--part-size {args.part_size}: a part has one row or more")
        return args.part_size
    for folder in filter(None, (args.out, getattr(args, "reuse", None))):
        try:
            record = Store(folder).json("recipe.json")
        except PoolError as e:
            raise PoolError(f"{e}, with --part-size ROWS as it was (default 10000), which only that file records") from e
        if record and record.get("part_size"):
            return record["part_size"]
    return 10_000


def _run_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    sub.add_argument(
        "-o", "--out", type=place, metavar="RUN", required=True, help="the run's folder; an existing run is resumed"
    )
    _worker_options(sub)
    _fetch_options(sub)
    _earlier_run_options(sub)
    _budget_options(sub)
    sub.add_argument("--refetch", choices=("failed",), help="fetch again what failed before")
    sub.add_argument(
        "--repair", action="store_true", help="read all that the run keeps first, and compute again what is damaged"
    )
    _recipe_options(sub, recipe)
    sub.set_defaults(command=run)
    sub.epilog = """examples:
  curate run clip_score_top30 --pairs 'lists/*.parquet' --url URL --text TEXT -o out
  curate run obelics --pages 'crawl/*.warc.gz' -o out
  curate run mine.py --pool out/shards -o second --reuse out
  curate run mine.py --pairs 'lists/week2/*.parquet' -o releases/week2 --onto releases/week1
  curate run mine.py --pool s3://bucket/pool -o s3://bucket/run --address auto"""


def _worker_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--engine", choices=("ray", "local"), default="ray", help="where to work; the bytes are the same")
    sub.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="a Ray cluster, or auto for the one this machine is in; without it Ray starts here",
    )
    sub.add_argument("--workers", type=count, metavar="N", help="CPU cores to use (default: all)")
    sub.add_argument(
        "--stage-workers",
        type=named_count,
        metavar="STAGE=N",
        nargs="+",
        default=[],
        help="workers of a stage, in all (as many as fit)",
    )
    sub.add_argument(
        "--per-node",
        type=named_count,
        metavar="STAGE=N",
        nargs="+",
        default=[],
        help="workers of a stage on one machine at most, for one that takes much memory",
    )
    sub.add_argument(
        "--deadline",
        type=seconds,
        metavar="SECONDS",
        default=3600.0,
        help="time for one attempt at a part; what a stage has by then is kept, and the next attempt resumes there",
    )


def _fetch_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--allow-private",
        metavar="NET",
        nargs="+",
        help="networks that may be fetched from though they are private, like 127.0.0.0/8",
    )
    sub.add_argument(
        "--match",
        metavar="MODULE:FUNCTION",
        help="a function (of bytes, or in FILE.py:FUNCTION) that sees every fetched file first; True: the file is not kept; or pdq:FILE, "
        "a match list of PDQ hashes",
    )


def _earlier_run_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--reuse", type=place, metavar="RUN", help="reuse another run's downloads and computed columns (read-only)"
    )
    sub.add_argument(
        "--onto",
        type=place,
        metavar="RUN",
        nargs="+",
        default=[],
        help="make the next release of a set: new rows are selected against those of these finished runs, which stay as they are",
    )
    sub.add_argument(
        "--replace", action="store_true", help="replace the run of another recipe that is in the folder (default: refuse)"
    )


def _budget_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--max-cost",
        type=amount,
        metavar="N",
        help="what answers of models may cost, at the prices given with their endpoint; then the other rows get no answer, and the run ends normally (default: no cap)",
    )
    sub.add_argument(
        "--max-tokens",
        type=amount,
        metavar="N",
        help="tokens that models may read and write, likewise (default: no cap)",
    )


def run(args: argparse.Namespace) -> int:
    from curate.runner.driver import run as start
    from curate.runner.planning import cautions
    from curate.view.closing import funnel, summary
    from curate.view.display import display

    if args.engine == "local" and args.address:
        raise RecipeError(f"--address {args.address}: of a Ray cluster, and --engine local works in this process")
    recipe, part_size = _build(args).check(), _part_size(args)
    _ = recipe.fingerprint  # reads the files that steps name, so that a missing one is reported before the run begins
    for line in cautions(recipe):
        print(f"curate: {line}", file=sys.stderr)
    with display() as progress:
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
            args.deadline,
            dict(args.stage_workers),
            dict(args.per_node),
            args.reuse,
            args.replace,
            args.max_cost or math.inf,
            args.max_tokens or math.inf,
            args.onto,
        )
    for line in made.repaired:
        print(f"repaired: {clean(line)}")
    rows = made.stats().to_pylist()
    print(funnel(rows))
    print(f"\n{clean(summary(made, args.out))}")
    if private := sum(r["rows"] for r in rows if r["reason"].endswith(":private_address")):
        print(
            f"curate: {private:,} rows are at private addresses; --allow-private NET with --refetch failed fetches them",
            file=sys.stderr,
        )
    if left := made.recipe.get("spent", {}).get("over_budget"):
        print(f"curate: {left:,} rows have no answer: the budget is spent; a larger one asks for them", file=sys.stderr)
    for problem in made.problems:
        print(f"curate: not read: {clean(problem)}", file=sys.stderr)
    return 1 if made.problems else 0


def _demo_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("-o", "--out", type=place, metavar="RUN", default="demo-run", help="the run's folder")
    sub.add_argument("--tier", choices=("S", "M"), default="S", help="size of the pool: S a few thousand pairs, M 13,500")
    sub.add_argument("--engine", choices=("ray", "local"), default="ray", help="where to work")
    sub.add_argument("--seed", type=int, default=0, help="seed of the pool, its faults and the shuffle")
    sub.set_defaults(command=demo)
    sub.epilog = "examples:\n  curate demo -o demo-run\n  curate demo -o demo-m --tier M --engine local"


def demo(args: argparse.Namespace) -> int:
    from curate.extras.demo.job import main_job

    return main_job(args.out, args.tier, args.engine, args.seed)


COMMANDS = {
    "plan": ("show what a recipe would do, what is already done, and what it will cost", _plan_options),
    "run": ("run a recipe into a folder, or resume the run there", _run_options),
    "demo": ("build a small web and run web_pairs, then web_documents, on it", _demo_options),
}
