"""The web client: one attempt at one URL, every hop vetted, every end an outcome of schema.FETCH."""

import asyncio
import os
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from curate.fetch.courtesy import Reservations, Robots, opted_out
from curate.fetch.failure import Failed, status_outcome
from curate.fetch.machine import machine_limit
from curate.fetch.resolve import Resolver
from curate.fetch.robots import ROBOTS_BYTES
from curate.fetch.url import BadUrl, Target
from curate.fetch.wire import Connection, Lanes, Limits, Response, Stale
from curate.web.headers import retry_after

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: Codings of a body. None is asked for; other words in their place (`none`, `UTF-8`) are passed over, as browsers do.
CODINGS = frozenset("gzip x-gzip deflate compress x-compress br zstd dcb dcz exi aes128gcm pack200-gzip".split())
#: How often deadlines are looked at, in seconds.
_BEAT = 0.1
#: RFC 9309, 2.3.1.2: at least so many redirects of a robots.txt are followed.
_ROBOTS_REDIRECTS = 5


@dataclass(slots=True)
class Answer:
    """What an attempt came to. `ok` means that a body arrived whole; what is in it is not looked at here."""

    outcome: str
    status: int | None = None
    url: str | None = None
    body: bytes = b""
    retry_after: float | None = None
    at: float = 0.0
    lane: Lanes | None = None
    kind: str | None = None  # the Content-Type header

    def release(self) -> None:
        """The body has found its place: another large one may be read."""
        if self.lane is not None:
            self.lane.give()
            self.lane = None


