"""The fetch stage: downloads each URL's picture into the part's payload and fills the columns of schema.FETCHED."""

import asyncio
import importlib
import os
import runpy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import __version__, schema
from curate.cost import PICTURE, Cost
from curate.errors import RecipeError
from curate.fetch.image import MAX_PIXELS
from curate.removed import removed
from curate.stage import Stage
from curate.store.payload import Parcel
from curate.store.slices import read_slices

if TYPE_CHECKING:
    from curate.fetch.receive import Receiver
    from curate.fetch.reencode import Resize

MODES = ("no", "border", "keep_ratio", "keep_ratio_largest", "center_crop")
FORMATS = ("jpg", "png", "webp")
#: Rows whose files are read from the source's payloads at a time.
_READ_ROWS = 128
#: The share of the remaining time in which requests are sent; the rest is for processing what has arrived.
_REQUEST_SHARE = 0.9


@dataclass
class Fetch(Stage):
    """Downloads each row's picture, or inspects the bytes that the source supplied; the outcome is one of schema.FETCH.

    The original bytes are kept, unless `resize_mode` says otherwise. Limits hold for each part; parts run beside each other.
    A limit of this machine (open files, ports, memory, disk) is not an outcome: requests are repeated with lower concurrency, and if
    that does not help the part fails with an error.

    concurrency, per_host: concurrent requests, in all (fewer if the process may not open as many files) and to one host. rate: requests a second to one host, 0 for no limit.
    timeout: seconds for a whole download, redirects included. wait: seconds for the connection, the first byte and each further
        byte. deadline: seconds for a part, of which the last tenth is for processing what has arrived; rows that are not done by then
        are `timeout`, and all others are kept. It ends well before that of the attempt at the part, which may be shorter.
    retries: further attempts after a broken connection, a 429 or a 5xx, with exponential backoff, or after the time in Retry-After;
        a host whose Retry-After is beyond 30 s is abandoned.
    give_up: consecutive failures of a host, or Retry-After responses, after which it is abandoned: its other rows get the last
        failure's outcome.
    max_bytes, max_redirects, max_pixels: limits of a file, of a redirect chain, of a picture.
    allow_private: networks that may be contacted though they are not public, like `127.0.0.0/8`.
    contact: an e-mail address or a URL where a site's owner reaches you, sent with every request. user_agent: replaces
        the whole header. robot: our name in robots.txt and X-Robots-Tag. robots, opt_out: whether robots.txt, and the opt-outs of pages and images, are honoured.
        well_known: whether each origin is also asked for /.well-known/tdmrep.json and /ai.txt, which are honoured as opt-outs.
    resize_mode: None keeps the bytes; `no`, `border`, `keep_ratio`, `keep_ratio_largest`, `center_crop` re-encode as
        img2dataset does, with image_size, only_if_bigger, encode_format (jpg, png, webp), encode_quality (png: 0 to 9): upright,
        in sRGB, on white.
    ground, reencode: where bytes are kept, re-encode only the pictures that open_clip's loader does not render as browsers do:
        ground="white" those with transparency, whose alpha channel it ignores; reencode=True those that it does not open
        (GIF, AVIF, damaged PNG), which Decode drops.
    hash_column: with the list's own hash (md5, sha1, sha256 or sha512, in hex), like `source_sha256`. require_hash: a row without
        one is a mismatch too. Not with `once`.
    match: a hook that sees every file before anything is written, and returns True for one that must not be kept: a function,
        or where to find it, `module:function` or `file.py:function`; or `pdq:FILE`, a match list of PDQ hashes (pdq.PdqList).
    shared: rows that share a URL with another one (SharedUrl) are not fetched; SharedFetch copies their outcome and drops them.
    threads: for hashing and re-encoding; 0 means one, or when re-encoding as many as there are cores.

    image_size: side of a re-encoded picture, in pixels. only_if_bigger: whether smaller pictures keep their size. encode_format: jpg, png or webp.
    encode_quality: 0 to 100, of png 0 to 9.

    Parameters and their defaults follow img2dataset where it has them; robots.txt is RFC 9309's (https://www.rfc-editor.org/rfc/rfc9309).
    """

    network = True
    writes_payload = True
    reads = ("url",)
    version = 4
    optional_reads = ("candidates",)
    # These only change which rows fail, and failed rows are fetched again only on request: `--refetch failed`.
    untracked = (
        "concurrency",
        "per_host",
        "rate",
        "timeout",
        "wait",
        "deadline",
        "retries",
        "give_up",
        "max_bytes",
        "max_redirects",
        "max_pixels",
        "allow_private",
        "contact",
        "user_agent",
        "robot",
        "robots",
        "opt_out",
        "well_known",
        "match",
        "threads",
    )

    concurrency: int = 256
    per_host: int = 8
    rate: float = 0
    timeout: float = 30
    wait: float = 10
    deadline: float = 1800
    retries: int = 2
    give_up: int = 20
    max_bytes: int = 20_000_000
    max_redirects: int = 5
    max_pixels: int = MAX_PIXELS
    allow_private: tuple[str, ...] = ()
    contact: str = ""
    user_agent: str = ""
    robot: str = "curate"
    robots: bool = True
    opt_out: bool = True
    well_known: bool = False
    resize_mode: str | None = None
    image_size: int = 256
    only_if_bigger: bool = False
    encode_format: str = "jpg"
    encode_quality: int = 95
    ground: str | None = None
    reencode: bool = False
    hash_column: str | None = None
    require_hash: bool = False
    match: Callable[[bytes], bool] | str | None = None
    shared: bool = False
    threads: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.shared:
            self.skip_where, self.reads = "fetched_with", (*self.reads, "fetched_with")
        if self.resize_mode is not None and self.resize_mode not in MODES:
            raise RecipeError(f"{self.name}: resize_mode={self.resize_mode!r} is none of {', '.join(MODES)}")
        if self.ground not in (None, "white"):
            raise RecipeError(f"{self.name}: ground={self.ground!r} is neither 'white' nor None")
        if self.encode_format not in FORMATS:
            raise RecipeError(f"{self.name}: encode_format={self.encode_format!r} is none of {', '.join(FORMATS)}")
        if not 0 <= self.encode_quality <= (9 if self.encode_format == "png" else 100):
            raise RecipeError(f"{self.name}: encode_quality={self.encode_quality} is not 0 to 100, or for png 0 to 9")
        if self.require_hash and not self.hash_column:
            raise RecipeError(f"{self.name}: require_hash needs a hash_column")
        if self.hash_column and self.shared:
            raise RecipeError(
                f"{self.name}: hash_column cannot go with once(): rows that share a URL may list different hashes"
            )
        if self.hash_column:
            self.reads = (*self.reads, self.hash_column)
        hook(self.match)

    def costs(self, rows: int) -> list[Cost]:
        stored = rows * PICTURE
        return [
            Cost("fetched and stored", f"N x {PICTURE // 1000} kB", stored, "B"),
            Cost("time at 1 Gbit/s", "bytes / 125 MB/s", stored / 125e6, "s"),
        ]

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        self.allow_private = networks

    def adds(self) -> dict[str, pa.DataType]:
        return fetched(self.name)

    def parameters(self) -> dict[str, Any]:
        named = self.match if isinstance(self.match, str | None) else f"{self.match.__module__}:{self.match.__qualname__}"
        return {**super().parameters(), "match": named}

    def preflight(self, widths: dict[str, int]) -> None:
        hook(self.match)

    def judge(self, columns: pa.Table) -> pa.Array:
        """`fetch:` and the outcome, or null where an image arrived."""
        return super().judge(columns) if self.shared else failed(columns[self.name])

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        """Fetch all rows. A row with a `payload` (its source supplied the bytes) is inspected without a request; for a row that fails the
        alternative URLs in `candidates` are tried."""
        from curate.fetch.candidates import candidates, fetch_candidates
        from curate.fetch.machine import machine_limit
        from curate.fetch.receive import BodyPolicy, Receiver

        urls = live["url"].to_pylist()
        hashes = live[self.hash_column].cast(pa.large_string()).to_pylist() if self.hash_column else [None] * len(urls)
        supplied = live["payload"].is_valid().to_pylist() if "payload" in live.column_names else [False] * len(urls)
        rows: dict[Any, list[int]] = {}
        for row, url in enumerate(urls):
            rows.setdefault(row if supplied[row] else url, []).append(row)
        policy = BodyPolicy(
            self.resizing(),
            self.max_pixels,
            self.require_hash,
            hook(self.match),
            removed(parcel.store) if parcel.removed is None else parcel.removed,
        )
        deadline = min(time.monotonic() + self.deadline, self.deadline_at)

        def fetch_rows(rows: dict[Any, list[int]]) -> dict[str, list]:
            with Receiver(live["uid"].to_pylist(), rows, hashes, parcel, policy, self._threads(), deadline) as receiver:
                self._read_supplied(live, [key for key in rows if isinstance(key, int)], parcel, receiver)
                if to_fetch := [key for key in rows if not isinstance(key, int)]:
                    with asyncio.Runner(loop_factory=loop_factory()) as runner:
                        runner.run(self.crawl(to_fetch, receiver, seconds=deadline - time.monotonic()))
            return receiver.columns

        alternatives = [[] if b else c for b, c in zip(supplied, candidates(live))]
        try:
            columns = fetch_rows(rows)
            fetch_candidates(columns, urls, alternatives, fetch_rows)
        except (OSError, MemoryError) as e:
            if limit := machine_limit(e):
                raise limit from e
            raise
        return pa.table([pa.array(columns[n], kind) for n, kind in schema.FETCHED.items()], names=list(self.adds()))

    @property
    def rewrites(self) -> bool:
        """Whether the bytes kept may differ from the bytes fetched; `sha256` is that of the latter."""
        return self.resize_mode is not None or self.ground is not None or self.reencode

    def resizing(self) -> "Resize | None":
        """The Resize with which pictures are re-encoded, or None where all bytes are kept."""
        if not self.rewrites:
            return None
        from curate.fetch.reencode import Resize

        size, format, quality = self.image_size, self.encode_format, self.encode_quality
        if self.resize_mode is None:
            only = (("transparent",) if self.ground else ()) + (("unreadable",) if self.reencode else ())
            return Resize("no", size, False, format, quality, self.max_pixels, only)
        return Resize(self.resize_mode, size, self.only_if_bigger, format, quality, self.max_pixels)

    def _threads(self) -> int:
        return self.threads or (len(os.sched_getaffinity(0)) if self.rewrites else 1)

    def _read_supplied(self, live: pa.Table, rows: list[int], parcel: Parcel, receiver: "Receiver") -> None:
        """Pass the files that the source supplied to the receiver."""
        from curate.fetch.client import FetchResult
        from curate.fetch.receive import PayloadSlice

        for start in range(0, len(rows), _READ_ROWS):
            batch = rows[start : start + _READ_ROWS]
            receiver.wait_for_capacity()
            if time.monotonic() > receiver.deadline:
                for row in batch:
                    receiver.put_nowait(row, FetchResult("timeout"))
                continue
            slices = [live[c].take(batch).to_pylist() for c in schema.PAYLOAD]
            for row, data, location in zip(batch, read_slices(parcel.store, *slices), zip(*slices)):
                if len(data) > self.max_bytes:
                    receiver.put_nowait(row, FetchResult("too_large"))
                else:
                    receiver.put_nowait(row, FetchResult("ok", body=data), PayloadSlice(*location))

    async def crawl(
        self, urls: list[str | None], receiver: "Receiver", accept: str = "image/*,*/*;q=0.5", seconds: float | None = None
    ) -> None:
        """Fetch each URL once. The receiver's `put` gets each result; its `put_nowait` gets a `timeout` for each URL not done after nine
        tenths of `seconds` (default: the deadline). Raises MachineLimit."""
        from curate.fetch.address import networks
        from curate.fetch.client import Client, FetchResult
        from curate.fetch.crawl import CrawlLimits, crawl
        from curate.fetch.machine import fit_concurrency
        from curate.fetch.resolve import THREADS, Resolver
        from curate.fetch.wire import Limits

        at_once = fit_concurrency(min(self.concurrency, len(urls)))
        limits = Limits(self.wait, self.wait, self.wait, self.timeout, self.max_bytes, max_redirects=self.max_redirects)
        crawl_limits = CrawlLimits(at_once, self.per_host, self.rate, self.retries, give_up=self.give_up)
        remaining = dict.fromkeys(urls)

        async def put(url: str | None, result: FetchResult) -> None:
            await receiver.put(url, result)
            remaining.pop(url)  # not before: the deadline may pass while `put` blocks
            self.report_progress(len(urls) - len(remaining))

        async with Client(
            Resolver(networks(self.allow_private), threads=min(THREADS, at_once)),
            limits,
            self.agent(),
            self.robot,
            self.robots,
            self.opt_out,
            max_idle=at_once,
            accept=accept,
            well_known=self.well_known,
        ) as client:
            try:
                async with asyncio.timeout(_REQUEST_SHARE * (self.deadline if seconds is None else seconds)):
                    await crawl(client, urls, crawl_limits, put)
            except TimeoutError:
                for url in remaining:
                    receiver.put_nowait(url, FetchResult("timeout"))

    def agent(self) -> str:
        """The User-Agent header, with the contact for complaints."""
        contact = f"+{self.contact}" if self.contact else "image-text dataset builder"
        return self.user_agent or f"Mozilla/5.0 (compatible; {self.robot}/{__version__}; {contact})"


