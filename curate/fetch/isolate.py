"""A decoder in a process of its own: when a picture kills it, is slow or eats its memory, that picture alone is lost.

The child has a cap on its CPU time for a picture and on its address space, writes no files, and gets and gives nothing but lengths
and raw bytes: no pickle crosses the pipe, so a decoder that was taken over can only lie about pixels. Pixels are in memory that
both share, and copied out of it: by way of the pipe they would cost as much as decoding.
"""

import fcntl
import itertools
import json
import math
import mmap
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from curate.fetch.image import MAX_PIXELS, Broken, inspect
from curate.preprocess import Preprocess

if TYPE_CHECKING:
    from curate.fetch.reencode import Resize

#: The most CPU seconds for one picture: a small one has fewer, see `allowed`. Many times what decoders need for honest files.
SECONDS = 20.0
_LEAST, _PER_PIXEL = 1.0, 1 / 4e6
#: Bytes of address space of the child, of which its libraries take about half a gigabyte.
MEMORY = 9 << 28
#: Bytes of shared memory, which are taken as far as pixels fill them; of what is larger than _LARGE they are given back at once.
_LARGE = 32 << 20
_SHARED = 3 * MAX_PIXELS + _LARGE  # a whole picture, and the inputs of models that are made of it

#: Bytes a pipe holds, where the system lets it be set: an ordinary picture then crosses in one go.
_PIPE = 1 << 20

