"""The commands that show runs as pages and stories: show, report, explore, why, diff, annotate, watch; and doctor, this machine."""

import argparse
import os
from typing import Any

from curate.cli.arguments import count, folder, place
from curate.errors import RecipeError
from curate.view.look import clean


def _show_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("--reason", metavar="R", help="rows dropped for this reason (default: kept rows)")
    sub.add_argument("-n", type=count, default=16, help="how many samples, drawn by a hash of their uid")
    sub.add_argument("--documents", action="store_true", help="web pages with their images in place instead of single images")
    sub.add_argument("--where", metavar="SQL", help="only rows for which this holds, like clip_score < 0.2")
    sub.add_argument(
        "--sort", metavar="COLUMN", default="", help="sort by a column instead of drawing; COLUMN:desc is largest first"
    )
    sub.add_argument("--page", type=count, default=1, metavar="N", help="the N-th page of -n samples")
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN/show.html, or show-R.html)")
    sub.set_defaults(command=show)
    sub.epilog = """examples:
  curate show out --reason language -n 32
  curate show out --reason exact_dedup                 # groups: the copy that was kept, and its duplicates
  curate show out --where "clip_score < 0.2" --sort clip_score:desc --page 2
  curate show out --documents -n 4"""


def show(args: argparse.Namespace) -> int:
    import duckdb

    from curate.view.grid import write_page
    from curate.view.reading import consistent

    sort = f"-{args.sort.removesuffix(':desc')}" if args.sort.endswith(":desc") else args.sort
    try:
        print(
            consistent(
                [args.folder],
                lambda run: write_page(run, args.reason, args.n, args.where, args.out, args.documents, sort, args.page),
            )
        )
    except duckdb.Error as e:
        raise RecipeError(f"SQL: {e}") from e
    return 0


def _report_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument(
        "--rows",
        type=count,
        help="rows to look at; of a larger run, whole parts spread evenly over it (default: 200,000)",
    )
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN/report.html)")
    sub.set_defaults(command=report)
    sub.epilog = "examples:\n  curate report out\n  curate report s3://bucket/run -o report.html"


def report(args: argparse.Namespace) -> int:
    from curate.view.reading import consistent
    from curate.view.report import ROWS, write

    print(consistent([args.folder], lambda run: write(run, args.out, args.rows or ROWS)))
    return 0


def _explore_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: any free one")
    sub.add_argument("--open", action="store_true", help="open the page in the default browser")
    sub.add_argument(
        "--embeddings",
        type=count,
        metavar="N",
        default=100_000,
        help="CLIP embeddings to load for the map and for search by image; of a larger run a sample",
    )
    sub.set_defaults(command=explore)
    sub.epilog = "examples:\n  curate explore out\n  curate explore s3://bucket/run --port 8000"


def explore(args: argparse.Namespace) -> int:
    import webbrowser

    try:
        from curate.view.explore.explorer import Explorer
        from curate.view.explore.server import serve
    except ImportError as e:
        raise RecipeError(f"curate explore needs {e.name}: pip install 'curate-multimodal[explore]'") from e

    def ready(address: str) -> None:
        print(f"{address}\nOnly this machine can open it, with the token in the address. Ctrl-C ends it.", flush=True)
        if args.open:
            webbrowser.open(address)

    with Explorer(args.folder, args.embeddings) as explorer:
        serve(explorer, args.port, ready)
    return 0


def _why_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("who", metavar="UID|URL", help="a uid, a sample's key, or the URL of an image or a page")
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN/why-UID.html)")
    sub.set_defaults(command=why)
    sub.epilog = "examples:\n  curate why out http://example.org/cat.jpg\n  curate why out 375d3a3234b34a44c6748d3f664671c0"


def why(args: argparse.Namespace) -> int:
    from curate.view.reading import consistent
    from curate.view.run import Run
    from curate.view.story import as_text, stories_of, write

    def read(run: Run) -> tuple[str, str]:
        stories = stories_of(run, args.who)
        return clean("\n\n".join(map(as_text, stories))), write(run, stories, args.out)

    text, page = consistent([args.folder], read)
    print(f"{text}\n\n{page}")
    return 0


def _diff_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("first", type=place, metavar="RUN_A", help="a run's folder")
    sub.add_argument(
        "second",
        type=place,
        metavar="RUN_B",
        help="another one; `curate run --reuse RUN_A` makes one that computes only what differs",
    )
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN_B/diff.html)")
    sub.set_defaults(command=diff)
    sub.epilog = "examples:\n  curate run mine.py --pool pool -o second --reuse first\n  curate diff first second"


def diff(args: argparse.Namespace) -> int:
    from curate.view.difference import Difference
    from curate.view.reading import consistent
    from curate.view.run import Run

    def read(first: Run, second: Run) -> tuple[str, str]:
        found = Difference(first, second)
        return clean(found.as_text()), found.write(args.out)

    text, page = consistent([args.first, args.second], read)
    print(f"{text}\n\n{page}")
    return 0


