"""DNS resolution: one look-up a name, every address checked, so that connections only go to checked addresses."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from curate.fetch.address import Network, allowed
from curate.fetch.failure import Failed, cancel_all
from curate.fetch.machine import MachineLimit, machine_limit, online

#: Concurrent look-ups. One of a dead name takes 10 to 30 s, and a waiting thread costs little.
THREADS = 256

#: A look-up: from a host name to its addresses as text. Raises OSError.
Lookup = Callable[[str], list[str]]


def system_lookup(host: str) -> list[str]:
    """Addresses by the system's resolver. It also accepts unusual notations (`0x7f.1`); their addresses are checked like others."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as e:
        if e.errno != socket.EAI_AGAIN:
            raise
        if not online():
            raise OSError(errno.ENETUNREACH, str(e)) from e
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Cache of checked addresses by name; failures are cached too.

    opened: networks allowed although not public. A name with any address that is not allowed is refused as a whole: legitimate names
    do not mix public and private addresses, and DNS rebinding does.
    """

    def __init__(self, opened: Sequence[Network] = (), lookup: Lookup = system_lookup, threads: int | None = None):
        self.opened, self.lookup = opened, lookup
        self.pool = ThreadPoolExecutor(threads or THREADS, "dns")
        self.cache: dict[str, tuple[asyncio.Event, asyncio.Future[list[str]]]] = {}

    async def lookup_started(self, host: str) -> None:
        """Wait until the look-up has a thread: among many dead names that takes long, and callers do not count it as the host's time."""
        await self._lookup_of(host)[0].wait()

    async def addresses(self, host: str) -> list[str]:
        """The host's addresses, all allowed. Raises Failed (`dns` or `private_address`) or MachineLimit."""
        found = self._lookup_of(host)[1]
        try:
            return await asyncio.shield(found)
        except MachineLimit:
            if host in self.cache and self.cache[host][1] is found:
                del self.cache[host]  # not cached: look it up again
            raise

    def _lookup_of(self, host: str) -> tuple[asyncio.Event, asyncio.Future[list[str]]]:
        if host not in self.cache:
            started = asyncio.Event()
            self.cache[host] = started, asyncio.ensure_future(self._resolve(host, started))
        return self.cache[host]

    async def _resolve(self, host: str, started: asyncio.Event) -> list[str]:
        loop = asyncio.get_running_loop()

        def look() -> list[str]:
            loop.call_soon_threadsafe(started.set)
            return self.lookup(host.rstrip("."))

        try:
            found = [ipaddress.ip_address(host).compressed]
        except ValueError:
            try:
                found = await loop.run_in_executor(self.pool, look)
            except (OSError, UnicodeError, RuntimeError) as e:
                raise machine_limit(e) or Failed("dns", f"{host}: {e}") from e
        finally:
            started.set()
        if not found:
            raise Failed("dns", f"{host}: no address")
        if not all(allowed(address, self.opened) for address in found):
            raise Failed("private_address", f"{host}: {', '.join(found)}")
        return found

    def close(self) -> None:
        cancel_all(task for _, task in self.cache.values())
        self.pool.shutdown(wait=False, cancel_futures=True)
