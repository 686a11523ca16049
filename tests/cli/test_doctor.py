"""curate doctor, recipes and completion."""

import pytest
from tiny import tiny_clip

from curate.cli import doctor, main, rates
from curate.runner.recipes import names


def test_the_doctor_looks_at_everything_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(doctor, "_run_python", lambda code, seconds=120: (asked.append(code), (True, "asked"))[1])
    assert main(["doctor", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("python", "memory", "torch", "faiss", "ray", "store")) and len(asked) <= 2
    assert "creates only where there is none" in out and not any((tmp_path / "runs").iterdir())


def test_a_store_that_cannot_be_written_is_wrong(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    finding = doctor._store(str(tmp_path / "file" / "runs"))
    assert finding.state == "wrong" and "file" in finding.words


def test_code_that_kills_its_process_is_only_reported():
    assert doctor._run_python("print('a'); print('b')") == (True, "b")
    worked, said = doctor._run_python("import os; os.abort()")
    assert not worked and said


def test_the_doctor_measures_a_model_and_names_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "SECONDS", 0.0)
    monkeypatch.setattr(rates, "PICTURES", 32)
    finding = doctor._model(tiny_clip(tmp_path / "tiny"))
    assert finding.state == "fine" and "is the limit" in finding.words and "on cpu in batches of 64" in finding.words
    assert doctor._model("ViT-B-33").state == "wrong"


def test_the_slower_one_is_the_limit():
    slow, fast = rates.ModelRates(400, 1000, 1, 4, "cuda", 256).words(), rates.ModelRates(4000, 1000, 1, 8, "cuda", 256).words()
    assert slow.endswith("decoding is the limit: 10 cores would keep the model busy")
    assert fast.endswith("the model is the limit: 2 of the cores keep it busy")


def test_every_recipe_is_listed_with_its_first_line(capsys):
    assert main(["recipes"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]  # group headings are not indented
    needs, lines = ([line for line in shown if (line.split()[0] == "needs") == asked] for asked in (True, False))
    assert (
        needs and sorted(line.split()[0] for line in lines) == sorted(names()) and all(len(line.split()) > 4 for line in lines)
    )
    assert [line.split()[0] for line in lines[:2]] == ["web_pairs", "web_documents"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_options(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "--reason" in out and "report" in out and "--refetch" in out
