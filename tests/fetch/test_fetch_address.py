"""No way of writing an address gets past the vetting: what is connected to is what was vetted."""

import asyncio
import socket
import threading
import time

import pytest

from curate.errors import RecipeError
from curate.fetch import resolve
from curate.fetch.address import allowed, networks
from curate.fetch.client import Client
from curate.fetch.failure import Failed
from curate.fetch.resolve import Resolver, system_lookup
from curate.fetch.url import BadUrl, parse
from curate.fetch.wire import Limits, Response

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
]

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "not an address",
    "",
]

#: Ways of writing the loopback address in a URL's host. {n} is a port.
ENCODINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.00.00.01",
    "0177.0.0.1",
    "0177.0.0.01",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "127.0.0.1.",
    "127.0.0.1..",
    "0",
    "0.0.0.0",
    "00000000",
    "0x0",
    "127.127.127.127",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost.LocalDomain",
    "ip6-localhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[0000::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1%25eth0]",
    "user:pass@127.0.0.1",
    "example.com@127.0.0.1",
    "127.0.0.1%00.example.com",
    "127.0.0.1%2eexample.com",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "ⓛocalhost",
    "127.0.0.1\\@example.com",
    "example.com\\@127.0.0.1",
    "example.com#@127.0.0.1",
    "127.0.0.1 ",
    " 127.0.0.1",
    "127.0.0.1\t",
    "127.0.\n0.1",
    "\x00127.0.0.1",
    "3232235521",
    "0xc0.0xa8.1.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "metadata.google.internal",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.1:80@127.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
]


class Canary:
    """Listens on every loopback address and counts who comes."""

    def __init__(self):
        self.sockets = [socket.create_server(("0.0.0.0", 0))]
        self.port = self.sockets[0].getsockname()[1]
        self.sockets.append(socket.create_server(("::", self.port), family=socket.AF_INET6))
        self.connections = 0
        for s in self.sockets:
            threading.Thread(target=self._count, args=(s,), daemon=True).start()

    def _count(self, s):
        while True:
            try:
                s.accept()[0].close()
            except OSError:
                return
            self.connections += 1

    def close(self):
        for s in self.sockets:
            s.shutdown(socket.SHUT_RDWR)
            s.close()


@pytest.fixture
def canary():
    made = Canary()
    with socket.create_connection(("127.0.0.1", made.port)), socket.create_connection(("::1", made.port)):
        pass
    while made.connections < 2:
        time.sleep(0.01)
    made.connections = 0
    yield made
    made.close()


def outcome(url, lookup=None, opened=()):
    async def go():
        resolver = Resolver(networks(opened), **({"lookup": lookup} if lookup else {}))
        async with Client(resolver, Limits(connect=2, first_byte=1, total=3), robots=False) as client:
            return (await client.get(parse(url))).outcome

    try:
        return asyncio.run(go())
    except BadUrl:
        return "bad_url"


def numbers_and_localhost(host):
    """The machine's resolver for what it answers by itself; tests ask nobody else."""
    if host.endswith((".com", ".internal")):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return system_lookup(host)


def test_tables():
    assert [a for a in PUBLIC if not allowed(a)] == []
    assert [a for a in REFUSED if allowed(a)] == []
    assert len(REFUSED) >= 60


def test_opened_networks():
    opened = networks(["127.0.0.0/8", "fd00::/8"])
    assert allowed("127.9.9.9", opened) and allowed("fd00::5", opened)
    assert not allowed("10.0.0.1", opened) and not allowed("::ffff:127.0.0.1", opened)
    with pytest.raises(RecipeError, match=r"127\.0\.0\.1/8"):
        networks(["127.0.0.1/8"])


def test_no_spelling_reaches_the_canary(canary):
    assert len(set(ENCODINGS)) >= 60
    found = {e: outcome(f"http://{e}:{canary.port}/", numbers_and_localhost) for e in ENCODINGS}
    assert set(found.values()) <= {"private_address", "bad_url", "dns"}, found
    assert canary.connections == 0
    assert outcome(f"http://127.0.0.1:{canary.port}/", opened=["127.0.0.0/8"]) == "connection"
    deadline = time.monotonic() + 5
    while canary.connections < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert canary.connections == 1  # it does count


def test_names_are_vetted_by_every_address(canary):
    answers = {
        "good.test": ["93.184.216.34"],
        "bad.test": ["127.0.0.1"],
        "mixed.test": ["93.184.216.34", "127.0.0.1"],
        "six.test": ["2606:4700::1111", "::1"],
        "odd.test": ["127.1"],
        "none.test": [],
    }
    for host in answers:
        if host != "good.test":
            assert outcome(f"http://{host}:{canary.port}/", answers.get) == (
                "dns" if host == "none.test" else "private_address"
            )
    assert canary.connections == 0


def test_a_name_that_changes_between_lookups_is_asked_once(canary):
    """The first answer is what is vetted and what is connected to; a second look-up would say loopback."""
    asked = []

    def rebinding(host):
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    async def go():
        async with Client(Resolver(networks(["127.0.0.2/32"]), rebinding), Limits(connect=1, total=2), robots=True) as client:
            return [(await client.get(parse(f"http://rebind.test:{port}/{i}"))).outcome for i in range(3)]

    with socket.create_server(("127.0.0.2", 0)) as s:
        port = s.getsockname()[1]
        got = []

        def serve():
            while True:
                try:
                    c, _ = s.accept()
                except OSError:
                    return
                got.append(c.getsockname()[0])
                c.recv(4096)
                c.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                c.close()

        threading.Thread(target=serve, daemon=True).start()
        assert asyncio.run(go()) == ["http_404"] * 3
        s.shutdown(socket.SHUT_RDWR)
    assert asked == ["rebind.test"] and set(got) == {"127.0.0.2"} and canary.connections == 0

    asked.append("x")  # and the other way round: what the second look-up says is refused before connecting
    assert outcome(f"http://rebind.test:{canary.port}/", rebinding, ["127.0.0.2/32"]) == "private_address"
    assert canary.connections == 0


