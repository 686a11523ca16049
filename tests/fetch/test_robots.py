"""robots.txt against RFC 9309: its examples, and files that are made to cost."""

import asyncio
import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.fetch import courtesy
from curate.fetch.courtesy import Robots
from curate.fetch.failure import Failed
from curate.fetch.robots import ROBOTS_BYTES, normalized, parse, read
from curate.fetch.url import parse as target
from curate.fetch.wire import Response


def allowed(text: str, path: str, robot: str = "foobot") -> bool:
    return parse(text, robot).allows(target(f"http://a.example{path}").path)


#: RFC 9309, 5.1.
SIMPLE = """User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot"""

#: RFC 9309, 5.2.
LONGEST = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"

#: RFC 9309, 2.2.1: groups of one robot are one.
MERGED = """user-agent: ExampleBot
disallow: /foo
disallow: /bar

user-agent: OtherBot
disallow: /other

user-agent: ExampleBot
disallow: /baz
"""


@pytest.mark.parametrize(
    ("robot", "path", "right"),
    [
        ("anybot", "/a.gif", False),
        ("anybot", "/a.gif?x", True),
        ("anybot", "/example/a", False),
        ("anybot", "/publications/a", True),
        ("anybot", "/publications/a.gif", True),
        ("foobot", "/a", False),
        ("FooBot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("foobot", "/example/other.gif", False),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/example/a.gif", True),
        ("quxbot", "/example/page.html", True),
        ("foobot", "/robots.txt", True),
    ],
)
def test_the_simple_example(robot, path, right):
    assert allowed(SIMPLE, path, robot) == right


def test_the_longest_match_and_allow_where_two_are_as_long():
    assert allowed(LONGEST, "/example/page/a.gif") and not allowed(LONGEST, "/example/page/disallowed.gif")
    assert allowed("user-agent: *\ndisallow: /a\nallow: /a\n", "/a") and allowed("user-agent: *\nallow: /a\ndisallow: /a", "/a")


def test_a_wildcard_at_the_end_counts_as_a_character():
    assert not allowed("user-agent: *\nallow: /a\ndisallow: /a*\n", "/ab")


def test_groups_of_one_robot_are_one():
    found = {path: allowed(MERGED, path, "examplebot") for path in ("/foo", "/bar", "/baz", "/other")}
    assert found == {"/foo": False, "/bar": False, "/baz": False, "/other": True} and allowed(MERGED, "/foo", "third")


@pytest.mark.parametrize(
    ("pattern", "path", "match"),
    [
        # RFC 9309, 2.2.2: the table of paths
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz", True),
        ("/foo/bar?baz=", "/foo/bar?baz=", True),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https://foo.bar", True),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar", True),
        ("/foo/bar?baz=https%3A%2F%2Ffoo.bar", "/foo/bar?baz=https://foo.bar", True),
        ("/foo/bar/\u30c4", "/foo/bar/%E3%83%84", True),
        ("/foo/bar/%E3%83%84", "/foo/bar/\u30c4", True),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz", True),
        ("/foo/bar/baz", "/foo/bar/%62%61%7A", True),
        # 2.2.3: special characters
        ("/this/path/exactly$", "/this/path/exactly", True),
        ("/this/path/exactly$", "/this/path/exactly/not", False),
        ("/this/*/exactly", "/this/long/path/exactly", True),
        ("/this/*/exactly", "/this/exactly", False),
        ("/path # a comment", "/path", True),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html", True),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-b.html", False),
        ("/path/foo-%24", "/path/foo-$", True),
        ("/path/foo-%24", "/path/foo-", False),
        ("/path/foo-%24", "/path/foo-%24bar", True),
        # what follows from these
        ("/a$b", "/a$b", True),
        ("/a*", "/abc", True),
        ("*", "/", True),
        ("/**/b**c$", "/a/b/c", True),
        ("/*.jpg$", "/x.jpg", True),
        ("/*.jpg$", "/x.jpg.png", False),
        ("/*ab*ab$", "/ab", False),
        ("/*a$", "/a%24a", True),
        ("/A", "/a", False),
        ("/a b", "/a%20b", True),
        ("/a^", "/a^", True),
        ("/%61", "/a", True),
        ("a/", "/a/", True),
    ],
)
def test_patterns(pattern, path, match):
    assert allowed(f"user-agent: *\ndisallow: {pattern}\n", path) != match


