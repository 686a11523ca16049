"""Further addresses of an image, tried in their order when one fails: a page names several sizes and copies of one picture."""

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.types as pt

from curate.fetch.crawl import DEAD
from curate.web.url import site

#: Outcomes after which another address of the same picture is worth a request. Not where the owner, an operator or a takedown refused
#: the picture: its other sizes are the same picture; nor where a host asks for fewer requests.
MOVES_ON = frozenset(
    "bad_url private_address dns refused connection tls timeout http_401 http_403 http_404 http_410 http_4xx http_5xx http_other "
    "bad_response too_many_redirects bad_redirect bad_encoding too_large truncated empty not_an_image broken_image "
    "too_many_pixels".split()
)

Columns = dict[str, list]


def candidates(live: pa.Table) -> list[list[str]]:
    """For each row its further addresses, best first; none where the source names none."""
    if "candidates" not in live.column_names:
        return [[] for _ in range(len(live))]
    kind = live["candidates"].type
    if not (pt.is_list(kind) or pt.is_large_list(kind)) or not (
        pt.is_string(kind.value_type) or pt.is_large_string(kind.value_type)
    ):
        return [[] for _ in range(len(live))]
    pairs = zip(live["url"].to_pylist(), live["candidates"].to_pylist())
    return [[c for c in dict.fromkeys(named or ()) if c and c != url] for url, named in pairs]


def move_on(
    found: Columns, urls: list[str | None], further: list[list[str]], fetch: Callable[[dict[str, list[int]]], Columns]
) -> None:
    """Ask for the next address of each row whose last one failed, until none is left; what arrives replaces the failure in `found`.

    fetch: fetches addresses for rows (by address, the rows that wait for it), and gives the columns of all rows. A row of which no
    address gives an image keeps the outcome of its first one.
    """
    last = {row: (url, found["fetch"][row]) for row, url in enumerate(urls) if further[row]}
    left = {row: iter(further[row]) for row in last}
    while left:
        asked: dict[str, list[int]] = {}
        for row in list(left):
            url = _next(*last[row], left[row])
            if url is None:
                del left[row]
            else:
                asked.setdefault(url, []).append(row)
        if not asked:
            return
        got = fetch(asked)
        for url, rows in asked.items():
            for row in rows:
                last[row] = url, got["fetch"][row]
                if got["fetch"][row] == "ok":
                    for name, values in found.items():
                        values[row] = got[name][row]


def _next(url: str | None, outcome: str | None, left: Iterator[str]) -> str | None:
    """The next address after one with this outcome. A host that does not answer is not asked for another file."""
    if outcome not in MOVES_ON:
        return None
    return next((u for u in left if outcome not in DEAD or site(u) != site(url)), None)
