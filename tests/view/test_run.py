"""A run in a notebook: what it shows of itself, its samples, images and rows."""

import html
from html.parser import HTMLParser

import pytest
from pictured import pictured

import curate
from curate.errors import PoolError
from curate.view.run import Run, open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("look")
    pictured(folder)
    return open_run(f"{folder}/run")


def test_a_run_shows_its_funnel(run):
    kept = run.dataset["samples"]
    assert f"{kept} of 60 images kept" in repr(run) and run.dataset["root_hash"][:16] in repr(run)
    page = run._repr_html_()
    for row in run.stats().to_pylist():
        assert html.escape(row["reason"]) in page and f"{row['rows']:,}" in page
    HTMLParser().feed(page)


def test_samples_images_and_rows(run):
    assert "<iframe sandbox" in run.show(n=2)._repr_html_() and str(run.show(reason="caption_words", n=2)) == str(
        curate.show(run, reason="caption_words", n=2)
    )
    rows = run.table(n=5)
    assert rows.num_rows == 5 and rows["uid"].to_pylist() == sorted(rows["uid"].to_pylist())
    assert {"uid", "text", "caption_words", "drop_reason"} <= set(rows.column_names) and "thumbnail" not in rows.column_names
    assert run.table(where="not kept", columns=["drop_reason"]).column_names == ["drop_reason"]
    assert run.image(rows["uid"][0].as_py()).size == (64, 64)
    with pytest.raises(PoolError, match="no image of nobody"):
        run.image("nobody")


def test_a_run_that_is_not_finished_says_so(tmp_path):
    (tmp_path / "recipe.json").write_text('{"name": "mine", "steps": []}')
    made = open_run(str(tmp_path))
    assert "not finished" in repr(made) and "not finished" in made._repr_html_()