@pytest.mark.parametrize(
    "text",
    [
        "USER-AGENT: *\nDISALLOW: /",
        "User-agent : *\nDisallow : /",
        "\tUser-agent:\t*\n \tDisallow:\t/",
        "User-agent:*\rDisallow:/\r",
        "\ufeffUser-agent: *\r\nDisallow: /",
        "\ufeff\ufeffUser-agent: *\n\ufeffDisallow: /",
        "User-agent: *\u200b\nDisallow: /",
        "User-agent:\u00a0*\nDisallow:\u00a0/",
        "User-agent: *\nDisallow /",
        "Useragent: *\nDissallow: /",
        "User agent: *\nDisallow: /",
        "User-agent: *\n\n\nDisallow: /",
        "User-agent: *\nCrawl-delay: 9\nSitemap: http://a/\nDisallow: /",
        "User-agent: other\nSitemap: http://a/\nUser-agent: *\nDisallow: /",
        "User-agent: foobot/1.0\nDisallow: /",
        "User-agent: FOOBOT # us\nDisallow: /",
        "User-agent: a, foobot, b\nDisallow: /",
        "User-agent: foobot\nDisallow: /\nUser-agent: *\nAllow: /",
        "User-agent: *\nDisallow: /*\nAllow: /robots.txt",
        "User-agent: *\x1a\nDisallow: /\x1a",
    ],
)
def test_spellings_of_nothing_for_robots(text):
    assert not read(text.encode(), None, "foobot").allows("/a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><body>Not here</body></html>",
        "Disallow: /",
        "User-agent: *\nDisallow:",
        "User-agent: other\nDisallow: /",
        "User-agent: foobot\nUser-agent: other\nAllow: /\nUser-agent: *\nDisallow: /",
        "User-agent: foobot-images\nDisallow: /",
        "User-agent: *\nDisallow: # /",
        "User-agent: *\n# Disallow: /",
    ],
)
def test_spellings_that_forbid_nothing(text):
    assert read(text.encode(), None, "foobot").allows("/a")


def test_what_is_no_text_forbids_and_bytes_of_old_files_do_not():
    assert not read(b"\x89PNG\r\n\x1a\n\0\0\0", None, "foobot").allows("/a")
    assert not read(b"#\xff\xfe\x01", None, "foobot").allows("/a")
    assert read(b"# Fu\xdfg\xe4nger\nUser-agent: *\nDisallow: /b\n", None, "foobot").allows("/a")
    assert not read(b"# Fu\xdfg\xe4nger\nUser-agent:\xa0*\nDisallow: /\xe4\n", None, "foobot").allows("/%E4")


def test_of_a_file_without_end_whole_lines_are_read():
    text = "User-agent: *\nDisallow: /\nAllow: /public-and-not-more\n"
    body = text[: text.index("-and")].encode().rjust(ROBOTS_BYTES)  # cut inside of its last line
    assert len(body) == ROBOTS_BYTES and not read(body, None, "foobot").allows("/public-or-not")


def naive(patterns, path):
    """RFC 9309 by regular expressions: the length of the longest pattern that matches."""
    best = 0
    for p in patterns:
        end = p.endswith("$")
        found = ".*".join(map(re.escape, p.removesuffix("$").split("*"))) + ("$" if end else "")
        if re.match(found, path):
            best = max(best, len(p))
    return best


_PATTERNS = st.lists(
    st.builds("/{}{}".format, st.text("aabb*/", max_size=7).map(lambda p: re.sub(r"\*+", "*", p)), st.sampled_from(["", "$"])),
    max_size=12,
)


@given(_PATTERNS, _PATTERNS, st.text("ab/", max_size=8).map("/{}".format))
@settings(max_examples=200, deadline=None)
def test_matching_is_that_of_regular_expressions(allow, disallow, path):
    text = "user-agent: *\n" + "".join(f"allow: {p}\n" for p in allow) + "".join(f"disallow: {p}\n" for p in disallow)
    assert parse(text, "foobot").allows(path) == (naive(allow, path) >= naive(disallow, path))


