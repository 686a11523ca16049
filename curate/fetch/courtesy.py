"""What an owner says about robots: robots.txt, asked once for each origin, and opt-outs in a response's headers."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from curate.fetch.failure import Failed, drop
from curate.fetch.robots import EVERYTHING, NOTHING, Rules, ai_txt, read, tdmrep
from curate.fetch.url import Target
from curate.fetch.wire import Response
from curate.web.headers import opt_outs, reserved

#: Failures of the host itself, or a wish to be asked later: they are the answer for all of its URLs.
_UNREACHABLE = frozenset(("dns", "private_address", "refused", "connection", "tls", "timeout", "http_429"))

#: Bytes of rules that are remembered; beyond, those that were not needed for longest are asked for again.
KEPT = 64 << 20
#: Bytes of a robots.txt that is read at once; the event loop does not wait for a larger one.
_SHORT = 10_000

Origin = tuple[str, str, int]


class Robots:
    """robots.txt by origin, asked for once and remembered as long as this lives (a part: well below RFC 9309's day).

    A 4xx (there is none) allows everything, and so does a chain of too many redirects. What cannot be read allows nothing: a 5xx,
    a body that is cut short, is not text or in a coding that cannot be undone, an answer that is not HTTP. A host that
    cannot be reached, or says that it is busy (429), fails for that reason.
    """

    outcome = "robots"

    def __init__(self, get: Callable[[Target], Awaitable[Response]], token: str):
        self.get, self.token = get, token
        self.known: OrderedDict[Origin, asyncio.Future[Rules]] = OrderedDict()
        self.held = 0

    async def check(self, target: Target) -> None:
        """Raises Failed: `robots`, or why the host cannot be reached."""
        if target.origin not in self.known:
            self.known[target.origin] = asyncio.ensure_future(self._load(target))
        self.known.move_to_end(target.origin)
        loading = self.known[target.origin]
        try:
            rules = await asyncio.shield(loading)
        except Exception:
            if self.known.get(target.origin) is loading:
                del self.known[target.origin]  # the next URL tries again
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
            return EVERYTHING if missing or e.outcome == "too_many_redirects" else NOTHING
        coding = ",".join(response.all(b"content-encoding"))
        if len(response.body) <= _SHORT and not coding:
            rules = read(response.body, coding, self.token)
        else:
            rules = await asyncio.to_thread(read, response.body, coding, self.token)
        self._make_room(rules.size)
        return rules

    def _make_room(self, size: int) -> None:
        self.held += size
        for origin, loaded in list(self.known.items()) if self.held > KEPT else ():
            if self.held <= KEPT:
                return
            if loaded.done() and not loaded.cancelled() and loaded.exception() is None:
                self.held -= loaded.result().size
                del self.known[origin]

    def close(self) -> None:
        drop(self.known.values())


class Reservations(Robots):
    """What origins reserve of text and data mining, asked for as robots.txt is: `/.well-known/tdmrep.json` (W3C's TDM Reservation
    Protocol) and `/ai.txt` (Spawning's, in the form of robots.txt). What is not there, or cannot be read, reserves nothing."""

    outcome = "opt_out"

    async def _load(self, target: Target) -> Rules:
        found = []
        for path, rules_of in (("/.well-known/tdmrep.json", tdmrep), ("/ai.txt", ai_txt)):
            try:
                response = await self.get(Target(target.scheme, target.host, target.port, path))
            except Failed:
                continue
            coding = ",".join(response.all(b"content-encoding"))
            found.append(await asyncio.to_thread(rules_of, response.body, coding, self.token))
        rules = Every(found)
        self._make_room(rules.size)
        return rules


class Every(Rules):
    """Several rules, all of which must allow a path."""

    def __init__(self, rules: list[Rules]):
        super().__init__()
        self.rules = rules

    @property
    def size(self) -> int:
        return sum(r.size for r in self.rules)

    def allows(self, path: str) -> bool:
        return all(r.allows(path) for r in self.rules)


def opted_out(response: Response, token: str) -> str | None:
    """The words of an opt-out that holds for us, or None. `tdm-reservation: 1` is the W3C's TDM Reservation Protocol."""
    if reserved(response.all(b"tdm-reservation")):
        return "tdm-reservation: 1"
    return ", ".join(sorted(opt_outs(response.all(b"x-robots-tag"), token))) or None
