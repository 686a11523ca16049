"""A run from WARC to shards of documents: conservation, one request a URL, both engines, checks that notice damage."""

import json
import shutil
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from page_web import page, picture, sentence, serving, warc

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.documents.document import read_document
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.document_fallen_images import DocumentFallenImages
from curate.filters.document_images import DocumentImages
from curate.filters.document_texts import DocumentTexts
from curate.filters.image_side import ImageSide
from curate.filters.paragraph_words import ParagraphWords
from curate.recipe import Recipe, Shards
from curate.runner.driver import Driver, run
from curate.runner.engine import RayEngine
from curate.selector import Selection, Selector
from curate.shard import plan as layout
from curate.sources.web_pages import WebPages
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.view.grid import contents
from curate.view.progress import Quiet
from curate.view.samples import pairs, pairs_of
from curate.view.story import as_text, stories_of

FILES = {f"/{i}.jpg": picture(i) for i in range(12)} | {"/shared.jpg": picture(99), "/small.jpg": picture(98, 40)}
SETTINGS = {"allow_private": ("127.0.0.0/8",), "robots": False, "timeout": 5, "wait": 5, "retries": 0, "rate": 0}


def pages(address: str, count: int) -> list[tuple[str, bytes, str]]:
    """Each page: an image of its own, one that all share, one that is too small, one that is not there; page 1 comes twice."""
    made = [
        (
            f"http://site.example/{n}",
            page(
                [f"{address}/{n}.jpg", f"{address}/shared.jpg", f"{address}/small.jpg", f"{address}/gone.jpg"],
                [sentence(10 * n + k) for k in range(3)] + ["too short"],
            ),
            "2025-03-01T10:00:00Z",
        )
        for n in range(count)
    ]
    newer = ("http://site.example/1", page([f"{address}/11.jpg"], [sentence(1000)]), "2025-06-01T10:00:00Z")
    return [*made, newer, ("http://site.example/none", page([], [sentence(7)]), "2025-03-01T10:00:00Z")]


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    with serving(FILES) as (address, hits):
        records = pages(address, 6)
        (folder / "a.warc.gz").write_bytes(warc(records[:3]))
        (folder / "b.warc.gz").write_bytes(warc(records[3:]))
        (folder / "address").write_text(address)
        yield folder, hits


def recipe(folder, samples="", files="*", side=100, most=30, size=2, fetch=SETTINGS) -> Recipe:
    return Recipe(
        WebPages(f"{folder}/{files}.warc.gz"),
        [
            ParagraphWords(),
            DocumentTexts(),
            DocumentImages(max=most),
            *once(Fetch(**fetch)),
            ImageSide(min=side),
            DocumentImages(name="document_images_left"),
        ],
        [ExactDedup(("doc_uid", "sha256"))],
        shards=Shards(size=size),
        name="small",
        samples=samples,
    )


def start(made, out, **options):
    return run(made, str(out), engine="local", part_size=3, **options)


@pytest.fixture(scope="module")
def done(web, tmp_path_factory):
    web[1].clear()
    made = start(recipe(web[0]), tmp_path_factory.mktemp("run"))
    return made, dict(web[1])


def documents(made):
    """The documents of all shards with their images' bytes, by uid."""
    import webdataset

    found = {}
    for sample in webdataset.WebDataset(made.tars, shardshuffle=False):
        document, pictures = read_document({k: v for k, v in sample.items() if not k.startswith("__")})
        found[document["url"]] = (document, pictures)
    return found


def test_every_row_of_every_table_has_one_outcome(done):
    made, _ = done
    for table in ("documents", "texts", "images"):
        rows = made.sql(f"select kept, drop_reason, drop_stage, shard, key from {table}").to_df()
        assert len(rows) > 0 and (rows.kept == rows.drop_reason.isna()).all() and (rows.kept == rows.shard.notna()).all()
        assert (rows.kept == rows.key.notna()).all()
    reasons = {(r["table"], r["reason"]): r["rows"] for r in made.stats().to_pylist()}
    assert (
        reasons["documents", "kept"] == 6
        and reasons["documents", "duplicate_uid"] == 1
        and reasons["documents", "document_images"] == 1
    )
    assert reasons["images", "document:duplicate_uid"] == 4 and reasons["texts", "document:duplicate_uid"] == 5 - 0 - 1
    assert reasons["images", "fetch:http_404"] == 5 and reasons["images", "image_side"] == 5


