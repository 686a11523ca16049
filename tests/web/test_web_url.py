"""URLs against the WHATWG standard, and what the project makes of them."""

import string
from itertools import product

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import keys
from curate.fetch.url import BadUrl, parse
from curate.select.database import add_functions
from curate.web.url import Url, comparable, join, site, split

BASE = "http://example.org/foo/bar"

#: From the standard's own examples and its test data (web-platform-tests, url/resources/urltestdata.json): input, what it is.
STANDARD = {
    "https:example.org": "https://example.org/",
    "https://////example.com///": "https://example.com///",
    "https://example.com/././foo": "https://example.com/foo",
    "https://example.com/a/%2e%2E/b": "https://example.com/b",
    "https://example.com:demo": None,
    "http://[www.example.com]/": None,
    "https://EXAMPLE.com/../x": "https://example.com/x",
    "https://example.org//": "https://example.org//",
    "https://ex ample.org/": None,
    "https://example^com/": None,
    "http://user:pass@foo:21/bar;par?b#c": "http://foo:21/bar;par?b",
    "http:foo.com": "http://example.org/foo/foo.com",
    "\t   :foo.com   \n": "http://example.org/foo/:foo.com",
    " foo.com  ": "http://example.org/foo/foo.com",
    "http://f:21/ b ? d # e ": "http://f:21/%20b%20?%20d%20",
    "http://f:00000000000000000000080/c": "http://f/c",
    "http://f:b/c": None,
    "http://f:999999/c": None,
    "http://f: 21 / b ? d # e ": None,
    "\\\\x\\hello": "http://x/hello",
    "//foo.com\\@": "http://foo.com/@",
    "http://foo.com:b@d/": "http://d/",
    "http://&a:foo(b]c@d:2/": "http://d:2/",
    "/%7Efoo": "http://example.org/%7Efoo",
    "http://ExAmPlE.CoM": "http://example.com/",
    "http://GOO\u200b\u2060\ufeffgoo.com": "http://googoo.com/",
    "http://www.foo。bar.com": "http://www.foo.bar.com/",
    "http://Ｇｏ.com": "http://go.com/",
    "http://％４１.com": None,
    "http://％００.com": None,
    "http://你好你好": "http://xn--6qqa088eba/",
    "https://faß.ExAmPlE/": "https://xn--fa-hia.example/",
    "http://βόλος.com": "http://xn--nxasmm1c.com/",
    "http://192.0x00A80001": "http://192.168.0.1/",
    "http://192.168.257": "http://192.168.1.1/",
    "http://０Ｘｃ０．０２５０．０１": "http://192.168.0.1/",
    "http://127.0.0.1./": "http://127.0.0.1/",
    "http://0300.168.0.0xF0": "http://192.168.0.240/",
    "http://256": "http://0.0.1.0/",
    "http://4294967296": None,
    "http://1.2.3.09": None,
    "http://foo.0x4": None,
    "http://[::ffff:127.0.0.1]": "http://[::ffff:7f00:1]/",
    "http://[1::1.2.3.4]:80/": "http://[1::102:304]/",
    "http://[::1%eth0]": None,
    "http://[::127.0.0.1.]": None,
    "http://[0:1:2:3:4:5:6:7:8]": None,
    "http://a.b.c.XN--pokxncvks/": "http://a.b.c.xn--pokxncvks/",
    "http://foo/path;a??e#f#g": "http://foo/path;a??e",
    "http://example.com/foo%2Ehtml": "http://example.com/foo%2Ehtml",
    "http://example.com/你好你好": "http://example.com/%E4%BD%A0%E5%A5%BD%E4%BD%A0%E5%A5%BD",
    "http://example.com/\ud800": "http://example.com/%EF%BF%BD",
    "http://host/?'": "http://host/?%27",
    'http://example.org/foo^`{}"<>': "http://example.org/foo%5E%60%7B%7D%22%3C%3E",
}


