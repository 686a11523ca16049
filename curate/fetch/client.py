"""HTTP client: one attempt at a URL, with address checks at every redirect; each ends in an outcome of schema.FETCH."""

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
from curate.fetch.wire import Connection, LargeBodySlots, Limits, Response, StaleConnection
from curate.web.headers import retry_after

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: Content codings that are refused, since identity is requested; other words (`none`, `UTF-8`) are ignored, as browsers do.
CODINGS = frozenset("gzip x-gzip deflate compress x-compress br zstd dcb dcz exi aes128gcm pack200-gzip".split())
#: Seconds between two checks of the deadlines.
_CHECK_SECONDS = 0.1
#: Redirects of a robots.txt that are followed at least (RFC 9309, 2.3.1.2).
_ROBOTS_REDIRECTS = 5


@dataclass(slots=True)
class FetchResult:
    """The result of an attempt: its outcome (schema.FETCH) and what was received. `ok`: the body is complete; it has not been inspected."""

    outcome: str
    status: int | None = None
    url: str | None = None
    body: bytes = b""
    retry_after: float | None = None
    at: float = 0.0
    slot: LargeBodySlots | None = None
    content_type: str | None = None

    def release(self) -> None:
        """Free the body's slot, so that another large body can be read."""
        if self.slot is not None:
            self.slot.release()
            self.slot = None


def tls_context() -> ssl.SSLContext:
    """A TLS context that verifies certificates against the machine's store, or certifi's where it has none."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or (paths.capath and os.listdir(paths.capath))):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


class Client:
    """HTTP client with a connection pool: `async with Client(...) as client: result = await client.get(parse(url))`.

    agent: the User-Agent header. token: our name in robots.txt and X-Robots-Tag. robots, opt_out: whether those are honoured;
    well_known: whether tdmrep.json and ai.txt are. max_idle: idle connections kept open. accept: the Accept header.
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
        self.policies = [kind(self._robots_txt, token) for kind, on in ((Robots, robots), (Reservations, well_known)) if on]
        self.opt_out, self.max_idle, self.accept = opt_out, max_idle, accept
        self.tls: ssl.SSLContext | None = None  # created on first use
        self.slots, self.active = LargeBodySlots(), set()
        self.idle: OrderedDict[Connection, None] = OrderedDict()
        self.idle_by_origin: dict[tuple[str, str, int], list[Connection]] = {}

    async def __aenter__(self) -> "Client":
        self.loop = asyncio.get_running_loop()
        self.watcher = asyncio.ensure_future(self._check_deadlines())
        return self

    async def __aexit__(self, *_) -> None:
        self.watcher.cancel()
        for connection in [*self.active, *self.idle]:
            connection.close()
        for policy in self.policies:
            policy.close()
        self.resolver.close()

    async def _check_deadlines(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = self.loop.time()
            for connection in list(self.active):
                connection.check(now)

    # ---- one attempt

    async def get(self, target: Target) -> FetchResult:
        """GET a URL, following redirects. Raises only errors that machine_limit maps to a limit of this machine."""
        at = [target.url]
        try:
            response = await self._follow(target, at, self.limits.max_bytes, self.limits.max_redirects, self.policies)
            return FetchResult(
                "ok",
                response.status,
                at[0],
                response.body,
                at=time.time(),
                slot=response.slot,
                content_type=response.get(b"content-type"),
            )
        except Failed as e:
            return FetchResult(e.outcome, e.status, at[0], retry_after=e.retry_after, at=time.time())

    async def _follow(
        self, target: Target, at: list, max_bytes: int, redirects: int, policies: Sequence[Robots] = (), partial: bool = False
    ) -> Response:
        deadline, status = self.loop.time() + self.limits.total, None
        for _ in range(redirects + 1):
            at[0] = target.url
            started = self.loop.time()
            for policy in policies:
                await policy.check(target)
            await self.resolver.lookup_started(target.host)
            deadline += self.loop.time() - started  # these waits are shared by all URLs of the host: not charged to this one
            response = await self._request(target, deadline, max_bytes, partial)
            status, location = response.status, response.get(b"location")
            if response.status not in _REDIRECTS or not location:
                return check_status(response, partial)
            try:
                target = target.join(location)
            except BadUrl as e:
                raise Failed("bad_redirect", str(e), response.status) from e
        raise Failed("too_many_redirects", target.url, status)

    async def _robots_txt(self, target: Target) -> Response:
        redirects = max(self.limits.max_redirects, _ROBOTS_REDIRECTS)
        return await self._follow(target, [None], ROBOTS_BYTES, redirects, partial=True)

    async def _request(self, target: Target, deadline: float, max_bytes: int, partial: bool) -> Response:
        """One request and its response, on an idle connection or a new one."""
        request = (
            f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: {self.agent}\r\n"
            f"Accept: {self.accept}\r\nAccept-Encoding: identity\r\n\r\n"
        ).encode("latin-1", "replace")
        accept = _accept_any if partial else self._accept
        while True:
            connection = self._reuse(target) or await self._connect(target, deadline)
            try:
                response = await connection.request(request, accept, deadline, max_bytes, partial)
            except StaleConnection:
                continue
            finally:
                if connection.pending is not None:  # this task was cancelled
                    connection.close()
            self._keep_alive(connection)
            return response

    def _accept(self, response: Response) -> None:
        """Check a 200's headers before its body is read. Raises Failed: `bad_encoding` or `opt_out`."""
        encoding = ",".join(response.get_all(b"content-encoding"))
        if not CODINGS.isdisjoint(re.findall(r"[\w-]+", encoding.lower())):
            raise Failed("bad_encoding", encoding, 200)
        if self.opt_out and (words := opted_out(response, self.token)):
            raise Failed("opt_out", words, 200)

    # ---- connections

    def _reuse(self, target: Target) -> Connection | None:
        idle = self.idle_by_origin.get(target.origin)
        while idle:
            connection = idle.pop()
            self.idle.pop(connection, None)
            if connection.usable:
                return connection
            connection.close()
        return None

    def _keep_alive(self, connection: Connection) -> None:
        if not connection.usable:
            return
        self.idle_by_origin.setdefault(connection.origin, []).append(connection)
        self.idle[connection] = None
        if len(self.idle) > self.max_idle:
            oldest, _ = self.idle.popitem(last=False)
            self.idle_by_origin[oldest.origin].remove(oldest)
            oldest.close()

    def close_idle(self) -> None:
        """Close all idle connections."""
        for connection in self.idle:
            connection.close()
        self.idle.clear()
        self.idle_by_origin.clear()

    async def _connect(self, target: Target, deadline: float) -> Connection:
        """Connect to one of the host's checked addresses, without another look-up in between (DNS rebinding)."""
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
                    lambda: Connection(target.origin, self.limits, self.slots, self.active),
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
            # Also a peer that closes during the TLS handshake: that says nothing of its certificate.
            raise Failed("connection", str(e)) from e


def _accept_any(_: Response) -> None:
    """Accept every response."""


def check_status(response: Response, any_success: bool = False) -> Response:
    """The response if its status is 200 (any_success: 2xx). Raises Failed with the status's outcome, and Retry-After of a 429 or 503."""
    status = response.status
    if status == 200 or (any_success and 200 <= status < 300):
        return response
    wait = retry_after(response.get(b"retry-after"), time.time()) if status in (429, 503) else None
    raise Failed(status_outcome(status), "", status, wait)
