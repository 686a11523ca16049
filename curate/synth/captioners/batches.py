"""Writers whose model answers a batch per call: pending requests are grouped into batches of similar length."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.errors import CurateError
from curate.synth.captioners.base import Answer, Decoding, Request, Writer

log = logging.getLogger(__name__)

#: Batches' worth of requests among which those of about the same length are looked for.
WINDOW = 4
#: Seconds that an idle model waits for a batch to fill.
GATHER = 0.01


@dataclass
class BatchWriter(Writer):
    """A writer whose model takes a batch. Write `write`; it runs in a thread of its own, one batch at a time.

    A batch is as long as its longest text, so requests that wait are sorted by length first. While the model is at work the next
    requests gather; where there are too few for a batch it waits a moment, and starts on what there is.
    """

    batch: ClassVar[int] = 16  # requests handed to `write` at a time

    @property
    def room(self) -> int:
        return WINDOW * self.batch

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        """An answer for each request, in order. An exception says that the batch as a whole failed; it is cut in halves until the
        request that breaks the model is alone."""
        raise NotImplementedError(f"{type(self).__name__} must define write()")

    async def start(self) -> None:
        self._waiting: list[tuple[Request, Decoding, asyncio.Future]] = []
        self._some = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "model")
        self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        self._working.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request, decoding: Decoding) -> Answer:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((request, decoding, future))
        self._some.set()
        return await future

    async def _work(self) -> None:
        """The batch loop, until the writer is closed."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            if len(self._waiting) < self.batch:
                await asyncio.sleep(GATHER)
            taken = self._take()
            if not taken:
                self._some.clear()
                continue
            try:
                found = await loop.run_in_executor(self._pool, self._halved, [r for r, _, _ in taken], taken[0][1])
            except CurateError as e:
                for _, _, future in taken:
                    if not future.done():
                        future.set_exception(e)
                continue
            for (_, _, future), answer in zip(taken, found):
                if not future.done():
                    future.set_result(answer)

    def _take(self) -> list[tuple[Request, Decoding, Any]]:
        """The next batch: the oldest request, and those nearest to it in length."""
        self._waiting = [w for w in self._waiting if not w[2].done()]
        if not self._waiting:
            return []
        first = self._waiting[0]
        alike = sorted((w for w in self._waiting if w[1] == first[1]), key=lambda w: len(w[0].text))
        at = next(i for i, w in enumerate(alike) if w is first)
        starts = range(max(0, at - self.batch + 1), max(0, min(at, len(alike) - self.batch)) + 1)
        spread = lambda i: len(alike[min(i + self.batch, len(alike)) - 1][0].text) - len(alike[i][0].text)  # noqa: E731
        start = min(starts, key=spread)
        taken = alike[start : start + self.batch]
        chosen = {id(w) for w in taken}
        self._waiting = [w for w in self._waiting if id(w) not in chosen]
        return taken

    def _halved(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        """Answers to requests. If the batch breaks the model it is cut in halves, until the one that does is alone."""
        try:
            return self.write(requests, decoding)
        except CurateError:
            raise
        except Exception as e:
            if len(requests) == 1:
                log.warning("%s: seed %d: %s: %s", self.model, requests[0].seed, type(e).__name__, e)
                return [Answer(None, "error")]
            middle = len(requests) // 2
            return self._halved(requests[:middle], decoding) + self._halved(requests[middle:], decoding)
