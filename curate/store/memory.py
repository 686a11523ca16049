"""The memory of this process: how much it may take, and that it goes back to the system."""

import contextlib
import ctypes
from pathlib import Path

import pyarrow as pa

#: Where the kernel tells of the control group that this process runs in.
GROUP = Path("/sys/fs/cgroup")

_ARENA_MAX = -8  # of mallopt(3)


def one_heap() -> None:
    """Let threads that begin from now on take their memory from one heap, from which it is given back after each act: a heap for
    each keeps what it took at most, and a run would hold the sum of these."""
    with contextlib.suppress(AttributeError):  # not every C library has it
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Let the system have the memory that was freed, so that no act begins with what the one before it took."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of the control group that it runs in if that has fewer."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    with contextlib.suppress(FileNotFoundError, ValueError):  # no control group, or no limit
        group = GROUP
        held = int((group / "memory.current").read_text())
        kinds = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = int(kinds.get("inactive_file", 0))  # of files: given back when it is needed
        free = min(free, int((group / "memory.max").read_text()) - held + cached)
    return max(free, 0)
