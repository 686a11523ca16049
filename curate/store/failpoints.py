"""Places where a test can make this process die, or a write fail. In use they cost one comparison.

FAULT is kill, eio, enospc, short (half of the file being written is lost, and nobody says so), segfault, hang or hog.
`CURATE_FAILPOINT=FAULT@N` does FAULT at the N-th place that this process passes (from 0); `FAULT@GLOB` at every place whose
`STEP NAME` matches, like `enospc@fsync work/parts/*`; several are separated by `;`. What has no name is known by the SHA-256 of its
bytes. `CURATE_FAILPOINT_LOG=FILE` writes the places down.
"""

import errno
import fnmatch
import hashlib
import mmap
import os
import signal
import time
from collections.abc import Callable


class Plan:
    """What shall happen where, and how many places were passed."""

    def __init__(self, spec: str, log: str):
        self.faults = [f.split("@", 1) for f in spec.split(";") if f]
        self.log, self.passed = log, -1

    def at(self, place: str, path: str | os.PathLike | None) -> None:
        self.passed += 1
        if self.log:
            with open(self.log, "a") as f:
                f.write(place + "\n")
        for fault, where in self.faults:
            if where == str(self.passed) or fnmatch.fnmatchcase(place, where):
                strike(fault, place, path)


def strike(fault: str, place: str, path: str | os.PathLike | None) -> None:
    """Do it."""
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault in ("eio", "enospc"):
        code = getattr(errno, fault.upper())
        raise OSError(code, os.strerror(code), place)
    elif fault == "short" and path is not None and os.path.exists(path):
        os.truncate(path, os.path.getsize(path) // 2)
    elif fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "hang":
        while True:
            time.sleep(0.1)
    elif fault == "hog":
        try:
            mmap.mmap(-1, 10 << 30)
        except OSError as e:
            raise MemoryError from e
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where nothing is limited and memory is short


def plan() -> Plan | None:
    """What the environment asks for; None if nothing."""
    spec, log = os.environ.get("CURATE_FAILPOINT", ""), os.environ.get("CURATE_FAILPOINT_LOG", "")
    return Plan(spec, log) if spec or log else None


def _armed(step: str, name: str | bytes = "", path: str | os.PathLike | None = None) -> None:
    PLAN.at(f"{step} {name if isinstance(name, str) else hashlib.sha256(name).hexdigest()}", path)


def _unarmed(step: str, name: str | bytes = "", path: str | os.PathLike | None = None) -> None:
    """Nothing."""


PLAN = plan()

#: Called at a place: what is about to happen, to which file, and the private file it is made from.
at: Callable[..., None] = _unarmed if PLAN is None else _armed
