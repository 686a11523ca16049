"""Site owners' rules for robots: robots.txt and TDM reservations, cached by origin, and opt-outs in response headers."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from curate.fetch.failure import Failed, cancel_all
from curate.fetch.robots import ALLOW_ALL, DISALLOW_ALL, Rules, ai_txt, read, tdmrep
from curate.fetch.url import Target
from curate.fetch.wire import Response
from curate.web.headers import opt_outs, reserved

#: Failures of the host, and rate limiting: they become the outcome of all its URLs.
_UNREACHABLE = frozenset(("dns", "private_address", "refused", "connection", "tls", "timeout", "http_429"))

#: Bytes of rules in the cache, which evicts the least recently used.
MAX_CACHED = 64 << 20
#: Bytes of a robots.txt that is parsed in the event loop; a larger one is parsed in a thread.
_PARSE_INLINE = 10_000

Origin = tuple[str, str, int]


class Robots:
    """Cache of robots.txt rules by origin, each fetched once in this object's life (a part: well below the day of RFC 9309, 2.4).

    A 4xx (no robots.txt) and too many redirects allow everything. What cannot be read disallows everything (RFC 9309, 2.3.1): a 5xx,
    a body that is truncated, not text or in an unsupported coding, a response that is not HTTP. A host that cannot be reached, or
    is rate limiting (429), fails with that outcome.
    """

    outcome = "robots"

    def __init__(self, get: Callable[[Target], Awaitable[Response]], token: str):
        self.get, self.token = get, token
        self.rules: OrderedDict[Origin, asyncio.Future[Rules]] = OrderedDict()
        self.cached = 0

    async def check(self, target: Target) -> None:
        """Raise Failed if the rules forbid the target (`robots`), or with the outcome of a host that cannot be reached."""
        if target.origin not in self.rules:
            self.rules[target.origin] = asyncio.ensure_future(self._load(target))
        self.rules.move_to_end(target.origin)
        loading = self.rules[target.origin]
        try:
            rules = await asyncio.shield(loading)
        except Exception:
            if self.rules.get(target.origin) is loading:
                del self.rules[target.origin]  # failures are not cached
            raise
        if not rules.allows(target.path):
            raise Failed(self.outcome, target.url)

    async def _load(self, target: Target) -> Rules:
        try:
            response = await self.get(Target(target.scheme, target.host, target.port, "/robots.txt"))
        except Failed as e:
            if e.outcome in _UNREACHABLE:
                raise
            missing = e.status is not None and 400 <= e.status < 500
            return ALLOW_ALL if missing or e.outcome == "too_many_redirects" else DISALLOW_ALL
        coding = ",".join(response.get_all(b"content-encoding"))
        if len(response.body) <= _PARSE_INLINE and not coding:
            rules = read(response.body, coding, self.token)
        else:
            rules = await asyncio.to_thread(read, response.body, coding, self.token)
        self._evict(rules.size)
        return rules

    def _evict(self, size: int) -> None:
        self.cached += size
        for origin, loaded in list(self.rules.items()) if self.cached > MAX_CACHED else ():
            if self.cached <= MAX_CACHED:
                return
            if loaded.done() and not loaded.cancelled() and loaded.exception() is None:
                self.cached -= loaded.result().size
                del self.rules[origin]

    def close(self) -> None:
        cancel_all(self.rules.values())


class Reservations(Robots):
    """Cache of text and data mining reservations by origin: `/.well-known/tdmrep.json` (W3C's TDM Reservation Protocol) and `/ai.txt`
    (Spawning's, in the format of robots.txt). A file that is missing or cannot be read reserves nothing."""

    outcome = "opt_out"

    async def _load(self, target: Target) -> Rules:
        found = []
        for path, rules_of in (("/.well-known/tdmrep.json", tdmrep), ("/ai.txt", ai_txt)):
            try:
                response = await self.get(Target(target.scheme, target.host, target.port, path))
            except Failed:
                continue
            coding = ",".join(response.get_all(b"content-encoding"))
            found.append(await asyncio.to_thread(rules_of, response.body, coding, self.token))
        rules = AllOf(found)
        self._evict(rules.size)
        return rules


class AllOf(Rules):
    """The conjunction of several rules: all of them must allow a path."""

    def __init__(self, rules: list[Rules]):
        super().__init__()
        self.rules = rules

    @property
    def size(self) -> int:
        return sum(r.size for r in self.rules)

    def allows(self, path: str) -> bool:
        return all(r.allows(path) for r in self.rules)


def opted_out(response: Response, token: str) -> str | None:
    """The opt-out in a response's headers that applies to this robot, or None: X-Robots-Tag, or `tdm-reservation: 1` (TDM Reservation Protocol)."""
    if reserved(response.get_all(b"tdm-reservation")):
        return "tdm-reservation: 1"
    return ", ".join(sorted(opt_outs(response.get_all(b"x-robots-tag"), token))) or None
