"""URLs and sites that nobody wants, or that do not want to be taken."""

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.models import file_sha256, weights_file
from curate.stage import Filter

_HOST = re.compile(r"^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)")


@dataclass
class UrlBlocklist(Filter):
    """1 where the URL, its host or a domain above it is on the list, else 0. A rule before any fetch: lists of adult sites, of
    opt-outs, of sites whose terms forbid it (OBELICS and OmniCorpus use such lists).

    list: a text file, one domain or whole URL a line; `#` begins a comment, and the address that a hosts file puts before a
    domain is passed over. `example.org` means `www.example.org` too, but not `anexample.org`.
    """

    reads = ("url",)
    dtype = pa.int32()
    max: float | None = 0

    list: str = ""

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.list)))}"}

    def load(self) -> None:
        self._listed = frozenset(entries(weights_file(self.name, self.list).read_text("utf-8")))

    def run(self, live: pa.Table) -> pa.Table:
        found = [None if u is None else int(self._hit(u)) for u in live["url"].to_pylist()]
        return pa.table({self.name: pa.array(found, self.dtype)})

    def _hit(self, url: str) -> bool:
        host = _HOST.match(url.lower())
        parts = host[1].rstrip(".").split(".") if host else []
        return url in self._listed or any(".".join(parts[i:]) in self._listed for i in range(len(parts)))


def entries(text: str) -> list[str]:
    """The domains (in lower case) and URLs of a list."""
    lines = [line.split("#", 1)[0] if "://" not in line else line for line in text.splitlines()]
    words = [line.split()[-1] for line in lines if line.strip()]
    return [w if "://" in w else w.lower().strip(".").removeprefix("*.") for w in words]