def test_each_url_is_asked_for_once_in_the_whole_pool(done):
    made, hits = done
    assert {p: n for p, n in hits.items() if p != "/robots.txt"} == dict.fromkeys(
        [*(f"/{i}.jpg" for i in (0, 2, 3, 4, 5, 11)), "/shared.jpg", "/small.jpg", "/gone.jpg"], 1
    )
    notes = made.recipe["notes"]["shared_url"]
    assert (notes["rows"], notes["requests"], notes["saved"]) == (21, 9, 12)
    shared = made.sql(
        "select count(distinct payload), count(distinct payload_offset), count(*) from images where kept and url like '%shared.jpg'"
    ).fetchall()
    assert shared == [(1, 1, 5)]


def test_shards_hold_the_pages_in_order_with_their_bytes(done):
    made, _ = done
    assert made.dataset["table"] == "documents" and [s["samples"] for s in made.dataset["shards"]] == [2, 2, 2]
    found = documents(made)
    assert set(found) == {f"http://site.example/{n}" for n in range(6)}
    document, pictures = found["http://site.example/3"]
    assert [t if t is None else t[:5] for t in document["texts"]] == [
        sentence(30)[:5],
        None,
        sentence(31)[:5],
        None,
        sentence(32)[:5],
    ]
    assert pictures == [FILES["/3.jpg"], FILES["/shared.jpg"]]
    assert [i["alt"] for i in document["image_info"]] == ["alt 0", "alt 1"]
    assert "fetched_at" not in document["image_info"][0] and "fetched_with" not in document["image_info"][0]
    newer, pictures = found["http://site.example/1"]
    assert newer["texts"][0] == sentence(1000) and pictures == [FILES["/11.jpg"]]


@dataclass
class Twice(Selector):
    table: str = field(default="documents", kw_only=True)

    def adds(self):
        return {"copies": pa.int32()}

    def select(self, live):
        ids = live.table("id")["id"]
        return Selection([], columns=pa.table({"id": ids, "copies": pa.array([2, None] * len(ids), pa.int32())[: len(ids)]}))


def test_the_number_of_files_of_a_plan_moves_nothing(web, tmp_path, monkeypatch):
    """Nor do pages that come twice: what belongs to a page goes with each of its copies."""
    made, outcome = recipe(web[0]), []
    made = Recipe(made.source, made.score, [*made.select, Twice()], shards=Shards(size=2), name="twice", samples="documents")
    for piece in (1 << 30, 200):
        monkeypatch.setattr(layout, "FILE_BYTES", piece)
        done = start(made, tmp_path / str(piece))
        assert not check(Store(tmp_path / str(piece)))
        outcome.append((done.dataset["root_hash"], done.dataset["samples"]))
        assert {t: len(files) for t, files in done.dataset["planned"].items()} == dict.fromkeys(
            ("documents", "texts", "images"), 1 if piece > 200 else 5
        )
    assert outcome[0] == outcome[1] and outcome[0][1] == 9


def test_check_finds_nothing_wrong(done):
    assert check(done[0].store) == []


def test_ray_makes_the_same_bytes_with_other_parts_of_work(done, web, tmp_path):
    engine = RayEngine(workers=2)
    try:
        made = recipe(web[0]).check()
        engine.ship_user_code([made.source, *made.steps])
        assert (
            Driver(made, Store(str(tmp_path)), engine, 3, False, Quiet(), None).run().dataset["root_hash"]
            == done[0].dataset["root_hash"]
        )
    finally:
        engine.shutdown()


def test_pairs_from_pages_are_one_word_in_the_recipe(web, tmp_path):
    made = start(recipe(web[0], samples="images"), tmp_path)
    assert made.dataset["table"] == "images" and made.dataset["samples"] == 11
    assert made.sql("select count(*) from images where kept and key is null").fetchall() == [(0,)]
    assert made.sql("select text from shards where url like '%/3.jpg'").fetchall() == [("alt 0",)]
    assert check(made.store) == []