#: Files that are made to cost, by their size in bytes.
COSTLY = {
    "agents x rules": lambda n: (
        "".join(f"user-agent:{i:x}\n" for i in range(n // 32)) + "".join(f"allow:/{i:x}$\n" for i in range(n // 26))
    ),
    "agents in a line": lambda n: "user-agent:" + "foobot," * (n // 7) + "\ndisallow:/b\n",
    "rules": lambda n: "user-agent:*\n" + "".join(f"allow:/{i:x}$\n" for i in range(n // 13)),
    "wildcards": lambda n: "user-agent:*\n" + "".join(f"allow:*{i:x}q\n" for i in range(n // 13)),
    "a pattern of wildcards": lambda n: "user-agent:*\nallow:/" + "*a" * (n // 2),
    "patterns of wildcards": lambda n: "user-agent:*\n" + ("allow:/" + "*a" * 4000 + "b\n") * (n // 8010),
    "each a prefix of the next": lambda n: (
        "user-agent:*\n" + "".join(f"allow:/{'a' * i}!\n" for i in range(int((2 * n) ** 0.5)))
    ),
    "escapes": lambda n: "user-agent:*\n" + "".join(f"allow:/%41{i:x}%e9\n" for i in range(n // 20)),
    "other scripts": lambda n: "user-agent:*\n" + "".join(f"allow:/\u00fc{i:x}\n" for i in range(n // 15)),
    "blank lines": lambda n: "\n" * n,
    "blanks": lambda n: " " * n,
    "blanks behind a word": lambda n: "disallow" + " " * n,
    "words": lambda n: "user-agent" * (n // 10),
}


def seconds(act) -> float:
    best = 9e9
    for _ in range(2):
        started = time.thread_time()
        act()
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize("kind", COSTLY)
def test_reading_costs_time_and_memory_in_proportion(kind):
    small, large = (COSTLY[kind](n).encode()[: ROBOTS_BYTES - 1] for n in (ROBOTS_BYTES // 8, ROBOTS_BYTES))
    assert seconds(lambda: read(large, None, "foobot")) < 5 * 8 * seconds(lambda: read(small, None, "foobot")) + 0.01
    rules = read(large, None, "foobot")
    path = "/" + "a" * 8000
    plain = seconds(lambda: [path.find("b" * (i % 7 + 1)) for i in range(2000)])
    assert seconds(lambda: rules.allows(path)) < 10 * plain + 0.01


@pytest.mark.parametrize("kind", ["rules", "wildcards", "each a prefix of the next", "other scripts"])
def test_what_is_kept_of_a_file(kind):
    body = COSTLY[kind](ROBOTS_BYTES).encode()
    tracemalloc.start()
    rules = read(body, None, "foobot")
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(body) / 3 < rules.size <= kept < 2 << 20


def test_more_wildcards_than_can_be_looked_at_forbid():
    text = "user-agent: *\n" + "".join(f"allow: /*{i}x\n" for i in range(5000)) + "disallow: /b\n"
    assert allowed(text, "/a") and not allowed(text, "/b") and not allowed(text, "/" + "a" * 500)


def test_patterns_longer_than_any_path_are_dropped():
    assert list(normalized(["/" + "a" * 9000, "/" + "*" * 9000 + "b", "", "/c"])) == ["/*b", "/c"]


def asked_through(robots_txt: bytes, origins: list[int], monkeypatch=None):
    """How often robots.txt is asked for when URLs of these origins are checked in turn."""
    hits = []

    async def get(wanted):
        hits.append(wanted.host)
        await asyncio.sleep(0)
        return Response(200, [], robots_txt)

    async def main():
        robots = Robots(get, "foobot")
        for n in origins:
            await robots.check(target(f"http://{n}.example/a"))
        held = robots.cached
        robots.close()
        return held

    return hits, asyncio.run(main())


def test_rules_of_many_hosts_are_kept_within_bounds(monkeypatch):
    text = ("user-agent: *\n" + "".join(f"disallow: /b{i}\n" for i in range(2000))).encode()
    size = parse(text.decode(), "foobot").size
    monkeypatch.setattr(courtesy, "MAX_CACHED", int(2.5 * size))
    hits, held = asked_through(text, [1, 2, 1, 2, 3, 1, 2])
    assert hits == [f"{n}.example" for n in (1, 2, 3, 1, 2)] and held == 2 * size


def test_what_every_url_of_a_host_is_told():
    with pytest.raises(Failed, match="robots"):
        asked_through(b"user-agent: *\ndisallow: /", [1])


def test_the_loop_goes_on_while_a_large_file_is_read():
    """The longest that the event loop stands still while 16 files of 500 kB are read, beside the time that they take."""
    text = COSTLY["rules"](ROBOTS_BYTES - 100).encode()

    async def main():
        async def get(_):
            return Response(200, [], text)

        robots, stalls, started = Robots(get, "foobot"), [], time.monotonic()
        checks = [asyncio.ensure_future(robots.check(target(f"http://{n}.example/a"))) for n in range(16)]
        while not all(c.done() for c in checks):
            before = time.monotonic()
            await asyncio.sleep(0.001)
            stalls.append(time.monotonic() - before)
        robots.close()
        return max(stalls), time.monotonic() - started

    # The machine may stand still by itself: the best of some tries tells of the loop.
    assert min(longest / whole for longest, whole in (asyncio.run(main()) for _ in range(4))) < 0.8
