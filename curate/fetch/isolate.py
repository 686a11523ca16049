"""A decoder in a process of its own: when a picture kills it, hangs it or eats its memory, that picture alone is lost.

The child has a cap on its address space, writes no files, and gets and gives nothing but lengths and raw bytes: no pickle
crosses the pipe, so a decoder that was taken over can only lie about pixels.
"""

import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from curate.fetch.pixels import Resize

#: Seconds for one picture, and bytes of address space of the child, of which its libraries take about half a gigabyte.
SECONDS, MEMORY = 20.0, 3 << 30

#: Bytes a pipe holds, where the system lets it be set: an ordinary picture then crosses in one go.
_PIPE = 1 << 20

_ASK = struct.Struct("<II")  # bytes of JSON, bytes of the file
_TELL = struct.Struct("<BIII")  # outcome, width, height, bytes that follow
_OUTCOMES = ("ok", "broken", "decoder_memory")


class Isolated:
    """Decodes, or re-encodes, one file at a time in a child process, which is started when it is first needed."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY):
        self.seconds, self.memory = seconds, memory
        self.child: subprocess.Popen | None = None
        self.turn = threading.Lock()

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def decode(self, data: bytes) -> np.ndarray | str:
        """Pixels as pixels.decode gives them, or an outcome of schema.DECODE."""
        outcome, width, height, raw = self.call({}, data)
        if outcome != "ok":
            return outcome
        if len(raw) != 3 * width * height:
            return "decoder_crash"  # taken over: no decoder says so
        return np.frombuffer(raw, np.uint8).reshape(height, width, 3)

    def resize(self, how: "Resize", data: bytes) -> tuple[str, int, int, bytes]:
        """An outcome of schema.DECODE; width, height and bytes of the re-encoded file."""
        return self.call(asdict(how), data)

    def call(self, how: dict, data: bytes) -> tuple[str, int, int, bytes]:
        """One question and its answer; threads take turns."""
        with self.turn:
            return self._call(how, data)

    def _call(self, how: dict, data: bytes) -> tuple[str, int, int, bytes]:
        child = self.child = self.child or self._start()
        try:
            note = json.dumps(how).encode()
            child.stdin.write(_ASK.pack(len(note), len(data)) + note)
            child.stdin.write(data)
            child.stdin.flush()
            deadline = time.monotonic() + self.seconds
            code, width, height, size = _TELL.unpack(self._read(_TELL.size, deadline))
            raw = self._read(size, deadline)
        except TimeoutError:
            self.stop()
            return "decoder_timeout", 0, 0, b""
        except (BrokenPipeError, EOFError):
            self.stop()
            # The kernel's answer to a machine out of memory is SIGKILL.
            return "decoder_memory" if child.returncode == -signal.SIGKILL else "decoder_crash", 0, 0, b""
        return (_OUTCOMES[code] if code < len(_OUTCOMES) else "decoder_crash"), width, height, raw

    def _start(self) -> subprocess.Popen:
        run = "import sys; sys.path[:] = sys.argv[2:]; from curate.fetch.isolate import serve; serve(int(sys.argv[1]))"
        path = [os.path.abspath(p) for p in sys.path]
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG", "CURATE_FAILPOINT")}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-c", run, str(self.memory), *path],
            env=env,
            pipesize=_PIPE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _read(self, size: int, deadline: float) -> bytes:
        fd, pieces, ready = self.child.stdout.fileno(), [], select.poll()  # select() knows no files beyond the 1024th
        ready.register(fd, select.POLLIN)
        while size:
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            piece = os.read(fd, min(size, 1 << 20))
            if not piece:
                raise EOFError
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def stop(self) -> None:
        child, self.child = self.child, None
        if child is None:
            return
        try:
            child.wait(0.2 if child.poll() is None and child.stdin.closed else 0)
        except subprocess.TimeoutExpired:
            child.kill()
        child.stdout.close()
        try:
            child.stdin.close()
        except BrokenPipeError:
            pass  # what was not written to it yet is of no interest
        child.wait()


# ---- in the child


def serve(memory: int) -> None:
    """Answer requests on standard input until it closes."""
    from curate.fetch.image import Broken
    from curate.fetch.pixels import Resize, decode

    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    ask, tell = sys.stdin.buffer, sys.stdout.buffer
    while head := ask.read(_ASK.size):
        note, size = _ASK.unpack(head)
        how, data = json.loads(ask.read(note)), ask.read(size)
        try:
            if how:
                raw, width, height = Resize(**how)(data)
            else:
                pixels = decode(data)
                (height, width), raw = pixels.shape[:2], np.ascontiguousarray(pixels).data.cast("B")
            _tell(tell, 0, width, height, raw)
        except Broken:
            _tell(tell, 1)
        except MemoryError:
            _tell(tell, 2)


def _tell(tell: BinaryIO, code: int, width: int = 0, height: int = 0, raw: bytes | memoryview = b"") -> None:
    tell.write(_TELL.pack(code, width, height, len(raw)))
    tell.write(raw)
    tell.flush()