def test_redirects_to_the_canary_are_refused(canary):
    async def go(location):
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.2", 0)
        port = server.sockets[0].getsockname()[1]
        async with Client(Resolver(networks(["127.0.0.2/32"])), Limits(connect=1, total=2), robots=False) as client:
            found = (await client.get(parse(f"http://127.0.0.2:{port}/"))).outcome
        server.close()
        return found

    for host in ("127.0.0.1", "0x7f.1", "[::1]", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
        assert asyncio.run(go(f"http://{host}:{canary.port}/")) == "private_address"
    for location in ("file:///etc/passwd", "gopher://127.0.0.1/", "dict://127.0.0.1:11211/"):
        assert asyncio.run(go(location)) == "bad_redirect"
    assert canary.connections == 0


def test_no_proxy_from_the_environment(canary, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    assert outcome("http://nowhere.test/", lambda host: []) == "dns" and canary.connections == 0


def test_a_resolver_that_fails():
    def broken(host):
        raise socket.gaierror(socket.EAI_FAIL, "server failure")

    assert outcome("http://a.test/", broken) == "dns"

    async def many():
        resolver = Resolver(lookup=broken)
        for _ in range(2):
            with pytest.raises(Failed):
                await resolver.addresses("a.test")
        resolver.close()

    asyncio.run(many())


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://Example.COM", ("http", "example.com", 80, "/")),
        ("  https://example.com/a b.jpg?q=ü#frag ", ("https", "example.com", 443, "/a%20b.jpg?q=%C3%BC")),
        ("http://user:secret@example.com:8080/x", ("http", "example.com", 8080, "/x")),
        ("http://bücher.example/ö.jpg", ("http", "xn--bcher-kva.example", 80, "/%C3%B6.jpg")),
        ("http://straße.de/", ("http", "xn--strae-oqa.de", 80, "/")),
        ("http://example.com/%20a%zz?x=1&y=%41", ("http", "example.com", 80, "/%20a%zz?x=1&y=%41")),
        ("https://[2606:4700::0001]/", ("https", "2606:4700::1", 443, "/")),
        ("http://under_score.example.com./", ("http", "under_score.example.com.", 80, "/")),
        ("http://example.com/a;b=c,d?e", ("http", "example.com", 80, "/a;b=c,d?e")),
        ("http://0x7f.1/", ("http", "127.0.0.1", 80, "/")),
        ("http:\\\\a\\b", ("http", "a", 80, "/b")),
        ("http:///a/b", ("http", "a", 80, "/b")),
        ("http://a.\r\nb/\tc", ("http", "a.b", 80, "/c")),
        ("http://a/\ud800", ("http", "a", 80, "/%EF%BF%BD")),
    ],
)
def test_urls(url, parts):
    t = parse(url)
    assert (t.scheme, t.host, t.port, t.path) == parts
    assert parse(t.url) == t


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "x",
        "http:",
        "//a/b",
        "ftp://a/b",
        "http://",
        "http://:80/",
        "http://a:b/",
        "http://a:99999/",
        "http://-a.b/",
        "http://a..b/",
        "http://a b/",
        "http://a%00b/",
        "http://1.2.3.4.5/",
        "http://0x100000000/",
        "http://[::1/",
        "http://[zz]/",
        "http://[fe80::1%25eth0]/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 130 + "com/",
        "http://a/" + "x" * 9000,
        "http://a/" + "\u65e5" * 1000,
        "http://a:25/",
    ],
)
def test_urls_that_are_none(url):
    with pytest.raises(BadUrl):
        parse(url)


def test_a_location_in_whatever_encoding():
    a = parse("http://a/b")
    said = Response(302, [(b"location", b" /voil\xc3\xa0\t")]).get(b"location")  # its last byte is a blank in Latin-1
    assert a.join(said).path == a.join("/voil\xe0").path == a.join("/voil%C3%A0").path == "/voil%C3%A0"
    assert a.join("/\u65e5.jpg").path == "/%E6%97%A5.jpg"


def test_names_that_hang_do_not_time_out_the_others(monkeypatch):
    """Waiting for a thread counts neither as look-up nor as part of the whole."""
    monkeypatch.setattr(resolve, "THREADS", 1)

    def lookup(host):
        if host == "dead.test":
            time.sleep(0.5)
        return ["10.0.0.1"]

    async def go():
        async with Client(Resolver(lookup=lookup), Limits(connect=0.2, total=0.4), robots=False) as client:
            answers = [client.get(parse(f"http://{host}.test/")) for host in ("dead", "honest")]
            return [a.outcome for a in await asyncio.gather(*answers)]

    assert asyncio.run(go()) == ["timeout", "private_address"]


def test_a_request_cannot_be_split():
    """Line breaks in a path vanish, as in browsers, and what else is odd is escaped: nothing from a URL becomes a header."""
    for url in ("http://a/%0d%0aX: y", "http://a/\r\nX: y", "http://a/?\nX:\x0by\x85"):
        path = parse(url).path
        assert path.isascii() and not any(c <= " " or c == "\x7f" for c in path)
    assert parse("http://a/b").join("/c\u2028d").path == "/c%E2%80%A8d"
