"""Scheduling of requests: many hosts at once, few connections to each, retries with backoff, failing hosts abandoned."""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from curate.fetch.client import Client, FetchResult
from curate.fetch.machine import MachineLimit, machine_limit
from curate.fetch.url import BadUrl, Target, parse

#: Outcomes that are retried.
RETRYABLE = frozenset(("connection", "http_429", "http_5xx"))
#: Outcomes that are failures of the host, not of the URL.
HOST_FAILURES = frozenset(("dns", "refused", "connection", "tls", "timeout"))

#: Seconds before the first retry, doubled for each further one.
BACKOFF = 1
#: Seconds for which a limit of this machine is retried with ever fewer requests, and between two attempts, before it is raised.
LIMIT_SECONDS, LIMIT_PAUSE = 60.0, 0.25
#: Seconds without a response after which a limit of this machine explains the URLs that remain at the deadline.
LIMIT_CONFIRMED = 1.0
#: Seconds. A host with a longer Retry-After is abandoned: its other URLs get the same outcome.
MAX_RETRY_AFTER = 30


@dataclass(frozen=True)
class CrawlLimits:
    """Limits on the request rate of a crawl.

    concurrency: concurrent requests, all hosts together. per_host: concurrent requests to one host. rate: requests a second to
    one host (0: no limit). retries: further attempts after a RETRYABLE outcome. give_up: consecutive failures of a host
    (HOST_FAILURES, or Retry-After) after which it is abandoned.
    """

    concurrency: int = 256
    per_host: int = 8
    rate: float = 0
    retries: int = 2
    give_up: int = 20


@dataclass(slots=True)
class Job:
    """A URL to fetch, parsed, with the number of attempts so far."""

    url: str
    target: Target
    attempts: int = 0


@dataclass(slots=True, eq=False)
class Host:
    """The queue of one host, and its tickets: each allows one request in flight."""

    jobs: deque[Job] = field(default_factory=deque)
    tickets: int = 0
    next_request: float = 0.0  # earliest time, by the loop's clock
    failures: int = 0  # consecutive
    abandoned: str = ""  # the outcome of all remaining URLs, once the host is abandoned


async def crawl(
    client: Client, urls: Iterable[str], limits: CrawlLimits, put: Callable[[str, FetchResult], Awaitable[None]]
) -> None:
    """Fetch every URL; `put` is awaited with each final result, in order of completion, and blocks one worker.

    Raises MachineLimit if a limit of this machine persists for LIMIT_SECONDS, or still persists when this is cancelled.
    """
    hosts: dict[str, Host] = {}
    for url in urls:
        try:
            target = parse(url)
        except BadUrl:
            await put(url, FetchResult("bad_url", at=time.time()))
            continue
        hosts.setdefault(target.host, Host()).jobs.append(Job(url, target))
    await Crawl(client, hosts, limits, put).run()