def computed(made):
    return {name: int(c["computed"]) for name, c in made.counters.items()}


def test_what_looks_at_other_rows_follows_them_and_the_rest_stays(done, web, tmp_path):
    """More input, a looser bound and a second fetch change which children live; documents are judged again, pixels are not."""
    out = tmp_path / "run"
    shutil.copytree(done[0].store.url, out)
    assert start(recipe(web[0]), out).counters == {}
    again = start(recipe(web[0], side=20), out)
    assert computed(again)["fetch"] == computed(again)["paragraph_words"] == 0
    assert again.sql("select document_images_left from documents where url like '%/3'").fetchall() == [(3,)]
    assert again.dataset["root_hash"] == start(recipe(web[0], side=20), tmp_path / "fresh").dataset["root_hash"]


def test_more_input_asks_only_for_what_is_new(web, tmp_path):
    folder, hits = web
    start(recipe(folder, files="a"), tmp_path / "run")
    hits.clear()
    again = start(recipe(folder), tmp_path / "run")
    assert set(hits) - {"/robots.txt"} == {"/3.jpg", "/4.jpg", "/5.jpg", "/11.jpg"}
    assert again.dataset["root_hash"] == start(recipe(folder), tmp_path / "fresh").dataset["root_hash"]
    assert check(again.store) == []


def test_a_frequency_over_the_pool_moves_documents_of_old_parts(web, tmp_path):
    """The shared image is rare in one file and frequent in two."""
    folder, _ = web

    def often(files):
        made = recipe(folder, files=files)
        made.score[4:4] = [Frequency(("url",), max=3)]
        return Recipe(made.source, made.score, made.select, shards=made.shards)

    start(often("a"), tmp_path / "run")
    again = start(often("*"), tmp_path / "run")
    assert again.sql("select max(document_images_left) from documents where kept").fetchall() == [(1,)]
    assert again.dataset["root_hash"] == start(often("*"), tmp_path / "fresh").dataset["root_hash"]


def test_refetch_asks_again_once_for_a_shared_url(web, tmp_path):
    folder, hits = web
    first = start(recipe(folder), tmp_path)
    hits.clear()
    FILES["/gone.jpg"] = picture(97)
    try:
        again = start(recipe(folder), tmp_path, refetch=True)
    finally:
        del FILES["/gone.jpg"]
    assert {p: n for p, n in hits.items() if p != "/robots.txt"} == {"/gone.jpg": 1}
    assert again.dataset["root_hash"] != first.dataset["root_hash"]
    assert again.sql("select count(*) from images where kept and url like '%gone.jpg'").fetchall() == [(5,)]


@pytest.mark.parametrize(
    "damage, fault",
    [
        ("image", "SHA-256"),
        ("order", "not its row|are not kept rows|image_info"),
        ("ledger", "are not in their document|has other bytes"),
    ],
)
def test_check_notices_damage(done, tmp_path, damage, fault):
    import re

    out = tmp_path / "run"
    shutil.copytree(done[0].store.url, out)
    name = done[0].dataset["shards"][0]["name"]
    if damage == "ledger":
        import pyarrow.parquet as pq

        path = next((out / "ledger" / "texts").glob("*.parquet"))
        table = pq.read_table(path)
        position = table["position"].to_pylist()
        pq.write_table(table.set_column(table.column_names.index("position"), "position", [[p + 50 for p in position]]), path)
    else:
        path = out / "shards" / f"{name}.tar"
        data = bytearray(path.read_bytes())
        at = data.index(b"\xff\xd8") + 300 if damage == "image" else data.index(b'"0.jpg"') + 1
        data[at : at + 1] = b"9" if damage == "order" else bytes([data[at] ^ 1])
        path.write_bytes(data)
    faults = "\n".join(check(Store(str(out))))
    assert re.search(fault, faults), faults


def test_the_record_names_what_a_sample_is(done):
    assert json.loads(done[0].store.read("recipe.json"))["samples"] == "documents"


