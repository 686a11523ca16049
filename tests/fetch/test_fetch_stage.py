"""Fetch against a server that misbehaves: every outcome, inside its time, and what is parked for whom."""

import gzip
import hashlib
import json
import socket
import ssl
import subprocess
import time
import zlib

import pyarrow as pa
import pytest
from fetch_pictures import jpeg, photo, saved
from hostile_web import (
    Web,
    bomb_png,
    chunked,
    drip,
    endless,
    flaky,
    late,
    redirect,
    reply,
    then_close,
    then_reset,
    then_silence,
)

from curate import schema
from curate.errors import RecipeError
from curate.fetch import receive
from curate.fetch import stage as stage_module
from curate.fetch.machine import MachineLimit
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.store.atomic import Store
from curate.store.payload import Parcel

GOOD = jpeg()
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(GOOD)}\r\n".encode()
#: Seconds: of a whole download, and of each wait within it.
TIMEOUT, WAIT = 2.5, 1.0


def fetched(tmp_path, urls, extra=None, **options):
    """The stage's columns for a list of URLs, and the parcel's bytes."""
    store = Store(tmp_path)
    store.publish_bytes("recipe.json", json.dumps({"inputs": [{"path": str(tmp_path / "source.bin")}]}).encode())
    live = pa.table(
        {
            "uid": pa.array([schema.uid(str(i), u) for i, u in enumerate(urls)], pa.large_string()),
            "url": pa.array(urls, pa.large_string()),
            **(extra or {}),
        }
    )
    options = {"allow_private": ("127.0.0.0/8", "::1/128"), "robots": False, "timeout": TIMEOUT, "wait": WAIT} | options
    path = tmp_path / "payload.tar"
    with open(path, "wb") as file:
        parcel = Parcel(store, file)
        stage = Fetch(**options)
        table = stage.run(live, parcel)
        parcel.close()
    assert table.schema.equals(schema.arrow(stage.adds()))
    assert set(table["fetch"].to_pylist()) <= set(schema.FETCH)
    return table, path.read_bytes()


