"""The order of requests: many hosts at once, few connections to each, retries later, dead hosts given up."""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from curate.fetch.client import Answer, Client
from curate.fetch.url import BadUrl, Target, parse

#: Outcomes worth another attempt.
RETRIED = frozenset(("connection", "http_429", "http_5xx"))
#: Outcomes that speak against the host, not against the URL.
DEAD = frozenset(("dns", "refused", "connection", "tls", "timeout"))

#: Seconds before the first further attempt, doubled each time.
BACKOFF = 1
#: Seconds. A host whose Retry-After is longer is left alone: its other URLs get the same outcome.
MAX_WAIT = 30


@dataclass(frozen=True)
class Pace:
    """How hard the web is asked.

    concurrency: requests at a time, all hosts together. per_host: requests at a time to one host. rate: requests a second to
    one host (0: no limit). retries: further attempts at what may pass. give_up: after so many failures in a row that speak
    against the host, its other URLs are not tried.
    """

    concurrency: int = 256
    per_host: int = 8
    rate: float = 0
    retries: int = 2
    give_up: int = 20


@dataclass(slots=True)
class Job:
    """A URL, where it leads, and how often it was tried."""

    url: str
    target: Target
    tries: int = 0


@dataclass(slots=True, eq=False)
class Host:
    """The URLs of one host, and its tickets: whoever holds one may have a request to it in flight."""

    jobs: deque[Job] = field(default_factory=deque)
    tickets: int = 0
    next: float = 0.0  # no request before this time
    failures: int = 0  # in a row
    given_up: str = ""  # the outcome of all URLs that are left


async def crawl(client: Client, urls: Iterable[str], pace: Pace, put: Callable[[str, Answer], Awaitable[None]]) -> None:
    """Get every URL once; `put` is awaited with each final answer, in the order of arrival, and holds up its worker."""
    hosts: dict[str, Host] = {}
    for url in urls:
        try:
            target = parse(url)
        except BadUrl:
            await put(url, Answer("bad_url", at=time.time()))
            continue
        hosts.setdefault(target.host, Host()).jobs.append(Job(url, target))
    await Crawl(client, hosts, pace, put).run()


class Crawl:
    """Workers take tickets from a queue; a host has at most `per_host` of them, and none while it has to wait."""

    def __init__(self, client: Client, hosts: dict[str, Host], pace: Pace, put: Callable[[str, Answer], Awaitable[None]]):
        self.client, self.pace, self.put = client, pace, put
        self.queue: asyncio.Queue[Host] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.left = sum(len(h.jobs) for h in hosts.values())
        self.finished = asyncio.Event()
        for round in range(pace.per_host):  # hosts take turns from the first ticket on
            for host in hosts.values():
                if round < len(host.jobs):
                    host.tickets += 1
                    self.queue.put_nowait(host)

    async def run(self) -> None:
        if not self.left:
            return
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work()) for _ in range(min(self.pace.concurrency, self.left))]
            await self.finished.wait()
            for worker in workers:
                worker.cancel()

    async def _work(self) -> None:
        while True:
            host = await self.queue.get()
            now = self.loop.time()
            if not host.jobs:
                host.tickets -= 1
            elif host.next > now:
                self.loop.call_at(host.next, self.queue.put_nowait, host)
            else:
                if self.pace.rate:
                    host.next = now + 1 / self.pace.rate
                await self._one(host, host.jobs.popleft())
                self.queue.put_nowait(host)

    async def _one(self, host: Host, job: Job) -> None:
        if host.given_up:
            answer = Answer(host.given_up)
        else:
            job.tries += 1
            answer = await self.client.get(job.target)
            self._learn(host, job, answer)
            if self._again(host, job, answer):
                return
        try:
            await self.put(job.url, answer)
        finally:
            answer.release()
        self.left -= 1
        if not self.left:
            self.finished.set()

    def _learn(self, host: Host, job: Job, answer: Answer) -> None:
        own = urlsplit(answer.url).hostname == job.target.host  # else it led elsewhere, by a redirect: it did answer
        wait = answer.retry_after or 0
        host.failures = host.failures + 1 if own and answer.outcome in DEAD else 0
        if own and (wait > MAX_WAIT or host.failures >= max(1, self.pace.give_up)):
            host.given_up = answer.outcome
        elif wait <= MAX_WAIT:
            host.next = max(host.next, self.loop.time() + wait)  # it was said to the host's every URL

    def _again(self, host: Host, job: Job, answer: Answer) -> bool:
        """Put a job back for later, if its failure may pass."""
        if answer.outcome not in RETRIED or job.tries > self.pace.retries or host.given_up:
            return False
        # Spread by a hash of the URL: rows that failed together do not come back together.
        spread = 0.5 + hashlib.md5(job.url.encode("utf-8", "replace"), usedforsecurity=False).digest()[0] / 255
        wait = BACKOFF * 2 ** (job.tries - 1) * spread
        if answer.retry_after is not None:
            if answer.retry_after > MAX_WAIT:
                return False
            wait = max(wait, answer.retry_after)
        self.loop.call_later(wait, self._back, host, job)
        return True

    def _back(self, host: Host, job: Job) -> None:
        host.jobs.append(job)
        if host.tickets < self.pace.per_host:
            host.tickets += 1
            self.queue.put_nowait(host)