class Crawl:
    """A pool of workers that take tickets from a queue; a host has at most `per_host` tickets, and none queued while it must wait.

    At a limit of this machine half of the workers pause; each response resumes one.
    """

    def __init__(
        self, client: Client, hosts: dict[str, Host], limits: CrawlLimits, put: Callable[[str, FetchResult], Awaitable[None]]
    ):
        self.client, self.limits, self.put = client, limits, put
        self.queue: asyncio.Queue[Host] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.remaining = sum(len(h.jobs) for h in hosts.values())
        self.workers = self.active = min(limits.concurrency, self.remaining)
        self.workers_changed = asyncio.Condition()
        self.in_flight = 0
        self.limit: MachineLimit | None = None  # since the last response, with no request in flight
        self.limit_since = 0.0
        self.finished = asyncio.Event()
        for round in range(limits.per_host):  # interleave the hosts
            for host in hosts.values():
                if round < len(host.jobs):
                    host.tickets += 1
                    self.queue.put_nowait(host)

    async def run(self) -> None:
        if not self.remaining:
            return
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work(number)) for number in range(self.workers)]
                await self.finished.wait()
                for worker in workers:
                    worker.cancel()
        except asyncio.CancelledError:
            if self.limit and self.loop.time() - self.limit_since > LIMIT_CONFIRMED:
                raise self.limit from None  # the remaining URLs were never requested, so they have no outcome
            raise
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, number: int) -> None:
        while True:
            if number >= self.active:
                async with self.workers_changed:
                    await self.workers_changed.wait_for(lambda: number < self.active)
            host = await self.queue.get()
            now = self.loop.time()
            if not host.jobs:
                host.tickets -= 1
            elif host.next_request > now:
                self.loop.call_at(host.next_request, self.queue.put_nowait, host)
            else:
                if self.limits.rate:
                    host.next_request = now + 1 / self.limits.rate
                await self._fetch(host, host.jobs.popleft())
                self.queue.put_nowait(host)

    async def _fetch(self, host: Host, job: Job) -> None:
        result = FetchResult(host.abandoned) if host.abandoned else await self._attempt(host, job)
        if result is None:
            return
        try:
            await self.put(job.url, result)
        finally:
            result.release()
        self.remaining -= 1
        if not self.remaining:
            self.finished.set()

    async def _attempt(self, host: Host, job: Job) -> FetchResult | None:
        """One attempt at a job: its result, or None if it will be retried."""
        self.in_flight += 1
        try:
            result = await self.client.get(job.target)
        except Exception as e:
            self.in_flight -= 1
            limit = machine_limit(e)
            if limit is None:
                raise
            host.jobs.appendleft(job)
            await self._throttle(limit)
            return None
        self.in_flight -= 1
        job.attempts += 1
        await self._restore_worker()
        self._update_host(host, job, result)
        return None if self._schedule_retry(host, job, result) else result

    async def _throttle(self, limit: MachineLimit) -> None:
        """Halve the active workers, close idle connections and pause. Raises the limit once it has persisted for LIMIT_SECONDS."""
        now = self.loop.time()
        if not self.in_flight:
            self.limit_since = self.limit_since if self.limit else now
            self.limit = limit
            if now - self.limit_since > LIMIT_SECONDS:
                raise limit
        self.active = max(1, self.active // 2)
        self.client.close_idle()
        await asyncio.sleep(LIMIT_PAUSE)

    async def _restore_worker(self) -> None:
        """Resume one more worker after a response."""
        self.limit = None
        if self.active < self.workers:
            self.active += 1
            async with self.workers_changed:
                self.workers_changed.notify_all()

    def _update_host(self, host: Host, job: Job, result: FetchResult) -> None:
        """Count consecutive failures, and delay or abandon the host after a failure or a Retry-After."""
        own = parse(result.url).host == job.target.host  # else the host responded with a redirect to another one
        wait = result.retry_after or 0
        host.failures = host.failures + 1 if own and (result.outcome in HOST_FAILURES or wait) else 0
        if own and (wait > MAX_RETRY_AFTER or host.failures >= max(1, self.limits.give_up)):
            host.abandoned = result.outcome
        elif wait <= MAX_RETRY_AFTER:
            host.next_request = max(host.next_request, self.loop.time() + wait)  # Retry-After holds for all URLs of the host

    def _schedule_retry(self, host: Host, job: Job, result: FetchResult) -> bool:
        """Enqueue a job again after a backoff if its outcome is RETRYABLE and it has attempts left; whether it was."""
        if result.outcome not in RETRYABLE or job.attempts > self.limits.retries or host.abandoned:
            return False
        # Jitter from a hash of the URL, so that URLs that failed together are not retried together.
        jitter = 0.5 + hashlib.md5(job.url.encode("utf-8", "replace"), usedforsecurity=False).digest()[0] / 255
        wait = BACKOFF * 2 ** (job.attempts - 1) * jitter
        if result.retry_after is not None:
            if result.retry_after > MAX_RETRY_AFTER:
                return False
            wait = max(wait, result.retry_after)
        self.loop.call_later(wait, self._requeue, host, job)
        return True

    def _requeue(self, host: Host, job: Job) -> None:
        host.jobs.append(job)
        if host.tickets < self.limits.per_host:
            host.tickets += 1
            self.queue.put_nowait(host)
