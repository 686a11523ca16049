"""URLs by the WHATWG standard (https://url.spec.whatwg.org): the only place where one is taken apart.

Hosts are mapped by UTS 46, non-transitional, as browsers and curl map them: `faß.de` is `xn--fa-hia.de`. An IPv4 address has
one spelling, whatever base its numbers were written in.
"""

import re
from typing import Any, NamedTuple

import ada_url

_PARTS = ("protocol", "hostname", "port", "pathname", "search")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
#: Printable ASCII means the same whether or not it is percent-encoded, but for the characters that divide a URL.
_PLAIN = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("%/?#&=+;")


class Url(NamedTuple):
    """The parts of a URL. A user name, a password and a fragment are left out: they are never sent.

    host: ASCII, in lower case; an IPv6 address without brackets; "" where there is none. port: None if it is the scheme's own.
    path: with the query, percent-encoded.
    """

    scheme: str
    host: str
    port: int | None
    path: str


def split(url: str) -> Url:
    """The parts of an absolute URL, of any scheme. Raises ValueError if it is none."""
    found: dict[str, Any] = {**ada_url.parse_url(scalar(url), attributes=_PARTS)}
    host, port = found["hostname"], found["port"]
    host = host[1:-1] if host.startswith("[") else host
    return Url(found["protocol"][:-1], host, int(port) if port else None, found["pathname"] + found["search"])


def join(base: str, reference: str) -> str:
    """The absolute URL that a reference on a page at `base` leads to. Raises ValueError if there is none."""
    return ada_url.join_url(base, scalar(reference))


def site(url: str | None) -> str | None:
    """The host of a URL without `www.` and without the dot at the end of a full name; None if it has no host."""
    try:
        host = ada_url.parse_url(scalar(url), attributes=("hostname",)).get("hostname", "") if url else ""
    except ValueError:
        return None
    return host.strip("[]").lower().rstrip(".").removeprefix("www.") or None


def comparable(url: str) -> str:
    """What two spellings of one address have in common: host, port unless it is the scheme's own, path and query.

    http and https are one, and so is what is percent-encoded and what is not, but for the characters that divide a URL. Text
    that is no URL is compared as it is.
    """
    try:
        parts = split(url)
    except ValueError:
        return url.strip()
    port = "" if parts.port is None else f":{parts.port}"
    return f"//{parts.host.rstrip('.')}{port}{normalized_escapes(parts.path)}"


def normalized_escapes(path: str, plain: frozenset[str] = _PLAIN) -> str:
    """A path in which the characters of `plain` are themselves, and all other escapes are in upper case."""
    if "%" not in path:
        return path

    def one(escape: re.Match[str]) -> str:
        character = chr(int(escape[1], 16))
        return character if character in plain else escape[0].upper()

    return _ESCAPE.sub(one, path)


def scalar(text: str) -> str:
    """Text with U+FFFD in place of lone surrogates, which no encoding of Unicode can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
