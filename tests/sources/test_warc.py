"""WARC files as they are found: cut, damaged, under any name, and their relatives."""

import bz2
import gzip
import io
import lzma
import os
import tarfile

import pytest
from warc_files import HTML, read, warc

from curate.errors import PoolError, RecipeError
from curate.sources.warc import records
from curate.sources.web_pages import WebPages


def test_a_page_that_is_cut_is_taken_and_the_ledger_says_so(tmp_path):
    body = gzip.compress(b"<p>one<p>" + os.urandom(500).hex().encode())
    coded = [*HTML, ("Content-Encoding", "gzip")]
    written = [
        ("https://site.org/0", body, coded),
        ("https://site.org/1", body[:200], coded),
        ("https://site.org/2", b"<p>one", [*HTML, ("Content-Length", "99")]),
        ("https://site.org/3", b"<p>one", [*HTML, ("Content-Length", "6")]),
        ("https://site.org/4", b"6\r\n<p>one", [*HTML, ("Transfer-Encoding", "chunked")]),
    ]
    (tmp_path / "x.warc.gz").write_bytes(warc([(*page, 200) for page in written]))
    (part,) = read(tmp_path / "x.warc.gz")
    assert part["documents"]["truncated"].to_pylist() == [None, "body", "body", None, "body"]
    assert part["documents"]["drop_reason"].to_pylist() == [None] * 5
    assert part["texts"]["text"].to_pylist().count("one") == 5
    data = warc([("https://site.org/", b"<p>one", HTML, 200)], False).replace(
        b"WARC-Date", b"WARC-Truncated: length\r\nWARC-Date"
    )
    (found,) = records(io.BytesIO(data), "x", 1000)
    assert (found.truncated, found.outcome) == ("length", None)


def record(number: int, head: bytes = b"", length: bytes | None = None, body: bytes = b"<p>one") -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + head + b"\r\n" + body
    return (
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://site.org/%d\r\nContent-Type: application/http\r\n"
        b"Content-Length: %b\r\n\r\n%b\r\n\r\n" % (number, length or b"%d" % len(http), http)
    )


