"""A function in a process of its own, with limits on time and memory, for what strangers wrote.

A page of 50 kB can ask a correct HTML parser for gigabytes (unclosed formatting elements are rebuilt in every paragraph) or
for hours (depth squared); a video can crash its codec. In a child the kernel ends that, what was asked gets an outcome, and
the next question a fresh child. Only plain values cross the pipe (marshal), no pickle.
"""

import gc
import importlib
import marshal
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from curate.models.forks import Child, fork

_SIZE = struct.Struct("<Q")


class Died(Exception):
    """The child did not survive a question; `word` is timeout, memory or crash."""

    def __init__(self, word: str):
        super().__init__(word)
        self.word = word


class Contained:
    """Calls `module:function` in a child. `seconds` is CPU time for one call, `memory` the child's address space in bytes.

    A child that sleeps uses no CPU time: one that has not answered after a minute and ten times `seconds` is ended too.
    A class in the place of the function is made once in the child, with `Parent`, and called there; reply: answers what it asks.
    imports: modules that the function imports late.
    """

    def __init__(
        self,
        function: str,
        seconds: float,
        memory: int,
        reply: Callable[..., Any] | None = None,
        imports: tuple[str, ...] = (),
    ):
        self.function, self.seconds, self.memory, self.reply = function, float(seconds), int(memory), reply
        self.imports = (function.partition(":")[0], *imports)
        self.wall = 60 + 10 * seconds
        self.child: Child | None = None

    def __enter__(self) -> "Contained":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self._ended()

    def _ended(self) -> int:
        """How the child ended."""
        child, self.child = self.child, None
        code = child.wait()
        child.close()
        return code

    def __call__(self, *question: Any) -> Any:
        """The function's answer, plain values both ways; raises Died."""
        if self.child is None:
            self.child = fork("curate.models.contained:serve", self.function, self.seconds, self.memory, imports=self.imports)
        late, timer = time.monotonic() + self.wall, threading.Timer(self.wall, self.child.kill)
        timer.start()
        try:
            answer = self._answer(self.child, question)
        finally:
            timer.cancel()
        if answer is None:
            code = self._ended()
            raise Died("timeout" if code == -signal.SIGPROF or time.monotonic() >= late else "crash")
        if not answer:
            raise Died("memory")
        return answer[0]

    def _answer(self, child: Child, question: tuple) -> tuple | None:
        """What comes back: (answer,), () for too little memory, None from a child that is gone. Its own questions are answered."""
        try:
            send(child.output, question)
            while (found := receive(child.input)) is not None and len(found) == 2 and self.reply:
                send(child.output, self.reply(*found[1]))
            return found
        except (BrokenPipeError, ConnectionResetError):
            return None


class Parent:
    """The asking side, as the child sees it."""

    def __init__(self, input: BinaryIO, output: BinaryIO, seconds: float):
        self.input, self.output, self.seconds = input, output, seconds

    def ask(self, *question: Any) -> Any:
        """What the parent answers to a question of plain values."""
        send(self.output, ("ask", question))
        return receive(self.input)

    def alive(self) -> None:
        """There was progress: the CPU time of this call runs anew."""
        signal.setitimer(signal.ITIMER_PROF, self.seconds)


def serve(pipe: socket.socket, function: str, seconds: float, memory: int) -> None:
    """The child's loop: a question in, its answer out, until the parent goes away. An empty answer: not enough memory."""
    module, name = function.split(":")
    answers = getattr(importlib.import_module(module), name)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    gc.disable()  # trees and rows hold no cycles; a collection walks all of a page's rows for nothing
    parent = Parent(pipe.makefile("rb"), pipe.makefile("wb"), seconds)
    if isinstance(answers, type):
        answers = answers(parent)
    while (question := receive(parent.input)) is not None:
        parent.alive()
        try:
            answer = (answers(*question),)
        except MemoryError:
            answer = ()
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(parent.output, answer)


def send(pipe: BinaryIO, value: Any) -> None:
    data = marshal.dumps(value)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any | None:
    """The next value, or None if the other side is gone."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    data = pipe.read(_SIZE.unpack(head)[0])
    return marshal.loads(data) if len(data) == _SIZE.unpack(head)[0] else None
