"""Call a function in a sandboxed child process with limits on time and memory, for untrusted input.

A page of 50 kB can ask a correct HTML parser for gigabytes (unclosed formatting elements are rebuilt in every paragraph) or
for hours (depth squared); a video can crash its codec. In a child the kernel stops that; the call gets an outcome, and the next
one a new child. Only plain values cross the pipe (marshal), no pickle.
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
    """The child ended during a call; `word` is timeout, memory or crash."""

    def __init__(self, word: str):
        super().__init__(word)
        self.word = word


class Contained:
    """Calls `module:function` in a child. seconds: CPU time of one call; memory: the child's address space in bytes.

    A child that sleeps uses no CPU time: it is also killed a minute plus ten times `seconds` after the call. If `function` is a class,
    it is instantiated once in the child, with a `Parent`, and its instance is called; reply: answers the requests it sends by it.
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
            self._reap()

    def _reap(self) -> int:
        """Wait for the ended child; its exit status."""
        child, self.child = self.child, None
        code = child.wait()
        child.close()
        return code

    def __call__(self, *question: Any) -> Any:
        """Call the function with plain values and return its plain result. Raises Died."""
        if self.child is None:
            self.child = fork("curate.models.contained:serve", self.function, self.seconds, self.memory, imports=self.imports)
        late, timer = time.monotonic() + self.wall, threading.Timer(self.wall, self.child.kill)
        timer.start()
        try:
            answer = self._exchange(self.child, question)
        finally:
            timer.cancel()
        if answer is None:
            code = self._reap()
            raise Died("timeout" if code == -signal.SIGPROF or time.monotonic() >= late else "crash")
        if not answer:
            raise Died("memory")
        return answer[0]

    def _exchange(self, child: Child, question: tuple) -> tuple | None:
        """Send a call and answer the child's requests until its reply: (result,), () if out of memory, None if the child is gone."""
        try:
            send(child.output, question)
            while (found := receive(child.input)) is not None and len(found) == 2 and self.reply:
                send(child.output, self.reply(*found[1]))
            return found
        except (BrokenPipeError, ConnectionResetError):
            return None


class Parent:
    """The parent process, from the child's side."""

    def __init__(self, input: BinaryIO, output: BinaryIO, seconds: float):
        self.input, self.output, self.seconds = input, output, seconds

    def ask(self, *question: Any) -> Any:
        """The parent's reply to a request of plain values."""
        send(self.output, ("ask", question))
        return receive(self.input)

    def alive(self) -> None:
        """Report progress: restart the CPU time limit of this call."""
        signal.setitimer(signal.ITIMER_PROF, self.seconds)


def serve(pipe: socket.socket, function: str, seconds: float, memory: int) -> None:
    """Main loop of the child: calls in, replies out, until the parent closes the socket. An empty reply: out of memory."""
    module, name = function.split(":")
    answers = getattr(importlib.import_module(module), name)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    gc.disable()  # trees and rows have no cycles, and a collection would walk all of them
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
    """Read the next value, or None if the other side has closed."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    data = pipe.read(_SIZE.unpack(head)[0])
    return marshal.loads(data) if len(data) == _SIZE.unpack(head)[0] else None
