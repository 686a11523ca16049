"""Argument parsing shared by all commands: help that keeps its paragraphs and examples, and errors that suggest the option meant."""

import argparse
import difflib
import os
import re
from functools import partial
from typing import NoReturn

from curate.errors import CurateError


class Help(argparse.HelpFormatter):
    """Help formatter that shows defaults (not None, empty or flags, unless the help says it) and keeps paragraphs; those with indented lines are not wrapped."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        value = action.default
        if action.nargs == 0 or value is None or value in ("", (), []) or "(default" in (action.help or ""):
            return action.help
        shown = ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
        shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(shown)
        return f"{action.help} (default: {shown.replace('%', '%%')})"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(p if "\n  " in p else super(Help, self)._fill_text(p, width, indent) for p in text.split("\n\n"))


#: Formatter of the list of commands, whose names are short.
Commands = partial(Help, max_help_position=19)


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the option, value or command you meant."""

    def error(self, message: str) -> NoReturn:
        wrong, known, program = "", [], self.prog
        if asked := self.get_default("asked"):  # the recipe whose options these are
            program = f"{program} {asked}"
        if "arguments are required: " in message:
            start, mark, names = message.partition("arguments are required: ")
            message = start + mark + self._missing(names.split(", "))
        if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            wrong, known = choice[1], [c.strip(" '") for c in choice[2].split(",")]
            message = message[: choice.start()] + f"invalid choice: '{wrong}'"
        elif "unrecognized arguments: " in message:
            wrong = message.split("unrecognized arguments: ")[1].split()[0].split("=")[0]
            known = [o for a in self._actions for o in a.option_strings]
        near = difflib.get_close_matches(wrong, known, 1) if wrong else []
        there = f"; there are: {', '.join(known)}" if "choice" in message else ""
        meant = f"; did you mean {near[0]}?" if near else there
        self.exit(2, f"{program}: {message}{meant}\ntry: {program} --help\n")

    def _missing(self, names: list[str]) -> str:
        """The missing arguments, each with its help."""
        about = {"/".join(a.option_strings): a.help for a in self._actions}
        return ", ".join(name + (f" ({about[name]})" if about.get(name) else "") for name in names)


def completing(what: str, words: str) -> dict[str, str | dict[str, str]]:
    """An option's `complete` for shtab: a shell function that offers the lines printed by a command; in it $RECIPE is the recipe, the
    third word of the command line."""
    bash = f'_curate_{what}() {{ local RECIPE="${{COMP_WORDS[2]}}"; compgen -W "$({words})" -- "$1"; }}'
    zsh = f"_curate_{what}() {{ local RECIPE=${{${{(z)BUFFER}}[3]}}; compadd -S '' -- ${{(f)\"$({words})\"}} }}"
    return {"bash": f"_curate_{what}", "zsh": f"_curate_{what}", "preamble": {"bash": bash, "zsh": zsh}}


def place(text: str) -> str:
    """argparse type: a run's folder, a path or URL."""
    from curate.store.atomic import Store

    try:
        store = Store(text)
    except (ValueError, ImportError, OSError) as e:
        raise argparse.ArgumentTypeError(f"{text}: {e}") from e
    except CurateError as e:
        raise argparse.ArgumentTypeError(str(e)) from e
    if store.local and os.path.isfile(store.root):
        raise argparse.ArgumentTypeError(f"{text} is a file, and a run is a folder")
    return text


def count(text: str) -> int:
    """argparse type: a positive integer, which may be written as 1e8."""
    try:
        number = float(text) if "e" in text.lower() else int(text)
    except ValueError:
        number = 0
    if number < 1 or number != number // 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(number)


def named_count(text: str) -> tuple[str, int]:
    """argparse type: a name with a positive integer, `clip_score=2`."""
    name, mark, number = text.rpartition("=")
    if not (name and mark):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=N")
    return name, count(number)


def seconds(text: str) -> float:
    """argparse type: a time in seconds, more than 0."""
    return _positive(text, "a number of seconds")


def amount(text: str) -> float:
    """argparse type: an amount of money or tokens, more than 0."""
    return _positive(text, "a number above 0")


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not {what}")
    return value


def folder(sub: argparse.ArgumentParser) -> None:
    """Add the positional argument RUN."""
    sub.add_argument("folder", type=place, metavar="RUN", help="a run's folder, local or any fsspec URL")