def fetched(outcome: str) -> dict[str, pa.DataType]:
    """The columns of schema.FETCHED, with the outcome column renamed."""
    return {outcome if name == "fetch" else name: kind for name, kind in schema.FETCHED.items()}


def failed(outcome: pa.ChunkedArray) -> pa.Array:
    """`fetch:` and the outcome, or null where an image arrived; a row without an outcome counts as `connection`."""
    text = pa.large_string()
    outcome = pc.fill_null(outcome.combine_chunks(), "connection")
    reason = pc.binary_join_element_wise(pa.scalar("fetch", text), outcome, pa.scalar(":", text))
    return pc.if_else(pc.equal(outcome, "ok"), pa.scalar(None, text), reason)


def hook(match: Callable[[bytes], bool] | str | None) -> Callable[[bytes], bool] | None:
    """The function that `match` names, see Fetch. RecipeError if it cannot be loaded."""
    if not isinstance(match, str):
        return match
    if match.startswith("pdq:"):
        from curate.fetch.pdq import pdq_list

        return pdq_list(match.removeprefix("pdq:"))
    module, _, name = match.rpartition(":")
    try:
        found = runpy.run_path(module) if module.endswith(".py") else vars(importlib.import_module(module))
    except (ImportError, OSError, ValueError, SyntaxError) as e:
        raise RecipeError(
            f"match={match}: {module or match} cannot be loaded ({e}); write module:function or file.py:function"
        ) from e
    if not callable(found.get(name)):
        raise RecipeError(f"match={match}: {module} has no function {name}")
    return found[name]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's event loop where it is installed (half the time per request), else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
