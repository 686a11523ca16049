"""The source: WARC files, folders and single files become parts; anything hostile ends in an outcome."""

import gzip
import io
import json
import os
import zlib
from pathlib import Path

import pyarrow.compute as pc
import pytest
from warc_files import HTML, read, warc

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.sources.html import extract as extracting
from curate.sources.html import walk
from curate.sources.html.contained import Parser
from curate.sources.html.extract import extract
from curate.sources.warc import records
from curate.sources.web_pages import WebPages


@pytest.fixture
def pages(tmp_path):
    """Write records to a WARC file and read its only part."""

    def write(*records, **options):
        path = tmp_path / "x.warc.gz"
        path.write_bytes(warc([(u, b, h, 200) if len(r) == 3 else r for r in records for u, b, h, *_ in [r]]))
        (part,) = read(path, **options)
        return part

    return write


def test_a_page_becomes_rows_of_three_tables(pages):
    part = pages(("https://site.org/p", b"<title>T</title><p>one</p><img src=a.jpg alt=A><p>two</p>", HTML))
    document = part["documents"].to_pylist()[0]
    assert document["uid"] == schema.uid("", "https://site.org/p") and document["title"] == "T"
    assert (document["http_status"], document["charset"], document["captured_at"].year) == (200, "utf-8", 2025)
    assert part["texts"]["text"].to_pylist() == ["one", "two"] and part["texts"]["position"].to_pylist() == [0, 2]
    (image,) = part["images"].to_pylist()
    assert image["url"] == "https://site.org/a.jpg" and image["text"] == "A" and image["position"] == 1
    assert image["doc_uid"] == document["uid"] and image["uid"] == schema.uid(document["uid"], "1")
    assert image["drop_reason"] is None and image["candidates"] == [image["url"]]


def test_columns_are_the_declared_ones_also_without_rows(pages):
    source = WebPages("x")
    for part in (pages(("https://site.org/p", b"<p>x<img src=a>", HTML)), pages(("https://site.org/p", b"", HTML))):
        for table, rows in part.items():
            assert {f.name: f.type for f in rows.schema} == {**source.adds(table), "drop_reason": schema.STR}
            assert set(schema.TABLES[table]) <= set(source.adds(table))


