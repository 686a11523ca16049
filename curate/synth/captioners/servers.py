"""The servers of an endpoint, side by side: who is asked next, over which connection, and what comes back."""

import asyncio
from collections import deque
from time import monotonic, time
from typing import Any

from curate.synth.captioners.limit import ConcurrencyLimit
from curate.web.headers import retry_after

#: The longest answer that is read, bytes.
LONGEST = 8 << 20


class Unreachable(OSError):
    """The server refuses connections."""


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


class RequestRate:
    """Lets requests through, evenly, so many a minute (0: all at once)."""

    def __init__(self, a_minute: float):
        self.gap, self.next = 60.0 / a_minute if a_minute else 0.0, 0.0

    async def wait(self) -> None:
        now = monotonic()
        turn = max(now, self.next)
        self.next = turn + self.gap
        if turn > now:
            await sleep(turn - now)


class Server:
    """One address: how many requests it has, how many it may have, and until when it wants to be left alone."""

    def __init__(self, url: str, most: int, a_minute: float):
        self.url, self.limit, self.pace = url, ConcurrencyLimit(most), RequestRate(a_minute)
        self.busy, self.rest = 0, 0.0

    @property
    def room(self) -> float:
        """The share of its limit that is free."""
        return 1 - self.busy / self.limit.now


class Turn:
    """A request's turn at a server; `async with` waits for it. `answered` and `refused` say how it went."""

    def __init__(self, servers: "Servers"):
        self.servers = servers
        self.full = False

    async def __aenter__(self) -> "Turn":
        self.server = await self.servers.take()
        try:
            await self.server.pace.wait()
            while (rest := self.server.rest - monotonic()) > 0:
                await sleep(rest)
        except BaseException:
            self.servers.give(self.server)
            raise
        self.begun, self.full = monotonic(), self.server.busy >= self.server.limit.now
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.servers.give(self.server)

    def answered(self) -> None:
        """The server answers: it is there, and this is how long it takes."""
        self.servers.down = None
        if self.full:  # at fewer requests than its limit its latency says nothing of the limit
            self.server.limit.answered(monotonic() - self.begun)

    def failed(self) -> float:
        """The server does not answer this: how many seconds ago it, and all others, began to."""
        if self.servers.down is None:
            self.servers.down = monotonic()
        return monotonic() - self.servers.down

    def refused(self, after: float) -> None:
        """The server wants fewer requests, and none for `after` seconds."""
        self.server.limit.refused(self.begun, monotonic())
        self.server.rest = max(self.server.rest, monotonic() + after)


class Servers:
    """All servers of an endpoint. Requests wait in one line; the next goes to the server with the largest share of its limit free.

    down: since when, by time.monotonic, none of them has answered what it was asked; None while they do.
    """

    def __init__(self, urls: list[str], most: int, a_minute: float, timeout: float):
        import aiohttp

        self.all = [Server(url, most, a_minute) for url in urls]
        self.line: deque[asyncio.Future[Server]] = deque()
        self.down: float | None = None
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=timeout)
        )

    async def close(self) -> None:
        await self.session.close()

    async def take(self) -> Server:
        """A server with room, waited for in line."""
        turn: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self.line.append(turn)
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(turn.result())
            raise

    def give(self, server: Server) -> None:
        """Release the server's slot."""
        server.busy -= 1
        self._serve()

    def _serve(self) -> None:
        while self.line:
            now = monotonic()
            server = max(self.all, key=lambda s: (s.rest <= now, s.room))
            if server.busy >= server.limit.now:
                server = max(self.all, key=lambda s: s.room)
            if server.busy >= server.limit.now:
                return
            turn = self.line.popleft()
            if not turn.done():
                server.busy += 1
                turn.set_result(server)

    async def post(self, url: str, data: bytes, key: str) -> tuple[int, float, bytes]:
        """Status, Retry-After in seconds (0: none), body. Unreachable without a connection; OSError, TimeoutError or
        aiohttp.ClientError if it breaks, is late, too long or cut short."""
        import aiohttp

        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            async with self.session.post(url, data=data, headers=headers, allow_redirects=False) as answer:
                chunks, size = [], 0
                async for chunk in answer.content.iter_chunked(1 << 16):
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > LONGEST:
                        raise OSError(f"an answer of more than {LONGEST} bytes")
                return answer.status, retry_after(answer.headers.get("Retry-After"), time()) or 0.0, b"".join(chunks)
        except aiohttp.ClientConnectorError as e:
            raise Unreachable(f"{type(e).__name__}: {e}") from e
