"""Alternative URLs of an image (sizes and copies that a page lists), tried in order when one fails."""

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.types as pt

from curate.fetch.crawl import HOST_FAILURES
from curate.web.url import site

#: Outcomes after which the next URL is tried. Not where the owner, the operator or a takedown refused the picture, since other sizes
#: show the same one; nor where a host is rate limiting.
TRY_NEXT = frozenset(
    "bad_url private_address dns refused connection tls timeout http_401 http_403 http_404 http_410 http_4xx http_5xx http_other "
    "bad_response too_many_redirects bad_redirect bad_encoding too_large truncated empty not_an_image broken_image "
    "too_many_pixels".split()
)

Columns = dict[str, list]


def candidates(live: pa.Table) -> list[list[str]]:
    """Each row's alternative URLs, best first, from the column `candidates`; empty lists without such a column."""
    if "candidates" not in live.column_names:
        return [[] for _ in range(len(live))]
    kind = live["candidates"].type
    if not (pt.is_list(kind) or pt.is_large_list(kind)) or not (
        pt.is_string(kind.value_type) or pt.is_large_string(kind.value_type)
    ):
        return [[] for _ in range(len(live))]
    pairs = zip(live["url"].to_pylist(), live["candidates"].to_pylist())
    return [[c for c in dict.fromkeys(named or ()) if c and c != url] for url, named in pairs]


def fetch_candidates(
    found: Columns, urls: list[str | None], further: list[list[str]], fetch: Callable[[dict[str, list[int]]], Columns]
) -> None:
    """Fetch the next URL of each failed row until one succeeds or none remains; a success overwrites the row's values in `found`.

    fetch: from the rows of each URL to the columns of all rows. A row without a success keeps the outcome of its first URL.
    """
    last = {row: (url, found["fetch"][row]) for row, url in enumerate(urls) if further[row]}
    remaining = {row: iter(further[row]) for row in last}
    while remaining:
        requested: dict[str, list[int]] = {}
        for row in list(remaining):
            url = _next(*last[row], remaining[row])
            if url is None:
                del remaining[row]
            else:
                requested.setdefault(url, []).append(row)
        if not requested:
            return
        fetched = fetch(requested)
        for url, rows in requested.items():
            for row in rows:
                last[row] = url, fetched["fetch"][row]
                if fetched["fetch"][row] == "ok":
                    for name, values in found.items():
                        values[row] = fetched[name][row]


def _next(url: str | None, outcome: str | None, remaining: Iterator[str]) -> str | None:
    """The next URL to try after this outcome, or None; after a failure of the host none of the same site."""
    if outcome not in TRY_NEXT:
        return None
    return next((u for u in remaining if outcome not in HOST_FAILURES or site(u) != site(url)), None)
