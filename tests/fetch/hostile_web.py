"""A faulty web server on loopback, in a thread of its own: one kind of fault for each path."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

#: Limits of endless responses, so that no test can hang.
LONG, ENDLESS = 20.0, 200_000_000

Handler = Callable[["Web", str, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes = b"", status: str = "200 OK", headers: str = "", length: int | str | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n".encode("latin-1") + body


def chunked(*pieces: bytes, headers: str = "", end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + end


class Web:
    """Serves `pages` (path -> bytes, sent as they are, or a handler) on a port; counts connections and requests."""

    def __init__(self, pages: dict[str, bytes | Handler], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None):
        self.pages, self.host, self.tls = pages, host, tls
        self.hits: Counter[str] = Counter()
        self.connections, self.open, self.most, self.heads = 0, 0, 0, []
        self.port = 0

    def url(self, path: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError, TimeoutError
        ):
            while True:
                first = await asyncio.wait_for(reader.readexactly(1), LONG)
                if first == b"\x16" and not self.tls:  # a TLS greeting: answered in plain text, as web servers do
                    writer.write(reply(b"", "400 Bad Request"))
                    break
                head = (first + await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONG)).decode("latin-1")
                path = head.split(" ")[1]
                self.heads.append(head)
                self.hits[path] += 1
                page = self.pages.get(path.split("?")[0], reply(b"no such page", "404 Not Found"))
                if isinstance(page, bytes):
                    writer.write(page)
                else:
                    await page(self, path, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        self.open -= 1
        writer.close()

    @contextlib.contextmanager
    def serve(self) -> Iterator["Web"]:
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def main() -> None:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            server = await asyncio.start_server(self._client, self.host, 0, family=family, ssl=self.tls, backlog=512)
            self.port = server.sockets[0].getsockname()[1]
            self.done = asyncio.Event()
            ready.set()
            await self.done.wait()
            server.close()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.set_exception_handler(lambda *_: None)  # clients that hang up in a handshake are what this is for
            loop.run_until_complete(main())
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(self.done.set)
            thread.join(10)


# ---- faults


def then_close(data: bytes) -> Handler:
    async def handler(_: Web, __: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return handler


def then_reset(data: bytes = b"") -> Handler:
    async def handler(_: Web, __: str, writer: asyncio.StreamWriter) -> None:
        if data:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.05)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return handler


def then_silence(data: bytes = b"") -> Handler:
    async def handler(_: Web, __: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await asyncio.sleep(LONG)

    return handler


def drip(data: bytes, every: float, size: int = 1) -> Handler:
    """A few bytes at a time."""

    async def handler(_: Web, __: str, writer: asyncio.StreamWriter) -> None:
        for i in range(0, min(len(data), int(LONG / every) * size), size):
            writer.write(data[i : i + size])
            await writer.drain()
            await asyncio.sleep(every)

    return handler


def endless(head: bytes, block: bytes) -> Handler:
    async def handler(_: Web, __: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(ENDLESS // len(block)):
            writer.write(block)
            await writer.drain()

    return handler


def flaky(times: int, bad: bytes, good: bytes) -> Handler:
    """Bad so many times, then good."""

    async def handler(web: Web, path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(bad if web.hits[path] <= times else good)

    return handler


def late(data: bytes, seconds: float) -> Handler:
    async def handler(_: Web, __: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(data)

    return handler


def redirect(to: str, status: str = "302 Found") -> bytes:
    return reply(b"", status, f"Location: {to}\r\n")


def bomb_png(side: int = 30_000) -> bytes:
    """A black PNG of 1 bit a pixel: 900 million pixels in 0.1 MB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(9)
    body = b"".join(squeeze.compress(bytes(side // 8 + 1)) for _ in range(side)) + squeeze.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )
