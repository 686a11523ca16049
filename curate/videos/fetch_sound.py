"""FetchSound stage: downloads sound files from the web and stores them as SoundFile does."""

import asyncio
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate import schema
from curate.fetch.stage import Fetch, hook, loop_factory
from curate.models.contained import Contained
from curate.removed import removed
from curate.store.payload import Parcel
from curate.videos.local import is_web
from curate.videos.sound_file import SoundFile, measuring

if TYPE_CHECKING:
    from curate.fetch.client import FetchResult

#: The columns of a download, besides its outcome.
_ANSWER = ("http_status", "final_url", "fetched_at")


@dataclass
class FetchSound(SoundFile):
    """Downloads each live sound whose `audio` is an http(s) URL, and stores and measures it as SoundFile does; the other files as there.

    The outcome may also be one of a download (schema.FETCH), such as robots, private_address or http_404; the drop reason is `fetch_sound:`
    and the outcome. Also adds `http_status`, `final_url` and `fetched_at`.

    fetch: the Fetch whose limits, manners, networks and match hook hold for the requests, by default 64 MiB and 300 s a file and 2 requests to a
        host at a time; its parameters for pictures have no effect. At most 16 files of more than 1 MiB are in memory.

    For lists of URLs with captions, such as CLAP's (2211.06687).
    """

    network = True
    untracked = ("fetch",)

    fetch: Fetch = field(default_factory=lambda: Fetch(max_bytes=64 << 20, timeout=300, per_host=2))

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        self.fetch.allow_networks(networks)

    def adds(self) -> dict[str, pa.DataType]:
        return {**super().adds(), **{n: schema.FETCHED[n] for n in _ANSWER}}

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        named, uids = [a or "" for a in live["audio"].to_pylist()], live["uid"].to_pylist()
        urls: dict[str, list[int]] = {}
        for row, audio in enumerate(named):
            if is_web(audio):
                urls.setdefault(audio, []).append(row)
        refuses = self._refusals(parcel)
        found: list[dict[str, Any]] = [{} for _ in named]
        with measuring() as ask:

            def take(url: str, result: "FetchResult") -> None:
                values = self._downloaded(ask, result, refuses(result), uids[urls[url][0]], parcel)
                for row in urls[url]:
                    found[row] = values

            self._crawl(list(urls), _Downloads(take))
            for row, audio in enumerate(named):
                if not is_web(audio):
                    found[row] = self.store(ask, audio, uids[row], parcel)
        return self.table_of(found)

    def _refusals(self, parcel: Parcel) -> Callable[["FetchResult"], str]:
        """A function that returns the reason for refusing a result; empty if it is accepted."""
        match, gone = hook(self.fetch.match), removed(parcel.store) if parcel.removed is None else parcel.removed

        def refuses(result: "FetchResult") -> str:
            if result.outcome != "ok":
                return result.outcome
            if gone.has_url(result.url) or hashlib.sha256(result.body).hexdigest() in gone.hashes:
                return "removed"
            return "matched" if match is not None and match(result.body) else ""

        return refuses

    def _crawl(self, urls: list[str], downloads: "_Downloads") -> None:
        fetch = replace(self.fetch)
        fetch.report_progress = self.report_progress
        seconds = min(fetch.deadline, self.deadline_at - time.monotonic())
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(fetch.crawl(urls, downloads, "audio/*,*/*;q=0.5", seconds))

    def _downloaded(self, ask: Contained, result: "FetchResult", refused: str, uid: str, parcel: Parcel) -> dict[str, Any]:
        """Add a download to the parcel if it is valid; returns the outcome and its values."""
        at = int(result.at * 1000) if result.at else None
        answer = {"http_status": result.status, "final_url": None if refused == "removed" else result.url, "fetched_at": at}
        if refused:
            return {**answer, "outcome": refused}
        with tempfile.NamedTemporaryFile(prefix="curate-sound-") as file:
            file.write(result.body)
            file.flush()
            return {**answer, **self.store_local(ask, file.name, uid, parcel)}


class _Downloads:
    """Passes each result of a crawl to `take`, one at a time, in a thread; a result that comes at the deadline counts unless the URL had one."""

    def __init__(self, take: Callable[[str, "FetchResult"], None]):
        self.take, self.lock, self.done = take, threading.Lock(), set()

    async def put(self, url: str, result: "FetchResult") -> None:
        await asyncio.to_thread(self.put_nowait, url, result)

    def put_nowait(self, url: str, result: "FetchResult") -> None:
        with self.lock:
            if url not in self.done:
                self.done.add(url)
                self.take(url, result)