@pytest.mark.parametrize(
    "body, headers, status, outcome",
    [
        (b"<p>x", HTML, 404, "bad_status"),
        (b"<p>x", HTML, 301, "bad_status"),
        (b"", HTML, 200, "empty"),
        (b" \n", HTML, 200, "empty"),
        (b"\x89PNG\r\n", [("Content-Type", "image/png")], 200, "not_html"),
        (b"\x89PNG\r\n", HTML, 200, "not_html"),
        (b"<p>x", [("Content-Type", "text/html charset=utf-8")], 200, None),
        (b"<p>x", [("Content-Type", '"text/html"; charset="utf-8"')], 200, None),
        (b"<p>x", [("Content-Type", "text/html,text/html; charset=utf-8")], 200, None),
        (b"x", [("Content-Type", "html")], 200, None),
        (b"x", [("Content-Type", "application/xhtml+xml")], 200, None),
        (b"<p>x", [("Content-Type", "application/x-httpd-php")], 200, None),
        (b"<section>x", [("Content-Type", "content/unknown")], 200, None),
        (b"\xef\xbb\xbf<?xml version='1.0'?><!DOCTYPE html><p>x", [("Content-Type", "application/xml")], 200, None),
        (b"<?xml version='1.0'?><rss>", [("Content-Type", "application/xml")], 200, "not_html"),
        (b"<!--" + b"c" * 4000 + b"--><p>x", [("Content-Type", "")], 200, None),
        (b"{}", [("Content-Type", "application/json")], 200, "not_html"),
        (b"<p>x", [("Content-Type", "image/png")], 200, "not_html"),
        (b"<p>x", [*HTML, ("X", "a" * 100_000)], 200, "bad_record"),
        (b"<meta charset=iso-2022-kr><p>x\xff", HTML[:0], 200, "bad_encoding"),
        (b"%PDF-1.4", [("Content-Type", "application/pdf")], 200, "not_html"),
        (b"just words", [("Content-Type", "text/plain")], 200, "not_html"),
        (b"<!DOCTYPE html><p>x", [("Content-Type", "text/plain")], 200, None),
        (b"<html><p>x", [], 200, None),
        (b"x" * 5001, HTML, 200, "too_large"),
        (gzip.compress(b"<p>x", mtime=0), [*HTML, ("Content-Encoding", "gzip")], 200, None),
        (gzip.compress(b"x" * 50_000_000, mtime=0), [*HTML, ("Content-Encoding", "gzip")], 200, "too_large"),
        (b"<p>stored decoded", [*HTML, ("Content-Encoding", "gzip")], 200, None),
        (b"\x1f\x8b\x08junk", [*HTML, ("Content-Encoding", "gzip")], 200, "bad_encoding"),
        (b"\x01\x02", [*HTML, ("Content-Encoding", "compress")], 200, "bad_encoding"),
        (zlib.compress(b"<p>x"), [*HTML, ("Content-Encoding", "deflate")], 200, None),
        (zlib.compress(b"<p>x", wbits=-15), [*HTML, ("Content-Encoding", "deflate")], 200, None),
        (zlib.compress(b"x" * 9000, wbits=-15), [*HTML, ("Content-Encoding", "deflate")], 200, "too_large"),
        (b"\xff junk", [*HTML, ("Content-Encoding", "deflate")], 200, "bad_encoding"),
        (b"<!---->" * 40 + b"x", [("Content-Type", "text/plain")], 200, "not_html"),
        (b"<!-- a --> <!-- b > -- --><p>x", [("Content-Type", "text/plain")], 200, None),
        (b"4\r\n<p>x\r\n0\r\n\r\n", [*HTML, ("Transfer-Encoding", "chunked")], 200, None),
        (b"<p>x", [*HTML, ("X-Robots-Tag", "otherbot: noai")], 200, "opt_out"),
        (b"<p>x", [*HTML, ("x-robots-tag", "noindex"), ("X-ROBOTS-TAG", "all NoAI")], 200, "opt_out"),
        (b"<p>x", [*HTML, ("tdm-reservation", "1")], 200, "opt_out"),
        (b"<p>x", [*HTML, ("TDM-Reservation", "0"), ("TDM-Reservation", '"1"')], 200, "opt_out"),
    ],
)
def test_every_record_has_an_outcome(tmp_path, body, headers, status, outcome):
    path = tmp_path / "x.warc"
    path.write_bytes(
        warc(
            [("https://site.org/p", body, headers, status), ("https://site.org/after", b"<p>after", HTML, 200)], compress=False
        )
    )
    (part,) = read(path, max_bytes=5000)
    assert part["documents"]["drop_reason"].to_pylist() == [f"page:{outcome}" if outcome else None, None]
    assert part["texts"]["text"].to_pylist()[-1] == "after" and len(part["texts"]) == (1 if outcome else 2)


def test_a_record_without_a_web_address():
    data = warc([("dns:site.org", b"<p>x", HTML, 200), ("<https://site.org/wget>", b"<p>x", HTML, 200)])
    found = list(records(io.BytesIO(data), "x", 1000))
    assert [(f.url, f.outcome) for f in found] == [("dns:site.org", "no_url"), ("https://site.org/wget", None)]


def test_parts_hold_whole_pages_and_the_same_rows_at_any_size(tmp_path):
    body = b"<p>one<img src=1.jpg><p>two<img src=2.jpg><img src=3.jpg>"
    path = tmp_path / "x.warc.gz"
    path.write_bytes(warc([(f"https://site.org/{i}", body, HTML, 200) for i in range(10)]))
    small, large = read(path, part_size=7), read(path, part_size=1000)
    assert [len(p["images"]) for p in small] == [9, 9, 9, 3] and len(large) == 1
    for table in ("documents", "texts", "images"):
        rows = [r for p in small for r in p[table].to_pylist()]
        assert rows == large[0][table].to_pylist()
    for part in small:
        assert set(part["images"]["doc_uid"].to_pylist()) == set(part["documents"]["uid"].to_pylist())


