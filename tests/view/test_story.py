"""curate why: one row's story, told by uid, key and URL."""

import pytest
from pictured import pictured

from curate.cli import main
from curate.errors import RecipeError
from curate.view.run import open_run
from curate.view.story import _values, as_text, tell


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("story")).store.url)


def lines(story):
    return {line.step: line for line in story.lines}


def test_a_dropped_row_says_which_rule_and_what_was_never_reached(run):
    uid = run.sql("select uid from images where drop_reason = 'caption_words' and text <> '' limit 1").fetchall()[0][0]
    (story,) = tell(run, uid)
    steps = lines(story)
    assert steps["caption_words"].outcome == "dropped: caption_words" and steps["caption_words"].bounds == "≥ 3"
    assert steps["duplicate_uid"].outcome == "passed" and steps["image_side"].outcome == "not reached"
    assert "dropped by caption_words" in as_text(story)


def test_a_step_shows_its_own_columns():
    row = {"caption": "a", "caption_words": 3, "caption_model": "m", "w": 1}
    steps = [{"step": "caption"}, {"step": "caption_words", "column": "w"}]
    assert _values(row, steps[0], steps) == "a, caption_model m" and _values(row, steps[1], steps) == "3, w 1"
    assert _values(row, {**steps[0], "adds": ["caption"]}, steps) == "a"


def test_a_kept_row_names_its_shard(run):
    uid, shard, url = run.sql("select uid, shard, url from images where kept order by uid limit 1").fetchall()[0]
    (story,) = tell(run, uid)
    assert f"shards/{shard:05d}.tar, key {uid}" in as_text(story) and {line.outcome for line in story.lines} == {"passed"}
    assert tell(run, url)[0].card.row["uid"] == uid and story.card.thumbnail
    assert tell(run, f"{uid}-2")[0].card.row["uid"] == uid


def test_both_sides_of_a_duplicate_name_the_other(run):
    uid, survivor = run.sql("select uid, survivor from edges where step = 'exact_dedup'").fetchall()[0]
    for one in (uid, survivor):
        assert f"{uid} fell for {survivor}" in as_text(tell(run, one)[0])


def test_a_stranger_is_refused(run):
    with pytest.raises(RecipeError, match="no row has the uid or URL http://nowhere"):
        tell(run, "http://nowhere")


def test_why_prints_and_writes(run, tmp_path, capsys):
    uid = run.sql("select uid from images where kept limit 1").fetchall()[0][0]
    assert main(["why", run.store.url, uid, "-o", str(tmp_path / "why.html")]) == 0
    assert "caption_words" in capsys.readouterr().out and "data:image/jpeg" in (tmp_path / "why.html").read_text()
    assert main(["why", run.store.url, "f" * 32]) == 2
