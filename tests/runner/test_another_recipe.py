"""A folder that holds another recipe's run, a run that keeps nothing, and the summary at the end of a run."""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import ToyScore, ToyWords, recipe

import curate
from curate.cli import main
from curate.errors import PoolError, RecipeError
from curate.recipe import Recipe
from curate.runner.driver import run as start
from curate.runner.preflight import same_recipe
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.view.closing import nothing_kept
from curate.view.run import open_run

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("110")
    start(recipe([tmp_path / "a.txt"]), str(tmp_path / "run"), "local", part_size=50)
    return tmp_path


def other(folder):
    built = recipe([folder / "a.txt"], words=2)
    built.name = "second"
    return built


def test_another_recipe_s_run_is_refused_and_stays_as_it_is(folder):
    before = open_run(str(folder / "run")).dataset
    with pytest.raises(RecipeError) as e:
        start(other(folder), str(folder / "run"), "local", part_size=50)
    said = str(e.value)
    assert re.search(r"holds a run of recipe toy \(finished \d{4}-\d\d-\d\d \d\d:\d\d UTC, \d+ samples?\)", said)
    assert "recipe second" in said and "--reuse" in said and "--replace" in said and "\n" not in said
    assert open_run(str(folder / "run")).dataset == before and check(Store(folder / "run")) == []


def test_replace_makes_what_a_new_folder_would_hold(folder):
    built = other(folder)
    made = start(built, str(folder / "run"), "local", part_size=50, replace=True)
    fresh = start(built, str(folder / "fresh"), "local", part_size=50)
    assert made.dataset["root_hash"] == fresh.dataset["root_hash"] and check(made.store) == []
    assert made.recipe["name"] == "second" and made.counters["toy_words"]["computed"] == 0  # columns are used again
    assert start(built, str(folder / "run"), "local", part_size=50).counters == {}  # it is this recipe's run from now on


def test_a_replacement_that_is_interrupted_shows_no_rows_of_the_other_recipe(folder, monkeypatch):
    from curate.runner.driver import Driver

    monkeypatch.setattr(Driver, "_score_and_select", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        start(other(folder), str(folder / "run"), "local", part_size=50, replace=True)
    with pytest.raises(PoolError, match="no ledger here"):
        open_run(str(folder / "run")).stats()
    with pytest.raises(RecipeError, match=r"recipe second \(begun .* not finished\)"):
        start(recipe([folder / "a.txt"]), str(folder / "run"), "local", part_size=50)


def test_the_same_recipe_under_another_name_goes_on(folder):
    built = recipe([folder / "a.txt"])
    built.name = "renamed"
    assert start(built, str(folder / "run"), "local", part_size=50).counters == {}


@pytest.mark.parametrize("change", [{"words": 5}, {"half": 0.1}, {"extra": [ToyScore(name="more")]}, {"size": 7}], ids=str)
def test_the_same_recipe_goes_on_with_other_bounds_and_steps(folder, change):
    start(recipe([folder / "a.txt"], **change), str(folder / "run"), "local", part_size=50)


@dataclass
class OtherWords(ToyWords):
    pass


@pytest.mark.parametrize(
    ("before", "steps", "refused"),
    [
        ("toy", [ToyWords()], False),  # a name is missing: a step in common
        ("", [ToyWords(min=7)], False),
        ("", [ToyWords(), OtherWords()], False),
        ("", [OtherWords()], True),
        ("toy", [OtherWords()], True),
        ("", [], False),  # nothing to tell them apart by
    ],
)
def test_recipes_without_names_are_known_by_their_steps(folder, before, steps, refused):
    record = open_run(str(folder / "run")).recipe | {"name": before}
    built = Recipe(recipe([folder / "a.txt"]).source, steps, shards=None)
    if refused:
        with pytest.raises(RecipeError, match="a recipe without a name"):
            same_recipe(Store(folder / "run"), record, built)
    else:
        same_recipe(Store(folder / "run"), record, built)


def test_a_run_over_another_source_is_not_offered_to_be_replaced(folder):
    record = open_run(str(folder / "run")).recipe
    record["source"] = record["source"] | {"url": "URL"}
    with pytest.raises(RecipeError, match=r"choose another folder with -o$"):
        same_recipe(Store(folder / "run"), record, other(folder))


FILE = """from toys import recipe as toy
def recipe(source, words: int = 3, score: float = 0.2):
    built = toy([], words=words, score=score, fails="ok")
    built.source, built.name = source, ""
    return built
"""


@pytest.fixture
def lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"http://toy/{i},{'word ' * (i % 7)}\n" for i in range(60))
    Path("pairs.csv").write_text("url,text\n" + rows)
    for name in ("first", "second"):
        Path(f"{name}.py").write_text(FILE)
    return ["--pairs", "pairs.csv", "--engine", "local", "-o", "my run"]


