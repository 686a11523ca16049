"""Asynchronous requests to a model: many in flight, answers yielded in order of completion."""

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from curate.errors import CurateError
from curate.synth.captioners.base import Answer, Content, Decoding, Request, Seen, Video, Writer

log = logging.getLogger(__name__)

#: Seconds between two looks at whether the engine is still wanted, and that its end may take.
LOOK, ENDING = 1.0, 30.0
#: Threads that prepare pictures.
PREPARING = 8
_END = object()


class Stalled(CurateError):
    """The engine has not answered anything for too long: another worker tries, with an engine of its own."""

    again = True
    broken = True  # the process that holds the engine is of no use any more


class Closed(CurateError):
    """The engine was closed while answers were waited for."""


@dataclass(frozen=True)
class Wanted:
    """A request and the caller's key for it."""

    key: Any
    content: Content
    seed: int


@dataclass(frozen=True)
class Got:
    """The answer to what was wanted, and the pictures as the model saw them, without their data."""

    key: Any
    answer: Answer
    pictures: tuple[Seen, ...] = ()


class Asking:
    """Runs a writer's event loop in a thread, shared by all parts that this process works on.

    At most `writer.room` requests are with the engine at a time, and a quarter more are made ready meanwhile, so that an answer
    is followed by the next request whatever the caller is doing. Memory holds no more than those.
    """

    def __init__(self, writer: Writer, decoding: Decoding):
        self.writer, self.decoding = writer, decoding
        self.ahead = writer.room + max(4, writer.room // 4)
        self.heard = time.monotonic()
        self.preparing = ThreadPoolExecutor(min(PREPARING, max(2, os.cpu_count() or 2)), "prepare")
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name=f"asking {writer.model}", daemon=True)
        self.thread.start()
        self._end = weakref.finalize(self, _close, writer, self.loop, self.thread, self.preparing)
        try:
            self._in_loop(self._start()).result()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the loop and what the writer has open in it; whoever waits for an answer gets Closed."""
        self._end()

    def answers(self, wanted: Iterable[Wanted | None]) -> Iterator[Got]:
        """Answers as they come. `wanted` is read only as far ahead as there is room; a None in it says that an answer has to come
        first. Stalled if none comes for `writer.silence`
        seconds; what a request raises as a CurateError is raised here, and nothing more is asked."""
        done: SimpleQueue[Future] = SimpleQueue()
        under_way: set[Future] = set()
        left: Iterator[Any] | None = iter(wanted)
        try:
            while left is not None or under_way:
                while left is not None and len(under_way) < self.ahead and done.empty():
                    each = next(left, _END)
                    if each is _END or each is None:
                        left = None if each is _END else left
                        break
                    self._open()
                    future = self._in_loop(self._one(each))
                    under_way.add(future)
                    future.add_done_callback(done.put)
                if under_way:
                    future = self._next(done)
                    under_way.discard(future)
                    yield self._result(future)
        finally:
            for future in under_way:
                future.cancel()

    def _next(self, done: "SimpleQueue[Future]") -> Future:
        """The next request to end. It may be of this part or of another one that an engine answers: then it is at work."""
        begun = time.monotonic()
        while True:
            left = max(begun, self.heard) + self.writer.silence - time.monotonic()
            if left <= 0:
                raise Stalled(f"{self.writer.model}: no answer for {self.writer.silence:.0f} s")
            self._open()
            try:
                return done.get(timeout=min(left, LOOK))
            except Empty:
                continue

    def _open(self) -> None:
        if not self._end.alive:
            raise Closed(f"{self.writer.model}: closed before it had answered")

    def _result(self, future: Future) -> Got:
        self.heard = time.monotonic()
        if future.cancelled():
            raise Closed(f"{self.writer.model}: closed before it had answered")
        return future.result()

    # ---- in the loop

    def _in_loop(self, coroutine: Any) -> Future:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    async def _start(self) -> None:
        self.room = asyncio.Semaphore(self.writer.room)
        await self.writer.start()

    async def _one(self, wanted: Wanted) -> Got:
        """One request from its pictures to its answer."""
        content = []
        if sum(not isinstance(part, str) and part.ndim == 3 for part in wanted.content) > self.writer.most_pictures:
            return Got(wanted.key, Answer(None, "too_many_images"))
        for part in wanted.content:
            content.append(part if isinstance(part, str) else await self._made_ready(part))
        if None in content:
            return Got(wanted.key, Answer(None, "bad_image"))
        request = Request(tuple(content), wanted.seed)
        async with self.room:
            answer = await self._answer(request)
        return Got(wanted.key, answer, tuple(replace(p, data=None) for p in request.seen))

    async def _made_ready(self, pixels: np.ndarray) -> Seen | Video | None:
        """A picture or a video made ready; None if it cannot be."""
        if pixels.ndim == 3:
            return await self._prepared(pixels)
        frames = await asyncio.gather(*map(self._prepared, pixels))
        return None if None in frames else Video(tuple(f for f in frames if f))

    async def _prepared(self, image: np.ndarray) -> Seen | None:
        """A picture made ready; None if it cannot be: one bad picture costs one row."""
        try:
            return await self.loop.run_in_executor(self.preparing, self.writer.prepare, image)
        except CurateError:
            raise
        except Exception as e:  # whatever a model's own preparation may raise
            log.warning("%s: a picture of %s cannot be prepared: %s: %s", self.writer.model, image.shape, type(e).__name__, e)
            return None

    async def _answer(self, request: Request) -> Answer:
        limit = asyncio.timeout(self.writer.deadline or None)
        try:
            async with limit:
                return await self.writer.answer(request, self.decoding)
        except CurateError:
            raise
        except Exception as e:  # whatever an engine may raise: it costs this row
            late = limit.expired()
            log.warning("%s: seed %d: %s: %s", self.writer.model, request.seed, "late" if late else type(e).__name__, e)
            return Answer(None, "late" if late else "error")


def _close(writer: Writer, loop: asyncio.AbstractEventLoop, thread: threading.Thread, preparing: ThreadPoolExecutor) -> None:
    """End a loop and what its writer has open in it; also when an Asking is forgotten, or the process ends."""
    if threading.current_thread() is not thread:
        try:
            asyncio.run_coroutine_threadsafe(_stop(writer), loop).result(ENDING)
        except Exception as e:  # whatever an engine that is broken may raise when it is closed
            log.warning("%s: does not end as it should: %s: %s", writer.model, type(e).__name__, e)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(ENDING)
        if not thread.is_alive():
            loop.close()
    preparing.shutdown(wait=False, cancel_futures=True)


async def _stop(writer: Writer) -> None:
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await writer.stop()
