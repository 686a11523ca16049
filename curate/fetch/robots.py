"""Parser and matcher of robots.txt (RFC 9309): the paths of a host that one robot may request.

Files are untrusted: parsing takes time and memory linear in their size, only the rules of the one robot are kept, in flat arrays,
and a path is matched in bounded time.
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

#: Bytes of a robots.txt that are parsed; RFC 9309, 2.5 requires at least 500 KiB.
ROBOTS_BYTES = 512 << 10
#: Most characters compared for patterns with wildcards; a file that needs more disallows the path.
MAX_WORK = 1 << 20
#: Characters counted for a pattern with a wildcard, in addition to the path's length.
_WORK_PER_PATTERN = 64

#: Invisible characters stripped around a token: blanks, byte order marks, zero-width characters, Latin-1's no-break space.
_BLANK = " \t\v\f\x1a\x1b\x85\xa0\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\udca0"
_LINE = re.compile(
    rf"^[{_BLANK}]*+(user[-_ ]?agent|allow|disallow|dissallow|dissalow|disalow|diasllow|disallaw)(?:[{_BLANK}]*+:|[{_BLANK}])(.*)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = re.compile(rf"[{_BLANK},\"']+")
#: Bytes that no text has (WHATWG MIME Sniffing, "binary data byte", except 1A, end of file, and 1B, escape).
_BINARY = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f]")
_STARS = re.compile(r"\*{2,}")
_QUOTED = [chr(byte) if 0x20 < byte < 0x7F or byte == 0x0A else f"%{byte:02X}" for byte in range(256)]
#: Characters that equal their percent-encoding (RFC 9309, 2.2.2), reserved ones too; not path delimiters and wildcards.
_UNESCAPED = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("%?#*$")


class Patterns:
    """An index of path patterns: those without a wildcard sorted in one string, those with one in another.

    A pattern's final `$` matches the `$` appended to the path; all other `$` and `*` of paths are escaped.
    """

    def __init__(self, patterns: Iterable[str]):
        plain: dict[str, bool] = {}
        wild: set[str] = set()
        for pattern in patterns:
            if "*" not in pattern:
                plain.setdefault(pattern, False)
            elif pattern.index("*") == len(pattern) - 1:
                plain[pattern[:-1]] = True  # a prefix, counted one character longer
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
        """Approximate size in bytes."""
        return len(self.text) + len(self.starred) + self.ends.itemsize * len(self.ends) + len(self.wild)

    def longest(self, path: str) -> int:
        """Length of the longest pattern that matches a path (which ends in `$`), or 0."""
        best = self._longest_prefix(path)
        for pattern in self.wild.split("\n") if self.wild else ():
            if len(pattern) <= best:
                break
            if _matches(pattern, path):
                return len(pattern)
        return best

    def _longest_prefix(self, path: str) -> int:
        while path:
            at = bisect_right(range(len(self.starred)), path, key=self._pattern) - 1
            if at < 0:
                return 0
            found = self._pattern(at)
            if path.startswith(found):
                return len(found) + self.starred[at]
            path = path[: _common_prefix(path, found)]  # nothing longer can match
        return 0

    def _pattern(self, index: int) -> str:
        return self.text[self.ends[index] : self.ends[index + 1]]


def _matches(pattern: str, path: str) -> bool:
    """Whether a pattern with `*` matches a path: greedily, each literal at its leftmost position, which leaves the most room."""
    head, *literals = pattern.split("*")
    if not path.startswith(head):
        return False
    at = len(head)
    for literal in literals:
        at = path.find(literal, at)
        if at < 0:
            return False
        at += len(literal)
    return True


def _common_prefix(one: str, other: str) -> int:
    """Length of the common prefix, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def normalized(values: Iterable[str]) -> Iterator[str]:
    """Patterns normalised for comparison with paths, without empty ones and those longer than any URL."""
    text = "\n".join(values)
    if not text.isascii() or " " in text or "\t" in text:
        text = "".join(map(_QUOTED.__getitem__, text.encode("utf-8", "surrogateescape")))
    text = normalized_escapes(text, _UNESCAPED)
    if "**" in text:
        text = _STARS.sub("*", text)
    for pattern in text.split("\n"):
        if "$" in pattern:
            pattern = pattern[:-1].replace("$", "%24") + pattern[-1]
        if pattern and len(pattern) - pattern.count("*") <= MAX_URL:
            yield pattern if pattern[0] in "/*" else "/" + pattern


