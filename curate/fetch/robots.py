"""robots.txt as RFC 9309 reads it: which paths of a host one robot may ask for.

A file is a stranger's, so reading it takes time and memory in proportion to its size whatever it holds: only the rules for the
one robot are kept, flat, and a path is matched against them in bounded time.
"""

import json
import re
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from curate.fetch.url import MAX_URL
from curate.web.url import normalized_escapes

#: Bytes of a robots.txt that are read; RFC 9309, 2.5 wants at least 500 KiB.
ROBOTS_BYTES = 512 << 10
#: A path is matched against at most so many characters of wildcards' work; a file that takes more forbids the path.
MAX_WORK = 1 << 20
#: Characters of work that any pattern with a wildcard takes, besides one for each of the path's.
_EACH = 64

#: What may stand around a word and is not seen: blanks, byte order marks, zero-width characters, a blank of Latin-1.
_BLANK = " \t\v\f\x1a\x1b\x85\xa0\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\udca0"
_LINE = re.compile(
    rf"^[{_BLANK}]*+(user[-_ ]?agent|allow|disallow|dissallow|dissalow|disalow|diasllow|disallaw)(?:[{_BLANK}]*+:|[{_BLANK}])(.*)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = re.compile(rf"[{_BLANK},\"']+")
#: What no text has (WHATWG MIME Sniffing, "binary data byte", but for the two that end files and begin escapes).
_BINARY = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f]")
_STARS = re.compile(r"\*{2,}")
_QUOTED = [chr(byte) if 0x20 < byte < 0x7F or byte == 0x0A else f"%{byte:02X}" for byte in range(256)]
#: RFC 9309, 2.2.2: what may be escaped or not is the same, also if it is reserved; but for what divides a path, and wildcards.
_PLAIN = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("%?#*$")


class Patterns:
    """Path patterns of one kind. Those without a wildcard are kept sorted in one string, those with one in another.

    A `$` at the end of a pattern is looked for in the path with a `$` behind it: all other `$` and `*` of paths are escaped.
    """

    def __init__(self, patterns: Iterable[str]):
        plain: dict[str, bool] = {}
        wild: set[str] = set()
        for pattern in patterns:
            if "*" not in pattern:
                plain.setdefault(pattern, False)
            elif pattern.index("*") == len(pattern) - 1:
                plain[pattern[:-1]] = True  # a prefix like any other, one character longer
            else:
                wild.add(pattern)
        ordered = sorted(plain)
        self.text, self.starred = "".join(ordered), bytes(plain[p] for p in ordered)
        self.ends = array("I", accumulate(map(len, ordered), initial=0))
        self.wildcards, self.wild = len(wild), "\n".join(sorted(sorted(wild), key=len, reverse=True))

    def __len__(self) -> int:
        return len(self.starred) + self.wildcards

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.text) + len(self.starred) + self.ends.itemsize * len(self.ends) + len(self.wild)

    def longest(self, path: str) -> int:
        """Length of the longest pattern that matches a path, which ends in `$`; 0 if none does."""
        best = self._longest_prefix(path)
        for pattern in self.wild.split("\n") if self.wild else ():
            if len(pattern) <= best:
                break
            if _matches(pattern, path):
                return len(pattern)
        return best

    def _longest_prefix(self, path: str) -> int:
        while path:
            at = bisect_right(range(len(self.starred)), path, key=self._at) - 1
            if at < 0:
                return 0
            found = self._at(at)
            if path.startswith(found):
                return len(found) + self.starred[at]
            path = path[: _common(path, found)]  # nothing longer can match
        return 0

    def _at(self, index: int) -> str:
        return self.text[self.ends[index] : self.ends[index + 1]]