def test_the_command_line_refuses_and_replaces(lists, capsys):
    assert main(["run", "first.py", *lists]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^report: .*/my run/report\.html$", out, re.M) and "next: curate show 'my run'" in out
    assert re.search(r"samples in 1 shard: ", out)
    assert main(["run", "second.py", *lists, "--words", "5"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "recipe first" in err and "--replace" in err
    assert main(["run", "first.py", *lists, "--words", "4"]) == 0
    assert main(["run", "second.py", *lists, "--words", "5", "--replace"]) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--words", "100"], "toy_words dropped all 60 images"),
        (["--score", "2", "--words", "0"], "toy_score dropped"),
    ],
    ids=["everything", "the most"],
)
def test_that_nothing_was_kept_is_said_with_the_rule(lists, capsys, options, says):
    assert main(["run", "first.py", *lists, *options]) == 0
    out = capsys.readouterr().out
    reason = says.split()[0]
    assert f"NOTHING WAS KEPT: {says}" in out and f"--reason {reason}`" in out
    assert main(["run", "first.py", *lists, *options]) == 0  # also where there is nothing to do
    assert "NOTHING WAS KEPT" in capsys.readouterr().out


def test_python_is_warned_that_nothing_was_kept(folder, caplog):
    made = start(recipe([folder / "a.txt"], words=100), str(folder / "none"), "local")
    assert caplog.messages == [nothing_kept(made)] and "toy_words dropped" in caplog.messages[0]


def test_a_stage_with_several_reasons_is_named_with_the_most_frequent(folder):
    built = recipe([folder / "a.txt"], words=None, score=None, half=2.0)
    made = start(built, str(folder / "none"), "local")
    assert made.dataset["samples"] == 0 and "toy_half dropped" in nothing_kept(made) and "; then " in nothing_kept(made)


def test_the_version_is_known_without_a_distribution_called_curate():
    assert re.fullmatch(r"\d+\.\d+\.\d+", curate.__version__)
    project = (ROOT / "pyproject.toml").read_text()
    assert 'name = "curate-multimodal"' in project
    hints = [p for p in (*ROOT.glob("curate/**/*.py"), *ROOT.glob("docs/**/*"), ROOT / "README.md") if p.is_file()]
    wrong = [
        p.name
        for p in hints
        if p.suffix in (".py", ".md", ".yaml") and re.search(r"install [^\n]*\bcurate(?![-\w/])\[?", p.read_text())
    ]
    assert wrong == []


def test_the_recipe_in_the_readme_runs_when_copied(tmp_path, monkeypatch, capsys):
    """From a list whose addresses are private: nothing is fetched, and every step is there."""
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[:2])
    in_a_file, in_python = code.split("import curate\n")
    Path("copied.py").write_text(in_a_file)
    Path("entries.json").write_text('["cat", "dog"]')
    Path("lists").mkdir()
    rows = {"URL": [f"http://127.0.0.1:8081/{i}.jpg" for i in range(9)], "TEXT": [f"a cat on a mat {i}" for i in range(9)]}
    pq.write_table(pa.table(rows), "lists/0.parquet")
    options = ["--pairs", "lists/*.parquet", "--url", "URL", "--text", "TEXT", "--model", "small", "--engine", "local"]
    assert main(["run", "copied.py", *options, "-o", "out"]) == 0
    assert "fetch dropped all 9 images, most often fetch:private_address" in capsys.readouterr().out
    names: dict = {}
    exec(in_a_file + "\nimport curate\n" + in_python.split("run = ")[0], names)
    source = names["UrlPairs"]("lists/*.parquet", url="URL", text="TEXT")
    assert names["recipe"](source).check().steps[-1].name == "balance"
