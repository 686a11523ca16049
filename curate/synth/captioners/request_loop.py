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
from curate.synth.captioners.base import Answer, Content, Decoding, PreparedImage, Request, Video, Writer

log = logging.getLogger(__name__)

#: Seconds between two looks at whether the engine is still wanted, and that its end may take.
POLL, ENDING = 1.0, 30.0
#: Threads that prepare pictures.
PREPARING = 8
_END = object()


class Stalled(CurateError):
    """The engine has not answered for too long; another worker retries with an engine of its own."""

    retry = True
    broken = True  # the process that holds the engine is of no use any more


class Closed(CurateError):
    """The engine was closed with requests pending."""


@dataclass(frozen=True)
class PendingRequest:
    """A request and the caller's key for it."""

    key: Any
    content: Content
    seed: int


@dataclass(frozen=True)
class CompletedRequest:
    """The answer to a request, and the pictures as the model saw them, without their data."""

    key: Any
    answer: Answer
    pictures: tuple[PreparedImage, ...] = ()


class RequestLoop:
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

    def __enter__(self) -> "RequestLoop":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Stop the loop and close the writer; pending requests raise Closed."""
        self._end()

    def answers(self, wanted: Iterable[PendingRequest | None]) -> Iterator[CompletedRequest]:
        """Answers in order of completion. `wanted` is read only as far ahead as there is room; a None in it waits for an
        answer first. Raises Stalled if no answer comes for `writer.silence` seconds; a CurateError of a request is raised
        here and ends the iteration."""
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
                    future = self._in_loop(self._process(each))
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
        """The next of these requests to complete; an answer to another part's request counts as a sign of life."""
        begun = time.monotonic()
        while True:
            left = max(begun, self.heard) + self.writer.silence - time.monotonic()
            if left <= 0:
                raise Stalled(f"{self.writer.model}: no answer for {self.writer.silence:.0f} s")
            self._open()
            try:
                return done.get(timeout=min(left, POLL))
            except Empty:
                continue

    def _open(self) -> None:
        if not self._end.alive:
            raise Closed(f"{self.writer.model}: closed before it had answered")

    def _result(self, future: Future) -> CompletedRequest:
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

    async def _process(self, wanted: PendingRequest) -> CompletedRequest:
        """One request, from its pictures to its answer."""
        content = []
        if sum(not isinstance(part, str) and part.ndim == 3 for part in wanted.content) > self.writer.most_pictures:
            return CompletedRequest(wanted.key, Answer(None, "too_many_images"))
        for part in wanted.content:
            content.append(part if isinstance(part, str) else await self._prepare_part(part))
        if None in content:
            return CompletedRequest(wanted.key, Answer(None, "bad_image"))
        request = Request(tuple(content), wanted.seed)
        async with self.room:
            answer = await self._answer(request)
        return CompletedRequest(wanted.key, answer, tuple(replace(p, data=None) for p in request.seen))

    async def _prepare_part(self, pixels: np.ndarray) -> PreparedImage | Video | None:
        """A picture or a video prepared for the model; None if that fails."""
        if pixels.ndim == 3:
            return await self._prepare_image(pixels)
        frames = await asyncio.gather(*map(self._prepare_image, pixels))
        return None if None in frames else Video(tuple(f for f in frames if f))

    async def _prepare_image(self, image: np.ndarray) -> PreparedImage | None:
        """A picture prepared for the model; None if that fails, which costs one row."""
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
    """End a loop and what its writer has open in it; also when a RequestLoop is garbage collected, or the process ends."""
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