def tls_context() -> ssl.SSLContext:
    """Certificates are checked, against the machine's own store, or certifi's where there is none."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or (paths.capath and os.listdir(paths.capath))):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


class Client:
    """Use inside a running event loop: `async with Client(...) as client: answer = await client.get(parse(url))`.

    agent: the User-Agent header. token: our name in robots.txt and X-Robots-Tag. robots, opt_out: whether those are honoured;
    well_known: whether tdmrep.json and ai.txt are.
    max_idle: connections kept open for the next request. accept: the Accept header.
    """

    def __init__(
        self,
        resolver: Resolver,
        limits: Limits | None = None,
        agent: str = "curate",
        token: str = "curate",
        robots: bool = True,
        opt_out: bool = True,
        max_idle: int = 256,
        accept: str = "image/*,*/*;q=0.5",
        well_known: bool = False,
    ):
        self.resolver, self.limits, self.agent, self.token = resolver, limits or Limits(), agent, token
        self.wishes = [kind(self._robots_txt, token) for kind, on in ((Robots, robots), (Reservations, well_known)) if on]
        self.opt_out, self.max_idle, self.accept = opt_out, max_idle, accept
        self.tls: ssl.SSLContext | None = None  # made when it is first needed
        self.lanes, self.active = Lanes(), set()
        self.idle: OrderedDict[Connection, None] = OrderedDict()
        self.by_origin: dict[tuple[str, str, int], list[Connection]] = {}

    async def __aenter__(self) -> "Client":
        self.loop = asyncio.get_running_loop()
        self.watch = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(self, *_) -> None:
        self.watch.cancel()
        for connection in [*self.active, *self.idle]:
            connection.close()
        for wishes in self.wishes:
            wishes.close()
        self.resolver.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            now = self.loop.time()
            for connection in list(self.active):
                connection.check(now)

    # ---- one attempt

    async def get(self, target: Target) -> Answer:
        """Follows redirects. Raises nothing but what stands for a limit of this machine (machine_limit)."""
        at = [target.url]
        try:
            response = await self._follow(target, at, self.limits.max_bytes, self.limits.max_redirects, self.wishes)
            return Answer(
                "ok",
                response.status,
                at[0],
                response.body,
                at=time.time(),
                lane=response.lane,
                kind=response.one(b"content-type"),
            )
        except Failed as e:
            return Answer(e.outcome, e.status, at[0], retry_after=e.retry_after, at=time.time())

    async def _follow(
        self, target: Target, at: list, max_bytes: int, redirects: int, wishes: Sequence[Robots] = (), partial: bool = False
    ) -> Response:
        deadline, status = self.loop.time() + self.limits.total, None
        for _ in range(redirects + 1):
            at[0] = target.url
            started = self.loop.time()
            for asked in wishes:
                await asked.check(target)
            await self.resolver.begun(target.host)
            deadline += self.loop.time() - started  # shared by all URLs of the host: not this one's fault
            response = await self._hop(target, deadline, max_bytes, partial)
            status, location = response.status, response.one(b"location")
            if response.status not in _REDIRECTS or not location:
                return judged(response, partial)
            try:
                target = target.join(location)
            except BadUrl as e:
                raise Failed("bad_redirect", str(e), response.status) from e
        raise Failed("too_many_redirects", target.url, status)

    async def _robots_txt(self, target: Target) -> Response:
        redirects = max(self.limits.max_redirects, _ROBOTS_REDIRECTS)
        return await self._follow(target, [None], ROBOTS_BYTES, redirects, partial=True)

    async def _hop(self, target: Target, deadline: float, max_bytes: int, partial: bool) -> Response:
        """One request and its response, on a connection that is open already or on a new one."""
        request = (
            f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: {self.agent}\r\n"
            f"Accept: {self.accept}\r\nAccept-Encoding: identity\r\n\r\n"
        ).encode("latin-1", "replace")
        accept = _any if partial else self._accept
        while True:
            connection = self._take(target) or await self._connect(target, deadline)
            try:
                response = await connection.ask(request, accept, deadline, max_bytes, partial)
            except Stale:
                continue
            finally:
                if connection.answer is not None:  # this task was cancelled
                    connection.close()
            self._keep(connection)
            return response

    def _accept(self, response: Response) -> None:
        """Judge a 200 by its headers, before a byte of its body is read."""
        encoding = ",".join(response.all(b"content-encoding"))
        if not CODINGS.isdisjoint(re.findall(r"[\w-]+", encoding.lower())):
            raise Failed("bad_encoding", encoding, 200)
        if self.opt_out and (words := opted_out(response, self.token)):
            raise Failed("opt_out", words, 200)

    # ---- connections

    def _take(self, target: Target) -> Connection | None:
        kept = self.by_origin.get(target.origin)
        while kept:
            connection = kept.pop()
            self.idle.pop(connection, None)
            if connection.usable:
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        if not connection.usable:
            return
        self.by_origin.setdefault(connection.origin, []).append(connection)
        self.idle[connection] = None
        if len(self.idle) > self.max_idle:
            oldest, _ = self.idle.popitem(last=False)
            self.by_origin[oldest.origin].remove(oldest)
            oldest.close()

    def close_idle(self) -> None:
        """Give back the connections that are kept for further requests."""
        for connection in self.idle:
            connection.close()
        self.idle.clear()
        self.by_origin.clear()

    async def _connect(self, target: Target, deadline: float) -> Connection:
        """A connection to a vetted address: no name is looked up again between the check and the connect."""
        try:
            async with asyncio.timeout_at(min(self.loop.time() + self.limits.connect, deadline)):
                addresses = await self.resolver.addresses(target.host)
        except TimeoutError as e:
            raise Failed("timeout", f"looking up {target.host}") from e
        try:
            return await self._open(addresses[0], target, deadline)
        except Failed:
            if len(addresses) < 2:
                raise
        return await self._open(addresses[1], target, deadline)

    async def _open(self, address: str, target: Target, deadline: float) -> Connection:
        try:
            tls = None
            if target.scheme == "https":
                tls = self.tls = self.tls or tls_context()
            async with asyncio.timeout_at(min(self.loop.time() + self.limits.connect, deadline)):
                _, connection = await self.loop.create_connection(
                    lambda: Connection(target.origin, self.limits, self.lanes, self.active),
                    address,
                    target.port,
                    ssl=tls,
                    server_hostname=target.host.rstrip(".") if tls else None,
                )
                return connection
        except TimeoutError as e:
            raise Failed("timeout", f"connecting to {address}") from e
        except ConnectionRefusedError as e:
            raise Failed("refused", str(e)) from e
        except (ssl.SSLError, ssl.CertificateError) as e:
            raise Failed("tls", str(e)) from e
        except OSError as e:
            if limit := machine_limit(e, address):
                raise limit from e
            # A peer that hangs up during the handshake: not a certificate's fault, but TLS never came to be.
            raise Failed("connection", str(e)) from e


def _any(_: Response) -> None:
    """Accepts every response."""


def judged(response: Response, any_success: bool = False) -> Response:
    """The response if its status is 200, or of any 2xx. Raises Failed with the status's outcome."""
    status = response.status
    if status == 200 or (any_success and 200 <= status < 300):
        return response
    wait = retry_after(response.one(b"retry-after"), time.time()) if status in (429, 503) else None
    raise Failed(status_outcome(status), "", status, wait)
