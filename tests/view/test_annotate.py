"""The annotation round trip: what people are asked, what they answer, and what follows from it."""

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictured import EVIL, pictured, pool, recipe

from curate.cli import main
from curate.errors import PoolError, RecipeError
from curate.runner.driver import run
from curate.stage import Stage
from curate.synth.preference import Preference
from curate.upkeep.check import check
from curate.upkeep.gc import collect
from curate.view.agreement import Cuts, Verdicts, spelled, within
from curate.view.annotate import FORMS, _strata, blank, borderline, config, draw, inert, inside, shares, storable, stratified
from curate.view.bounds import Bound
from curate.view.run import open_run
from curate.view.verdicts import judgements, keep


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return pictured(tmp_path_factory.mktemp("annotate")).store.url


@pytest.fixture
def folder(tmp_path):
    """A run of its own, for tests that leave verdicts."""
    return pictured(tmp_path).store.url


def asked(path) -> list[dict]:
    return list(csv.DictReader(Path(path).read_text("utf-8-sig").splitlines(keepends=True)))


def answered(path, out, verdict, **more) -> str:
    """The form filled in: `verdict` gives the word for a row; other columns as given."""
    rows = [{**r, "verdict": verdict(r), **more} for r in asked(path)]
    with open(out, "w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return str(out)


def by_words(row) -> str:
    return "good" if 3 <= len(row["text"].split()) <= 7 else "bad"


# ---- what is asked


def test_a_stratified_draw_has_all_strata_and_its_weights_add_up_to_the_pool(made):
    rows = stratified(open_run(made), 24)
    counts = Counter(r["stratum_"] for r in rows)
    rest = dict(open_run(made).sql("select coalesce(drop_reason, 'kept'), count(*) from images group by 1").fetchall())
    assert set(counts) == set(rest) and counts["exact_dedup"] == 1 and sum(counts.values()) == 24
    assert sum(r["weight_"] for r in rows) == pytest.approx(60)
    assert [r["uid"] for r in rows] == [r["uid"] for r in stratified(open_run(made), 24)]
    assert {r["uid"] for r in rows} != {r["uid"] for r in stratified(open_run(made), 24, seed=1)}


def test_any_column_makes_strata_and_numbers_are_cut_into_tenths(made):
    assert set(Counter(r["stratum_"] for r in stratified(open_run(made), 30, "source_language")).values()) == {10}
    assert len({r["stratum_"] for r in stratified(open_run(made), 30, "length(url) * source_row")}) == 10
    with pytest.raises(RecipeError, match="60 values"):
        stratified(open_run(made), 30, "url")


class Frame:
    """A run of one table."""

    def __init__(self, **columns):
        self.con, self.table = duckdb.connect(), pa.table(columns)

    def sql(self, query):
        images = self.table  # noqa: F841
        return self.con.sql(query)


def test_rows_without_a_number_are_a_stratum_of_their_own():
    scores = [None] * 30 + [float("nan")] * 30 + [i / 40 for i in range(40)]
    run = Frame(score=pa.array(scores, pa.float32()))
    found = run.sql(f"select {_strata(run, '(score)')} as s, count(*) from images group by s order by s").fetchall()
    assert found == [*((tenth, 4) for tenth in range(10)), (None, 60)]


def test_a_bound_is_as_precise_as_its_column():
    scores = pa.array([0.2, 0.7, 1e-5, 0.3], pa.float32())
    run = Frame(score=scores)
    for value in (0.2, 0.7, 1e-5):
        for side in ("min", "max"):
            bound = Bound("rule", "score", side, value)
            sql = [x for (x,) in run.sql(f"select {inside(bound, 'FLOAT')} from images").fetchall()]
            assert within(pa.chunked_array([scores]), bound).tolist() == sql and sql[[0.2, 0.7, 1e-5].index(value)]


def test_shares_are_even_and_small_strata_leave_theirs():
    assert shares({"a": 100, "b": 2, "c": 50}, 30) == {"b": 2, "c": 14, "a": 14}
    assert shares({"a": 5, "b": 5}, 100) == {"a": 5, "b": 5}


def test_borderline_rows_lie_next_to_the_bound_on_both_sides(made):
    rows = borderline(open_run(made), 12, "caption_words")
    by = {(r["kept"], r["caption_words"]) for r in rows}
    # Bounds are 3 (a filter's) and 8 (of Where): 2 fell and 3 stayed; 9 fell and 8 stayed.
    assert by == {(False, 2), (True, 3), (False, 9), (True, 8)} and all(r["weight_"] is None for r in rows)
    with pytest.raises(RecipeError, match="called nothing; there are: caption_words, image_side"):
        borderline(open_run(made), 12, "nothing")


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_what_the_tools_read(made, form, tmp_path, capsys):
    assert main(["annotate", made, "-o", str(tmp_path / "out"), "--format", form, "-n", "60"]) == 0
    assert "60 samples" in capsys.readouterr().out
    pictures = sorted((tmp_path / "out").glob("images/*.jpg"))
    if form == "csv":
        rows = asked(tmp_path / "out/verdicts.csv")
        assert all((tmp_path / "out" / r["image"]).read_bytes()[:2] == b"\xff\xd8" for r in rows)
    else:
        rows = [t["data"] for t in json.loads((tmp_path / "out/tasks.json").read_text())]
        start = "data:image/jpeg;base64,/9j/" if form == "label-studio" else "/data/local-files/?d=out/images/"
        assert all(r["image"].startswith(start) for r in rows)
        view = ElementTree.parse(tmp_path / "out/config.xml").getroot()
        assert [c.get("value") for c in view.find("Choices[@name='verdict']")] == ["good", "bad", "unsure"]
        assert "image_side" in [c.get("value") for c in view.find("Choices[@name='reason']")]
        assert {v.get("value")[1:] for v in view if v.get("value")} <= set(rows[0])
    assert (
        len(pictures) == (0 if form == "label-studio" else 60)
        and sum(r["text"] == (inert(EVIL) if form == "csv" else EVIL) for r in rows) == 3
    )
    assert not any("drop_reason" in r or "kept" in r for r in rows)
    assert main(["annotate", made, "-o", str(tmp_path / "out"), "--format", form]) == 2  # perhaps somebody has filled it in
    assert "choose another folder" in capsys.readouterr().err


@dataclass
class TwoAnswers(Stage):
    """Two answers a row, made of its text."""

    reads = ("text",)

    def adds(self):
        return {"caption_first": pa.large_string(), "caption_second": pa.large_string()}

    def run(self, live):
        return pa.table(
            [pa.array([f"{a} {t}" for t in live["text"].to_pylist()], pa.large_string()) for a in "AB"], list(self.adds())
        )


def test_people_say_which_of_two_answers_is_better(tmp_path, capsys):
    steps = recipe(pool(tmp_path))
    steps.synth = [TwoAnswers(), Preference(of=("caption_first", "caption_second"), question="What is it?")]
    made = run(steps, str(tmp_path / "run"), engine="local").store.url
    assert main(["annotate", made, "-o", str(tmp_path / "out"), "--pair", "preference_pair", "--format", "csv"]) == 0
    rows = asked(tmp_path / "out/verdicts.csv")
    assert len(rows) > 10 and all(
        r["text"].startswith("What is it?\n\nFirst: A ") and "\n\nSecond: B " in r["text"] for r in rows
    )
    assert main(["annotate", made, "-o", str(tmp_path / "ls"), "--pair", "preference_pair"]) == 0
    view = ElementTree.parse(tmp_path / "ls/config.xml").getroot()
    assert [[c.get("value") for c in v] for v in view.findall("Choices")] == [["first", "second", "unsure"]]
    said = {r["uid"]: ("second", "first", "unsure")[n % 3] for n, r in enumerate(rows)}
    answered(tmp_path / "out/verdicts.csv", tmp_path / "said.csv", lambda r: said[r["uid"]], annotator="ann")
    capsys.readouterr()
    assert main(["annotate", made, "--verdicts", str(tmp_path / "said.csv")]) == 0
    better = Counter(said.values())
    assert f"the first is better in {better['first']}, the second in {better['second']}" in capsys.readouterr().out
    assert main(["export", made, "--format", "trl", "-o", str(tmp_path / "pairs.parquet")]) == 0
    for pair in pq.read_table(tmp_path / "pairs.parquet").to_pylist():
        assert pair["chosen"][0]["content"][0] == {"first": "A", "second": "B"}[said[pair["id"]]]
    assert main(["annotate", made, "-o", str(tmp_path / "no"), "--pair", "text"]) == 2
    assert "text is no column of pairs" in capsys.readouterr().err


def test_hostile_words_stay_words():
    assert inert("=HYPERLINK(1)") == "'=HYPERLINK(1)" and inert("a=b") == "a=b" and inert("@x")[0] == "'"
    assert [inert(t)[0] for t in (" =1+1", "\n=1", "\uff1dcmd", "-1")] == ["'"] * 4
    assert inert("\x1b[2J\u202ex\x9b") == "\\x1b[2J\\u202ex\\x9b"
    assert storable("a\0b\ud800") == "a\ufffdb?"
    view = ElementTree.fromstring(config(['"/><Image value="http://x/"/>', "a&b"]))
    assert len(view.findall("Image")) == 1 and view.findall("Choices")[1][1].get("value") == "a&b"
    assert blank("no picture (http_404)")[:2] == b"\xff\xd8"


def test_wrong_sql_and_pools_without_images_are_said(made):
    with pytest.raises(RecipeError, match="SQL"):
        draw(open_run(made), 10, "nonsense", None, "", 0)
    assert main(["annotate", made]) == 2


# ---- what is answered


def test_verdicts_are_joined_and_outlive_reruns_gc_repair_and_reuse(folder, tmp_path, capsys):
    assert main(["annotate", folder, "-o", str(tmp_path / "ask"), "--format", "csv", "-n", "60"]) == 0
    filled = answered(tmp_path / "ask/verdicts.csv", tmp_path / "anna.csv", by_words)
    assert main(["annotate", folder, "--verdicts", filled]) == 0
    out = capsys.readouterr().out
    assert "60 judgements" in out and "agreement for the pool" in out
    count = (
        "select count(*) from images join verdicts using (uid) where (verdict = 'bad') = (caption_words not between 3 and 7)"
    )
    assert open_run(folder).sql(count).fetchall() == [(60,)]
    run(recipe(pool(tmp_path), words=5), folder, engine="local", part_size=25)
    collect(open_run(folder).store)
    run(recipe(pool(tmp_path), words=5), folder, engine="local", part_size=25, repair=True)
    assert open_run(folder).sql(count).fetchall() == [(60,)] and check(open_run(folder).store) == []
    from curate.store.atomic import Store
    from curate.upkeep.adopt import adopt

    adopt(Store(str(tmp_path / "second")), open_run(folder).store)
    again = run(recipe(pool(tmp_path)), str(tmp_path / "second"), engine="local", part_size=25)
    assert again.sql(count).fetchall() == [(60,)]


def study(uid, *said) -> dict:
    """A task as Label Studio exports it."""
    result = lambda words: [  # noqa: E731
        {"from_name": n, "to_name": "image", "type": "choices", "value": {"choices": [w] if n != "reason" else w.split()}}
        for n, w in words.items()
    ]
    return {
        "id": 1,
        "data": {"uid": uid, "image": "x", "weight": 2.5},
        "annotations": [
            {"completed_by": who, "was_cancelled": gone, "updated_at": at, "result": result(words)}
            for who, at, gone, words in said
        ],
    }


def test_label_studio_s_export():
    tasks = [
        study(
            "0" * 32,
            ({"id": 1, "email": "anna@x"}, "2026-01-02", False, {"verdict": "bad", "reason": "b a", "comment": "blur"}),
            (7, "2026-01-01", False, {"verdict": "good"}),
            (8, "2026-01-01", True, {"verdict": "good"}),
        ),
        study("1" * 32),
    ]
    found = judgements(json.dumps(tasks).encode(), "export.json").to_pylist()
    assert [(r["annotator"], r["verdict"], r["reason"], r["comment"], r["weight"]) for r in found] == [
        ("7", "good", None, None, 2.5),
        ("anna@x", "bad", "a b", "blur", 2.5),
    ]
    flat = [
        {"uid": "0" * 32, "verdict": "good", "annotator": 3, "reason": {"choices": ["a", "b"]}},
        {"uid": "1" * 32, "annotator": 3},
    ]
    assert [(r["annotator"], r["reason"]) for r in judgements(json.dumps(flat).encode(), "min.json").to_pylist()] == [
        ("3", "a b")
    ]


def test_spreadsheets_write_in_many_ways():
    for text in (
        "\ufeffuid;verdict;weight\r\n{u};Keep;2,5\r\n{u};;\r\n",
        "uid\tverdict\tweight\n{u}\tTRUE\t2.5\n",
        'verdict,uid,weight\n"good",{u},2.5\n',
    ):
        assert [
            (r["verdict"], r["weight"], r["annotator"])
            for r in judgements(text.format(u="a" * 32).encode(), "/x/ben.csv").to_pylist()
        ] == [("good", 2.5, "ben")]


def test_a_row_ends_where_a_table_says():
    words = ["plain", "line\u2028here", "next\x85line", "tab\x0bdown", "fs\x1chere", '"two\nlines"']
    text = "uid,text,verdict\n" + "".join(f"{i:032x},{w},good\n" for i, w in enumerate(words))
    assert judgements(text.encode(), "a.csv")["uid"].to_pylist() == [f"{i:032x}" for i in range(6)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b"uid,verdict\n" + b"a" * 32 + b",good\n" + b"a" * 32 + b",maybe\n",
            "row 2: the verdict 'maybe' is none of good, bad, unsure",
        ),
        (b"uid,verdict\nphoto-1,good\n", "row 1: the uid 'photo-1'"),
        (b"uid,verdict,weight\n" + b"a" * 32 + b",good,-1\n", "row 1: the weight '-1'"),
        (b"uid,text\nx,y\n", "no column verdict"),
        (b"", "no column uid and no column verdict"),
        (b"[{", "not JSON"),
        (b"[1]", "task 1"),
        (b'[{"data": {}, "annotations": [{"result": [{}]}]}]', "task 1"),
        (b"uid,verdict\n\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(data, said, made, tmp_path, capsys):
    (tmp_path / "mine.csv").write_bytes(data)
    assert main(["annotate", made, "--verdicts", str(tmp_path / "mine.csv")]) == 1
    err = capsys.readouterr().err
    assert said in err and "mine.csv" in err and err.count("\n") == 1 and open_run(made).store.names("verdicts") == []


def test_the_last_word_of_each_counts_and_a_draw_is_a_draw(folder, tmp_path):
    store, uids = (
        open_run(folder).store,
        [u for (u,) in open_run(folder).sql("select uid from images order by uid limit 3").fetchall()],
    )

    def said(name, *verdicts):
        (tmp_path / name).write_text("uid,verdict\n" + "".join(f"{u},{v}\n" for u, v in zip(uids, verdicts)))
        keep(store, str(tmp_path / name))

    said("anna.csv", "good", "good", "unsure")
    said("ben.csv", "bad", "good", "unsure")
    said("ben.csv", "bad", "good", "unsure")
    assert len(store.names("verdicts")) == 2
    seen = "select verdict, good, bad, unsure from verdicts order by uid"
    assert open_run(folder).sql(seen).fetchall() == [(None, 1, 1, 0), ("good", 2, 0, 0), (None, 0, 0, 2)]
    said("anna.csv", "bad")
    assert open_run(folder).sql(seen).fetchall()[0] == ("bad", 0, 2, 0)
    (tmp_path / "anna.csv").write_text(f"uid,verdict\n{'0' * 32},good\n")
    keep(store, str(tmp_path / "anna.csv"))
    assert "1 of rows that this run does not have" in str(Verdicts(open_run(folder)))


# ---- what follows


def judged(folder, tmp_path, verdict, n=60, **more) -> Verdicts:
    assert main(["annotate", folder, "-o", str(tmp_path / "ask"), "--format", "csv", "-n", str(n)]) == 0
    keep(open_run(folder).store, answered(tmp_path / "ask/verdicts.csv", tmp_path / "anna.csv", verdict, **more))
    return Verdicts(open_run(folder))


def test_agreement_by_hand(folder, tmp_path):
    """All rows judged: bad are those with fewer than 4 words. The filter drops those with fewer than 3, of 60 rows."""
    found = {
        a.rule: a for a in judged(folder, tmp_path, lambda r: "bad" if len(r["text"].split()) < 4 else "good").agreements()
    }
    words = [len(t.split()) for (t,) in open_run(folder).sql("select text from images").fetchall()]
    dropped, bad = sum(w < 3 for w in words), sum(w < 4 for w in words)
    a = found["caption_words"]
    assert (a.rows, a.dropped, a.bad, a.both) == (60, dropped, bad, dropped)
    same, chance = 1 - (bad - dropped) / 60, (dropped * bad + (60 - dropped) * (60 - bad)) / 3600
    assert (a.precision, a.recall, a.kappa) == pytest.approx((1.0, dropped / bad, (same - chance) / (1 - chance)))
    assert found["image_side"].rows == 60 - dropped and found["all rules"].rows == 60


def test_weights_make_a_small_draw_speak_for_the_pool(folder, tmp_path):
    whole = judged(folder, tmp_path, by_words).agreements()[0]
    few = judged(pictured(tmp_path / "few").store.url, tmp_path / "few", by_words, 24).agreements()[0]
    keep(
        open_run(tmp_path / "few" / "run").store,
        answered(tmp_path / "few/ask/verdicts.csv", tmp_path / "anna.csv", by_words, weight=""),
    )
    unweighted = Verdicts(open_run(tmp_path / "few" / "run")).agreements()[0]
    assert few.rows == unweighted.rows == 24
    assert abs(few.precision - whole.precision) < 0.02 < abs(unweighted.precision - whole.precision)


def test_a_reason_counts_against_the_rules_it_names(folder, tmp_path):
    found = {a.rule: a for a in judged(folder, tmp_path, by_words, reason="image_side, where").agreements()}
    assert found["caption_words"].bad == 0 and found["image_side"].bad > 0


def test_bounds_are_found_again(folder, tmp_path):
    verdicts = judged(folder, tmp_path, by_words)
    found = {(s.column, s.side): s for s in verdicts.suggestions()}
    low, high = found["caption_words", "min"], found["caption_words", "max"]
    assert (
        (low.now, low.bound, low.bound_f1) == (3, 3, 3)
        and (high.now, high.bound, high.bound_f1, high.j) == (8, 7, 7, 1.0)
        and high.j_now < 1
    )
    assert low.few and low.low <= low.bound <= low.high and "few" in str(verdicts)


def test_the_best_cut_by_hand():
    import numpy as np

    cuts = Cuts(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([False, False, True, False, True]))
    assert cuts.best(cuts.j) == (0.2, 0.3) and cuts.j.max() == pytest.approx(2 / 3)  # 2 of 3 bad fall, no good one
    assert cuts.best(cuts.f1) == (0.4, 0.5) and cuts.f1.max() == pytest.approx(2 * 3 / (3 + 1 + 3))
    assert (
        spelled(0.2, 0.3, False) == 0.25
        and spelled(0.2812, 0.2958, False) == 0.29
        and spelled(2, 4, True) == 4
        and spelled(1200, 3900, False) == 3000
    )


def test_annotators_agree_as_much_as_krippendorff_says(folder, tmp_path):
    """Ten rows, two annotators, one disagreement; 11 good and 9 bad words: alpha = 1 - 19 * 2 / (2 * 11 * 9)."""
    uids = [u for (u,) in open_run(folder).sql("select uid from images order by uid limit 10").fetchall()]
    for name, bads in (("a.csv", 4), ("b.csv", 5)):
        (tmp_path / name).write_text(
            "uid,verdict\n" + "".join(f"{u},{'bad' if i < bads else 'good'}\n" for i, u in enumerate(uids))
        )
        keep(open_run(folder).store, str(tmp_path / name))
    assert Verdicts(open_run(folder)).alpha() == (2, 10, pytest.approx(1 - 19 * 2 / (2 * 11 * 9)))


def test_no_verdicts_are_no_error(made, capsys):
    assert main(["annotate", made, "--verdicts"]) == 0
    assert capsys.readouterr().out.startswith("0 rows with a verdict")
    with pytest.raises(PoolError, match="nowhere"):
        keep(open_run(made).store, "/nowhere.csv")
