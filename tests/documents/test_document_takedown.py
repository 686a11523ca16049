"""Takedown in a run over pages: a picture inside documents, one paragraph, a whole page."""

import shutil

import pytest
from artefacts import holding
from page_web import sentence
from test_document_runs import FILES, documents, recipe, start, web  # noqa: F401  web is a fixture

from curate.removed import Removed, url_digest
from curate.runner.driver import write_pages
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.upkeep.takedown import takedown
from curate.view.run import open_run


@pytest.fixture(scope="module")
def done(web, tmp_path_factory):  # noqa: F811
    return start(recipe(web[0]), tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(done, tmp_path):
    return shutil.copytree(done.store.url, tmp_path / "run")


def take(out, **asked):
    store = Store(str(out))
    return takedown(store, Removed(**asked), lambda: write_pages(open_run(str(out))))


def url(made, path: str) -> str:
    return made.sql(f"select url from images where url like '%{path}' limit 1").fetchall()[0][0]


def test_a_picture_leaves_every_document_that_shows_it(done, run, web):  # noqa: F811
    data = FILES["/shared.jpg"]
    assert holding(run, data[3000:3048])
    taken = take(run, urls={url_digest(url(done, "/shared.jpg"))})
    assert taken.rows == {"documents": 0, "texts": 0, "images": 6} and len(taken.shards) == 3
    assert (
        holding(run, *(data[at : at + 48] for at in range(1000, len(data) - 48, 1000)), b"/shared.jpg") == []
        and check(Store(str(run))) == []
    )
    made = open_run(str(run))
    document, pictures = documents(made)["http://site.example/3"]
    assert (
        pictures == [FILES["/3.jpg"]] and document["images"] == [None, "0.jpg", None, None] and len(document["image_info"]) == 1
    )
    assert start(recipe(web[0]), run).counters == {}  # finished
    (run / "shards/00000.tar").unlink()
    assert start(recipe(web[0]), run, repair=True).dataset["root_hash"] == made.dataset["root_hash"] and check(made.store) == []


def test_a_page_goes_with_its_paragraphs_and_pictures(done, run, web):  # noqa: F811
    taken = take(run, urls={url_digest("http://site.example/3")})
    assert (
        taken.rows["documents"] == 1 and taken.rows["texts"] >= 3 and len(taken.shards) == 3
    )  # a picture of it is on all pages
    needles = [b"http://site.example/3", sentence(30).encode(), sentence(31).encode()[:60], FILES["/3.jpg"][3000:3048]]
    assert holding(done.store.url, *needles) and holding(run, *needles) == [] and check(Store(str(run))) == []
    made = open_run(str(run))
    assert set(documents(made)) == {f"http://site.example/{n}" for n in (0, 1, 2, 4, 5)}
    again = start(recipe(web[0], side=20), run)
    assert holding(run, *needles) == [] and check(again.store) == [] and "http://site.example/3" not in documents(again)


def test_a_paragraph_by_its_uid(done, run):
    ((uid, text),) = done.sql(
        "select uid, text from texts where kept and doc_uid in (select uid from documents where url like '%/4') order by position limit 1"
    ).fetchall()
    assert take(run, uids={uid}).rows == {"documents": 0, "texts": 1, "images": 0}
    assert holding(run, text.encode()) == [] and check(Store(str(run))) == []
    assert documents(open_run(str(run)))["http://site.example/4"][0]["texts"][0] is None


def test_a_page_is_not_asked_for_again(tmp_path):
    """A list of page URLs, read again after a page of it was taken down."""
    from page_web import page, serving

    from curate.recipe import Recipe
    from curate.sources.page_urls import PageUrls

    files = {f"/{n}.html": page([], [sentence(n)] * 3) for n in range(3)}
    with serving(files) as (address, hits):
        (tmp_path / "list.txt").write_text("".join(f"{address}{p}\n" for p in files))
        (tmp_path / "run").mkdir()
        take(tmp_path / "run", urls={url_digest(f"{address}/1.html")})
        source = PageUrls(str(tmp_path / "list.txt"), allow_private=("127.0.0.0/8",), rate=0)
        made = start(Recipe(source, [], shards=None), tmp_path / "run")
        assert hits["/1.html"] == 0 and hits["/2.html"] == 1
    assert made.sql("select drop_reason, url is null from documents order by source_row").fetchall() == [
        (None, False),
        ("removed", True),
        (None, False),
    ]
    root = made.dataset["root_hash"]
    take(tmp_path / "run", urls={url_digest(f"{address}/2.html")})
    made = open_run(str(tmp_path / "run"))
    assert made.dataset["root_hash"] != root and made.dataset["samples"] == 1 and check(made.store) == []