@pytest.mark.parametrize(("url", "right"), STANDARD.items())
def test_the_standard(url, right):
    if right is None:
        with pytest.raises(ValueError, match="Invalid"):
            join(BASE, url)
        return
    scheme, host, port, path = split(join(BASE, url))
    host = f"[{host}]" if ":" in host else host
    assert f"{scheme}://{host}{'' if port is None else f':{port}'}{path}" == right


def test_parts():
    assert split("HTTPS://user:pw@[2606:4700::0001]:8443/a?b#c") == Url("https", "2606:4700::1", 8443, "/a?b")
    assert split("s3://Bucket/key") == Url("s3", "Bucket", None, "/key")


_ODD = st.text(string.ascii_letters + string.digits + "./:@?#%&=\\[]-_ \t\n\x00ßüاㄱ０。​", max_size=30)
URLS = st.builds("{}{}{}".format, st.sampled_from(["http://", "https://", "HTTP:", "//", "s3://", ""]), _ODD, _ODD)


@given(URLS)
@settings(max_examples=300, deadline=None)
def test_what_was_parsed_once_stays_as_it_is(url):
    """What is vetted, sent, compared and parsed again is one and the same."""
    try:
        target = parse(url)
    except BadUrl:
        return
    assert parse(target.url) == target and split(target.url)[1:] == split(url)[1:]
    assert target.host.isascii() and target.path.isascii() and target.path[0] == "/"
    assert not any(c <= " " or c == "\x7f" for c in target.host + target.path)
    assert comparable(url) == comparable(target.url) == comparable(target.url + "#f") and site(url) == site(target.url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://A.example/x", "https://a.example:443/x#top", True),
        ("http://a.example", "http://a.example:80/", True),
        ("http://a.example./x", "http://user:pw@a.example/x", True),
        ("http://a.example/%7Ex%2c", "http://a.example/~x,", True),
        ("http://a.example/ü", "http://a.example/%c3%bc", True),
        ("http://a.example/a/../x", "http://a.example/x?", True),
        ("http://straße.example/", "http://xn--strae-oqa.example/", True),
        ("http://straße.example/", "http://strasse.example/", False),
        ("http://0x7f.1/x", "http://127.0.0.1/x", True),
        (" no url ", "no url", True),
        ("http://a.example/x", "http://a.example/X", False),
        ("http://a.example/x", "http://www.a.example/x", False),
        ("http://a.example/x?a=1", "http://a.example/x?a=2", False),
        ("http://a.example/a%2Fb", "http://a.example/a/b", False),
        ("http://a.example/?a%26b", "http://a.example/?a&b", False),
        ("http://a.example:81/x", "http://a.example/x", False),
    ],
)
def test_one_file_under_several_spellings(one, other, same):
    assert (comparable(one) == comparable(other)) == same


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://www.Example.com./a", "example.com"),
        ("http://faß.de", "xn--fa-hia.de"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://[::1]:80/", "::1"),
        ("http://a.example@b.example\\@c.example/", "b.example"),
        ("s3://Bucket/x", "bucket"),
        ("file:///a", None),
        ("no url", None),
        ("", None),
        (None, None),
    ],
)
def test_sites(url, host):
    assert site(url) == host


def test_the_key_of_a_host_is_its_site_whichever_way_it_is_computed():
    """Most hosts are read off by SQL: wherever that is not what the parser says, the parser is asked."""
    labels = ("www", "a", "-a", "a-", "b1", "1", "0x2", "xn--a", "xn--", "x--n", "A", "ü", "_a", "")
    rests = ("", "/", "/x", ":80/", ":8x", "?a", "\\@b.example/", "@b.example", ".", "\n/", "\tb/", " /")
    urls = [s + ".".join(h) + r for s in ("http://", "HTTP://", "x://", "") for h in product(labels, repeat=2) for r in rests]
    urls += ["https://www.a.b.example:8080/x", "http://a.b:99999/", "http://a/", None]
    with duckdb.connect() as con:
        con.register("pool", pa.table({"url": pa.array(urls, pa.large_string())}))
        text = f"select {keys.sql('host(url)')} from pool"
        for _ in range(2):  # the function is made once for a connection
            add_functions(con, text)
            found = con.sql(text).fetchall()
    assert [h for (h,) in found] == [site(u) for u in urls]
