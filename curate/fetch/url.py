"""Parse a URL by the WHATWG standard into the target of a request.

The same parts are checked, connected to and sent, so that two parsers cannot disagree.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from curate.web import url as web

#: Characters of the longest URL accepted; most servers accept 8 kB at most.
MAX_URL = 8192

#: The "bad ports" of the WHATWG Fetch standard, 2.9.
_BAD_PORTS = """
1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123
135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993
995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
_BAD_PORT_NUMBERS = frozenset(map(int, _BAD_PORTS.split()))

#: A name that DNS can hold, or an IPv4 address.
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")


class BadUrl(Exception):
    """Not an http(s) URL that can be requested."""


@dataclass(frozen=True)
class Target:
    """The target of a request: scheme, host (ASCII, lower case, an IPv6 literal without brackets), port, and path with query."""

    scheme: str
    host: str
    port: int
    path: str

    @cached_property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @cached_property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @cached_property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def join(self, location: str) -> "Target":
        """The target of a redirect's Location header, read as UTF-8 where it is (many servers send that), else Latin-1. Raises BadUrl."""
        try:
            location = location.encode("latin-1").decode("utf-8")
        except UnicodeError:
            pass  # it was Latin-1, or is text already
        if len(location) > MAX_URL:
            raise BadUrl(f"{len(location)} characters")
        try:
            return parse(web.join(self.url, location))
        except ValueError as e:
            raise BadUrl(f"{location[:200]!r}: not a URL") from e


def parse(url: str | None) -> Target:
    """Parse an http(s) URL, without user name, password and fragment. Raises BadUrl.

    The "bad ports" of the WHATWG Fetch standard (mail, SSH, DNS ...) are refused, as in browsers.
    """
    if not url or len(url) > MAX_URL:
        raise BadUrl(f"{len(url or '')} characters")
    try:
        scheme, host, port, path = web.split(url)
    except ValueError as e:
        raise BadUrl(f"{url[:200]!r}: not a URL") from e
    if scheme not in ("http", "https"):
        raise BadUrl(f"scheme {scheme!r}")
    port = port if port is not None else 443 if scheme == "https" else 80
    if not port or port in _BAD_PORT_NUMBERS:
        raise BadUrl(f"port {port}")
    if ":" not in host and (len(host) > 253 or not _HOST.fullmatch(host)):
        raise BadUrl(f"host {host!r}")
    if len(path) > MAX_URL:
        raise BadUrl(f"a path of {len(path)} characters")
    return Target(scheme, host, port, path)
