"""Values of HTTP headers that owners and busy servers send: Retry-After, X-Robots-Tag, tdm-reservation."""

import datetime
import email.utils
import re
from collections.abc import Iterable

#: Words that forbid training or indexing. img2dataset honours noai, noimageai, noindex and noimageindex.
OPT_OUTS = frozenset(("noai", "noimageai", "noml", "noindex", "noimageindex", "none"))

#: Further words of X-Robots-Tag: none of them is a robot's name when a colon follows.
_WORDS = OPT_OUTS | set(
    "all index follow nofollow noarchive nocache nosnippet notranslate indexifembedded noodp noydir unavailableafter "
    "ai imageai".split()
)
_VALUED = frozenset(("maxsnippet", "maximagepreview", "maxvideopreview"))
_TOKEN = re.compile(r"([\w*./+-]+)(\s*[:=])?")
_ROBOT = re.compile(r"[a-z*_][\w.*-]*(?:/.*)?")
_TIME_ZONE = re.compile(r"[a-z]{1,5}[+-]\d{1,2}")
_META = re.compile(r"robots?|x-robots-tag|.*(?:bot|spider|crawler|-ai|-extended)(?:-\w+)?")
_RESERVED = re.compile(r"""(?:^|,)[\s"']*(?:1|true|yes)(?![\w.])""", re.IGNORECASE)

_SECONDS = re.compile(r"\s*(\d+(?:\.\d*)?)\s*(?:[,;]|$)", re.ASCII)
#: Seconds, 30 years: what a server may ask for is a number that can be computed with.
_LONGEST = 1e9


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait, from 0 to 1e9. None if there is none, or it makes no sense.

    RFC 9110, 10.2.3: a number of seconds (some servers write a fraction), or a date; `now` is the time in seconds since 1970.
    """
    if not value:
        return None
    if number := _SECONDS.match(value):
        return min(float(number[1][:32]), _LONGEST)
    try:
        date = email.utils.parsedate_to_datetime(value)
        # One of the three forms of an HTTP date has no time zone: it is UTC.
        date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
        return min(max(0.0, date.timestamp() - now), _LONGEST)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def opt_outs(tags: Iterable[str], robot: str | None = None) -> set[str]:
    """The words of OPT_OUTS in X-Robots-Tag headers, or in the content of `<meta name=robots>`, that hold for a robot.

    `noai, noindex` is for all robots, as is `*: noai`; `somebot: noai` for the robot of that name. robot: None counts the
    words for any robot. Words are found whatever divides them, in any case, with or without hyphens; values (as in
    `max-image-preview: none`) and dates are passed over.
    """
    found: set[str] = set()
    for tag in tags:
        concerned, value = True, False
        for token, mark in _TOKEN.findall(tag.lower()):
            word = token.replace("-", "").replace("_", "")
            if value:
                value = False
            elif word in _WORDS:
                if concerned:
                    found.add(word)
            elif mark and (mark.endswith("=") or word in _VALUED):
                value = True
            elif mark and _ROBOT.fullmatch(token) and not _TIME_ZONE.fullmatch(token):
                concerned = robot is None or token.partition("/")[0] in ("*", "robots", robot.lower())
    return found & OPT_OUTS


def for_robots(meta: str) -> bool:
    """Whether the content of a `<meta>` with this name is for robots: `robots`, or the name of one."""
    return _META.fullmatch(meta.lower()) is not None


def reserved(values: Iterable[str]) -> bool:
    """Whether tdm-reservation, a header or a `<meta>`, is 1: rights of text and data mining are reserved (W3C's TDMRep)."""
    return any(_RESERVED.search(value) for value in values)
