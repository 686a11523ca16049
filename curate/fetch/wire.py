"""One HTTP/1.1 connection: sends a request, reads one response, keeps every cap while it does.

The parsing is llhttp's (httptools); what is here is what a parser leaves open: how much is read, how long it may take, what
counts as whole, and whether the connection can be used again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httptools

from curate.fetch.failure import Failed

#: A body up to LIGHT is read at once, a larger one needs a place in `Lanes`. Bodies of errors are read up to DRAIN and dropped.
LIGHT, DRAIN = 1 << 20, 1 << 16
#: More chunks than MAX_PIECES must hold LEAST bytes on average: each costs work and memory of its own.
MAX_PIECES, LEAST = 4096, 256
#: Bodies beyond LIGHT held at a time; bytes of status lines and headers of one response.
LANES, MAX_HEAD = 16, 65_536
#: Interim responses (1xx) before the real one.
MAX_INTERIM = 10


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes a request may take.

    connect: name look-up, and TCP with TLS, each. first_byte: from the request to the response's first byte. idle: without a
    byte. total: everything, redirects included. max_bytes: of a body.
    """

    connect: float = 10
    first_byte: float = 10
    idle: float = 10
    total: float = 30
    max_bytes: int = 20_000_000
    max_redirects: int = 5


@dataclass(slots=True)
class Response:
    """Status, headers (names in lower case) and body; the body is empty unless the status is 200 (or 2xx, if asked for).

    A body that took a lane keeps it until whoever has the body gives the lane back: memory is held until then.
    """

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    lane: "Lanes | None" = None

    def all(self, name: bytes) -> list[str]:
        """The values of a header, in order."""
        return [value.decode("latin-1") for n, value in self.headers if n == name]

    def one(self, name: bytes) -> str | None:
        return next((value.strip().decode("latin-1") for n, value in self.headers if n == name), None)


class Lanes:
    """Bounds memory: only so many bodies beyond LIGHT are held at a time, the others pause where they are.

    With C connections and N lanes at most C x LIGHT + N x max_bytes are held, besides what the receiver holds.
    """

    def __init__(self):
        self.free, self.waiting = LANES, deque()

    def ask(self, connection: "Connection") -> bool:
        if self.free:
            self.free -= 1
            return True
        self.waiting.append(connection)
        return False

    def give(self) -> None:
        while self.waiting:
            connection = self.waiting.popleft()
            if connection.paused:
                connection.go_on()
                return
        self.free += 1


class Stale(Exception):
    """A connection kept alive was closed by the other side before it answered: ask again on a new one."""


class Connection(asyncio.Protocol):
    """Made by the loop's create_connection; `ask` as often as `usable`."""

    def __init__(self, origin: tuple[str, str, int], limits: Limits, lanes: Lanes, active: set["Connection"]):
        self.origin, self.limits, self.lanes, self.active = origin, limits, lanes, active
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpResponseParser(self)
        self.answer: asyncio.Future[Response] | None = None
        self.transport: asyncio.Transport | None = None
        self.asked, self.lost, self.heavy, self.paused = 0, False, False, False

    # ---- the caller's side

    @property
    def usable(self) -> bool:
        return not self.lost and self.answer is None and not self.transport.is_closing()

    def ask(
        self, request: bytes, accept: Callable[[Response], None], deadline: float, max_bytes: int, partial: bool = False
    ) -> asyncio.Future[Response]:
        """Send a request. `accept` sees a 200's headers and may raise Failed; the body is not read then.

        partial: a body beyond `max_bytes` is cut there instead of being a failure, and any 2xx has one.
        """
        self.answer, self.response = self.loop.create_future(), Response()
        self.accept, self.deadline, self.max_bytes, self.partial = accept, deadline, max_bytes, partial
        self.pieces, self.size, self.head, self.fields, self.interim = [], 0, 0, 0, 0
        self.begun, self.headed, self.complete, self.failure = False, False, False, None
        self.sent = self.heard = self.loop.time()
        self.asked += 1
        self.active.add(self)
        self.transport.write(request)
        return self.answer

    def close(self) -> None:
        """Drop the connection at once. What waits for an answer is cancelled."""
        if self.answer is not None:
            self._settle(Failed("connection", "given up"))
        if self.transport is not None:
            self.transport.abort()

    def check(self, now: float) -> None:
        """Called by the client every moment: is some deadline past?"""
        late = now > self.deadline or (
            not self.paused
            and (now - self.heard > self.limits.idle if self.begun else now - self.sent > self.limits.first_byte)
        )
        if late and self.answer is not None:
            if self.headed and not self._wanted():
                self._settle(None)  # the status is known, only its useless body is late
            else:
                self._settle(Failed("timeout", f"{now - self.sent:.1f} s, {self.size} bytes"))
            self.transport.abort()

    def go_on(self) -> None:
        """A lane is free: read on."""
        self.heavy, self.paused, self.heard = True, False, self.loop.time()
        self.transport.resume_reading()

    def _settle(self, failure: Exception | None) -> None:
        """Answer the caller."""
        self.active.discard(self)
        answer, self.answer = self.answer, None
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        lane, self.heavy = self.lanes if self.heavy else None, False
        pieces, self.pieces = self.pieces, []
        if answer is not None and not answer.done() and failure is None:
            self.response.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self.response.lane = lane
            answer.set_result(self.response)
            self.response = Response()  # a connection kept alive keeps no body
            return
        if lane:
            lane.give()
        if answer is not None and not answer.done():
            answer.set_exception(failure)

    # ---- the loop's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.answer is None:
            return self.transport.abort()  # nobody asked: this connection cannot be trusted to stay in step
        self.begun, self.heard = True, self.loop.time()
        if not self.headed:
            self.head += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as e:
            self.failure = self.failure or Failed("bad_response", str(e))
        if self.failure is None and not self.headed and self.head > MAX_HEAD:
            self.failure = Failed("bad_response", f"headers beyond {MAX_HEAD} bytes")
        if self.failure is not None:
            self.transport.abort()
            self._settle(None if self.failure is ENOUGH else self.failure)
        elif self.complete:
            if not self.lasting:
                self.transport.close()
            self._settle(None)
        elif self.size > LIGHT and not self.heavy and not self.paused:
            self.heavy = self.lanes.ask(self)
            if not self.heavy:
                self.paused = True
                self.transport.pause_reading()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.answer is None:
            return
        if self.headed and exc is None and (not self._wanted() or self._until_close()):
            self._settle(None)
        elif self.headed and exc is None:
            self._settle(Failed("truncated", f"{self.size} bytes, then the end"))
        elif not self.begun and self.asked > 1:
            self._settle(Stale())
        else:
            self._settle(Failed("connection", str(exc or "closed without an answer")))

    def _wanted(self) -> bool:
        """True if the body is of interest."""
        return self.response.status == 200 or (self.partial and 200 <= self.response.status < 300)

    def _until_close(self) -> bool:
        """True if the body's end is the connection's end."""
        return not any(n in (b"content-length", b"transfer-encoding") for n, _ in self.response.headers)

    # ---- the parser's side; nothing may be raised through it

    def on_message_begin(self) -> None:
        if self.complete:
            self.failure = self.failure or ENOUGH  # bytes after the response: it counts, the connection does not

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields += len(name) + len(value) + 4
        if self.fields <= MAX_HEAD:
            self.response.headers.append((name.lower(), value))
        elif self.failure is None:  # trailers are counted too
            self.failure = Failed("bad_response", f"headers beyond {MAX_HEAD} bytes")

    def on_headers_complete(self) -> None:
        status, response = self.parser.get_status_code(), self.response
        if self.complete or self.failure is not None:
            return
        if 100 <= status < 200:
            self.interim += 1
            if self.interim > MAX_INTERIM:
                self.failure = Failed("bad_response", "interim responses without end")
            return
        response.status, self.headed = status, True
        length = response.one(b"content-length")
        size = int(length) if length and length.isascii() and length.isdigit() else None
        try:
            if self._wanted():
                self.accept(response)
                if size is not None and size > self.max_bytes and not self.partial:
                    raise Failed("too_large", f"{size} bytes announced", status)
            elif size is not None and size > DRAIN:
                self.failure = ENOUGH  # not worth reading
        except Failed as e:
            self.failure = e

    def on_body(self, data: bytes) -> None:
        if self.failure is not None:
            return
        self.size += len(data)
        if not self._wanted():
            if self.size > DRAIN:
                self.failure = ENOUGH
            return
        if self.size > self.max_bytes:
            if not self.partial:
                self.failure = Failed("too_large", f"more than {self.max_bytes} bytes", 200)
                return
            self.failure = ENOUGH
            data = data[: len(data) - (self.size - self.max_bytes)]
        self.pieces.append(data)
        if len(self.pieces) > MAX_PIECES and self.size < len(self.pieces) * LEAST:
            self.failure = Failed("bad_response", f"{len(self.pieces)} chunks of less than {LEAST} bytes")

    def on_message_complete(self) -> None:
        if 100 <= self.parser.get_status_code() < 200 and not self.headed:
            self.response = Response()
        else:
            self.complete, self.lasting = True, self.parser.should_keep_alive()


#: Not a failure: what was read is all that is wanted, and the connection is not worth keeping.
ENOUGH = Failed("ok", "enough")