def test_a_list_of_page_urls_is_fetched_once_and_becomes_the_same_rows(tmp_path):
    from curate.sources.page_urls import PageUrls

    files = dict(FILES)
    files["/p.html"] = page(["0.jpg", "shared.jpg"], [sentence(1), "Grüße aus dem Süden und von den Bergen dort."])
    with serving(files) as (address, hits):
        (tmp_path / "urls.txt").write_text(f"# pages\n{address}/p.html\n{address}/none.html\n{address}/0.jpg\nnot a url\n")
        source = PageUrls(str(tmp_path / "urls.txt"), allow_private=("127.0.0.0/8",), robots=False, rate=0)
        made = start(Recipe(source, [*once(Fetch(**SETTINGS)), DocumentImages()]), tmp_path / "run")
        again = start(Recipe(source, [*once(Fetch(**SETTINGS)), DocumentImages(max=9)]), tmp_path / "run")
        assert hits["/p.html"] == 1 and again.dataset["root_hash"] == made.dataset["root_hash"]
    found = dict(made.sql("select split_part(url, '/', 4), coalesce(drop_reason, 'kept') from documents").fetchall())
    assert found == {"p.html": "kept", "none.html": "page:http_404", "0.jpg": "page:not_html", "": "page:bad_url"}
    assert made.sql("select count(*) from texts where text like 'Grüße%' and kept").fetchall() == [(1,)]
    assert made.sql("select url from images where kept order by position").fetchall() == [
        (f"{address}/0.jpg",),
        (f"{address}/shared.jpg",),
    ]


@pytest.mark.parametrize("form", ["obelics", "mint", "mmc4", "openflamingo", "markdown", "datacomp-subset"])
def test_a_run_exports_to_what_others_read(done, form, tmp_path):
    import tarfile

    import numpy as np
    import pyarrow.parquet as pq

    from curate.cli import main
    from curate.shard.export import FORMATS

    out = tmp_path / "out"
    assert main(["export", done[0].store.url, "--format", form, "-o", str(out)]) == 0
    again = ["export", done[0].store.url, "--format", form, "-o", str(out)]
    assert main(again) == (2 if FORMATS[form].folder else 0)  # a folder that holds something stays as it is
    page_3 = next(d for u, (d, _) in documents(done[0]).items() if u.endswith("/3"))
    if form in ("obelics", "mint"):
        rows = pq.read_table(out).to_pylist()
        row = next(r for r in rows if sentence(30) in r["texts"])
        said = [t for t in page_3["texts"] if t is not None]
        assert len(rows) == 6 and "\n\n".join(t for t in row["texts"] if t is not None) == "\n\n".join(said)
        assert row["images"][1].endswith("/3.jpg")
        if form == "obelics":
            assert "a.warc.gz" in row["general_metadata"] or "b.warc.gz" in row["general_metadata"]
    elif form == "mmc4":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(rows) == 6 and all(len(r["image_info"]) == len(r["similarity_matrix"]) for r in rows)
    elif form == "openflamingo":
        names = [n for tar in sorted(out.glob("*.tar")) for n in tarfile.open(tar).getnames()]
        assert len(names) == 6 and {p.name for p in out.iterdir()} == {f"{s['name']}.tar" for s in done[0].dataset["shards"]}
    elif form == "markdown":
        text = (out / f"{page_3['uid']}.md").read_text()
        assert text.index(sentence(30)) < text.index(f"images/{page_3['uid']}.0.jpg") < text.index(sentence(31))
        assert (out / "images" / f"{page_3['uid']}.0.jpg").read_bytes() == FILES["/3.jpg"]
    else:
        assert len(np.load(out)) == 6


def test_plan_says_how_many_requests_the_order_saved(done, web):
    from curate.runner.planning import describe

    said = describe(recipe(web[0]), done[0].store.url, 3)
    assert "requests: 9 for 25 images of the input (64.0 % saved): 4 fell to rules that need no bytes, 12 share the URL" in said


