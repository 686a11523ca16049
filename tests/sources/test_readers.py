"""Readers of strangers' files: one that crashes, hangs or eats memory costs its file from there on, and nothing else."""

import gzip

import fsspec
import pyarrow as pa
import pytest
from warc_files import warc

from curate.errors import PoolError
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.sources import contained
from curate.sources.url_pairs import UrlPairs
from curate.sources.web_pages import WebPages
from curate.sources.webdataset import WebDataset

HTML = [("Content-Type", "text/html")]


@pytest.mark.parametrize(
    ("reader", "said"),
    [("crashes", "the reader crashed"), ("eats", "more than 3 GiB of memory"), ("hangs", "takes more than"), ("errs", "row 5")],
)
def test_what_came_before_stays_and_the_error_says_what_happened(reader, said, monkeypatch):
    monkeypatch.setattr(contained, "SECONDS", 0.1)
    found = contained.read(f"bad_readers:{reader}", [])
    assert next(found) == (1,)
    with pytest.raises(PoolError if reader == "errs" else ValueError, match=said):
        next(found)


@pytest.mark.parametrize("where", ["", "memory://contained/"])
def test_reading_on_is_no_hang_and_remote_files_are_read_by_the_parent(where, tmp_path, monkeypatch):
    monkeypatch.setattr(contained, "SECONDS", 0.1)
    path = f"{where or tmp_path}/large"
    with fsspec.open(path, "wb") as f:
        f.write(bytes(8 * contained.BLOCK))
    assert list(contained.read("bad_readers:slow", [path])) == [(pa.table({"a": [1]}), "x")]


def test_a_line_that_eats_memory_costs_its_file_alone(tmp_path, monkeypatch):
    """Objects of JSON take many times their bytes."""
    monkeypatch.setattr(contained, "MEMORY", 1 << 30)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"url":"http://a/1","x":' + b"[{}," * 4_000_000 + b"0]}\n", 1))
    (tmp_path / "b.csv").write_text("url,text\nhttp://a/2.jpg,a caption\n")
    made = run(Recipe(UrlPairs(str(tmp_path)), shards=None), str(tmp_path / "run"), engine="local")
    assert made.sql("select url from images").fetchall() == [("http://a/2.jpg",)]
    (problem,) = made.problems
    assert "a.jsonl.gz" in problem and "memory" in problem


def test_every_reader_has_a_child(tmp_path, monkeypatch):
    """With a child that crashes no list, tar or WARC file is read, and each error names its file."""
    (tmp_path / "a.csv").write_text("url,text\nhttp://a/2.jpg,a caption\n")
    (tmp_path / "a.warc.gz").write_bytes(warc([("https://site.org/1", b"<p>one", HTML, 200)]))
    (tmp_path / "a.tar").write_bytes(bytes(1024))
    monkeypatch.setattr(contained, "_READER", "os:abort")
    for source in (UrlPairs, WebDataset, WebPages):
        ending = {UrlPairs: "csv", WebDataset: "tar", WebPages: "warc.gz"}[source]
        path = str(tmp_path / f"a.{ending}")
        with pytest.raises(PoolError, match=rf"a\.{ending}: cannot be read.*the reader crashed"):
            list(source(path).read(path, 10))
