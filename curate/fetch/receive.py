"""Process downloaded files in threads beside the event loop: inspect, hash, re-encode, write to the payload."""

import asyncio
import hashlib
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate import schema
from curate.fetch.client import FetchResult
from curate.fetch.image import LOADED, MAX_PIXELS, SUFFIX, Header, inspect
from curate.fetch.isolate import Isolated
from curate.fetch.machine import machine_limit
from curate.removed import Removed
from curate.store.payload import Parcel

#: Bytes queued for the threads beyond which `put` blocks.
MAX_QUEUED = 64 << 20

#: The algorithm of a listed hash, by its length in hex digits.
_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


@dataclass
class BodyPolicy:
    """How a body is checked and re-encoded: resize (a Resize, or None: keep the bytes), the cap on pixels, whether each row needs a
    listed hash, the operator's `match` hook, and the takedowns."""

    resize: Any = None
    max_pixels: int = MAX_PIXELS
    require_hash: bool = False
    match: Callable[[bytes], bool] | None = None
    removed: Removed = field(default_factory=Removed)


@dataclass(frozen=True, slots=True)
class PayloadSlice:
    """Where a file lies in a payload: path (None: this part's own), offset and size in bytes."""

    payload: str
    offset: int
    size: int


class Receiver:
    """Queue of fetch results and its threads: fills the columns of schema.FETCHED and writes accepted files to the parcel.

    rows: the rows of each key (a URL, or a row number where the source supplied the bytes). hashes: each row's listed hash, or
    None. deadline: by `time.monotonic`; files still queued then are discarded, and their rows are `timeout`.
    """

    def __init__(
        self,
        uids: list[str],
        rows: dict[Any, list[int]],
        hashes: list[str | None],
        parcel: Parcel,
        policy: BodyPolicy,
        threads: int,
        deadline: float = float("inf"),
    ):
        self.uids, self.rows, self.hashes, self.parcel, self.policy = uids, rows, hashes, parcel, policy
        self.deadline = deadline
        self.columns: dict[str, list] = {name: [None] * len(uids) for name in schema.FETCHED}
        self.queue: queue.SimpleQueue = queue.SimpleQueue()
        self.parcel_lock, self.capacity = threading.Lock(), threading.Condition()
        self.queued, self.error = 0, None
        self.waiters: list[asyncio.Future] = []
        self.threads = [threading.Thread(target=self._consume, name=f"receive-{i}", daemon=True) for i in range(threads)]

    def __enter__(self) -> "Receiver":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        """Wait until the queue is processed, or after an error until the threads have stopped; raises a thread's error."""
        earlier = self.error
        if kind is not None:
            self.error = earlier or RuntimeError("cancelled")  # the rest of the queue is skipped
        for _ in self.threads:
            self.queue.put(None)
        for thread in self.threads:
            thread.join()
        error = earlier or (self.error if kind is None else None)
        if error:
            raise error

    # ---- producer

    async def put(self, key: Any, result: FetchResult) -> None:
        """Queue a result; waits while more than MAX_QUEUED bytes are queued. Raises a thread's error."""
        while True:
            ready = asyncio.get_running_loop().create_future()
            with self.capacity:
                if self.queued <= MAX_QUEUED or self.error is not None:
                    break
                self.waiters.append(ready)
            try:
                await ready
            finally:
                with self.capacity:
                    if ready in self.waiters:
                        self.waiters.remove(ready)
        self.put_nowait(key, result)

    def wait_for_capacity(self) -> None:
        """Block, outside of an event loop, while more than MAX_QUEUED bytes are queued."""
        with self.capacity:
            self.capacity.wait_for(lambda: self.queued <= MAX_QUEUED or self.error is not None)

    def put_nowait(self, key: Any, result: FetchResult, location: PayloadSlice | None = None) -> None:
        """Queue a result at once; with `location`, a file that the source supplied. Raises a thread's error."""
        if self.error is not None:
            raise self.error
        with self.capacity:
            self.queued += len(result.body)
        self.queue.put((key, result, location))

    def table(self) -> pa.Table:
        return pa.table({name: pa.array(values, schema.FETCHED[name]) for name, values in self.columns.items()})

    # ---- consumer threads

    def _consume(self) -> None:
        with ExitStack() as stack:
            child = stack.enter_context(Isolated())  # its process starts with the first request
            while (item := self.queue.get()) is not None:
                key, result, location = item
                try:
                    if self.error is None:
                        late = result.body and time.monotonic() > self.deadline
                        self._process(self.rows[key], FetchResult("timeout") if late else result, location, child)
                except Exception as e:  # raised by the next put, or by __exit__
                    self.error = machine_limit(e) or e
                self._release(len(result.body))

    def _release(self, size: int) -> None:
        """Uncount bytes and wake one waiter. Its loop still runs: a waiter leaves the list before its loop can close."""
        with self.capacity:
            self.queued -= size
            self.capacity.notify_all()
            if self.waiters and (self.queued <= MAX_QUEUED or self.error is not None):
                ready = self.waiters.pop()
                ready.get_loop().call_soon_threadsafe(lambda: ready.done() or ready.set_result(None))

    def _process(self, rows: list[int], result: FetchResult, location: PayloadSlice | None, child: Isolated) -> None:
        self._fill(
            rows,
            fetch=result.outcome,
            http_status=result.status,
            final_url=result.url,
            fetched_at=int(result.at * 1000) if result.at else None,
        )
        if result.outcome != "ok":
            return
        if self.policy.match is not None and self.policy.match(result.body):
            return self._fill(rows, fetch="matched")
        sha256 = hashlib.sha256(result.body).hexdigest()
        if sha256 in self.policy.removed.hashes or self.policy.removed.has_url(result.url):
            return self._fill(rows, fetch="removed", final_url=None)
        outcome, header = inspect(result.body, self.policy.max_pixels)
        if outcome == "truncated" and header.mime in LOADED and not isinstance(child.decode(result.body), str):
            outcome = "ok"  # decoders read it in full
        self._fill(rows, fetch=outcome)
        if result.body:
            self._fill(rows, sha256=sha256)
        if header is not None:
            self._fill(rows, mime=header.mime, original_width=header.width, original_height=header.height)
        if outcome == "ok":
            rows = [row for row in rows if self._hash_matches(row, result.body)]
            if rows:
                self._store(rows, result.body, header, location, child)
        return None

    def _hash_matches(self, row: int, body: bytes) -> bool:
        """Whether the body has the row's listed hash, or none is required; else sets `hash_mismatch`."""
        listed = self.hashes[row]
        if not listed and not self.policy.require_hash:
            return True
        listed = (listed or "").strip().lower()
        name = _HASHES.get(len(listed))
        if name == "sha256" and self.columns["sha256"][row] == listed:
            return True
        if name not in (None, "sha256") and hashlib.new(name, body, usedforsecurity=False).hexdigest() == listed:
            return True
        self.columns["fetch"][row] = "hash_mismatch"
        return False

    def _store(self, rows: list[int], body: bytes, header: Header, location: PayloadSlice | None, child: Isolated) -> None:
        width, height, suffix = header.width, header.height, SUFFIX[header.mime]
        how = self.policy.resize
        if how is not None:
            to = how.target(width, height)
            if to is not None and to[0] * to[1] > self.policy.max_pixels:
                return self._fill(rows, fetch="too_many_pixels")
            outcome, width, height, made = child.resize(how, body)
            if outcome != "ok":
                return self._fill(rows, fetch="broken_image")
            if made is not body:
                self._fill(rows, mime=how.mime)
                body, suffix, location = made, how.format, None
        if location is None:
            with self.parcel_lock:
                offset = self.parcel.add(f"{self.uids[rows[0]]}.{suffix}", body)
            location = PayloadSlice(None, offset, len(body))
        return self._fill(
            rows,
            width=width,
            height=height,
            payload=location.payload,
            payload_offset=location.offset,
            payload_size=location.size,
        )

    def _fill(self, rows: list[int], **values: Any) -> None:
        for name, value in values.items():
            column = self.columns[name]
            for row in rows:
                column[row] = value
