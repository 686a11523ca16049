"""Limits of this machine are waited out, with fewer requests, and end the part; no row gets an outcome of them."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fetch_pictures import jpeg
from hostile_web import Web, late, reply

from curate.fetch import crawl as crawling
from curate.fetch import machine, resolve
from curate.fetch.client import Client, FetchResult
from curate.fetch.crawl import CrawlLimits, crawl
from curate.fetch.img2dataset import PayloadWriter
from curate.fetch.machine import MachineLimit, fit_concurrency, machine_limit
from curate.fetch.resolve import Resolver, system_lookup
from curate.fetch.url import parse
from curate.fetch.wire import Limits

ROOT = Path(__file__).parents[2]


def test_errors_of_this_machine_and_of_others(monkeypatch):
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC):
        assert errno.errorcode[number] in str(machine_limit(OSError(number, "")))
    assert machine_limit(MemoryError()) and "ulimit -u" in str(machine_limit(RuntimeError("can't start new thread")))
    for error in (
        OSError(errno.ECONNRESET, ""),
        OSError(errno.EHOSTUNREACH, ""),
        socket.gaierror(socket.EAI_NONAME, ""),
        ValueError(),
    ):
        assert machine_limit(error, "127.0.0.1") is None
    assert "ip_local_port_range" in str(machine_limit(OSError(errno.EADDRNOTAVAIL, ""), "127.0.0.1"))
    monkeypatch.setattr(machine, "reachable", lambda address: ":" not in address)
    # this machine has no IPv6: it cannot reach such an address, and all others it can
    assert machine_limit(OSError(errno.EADDRNOTAVAIL, ""), "2001:db8::1") is None
    assert machine_limit(OSError(errno.ENETUNREACH, ""), "2001:db8::1") is None
    monkeypatch.setattr(machine, "reachable", lambda address: False)
    for number in (errno.ENETUNREACH, errno.EADDRNOTAVAIL):
        assert "no route" in str(machine_limit(OSError(number, ""), "192.0.2.1"))


def test_names_are_not_unknown_while_the_network_is_down(monkeypatch):
    def lookup(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(socket.gaierror):
        system_lookup("a.example")
    monkeypatch.setattr(resolve, "online", lambda: False)
    with pytest.raises(OSError, match="try again") as found:
        system_lookup("a.example")
    assert found.value.errno == errno.ENETUNREACH


class Scarce:
    """Stands in for a client on a machine that has room for so many requests, from some time on."""

    def __init__(self, room, after=0, seconds=0.01):
        self.room, self.after, self.seconds = room, after, seconds
        self.now, self.most, self.asked, self.closed = 0, 0, Counter(), 0

    async def get(self, target):
        self.asked[target.path] += 1
        if self.now >= self.room and sum(self.asked.values()) > self.after:
            raise MachineLimit("too many open files")
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return FetchResult("ok", url=target.url)

    def close_idle(self):
        self.closed += 1


def crawled(client, count=60, seconds=None, **pace):
    found = {}

    async def put(url, answer):
        found[url] = answer.outcome

    async def main():
        async with asyncio.timeout(seconds):
            await crawl(client, [f"http://{i}.example/{i}" for i in range(count)], CrawlLimits(**pace), put)

    asyncio.run(main())
    return found


def test_where_there_is_no_room_for_a_request_it_is_made_later(monkeypatch):
    monkeypatch.setattr(crawling, "LIMIT_PAUSE", 0.01)
    client = Scarce(room=3)
    found = crawled(client, concurrency=60, retries=0)
    assert found == {f"http://{i}.example/{i}": "ok" for i in range(60)} and client.most == 3 and client.closed
    assert sum(client.asked.values()) < 60 * 10  # they became fewer


def test_a_limit_that_stays_ends_the_crawl(monkeypatch):
    monkeypatch.setattr(crawling, "LIMIT_PAUSE", 0.01)
    monkeypatch.setattr(crawling, "LIMIT_SECONDS", 0.2)
    with pytest.raises(MachineLimit, match="too many open files"):
        crawled(Scarce(room=0, after=20))


def test_a_deadline_that_comes_while_a_limit_is_waited_out_is_that_limit(monkeypatch):
    monkeypatch.setattr(crawling, "LIMIT_CONFIRMED", 0.2)
    with pytest.raises(MachineLimit, match="too many open files"):
        crawled(Scarce(room=0), seconds=1)
    with pytest.raises(TimeoutError):  # and one that comes while requests are under way is a deadline
        crawled(Scarce(room=9, seconds=5), seconds=0.5)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
def test_sockets_that_cannot_be_had(number, monkeypatch):
    """Neither robots.txt nor a name that could not be looked up is remembered as such."""
    asked = []

    def lookup(host):
        asked.append(host)
        if len(asked) == 1:
            raise OSError(number, os.strerror(number)) if number != errno.EADDRNOTAVAIL else OSError(errno.EMFILE, "")
        return ["127.0.0.1"]

    async def main(web):
        resolver = Resolver(crawl_networks(), lookup)
        async with Client(resolver, Limits(total=5)) as client:
            url = parse(f"http://a.example:{web.port}/a.jpg")
            with pytest.raises(MachineLimit):
                await client.get(url)
            connect = client.loop.create_connection

            async def none(*_, **__):
                raise OSError(number, os.strerror(number))

            client.loop.create_connection = none
            with pytest.raises(MachineLimit, match=errno.errorcode[number]):
                await client.get(url)
            client.loop.create_connection = connect
            return (await client.get(url)).outcome

    with Web({"/a.jpg": reply(jpeg())}).serve() as web:
        assert asyncio.run(main(web)) == "ok"
        assert web.hits == {"/robots.txt": 1, "/a.jpg": 1}


def crawl_networks():
    from curate.fetch.address import networks

    return networks(["127.0.0.0/8"])


#: Runs Fetch in a process that may open so many files; prints the outcomes, the requests at a time, and the soft limit after.
LIMITED = """
import json, resource, sys, tempfile
import pyarrow as pa
urls, soft, hard, options = json.loads(sys.stdin.read())
from curate.fetch import machine
machine.RESERVED_FILES = options.pop("reserve", machine.RESERVED_FILES)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from curate import schema
from curate.fetch.stage import Fetch
from curate.store.payload import Parcel
from curate.store.atomic import Store
text = pa.large_string()
live = pa.table({"uid": pa.array([schema.uid(None, u) for u in urls], text), "url": pa.array(urls, text)})
with tempfile.TemporaryFile() as file:
    table = Fetch(allow_private=("127.0.0.0/8",), robots=False, **options).run(live, Parcel(Store("."), file))
