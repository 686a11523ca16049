"""Many pictures decoded at a time, each in a child process: on as many cores as a worker has."""

import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from curate.fetch.image import LOADED, sniff
from curate.fetch.isolate import Isolated
from curate.preprocess import Preprocess

#: Pictures in a row that one child decodes, between two looks at whether they are still wanted.
RUN = 8

#: What became of a file: for each thing wanted its pixels, or an outcome of schema.DECODE.
Decoded = list[np.ndarray] | str


@dataclass
class DecodeTime:
    """Seconds that decoders may take for the pictures of one chunk; those whose turn comes later are `decoder_timeout`."""

    seconds: float
    spent: float = 0.0  # of all decoders together
    wanted: bool = True  # whether anybody still waits for them


class Decoders:
    """A pool of isolated decoders. A file that kills its decoder, or is slow, is lost alone; its decoder is started again."""

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
        """What of each file is wanted (None: every pixel), in their order; returns when all are decoded."""
        runs: list[Future[list[Decoded]]] = [
            self.threads.submit(self._run, files[i : i + RUN], wanted, budget) for i in range(0, len(files), RUN)
        ]
        return [decoded for run in runs for decoded in run.result()]

    def _run(self, files: Sequence[bytes | None], wanted: Sequence[Preprocess | None], budget: DecodeTime) -> list[Decoded]:
        child = self.idle.get()
        try:
            return [self._one(child, data, wanted, budget) for data in files]
        finally:
            self.idle.put(child)

    def _one(self, child: Isolated, data: bytes | None, wanted: Sequence[Preprocess | None], budget: DecodeTime) -> Decoded:
        mime = sniff(data or b"")
        if data is None or mime not in LOADED:
            return "broken" if mime is None else "format"
        if budget.spent >= budget.seconds * self.cores or not budget.wanted:
            return "decoder_timeout"
        began = time.perf_counter()
        found = child.prepare(data, wanted)
        budget.spent += time.perf_counter() - began
        return found
