"""A pool of isolated decoder processes that decodes the pictures of a chunk in parallel."""

import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from curate.fetch.image import LOADED, sniff
from curate.fetch.isolate import Isolated
from curate.preprocess import Preprocess

#: Pictures that one child decodes as a batch.
BATCH = 8

#: The result for a file: pixels for each wanted preprocessing, or an outcome of schema.DECODE.
Decoded = list[np.ndarray] | str


@dataclass
class DecodeTime:
    """The time budget of a chunk's decoding, in seconds; pictures that start after it is spent are `decoder_timeout`."""

    seconds: float
    spent: float = 0.0  # of all decoders together
    wanted: bool = True  # False: the caller has given up, skip the rest


class Decoders:
    """A pool of decoder processes, one a core. A file that crashes or stalls its decoder fails alone; the decoder is restarted."""

    def __init__(self, cores: int, seconds: float | None = None):
        self.cores = max(1, cores)
        self.children = [Isolated() if seconds is None else Isolated(seconds) for _ in range(self.cores)]
        self.idle: queue.SimpleQueue[Isolated] = queue.SimpleQueue()
        for child in self.children:
            self.idle.put(child)
        self.threads = ThreadPoolExecutor(self.cores, "decode")

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.threads.shutdown(cancel_futures=True)
        for child in self.children:
            child.stop()

    def decode(self, files: Sequence[bytes | None], wanted: Sequence[Preprocess | None], budget: DecodeTime) -> list[Decoded]:
        """Decode files: for each, in order, every wanted preprocessing (None: full size) or an outcome; blocks until all are done."""
        batches: list[Future[list[Decoded]]] = [
            self.threads.submit(self._decode_batch, files[i : i + BATCH], wanted, budget) for i in range(0, len(files), BATCH)
        ]
        return [decoded for batch in batches for decoded in batch.result()]

    def _decode_batch(
        self, files: Sequence[bytes | None], wanted: Sequence[Preprocess | None], budget: DecodeTime
    ) -> list[Decoded]:
        child = self.idle.get()
        try:
            return [self._decode(child, data, wanted, budget) for data in files]
        finally:
            self.idle.put(child)

    def _decode(self, child: Isolated, data: bytes | None, wanted: Sequence[Preprocess | None], budget: DecodeTime) -> Decoded:
        mime = sniff(data or b"")
        if data is None or mime not in LOADED:
            return "broken" if mime is None else "format"
        if budget.spent >= budget.seconds * self.cores or not budget.wanted:
            return "decoder_timeout"
        started = time.perf_counter()
        found = child.prepare(data, wanted)
        budget.spent += time.perf_counter() - started
        return found
