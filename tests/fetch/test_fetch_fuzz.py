"""A short run of benchmarks/fuzz_images.py (`make fuzz` is the long one), and damaged HTTP responses."""

import asyncio
import importlib.util
import random
from pathlib import Path

from fetch_pictures import photo, saved
from hostile_web import chunked, reply

from curate import schema
from curate.fetch.address import networks
from curate.fetch.client import Client
from curate.fetch.resolve import Resolver
from curate.fetch.url import parse
from curate.fetch.wire import Limits

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_images.py"
spec = importlib.util.spec_from_file_location("fuzz_images", SCRIPT)
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


def test_damaged_pictures():
    photos = [saved(photo(48, 36, i), quality=90) for i in range(len(fuzz.FLAVOURS))]
    tally = fuzz.run(range(600), 0, fuzz.seeds(photos=photos))
    assert tally.findings == {} and sum(tally.fetch.values()) == 600
    assert tally.decode["ok"] > 50 and tally.decode["broken"] > 50


def test_a_finding_is_found():
    """The net has no hole: an outcome that is in no list is reported."""

    class Odd:
        def decode(self, data):
            return "odd"

        def resize(self, how, data):
            return "odd", 0, 0, b""

    tally = fuzz.Tally()
    fuzz.try_one(1, saved(photo()), Odd(), tally)
    assert tally.findings == {1: "outcome 'odd'"}


def test_damaged_responses():
    """Whatever bytes a server sends, the answer is an outcome, soon."""
    body = saved(photo())
    good = [
        reply(body, headers="Content-Type: image/jpeg\r\nX: y\r\n"),
        chunked(body[:100], body[100:]),
        reply(b"", "404 No"),
        reply(b"", "302 Found", "Location: /a\r\n"),
        b"HTTP/1.1 200 OK\r\n\r\n" + body,
    ]

    def damaged(number):
        chance = random.Random(number)
        data = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.randrange(min(len(data), 150))
            odd = chance.choice((b"\r\n", b"\n", b"\0", b":", b"0\r\n\r\n", b"Content-Length: 7\r\n", b"a" * 500))
            end = chance.choice((1, 3, 20))
            start, stop, new = chance.choice(
                ((at, at + 1, bytes([chance.randrange(256)])), (at, at + end, b""), (at, at, odd), (at + 50, len(data), b""))
            )
            data[start:stop] = new
        return bytes(data)

    async def main():
        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            number = int(head.split(b" ")[1].partition(b"?")[2] or 0)
            writer.write(damaged(number))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        limits = Limits(connect=2, first_byte=1, idle=1, total=2)
        async with Client(Resolver(networks(["127.0.0.0/8"])), limits, robots=False) as client:
            answers = await asyncio.gather(*(client.get(parse(f"http://127.0.0.1:{port}/?{i}")) for i in range(400)))
            assert not client.active and client.slots.free == 16
        server.close()
        return [a.outcome for a in answers]

    outcomes = asyncio.run(main())
    assert set(outcomes) <= set(schema.FETCH) and len(set(outcomes)) >= 5
    assert outcomes.count("timeout") < 100  # of 400; a loaded machine makes some of the others late
