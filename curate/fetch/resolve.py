"""Names to addresses: each name is asked for once, every address is vetted, and the connection goes to the vetted address."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from curate.fetch.address import Network, allowed
from curate.fetch.failure import Failed, drop
from curate.fetch.machine import MachineLimit, machine_limit, online

#: Look-ups at a time. One of a dead name takes 10 to 30 s, and a thread that waits costs little.
THREADS = 256

#: A look-up: host name to addresses, as a resolver spells them. Raises OSError.
Lookup = Callable[[str], list[str]]


def system_lookup(host: str) -> list[str]:
    """The machine's own resolver. It also reads odd spellings of addresses (`0x7f.1`), and what it makes of them is vetted."""
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
    """Vetted addresses by name, remembered as long as the resolver lives, failures too.

    A name with one address that is not allowed is refused as a whole: honest names do not mix public and private ones,
    and whoever rebinds a name does.
    """

    def __init__(self, opened: Sequence[Network] = (), lookup: Lookup = system_lookup, threads: int | None = None):
        self.opened, self.lookup = opened, lookup
        self.pool = ThreadPoolExecutor(threads or THREADS, "dns")
        self.known: dict[str, tuple[asyncio.Event, asyncio.Future[list[str]]]] = {}

    async def begun(self, host: str) -> None:
        """Wait until the look-up has a thread: beside many dead names that may take long, and is not this one's fault."""
        await self._known(host)[0].wait()

    async def addresses(self, host: str) -> list[str]:
        """Addresses that may be contacted. Raises Failed: `dns` or `private_address`; MachineLimit."""
        found = self._known(host)[1]
        try:
            return await asyncio.shield(found)
        except MachineLimit:
            if host in self.known and self.known[host][1] is found:
                del self.known[host]  # looked up again
            raise

    def _known(self, host: str) -> tuple[asyncio.Event, asyncio.Future[list[str]]]:
        if host not in self.known:
            begun = asyncio.Event()
            self.known[host] = begun, asyncio.ensure_future(self._resolve(host, begun))
        return self.known[host]

    async def _resolve(self, host: str, begun: asyncio.Event) -> list[str]:
        loop = asyncio.get_running_loop()

        def look() -> list[str]:
            loop.call_soon_threadsafe(begun.set)
            return self.lookup(host.rstrip("."))

        try:
            found = [ipaddress.ip_address(host).compressed]
        except ValueError:
            try:
                found = await loop.run_in_executor(self.pool, look)
            except (OSError, UnicodeError, RuntimeError) as e:
                raise machine_limit(e) or Failed("dns", f"{host}: {e}") from e
        finally:
            begun.set()
        if not found:
            raise Failed("dns", f"{host}: no address")
        if not all(allowed(address, self.opened) for address in found):
            raise Failed("private_address", f"{host}: {', '.join(found)}")
        return found

    def close(self) -> None:
        drop(task for _, task in self.known.values())
        self.pool.shutdown(wait=False, cancel_futures=True)
