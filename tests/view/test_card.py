"""The data set's card, and its Croissant metadata as its own checker sees it."""

import json
from types import SimpleNamespace

import duckdb
import pytest
from pictured import pictured

from curate.view.card import _licences, _rights, card
from curate.view.run import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("card")).store.url)


def test_croissant_is_valid_and_its_records_can_be_read(run):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(run.store.path("croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    first = next(iter(dataset.records("samples")))
    key = first["samples/key"].decode()
    assert run.sql(f"select caption_words from shards where key = '{key}'").fetchall()[0][0] == first["samples/caption_words"]


def test_a_licence_may_be_a_number():
    con = duckdb.connect()
    con.execute("create table images as select true as kept, unnest([1, 1, 4]) as source_license")
    run = SimpleNamespace(sql=con.sql, recipe={"rows": {"images": {}}, "steps": []})
    assert _licences(run) == [("1", 2), ("4", 1)] and "1 (2), 4 (1)." in "".join(_rights(run, _licences(run)))


def test_nothing_in_the_card_is_markup_or_invisible():
    evil = "\x1b]0;p\x07\u202egnp </title><script>alert(1)</script> &lt;b&gt; [a](b) |x|"
    shown = "".join(_rights(SimpleNamespace(recipe={"rows": {}, "steps": []}), [(evil, 1)]))
    assert "<script" not in shown and "&lt;script&gt;" in shown and "&amp;lt;b" in shown and "\\[a\\](b) \\|x\\|" in shown
    assert all(c.isprintable() for c in shown)


def test_croissant_names_every_file_with_its_hash(run):
    made = json.loads(run.store.read("croissant.json"))
    listed = {f["contentUrl"]: f["sha256"] for f in made["distribution"]}
    assert listed == {f"shards/{s['name']}.{k}": s[k]["sha256"] for s in run.dataset["shards"] for k in ("tar", "parquet")}
    assert made["license"] == ["CC-BY-4.0", "MIT"] and run.dataset["root_hash"] in made["citeAs"]


def test_the_card_says_where_it_comes_from_and_what_fell(run):
    text = run.store.read("README.md").decode()
    assert text.startswith("---\ntask_categories:") and "- n<1K" in text
    for words in (
        run.dataset["root_hash"],
        "| images | caption_words | caption_words |",
        "CC-BY-4.0",
        "opt-outs",
        "None: no evaluation set",
        "pool.tar",
    ):
        assert words in text
    assert text == card(
        run, run.sql("select source_licence, count(*) as n from images where kept group by 1 order by n desc, 1").fetchall()
    )