print(json.dumps({"outcomes": {v["values"]: v["counts"] for v in table["fetch"].value_counts().to_pylist()},
                  "soft": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}))
"""


def limited(urls, soft, hard, **options):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        input=json.dumps([urls, soft, hard, options]),
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), done.stderr


def test_few_files_make_a_fetch_slow_and_nothing_else():
    with Web({"/a.jpg": late(reply(jpeg()), 0.05)}).serve() as web:
        urls = [web.url(f"/a.jpg?{i}") for i in range(120)]
        found, said = limited(urls, 64, 64, per_host=100)
        assert found == {"outcomes": {"ok": 120}, "soft": 64}
        assert said.count("fewer than 120 concurrent requests") == 1
        web.connections = 0
        found, said = limited(urls, 40, 1000, per_host=100, resize_mode="keep_ratio")
        assert found == {"outcomes": {"ok": 120}, "soft": 1000} and web.connections > 50 and not said


def test_files_that_run_out_in_spite_of_what_was_expected():
    """As when other parts of the process open files meanwhile."""
    with Web({"/a.jpg": late(reply(jpeg()), 0.05)}).serve() as web:
        found, said = limited([web.url(f"/a.jpg?{i}") for i in range(60)], 40, 40, per_host=60, reserve=-1000)
    assert found == {"outcomes": {"ok": 60}, "soft": 40} and "fewer than" not in said


def test_what_fits_depends_on_the_files_that_are_open():
    assert fit_concurrency(2) == 2 and 1 <= fit_concurrency(10**9) < 10**9


def test_img2dataset_met_a_limit():
    rows = PayloadWriter(["a" * 32, "b" * 32], None, set())
    meta = {"row": 0, "sha256": None, "error_message": "<urlopen error [Errno 111] Connection refused>"}
    rows.write(None, "0", None, meta)
    assert rows.limit is None and rows.columns["fetch"][0] == "refused"
    rows.write(None, "1", None, meta | {"row": 1, "error_message": "<urlopen error [Errno 24] Too many open files>"})
    assert "EMFILE" in str(rows.limit)