def test_a_broken_file_is_named_and_what_came_before_stays(tmp_path):
    path = tmp_path / "x.warc.gz"
    good = warc([(f"https://site.org/{i}", b"<p>one", HTML, 200) for i in range(3)])
    path.write_bytes(good + b"\x1f\x8b\x08\x00" + b"\xff" * 100)
    parts = WebPages(str(path)).read(str(path), 1000)
    assert len(next(parts)["documents"]) == 3
    with pytest.raises(PoolError, match=r"x\.warc\.gz: cannot be read after record 2"):
        next(parts)


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_cut_short_anywhere_is_told_and_gives_no_half_page(compress):
    words = [os.urandom(300).hex().encode() for _ in range(3)]
    data = warc([(f"https://site.org/{i}", b"<p>" + w, HTML, 200) for i, w in enumerate(words)], compress)
    first = len(warc([("https://site.org/0", b"<p>" + words[0], HTML, 200)], compress))
    told = []
    for cut in range(first, len(data) - 8, 7):
        found = []
        try:
            found += records(io.BytesIO(data[:cut]), "x", 10_000)
            told.append(False)
        except PoolError as e:
            assert "x: cannot be read after record" in str(e)
            told.append(True)
        assert all(f.body == b"<p>" + w for f, w in zip(found, words))
    assert sum(told) > 0.8 * len(told)  # what a gzip member's first bytes hold, and that there is one, nothing tells


def test_the_pages_before_a_cut_stay(tmp_path):
    path = tmp_path / "x.warc"
    path.write_bytes(warc([(f"https://site.org/{i}", b"<p>" + b"word " * 50, HTML, 200) for i in range(3)], False)[:-100])
    parts = []
    with pytest.raises(PoolError, match=r"after record 1 .*: the next record is cut short"):
        parts += WebPages(str(path)).read(str(path), 1)
    parts = WebPages(str(path)).read(str(path), 1)
    assert [next(parts)["documents"]["url"].to_pylist() for _ in range(2)] == [["https://site.org/0"], ["https://site.org/1"]]


def test_a_cut_among_other_records_is_told():
    page = warc([("https://site.org/0", b"<p>x", HTML, 200)], False)
    data = page + page.replace(b"WARC-Type: response", b"WARC-Type: metadata")
    assert len(list(records(io.BytesIO(data), "x", 1000))) == 1
    with pytest.raises(PoolError, match=r"after record 0 .*cut short"):
        list(records(io.BytesIO(data[:-9]), "x", 1000))


def test_junk_is_an_error_and_an_empty_file_is_nothing(tmp_path):
    (tmp_path / "junk.warc").write_bytes(b"not a warc\n" * 50)
    with pytest.raises(PoolError, match=r"junk\.warc"):
        read(tmp_path / "junk.warc")
    (tmp_path / "empty.warc").write_bytes(b"")
    assert read(tmp_path / "empty.warc") == []
    with pytest.raises(RecipeError):
        WebPages(str(tmp_path / "none-*.warc")).files()


def test_common_crawl_s_layout(tmp_path):
    """A crawl's list of paths, from the root of a copy of it; the files are read where it says."""
    folder = "crawl-data/CC-MAIN-2025-05/segments/1736703361941.29/warc"
    (tmp_path / folder).mkdir(parents=True)
    names = [f"{folder}/CC-MAIN-20250112191321-20250112221321-0000{i}.warc.gz" for i in range(2)]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(
            warc([(f"https://site.org/{i}", b"<p>one", [*HTML, ("X-Crawler-Content-Encoding", "gzip")], 200)])
        )
    listed = tmp_path / "crawl-data/CC-MAIN-2025-05/warc.paths.gz"
    listed.write_bytes(gzip.compress("".join(f"{n}\n" for n in names).encode()))
    assert WebPages(str(listed)).files() == [f"{tmp_path}/{n}" for n in names]
    assert [p["documents"]["url"].to_pylist() for p in read(listed)] == [["https://site.org/0"], ["https://site.org/1"]]
    assert len(read(f"{tmp_path}/crawl-data/CC-MAIN-*/segments/*/warc/*.warc.gz")) == 2
    (tmp_path / "here.paths").write_text(f"{names[0]}\nnowhere.warc.gz\n")
    with pytest.raises(RecipeError, match="nowhere"):
        WebPages(str(tmp_path / "here.paths")).files()
    (tmp_path / "bad.paths.gz").write_bytes(b"no gzip")
    with pytest.raises(PoolError, match=r"bad\.paths\.gz: not a list of WARC files"):
        WebPages(str(tmp_path / "bad.paths.gz")).files()


