"""Source PageUrls: lists of page URLs, which are fetched and parsed like the pages of a WARC file."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pyarrow as pa

from curate import schema
from curate.errors import PoolError
from curate.fetch.client import FetchResult
from curate.fetch.stage import Fetch, loop_factory
from curate.source import expand
from curate.sources import warc
from curate.sources.columns import as_text, check_text
from curate.sources.formats import tables
from curate.sources.lines import bare, lines
from curate.sources.warc import Answer
from curate.sources.web_pages import WebPages

#: Pages that are fetched, and held in memory, together.
BATCH = 200


@dataclass
class PageUrls(WebPages):
    """Pages of lists of URLs: text files with one URL a line (`#` begins a comment), or Parquet files with a column `url`.

    Each page is requested once; the result is stored as rows, and a resumed run does not request it again. A page that could not be
    fetched has the reason `page:` and the fetch's outcome (schema.FETCH). robots.txt and opt-outs are honoured unless disabled.
    allow_private, contact, per_host, rate, timeout: as in Fetch.
    """

    asks: ClassVar[bool] = True

    allow_private: tuple[str, ...] = ()
    contact: str = ""
    per_host: int = 2
    rate: float = 1.0
    timeout: float = 30
    robots: bool = True

    def files(self) -> list[str]:
        return expand(self.paths)

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        self.allow_private = networks

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        """The columns of WebPages, and `fetched_at` of documents."""
        return super().adds(table) | ({"fetched_at": schema.FETCHED["fetched_at"]} if table == "documents" else {})

    def identity(self) -> dict[str, Any]:
        """As of WebPages: the crawl parameters do not change the rows."""
        manners = ("allow_private", "contact", "per_host", "rate", "timeout", "robots")
        return {k: v for k, v in super().identity().items() if k not in manners}

    def read(self, file: str, part_size: int, last: int = -1) -> Iterator[dict[str, pa.Table]]:
        return self.parts(file, self.answers(file, last), part_size)

    def answers(self, file: str, last: int = -1) -> Iterator[Answer]:
        """The pages of a list after its row `last`."""
        urls = listed(file)
        for start in range(last + 1, len(urls), BATCH):
            some = urls[start : start + BATCH]
            found = {u: FetchResult("removed") for u in some if self.removed and self.removed.has_url(u)}
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                found |= runner.run(self._fetch([u for u in some if u not in found]))
            for row, url in enumerate(some, start):
                yield self.page(row, url, found[url])

    async def _fetch(self, urls: list[str]) -> dict[str, FetchResult]:
        taken = Taken()
        fetch = Fetch(
            allow_private=tuple(self.allow_private),
            contact=self.contact,
            per_host=self.per_host,
            rate=self.rate,
            timeout=self.timeout,
            robots=self.robots,
            opt_out=self.honor_opt_out,
            max_bytes=self.max_bytes,
        )
        await fetch.crawl(list(dict.fromkeys(urls)), taken, accept="text/html,application/xhtml+xml,*/*;q=0.5")
        return taken.answers

    def page(self, row: int, url: str, found: FetchResult) -> Answer:
        """What came as a page; its address is the one it was found at."""
        asked = datetime.fromtimestamp(found.at, UTC) if found.at else None
        if found.outcome != "ok":
            return Answer(row, url, status=found.status, fetched_at=asked, outcome=found.outcome)
        kind = warc.media_type(found.content_type)
        outcome = warc.judged(found.body, kind, self.max_bytes) if warc.may_be_page(kind) else "not_html"
        body = b"" if outcome else found.body
        charset = warc.charset(found.content_type)
        return Answer(row, found.url or url, body, found.status, charset, fetched_at=asked, outcome=outcome)


class Taken:
    """Takes answers where Fetch's receiver would park images."""

    def __init__(self):
        self.answers: dict[str, FetchResult] = {}

    async def put(self, url: str, answer: FetchResult) -> None:
        self.put_nowait(url, answer)

    def put_nowait(self, url: str, answer: FetchResult) -> None:
        answer.release()
        self.answers[url] = answer


def listed(file: str) -> list[str]:
    """The URLs of a list file. PoolError or RecipeError if it cannot be read."""
    if not file.endswith(".parquet"):
        return [line for line in map(bare, lines(file)) if line and not line.startswith("#")]
    found: list[str] = []
    try:
        for table, _ in tables(file):
            check_text(table.schema.field("url"), file)
            found += [u or "" for u in as_text(table["url"].combine_chunks())[0].to_pylist()]
    except (OSError, ValueError, KeyError, pa.ArrowException) as e:
        raise PoolError(f"{file}: not a list of URLs: {e}") from e
    return found
