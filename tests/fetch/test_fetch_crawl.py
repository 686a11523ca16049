"""The order of requests against answers from a script: who is held back, and who is given up."""

import asyncio
import itertools
import time

import pytest

from curate.fetch.client import FetchResult
from curate.fetch.courtesy import opted_out
from curate.fetch.crawl import CrawlLimits, crawl
from curate.fetch.wire import Response


class Scripted:
    """Stands in for a client."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def get(self, target):
        self.asked.append((target.path, time.monotonic()))
        return self.answer(target)


def crawled(urls, answer, **pace):
    """The outcome of each URL, and what was asked for when."""
    found, client = {}, Scripted(answer)

    async def put(url, answer):
        found[url] = answer.outcome

    asyncio.run(crawl(client, urls, CrawlLimits(**pace), put))
    return found, client.asked


def test_what_a_redirect_leads_to_does_not_speak_against_the_host():
    def answer(target):
        if "dead" in target.path:
            return FetchResult("refused", url="http://far.test/")
        return FetchResult("ok", url=target.url)

    urls = [f"http://a.test/dead{i}" for i in range(9)] + [f"http://a.test/good{i}" for i in range(9)]
    found, asked = crawled(urls, answer, give_up=3, per_host=1)
    assert list(found.values()) == ["refused"] * 9 + ["ok"] * 9 and len(asked) == 18


def test_a_host_that_fails_itself_is_given_up():
    found, asked = crawled(
        [f"http://a.test/{i}" for i in range(9)], lambda t: FetchResult("refused", url=t.url), give_up=3, per_host=1
    )
    assert set(found.values()) == {"refused"} and len(found) == 9 and len(asked) == 3


def test_a_host_that_wants_longer_rest_than_we_wait_is_left_alone():
    urls = [f"http://a.test/{i}" for i in range(9)] + ["http://b.test/"]

    def answer(target):
        return (
            FetchResult("http_5xx", 503, target.url, retry_after=3600)
            if target.host == "a.test"
            else FetchResult("ok", url=target.url)
        )

    found, asked = crawled(urls, answer, per_host=1)
    assert list(found.values()).count("http_5xx") == 9 and found["http://b.test/"] == "ok" and len(asked) == 2


def test_a_host_that_is_always_busy_is_left_alone():
    urls = [f"http://a.test/{i}" for i in range(50)]
    found, asked = crawled(urls, lambda t: FetchResult("http_429", 429, t.url, retry_after=0.01), give_up=5, per_host=2)
    assert set(found.values()) == {"http_429"} and len(found) == 50 and len(asked) <= 6
    found, asked = crawled(
        urls,
        lambda t: (
            FetchResult("http_429", 429, t.url, retry_after=0.001) if int(t.path[1:]) % 4 else FetchResult("ok", url=t.url)
        ),
        give_up=5,
        retries=0,
    )
    assert len(asked) == 50 and list(found.values()).count("ok") == 13  # one that is busy now and then is not


@pytest.mark.parametrize("far", [False, True])
def test_retry_after_holds_on_the_last_attempt_too(far):
    found, asked = crawled(
        [f"http://a.test/{i}" for i in range(3)],
        lambda t: FetchResult("http_429", 429, "http://far.test/" if far else t.url, retry_after=0.1),
        per_host=1,
        retries=0,
    )
    times = [t for _, t in asked]
    assert len(found) == len(times) == 3 and min(b - a for a, b in itertools.pairwise(times)) > 0.09


def test_opt_outs():
    said = Response(200, [(b"x-robots-tag", b"all"), (b"x-robots-tag", b"MyBot: noai")])
    assert opted_out(said, "MyBot") == "noai" and opted_out(said, "other") is None
    assert opted_out(Response(200, [(b"x-robots-tag", b"max-image-preview: none")]), "MyBot") is None
    assert opted_out(Response(200, [(b"tdm-reservation", b" 1")]), "MyBot") == "tdm-reservation: 1"
