"""The parser in a process of its own, with limits on time and memory.

A page of 50 kB can ask a correct HTML parser for gigabytes (unclosed formatting elements are rebuilt in every paragraph) or
for hours (depth squared). In a child the kernel ends that, the page gets an outcome, and the next page a fresh child.
"""

import gc
import marshal
import os
import resource
import signal
import struct
import subprocess
import sys
from typing import Any, BinaryIO

from curate.sources.html.extract import extract

_SIZE = struct.Struct("<Q")
_START = "from curate.sources.html.contained import serve; serve({seconds}, {memory})"


class Parser:
    """Parses pages in a child. `seconds` is CPU time for one page, `memory` the child's address space in bytes."""

    def __init__(self, seconds: float, memory: int):
        self.command = [sys.executable, "-c", _START.format(seconds=float(seconds), memory=int(memory))]
        self.child: subprocess.Popen | None = None

    def __enter__(self) -> "Parser":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
            self.child = None

    def __call__(self, body: bytes, declared: str | None, url: str, robots: list[str], honor_opt_out: bool) -> dict[str, Any]:
        """What extract() returns, or an outcome if the parser did not survive the page."""
        if self.child is None:
            path = os.pathsep.join(p or os.getcwd() for p in sys.path)
            environment = {**os.environ, "PYTHONPATH": path}
            self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            send(self.child.stdin, (body, declared, url, robots, honor_opt_out))
            answer = receive(self.child.stdout)
        except BrokenPipeError:
            answer = None
        if answer is not None:
            return answer
        self.child.communicate()
        code, self.child = self.child.returncode, None
        return {"outcome": "parser_timeout" if code == -signal.SIGPROF else "parser_crash"}


def serve(seconds: float, memory: int) -> None:
    """The child's loop: a page in, its rows out, until the parent goes away."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing printed by a library can get between the answers
    gc.disable()  # trees and rows hold no cycles; a collection walks all of a page's rows for nothing
    while (question := receive(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = extract(*question)
        except MemoryError:
            answer = {"outcome": "parser_memory"}
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
