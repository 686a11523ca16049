"""A function in a process of its own, with limits on time and memory, for what strangers wrote.

A page of 50 kB can ask a correct HTML parser for gigabytes (unclosed formatting elements are rebuilt in every paragraph) or
for hours (depth squared); a video can crash its codec. In a child the kernel ends that, what was asked gets an outcome, and
the next question a fresh child. Only plain values cross the pipe (marshal), no pickle.
"""

import gc
import importlib
import marshal
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

_SIZE = struct.Struct("<Q")
_START = "from curate.models.contained import serve; serve({function!r}, {seconds}, {memory})"


#: What a child sees of the environment: what it needs to start, and no keys.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")


class Died(Exception):
    """The child did not survive a question; `word` is timeout, memory or crash."""

    def __init__(self, word: str):
        super().__init__(word)
        self.word = word


class Contained:
    """Calls `module:function` in a child. `seconds` is CPU time for one call, `memory` the child's address space in bytes.

    A child that sleeps uses no CPU time: one that has not answered after a minute and ten times `seconds` is ended too.
    """

    def __init__(self, function: str, seconds: float, memory: int):
        self.command = [sys.executable, "-c", _START.format(function=function, seconds=float(seconds), memory=int(memory))]
        self.wall = 60 + 10 * seconds
        self.child: subprocess.Popen | None = None

    def __enter__(self) -> "Contained":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
            self.child = None

    def __call__(self, *question: Any) -> Any:
        """The function's answer, plain values both ways; raises Died."""
        if self.child is None:
            path = os.pathsep.join(p or os.getcwd() for p in sys.path)
            environment = {k: v for k, v in os.environ.items() if k in _KEPT}
            environment |= {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        late, timer = time.monotonic() + self.wall, threading.Timer(self.wall, self.child.kill)
        timer.start()
        try:
            send(self.child.stdin, question)
            answer = receive(self.child.stdout)
        except BrokenPipeError:
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            self.child.communicate()
            code, self.child = self.child.returncode, None
            raise Died("timeout" if code == -signal.SIGPROF or time.monotonic() >= late else "crash")
        if not answer:
            raise Died("memory")
        return answer[0]


def serve(function: str, seconds: float, memory: int) -> None:
    """The child's loop: a question in, its answer out, until the parent goes away. An empty answer: not enough memory."""
    module, name = function.split(":")
    answers = getattr(importlib.import_module(module), name)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing printed by a library can get between the answers
    gc.disable()  # trees and rows hold no cycles; a collection walks all of a page's rows for nothing
    while (question := receive(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = (answers(*question),)
        except MemoryError:
            answer = ()
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(out, answer)


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