def test_a_folder_of_html(tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("d/b.html", "d/a.htm", "d/sub/c d.html.de", "d/notes.txt", "d/x.css"):
        (tmp_path / name).write_text("<p>x<img src=../i.png>")
    (part,) = read(tmp_path / "d", base_url="https://site.org/docs")
    assert part["documents"]["url"].to_pylist() == [
        f"https://site.org/docs/{n}" for n in ("a.htm", "b.html", "sub/c%20d.html.de")
    ]
    assert part["images"]["url"].to_pylist() == ["https://site.org/i.png"] * 2 + ["https://site.org/docs/i.png"]
    assert part["documents"]["source_row"].to_pylist() == [0, 1, 2]


def test_a_folder_of_warcs_and_one_without_pages(tmp_path):
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "notes.txt").write_text("x")
    with pytest.raises(RecipeError, match="crawl: no page is below it"):
        WebPages(str(tmp_path / "crawl")).files()
    for name in ("b.warc.gz", "a.warc"):
        (tmp_path / "crawl" / name).write_bytes(b"")
    warcs = [f"{tmp_path}/crawl/a.warc", f"{tmp_path}/crawl/b.warc.gz"]
    assert WebPages(str(tmp_path / "crawl")).files() == warcs
    (tmp_path / "crawl" / "index.html").write_text("<p>x")
    assert WebPages(str(tmp_path / "crawl")).files() == [f"{tmp_path}/crawl", *warcs]


