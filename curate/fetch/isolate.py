"""Image decoding in a sandboxed child process: a picture that crashes, hangs or exhausts the decoder fails alone.

The child has limits on CPU time for a picture and on address space, cannot write files, and exchanges only lengths and raw bytes:
no pickle crosses the pipe, so a compromised decoder can only return wrong pixels. Pixels are copied from shared memory: through
the pipe they would cost as much as decoding.
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
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from curate.fetch.image import MAX_PIXELS, Broken, inspect
from curate.preprocess import Preprocess

if TYPE_CHECKING:
    from curate.fetch.reencode import Resize

#: Most CPU seconds for one picture (fewer for a small one, see `allowed`): many times what regular files need.
SECONDS = 20.0
_MIN_SECONDS, _SECONDS_PER_PIXEL = 1.0, 1 / 4e6
#: Bytes of address space of the child, of which its libraries take about half a gigabyte.
MEMORY = 9 << 28
#: Bytes of shared memory, allocated as pixels fill it; after a result larger than _LARGE_PIXELS it is freed at once.
_LARGE_PIXELS = 32 << 20
_SHARED = 3 * MAX_PIXELS + _LARGE_PIXELS  # a whole picture and the model inputs prepared from it

#: Buffer size of the pipes, where the system allows it: an ordinary picture then needs one write.
_PIPE = 1 << 20

_REQUEST_HEADER = struct.Struct("<II")  # bytes of JSON, bytes of the file
_REPLY_HEADER = struct.Struct("<BBIII")  # outcome, orientation, width, height, bytes that follow, or of pixels in shared memory
_OUTCOMES = ("ok", "broken", "decoder_memory")
_SIGNALS = {signal.SIGKILL: "decoder_memory", signal.SIGPROF: "decoder_timeout"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A child's reply: an outcome of schema.DECODE; orientation, width and height; pixels (uint8, height x width x 3) or an encoded file."""

    outcome: str
    orientation: int = 1
    width: int = 0
    height: int = 0
    result: Any = b""  # list[np.ndarray] | bytes, by what was asked


class Isolated:
    """A child process that decodes or re-encodes one file at a time; started on first use and after a failure. Thread-safe.

    seconds: most CPU time for one picture. memory: bytes of address space.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY):
        self.seconds, self.memory = seconds, memory
        self.child: subprocess.Popen | None = None
        self.shared: mmap.mmap | None = None
        self.lock = threading.Lock()

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def decode(self, data: bytes) -> np.ndarray | str:
        """The pixels, as pixels.decode returns them, or an outcome of schema.DECODE."""
        found = self.prepare(data, (None,))
        return found if isinstance(found, str) else found[0]

    def prepare(self, data: bytes, wanted: Sequence[Preprocess | None]) -> list[np.ndarray] | str:
        """A picture in each wanted preprocessing (None: full size), uint8 (height, width, 3) each; or an outcome of schema.DECODE, which does
        not depend on what is wanted and is also returned where nothing is."""
        reply = self._request({"wanted": [w and asdict(w) for w in wanted]}, data)
        return reply.result if reply.outcome == "ok" else reply.outcome

    def flatten(self, data: bytes) -> tuple[np.ndarray | str, int]:
        """Pixels and orientation as reencode.flatten returns them, or an outcome of schema.DECODE in place of the pixels."""
        reply = self._request({"flatten": True, "wanted": [None]}, data)
        return reply.result[0] if reply.outcome == "ok" else reply.outcome, reply.orientation

    def resize(self, how: "Resize", data: bytes) -> tuple[str, int, int, bytes]:
        """Re-encode a file: an outcome of schema.DECODE, width, height and the file's bytes (the same ones where `how` keeps them)."""
        reply = self._request(asdict(how), data)
        return reply.outcome, reply.width, reply.height, bytes(reply.result) or data

    def _request(self, how: dict, data: bytes) -> Reply:
        """Send a request and read its reply, one thread at a time."""
        with self.lock:
            return self._exchange(how, data)

    def _exchange(self, how: dict, data: bytes) -> Reply:
        child = self.child = self.child or self._start()
        # Wall time beside the CPU limit: a sleeping child uses no CPU, and on a busy machine it waits for a core.
        deadline = time.monotonic() + 3 * self.seconds + 1
        try:
            options = json.dumps(how).encode()
            child.stdin.write(_REQUEST_HEADER.pack(len(options), len(data)) + options)
            child.stdin.write(data)
            child.stdin.flush()
            code, orientation, width, height, size = _REPLY_HEADER.unpack(self._read(_REPLY_HEADER.size, deadline))
            outcome = _OUTCOMES[code]
            if "mode" not in how:
                made = self._pixels(how["wanted"] if outcome == "ok" else [], width, height, size)
            elif size <= 3 * how.get("max_pixels", 0) + _LARGE_PIXELS:
                made = self._read(size, deadline)
            else:
                raise ValueError("inconsistent reply: the decoder may be compromised")
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
        """Copies of the pixels in shared memory. ValueError if the reply's sizes are inconsistent."""
        shapes = [(w["size"], w["size"], 3) if w else (height, width, 3) for w in wanted]
        ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
        if size > _SHARED or size != (ends[-1] if ends else 0):
            raise ValueError("inconsistent reply: the decoder may be compromised")
        flat = np.frombuffer(self.shared, np.uint8, size)
        found = [flat[end - math.prod(shape) : end].reshape(shape).copy() for shape, end in zip(shapes, ends)]
        if size > _LARGE_PIXELS:
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
            # Sealed: if the child shrank it, reading past its end would kill this process (SIGBUS).
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
            pass  # unsent data is discarded
        child.wait()
        if self.shared is not None:
            self.shared.close()
            self.shared = None


