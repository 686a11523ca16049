"""curate why: one row's story, told by uid, key and URL."""

import html
from types import SimpleNamespace

import pytest
from pictured import pictured

from curate.cli import main
from curate.errors import RecipeError
from curate.view.run import open_run
from curate.view.story import _lines, _values, as_text, in_effect, stories_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("story")).store.url)


def lines(story):
    return {line.step: line for line in story.lines}


def test_a_dropped_row_says_which_rule_and_what_was_never_reached(run):
    uid = run.sql("select uid from images where drop_reason = 'caption_words' and text <> '' limit 1").fetchall()[0][0]
    (story,) = stories_of(run, uid)
    steps = lines(story)
    assert steps["caption_words"].outcome == "dropped" and steps["caption_words"].bounds == "≥ 3"
    assert steps["duplicate_uid"].outcome == "passed" and steps["image_side"].outcome == "not reached"
    assert "dropped by caption_words\n" in as_text(story)


def test_a_step_shows_its_own_columns():
    row = {"caption": "a", "caption_words": 3, "caption_model": "m", "w": 1}
    steps = [{"step": "caption"}, {"step": "caption_words", "column": "w"}]
    assert _values(row, steps[0], steps) == [("caption", "a"), ("caption_model", "m")]
    assert _values(row, steps[1], steps) == [("caption_words", "3"), ("w", "1")]
    assert _values(row, {**steps[0], "adds": ["caption"]}, steps) == [("caption", "a")]
    made = {
        "caption_made": {"model": "m", "prompt": "e3b0c44298fc", "weights": "sha256:" + "0" * 64, "cost": None, "tokens": 7}
    }
    assert _values(made, {"step": "caption", "adds": ["caption_made"]}, []) == [
        ("caption_made.model", "m"),
        ("caption_made.tokens", "7"),
    ]
    plumbing = {"fetch": "ok", "payload": "work/parts/x.tar", "sha256": "0", "final_url": "u"}
    assert _values(plumbing, {"step": "fetch", "adds": list(plumbing)}, []) == [("fetch", "ok")]


def test_a_step_that_left_nothing_did_not_pass():
    run = SimpleNamespace(
        recipe={
            "steps": [
                {"step": "alt", "adds": ["alt"]},
                {"step": "seen", "adds": ["seen"]},
                {"step": "phash", "adds": ["phash"]},
                {"step": "dedup"},
            ]
        }
    )
    lines = list(_lines(run, "images", {"alt": None, "seen": 1, "phash": 7, "drop_stage": None}))
    assert [line.outcome for line in lines] == ["no value", "passed", "passed", "passed"]


def test_a_kept_row_names_its_shard(run):
    uid, shard, url = run.sql("select uid, shard, url from images where kept order by uid limit 1").fetchall()[0]
    (story,) = stories_of(run, uid)
    assert f"shards/{shard:05d}.tar, key {uid}" in as_text(story) and {line.outcome for line in story.lines} == {"passed"}
    assert stories_of(run, url)[0].card.row["uid"] == uid and story.card.thumbnail
    assert stories_of(run, f"{uid}-2")[0].card.row["uid"] == uid


def test_both_sides_of_a_duplicate_name_the_other(run):
    uid, survivor = run.sql("select uid, survivor from edges where step = 'exact_dedup'").fetchall()[0]
    for one in (uid, survivor):
        assert f"{uid} is a duplicate of {survivor}" in as_text(stories_of(run, one)[0])


def test_a_stranger_is_refused(run):
    with pytest.raises(RecipeError, match="no row has the uid or URL http://nowhere"):
        stories_of(run, "http://nowhere")


def test_why_prints_and_writes(run, tmp_path, capsys):
    uid = run.sql("select uid from images where kept limit 1").fetchall()[0][0]
    assert main(["why", run.store.url, uid, "-o", str(tmp_path / "why.html")]) == 0
    page, text = (tmp_path / "why.html").read_text(), run.sql(f"select text from images where uid = '{uid}'").fetchall()[0][0]
    assert "caption_words" in capsys.readouterr().out and "data:image/jpeg" in page
    assert f">{html.escape(text)}</h1>" in page
    assert main(["why", run.store.url, "f" * 32]) == 2


def test_parameters_that_change_nothing_are_left_out():
    step = {
        "step": "fetch",
        "class": "Fetch",
        "resize_mode": None,
        "image_size": 256,
        "encode_quality": 95,
        "timeout": 30,
        "match": None,
    }
    assert in_effect(step) == {"timeout": 30}
    assert in_effect(step | {"resize_mode": "border"}) == {
        "timeout": 30,
        "resize_mode": "border",
        "image_size": 256,
        "encode_quality": 95,
    }
