"""`python -m curate.cli.reference`: the page of all commands and options, docs/cli.md."""

import argparse
import os
from collections.abc import Iterator

from curate.cli import COMMANDS, EPILOG, parser

HEAD = """\
# Commands

Every command with its options, as `curate COMMAND --help` prints them; `curate run RECIPE --help` adds those of the recipe. Made by
`python -m curate.cli.reference`.
"""


def page() -> str:
    """The page as Markdown."""
    os.environ["COLUMNS"] = "120"
    commands = parser([])[1]
    exits = EPILOG.split("exit codes:")[1]
    return "\n".join(
        [
            HEAD,
            *(line for name, *_ in COMMANDS for line in _command(name, commands[name])),
            f"## Exit codes\n\n```text{exits}\n```",
            "",
        ]
    )


def _command(name: str, sub: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## curate {name}\n\n```text\n{sub.format_help().rstrip()}\n```\n"


if __name__ == "__main__":
    print(page(), end="")
