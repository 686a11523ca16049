"""The order of requests: many hosts at once, few connections to each, retries later, dead hosts given up."""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from curate.fetch.client import Answer, Client
from curate.fetch.machine import MachineLimit, machine_limit
from curate.fetch.url import BadUrl, Target, parse

#: Outcomes worth another attempt.
RETRIED = frozenset(("connection", "http_429", "http_5xx"))
#: Outcomes that speak against the host, not against the URL.
DEAD = frozenset(("dns", "refused", "connection", "tls", "timeout"))

#: Seconds before the first further attempt, doubled each time.
BACKOFF = 1
#: Seconds that a limit of this machine is waited out, with ever fewer requests; and between two attempts.
PATIENCE, PAUSE = 60.0, 0.25
#: Seconds without an answer after which a limit of this machine is why rows are left.
LASTING = 1.0
#: Seconds. A host whose Retry-After is longer is left alone: its other URLs get the same outcome.
MAX_WAIT = 30


@dataclass(frozen=True)
class Pace:
    """How hard the web is asked.

    concurrency: requests at a time, all hosts together. per_host: requests at a time to one host. rate: requests a second to
    one host (0: no limit). retries: further attempts at what may pass. give_up: after so many failures in a row that speak
    against the host, or answers in a row that it is busy (Retry-After), its other URLs are not tried.
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
    """Get every URL once; `put` is awaited with each final answer, in the order of arrival, and holds up its worker.

    Raises MachineLimit if this machine stands in the way for PATIENCE seconds, or still does when this is cancelled.
    """
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
    """Workers take tickets from a queue; a host has at most `per_host` of them, and none while it has to wait.

    Where a limit of this machine is met half of the workers stop; each answer lets another one go on.
    """

    def __init__(self, client: Client, hosts: dict[str, Host], pace: Pace, put: Callable[[str, Answer], Awaitable[None]]):
        self.client, self.pace, self.put = client, pace, put
        self.queue: asyncio.Queue[Host] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.left = sum(len(h.jobs) for h in hosts.values())
        self.workers = self.at_work = min(pace.concurrency, self.left)
        self.more = asyncio.Condition()
        self.asking = 0  # requests under way
        self.limit: MachineLimit | None = None  # met since the last answer, while nothing was under way
        self.since = 0.0
        self.finished = asyncio.Event()
        for round in range(pace.per_host):  # hosts take turns from the first ticket on
            for host in hosts.values():
                if round < len(host.jobs):
                    host.tickets += 1
                    self.queue.put_nowait(host)

    async def run(self) -> None:
        if not self.left:
            return
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work(number)) for number in range(self.workers)]
                await self.finished.wait()
                for worker in workers:
                    worker.cancel()
        except asyncio.CancelledError:
            if self.limit and self.loop.time() - self.since > LASTING:
                raise self.limit from None  # what is left has no outcome: nobody could ask for it
            raise
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, number: int) -> None:
        while True:
            if number >= self.at_work:
                async with self.more:
                    await self.more.wait_for(lambda: number < self.at_work)
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
        answer = Answer(host.given_up) if host.given_up else await self._ask(host, job)
        if answer is None:
            return
        try:
            await self.put(job.url, answer)
        finally:
            answer.release()
        self.left -= 1
        if not self.left:
            self.finished.set()

    async def _ask(self, host: Host, job: Job) -> Answer | None:
        """One attempt at a job; None if there will be another."""
        self.asking += 1
        try:
            answer = await self.client.get(job.target)
        except Exception as e:
            self.asking -= 1
            limit = machine_limit(e)
            if limit is None:
                raise
            host.jobs.appendleft(job)
            await self._ease(limit)
            return None
        self.asking -= 1
        job.tries += 1
        await self._go_on()
        self._learn(host, job, answer)
        return None if self._again(host, job, answer) else answer

    async def _ease(self, limit: MachineLimit) -> None:
        """Ask less of this machine, and wait. Raises the limit when that has not helped for PATIENCE seconds."""
        now = self.loop.time()
        if not self.asking:
            self.since = self.since if self.limit else now
            self.limit = limit
            if now - self.since > PATIENCE:
                raise limit
        self.at_work = max(1, self.at_work // 2)
        self.client.close_idle()
        await asyncio.sleep(PAUSE)

    async def _go_on(self) -> None:
        """An answer came: let one more worker go on."""
        self.limit = None
        if self.at_work < self.workers:
            self.at_work += 1
            async with self.more:
                self.more.notify_all()

    def _learn(self, host: Host, job: Job, answer: Answer) -> None:
        own = parse(answer.url).host == job.target.host  # else it led elsewhere, by a redirect: it did answer
        wait = answer.retry_after or 0
        host.failures = host.failures + 1 if own and (answer.outcome in DEAD or wait) else 0
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