def _annotate_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    from curate.view.annotate import FORMS

    folder(sub)
    ask = sub.add_argument_group("ask people")
    ask.add_argument("-o", "--out", metavar="FOLDER", help="write samples here, for people to judge")
    ask.add_argument("--format", metavar="FORM", choices=FORMS, default="label-studio", help="one of the forms below")
    ask.add_argument("-n", type=count, default=200, help="how many samples")
    ask.add_argument(
        "--by", metavar="COLUMN", default="drop_reason", help="as many of each value of this column (or SQL expression)"
    )
    ask.add_argument(
        "--near", metavar="RULE", help="instead, the rows nearest to this rule's thresholds, on both sides; all: of every rule"
    )
    ask.add_argument("--where", metavar="SQL", default="", help="only rows for which this holds, like clip_score < 0.2")
    ask.add_argument(
        "--side", type=int, default=768, metavar="PIXELS", help="longer side of the pictures; larger ones are scaled down"
    )
    ask.add_argument("--seed", type=int, default=0, help="of the draw")
    ask.add_argument(
        "--pair", metavar="COLUMN", default="", help="ask which of two answers is better: a column like preference_pair"
    )
    read = sub.add_argument_group("read their verdicts")
    read.add_argument(
        "--verdicts",
        metavar="FILE",
        nargs="*",
        help="Label Studio's JSON or CSV, or the filled-in CSV; no FILE: those read before",
    )
    sub.set_defaults(command=annotate)
    wide = max(map(len, FORMS))
    sub.epilog = "\n".join(
        [
            "forms:",
            *(f"  {name:<{wide}}  {what}" for name, what in FORMS.items()),
            "",
            """examples:
  curate annotate out -o to-judge -n 300
  curate annotate out -o to-judge --near clip_score --format csv
  curate annotate out -o to-compare --pair preference_pair
  curate annotate out --verdicts to-judge/verdicts.csv""",
        ]
    )


def annotate(args: argparse.Namespace) -> int:
    from curate.view.agreement import Verdicts
    from curate.view.annotate import draw, write
    from curate.view.reading import consistent, writing
    from curate.view.run import Run, open_run
    from curate.view.verdicts import keep

    if (args.out is None) == (args.verdicts is None):
        raise RecipeError("use -o FOLDER to make pages for annotators, or --verdicts FILE to read their verdicts")
    if args.out is not None:

        def ask(run: Run) -> tuple[list[Any], list[str]]:
            rows = draw(run, args.n, args.by, args.near, args.where, args.seed, args.pair)
            return rows, write(run, rows, args.format, args.out, args.side, args.seed, args.pair)

        rows, files = consistent([args.folder], ask)
        print(f"{len(rows):,} samples: {', '.join(os.path.join(args.out, name) for name in files)}")
        return 0
    run = open_run(args.folder)
    for path in args.verdicts:
        with writing(run):
            found = keep(run.store, path)
        print(f"{clean(path)}: {len(found):,} judgements")
    print(clean(consistent([args.folder], lambda run: str(Verdicts(run)))))
    return 0


def _watch_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.set_defaults(command=watch)
    sub.epilog = "examples:\n  curate watch out\n  curate watch s3://bucket/run"


def watch(args: argparse.Namespace) -> int:
    from curate.store.atomic import Store
    from curate.view.display import display
    from curate.view.watch import watch as follow

    with display() as shown:
        word = follow(Store(args.folder), shown)
    print(clean(word))
    return 0 if word.startswith("finished") else 1


def _doctor_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument(
        "stores",
        metavar="FOLDER|URL",
        nargs="*",
        default=["."],
        help="where runs would be kept; each is written to and read from; the current folder",
    )
    sub.add_argument(
        "--model",
        default="",
        metavar="CLIP",
        help="measure the rates at which this machine decodes pictures and this CLIP model embeds them, and say which of the two limits a run",
    )
    sub.set_defaults(command=doctor)
    sub.epilog = "examples:\n  curate doctor\n  curate doctor /data/runs s3://bucket/runs\n  curate doctor --model small"


def doctor(args: argparse.Namespace) -> int:
    from curate.cli.doctor import look

    found = look(args.stores, args.model)
    wide = max(len(f.name) for f in found)
    for f in found:
        print(f"{f.state:<7} {f.name:<{wide}}  {clean(f.words)}")
    return 1 if any(f.state == "wrong" for f in found) else 0


COMMANDS = {
    "show": ("write an image grid (HTML) of kept samples, or of those dropped for a reason", _show_options),
    "report": ("write the run as one HTML page: funnel, scores, samples, duplicates, recipe", _report_options),
    "explore": ("open the run in the browser: filters, search, a map of embeddings, duplicates, thresholds", _explore_options),
    "why": ("explain one row: its scores and thresholds, the rule that dropped it or the shard that holds it", _why_options),
    "diff": ("compare two runs over one pool: which rows entered, which left, and by which rule", _diff_options),
    "annotate": (
        "draw samples for people to judge, compare their verdicts with the rules, suggest thresholds",
        _annotate_options,
    ),
    "watch": ("follow a run that works in another terminal or on another machine", _watch_options),
    "doctor": ("say what this machine can do: GPU, FAISS, models, stores", _doctor_options),
}