#: path -> what the server does, and the outcomes that are right.
CASES = {
    "/good.jpg": (reply(GOOD), "ok"),
    "/chunked.jpg": (chunked(GOOD[:100], GOOD[100:]), "ok"),
    "/until_close.jpg": (then_close(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD), "ok"),
    "/http10.jpg": (then_close(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD), "ok"),
    "/slow_but_fine.jpg": (late(reply(GOOD), WAIT / 3), "ok"),
    "/interim.jpg": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + reply(GOOD), "ok"),
    "/bytes_after.jpg": (then_close(reply(GOOD) + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"), "ok"),
    "/short_length.jpg": (then_close(reply(GOOD, length=len(GOOD) - 40)), "truncated"),
    "/identity.jpg": (reply(GOOD, headers="Content-Encoding: identity\r\n"), "ok"),
    "/junk_after_eoi.jpg": (reply(GOOD + b"<!-- served by cache -->"), "ok"),
    "/flaky.jpg": (flaky(1, reply(b"", "500 Oops"), reply(GOOD)), "ok"),
    "/busy.jpg": (flaky(1, reply(b"", "429 Slow Down", "Retry-After: 1\r\n"), reply(GOOD)), "ok"),
    "/reset_once.jpg": (None, "ok"),
    "/redirect.jpg": (redirect("/good.jpg"), "ok"),
    "/redirect_301_far.jpg": (None, "ok"),
    "/303.jpg": (redirect("good.jpg", "303 See Other"), "ok"),
    "/308.jpg": (redirect("//{here}/good.jpg", "308 Permanent Redirect"), "ok"),
    "/401": (reply(b"", "401 No"), "http_401"),
    "/403": (reply(b"", "403 No"), "http_403"),
    "/404": (reply(b"<html>", "404 No"), "http_404"),
    "/404_chunked": (b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "http_404"),
    "/404_endless": (endless(b"HTTP/1.1 404 No\r\nContent-Length: 999999999\r\n\r\n", b"x" * 65536), "http_404"),
    "/404_stalled": (then_silence(reply(b"abc", "404 No", length=999)), "http_404"),
    "/410": (reply(b"", "410 Gone"), "http_410"),
    "/418": (reply(b"", "418 Teapot"), "http_4xx"),
    "/429": (reply(b"", "429 Slow Down", "Retry-After: 0\r\n"), "http_429"),
    "/500": (reply(b"", "500 Oops"), "http_5xx"),
    "/503_date": (reply(b"", "503 Later", "Retry-After: Mon, 01 Jan 2001 00:00:00 GMT\r\n"), "http_5xx"),
    "/204": (b"HTTP/1.1 204 No Content\r\n\r\n", "http_other"),
    "/206": (reply(GOOD, "206 Partial Content"), "http_other"),
    "/304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "http_other"),
    "/302_nowhere": (reply(b"", "302 Found"), "http_other"),
    "/999": (reply(b"", "999 LinkedIn"), "http_other"),
    "/loop": (redirect("/loop"), "too_many_redirects"),
    "/to_file": (redirect("file:///etc/passwd"), "bad_redirect"),
    "/to_ftp": (redirect("ftp://127.0.0.1/a.jpg"), "bad_redirect"),
    "/to_data": (redirect("data:image/png;base64,AAAA"), "bad_redirect"),
    "/to_metadata": (redirect("http://169.254.169.254/latest/meta-data/"), "private_address"),
    "/to_private": (redirect("http://10.0.0.1/"), "private_address"),
    "/to_nat64": (redirect("http://[64:ff9b::7f00:1]/"), "private_address"),
    "/silence": (then_silence(), "timeout"),
    "/stalled": (then_silence(HEAD + b"\r\n" + GOOD[:50]), "timeout"),
    "/half_head": (then_silence(b"HTTP/1.1 200 OK\r\nContent-"), "timeout"),
    "/drip_body": (drip(HEAD + b"\r\n" + GOOD, 0.05), "timeout"),
    "/drip_head": (drip(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500, 0.05), "timeout"),
    "/endless_head": (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000), "bad_response"),
    "/big_head": (reply(GOOD, headers=f"A: {'b' * 1_000_000}\r\n"), "bad_response"),
    "/10k_headers": (reply(GOOD, headers="A: b\r\n" * 10_000 + "C: " + "d" * 20_000 + "\r\n"), "bad_response"),
    "/endless_interim": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 20), "bad_response"),
    "/switch": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "bad_response"),
    "/http09": (then_close(GOOD), "bad_response"),
    "/ftp_greeting": (then_close(b"220 ready when you are\r\n\r\n"), "bad_response"),
    "/two_lengths": (then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n" + GOOD), "bad_response"),
    "/negative_length": (then_close(reply(GOOD, length=-5)), "bad_response"),
    "/word_length": (then_close(reply(GOOD, length="many")), "bad_response"),
    "/chunk_garbage": (then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"), "bad_response"),
    "/chunk_size_huge": (
        then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n"),
        "bad_response",
    ),
    "/length_and_chunked": (
        then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "bad_response",
    ),
    "/giant": (then_silence(reply(GOOD, length=5_000_000_000)), "too_large"),
    "/endless_body": (endless(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD, bytes(65536)), "too_large"),
    "/endless_chunks": (
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"),
        "too_large",
    ),
    "/endless_tiny_chunks": (
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 20_000),
        "bad_response",
    ),
    "/endless_trailers": (endless(chunked(GOOD, end=b"0\r\n"), b"A: b\r\n" * 1000), "bad_response"),
    "/endless_extension": (endless(chunked(GOOD, end=b"5;"), b"x" * 65536), ("bad_response", "timeout")),
    "/cut": (then_close(HEAD + b"\r\n" + GOOD[:-200]), "truncated"),
    "/cut_chunks": (then_close(chunked(GOOD, end=b"")), "truncated"),
    "/cut_file": (reply(GOOD[:-200]), "truncated"),
    "/closed": (then_close(b""), "connection"),
    "/reset": (then_reset(), "connection"),
    "/reset_mid_body": (then_reset(HEAD + b"\r\n" + GOOD[:100]), "connection"),
    "/reset_until_close": (then_reset(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD), "connection"),
    "/gzip": (reply(gzip.compress(GOOD), headers="Content-Encoding: gzip\r\n"), "bad_encoding"),
    "/gzip_bomb": (reply(gzip.compress(bytes(10_000_000)), headers="Content-Encoding: gzip\r\n"), "bad_encoding"),
    "/stacked": (reply(GOOD, headers="Content-Encoding: gzip, br, zstd, gzip\r\n"), "bad_encoding"),
    "/two_codings": (reply(GOOD, headers="Content-Encoding: identity\r\nContent-Encoding: X-GZIP\r\n"), "bad_encoding"),
    "/no_coding": (reply(GOOD, headers="Content-Encoding: none\r\n"), "ok"),
    "/charset_as_coding": (reply(GOOD, headers="Content-Encoding: UTF-8, binary\r\n"), "ok"),
    "/zero": (reply(b""), "empty"),
    "/html.jpg": (reply(b"<html><body>not here</body></html>", headers="Content-Type: image/jpeg\r\n"), "not_an_image"),
    "/svg.jpg": (reply(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not_an_image"),
    "/pdf.jpg": (reply(b"%PDF-1.7 ..."), "not_an_image"),
    "/eps.jpg": (reply(b"%!PS-Adobe-3.0 EPSF-3.0"), "not_an_image"),
    "/head_only.jpg": (reply(GOOD[:20]), "broken_image"),
    "/bomb.png": (reply(bomb_png()), "too_many_pixels"),
    "/noai": (reply(GOOD, headers="X-Robots-Tag: noai, noimageai\r\n"), "opt_out"),
    "/tdm": (reply(GOOD, headers="TDM-Reservation: 1\r\n"), "opt_out"),
    "/other_robot": (reply(GOOD, headers="X-Robots-Tag: googlebot: noindex\r\n"), "ok"),
}


@pytest.fixture(scope="module")
def web():
    pages = {path: page for path, (page, _) in CASES.items() if page is not None}
    with Web(pages).serve() as web, Web({"/far.jpg": reply(GOOD)}, "127.0.0.2").serve() as far:
        pages["/redirect_301_far.jpg"] = redirect(far.url("/far.jpg"), "301 Moved")
        pages["/308.jpg"] = redirect(f"//127.0.0.1:{web.port}/good.jpg", "308 Permanent Redirect")
        seen = []

        async def reset_once(web, path, writer):
            seen.append(path)
            await (then_reset() if len(seen) == 1 else late(reply(GOOD), 0))(web, path, writer)

        pages["/reset_once.jpg"] = reset_once
        yield web


def test_every_misdeed_ends_in_its_outcome_in_time(web, tmp_path):
    started = time.monotonic()
    table, _ = fetched(tmp_path, [web.url(p) for p in CASES], per_host=100, max_bytes=3_000_000, give_up=1000)
    took = time.monotonic() - started
    wrong = {
        p: (got, right)
        for (p, (_, right)), got in zip(CASES.items(), table["fetch"].to_pylist())
        if got not in (right if isinstance(right, tuple) else (right,))
    }
    print(took)
    assert wrong == {}
    assert took < 3 * TIMEOUT + 8  # three attempts with pauses of at most 1.5 and 3 s
    rows = dict(zip(CASES, table.to_pylist()))
    for path, row in rows.items():
        assert (row["payload_offset"] is not None) == (row["fetch"] == "ok"), path
    assert rows["/redirect_301_far.jpg"]["final_url"].startswith("http://127.0.0.2:")
    assert rows["/404"]["http_status"] == 404 and rows["/good.jpg"]["http_status"] == 200
    assert rows["/429"]["http_status"] == 429
    assert rows["/good.jpg"]["fetched_at"] is not None


def test_no_byte_of_an_opted_out_image_is_parked(web, tmp_path):
    table, tar = fetched(tmp_path, [web.url("/noai"), web.url("/tdm")])
    assert table["fetch"].to_pylist() == ["opt_out", "opt_out"]
    assert GOOD[100:200] not in tar and table["sha256"].null_count == 2
    table, tar = fetched(tmp_path, [web.url("/noai"), web.url("/tdm")], opt_out=False)
    assert table["fetch"].to_pylist() == ["ok", "ok"] and GOOD in tar


def test_what_a_row_tells_of_an_image(web, tmp_path):
    table, tar = fetched(tmp_path, [web.url("/good.jpg")])
    row = table.to_pylist()[0]
    assert row["sha256"] == hashlib.sha256(GOOD).hexdigest() and row["mime"] == "image/jpeg"
    assert (row["original_width"], row["original_height"], row["width"], row["height"]) == (64, 48, 64, 48)
    assert row["payload"] is None and tar[row["payload_offset"] :][: row["payload_size"]] == GOOD


def test_bad_urls_and_private_addresses(tmp_path):
    urls = [
        None,
        "",
        "not a url",
        "http://",
        "javascript:void(0)",
        "data:image/png;base64,iVBORw0KGgo=",
        "ftp://127.0.0.2/cat.jpg",
        "/img/relative.jpg",
        "mailto:someone@example.com",
        "http://:80/no-host.jpg",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:22/",
        "http://127.0.0.1/" + "a" * 65536,
        "http://exa mple.com/",
        "http://a..b/",
        "file:///etc/passwd",
    ]
    table, _ = fetched(tmp_path, urls)
    assert table["fetch"].to_pylist() == ["bad_url"] * len(urls)
    private = [
        "http://10.0.0.1/a.jpg",
        "http://169.254.169.254/",
        "http://[fe80::1]/a.jpg",
        "http://0.0.0.0/",
        "http://100.64.0.1/",
        "http://[::ffff:127.0.0.1]/",
    ]
    table, _ = fetched(tmp_path, private)
    assert table["fetch"].to_pylist() == ["private_address"] * len(private)


def test_refused_and_unknown_names(tmp_path, monkeypatch):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    real = socket.getaddrinfo

    def lookup(host, *args, **kwargs):
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    table, _ = fetched(tmp_path, [f"http://127.0.0.1:{port}/", "http://nowhere.invalid/a.jpg"])
    assert table["fetch"].to_pylist() == ["refused", "dns"]


def test_loopback_is_refused_unless_opened(web, tmp_path):
    before = web.connections
    table, _ = fetched(tmp_path, [web.url("/good.jpg")], allow_private=())
    assert table["fetch"].to_pylist() == ["private_address"] and web.connections == before


def test_same_url_is_asked_for_once_and_kept_once(web, tmp_path):
    web.hits.clear()
    table, tar = fetched(tmp_path, [web.url("/good.jpg")] * 3 + [web.url("/404")] * 2)
    assert web.hits == {"/good.jpg": 1, "/404": 1}
    assert table["fetch"].to_pylist() == ["ok"] * 3 + ["http_404"] * 2
    assert len(set(table["payload_offset"].to_pylist()[:3])) == 1 and tar.count(GOOD) == 1


def test_hash_of_the_list(web, tmp_path):
    good = [hashlib.new(n, GOOD).hexdigest() for n in ("sha256", "md5", "sha1", "sha512")]
    listed = [*good, good[0].upper(), "0" * 64, "xyz", None]
    column = {"listed": pa.array(listed, pa.large_string())}
    urls = [web.url("/good.jpg")] * len(listed)
    table, _ = fetched(tmp_path, urls, column, hash_column="listed")
    assert table["fetch"].to_pylist() == ["ok"] * 5 + ["hash_mismatch"] * 2 + ["ok"]
    table, _ = fetched(tmp_path, urls, column, hash_column="listed", require_hash=True)
    assert table["fetch"].to_pylist() == ["ok"] * 5 + ["hash_mismatch"] * 3
    assert [p is None for p in table["payload_offset"].to_pylist()] == [False] * 5 + [True] * 3


def test_the_hook_sees_bytes_before_anything_is_written(web, tmp_path):
    table, tar = fetched(tmp_path, [web.url("/good.jpg"), web.url("/404")], match=lambda data: data == GOOD)
    assert table["fetch"].to_pylist() == ["matched", "http_404"]
    assert GOOD[50:90] not in tar and table["sha256"].null_count == 2


def test_brought_bytes_are_inspected_and_nothing_is_requested(web, tmp_path):
    files = [GOOD, b"", b"<html>", GOOD[:-100], saved(photo(), "PNG")]
    blob, at = tmp_path / "source.bin", []
    with open(blob, "wb") as f:
        for data in files:
            at.append(f.tell())
            f.write(data)
    before = web.connections
    extra = {
        "payload": pa.array([str(blob)] * 5, pa.large_string()),
        "payload_offset": pa.array(at, pa.int64()),
        "payload_size": pa.array([len(d) for d in files], pa.int64()),
    }
    table, tar = fetched(tmp_path, [web.url("/good.jpg")] * 5, extra)
    assert table["fetch"].to_pylist() == ["ok", "empty", "not_an_image", "truncated", "ok"]
    assert web.connections == before and len(tar) == 1024
    assert table["payload"].to_pylist() == [str(blob), None, None, None, str(blob)]
    assert table["payload_offset"].to_pylist()[4] == at[4] and table["mime"].to_pylist()[4] == "image/png"
    table, tar = fetched(tmp_path, [None] * 5, extra, resize_mode="center_crop", image_size=32)
    assert table["payload"].null_count == 5 and table["width"].to_pylist() == [32, None, None, None, 32]
    assert table["mime"].to_pylist()[4] == "image/jpeg"


def test_resizing(web, tmp_path):
    table, tar = fetched(
        tmp_path, [web.url("/good.jpg")], resize_mode="keep_ratio", image_size=24, encode_format="png", encode_quality=6
    )
    row = table.to_pylist()[0]
    assert (row["width"], row["height"], row["original_width"], row["mime"]) == (32, 24, 64, "image/png")
    assert row["sha256"] == hashlib.sha256(GOOD).hexdigest()  # of what arrived
    assert tar[row["payload_offset"] :][:8] == b"\x89PNG\r\n\x1a\n"


def test_upscaling_cannot_become_a_bomb(tmp_path):
    strip = saved(photo(2000, 1), "PNG")
    with Web({"/strip.png": reply(strip)}).serve() as web:
        table, _ = fetched(tmp_path, [web.url("/strip.png")], resize_mode="keep_ratio", image_size=256)
    assert table["fetch"].to_pylist() == ["too_many_pixels"]


def test_wrong_parameters_are_refused():
    for wrong in (
        {"resize_mode": "squash"},
        {"encode_format": "bmp"},
        {"encode_quality": 101},
        {"require_hash": True},
        {"encode_format": "png", "encode_quality": 10},
    ):
        with pytest.raises(RecipeError, match="fetch"):
            Fetch(**wrong)
    for required in (False, True):
        with pytest.raises(RecipeError, match="hash_column cannot go with once"):
            once(Fetch(hash_column="sha256", require_hash=required))


def test_identity_ignores_what_does_not_change_the_bytes():
    assert Fetch().identity() == Fetch(timeout=3, allow_private=("127.0.0.0/8",), robots=False, retries=9).identity()
    assert Fetch().identity() != Fetch(resize_mode="no").identity()
    assert json.dumps(Fetch(match=is_good).parameters()).count("is_good") == 1


def is_good(data: bytes) -> bool:
    return data == GOOD


def test_judge():
    stage = Fetch()
    columns = pa.table({"fetch": pa.array(["ok", "http_404", "timeout", None], pa.large_string())})
    assert stage.judge(columns).to_pylist() == [None, "fetch:http_404", "fetch:timeout", "fetch:connection"]


# ---- courtesy


def test_robots(tmp_path):
    rules = b"User-agent: *\nDisallow: /private/\n\nUser-agent: curate\nDisallow: /no/\nAllow: /no/but.jpg\n"
    pages = {"/robots.txt": reply(rules), "/private/a.jpg": reply(GOOD), "/no/a.jpg": reply(GOOD), "/no/but.jpg": reply(GOOD)}
    with Web(pages).serve() as web:
        urls = [web.url(p) for p in ("/private/a.jpg", "/no/a.jpg", "/no/but.jpg")]
        table, _ = fetched(tmp_path, urls, robots=True)
        assert table["fetch"].to_pylist() == ["ok", "robots", "ok"]
        assert web.hits["/robots.txt"] == 1 and web.hits["/no/a.jpg"] == 0
        assert "User-Agent: Mozilla/5.0 (compatible; curate/" in web.heads[0]
        table, _ = fetched(tmp_path, urls, robots=False, contact="mailto:me@example.org")
        assert table["fetch"].to_pylist() == ["ok"] * 3 and "+mailto:me@example.org)" in web.heads[-1]


RULES = b"User-agent: *\r\nDisallow: /\r\n"


@pytest.mark.parametrize(
    ("page", "outcome"),
    [
        (reply(b"", "404 No"), "ok"),
        (reply(b"", "403 No"), "ok"),
        (reply(b"", "429 Slow"), "http_429"),
        (reply(b"", "500 Oops"), "robots"),
        (reply(b"", "503 Oops"), "robots"),
        (reply(b"", "999 LinkedIn"), "robots"),
        (reply(b"", "304 Not Modified"), "robots"),
        (redirect("/robots.txt"), "ok"),
        (redirect("/rules"), "robots"),
        (redirect("ftp://127.0.0.1/robots.txt"), "robots"),
        (redirect("http://10.0.0.1/robots.txt"), "private_address"),
        (then_silence(), "timeout"),
        (then_close(b"HTTP/9.9 banana\r\n\r\n"), "robots"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "ok"),
        *((reply(RULES, f"{status} Fine"), "robots") for status in (200, 201, 202, 203, 206, 226, 299)),
        (reply(b"<html>nothing", "203 Fine"), "ok"),
        (reply(RULES.decode().encode("utf-8-sig")), "robots"),
        (reply(RULES.decode().encode("utf-16")), "robots"),
        (reply(RULES.decode().encode("utf-16-le")), "robots"),
        (reply(b"\0no text"), "robots"),
        (reply(RULES + b"#" * 600_000), "robots"),
        (then_close(reply(RULES, length=1000)), "robots"),
        (then_close(reply(b"Us", length=1000)), "robots"),
        (then_close(b"HTTP/1.1 200 OK\r\n\r\n" + RULES), "robots"),
        (then_close(chunked(RULES, end=b"")), "robots"),
        (then_close(chunked(RULES, end=b"zz\r\n")), "robots"),
        (reply(gzip.compress(RULES, mtime=0), headers="Content-Encoding: gzip\r\n"), "robots"),
        (reply(gzip.compress(b"# none", mtime=0), headers="Content-Encoding: x-gzip\r\n"), "ok"),
        (reply(gzip.compress(b"# none" * 999, mtime=0)[:20], headers="Content-Encoding: gzip\r\n"), "robots"),
        (reply(gzip.compress(b"# none", mtime=0)), "ok"),
        (reply(zlib.compress(b"# none"), headers="Content-Encoding: deflate\r\n"), "ok"),
        (reply(b"# none", headers="Content-Encoding: br\r\n"), "robots"),
        (reply(b"# none", headers="Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"), "robots"),
        (reply(b"# none", headers="X-Robots-Tag: noai\r\nContent-Encoding: identity\r\n"), "ok"),
    ],
)
def test_robots_that_are_odd(tmp_path, page, outcome):
    with Web({"/robots.txt": page, "/rules": reply(RULES), "/a.jpg": reply(GOOD)}).serve() as web:
        table, _ = fetched(tmp_path, [web.url("/a.jpg")], robots=True, retries=0, max_redirects=0)
        assert table["fetch"].to_pylist() == [outcome]
        assert web.hits["/a.jpg"] == (outcome == "ok")


def test_a_busy_robots_txt_is_asked_for_again(tmp_path):
    robots = flaky(1, reply(b"", "429 Slow", "Retry-After: 0\r\n"), reply(RULES.replace(b"/", b"/b")))
    with Web({"/robots.txt": robots, "/a.jpg": reply(GOOD), "/b.jpg": reply(GOOD)}).serve() as web:
        table, _ = fetched(tmp_path, [web.url("/a.jpg"), web.url("/b.jpg")], robots=True)
    assert table["fetch"].to_pylist() == ["ok", "robots"]


def test_a_redirect_to_a_host_whose_robots_forbid_it(tmp_path):
    with Web({"/robots.txt": reply(b"User-agent: *\nDisallow: /"), "/a.jpg": reply(GOOD)}, "127.0.0.2").serve() as far:
        with Web({"/a.jpg": redirect(far.url("/a.jpg"))}).serve() as web:
            table, _ = fetched(tmp_path, [web.url("/a.jpg")], robots=True)
        assert table["fetch"].to_pylist() == ["robots"] and far.hits["/a.jpg"] == 0


def test_limits_per_host(tmp_path):
    most, now = [0], [0]

    async def slow(web, path, writer):
        now[0] += 1
        most[0] = max(most[0], now[0])
        import asyncio

        await asyncio.sleep(0.02)
        now[0] -= 1
        writer.write(reply(GOOD))

    with Web({"/a.jpg": slow}).serve() as web:
        table, _ = fetched(tmp_path, [web.url(f"/a.jpg?{i}") for i in range(30)], per_host=3)
        assert table["fetch"].to_pylist() == ["ok"] * 30 and most[0] == 3 and web.connections == 3
        started = time.monotonic()
        fetched(tmp_path, [web.url(f"/a.jpg?{i}") for i in range(11)], rate=20)
        assert time.monotonic() - started >= 0.5


def test_a_body_that_stops_is_not_waited_for_to_the_end(tmp_path):
    with Web({"/a.jpg": then_silence(HEAD + b"\r\n" + GOOD[:50])}).serve() as web:
        started = time.monotonic()
        table, _ = fetched(tmp_path, [web.url("/a.jpg")], wait=0.3, timeout=20)
        assert table["fetch"].to_pylist() == ["timeout"] and time.monotonic() - started < 2


def test_retry_after_is_meant_for_the_whole_host(tmp_path):
    times = []

    async def busy(web, path, writer):
        times.append(time.monotonic())
        writer.write(reply(b"", "429 Slow Down", "Retry-After: 1\r\n") if len(times) == 1 else reply(GOOD))

    with Web({"/a.jpg": busy}).serve() as web:
        table, _ = fetched(tmp_path, [web.url(f"/a.jpg?{i}") for i in range(6)], per_host=1)
    assert table["fetch"].to_pylist() == ["ok"] * 6 and len(times) == 7
    assert times[1] - times[0] >= 0.9


def test_a_retry_after_without_end(tmp_path):
    with Web({"/a.jpg": reply(b"", "429 Slow Down", "Retry-After: 99999999999999999999\r\n")}).serve() as web:
        table, _ = fetched(tmp_path, [web.url(f"/a.jpg?{i}") for i in range(9)], per_host=2)
        assert table["fetch"].to_pylist() == ["http_429"] * 9 and sum(web.hits.values()) <= 2


def test_a_dead_host_is_given_up(tmp_path):
    with Web({"/a.jpg": then_silence()}).serve() as web:
        started = time.monotonic()
        table, _ = fetched(tmp_path, [web.url(f"/a.jpg?{i}") for i in range(200)], per_host=5, give_up=5, wait=0.3)
        assert table["fetch"].to_pylist() == ["timeout"] * 200
        assert time.monotonic() - started < 3 and sum(web.hits.values()) < 20


def test_a_part_has_a_deadline(tmp_path):
    with Web({"/a.jpg": drip(HEAD + b"\r\n" + GOOD, 0.1)}).serve() as web:
        started = time.monotonic()
        table, _ = fetched(tmp_path, [web.url(f"/a.jpg?{i}") for i in range(50)], per_host=2, timeout=5, deadline=1)
        assert table["fetch"].to_pylist() == ["timeout"] * 50 and time.monotonic() - started < 2


@pytest.mark.parametrize("wish", ["29", "Fri, 31 Dec 2199 23:59:59 GMT", "9" * 99, "-1"])
def test_no_retry_after_holds_a_part_past_its_deadline(tmp_path, wish):
    """What was fetched is kept; what is left is `timeout`, or what its host said last."""
    with (
        Web({"/a.jpg": reply(b"", "503 Later", f"Retry-After: {wish}\r\n")}).serve() as busy,
        Web({"/b.jpg": reply(GOOD)}, "127.0.0.2").serve() as web,
    ):
        started = time.monotonic()
        urls = [busy.url(f"/a.jpg?{i}") for i in range(9)] + [web.url(f"/b.jpg?{i}") for i in range(9)]
        table, tar = fetched(tmp_path, urls, per_host=1, deadline=2, retries=9)
        assert time.monotonic() - started < 4
    outcomes = table["fetch"].to_pylist()
    assert outcomes[9:] == ["ok"] * 9 and set(outcomes[:9]) <= {"timeout", "http_5xx"} and GOOD in tar
    assert wish != "29" or outcomes[:9] == ["timeout"] * 9


def test_work_on_what_has_arrived_ends_at_the_deadline_too(web, tmp_path):
    """Also on bytes that the source brought; what was done until then is kept."""
    (tmp_path / "source.bin").write_bytes(GOOD)
    extra = {
        "payload": pa.array([str(tmp_path / "source.bin")] * 40, pa.large_string()),
        "payload_offset": pa.array([0] * 40, pa.int64()),
        "payload_size": pa.array([len(GOOD)] * 40, pa.int64()),
    }
    for brought in ({}, extra):
        started = time.monotonic()
        urls = [web.url(f"/good.jpg?{i}") for i in range(40)]
        table, _ = fetched(tmp_path, urls, brought, deadline=1, match=lambda _: time.sleep(0.2))
        assert time.monotonic() - started < 3
        outcomes = table["fetch"].to_pylist()
        assert outcomes.count("ok") >= 1 and set(outcomes) == {"ok", "timeout"}
        assert [p is not None for p in table["payload_offset"].to_pylist()] == [o == "ok" for o in outcomes]


def test_bytes_that_the_source_brought_are_not_all_held_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(receive, "MAX_QUEUED", 3 * len(GOOD))
    monkeypatch.setattr(stage_module, "_READ_ROWS", 2)
    most = [0]
    put = receive.Receiver.put_nowait

    def noting(self, *args):
        put(self, *args)
        most[0] = max(most[0], self.queued)

    monkeypatch.setattr(receive.Receiver, "put_nowait", noting)
    (tmp_path / "source.bin").write_bytes(GOOD)
    extra = {
        "payload": pa.array([str(tmp_path / "source.bin")] * 40, pa.large_string()),
        "payload_offset": pa.array([0] * 40, pa.int64()),
        "payload_size": pa.array([len(GOOD)] * 40, pa.int64()),
    }
    table, _ = fetched(tmp_path, [None] * 40, extra, match=lambda _: time.sleep(0.002))
    assert table["fetch"].to_pylist() == ["ok"] * 40 and most[0] <= 5 * len(GOOD)


def test_an_answer_that_waits_for_room_at_the_deadline_is_in_no_time(web, tmp_path, monkeypatch):
    monkeypatch.setattr(receive, "MAX_QUEUED", 1)
    urls = [web.url(f"/good.jpg?{i}") for i in range(20)]
    table, _ = fetched(tmp_path, urls, deadline=0.3, match=lambda _: time.sleep(0.05))
    outcomes = table["fetch"].to_pylist()
    assert set(outcomes) == {"ok", "timeout"} and len(outcomes) == 20


def test_a_full_disk_is_an_error_not_an_outcome(web, tmp_path, monkeypatch):
    def full(self, name, data):
        raise OSError(28, "No space left on device", "payload.tar")

    monkeypatch.setattr(Parcel, "add", full)
    with pytest.raises(MachineLimit, match=r"disk is full.*No space left on device: payload\.tar"):
        fetched(tmp_path, [web.url(f"/good.jpg?{i}") for i in range(20)])


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    run = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        folder / "key.pem",
        "-out",
        folder / "cert.pem",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run(run, check=True, capture_output=True, timeout=30)
    return folder


def test_tls(web, tmp_path, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with (
        Web({"/a.jpg": reply(GOOD)}, tls=context).serve() as secure,
        Web({"/a.jpg": reply(GOOD)}, "127.0.0.2", tls=context).serve() as other,
    ):
        urls = [secure.url("/a.jpg"), other.url("/a.jpg"), web.url("/good.jpg").replace("http:", "https:")]
        assert fetched(tmp_path, urls)[0]["fetch"].to_pylist() == ["tls", "tls", "tls"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        # trusted now; but the certificate is for another address than the second one
        assert fetched(tmp_path, urls)[0]["fetch"].to_pylist() == ["ok", "tls", "tls"]


def test_a_handshake_that_stalls(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        table, _ = fetched(tmp_path, [f"https://127.0.0.1:{deaf.getsockname()[1]}/a.jpg"])
    assert table["fetch"].to_pylist() == ["timeout"]


def test_reservations_at_well_known_places_are_opt_outs_where_they_are_asked_for(tmp_path):
    pages = {
        "/.well-known/tdmrep.json": reply(b'[{"location": "/no/", "tdm-reservation": 1}]'),
        "/no/a.jpg": reply(GOOD),
        "/b.jpg": reply(GOOD),
    }
    for asked in (True, False):
        with Web(pages).serve() as web:
            columns, _ = fetched(tmp_path, [web.url("/no/a.jpg"), web.url("/b.jpg")], well_known=asked)
            assert columns["fetch"].to_pylist() == ["opt_out" if asked else "ok", "ok"]
            assert web.hits.get("/.well-known/tdmrep.json", 0) == asked and web.hits.get("/no/a.jpg", 0) == (not asked)
