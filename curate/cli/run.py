"""The commands that run recipes: plan, run, demo."""

import argparse
import math
import sys

from curate.cli.arguments import amount, count, named_count, place, seconds
from curate.cli.recipe_options import build_recipe, recipe_options
from curate.errors import PoolError, RecipeError
from curate.view.look import clean


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
    recipe_options(sub, recipe)
    sub.set_defaults(command=plan)
    sub.epilog = """examples:
  curate plan datacomp_basic --pairs 'lists/*.parquet' --url URL --text TEXT
  curate plan obelics --pages 'crawl/*.warc.gz' -o out --rows 1000000000"""


def plan(args: argparse.Namespace) -> int:
    from curate.runner.planning import describe

    recipe = build_recipe(args).check()
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
    recipe_options(sub, recipe)
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
    recipe, part_size = build_recipe(args).check(), _part_size(args)
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
