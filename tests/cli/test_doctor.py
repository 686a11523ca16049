"""curate doctor, recipes and completion."""

import pytest

from curate.cli import doctor, main
from curate.runner.recipes import names


def test_the_doctor_looks_at_everything_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(doctor, "_asked", lambda code, seconds=120: (asked.append(code), (True, "asked"))[1])
    assert main(["doctor", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("python", "memory", "torch", "faiss", "ray", "store")) and len(asked) <= 2
    assert "creates only where there is none" in out and not any((tmp_path / "runs").iterdir())


def test_a_store_that_cannot_be_written_is_wrong(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    finding = doctor._store(str(tmp_path / "file" / "runs"))
    assert finding.state == "wrong" and "file" in finding.words


def test_code_that_kills_its_process_is_only_reported():
    assert doctor._asked("print('a'); print('b')") == (True, "b")
    worked, said = doctor._asked("import os; os.abort()")
    assert not worked and said


def test_every_recipe_is_listed_with_its_first_line(capsys):
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out.splitlines()
    lines, needs = ([line for line in shown if line.startswith(" ") == indented] for indented in (False, True))
    assert all(line.split()[0] == "needs" for line in needs) and needs
    assert [line.split()[0] for line in lines] == names() and all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_options(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "--reason" in out and "report" in out and "--refetch" in out