def test_a_file_whose_name_is_not_utf8_has_an_address(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.html", "wb") as f:
        f.write(b"<p>x")
    (part,) = read(tmp_path, base_url="https://site.org")
    assert part["documents"]["url"].to_pylist() == ["https://site.org/caf%E9.html"]


def test_a_single_file_without_an_address_points_to_files(tmp_path):
    (tmp_path / "a.html").write_text("<p>x<img src=i.png>")
    (part,) = read(tmp_path / "a.html")
    assert part["images"]["url"].to_pylist() == [f"file://{tmp_path}/i.png"]


def test_the_identity_leaves_out_the_paths():
    assert WebPages("a").identity() == WebPages("b").identity() != WebPages("a", max_bytes=5).identity()
    assert json.dumps(WebPages("a").identity())


HOSTILE = {
    "a million open elements": b"<div>" * 1_000_000,
    "formatting rebuilt in every paragraph": b"<p>"
    + b"".join(b"<b id=%d>" % i for i in range(6000))
    + b"</p>"
    + b"<p>x</p>" * 6000,
    "twenty thousand attributes": b"<a " + b" ".join(b"a%d=1" % i for i in range(20000)) + b">x",
    "nested tables": b"<table><tr><td>" * 20000 + b"x",
    "nested figures and pictures": b"<figure><picture>" * 20000 + b"<img src=x.png>",
    "only less-than signs": b"<" * 5_000_000,
    "unclosed comments": b"<!--" * 500_000,
    "a long base for many images": b"<base href=/" + b"b" * 4000 + b"/>" + b"<img src=a>" * 100_000,
    "half a million images": b"<img src=a>" * 500_000,
    "a lang of a megabyte": b"<body lang='" + b"l" * 1_000_000 + b"'>" + b"<p>words" * 20_000,
    "an element's name of a megabyte": b"<" + b"x" * 1_000_000 + b">" + b"<p>words" * 20_000,
    "a caption for many images": b"<figure><figcaption>" + b"c" * 100_000 + b"</figcaption>" + b"<img src=i.png>" * 20_000,
    "a title of many megabytes": b"<title>" + b"t" * 9_000_000 + b"</title>",
    "shadow trees in each other": b"<x-y><template shadowrootmode=open><slot></slot>" * 20_000,
    "a media query of parentheses": b"<picture><source media='"
    + b"(" * 900
    + b"' srcset=a.jpg><img src=b.jpg></picture>" * 2000,
    "a srcset of a megabyte": b"<img srcset='" + b"/a.jpg 1w, " * 100_000 + b"'>",
    "a style of a megabyte": b"<div style='background:" + b"url(" * 250_000 + b"'>x",
    "a class of a megabyte": b"<div class='" + b"no-" * 300_000 + b"'>x",
    "nul bytes": b"<p>a\0b</p>" + b"\0" * 100_000,
    "entities": b"&#x110000;&#xD800;&#0;&notanentity;" * 10_000,
    "random bytes": bytes(range(256)) * 2000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pages_end_in_an_outcome_and_the_next_page_is_read(pages, body):
    part = pages(
        ("https://evil.org/", b"<html>" + body, HTML),
        ("https://site.org/", b"<p>after", HTML),
        part_size=10**6,
        seconds=0.5,
        memory=1 << 30,
    )
    first, second = part["documents"]["drop_reason"].to_pylist()
    assert sum(t.nbytes for t in part.values()) < 40 << 20
    assert (
        first
        in (None, "page:parser_timeout", "page:parser_memory", "page:parser_crash", "page:too_many_nodes", "page:too_large")
        and second is None
    )
    assert part["texts"]["text"].to_pylist()[-1] == "after"
    assert part["texts"].filter(pc.equal(part["texts"]["source_row"], 0)).num_rows == 0 or first is None


def test_labels_of_real_pages_are_what_they_say():
    folder = Path(__file__).parent.parent / "data" / "page_labels"
    labelled = [page for name in ("manuals", "unseen") for page in json.loads((folder / f"{name}.json").read_text())["pages"]]
    assert len(labelled) >= 60 and len({p["sha256"] for p in labelled}) == len(labelled)
    for page in labelled:
        assert not set(page["content"]) & set(page["boilerplate"]) and not set(page["text"]) & set(page["other_text"])


def test_a_page_of_more_rows_than_any_page_has_is_one_row(monkeypatch):
    monkeypatch.setattr(walk, "MAX_ITEMS", 50)
    for body, outcome in ((b"<p>x" * 50, None), (b"<p>x" * 60, "too_many_nodes"), (b"<img src=a>" * 60, "too_many_nodes")):
        assert extract(body, None, "https://e.org/", [], True)["outcome"] == outcome
    monkeypatch.setattr(extracting, "MANY", 10)
    monkeypatch.setattr(extracting, "UNFOLDED", 1000)
    base = b"<base href=/" + b"b" * 100 + b"/>"
    assert extract(base + b"<img src=a>" * 9, None, "https://e.org/", [], True)["outcome"] is None
    assert extract(base + b"<img src=a>" * 20, None, "https://e.org/", [], True)["outcome"] == "too_large"


def test_a_page_of_fifty_megabytes(pages):
    part = pages(("https://big.org/", b"<p>word " * 6_500_000, HTML))
    assert part["documents"]["drop_reason"].to_pylist() == ["page:too_large"] and len(part["texts"]) == 0


def test_a_parser_that_is_killed_comes_back():
    with Parser(5, 1 << 30) as parser:
        assert parser(b"<p>x", None, "https://e.org/", [], True)["texts"][0][1] == "x"
        parser.child.kill()
        parser.child.wait()
        assert parser(b"<p>x", None, "https://e.org/", [], True) == {"outcome": "parser_crash"}
        assert parser(b"<p>x", None, "https://e.org/", [], True)["outcome"] is None
    assert parser.child is None


def test_lexbor_under_a_time_limit_is_a_timeout():
    with Parser(0.2, 1 << 30) as parser:
        assert parser(b"<div>" * 1_000_000, None, "https://e.org/", [], True) == {"outcome": "parser_timeout"}
