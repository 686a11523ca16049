"""Every command of README and docs runs, in order, in one folder beside a small web on loopback."""

import shlex

import pytest
from walk import NOT_RUN, PAGES, ROOT, adapted, commands, desk, not_run

from curate.cli import main, parse

#: What only tests/walk.sh runs, with the reason.
LONG = {"curate evaluate run": "three trainings: tests/extras/test_evaluate.py"}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """The address of a small web; the folder with its list is the working directory."""
    folder = tmp_path_factory.mktemp("walk")
    with desk(folder) as address, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield address


def done(command: str) -> int:
    try:
        return main(shlex.split(command, comments=True)[1:])
    except SystemExit as e:
        return e.code


@pytest.mark.parametrize("file", PAGES)
def test_its_commands_run(file, web, capsys):
    for command in commands(file):
        if not_run(command) is None and not command.startswith(tuple(LONG)):
            assert done(adapted(command, web)) == 0, (command, capsys.readouterr().err)


@pytest.mark.parametrize("file", PAGES)
def test_commands_that_are_not_run_are_commands(file, web):
    for command in commands(file):
        if command.startswith("curate ") and not_run(command):
            assert callable(parse(shlex.split(command, comments=True)[1:]).command), command


def test_no_page_is_left_out_and_no_exception_is_idle():
    with_commands = {str(p.relative_to(ROOT)) for p in [ROOT / "README.md", *ROOT.glob("docs/*.md")]} - {"docs/cli.md"}
    assert {f for f in with_commands if commands(f)} <= set(PAGES)
    every = [command for file in PAGES for command in commands(file)]
    assert [start for start in (*NOT_RUN, *LONG) if not any(c.startswith(start) for c in every)] == []
