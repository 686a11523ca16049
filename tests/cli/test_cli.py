"""The command line: exit codes, one-line errors that name the cause, options made from a recipe's parameters."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.cli import COMMANDS, main, parse, parser
from curate.errors import PoolError
from curate.runner.recipes import load, names
from curate.view.run import open_run

RECIPE = '''
"""A recipe of the tests.

More about it.
"""

from toys import ToyHalf, ToyFetch, ToyScore, ToyWords

from curate.recipe import Recipe, Shards


def recipe(source, words: int = 3, tags: tuple[str, ...] = ("a",), loud: bool = False, seed: int = 0):
    """words: words that a text needs,
        by 100 % of the rules.
    """
    return Recipe(source, [ToyWords(min=words), ToyFetch(), ToyScore()], [ToyHalf()], shards=Shards(size=20))
'''


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "mine.py").write_text(RECIPE)
    return str(tmp_path / "mine.py")


@pytest.fixture
def pairs(tmp_path):
    lines = [json.dumps({"url": f"http://toy/{i}", "caption": "word " * (i % 7)}) for i in range(300)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    return str(tmp_path / "pairs.jsonl")


@pytest.fixture
def run(recipe, pairs, tmp_path, capsys):
    assert main(["run", recipe, "--pairs", pairs, "--text", "caption", "-o", str(tmp_path / "run"), "--engine", "local"]) == 0
    capsys.readouterr()
    return str(tmp_path / "run")


def said(capsys, *argv):
    code = main(list(argv))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_run_prints_the_funnel_and_the_shards(recipe, pairs, tmp_path, capsys):
    code, out, err = said(
        capsys, "run", recipe, "--pairs", pairs, "--text", "caption", "-o", str(tmp_path / "r"), "--engine", "local"
    )
    assert code == 0 and "images: 300 rows in" in out and "- toy_words" in out and "shards: " in out and "root hash" in out
    assert "toy_fetch: 300 of 300 rows" in err  # plain lines where there is no terminal


def test_options_may_stand_before_the_recipe(recipe, pairs, tmp_path, capsys):
    """Also those of the recipe itself, and a list of values that ends at the next option."""
    options = ["--words", "4", "--pairs", pairs, pairs, "--text", "caption", "--part-size=100"]
    code, out, _ = said(capsys, "plan", f"-o{tmp_path}/r", *options, recipe)
    assert code == 0 and "min 4" in out and "parts of 100 rows" in out
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert capsys.readouterr().out.startswith("usage: curate plan RECIPE [INPUT ...] [options]")


def test_curate_tells_its_version(capsys):
    with pytest.raises(SystemExit) as e:
        main(["--version"])
    assert e.value.code == 0 and re.fullmatch(r"curate \d+\.\d+.*\n", capsys.readouterr().out)


BAD = {
    "raise": ("def recipe(source):\n    raise KeyError('boom')", "bad.py: 2: KeyError: 'boom'"),
    "keyword": (
        "from toys import ToyWords\ndef recipe(source):\n    return ToyWords(mni=3)",
        "bad.py: 3: TypeError: ToyWords.__init__() got an unexpected keyword argument 'mni'",
    ),
    "nothing": ("def recipe(source):\n    pass", "bad.py: 1: recipe() returned NoneType, not a Recipe"),
    "text": ("def recipe(source, text='a'):\n    pass", "bad.py: 1: parameter text: curate has an option --text"),
    "help": ("def recipe(source, help=1):\n    pass", "bad.py: 1: parameter help: curate has an option --help"),
    "file": ("def recipe(source, file='a', command='b'):\n    return file + command", "recipe() returned str"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_mistake_in_a_recipe_is_named_with_its_line(pairs, tmp_path, capsys, what):
    (tmp_path / "bad.py").write_text(BAD[what][0])
    code, _, err = said(capsys, "run", str(tmp_path / "bad.py"), "--pairs", pairs, "-o", str(tmp_path / "r"))
    assert code == 2 and BAD[what][1] in err and err.count("\n") == 1 and not (tmp_path / "r").exists()


def test_a_recipe_in_this_folder_is_not_taken_for_one_of_curate_s(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "did you mean mine.py?" in said(capsys, "run", "mine", "--pairs", "x", "-o", "o")[2]


def test_a_query_whose_columns_have_one_name_keeps_both(run, tmp_path, capsys):
    assert main(["sql", run, "select 1 as a, 2 as a", "-o", str(tmp_path / "x.json")]) == 0
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1, "a_1": 2}


DAMAGE = {
    "unfinished": ("dataset.json", None, "report", "this run is not finished; rerun the same `curate run` to resume it"),
    "dataset": ("dataset.json", b"{", "export", "dataset.json: damaged ("),
    "record": ("recipe.json", b"[", "stats", "recipe.json: damaged ("),
    "ledger": ("ledger/images/000000.parquet", b"x", "stats", "000000.parquet"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_run_that_is_not_whole_is_told_in_a_line(run, tmp_path, capsys, what):
    name, data, command, message = DAMAGE[what]
    Path(run, name).write_bytes(data) if data else Path(run, name).unlink()
    more = ["--format", "datacomp-subset", "-o", str(tmp_path / "x.npy")] if command == "export" else []
    code, _, err = said(capsys, command, run, *more)
    assert code == 1 and message in err and err.count("\n") == 1
    if what != "unfinished":
        return
    with pytest.raises(PoolError, match="not finished"):
        open_run(run).dataset  # noqa: B018


def test_private_addresses_are_told_how_to_be_fetched(tmp_path, capsys):
    (tmp_path / "l.csv").write_text("url,text\nhttp://127.0.0.1:8099/a.jpg,one\n")
    argv = ["run", "datacomp_none", "--pairs", str(tmp_path / "l.csv"), "-o", str(tmp_path / "r"), "--engine", "local"]
    code, _, err = said(capsys, *argv)
    assert code == 0 and "1 rows are at private addresses; --allow-private NET" in err


def test_doctor_takes_a_store_that_there_is_not(capsys):
    code, out, _ = said(capsys, "doctor", "s4://x")
    assert code == 1 and "Protocol not known: s4" in out


def test_stats_counts_every_row(run, capsys):
    code, out, _ = said(capsys, "stats", run)
    numbers = [int(line.split()[-3].replace(",", "")) for line in out.splitlines()[1:]]
    assert code == 0 and sum(numbers) == 300


def test_a_run_that_reuses_another_has_its_parts(recipe, pairs, tmp_path, capsys):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    argv = ["run", recipe, "--pairs", pairs, "--text", "caption", "--engine", "local"]
    assert main([*argv, "-o", first, "--part-size", "40"]) == 0 and main([*argv, "-o", first]) == 0
    assert main([*argv, "-o", second, "--reuse", first, "--words", "4"]) == 0
    counters = json.loads((tmp_path / "second/recipe.json").read_text())["counters"]
    assert (
        counters["toy_fetch"]["computed"] == 0 < counters["toy_fetch"]["reused"]
        and len(list(tmp_path.glob("second/work/parts/*"))) == 8
    )


def test_nothing_is_reused_in_a_folder_that_holds_something_else(recipe, pairs, run, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_text("x")
    argv = ["run", recipe, "--pairs", pairs, "--text", "caption", "--engine", "local"]
    code, _, err = said(capsys, *argv, "-o", str(tmp_path / "photos"), "--reuse", run)
    assert code == 2 and "holds something else (cat.jpg)" in err and os.listdir(tmp_path / "photos") == ["cat.jpg"]


def test_a_damaged_record_is_named_and_made_again(recipe, pairs, run, tmp_path, capsys):
    path = tmp_path / "run/recipe.json"
    path.write_bytes(path.read_bytes()[:100])
    argv = ["run", recipe, "--pairs", pairs, "--text", "caption", "--engine", "local", "-o", run]
    code, _, err = said(capsys, *argv, "--repair")
    assert code == 1 and "recipe.json: damaged" in err and "with --part-size" in err
    assert said(capsys, *argv, "--repair", "--part-size", "10000")[0] == 0 and said(capsys, "check", run)[0] == 0


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_sql_prints_and_writes(run, tmp_path, capsys, kind):
    query = "select reason, rows from funnel order by rows desc, reason"
    assert "toy_words" in said(capsys, "sql", run, query)[1]
    file = tmp_path / f"f.{kind}"
    assert said(capsys, "sql", run, query, "-o", str(file))[0] == 0
    if kind == "parquet":
        assert sum(pq.read_table(file)["rows"].to_pylist()) == 300
    else:
        assert "toy_words" in file.read_text()


def test_plan_shows_steps_and_what_is_done(recipe, pairs, run, capsys):
    code, out, _ = said(capsys, "plan", recipe, "--pairs", pairs, "--text", "caption", "-o", run, "--words", "4")
    assert code == 0 and "toy_fetch" in out and "min 4" in out and "1 of 1 parts" in out and "a part goes through" in out


def test_a_recipe_s_parameters_are_options(recipe, capsys):
    with pytest.raises(SystemExit) as e:
        main(["run", recipe, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert e.value.code == 0 and "A recipe of the tests." in out
    assert "--words N words that a text needs, by 100 % of the rules (default: 3)" in out
    assert (
        "--tags A,B the recipe's parameter tags (default: a)" in out
        and "parameter loud (default: no)" in out
        and "--seed N seed of everything" in out
    )


def test_every_option_of_every_recipe_says_what_it_means():
    assert [f"{name} {o.flag}" for name in names() for o in load(name).options if not o.about] == []


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_help_explains_every_option_and_its_examples_are_commands(name, capsys):
    sub = parser([])[1][name]
    assert all(a.help for a in sub._actions) and sub.description
    shown = sub.format_help()
    examples = re.findall(r"^  (?:eval \"\$\()?(curate [^\n>]*?)(?:\)\")?(?:  +#.*| > .*)?$", sub.epilog, re.M)
    assert examples and all(e in shown for e in examples)
    for example in examples:
        argv = shlex.split(example)[1:]
        if argv[1:2] != ["mine.py"] and "--help" not in argv:
            assert callable(parse(argv).command), example


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rum"], "did you mean run?"),
        (["nothing"], "there are: demo, recipes"),
        (["run", "RECIPE", "--engine", "loca"], "invalid choice: 'loca'; did you mean local?"),
        (["run", "RECIPE", "--pairs", "x", "-o", "o", "--loud", "perhaps"], "invalid yes or no value: 'perhaps'"),
        (["run", "RECIPE", "--pairs", "x", "-o", "o", "--wrods", "3"], "did you mean --words?"),
        (["run", "RECIPE", "--pairs", "x", "-o", "o", "--words", "three"], "invalid int value: 'three'"),
        (["run", "RECIPE", "--pairs", "x"], "the following arguments are required: -o/--out"),
        (["run", "RECIPE", "--pairs", "x", "-o", "RECIPE"], "mine.py is a file, and a run is a folder"),
        (["run", "RECIPE", "--pairs", "x", "-o", "s4://x"], "Protocol not known: s4"),
        (["run", "RECIPE", "--pairs", "x", "-o", "o", "--workers", "0"], "0 is not a whole number from 1 on"),
        (["report", "x", "--rows", "0"], "0 is not a whole number from 1 on"),
        (["report", "x", "--rows", "1.5"], "1.5 is not a whole number from 1 on"),
        (["report", "x", "--rows", "1e-3"], "1e-3 is not a whole number from 1 on"),
        (["report", "x", "--rows", "1e999"], "1e999 is not a whole number from 1 on"),
        (["report", "x", "--rows", "many"], "many is not a whole number from 1 on"),
        (["show", "x", "-n", "-3"], "-3 is not a whole number from 1 on"),
    ],
)
def test_a_wrong_command_exits_2_and_suggests(recipe, capsys, argv, message):
    with pytest.raises(SystemExit) as e:
        main([recipe if a == "RECIPE" else a for a in argv])
    assert e.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "datacomp_basik", "--pairs", "x", "-o", "o"], "did you mean datacomp_basic?"),
        (["run", "RECIPE", "-o", "o"], "say where the rows come from"),
        (["run", "RECIPE", "--pairs", "PAIRS", "--text", "kaption", "-o", "o"], "kaption"),
        (["run", "RECIPE", "--pairs", "/nowhere/*.parquet", "-o", "o"], "no input file matches /nowhere/*.parquet"),
        (
            ["run", "RECIPE", "--pairs", "PAIRS", "--text", "caption", "-o", "o", "--part-size", "-5"],
            "--part-size -5: a part has one row",
        ),
        (["sql", "RUN", "selec 1"], "SQL: "),
        (["sql", "RUN", " ; "], "the query is empty"),
        (["sql", "RUN", "select 1", "-o", "/nowhere/x.csv"], "/nowhere/x.csv: there is no such folder"),
        (["show", "RUN", "--reason", "nothing"], "nothing was dropped for nothing; there are: "),
        (["show", "RUN", "--documents"], "there are no documents in this run; there are images"),
        (["plan", ""], "no recipe called ; there are: "),
        (["plan", "nowhere.py"], "nowhere.py: there is no such file"),
        (
            ["run", "m3w", "--pairs", "PAIRS", "-o", "o"],
            "give --pages, --page-urls, --pdfs, --corpus or --videos in place of --pairs",
        ),
        (["run", "RECIPE", "--pairs", "PAIRS", "-o", "o", "--allow-private", "here"], "'here' is not a network"),
        (["run", "RECIPE", "--pairs", "PAIRS", "-o", "o", "--engine", "local", "--address", "auto"], "--address auto: "),
        (
            ["run", "metaclip_400m", "--entries", "no.json", "--pairs", "PAIRS", "--text", "caption", "-o", "o"],
            "no.json: No such file or",
        ),
    ],
)
def test_a_wrong_argument_exits_2_with_one_line(recipe, pairs, run, capsys, argv, message):
    code, _, err = said(capsys, *[{"RECIPE": recipe, "PAIRS": pairs, "RUN": run}.get(a, a) for a in argv])
    assert code == 2 and message in err and "Traceback" not in err


def test_a_folder_without_a_run_exits_1(tmp_path, capsys):
    code, _, err = said(capsys, "stats", str(tmp_path))
    assert code == 1 and "not a run's folder" in err


def test_a_broken_recipe_file_is_named(tmp_path, capsys):
    (tmp_path / "broken.py").write_text("import nowhere")
    code, _, err = said(capsys, "run", str(tmp_path / "broken.py"), "--pairs", "x", "-o", "o")
    assert code == 2 and "broken.py: cannot be loaded: ModuleNotFoundError: No module named 'nowhere'" in err


def test_text_from_outside_cannot_move_the_terminal(run, capsys):
    _, out, _ = said(capsys, "sql", run, "select chr(27) || '[2J' as evil")
    assert "\x1b" not in out


def test_a_terminal_gets_a_live_table(recipe, pairs, tmp_path):
    """Under a pseudo-terminal the display is drawn with bars, and the terminal is given back."""
    code = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from curate.cli import main
        sys.exit(main(["run", {recipe!r}, "--pairs", {pairs!r}, "--text", "caption", "-o", {str(tmp_path / "pty")!r}, "--engine", "local"]))
    """)
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=child, stdout=child, stderr=child, env={**os.environ, "TERM": "xterm-256color"}
    )
    os.close(child)
    shown = b""
    while True:
        try:
            data = os.read(parent, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(parent)
    assert process.wait(timeout=60) == 0
    assert b"toy_fetch" in shown and "━".encode() in shown and b"\x1b[?25h" in shown and b"root hash" in shown


SLOW = RECIPE.replace("ToyFetch, ", "ToyFetch as Fetch, ").replace(
    "def recipe",
    """
class ToyFetch(Fetch):
    def run(self, live, parcel):
        import time
        time.sleep(1.0)
        return super().run(live, parcel)


def recipe""",
    1,
)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_ctrl_c_leaves_a_run_that_can_go_on(pairs, tmp_path, capsys, engine):
    (tmp_path / "slow.py").write_text(SLOW)
    argv = [
        "run",
        str(tmp_path / "slow.py"),
        "--pairs",
        pairs,
        "--text",
        "caption",
        "-o",
        str(tmp_path / "r"),
        "--engine",
        engine,
        "--part-size",
        "30",
    ]
    # A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
    code = f"""import signal, sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
signal.signal(signal.SIGINT, signal.default_int_handler)
from curate.cli import main, parse
sys.exit(main({argv!r}))"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 150
        while not list(tmp_path.glob("r/work/parts/*/images.toy_fetch-*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "rerun the same command to resume" in err and "Traceback" not in err
    fetched = len(list(tmp_path.glob("r/work/parts/*/images.toy_fetch-*.parquet")))
    assert 0 < fetched < 10 and not (tmp_path / "r" / "dataset.json").exists()
    (tmp_path / "slow.py").write_text(SLOW.replace("1.0", "0.0"))
    argv[argv.index("--engine") + 1] = "local"
    assert main(argv) == 0 and "images: 300 rows in" in capsys.readouterr().out


def test_a_recipe_may_have_a_deadline_of_its_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from curate import Recipe\ndef recipe(source, deadline: float = 5.0, resize: str = 'x'):\n    return Recipe(source, [], [], shards=None)\n"
    )
    argv = ["run", str(tmp_path / "mine.py"), "--pairs", "x", "-o", "out"]
    args = parse([*argv, "--deadline", "20", "--run-deadline", "60", "--resize", "y"])
    assert (
        args.deadline == 60
        and args.resize is None
        and {20.0, "y"} <= {v for v in vars(args).values() if isinstance(v, str | float)}
    )
    assert parse(argv).deadline == 3600 and parse(["run", "datacomp_basic", *argv[2:], "--deadline", "60"]).deadline == 60


@pytest.mark.parametrize(
    "wrong, says",
    [
        (["--deadline", "0"], "0 is not a number of seconds"),
        (["--deadline", "soon"], "soon is not a number of seconds"),
        (["--stage-workers", "clip"], "clip is not NAME=N"),
        (["--per-node", "clip=0"], "0 is not a whole number from 1 on"),
    ],
)
def test_limits_that_are_none(capsys, wrong, says):
    with pytest.raises(SystemExit):
        parse(["run", "cc12m", "--pairs", "x", "-o", "out", *wrong])
    assert says in capsys.readouterr().err
