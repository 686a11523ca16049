"""What an owner says about robots: robots.txt (RFC 9309), and opt-outs in a response's headers."""

import asyncio
from collections.abc import Awaitable, Callable

from protego import Protego

from curate.fetch.failure import Failed
from curate.fetch.url import Target
from curate.fetch.wire import Response

#: RFC 9309, 2.5: at least 500 KiB of a robots.txt must be parsed.
ROBOTS_BYTES = 512 << 10

#: X-Robots-Tag words that forbid training or indexing. img2dataset honours noai, noimageai, noindex and noimageindex.
OPT_OUTS = frozenset(("noai", "noimageai", "noml", "noindex", "noimageindex", "none"))

#: Failures that mean the host itself cannot be reached: they are the answer for all of its URLs.
_UNREACHABLE = frozenset(("dns", "private_address", "refused", "connection", "tls", "timeout"))


class Robots:
    """robots.txt by origin, asked for once and remembered as long as this lives (a part: well below RFC 9309's day).

    A 4xx, or an answer that is no robots.txt, allows everything; a 5xx, or a body that cannot be read, nothing. A host that
    cannot be reached fails for that reason.
    """

    def __init__(self, get: Callable[[Target], Awaitable[Response]], token: str):
        self.get, self.token = get, token
        self.known: dict[tuple[str, str, int], asyncio.Future[Protego | bool]] = {}

    async def check(self, target: Target) -> None:
        """Raises Failed: `robots`, or why the host cannot be reached."""
        if target.origin not in self.known:
            self.known[target.origin] = asyncio.ensure_future(self._load(target))
        try:
            rules = await asyncio.shield(self.known[target.origin])
        except Failed:
            self.known.pop(target.origin, None)  # the next URL tries again
            raise
        if rules is False or (rules is not True and not rules.can_fetch(target.url, self.token)):
            raise Failed("robots", target.url)

    async def _load(self, target: Target) -> Protego | bool:
        try:
            response = await self.get(Target(target.scheme, target.host, target.port, "/robots.txt"))
        except Failed as e:
            if e.outcome in _UNREACHABLE:
                raise
            return e.outcome not in ("http_5xx", "bad_encoding")
        if response.status != 200:
            return not 500 <= response.status < 600
        text = response.body.decode("utf-8", "replace")
        if len(text) < 20_000:
            return Protego.parse(text)
        return await asyncio.to_thread(Protego.parse, text)

    def close(self) -> None:
        for task in self.known.values():
            task.cancel()
            if task.done() and not task.cancelled():
                task.exception()  # seen: a failure is remembered here whether or not anybody waited for it


def opted_out(response: Response, token: str) -> str | None:
    """The words of an opt-out that holds for us, or None.

    `X-Robots-Tag: noai` is for all robots, `X-Robots-Tag: curate: noai` for the named one. `tdm-reservation: 1` is the W3C's
    TDM Reservation Protocol.
    """
    if any(value.strip() == "1" for value in response.all(b"tdm-reservation")):
        return "tdm-reservation: 1"
    for value in response.all(b"x-robots-tag"):
        robot = None
        for word in value.lower().split(","):
            name, colon, rest = word.partition(":")
            if colon and name.strip() not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
                robot, word = name.strip(), rest
            if word.strip() in OPT_OUTS and robot in (None, "*", token):
                return value
    return None