@pytest.mark.parametrize(
    ("most", "kept"), [(0, {"http://site.example/1"}), (2, {f"http://site.example/{n}" for n in range(6)})]
)
def test_a_page_goes_with_its_first_bad_image_or_stays_with_the_others(web, tmp_path, most, kept):
    """Every page but the newer 1 has an image that is too small and one that is not there."""
    score = [DocumentImages(), *once(Fetch(**SETTINGS)), ImageSide(min=100), DocumentFallenImages(max=most)]
    with serving(FILES) as (address, _):
        (tmp_path / "a.warc.gz").write_bytes(warc(pages(address, 6)))
        made = start(Recipe(WebPages(f"{tmp_path}/*.warc.gz"), score, shards=Shards(size=2)), tmp_path / "run")
    assert {u for (u,) in made.sql("select url from documents where kept").fetchall()} == kept and check(made.store) == []
    taken = dict(made.sql("select drop_reason, count(*) from images group by 1").fetchall())
    assert taken.get("document:document_fallen_images", 0) == (5 * 2 if most == 0 else 0) and taken["image_side"] == 5


def test_what_was_learnt_of_a_file_that_did_not_come_is_in_the_ledger(done, capsys):
    made, _ = done
    rows = made.sql("""select "fetch", http_status, final_url, fetched_at is not null, drop_reason, drop_stage, uid from images
        where url like '%/gone.jpg' and drop_reason like 'fetch:%' order by all""").fetchall()
    assert len(rows) == 5 and {r[:2] for r in rows} == {("http_404", 404)}
    assert all(r[2].endswith("/gone.jpg") and r[3] for r in rows)
    assert {r[4:6] for r in rows} == {("fetch:http_404", "shared_fetch")}
    ok = made.sql(
        "select count(*) from images where \"fetch\" = 'ok' and http_status = 200 and final_url is not null"
    ).fetchall()
    assert ok == [(16,)]
    story = as_text(stories_of(made, rows[0][-1])[0])
    assert "failed: http_404" in story and "dropped: fetch:http_404" in story


def test_pairs_are_of_the_table_that_their_step_worked_on(done):
    """A page that came twice is one of `documents`; an image has the same number in the pool."""
    made, _ = done
    (pair,) = pairs(made, "duplicate_uid", 9)
    for card in (pair.dropped, pair.survivor):
        assert card.row["url"] == "http://site.example/1" and card.row["title"] == "T"
    assert pair.dropped.row["drop_reason"] == "duplicate_uid" and pair.survivor.row["kept"]
    assert pairs_of(made, pair.dropped.row["uid"], "documents") and not pairs_of(made, pair.dropped.row["uid"])
    assert "not fetched" not in contents(made, "duplicate_uid", 9, None)[0]
    stories = stories_of(made, pair.dropped.row["uid"])
    assert all("is a duplicate of" in as_text(s) for s in stories)
    assert "too short" in contents(made, "paragraph_words", 9, None)[0]


def test_the_next_address_of_an_image_is_asked_for_when_one_fails(web, tmp_path):
    """Also by rows that share it; and the placeholder that stands on the page is none of them."""
    folder, hits = web
    address = (folder / "address").read_text()
    hits.clear()
    image = f'<img src="{address}/blank.gif" srcset="{address}/missing.jpg 800w, {address}/small.jpg 600w" data-src="{address}/5.jpg" alt=x>'
    body = f"<html><p>{sentence(1)}</p>{image}<p>{sentence(2)}</p>{image}<img src={address}/gone.jpg></html>".encode()
    (tmp_path / "x.warc.gz").write_bytes(warc([("http://site.example/", body, "2025-03-01T10:00:00Z")]))
    source = WebPages(f"{tmp_path}/x.warc.gz")
    made = start(Recipe(source, [*once(Fetch(**SETTINGS))], [], shards=None), tmp_path / "run")
    rows = made.sql('select "fetch", http_status, final_url, url from images order by position').fetchall()
    got = ("ok", 200, f"{address}/small.jpg", f"{address}/missing.jpg")
    assert rows == [got, got, ("http_404", 404, f"{address}/gone.jpg", f"{address}/gone.jpg")]
    assert {p: n for p, n in hits.items() if p != "/robots.txt"} == {"/missing.jpg": 1, "/small.jpg": 1, "/gone.jpg": 1}