# ---- in the child


def serve(memory: float, seconds: float, shared: float) -> None:
    """Main loop of the child: answer requests from standard input until it closes."""
    from curate.fetch.reencode import Resize, flatten

    pixels_out = mmap.mmap(int(shared), _SHARED)
    for limit, value in ((resource.RLIMIT_AS, int(memory)), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(_REQUEST_HEADER.size):
        options_size, size = _REQUEST_HEADER.unpack(head)
        how, data = json.loads(requests.read(options_size)), requests.read(size)
        signal.setitimer(signal.ITIMER_PROF, min(seconds, allowed(data)))
        try:
            if "mode" in how:
                raw, width, height = Resize(**how)(data)
                _write_reply(replies, 0, 1, width, height, b"" if raw is data else raw)
            else:
                pixels, orientation = flatten(data) if "flatten" in how else (None, 1)
                made = _decode_all(data, how["wanted"]) if pixels is None else [pixels]
                end = 0
                for each in made:
                    np.copyto(np.frombuffer(pixels_out, np.uint8, each.size, end).reshape(each.shape), each)
                    end += each.size
                height, width = next((each.shape[:2] for each, w in zip(made, how["wanted"]) if w is None), (0, 0))
                _write_reply(replies, 0, orientation, width, height, size=end)
        except Broken:
            _write_reply(replies, 1)
        except MemoryError:
            _write_reply(replies, 2)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _decode_all(data: bytes, wanted: list[dict | None]) -> list[np.ndarray]:
    """A file in each wanted preprocessing; a result depends on the file and that preprocessing alone, not on the others."""
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
    """CPU seconds allowed for a picture, by the size in its header."""
    _, found = inspect(data, sys.maxsize)
    return _MIN_SECONDS + (found.width * found.height * _SECONDS_PER_PIXEL if found else 0)


def _write_reply(
    replies: BinaryIO, code: int, orientation: int = 1, width: int = 0, height: int = 0, raw: bytes = b"", size: int = 0
) -> None:
    replies.write(_REPLY_HEADER.pack(code, orientation, width, height, size or len(raw)))
    replies.write(raw)
    replies.flush()
