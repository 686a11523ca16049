"""What happens to bytes that arrived: inspected, hashed, re-encoded, parked. In threads, so that the event loop only reads."""

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
from curate.fetch.client import Answer
from curate.fetch.image import LOADED, MAX_PIXELS, SUFFIX, Header, inspect
from curate.fetch.isolate import Isolated
from curate.fetch.machine import machine_limit
from curate.removed import Removed
from curate.store.payload import Parcel

#: Bytes that may wait for a thread before the network has to wait too.
HELD = 64 << 20

#: A list's own hash by its length in hex digits.
_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


@dataclass
class Rules:
    """What is done to a body: a Resize or None, the pixel cap, what the list says of hashes, the operator's hook, and what was
    taken down."""

    resize: Any = None
    max_pixels: int = MAX_PIXELS
    require_hash: bool = False
    match: Callable[[bytes], bool] | None = None
    removed: Removed = field(default_factory=Removed)


@dataclass(frozen=True, slots=True)
class Place:
    """Where bytes lie that a source brought."""

    payload: str
    offset: int
    size: int


class Receiver:
    """Takes answers, fills the columns of schema.FETCHED for the rows that wait for them, and parks bytes in the parcel.

    rows: for each key (a URL, or a row's own number where the source brought its bytes) the rows that wait for it.
    hashes: for each row the list's own hash, or None. deadline: by `time.monotonic`; bytes that still wait for a thread then are
    given up, and their rows are `timeout`.
    """

    def __init__(
        self,
        uids: list[str],
        rows: dict[Any, list[int]],
        hashes: list[str | None],
        parcel: Parcel,
        rules: Rules,
        threads: int,
        deadline: float = float("inf"),
    ):
        self.uids, self.rows, self.hashes, self.parcel, self.rules = uids, rows, hashes, parcel, rules
        self.deadline = deadline
        self.columns: dict[str, list] = {name: [None] * len(uids) for name in schema.FETCHED}
        self.queue: queue.SimpleQueue = queue.SimpleQueue()
        self.parking, self.counting = threading.Lock(), threading.Condition()
        self.held, self.error = 0, None
        self.waiting: list[asyncio.Future] = []
        self.threads = [threading.Thread(target=self._work, name=f"receive-{i}", daemon=True) for i in range(threads)]

    def __enter__(self) -> "Receiver":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        """Wait until all that was given has been taken, unless something went wrong."""
        ours = self.error
        if kind is not None:
            self.error = ours or RuntimeError("given up")  # what waits in the queue is passed over
        for _ in self.threads:
            self.queue.put(None)
        for thread in self.threads:
            thread.join()
        error = ours or (self.error if kind is None else None)
        if error:
            raise error

    # ---- the giving side

    async def put(self, key: Any, answer: Answer) -> None:
        """Give an answer; waits while too many bytes are held. Raises what a thread raised."""
        while True:
            room = asyncio.get_running_loop().create_future()
            with self.counting:
                if self.held <= HELD or self.error is not None:
                    break
                self.waiting.append(room)
            try:
                await room
            finally:
                with self.counting:
                    if room in self.waiting:
                        self.waiting.remove(room)
        self.give(key, answer)

    def wait_for_room(self) -> None:
        """Wait, outside of an event loop, until not too many bytes are held."""
        with self.counting:
            self.counting.wait_for(lambda: self.held <= HELD or self.error is not None)

    def give(self, key: Any, answer: Answer, place: Place | None = None) -> None:
        """Give an answer, or the bytes that a source brought with their place."""
        if self.error is not None:
            raise self.error
        with self.counting:
            self.held += len(answer.body)
        self.queue.put((key, answer, place))

    def table(self) -> pa.Table:
        return pa.table({name: pa.array(values, schema.FETCHED[name]) for name, values in self.columns.items()})

    # ---- the taking side

    def _work(self) -> None:
        with ExitStack() as stack:
            child = stack.enter_context(Isolated())  # started when it is first asked
            while (item := self.queue.get()) is not None:
                key, answer, place = item
                try:
                    if self.error is None:
                        late = answer.body and time.monotonic() > self.deadline
                        self._take(self.rows[key], Answer("timeout") if late else answer, place, child)
                except Exception as e:  # raised again where the answers come from
                    self.error = machine_limit(e) or e
                self._done(len(answer.body))

    def _done(self, size: int) -> None:
        """Let one who waits go on. While one is listed his loop runs: he takes himself off the list before it can close."""
        with self.counting:
            self.held -= size
            self.counting.notify_all()
            if self.waiting and (self.held <= HELD or self.error is not None):
                room = self.waiting.pop()
                room.get_loop().call_soon_threadsafe(lambda: room.done() or room.set_result(None))

    def _take(self, rows: list[int], answer: Answer, place: Place | None, child: Isolated) -> None:
        self._fill(
            rows,
            fetch=answer.outcome,
            http_status=answer.status,
            final_url=answer.url,
            fetched_at=int(answer.at * 1000) if answer.at else None,
        )
        if answer.outcome != "ok":
            return
        if self.rules.match is not None and self.rules.match(answer.body):
            return self._fill(rows, fetch="matched")
        sha256 = hashlib.sha256(answer.body).hexdigest()
        if sha256 in self.rules.removed.hashes or self.rules.removed.has_url(answer.url):
            return self._fill(rows, fetch="removed", final_url=None)
        outcome, header = inspect(answer.body, self.rules.max_pixels)
        if outcome == "truncated" and header.mime in LOADED and not isinstance(child.decode(answer.body), str):
            outcome = "ok"  # nothing is missing that decoders need
        self._fill(rows, fetch=outcome)
        if answer.body:
            self._fill(rows, sha256=sha256)
        if header is not None:
            self._fill(rows, mime=header.mime, original_width=header.width, original_height=header.height)
        if outcome == "ok":
            rows = [row for row in rows if self._as_listed(row, answer.body)]
            if rows:
                self._keep(rows, answer.body, header, place, child)
        return None

    def _as_listed(self, row: int, body: bytes) -> bool:
        """Compare with the list's own hash."""
        listed = self.hashes[row]
        if not listed and not self.rules.require_hash:
            return True
        listed = (listed or "").strip().lower()
        name = _HASHES.get(len(listed))
        if name == "sha256" and self.columns["sha256"][row] == listed:
            return True
        if name not in (None, "sha256") and hashlib.new(name, body, usedforsecurity=False).hexdigest() == listed:
            return True
        self.columns["fetch"][row] = "hash_mismatch"
        return False

    def _keep(self, rows: list[int], body: bytes, header: Header, place: Place | None, child: Isolated) -> None:
        width, height, suffix = header.width, header.height, SUFFIX[header.mime]
        how = self.rules.resize
        if how is not None:
            to = how.target(width, height)
            if to is not None and to[0] * to[1] > self.rules.max_pixels:
                return self._fill(rows, fetch="too_many_pixels")
            outcome, width, height, made = child.resize(how, body)
            if outcome != "ok":
                return self._fill(rows, fetch="broken_image")
            if made is not body:
                self._fill(rows, mime=how.mime)
                body, suffix, place = made, how.format, None
        if place is None:
            with self.parking:
                offset = self.parcel.add(f"{self.uids[rows[0]]}.{suffix}", body)
            place = Place(None, offset, len(body))
        return self._fill(
            rows, width=width, height=height, payload=place.payload, payload_offset=place.offset, payload_size=place.size
        )

    def _fill(self, rows: list[int], **values: Any) -> None:
        for name, value in values.items():
            column = self.columns[name]
            for row in rows:
                column[row] = value
