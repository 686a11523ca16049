"""Filter by a list of blocked domains and URLs."""

import copy
import logging
import re
from dataclasses import dataclass

import pyarrow as pa

from curate.errors import RecipeError
from curate.fetch.url import BadUrl, parse
from curate.models import file_sha256, weights_file
from curate.sources.lines import bare, lines, unwrapped
from curate.stage import Filter
from curate.web.url import comparable

log = logging.getLogger(__name__)

_COMMENT = re.compile(r"(?:^|\s)#")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


@dataclass
class UrlBlocklist(Filter):
    """1 where the URL, its host or a domain above it is on the list, else 0. A rule before any fetch: lists of adult sites, of
    opt-outs, of sites whose terms forbid it (OBELICS and OmniCorpus use such lists).

    list: a text file, one domain or whole URL a line; `#` at its start or after a blank begins a comment, and the address that a
    hosts file puts before a domain is passed over. `example.org` means `www.example.org` too, but not `anexample.org`. Both
    sides are compared as web.url.comparable spells them; a URL that Fetch would refuse scores 0. Lines that are neither
    are counted in a warning; a list without any other is a RecipeError.
    """

    reads = ("url",)
    dtype = pa.int32()
    unit = "0 or 1"
    max: float | None = 0
    version = 3

    list: str = ""

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.list)))}"}

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        file = str(weights_file(self.name, self.list))
        found, wrong = entries(lines(file))
        if wrong:
            message = f"{self.name}: {file}: {len(wrong):,} lines are neither a domain nor a URL, first line {wrong[0]}"
            if not found:
                raise RecipeError(message)
            log.warning("%s", message)
        self._listed = frozenset(found)
        self._urls = any("/" in entry for entry in found)

    def run(self, live: pa.Table) -> pa.Table:
        found = [None if u is None else int(self._is_blocked(u)) for u in live["url"].to_pylist()]
        return pa.table({self.name: pa.array(found, self.dtype)})

    def _is_blocked(self, url: str) -> bool:
        try:
            target = parse(url)
        except BadUrl:
            return False  # never requested
        parts = target.host.rstrip(".").split(".")
        above = (".".join(parts[i:]) for i in range(len(parts)))
        return not self._listed.isdisjoint(above) or (self._urls and comparable(url) in self._listed)


def entries(listed: list[str]) -> tuple[list[str], list[str]]:
    """Parse a list: its domains and normalised URLs, and the invalid lines with their numbers."""
    found, wrong = [], []
    for number, line in enumerate(listed, 1):
        words = _COMMENT.split(bare(line), maxsplit=1)[0].split()
        word = unwrapped(words[-1]) if words else ""
        if not word:
            continue
        try:
            found.append(_entry(word))
        except BadUrl:
            wrong.append(f"{number}: {line[:80]!r}")
    return found, wrong


def _entry(word: str) -> str:
    """A domain, or a normalised URL. Raises BadUrl."""
    if _SCHEME.match(word):
        parse(word)
        return comparable(word)
    url = f"http://{word.strip('.').removeprefix('*.')}"
    target = parse(url)
    return target.host.rstrip(".") if target.path == "/" else comparable(url)
