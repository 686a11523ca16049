"""The command line: one module a group of commands (recipes, run, query, view, upkeep, evaluate), each with its table COMMANDS."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from curate import __version__
from curate.cli import evaluate, query, recipes, run, upkeep, view
from curate.cli.arguments import Commands, Help, Parser
from curate.cli.sources import assign_inputs
from curate.errors import CurateError, RecipeError
from curate.view.look import clean

EPILOG = """\
A recipe is one of those that `curate recipes` lists, or a Python file with a function recipe(source, ...). Its parameters
are its options: `curate run RECIPE --help` says what they mean. RUN is a run's folder, local or any fsspec URL.

exit codes:
  0    all rows accounted for
  1    the run or the check found something wrong; one line says what
  2    the command was wrong; one line says how
  3    a takedown removed less than its list asks for; the rest is listed
  130  stopped with Ctrl-C; rerun the same command to resume"""


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if not debug:
        _silence_libraries()
    try:
        args = parse([a for a in argv if a != "--debug"])
        return args.command(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nstopped; rerun the same command to resume", file=sys.stderr)
        return 130
    except CurateError as e:
        if debug:
            raise
        print(f"curate: {clean(str(e))}", file=sys.stderr)
        return 2 if isinstance(e, RecipeError) else 1
    except Exception as e:
        if debug:
            raise
        print(f"curate: {clean(_one_line(e))} (--debug says where)", file=sys.stderr)
        return 1


#: Libraries whose warnings and progress bars are hidden, since a run shows its own progress; --debug shows them.
NOISY_LIBRARIES = ("ray._private", "transformers", "open_clip", "huggingface_hub", "torch", "urllib3", "py.warnings")


def _silence_libraries() -> None:
    """Make libraries log errors only, here and in the workers that this process starts."""
    for name in NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    for name, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("PYTHONWARNINGS", "ignore"),
    ):
        os.environ.setdefault(name, value)


def _one_line(e: Exception) -> str:
    """An unexpected exception in one line: file and cause where it has them, else its type and message."""
    if isinstance(e, OSError) and e.filename and e.strerror:
        return f"{e.filename}: {e.strerror}"
    return f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else 'no more is known'}"


def parser(argv: list[str]) -> tuple[Parser, dict[str, Parser]]:
    """The top-level parser, and the parser of each command; `plan` and `run` have the options of the recipe that argv names."""
    top = Parser(
        prog="curate",
        description="Turns web image-text pairs and pages into balanced WebDataset shards, with a recorded reason for every row kept or dropped.",
        epilog=EPILOG,
        formatter_class=Commands,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"curate {__version__}")
    top.add_argument("--debug", action="store_true", help="show tracebacks and every log line")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    recipe = _recipe_of(argv) if argv[:1] in (["plan"], ["run"]) else None
    for name, about, add in COMMANDS:
        sub = commands.add_parser(
            name, help=about, description=about[0].upper() + about[1:] + ".", allow_abbrev=False, formatter_class=Help
        )
        add(sub, recipe if argv[:1] == [name] else None)
    return top, commands.choices


def _recipe_of(argv: list[str]) -> str | None:
    """The recipe in the arguments of `plan` or `run`, if any. Options may precede it; unknown ones (the recipe's own) take one value each."""
    known = argparse.ArgumentParser(add_help=False)
    dict((name, add) for name, _, add in COMMANDS)[argv[0]](known, None)
    options = {o: a.nargs for a in known._actions for o in a.option_strings}
    words, listing = iter(argv[1:]), False
    for word in words:
        if word.startswith("-"):
            listing = options.get(word) == "+"
            alone = word in ("-h", "--help") or "=" in word or (len(word) > 2 and word[:2] in options)
            if options.get(word) is None and not alone:
                next(words, None)
        elif not listing:
            return word
    return None


def parse(argv: list[str]) -> argparse.Namespace:
    top, commands = parser(argv)
    args, rest = top.parse_known_args(argv)
    if rest and hasattr(args, "pairs") and not any(word.startswith("-") for word in rest):
        assign_inputs(args, rest)
    elif rest:  # by the command's own parser, which suggests its options
        commands[argv[0]].error(f"unrecognized arguments: {' '.join(rest)}")
    return args


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


_COMPLETION = {"completion": ("print the completion of commands and options for a shell", _completion_options)}
_ALL = {
    **run.COMMANDS,
    **query.COMMANDS,
    **view.COMMANDS,
    **recipes.COMMANDS,
    **upkeep.COMMANDS,
    **evaluate.COMMANDS,
    **_COMPLETION,
}
#: Every command in the order of the help: to begin, to run, to look, to keep, this machine.
COMMANDS = [
    (name, *_ALL[name])
    for name in (
        "demo",
        "recipes",
        "vocabulary",
        "embeddings",
        "plan",
        "run",
        "watch",
        "stats",
        "report",
        "explore",
        "show",
        "why",
        "near",
        "diff",
        "sql",
        "annotate",
        "evaluate",
        "check",
        "takedown",
        "gc",
        "export",
        "blend",
        "doctor",
        "completion",
    )
]