class Rules:
    """The rules of a host for one robot: the longest matching pattern decides, `allow` on a tie (RFC 9309, 2.2.2)."""

    def __init__(self, allow: Iterable[str] = (), disallow: Iterable[str] = ()):
        self.allow, self.disallow = Patterns(normalized(allow)), Patterns(normalized(disallow))

    @property
    def size(self) -> int:
        return self.allow.size + self.disallow.size

    def allows(self, path: str) -> bool:
        """Whether a path (percent-encoded, with the query) may be requested."""
        if not len(self.disallow) or path == "/robots.txt":
            return True
        if (self.allow.wildcards + self.disallow.wildcards) * (len(path) + _WORK_PER_PATTERN) > MAX_WORK:
            return False
        path = normalized_escapes(path, _UNESCAPED).replace("*", "%2A").replace("$", "%24") + "$"
        return self.allow.longest(path) >= self.disallow.longest(path)


ALLOW_ALL, DISALLOW_ALL = Rules(), Rules(disallow=("/",))


def parse(text: str, robot: str) -> Rules:
    """The rules of a robots.txt for a robot: those of all groups that name it, else of the groups for `*`."""
    robot, named = robot.lower(), False
    own: dict[str, list[str]] = {"a": [], "d": []}
    general: dict[str, list[str]] = {"a": [], "d": []}
    in_agents, groups = False, []
    for line in _LINE.finditer(text.replace("\r\n", "\n").replace("\r", "\n")):
        kind, value = line[1][0].lower(), line[2].partition("#")[0].strip(_BLANK)
        if kind == "u":
            if not in_agents:
                in_agents, groups = True, []
            if "*" in value or robot in value.lower():
                names = {name.partition("/")[0] for name in _NAMES.split(value.lower())}
                groups += [rules for rules, name in ((own, robot), (general, "*")) if name in names]
                named = named or robot in names
            continue
        in_agents = False
        for rules in groups:
            rules[kind].append(value)
    return Rules(*(own if named else general).values())


def read(body: bytes, coding: str | None, robot: str) -> Rules:
    """The rules in the body of a robots.txt; DISALLOW_ALL if it is not text, or its Content-Encoding cannot be decoded."""
    text = decoded(body, coding)
    return DISALLOW_ALL if text is None else parse(text, robot)


def ai_txt(body: bytes, coding: str | None, robot: str) -> Rules:
    """The rules in the body of an ai.txt (format of robots.txt); ALLOW_ALL if it is not text."""
    text = decoded(body, coding)
    return ALLOW_ALL if text is None else parse(text, robot)


def tdmrep(body: bytes, coding: str | None, robot: str) -> Rules:
    """The rules in the body of a tdmrep.json: a list of `location` patterns, as in robots.txt, each with `tdm-reservation` 0 or 1; the
    longest match decides. ALLOW_ALL if it is not such a list."""
    try:
        entries = json.loads(decoded(body, coding) or "null")
    except (ValueError, RecursionError):
        return ALLOW_ALL
    found: dict[bool, list[str]] = {False: [], True: []}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("location"), str):
            found[str(entry.get("tdm-reservation")) == "1"].append(entry["location"])
    return Rules(found[False], found[True])


def decoded(body: bytes, coding: str | None) -> str | None:
    """The text of a robots.txt body, cut to whole lines within ROBOTS_BYTES; None if it is binary or cannot be decoded. Bytes that are
    not UTF-8 (comments of older files) become surrogates."""
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
    """A body decompressed from its one coding, up to ROBOTS_BYTES; None for other codings and for corrupt or truncated bodies."""
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(codings[0], ()) if len(codings) == 1 else ()
    for window in windows:
        try:
            inflate = zlib.decompressobj(window)
            found = inflate.decompress(body, ROBOTS_BYTES)
        except zlib.error:
            continue
        return found if inflate.eof or len(found) == ROBOTS_BYTES else None
    return None
