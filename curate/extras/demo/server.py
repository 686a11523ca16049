"""The demo's web servers: files and faults over HTTP/1.1 on several loopback addresses, in a process of its own.

Started by `curate.extras.demo.web.serve` as a script with one argument, the web's folder; needs the standard library alone. It ends
when its standard input closes, which happens however its parent ends. `/.hits` on any address tells, as JSON, how often each
`host/path` was asked for.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".svg": "image/svg+xml", ".gif": "image/gif"}
#: Seconds a stalled connection is held open, and bytes an endless body sends at most: a test must end.
STALL, ENDLESS = 120, 300_000_000


def response(code: int, body: bytes = b"", kind: str = "text/plain", headers: str = "", length: int | None = None) -> bytes:
    """Status line, headers and body; `length` states another Content-Length than the true one."""
    head = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\nContent-Type: {kind}\r\n{headers}"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


class Site:
    """All files and faults, by `host/path`."""

    def __init__(self, folder: Path):
        root = folder / "site"
        names = (os.path.join(d, f) for d, _, files in os.walk(root) for f in files)
        self.files = {os.path.relpath(name, root): name for name in names}
        self.faults = json.loads((folder / "faults.json").read_text(encoding="utf-8"))
        self.hits: Counter[str] = Counter()

    def read(self, address: str) -> tuple[bytes, str]:
        name = self.files[address]
        with open(name, "rb") as f:
            return f.read(), TYPES.get(os.path.splitext(name)[1], "application/octet-stream")


class Connection(asyncio.Protocol):
    """A persistent connection of one client; answers one request after the other."""

    def __init__(self, site: Site):
        self.site, self.buffer, self.task = site, b"", None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.host = transport.get_extra_info("sockname")[0]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer[:1] == b"\x16":  # a TLS greeting: answered in plain text, as web servers do
            self.transport.write(response(400))
            return self.transport.close()
        while self.task is None and b"\r\n\r\n" in self.buffer:
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            if len(line) != 3 or line[0] not in ("GET", "HEAD"):
                self.transport.write(response(403))
                return self.transport.close()
            self.answer(line[1].split("?", 1)[0], line[0] == "HEAD")

    def answer(self, path: str, head_only: bool) -> None:
        address, site = self.host + path, self.site
        if path == "/.hits":
            return self.transport.write(response(200, json.dumps(site.hits).encode(), "application/json"))
        site.hits[address] += 1
        fault = site.faults.get(address)
        if fault is not None and not (fault["do"] == "flaky" and site.hits[address] > fault["times"]):
            self.task = asyncio.ensure_future(self.inject(fault, address))
            return None
        if address not in site.files:
            return self.transport.write(response(404, b"<html><body><h1>404 Not Found</h1></body></html>", "text/html"))
        whole = response(200, *site.read(address))
        self.transport.write(whole[: whole.index(b"\r\n\r\n") + 4] if head_only else whole)

    async def inject(self, fault: dict, address: str) -> None:
        """Answer with a fault, then continue with the next request."""
        try:
            await getattr(self, "do_" + fault["do"])(fault, address)
        finally:
            self.task = None
        if not self.transport.is_closing():
            self.data_received(b"")

    async def do_status(self, fault: dict, address: str) -> None:
        body = b"<html><body>Sorry.</body></html>"
        self.transport.write(response(fault["code"], body, "text/html", fault.get("headers", "")))

    do_flaky = do_status

    async def do_redirect(self, fault: dict, address: str) -> None:
        self.transport.write(response(fault["code"], headers=f"Location: {fault['to']}\r\n"))

    async def do_slow(self, fault: dict, address: str) -> None:
        """The right answer, after `seconds`."""
        await asyncio.sleep(fault["seconds"])
        self.transport.write(response(200, *self.site.read(address)))

    async def do_stalled(self, fault: dict, address: str) -> None:
        """Half of the body, then nothing."""
        whole = response(200, *self.site.read(address))
        self.transport.write(whole[: len(whole) // 2])
        await asyncio.sleep(STALL)
        self.transport.abort()

    async def do_short(self, fault: dict, address: str) -> None:
        """A Content-Length longer than the body, and the connection closed."""
        body, kind = self.site.read(address)
        self.transport.write(response(200, body[: len(body) * 2 // 3], kind, length=len(body)))
        self.transport.close()

    async def do_chunked(self, fault: dict, address: str) -> None:
        """The right answer in chunks, without a length and without a useful type."""
        body, _ = self.site.read(address)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces = [body[i : i + 3000] for i in range(0, len(body), 3000)]
        self.transport.write(head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")

    async def do_giant(self, fault: dict, address: str) -> None:
        """Announces five gigabytes."""
        body, kind = self.site.read(address)
        self.transport.write(response(200, body, kind, length=5_000_000_000))
        await asyncio.sleep(STALL)
        self.transport.abort()

    async def do_endless(self, fault: dict, address: str) -> None:
        """A picture that never ends, in chunks, as fast as it is read."""
        body, _ = self.site.read(address)
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"%x\r\n%s\r\n" % (len(body), body)
        for _ in range(ENDLESS // len(block)):
            self.transport.write(block)
            while self.transport.get_write_buffer_size() > 500_000:
                await asyncio.sleep(0.01)
            if self.transport.is_closing():  # the client disconnected; without a wait the loop would not notice
                return
        self.transport.abort()

    async def do_reset(self, fault: dict, address: str) -> None:
        self.transport.abort()

    async def do_garbage(self, fault: dict, address: str) -> None:
        self.transport.write(b"220 ready when you are\r\n\r\n")
        self.transport.close()


async def main(folder: Path) -> None:
    """Listen on every host of the web, say `ready`, and go on until standard input closes."""
    web = json.loads((folder / "web.json").read_text(encoding="utf-8"))
    site, loop = Site(folder), asyncio.get_running_loop()
    try:
        for host in web["hosts"]:
            await loop.create_server(lambda: Connection(site), host, web["port"], backlog=1024)
    except OSError as e:
        print(f"cannot listen: {e}", flush=True)
        return
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
