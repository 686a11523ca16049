"""One HTTP/1.1 connection: sends requests and reads their responses within limits on time, bytes and memory.

Parsing is llhttp's (httptools). This module decides what a parser leaves open: how much is read, for how long, when a body is
complete, and whether the connection can be reused.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httptools

from curate.fetch.failure import Failed

#: Bytes: a body beyond SMALL_BODY needs a slot of LargeBodySlots; the body of an error is read up to MAX_DISCARDED and discarded.
SMALL_BODY, MAX_DISCARDED = 1 << 20, 1 << 16
#: A body of more than MAX_CHUNKS chunks must have MIN_CHUNK bytes a chunk on average: each chunk costs work and memory of its own.
MAX_CHUNKS, MIN_CHUNK = 4096, 256
#: Bodies beyond SMALL_BODY in memory at a time; bytes of the status lines and headers of one response.
MAX_LARGE_BODIES, MAX_HEAD = 16, 65_536
#: Interim responses (1xx) accepted before the final one.
MAX_INTERIM = 10


@dataclass(frozen=True)
class Limits:
    """Limits of a request, in seconds and bytes.

    connect: of the name look-up, and of TCP with TLS. first_byte: from the request to the response's first byte. idle: between
    two reads. total: of everything, redirects included. max_bytes: of a body.
    """

    connect: float = 10
    first_byte: float = 10
    idle: float = 10
    total: float = 30
    max_bytes: int = 20_000_000
    max_redirects: int = 5


@dataclass(slots=True)
class Response:
    """An HTTP response: status, headers (names in lower case) and body, which is empty unless the status is 200 (2xx with `partial`).

    slot: the large-body slot that the body occupies, for the body's owner to release.
    """

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    slot: "LargeBodySlots | None" = None

    def get_all(self, name: bytes) -> list[str]:
        """All values of a header, in order."""
        return [value.decode("latin-1") for n, value in self.headers if n == name]

    def get(self, name: bytes) -> str | None:
        """The first value of a header, stripped, or None."""
        return next((value.strip().decode("latin-1") for n, value in self.headers if n == name), None)


class LargeBodySlots:
    """A semaphore that bounds memory: MAX_LARGE_BODIES bodies beyond SMALL_BODY at a time; other connections pause reading.

    With C connections and N slots at most C x SMALL_BODY + N x max_bytes bytes are in memory, besides the receiver's queue.
    """

    def __init__(self):
        self.free, self.waiting = MAX_LARGE_BODIES, deque()

    def acquire(self, connection: "Connection") -> bool:
        """Take a slot; False if there is none, then the connection is resumed when one is free."""
        if self.free:
            self.free -= 1
            return True
        self.waiting.append(connection)
        return False

    def release(self) -> None:
        """Free a slot, or pass it to the connection that has waited longest."""
        while self.waiting:
            connection = self.waiting.popleft()
            if connection.paused:
                connection.resume()
                return
        self.free += 1


class StaleConnection(Exception):
    """The server closed a kept-alive connection before it responded: repeat the request on a new connection."""


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection as an asyncio protocol, for one `request` after another while it is `usable`."""

    def __init__(self, origin: tuple[str, str, int], limits: Limits, slots: LargeBodySlots, active: set["Connection"]):
        self.origin, self.limits, self.slots, self.active = origin, limits, slots, active
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpResponseParser(self)
        self.pending: asyncio.Future[Response] | None = None
        self.transport: asyncio.Transport | None = None
        self.requests, self.lost, self.has_slot, self.paused = 0, False, False, False

    # ---- for the client

    @property
    def usable(self) -> bool:
        return not self.lost and self.pending is None and not self.transport.is_closing()

    def request(
        self, request: bytes, accept: Callable[[Response], None], deadline: float, max_bytes: int, partial: bool = False
    ) -> asyncio.Future[Response]:
        """Send a request; the future resolves to its response. `accept` gets a 200's headers and may raise Failed to reject the body.

        partial: truncate a body beyond `max_bytes` instead of failing, and read the body of any 2xx.
        """
        self.pending, self.response = self.loop.create_future(), Response()
        self.accept, self.deadline, self.max_bytes, self.partial = accept, deadline, max_bytes, partial
        self.chunks, self.size, self.head_size, self.field_size, self.interim_count = [], 0, 0, 0, 0
        self.receiving, self.have_headers, self.complete, self.failure = False, False, False, None
        self.sent_at = self.last_byte = self.loop.time()
        self.requests += 1
        self.active.add(self)
        self.transport.write(request)
        return self.pending

    def close(self) -> None:
        """Abort the connection; a pending request fails with `connection`."""
        if self.pending is not None:
            self._finish(Failed("connection", "aborted"))
        if self.transport is not None:
            self.transport.abort()

    def check(self, now: float) -> None:
        """Fail the pending request if one of its deadlines has passed; the client calls this periodically."""
        late = now > self.deadline or (
            not self.paused
            and (now - self.last_byte > self.limits.idle if self.receiving else now - self.sent_at > self.limits.first_byte)
        )
        if late and self.pending is not None:
            if self.have_headers and not self._body_wanted():
                self._finish(None)  # the status is known, only a body that would be discarded is late
            else:
                self._finish(Failed("timeout", f"{now - self.sent_at:.1f} s, {self.size} bytes"))
            self.transport.abort()

    def resume(self) -> None:
        """Resume reading, with a slot."""
        self.has_slot, self.paused, self.last_byte = True, False, self.loop.time()
        self.transport.resume_reading()

    def _finish(self, failure: Exception | None) -> None:
        """Resolve the pending request with the response, or with the failure."""
        self.active.discard(self)
        pending, self.pending = self.pending, None
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        slot, self.has_slot = self.slots if self.has_slot else None, False
        chunks, self.chunks = self.chunks, []
        if pending is not None and not pending.done() and failure is None:
            self.response.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self.response.slot = slot
            pending.set_result(self.response)
            self.response = Response()  # so that an idle connection holds no body
            return
        if slot:
            slot.release()
        if pending is not None and not pending.done():
            pending.set_exception(failure)

    # ---- callbacks of asyncio

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.pending is None:
            return self.transport.abort()  # unsolicited bytes: responses could no longer be matched to requests
        self.receiving, self.last_byte = True, self.loop.time()
        if not self.have_headers:
            self.head_size += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as e:
            self.failure = self.failure or Failed("bad_response", str(e))
        if self.failure is None and not self.have_headers and self.head_size > MAX_HEAD:
            self.failure = Failed("bad_response", f"headers beyond {MAX_HEAD} bytes")
        if self.failure is not None:
            self.transport.abort()
            self._finish(None if self.failure is STOP_READING else self.failure)
        elif self.complete:
            if not self.keep_alive:
                self.transport.close()
            self._finish(None)
        elif self.size > SMALL_BODY and not self.has_slot and not self.paused:
            self.has_slot = self.slots.acquire(self)
            if not self.has_slot:
                self.paused = True
                self.transport.pause_reading()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.pending is None:
            return
        if self.have_headers and exc is None and (not self._body_wanted() or self._until_close()):
            self._finish(None)
        elif self.have_headers and exc is None:
            self._finish(Failed("truncated", f"{self.size} bytes, then the end"))
        elif not self.receiving and self.requests > 1:
            self._finish(StaleConnection())
        else:
            self._finish(Failed("connection", str(exc or "closed without a response")))

    def _body_wanted(self) -> bool:
        """Whether the body is kept."""
        return self.response.status == 200 or (self.partial and 200 <= self.response.status < 300)

    def _until_close(self) -> bool:
        """Whether the body ends where the connection does."""
        return not any(n in (b"content-length", b"transfer-encoding") for n, _ in self.response.headers)

    # ---- callbacks of the parser, which must not raise

    def on_message_begin(self) -> None:
        if self.complete:
            self.failure = self.failure or STOP_READING  # bytes after the response: keep the response, drop the connection

    def on_header(self, name: bytes, value: bytes) -> None:
        self.field_size += len(name) + len(value) + 4
        if self.field_size <= MAX_HEAD:
            self.response.headers.append((name.lower(), value))
        elif self.failure is None:  # trailers count too
            self.failure = Failed("bad_response", f"headers beyond {MAX_HEAD} bytes")

    def on_headers_complete(self) -> None:
        status, response = self.parser.get_status_code(), self.response
        if self.complete or self.failure is not None:
            return
        if 100 <= status < 200:
            self.interim_count += 1
            if self.interim_count > MAX_INTERIM:
                self.failure = Failed("bad_response", f"more than {MAX_INTERIM} interim responses")
            return
        response.status, self.have_headers = status, True
        length = response.get(b"content-length")
        size = int(length) if length and length.isascii() and length.isdigit() else None
        try:
            if self._body_wanted():
                self.accept(response)
                if size is not None and size > self.max_bytes and not self.partial:
                    raise Failed("too_large", f"{size} bytes announced", status)
            elif size is not None and size > MAX_DISCARDED:
                self.failure = STOP_READING  # cheaper to reconnect than to read it
        except Failed as e:
            self.failure = e

    def on_body(self, data: bytes) -> None:
        if self.failure is not None:
            return
        self.size += len(data)
        if not self._body_wanted():
            if self.size > MAX_DISCARDED:
                self.failure = STOP_READING
            return
        if self.size > self.max_bytes:
            if not self.partial:
                self.failure = Failed("too_large", f"more than {self.max_bytes} bytes", 200)
                return
            self.failure = STOP_READING
            data = data[: len(data) - (self.size - self.max_bytes)]
        self.chunks.append(data)
        if len(self.chunks) > MAX_CHUNKS and self.size < len(self.chunks) * MIN_CHUNK:
            self.failure = Failed("bad_response", f"{len(self.chunks)} chunks of less than {MIN_CHUNK} bytes")

    def on_message_complete(self) -> None:
        if 100 <= self.parser.get_status_code() < 200 and not self.have_headers:
            self.response = Response()
        else:
            self.complete, self.keep_alive = True, self.parser.should_keep_alive()


#: Set as `failure` when what was read suffices: the response counts, the connection is closed.
STOP_READING = Failed("ok", "complete")
