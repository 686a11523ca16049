"""A URL taken apart once. The same parts are vetted, connected to and sent, so that no two parsers can disagree."""

import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urljoin, urlsplit

#: Longer ones are refused: servers take 8 kB as a rule, and nothing below the limits of memory needs more.
MAX_URL = 8192

#: The "bad ports" of the WHATWG Fetch standard, 2.9.
_NOT_THE_WEB = frozenset(
    (
        1,
        7,
        9,
        11,
        13,
        15,
        17,
        19,
        20,
        21,
        22,
        23,
        25,
        37,
        42,
        43,
        53,
        69,
        77,
        79,
        87,
        95,
        101,
        102,
        103,
        104,
        109,
        110,
        111,
        113,
        115,
        117,
        119,
        123,
        135,
        137,
        139,
        143,
        161,
        179,
        389,
        427,
        465,
        512,
        513,
        514,
        515,
        526,
        530,
        531,
        532,
        540,
        548,
        554,
        556,
        563,
        587,
        601,
        636,
        989,
        990,
        993,
        995,
        1719,
        1720,
        1723,
        2049,
        3659,
        4045,
        4190,
        5060,
        5061,
        6000,
        6566,
        6665,
        6666,
        6667,
        6668,
        6669,
        6679,
        6697,
        10080,
    )
)

_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
#: Kept as they are in a path or a query; `%` because it stands before what is escaped already.
_SAFE = "/%:@!$&'()*+,;=~-._?[]|^{}`"


class BadUrl(Exception):
    """Not an http(s) URL that can be requested."""


@dataclass(frozen=True)
class Target:
    """Where a request goes: scheme, host (ASCII, lower case, an IPv6 literal without brackets), port, and path with query."""

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
        """Where a redirect leads. Headers are read as Latin-1; many servers write UTF-8 into this one."""
        try:
            location = location.encode("latin-1").decode("utf-8")
        except UnicodeError:
            pass  # it was Latin-1, or is text already
        return parse(urljoin(self.url, location.strip()))


def parse(url: str | None) -> Target:
    """The parts of a URL; a user name, a password and a fragment are left out. Raises BadUrl.

    A port at which something else than the web listens (mail, SSH, DNS ...) is refused, as browsers refuse it.
    """
    url = (url or "").strip()
    if not url or len(url) > MAX_URL:
        raise BadUrl(f"{len(url)} characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise BadUrl(str(e)) from e
    if parts.scheme not in ("http", "https"):
        raise BadUrl(f"scheme {parts.scheme!r}")
    if _CONTROL.search(parts.netloc) or any(c in url for c in "\r\n\t\0"):
        raise BadUrl("a blank, a control character or a backslash where none may be")
    port = port if port is not None else 443 if parts.scheme == "https" else 80
    if not 0 < port <= 65535 or port in _NOT_THE_WEB:
        raise BadUrl(f"port {port}")
    path = quote(parts.path or "/", _SAFE, errors="replace")
    query = "?" + quote(parts.query, _SAFE, errors="replace") if parts.query else ""
    return Target(parts.scheme, _host(host), port, path + query)


def _host(host: str) -> str:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host.partition("%")[0]).compressed
        except ValueError as e:
            raise BadUrl(str(e)) from e
    if not host.isascii():
        try:
            host = host.encode("idna").decode().lower()
        except UnicodeError as e:
            raise BadUrl(f"host {host!r}: {e}") from e
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise BadUrl(f"host {host!r}")
    return host
