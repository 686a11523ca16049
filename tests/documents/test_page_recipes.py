"""The published recipes for pages, each run from a WARC file: every row accounted for, the rules that ought to bite do."""

import inspect

import pytest
from page_web import page, picture, sentence, serving, warc
from tiny import tiny_clip

from curate.runner.driver import run
from curate.runner.recipes import load
from curate.sources.web_pages import WebPages
from curate.upkeep.check import check

FILES = {f"/{i}.jpg": picture(i) for i in range(8)} | {"/small.jpg": picture(98, 40), "/logo.jpg": picture(97)}
#: Recipe -> options that suit a toy web, and rules that must have dropped something.
RECIPES = {
    "obelics": ({}, {"image_side", "image_url_words", "paragraph_words"}),
    "mmc4": ({"min_align": 0.0}, {"image_side", "image_url_words"}),
    "m3w": ({}, {"image_side", "document_words"}),
    "kosmos1": ({"images": 1, "single": 1.0}, {"image_side", "paragraph_words", "image_order"}),
    "omnicorpus": ({}, {"image_side", "document_words", "text_dedup"}),
    "web_documents": ({"min_align": 0.0}, {"image_side", "image_url_words", "paragraph_words", "text_dedup"}),
    "alt_text_pairs": ({"min_clip": -1.0, "min_side": 100}, {"image_side", "caption_words"}),
}


def story(n: int) -> list[str]:
    return [sentence(10 * n + k, 20 + k) for k in range(6)] + ["too short"]


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    with serving(FILES) as (address, _):
        images = [
            [f"{address}/{2 * n}.jpg", f"{address}/{2 * n + 1}.jpg", f"{address}/small.jpg", f"{address}/logo.jpg"]
            for n in range(4)
        ]
        records = [
            (
                f"http://site{n}.example/",
                page(images[n], story(n))
                .replace(b'alt="alt 0"', b'alt="a boat on the sea"')
                .replace(b'alt="alt 2"', b'alt="snow in the town"')
                .replace(b'alt="alt 3"', b'alt="the river and the inn"'),
                "2025-03-01T10:00:00Z",
            )
            for n in range(4)
        ]
        records += [
            ("http://again.example/", page([images[2][0]], story(2)), "2025-03-01T10:00:00Z"),
            ("http://newer.example/", page(images[3], [sentence(90 + k, 22) for k in range(6)]), "2025-03-09T10:00:00Z"),
            ("http://short.example/", page([images[0][0]], ["Few words."]), "2025-03-01T10:00:00Z"),
        ]
        (folder / "a.warc.gz").write_bytes(warc(records))
        yield folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_to_its_shards(name, web, model, tmp_path):
    file = load(name)
    options, bite = RECIPES[name]
    options = options | ({"model": model} if "model" in inspect.signature(file.build).parameters else {})
    recipe = file.build(WebPages(f"{web}/*.warc.gz"), **options)
    for step in recipe.steps:
        if step.name == "fetch":
            step.allow_private, step.robots, step.retries = ("127.0.0.0/8",), False, 0
    made = run(recipe, str(tmp_path), engine="local")
    assert made.dataset["samples"] > 0 and check(made.store) == []
    assert {r["reason"] for r in made.stats().to_pylist()} >= bite
    assert "arXiv" in file.doc or "19" in file.doc


def test_obelics_keeps_the_newest_page_of_those_with_the_same_images(web, tmp_path):
    recipe = load("obelics").build(WebPages(f"{web}/*.warc.gz"))
    for step in recipe.steps:
        if step.name == "fetch":
            step.allow_private, step.robots, step.retries = ("127.0.0.0/8",), False, 0
    made = run(recipe, str(tmp_path), engine="local")
    fallen = made.sql("select url from documents where drop_reason = 'same_images'").fetchall()
    assert fallen == [("http://site3.example/",)]


def test_kosmos1_keeps_five_images_and_runs_again_to_the_same(web, tmp_path):
    recipe = load("kosmos1").build(WebPages(f"{web}/*.warc.gz"), images=1)
    for step in recipe.steps:
        if step.name == "fetch":
            step.allow_private, step.robots, step.retries = ("127.0.0.0/8",), False, 0
    made = run(recipe, str(tmp_path), engine="local")
    per_page = made.sql("select count(*) from images where kept group by doc_uid").fetchall()
    assert set(per_page) == {(1,)}
    assert run(recipe, str(tmp_path), engine="local").dataset["root_hash"] == made.dataset["root_hash"]


@pytest.mark.parametrize("name", RECIPES)
def test_unsafe_pictures_fall_where_they_are_asked_for(name, web, tmp_path):
    built = load(name).build(WebPages(f"{web}/*.warc.gz"), max_nsfw=0.3).check()
    (nsfw,) = (s for s in built.steps if s.name == "nsfw")
    fetch = next(i for i, s in enumerate(built.steps) if s.name == "fetch")
    left = [i for i, s in enumerate(built.steps) if s.name.startswith(("document_images_", "clip_embed"))]
    assert nsfw.max == 0.3 and fetch < built.steps.index(nsfw) and built.steps.index(nsfw) < max(left)
    usual = {s.name for s in load(name).build(WebPages(f"{web}/*.warc.gz")).steps}
    assert ("nsfw" in usual) == (name == "web_documents")
