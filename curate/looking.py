"""The commands that look at runs, and at this machine: report, why, diff, watch, recipes, doctor, completion."""

import argparse
import os
import sys

from curate.errors import RecipeError
from curate.look import clean


def folder(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", metavar="RUN", help="a run's folder, local or any fsspec URL")


def _report_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("--rows", type=int, default=200_000, help="rows to look at; of a larger run, whole parts spread evenly over it")
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN/report.html)")
    sub.set_defaults(command=report)


def report(args: argparse.Namespace) -> int:
    from curate.driver import open_run
    from curate.report import write

    print(write(open_run(args.folder), args.out, args.rows))
    return 0


def _why_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("who", metavar="UID|URL", help="a uid, a sample's key, or the URL of an image or a page")
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN/why-UID.html)")
    sub.set_defaults(command=why)


def why(args: argparse.Namespace) -> int:
    from curate.driver import open_run
    from curate.story import as_text, tell, write

    run = open_run(args.folder)
    stories = tell(run, args.who)
    print(clean("\n\n".join(map(as_text, stories))) + "\n")
    print(write(run, stories, args.out))
    return 0


def _diff_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("first", metavar="RUN_A", help="a run's folder")
    sub.add_argument("second", metavar="RUN_B", help="another one; `curate run --reuse RUN_A` makes one that computes only what differs")
    sub.add_argument("-o", "--out", metavar="FILE", help="the HTML file to write (RUN_B/diff.html)")
    sub.set_defaults(command=diff)


def diff(args: argparse.Namespace) -> int:
    from curate.difference import Difference
    from curate.driver import open_run

    found = Difference(open_run(args.first), open_run(args.second))
    print(clean(found.as_text()) + "\n")
    print(found.write(args.out))
    return 0


def _recipes_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.set_defaults(command=recipes)


def recipes(args: argparse.Namespace) -> int:
    from curate.recipes import load, names

    loaded = [load(name) for name in names()]
    wide = max(len(r.name) for r in loaded)
    for r in loaded:
        print(f"{r.name:<{wide}}  {r.doc.splitlines()[0] if r.doc else ''}")
        print(f"{'':<{wide}}  needs {', '.join(r.needs()) or 'nothing'}")
    return 0


def _watch_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.set_defaults(command=watch)


def watch(args: argparse.Namespace) -> int:
    from curate.progress import Lines, Live
    from curate.store import Store
    from curate.watch import watch as follow

    display = Live() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines()
    try:
        word = follow(Store(args.folder), display)
    finally:
        if isinstance(display, Live):
            display.close()
    print(clean(word))
    return 0 if word.startswith("finished") else 1


def _doctor_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("stores", metavar="FOLDER|URL", nargs="*", default=["."], help="where runs would be kept; each is written to and read from")
    sub.set_defaults(command=doctor)


def doctor(args: argparse.Namespace) -> int:
    from curate.doctor import look

    found = look(args.stores)
    wide = max(len(f.name) for f in found)
    for f in found:
        print(f"{f.state:<7} {f.name:<{wide}}  {clean(f.words)}")
    return 1 if any(f.state == "wrong" for f in found) else 0


def _completion_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="source its output: eval \"$(curate completion bash)\"")
    sub.set_defaults(command=completion)


def completion(args: argparse.Namespace) -> int:
    from curate.cli import parser

    try:
        import shtab
    except ImportError as e:
        raise RecipeError("completion needs the package shtab: pip install shtab") from e
    print(shtab.complete(parser([])[0], shell=args.shell))
    return 0


COMMANDS = [
    ("report", "the run as one HTML page: funnel, scores, samples, duplicates, recipe", _report_options),
    ("why", "one row's story: scores beside bounds, the rule that dropped it or the shard that holds it", _why_options),
    ("diff", "two runs over one pool: who entered, who left, and by which rule", _diff_options),
    ("watch", "follow a run that goes on in another terminal or on another machine", _watch_options),
    ("recipes", "the recipes that come with curate", _recipes_options),
    ("doctor", "what this machine can do: GPU, faiss, models, stores", _doctor_options),
    ("completion", "completion of commands and options for a shell", _completion_options),
]