DAMAGED = {
    "a length that is too large": record(1, length=b"1000000000000000000"),
    "a length that no file has": record(1, length=b"1" * 30),
    "a length below nothing": record(1, length=b"-1"),
    "a length that is no number": record(1, length=b"1e3"),
    "a length beyond the file": record(1, length=b"99999"),
    "an endless header line": b"WARC/1.0\r\nWARC-Type: response\r\nX: " + b"a" * 5_000_000 + b"\r\n\r\n",
    "endless headers": b"WARC/1.0\r\nWARC-Type: response\r\n" + b"A: b\r\n" * 500_000 + b"\r\n",
    "an endless HTTP header": record(1, b"X: " + b"a" * 5_000_000 + b"\r\n"),
    "endless HTTP headers": record(1, b"A: b\r\n" * 500_000),
    "no record": b"\0\xffnothing of the kind\r\n" * 9,
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_record_costs_one_row(damaged, packed):
    pack = gzip.compress if packed else bytes
    data = pack(record(0)) + pack(damaged) + pack(record(2)) + pack(record(3))
    found = list(records(io.BytesIO(data), "x", 1 << 20))
    assert [f.outcome for f in found] == [None, "bad_record", None, None] and [f.row for f in found] == [0, 1, 2, 3]
    assert [f.url for f in found[::2]] == ["https://site.org/0", "https://site.org/2"]


def test_a_file_of_nothing_but_damage_is_given_up():
    data = b"".join(record(i, length=b"-1") for i in range(1100))
    found = records(io.BytesIO(data), "x", 1000)
    with pytest.raises(PoolError, match=r"x: cannot be read after record -?\d+ .*Content-Length of '-1'"):
        assert sum(1 for _ in found) > 900


def test_lines_that_end_as_on_unix():
    unix = record(0, length=b"49").replace(b"\r\n", b"\n")
    http = unix.split(b"\n\n", 1)[1].removesuffix(b"\n\n")
    unix = unix.replace(b"Content-Length: 49", b"Content-Length: %d" % len(http))
    mixed = record(0, length=b"%d" % len(http)).split(b"\r\n\r\n")[0] + b"\r\n\r\n" + http + b"\r\n\r\n"
    for data in (unix * 2, mixed * 2):
        assert [(f.status, f.body) for f in records(io.BytesIO(data), "x", 1000)] == [(200, b"<p>one")] * 2


PAGE = warc([("https://site.org/p", b"<p>one", HTML, 200)])


@pytest.mark.parametrize("name", ["UP.WARC.GZ", "x.warc.gz.open", "x.warc.gz.1", "noext", "x.warc.txt", "x.html", "a b.warc"])
@pytest.mark.parametrize("data", [PAGE, gzip.decompress(PAGE)], ids=["packed", "plain"])
def test_a_warc_file_is_known_by_its_content(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    (part,) = read(tmp_path / name)
    assert part["texts"]["text"].to_pylist() == ["one"]
    if not name.endswith("html"):
        assert [p["texts"]["text"].to_pylist() for p in read(tmp_path)] == [["one"]]


RELATIVES = {
    "WET": PAGE.replace(b"", b"") and gzip.compress(gzip.decompress(PAGE).replace(b"response", b"conversion", 1)),
    "WAT": gzip.compress(gzip.decompress(PAGE).replace(b"response", b"metadata", 1).replace(b"HTTP/1.1 200", b'{"Container"')),
    "ARC": gzip.compress(b"filedesc://x.arc 0.0.0.0 20050101000000 text/plain 76\n1 0 x\n"),
    "WACZ": b"PK\x03\x04" + bytes(50),
    "MHTML": b"From: <Saved by Blink>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n",
}


@pytest.mark.parametrize("kind", RELATIVES)
def test_the_relatives_of_warc_are_refused_by_name(tmp_path, kind):
    """By what is in them if they are named; in a folder by their endings, and passed over where there is something else."""
    (tmp_path / "some file").write_bytes(RELATIVES[kind])
    with pytest.raises(PoolError, match=f"some file: .*{kind}"):
        read(tmp_path / "some file")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / {"WET": "x.warc.wet.gz", "WAT": "x.warc.wat.gz"}.get(kind, f"x.{kind.lower()}")).write_bytes(RELATIVES[kind])
    with pytest.raises(RecipeError, match=f"folder/x.*{kind}"):
        WebPages(str(folder)).files()
    (folder / "x.warc.gz").write_bytes(PAGE)
    assert WebPages(str(folder)).files() == [f"{folder}/x.warc.gz"]


def tar(packed: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{packed}") as t:
        t.addfile(tarfile.TarInfo("a.html"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tar(""), "is a tar file; unpack it"),
        (tar("gz"), "is a tar file; unpack it"),
        (bz2.compress(gzip.decompress(PAGE)), "bzip2 or xz; decompress it"),
        (lzma.compress(b"<!doctype html><p>x"), "bzip2 or xz; decompress it"),
        (gzip.compress(PAGE), "compressed twice; decompress it once"),
        (gzip.compress(bz2.compress(gzip.decompress(PAGE))), "compressed twice; decompress it once"),
        (gzip.compress(b"\n<!-- saved --><HTML><p>x"), "is a compressed page; decompress it"),
        (b" CDX N b a m s k r M S V g\ncom,a)/ 2020 https://a/\n", "is an index of WARC files"),
        (gzip.compress(b"!CDXJ 1.0\n"), "is an index of WARC files"),
    ],
    ids=[
        "tar",
        "tar.gz",
        "bz2",
        "xz",
        "gz.gz",
        "bz2.gz",
        "page.gz",
        "cdx",
        "cdxj.gz",
    ],  # of its bytes a gzip file would have the time
)
def test_what_holds_pages_and_is_not_unpacked_is_refused_by_its_bytes(tmp_path, data, says):
    (tmp_path / "x.warc").write_bytes(data)
    with pytest.raises(PoolError, match=f"x.warc: .*{says}"):
        read(tmp_path / "x.warc")


def test_files_of_a_folder_whose_names_say_nothing_are_looked_into(tmp_path):
    for name, data in {
        "A.HTM": b"<p>x",
        "view.php": b"<p>x",
        "index": b"<!doctype html><p>x",
        "README": b"words",
        "x.css": b"<p>x",
    }.items():
        (tmp_path / name).write_bytes(data)
    (part,) = read(tmp_path, base_url="https://site.org")
    assert part["documents"]["url"].to_pylist() == [f"https://site.org/{n}" for n in ("A.HTM", "index", "view.php")]