def _matches(pattern: str, path: str) -> bool:
    """Each piece between wildcards as far left as it goes: the pieces before it then leave the most room."""
    head, *pieces = pattern.split("*")
    if not path.startswith(head):
        return False
    at = len(head)
    for piece in pieces:
        at = path.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _common(one: str, other: str) -> int:
    """Characters with which both begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def normalized(values: Iterable[str]) -> Iterator[str]:
    """Patterns as they are compared with paths; without those that are empty, or longer than any path."""
    text = "\n".join(values)
    if not text.isascii() or " " in text or "\t" in text:
        text = "".join(map(_QUOTED.__getitem__, text.encode("utf-8", "surrogateescape")))
    text = normalized_escapes(text, _PLAIN)
    if "**" in text:
        text = _STARS.sub("*", text)
    for pattern in text.split("\n"):
        if "$" in pattern:
            pattern = pattern[:-1].replace("$", "%24") + pattern[-1]
        if pattern and len(pattern) - pattern.count("*") <= MAX_URL:
            yield pattern if pattern[0] in "/*" else "/" + pattern


class Rules:
    """What a robot may ask a host for: the longest matching pattern decides, `allow` where two are as long."""

    def __init__(self, allow: Iterable[str] = (), disallow: Iterable[str] = ()):
        self.allow, self.disallow = Patterns(normalized(allow)), Patterns(normalized(disallow))

    @property
    def size(self) -> int:
        return self.allow.size + self.disallow.size

    def allows(self, path: str) -> bool:
        """path: percent-encoded, with the query."""
        if not len(self.disallow) or path == "/robots.txt":
            return True
        if (self.allow.wildcards + self.disallow.wildcards) * (len(path) + _EACH) > MAX_WORK:
            return False
        path = normalized_escapes(path, _PLAIN).replace("*", "%2A").replace("$", "%24") + "$"
        return self.allow.longest(path) >= self.disallow.longest(path)


EVERYTHING, NOTHING = Rules(), Rules(disallow=("/",))


def parse(text: str, robot: str) -> Rules:
    """The rules for the robot of this name: those of all groups that name it, else those for `*`."""
    robot, named = robot.lower(), False
    mine: dict[str, list[str]] = {"a": [], "d": []}
    general: dict[str, list[str]] = {"a": [], "d": []}
    naming, concerned = False, []
    for line in _LINE.finditer(text.replace("\r\n", "\n").replace("\r", "\n")):
        kind, value = line[1][0].lower(), line[2].partition("#")[0].strip(_BLANK)
        if kind == "u":
            if not naming:
                naming, concerned = True, []
            if "*" in value or robot in value.lower():
                names = {name.partition("/")[0] for name in _NAMES.split(value.lower())}
                concerned += [rules for rules, name in ((mine, robot), (general, "*")) if name in names]
                named = named or robot in names
            continue
        naming = False
        for rules in concerned:
            rules[kind].append(value)
    return Rules(*(mine if named else general).values())


def read(body: bytes, coding: str | None, robot: str) -> Rules:
    """The rules in the body of a robots.txt. Nothing is allowed if it is not text, or its Content-Encoding cannot be undone."""
    text = decoded(body, coding)
    return NOTHING if text is None else parse(text, robot)


def ai_txt(body: bytes, coding: str | None, robot: str) -> Rules:
    """The rules in the body of an ai.txt, which has the form of a robots.txt; what is not text has none."""
    text = decoded(body, coding)
    return EVERYTHING if text is None else parse(text, robot)


def tdmrep(body: bytes, coding: str | None, robot: str) -> Rules:
    """The rules in the body of a tdmrep.json: a list of locations, patterns as in robots.txt, each with `tdm-reservation` 0 or 1; of
    several that match the longest decides. What is not such a list has none."""
    try:
        entries = json.loads(decoded(body, coding) or "null")
    except (ValueError, RecursionError):
        return EVERYTHING
    found: dict[bool, list[str]] = {False: [], True: []}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("location"), str):
            found[str(entry.get("tdm-reservation")) == "1"].append(entry["location"])
    return Rules(found[False], found[True])


def decoded(body: bytes, coding: str | None) -> str | None:
    """The text of a robots.txt, at most ROBOTS_BYTES and whole lines of it; None if it is none. Bytes that are not UTF-8, as in
    comments of older files, are kept as surrogates."""
    codings = [c for c in (coding or "").lower().replace(" ", "").split(",") if c not in ("", "identity", "none")]
    if not codings and body[:2] == b"\x1f\x8b":
        codings = ["gzip"]
    inflated = _inflated(body, codings) if codings else body
    if inflated is None:
        return None
    body = inflated
    if len(body) >= ROBOTS_BYTES:
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r"), 0)]
    wide = (
        "utf-32"
        if body[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
        else "utf-16"
        if body[:2] in (b"\xff\xfe", b"\xfe\xff")
        else ""
    )
    text = body.decode(wide or "utf-8", "replace" if wide else "surrogateescape")
    return None if _BINARY.search(text) else text


def _inflated(body: bytes, codings: list[str]) -> bytes | None:
    """A body with its one coding undone, at most ROBOTS_BYTES of it; None if that cannot be done, or the body ends too early."""
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(codings[0], ()) if len(codings) == 1 else ()
    for window in windows:
        try:
            inflate = zlib.decompressobj(window)
            found = inflate.decompress(body, ROBOTS_BYTES)
        except zlib.error:
            continue
        return found if inflate.eof or len(found) == ROBOTS_BYTES else None
    return None
