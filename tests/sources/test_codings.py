"""Content and transfer codings: decoded, also of bodies that are cut, and of those that are stored without them."""

import gzip
import io
import os
import zlib

import brotli
import pytest
from fastwarc.stream_io import ZstdWriter

from curate.sources import codings
from curate.sources.codings import decode

PAGE = b"<html><body>" + b"".join(b"<p>paragraph %d, %d</p>" % (i, i * 7919 % 10007) for i in range(400)) + b"</body></html>"
LIMIT = 1 << 20


def chunks(body: bytes, size: int = 300, extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = (body[i : i + size] for i in range(0, len(body), size))
    return b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces) + end


def zstd(body: bytes) -> bytes:
    out = io.BytesIO()
    writer = ZstdWriter(out)
    writer.write(body)
    writer.close()
    return out.getvalue()


CODED = {
    "gzip": ("gzip", gzip.compress(PAGE)),
    "gzip of two members": ("x-gzip", gzip.compress(PAGE[:3000]) + gzip.compress(PAGE[3000:])),
    "zlib": ("deflate", zlib.compress(PAGE)),
    "bare deflate": ("deflate", zlib.compress(PAGE, wbits=-15)),
    "brotli": ("br", brotli.compress(PAGE)),
    "zstd": ("zstd", zstd(PAGE)),
    "chunks": ("chunked", chunks(PAGE)),
    "chunks with extensions": ("chunked", chunks(PAGE, 41, b' ; a="b";c')),
    "chunks of upper case": ("chunked", chunks(PAGE, 300).replace(b"12c\r\n", b"012C  \r\n")),
    "chunks with trailers": ("chunked", chunks(PAGE, end=b"0\r\nExpires: now\r\n\r\n")),
}


@pytest.mark.parametrize("coding, body", CODED.values(), ids=CODED)
def test_a_coding_is_undone_and_bounded(coding, body):
    assert decode(body, [coding], LIMIT) == (PAGE, True)
    assert decode(body, [coding], 1000) == (PAGE[:1001], False) or len(decode(body, [coding], 1000)[0]) == 1001


@pytest.mark.parametrize("coding, body", CODED.values(), ids=CODED)
def test_of_a_body_cut_anywhere_what_is_there_is_taken_and_it_is_said(coding, body):
    found = [decode(body[:cut], [coding], LIMIT) for cut in range(len(body))]
    assert all(PAGE.startswith(data) for data, _ in found) and len(found[-1][0]) > len(PAGE) - 600
    # Between two members of gzip nothing says that there is a second one.
    assert {data for data, whole in found if whole} <= {PAGE, PAGE[:3000]} and sum(whole for _, whole in found) < 20


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "chunked", "UTF-8", "compress", "aws-chunked", "x-custom"])
@pytest.mark.parametrize(
    "body",
    [
        PAGE,
        b"\xef\xbb\xbf" + PAGE,
        "\ufeff<html><p>x".encode("utf-16-le"),
        b"Warning: x\n" + PAGE,
        b"<b>x</b>",
        b"<link rel=x>",
        b"<!--" + b"c" * 2000 + b"-->" + PAGE,
        b"just words, one after the other " * 3,
    ],
)
def test_text_under_headers_that_outlived_its_coding_is_taken_as_it_is(coding, body):
    assert decode(body, [coding], LIMIT) == (body, True)


def test_codings_in_each_other_and_one_of_two_that_is_gone():
    both = chunks(gzip.compress(PAGE))
    assert decode(both, ["chunked", "gzip"], LIMIT) == (PAGE, True)
    assert decode(gzip.compress(PAGE), ["chunked", "gzip"], LIMIT) == (PAGE, True)
    assert decode(chunks(PAGE), ["chunked", "gzip"], LIMIT) == (PAGE, True)
    assert decode(both[:-9], ["chunked", "", "identity", "gzip"], LIMIT)[1] is False


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08junk", b"\x01\x02", b"\xff\0 junk", b"\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("coding", ["gzip", "compress"])
def test_what_is_neither_coded_nor_text_is_nothing(coding, body):
    assert decode(body, [coding], LIMIT) is None


def test_a_stream_that_is_damaged_in_the_middle_is_taken_up_to_there():
    page = PAGE + os.urandom(20_000).hex().encode()
    body = bytearray(gzip.compress(page))
    body[-9000:-8900] = bytes(100)
    data, whole = decode(bytes(body), ["gzip"], LIMIT)
    assert whole is False and len(PAGE) < len(data) < len(page) and data[: len(PAGE)] == PAGE


def test_bombs_cost_what_the_limit_allows():
    bomb = gzip.compress(b"<" * 50_000_000)
    assert len(decode(bomb, ["gzip"], 5000)[0]) == 5001
    deep = PAGE
    for _ in range(codings.MOST + 1):
        deep = gzip.compress(deep)
    assert decode(deep, ["gzip"] * 500, LIMIT) is None
    assert decode(PAGE, ["gzip"] * 500, LIMIT) == (PAGE, True)
    assert decode(b"f" * 16 + b"\r\n" + PAGE, ["chunked"], LIMIT) == (PAGE, False)
    assert decode(b"1\r\na\r\n" * (codings.CHUNKS + 9), ["chunked"], LIMIT) == (b"a" * codings.CHUNKS, False)
