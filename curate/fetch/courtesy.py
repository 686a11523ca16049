"""What an owner says about robots: robots.txt (RFC 9309), and opt-outs in a response's headers."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable

from protego import Protego

from curate.fetch.failure import Failed, drop
from curate.fetch.url import Target
from curate.fetch.wire import Response

#: RFC 9309, 2.5: at least 500 KiB of a robots.txt must be parsed.
ROBOTS_BYTES = 512 << 10

#: X-Robots-Tag words that forbid training or indexing. img2dataset honours noai, noimageai, noindex and noimageindex.
OPT_OUTS = frozenset(("noai", "noimageai", "noml", "noindex", "noimageindex", "none"))

#: X-Robots-Tag directives with a value behind a colon, where a robot's name has its words; and the one whose value may have a comma.
_VALUED = frozenset(("max-snippet", "max-image-preview", "max-video-preview"))
_DATE = re.compile(r"unavailable_after\s*:[^,]*(?:,\s*\d[^,]*)?")
_ROBOT = re.compile(r"[a-z0-9_*.-]+")

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
        drop(self.known.values())


def opted_out(response: Response, token: str) -> str | None:
    """The words of an opt-out that holds for us, or None. `tdm-reservation: 1` is the W3C's TDM Reservation Protocol."""
    if any(value.strip() == "1" for value in response.all(b"tdm-reservation")):
        return "tdm-reservation: 1"
    return ", ".join(sorted(directives(response.all(b"x-robots-tag"), token) & OPT_OUTS)) or None


def directives(tags: Iterable[str], token: str) -> set[str]:
    """The words of X-Robots-Tag headers that hold for the robot named `token`, in lower case and without dates.

    `X-Robots-Tag: noai` is for all robots, as is `*: noai`; `X-Robots-Tag: curate: noai, noindex` for the named one.
    """
    found = set()
    for tag in tags:
        robot = "*"
        for word in _DATE.sub("", tag.lower()).split(","):
            name, colon, rest = (part.strip() for part in word.partition(":"))
            if colon and name not in _VALUED and _ROBOT.fullmatch(name):
                robot, word = name, rest
            if robot in ("*", token.lower()) and word.strip():
                found.add(word.strip())
    return found
