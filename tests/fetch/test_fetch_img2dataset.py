"""img2dataset's downloader in our part, where it is installed; its messages as outcomes."""

import importlib.util
import io
import sys

import pyarrow as pa
import pytest
from fetch_pictures import jpeg
from hostile_web import Web, reply, then_close

from curate import schema
from curate.errors import RecipeError
from curate.fetch.img2dataset import Img2Dataset, parse_error
from curate.store.atomic import Store
from curate.store.payload import Parcel


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("HTTP Error 404: Not Found", ("http_404", 404)),
        ("HTTP Error 418: I'm a teapot", ("http_4xx", 418)),
        ("HTTP Error 503: Service Unavailable", ("http_5xx", 503)),
        (
            "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite loop.",
            ("too_many_redirects", 302),
        ),
        ("<urlopen error [Errno 111] Connection refused>", ("refused", None)),
        ("<urlopen error timed out>", ("timeout", None)),
        ("<urlopen error [Errno -2] Name or service not known>", ("dns", None)),
        ("Use of image disallowed by X-Robots-Tag directive", ("opt_out", None)),
        ("Image decoding error", ("not_an_image", None)),
        ("IncompleteRead(10 bytes read, 20 more expected)", ("truncated", None)),
        ("unknown url type: 'x'", ("bad_url", None)),
        ("<urlopen error [SSL: WRONG_VERSION_NUMBER] wrong version number>", ("tls", None)),
        ("?", ("connection", None)),
    ],
)
def test_messages(message, outcome):
    assert parse_error(message) == outcome and outcome[0] in schema.FETCH


def test_a_clear_error_without_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "img2dataset", None)
    with pytest.raises(RecipeError, match=r"pip install 'curate-multimodal\[img2dataset\]'"):
        run(tmp_path, ["http://127.0.0.1:1/"])


def run(tmp_path, urls, **options):
    text = pa.large_string()
    live = pa.table({"uid": pa.array([schema.uid(None, u) for u in urls], text), "url": pa.array(urls, text)})
    file = io.BytesIO()
    return Img2Dataset(**options).run(live, Parcel(Store(tmp_path), file)), file.getvalue()


@pytest.mark.skipif(importlib.util.find_spec("img2dataset") is None, reason="the extra img2dataset is not installed")
def test_it_runs_in_our_part(tmp_path):
    pages = {"/a.jpg": reply(jpeg()), "/b.jpg": reply(b"<html>"), "/c.jpg": then_close(reply(jpeg(), length=99_999))}
    with Web(pages).serve() as web:
        urls = [web.url(p) for p in ("/a.jpg", "/b.jpg", "/c.jpg", "/d.jpg")] + ["nonsense"]
        table, tar = run(tmp_path, urls, resize_mode="keep_ratio", image_size=24, thread_count=4)
        assert table["fetch"].to_pylist() == ["ok", "not_an_image", "truncated", "http_404", "bad_url"]
        row = table.to_pylist()[0]
        assert (row["width"], row["height"], row["original_width"], row["mime"]) == (32, 24, 64, "image/jpeg")
        assert tar[row["payload_offset"] :][:2] == b"\xff\xd8"
        table, tar = run(tmp_path, urls[:2], disable_all_reencoding=True, thread_count=4)
        assert table["fetch"].to_pylist() == ["ok", "not_an_image"] and jpeg() in tar
