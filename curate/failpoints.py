"""Places where a test can make this process die, or a write fail. In use they cost one comparison.

`CURATE_FAILPOINT=FAULT@N` does FAULT at the N-th place that this process passes (from 0); `FAULT@GLOB` at every place whose
`STEP NAME` matches, like `enospc@commit.sync parts/*`. `CURATE_FAILPOINT_LOG=FILE` writes the places down.
"""

import errno
import fnmatch
import os
import signal
import time
from collections.abc import Callable

#: What can go wrong. `short`: half of the file being written is lost, and nobody says so.
FAULTS = ("kill", "eio", "enospc", "short", "segfault", "hang", "hog")


class Plan:
    """What shall happen where, and how many places were passed."""

    def __init__(self, spec: str, log: str):
        self.fault, _, self.where = spec.partition("@")
        self.log, self.passed = log, 0

    def at(self, place: str, path: str | os.PathLike | None) -> None:
        here = self.where == str(self.passed) or (not self.where.isdigit() and fnmatch.fnmatchcase(place, self.where))
        self.passed += 1
        if self.log:
            with open(self.log, "a") as f:
                f.write(place + "\n")
        if self.fault and here:
            strike(self.fault, place, path)


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
        bytearray(10 << 30)


def plan() -> Plan | None:
    """What the environment asks for; None if nothing."""
    spec, log = os.environ.get("CURATE_FAILPOINT", ""), os.environ.get("CURATE_FAILPOINT_LOG", "")
    return Plan(spec, log) if spec or log else None


def _armed(step: str, name: str = "", path: str | os.PathLike | None = None) -> None:
    PLAN.at(f"{step} {name}", path)


def _unarmed(step: str, name: str = "", path: str | os.PathLike | None = None) -> None:
    """Nothing."""


PLAN = plan()

#: Called at a place: what is about to happen, to which file, and the private file it is made from.
at: Callable[..., None] = _unarmed if PLAN is None else _armed