_ASK = struct.Struct("<II")  # bytes of JSON, bytes of the file
_TELL = struct.Struct("<BBIII")  # outcome, orientation, width, height, bytes that follow, or of pixels in shared memory
_OUTCOMES = ("ok", "broken", "decoder_memory")
_SIGNALS = {signal.SIGKILL: "decoder_memory", signal.SIGPROF: "decoder_timeout"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A child's answer: an outcome of schema.DECODE; orientation, width and height; pixels (uint8, height x width x 3), or a file."""

    outcome: str
    orientation: int = 1
    width: int = 0
    height: int = 0
    made: list[np.ndarray] | bytes = b""


class Isolated:
    """Decodes, or re-encodes, one file at a time in a child process, which is started when it is first needed.

    seconds: most CPU time for one picture.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY):
        self.seconds, self.memory = seconds, memory
        self.child: subprocess.Popen | None = None
        self.shared: mmap.mmap | None = None
        self.turn = threading.Lock()

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def decode(self, data: bytes) -> np.ndarray | str:
        """Pixels as pixels.decode has them, or an outcome of schema.DECODE."""
        found = self.prepare(data, (None,))
        return found if isinstance(found, str) else found[0]

    def prepare(self, data: bytes, wanted: Sequence[Preprocess | None]) -> list[np.ndarray] | str:
        """What is wanted of a picture, uint8 (height, width, 3) each, None: every pixel; or an outcome of schema.DECODE, which is the same
        whatever is wanted, if only nothing."""
        reply = self._ask({"wanted": [w and asdict(w) for w in wanted]}, data)
        return reply.made if reply.outcome == "ok" else reply.outcome

    def flatten(self, data: bytes) -> tuple[np.ndarray | str, int]:
        """What reencode.flatten returns; an outcome of schema.DECODE in the place of pixels that cannot be had."""
        reply = self._ask({"flatten": True, "wanted": [None]}, data)
        return reply.made[0] if reply.outcome == "ok" else reply.outcome, reply.orientation

    def resize(self, how: "Resize", data: bytes) -> tuple[str, int, int, bytes]:
        """An outcome of schema.DECODE; width, height and bytes of the re-encoded file; the same bytes where they are to be kept."""
        reply = self._ask(asdict(how), data)
        return reply.outcome, reply.width, reply.height, bytes(reply.made) or data

    def _ask(self, how: dict, data: bytes) -> Reply:
        """One question and its answer; threads take turns."""
        with self.turn:
            return self._answer(how, data)

    def _answer(self, how: dict, data: bytes) -> Reply:
        child = self.child = self.child or self._start()
        # A child that sleeps uses no CPU time, and one of many on a machine has to wait for its turn.
        deadline = time.monotonic() + 3 * self.seconds + 1
        try:
            note = json.dumps(how).encode()
            child.stdin.write(_ASK.pack(len(note), len(data)) + note)
            child.stdin.write(data)
            child.stdin.flush()
            code, orientation, width, height, size = _TELL.unpack(self._read(_TELL.size, deadline))
            outcome = _OUTCOMES[code]
            if "mode" not in how:
                made = self._pixels(how["wanted"] if outcome == "ok" else [], width, height, size)
            elif size <= 3 * how.get("max_pixels", 0) + _LARGE:
                made = self._read(size, deadline)
            else:
                raise ValueError("no decoder says so: it was taken over")
        except TimeoutError:
            self.stop()
            return Reply("decoder_timeout")
        except (ValueError, IndexError):
            self.stop()
            return Reply("decoder_crash")
        except (BrokenPipeError, EOFError):
            self.stop()
            # The kernel's answer to a machine out of memory is SIGKILL.
            return Reply(_SIGNALS.get(-child.returncode, "decoder_crash"))
        return Reply(outcome, orientation, width, height, made)

    def _pixels(self, wanted: list[dict | None], width: int, height: int, size: int) -> list[np.ndarray]:
        """Copies of the pixels in shared memory. ValueError where there cannot be so many."""
        shapes = [(w["size"], w["size"], 3) if w else (height, width, 3) for w in wanted]
        ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
        if size > _SHARED or size != (ends[-1] if ends else 0):
            raise ValueError("no decoder says so: it was taken over")
        flat = np.frombuffer(self.shared, np.uint8, size)
        found = [flat[end - math.prod(shape) : end].reshape(shape).copy() for shape, end in zip(shapes, ends)]
        if size > _LARGE:
            self.shared.madvise(mmap.MADV_REMOVE)
        return found

    def _start(self) -> subprocess.Popen:
        run = (
            "import sys; sys.path[:] = sys.argv[4:]; from curate.fetch.isolate import serve; serve(*map(float, sys.argv[1:4]))"
        )
        path = [os.path.abspath(p) for p in sys.path]
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG", "CURATE_FAILPOINT")}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        shared = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(shared, _SHARED)
            # A child that could make it smaller would take this process along: reading behind its end is a SIGBUS.
            fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self.shared = mmap.mmap(shared, _SHARED)
            return subprocess.Popen(
                [sys.executable, "-c", run, str(self.memory), str(self.seconds), str(shared), *path],
                env=env,
                pipesize=_PIPE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(shared,),
            )
        finally:
            os.close(shared)

    def _read(self, size: int, deadline: float) -> bytearray:
        out, ready = self.child.stdout.fileno(), select.poll()  # select() knows no files beyond the 1024th
        ready.register(out, select.POLLIN)
        found = bytearray(size)
        rest = memoryview(found)
        while rest:
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            got = os.readv(out, [rest])
            if not got:
                raise EOFError
            rest = rest[got:]
        return found

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
        if self.shared is not None:
            self.shared.close()
            self.shared = None


# ---- in the child


def serve(memory: float, seconds: float, shared: float) -> None:
    """Answer requests on standard input until it closes."""
    from curate.fetch.reencode import Resize, flatten

    pixels_out = mmap.mmap(int(shared), _SHARED)
    for limit, value in ((resource.RLIMIT_AS, int(memory)), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    ask, tell = sys.stdin.buffer, sys.stdout.buffer
    while head := ask.read(_ASK.size):
        note, size = _ASK.unpack(head)
        how, data = json.loads(ask.read(note)), ask.read(size)
        signal.setitimer(signal.ITIMER_PROF, min(seconds, allowed(data)))
        try:
            if "mode" in how:
                raw, width, height = Resize(**how)(data)
                _tell(tell, 0, 1, width, height, b"" if raw is data else raw)
            else:
                pixels, orientation = flatten(data) if "flatten" in how else (None, 1)
                made = _prepared(data, how["wanted"]) if pixels is None else [pixels]
                end = 0
                for each in made:
                    np.copyto(np.frombuffer(pixels_out, np.uint8, each.size, end).reshape(each.shape), each)
                    end += each.size
                height, width = next((each.shape[:2] for each, w in zip(made, how["wanted"]) if w is None), (0, 0))
                _tell(tell, 0, orientation, width, height, size=end)
        except Broken:
            _tell(tell, 1)
        except MemoryError:
            _tell(tell, 2)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _prepared(data: bytes, wanted: list[dict | None]) -> list[np.ndarray]:
    """Each result depends only on the file and on its own preprocessing, not on what else is asked of the same file."""
    from curate.fetch.pixels import decode

    if not wanted:
        decode(data, least=1)
    decoded: dict[int, np.ndarray] = {}
    found = []
    for want in wanted:
        prepare = Preprocess(**want) if want else None
        least = prepare.least if prepare else 0
        if least not in decoded:
            decoded[least] = decode(data, least=least)
        found.append(prepare(decoded[least]) if prepare else decoded[least])
    return found


def allowed(data: bytes) -> float:
    """CPU seconds that a picture may take, by the size that its header tells."""
    _, found = inspect(data, sys.maxsize)
    return _LEAST + (found.width * found.height * _PER_PIXEL if found else 0)


def _tell(
    tell: BinaryIO, code: int, orientation: int = 1, width: int = 0, height: int = 0, raw: bytes = b"", size: int = 0
) -> None:
    tell.write(_TELL.pack(code, orientation, width, height, size or len(raw)))
    tell.write(raw)
    tell.flush()
