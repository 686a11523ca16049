"""What a process and all below it use: CPU seconds and resident memory, read from /proc."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and its living descendants."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            below.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for one in found:
        found += below.get(one, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of its descendants, and of those that they have waited for."""
    return sum(int(t) for p in tree(pid) for t in _stat(p)[11:15]) / TICK


def resident(pid: int) -> tuple[float, float]:
    """MB in memory: of the process alone, and of it with its descendants; memory that is shared counts once for each that has it."""
    sizes = [int(fields[21]) * PAGE / 1e6 for p in tree(pid) if (fields := _stat(p))]
    return (sizes[0] if sizes else 0.0), sum(sizes)


def proportional(pid: int) -> float:
    """MB in memory of a process; memory shared with n others counts as its n-th part. 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


@dataclass
class Used:
    """What a command and all processes it started used: wall and CPU seconds, the highest sum of their memory in MB, and the highest
    of the command's own process."""

    wall: float
    cpu: float
    memory: float
    driver: float
    code: int


def watch(command: list[str], log: Path, every: float = 0.25, timeout: float = 3600, **options: Any) -> Used:
    """Run a command to its end. Orphans count too: they come to this process. What is left at the end is killed."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    began, mine, times, peak, own = time.perf_counter(), os.getpid(), {}, 0.0, 0.0
    before = set(tree(mine))
    with open(log, "wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **options) as process:
        while process.poll() is None and time.perf_counter() - began < timeout:
            time.sleep(every)
            found = [p for p in tree(mine) if p not in before]
            times |= {p: sum(int(t) for t in fields[11:13]) / TICK for p in found if (fields := _stat(p))}
            sizes = {p: proportional(p) for p in found}
            peak, own = max(peak, sum(sizes.values())), max(own, sizes.get(process.pid, 0.0))
        wall = time.perf_counter() - began
        for left in [p for p in tree(mine) if p not in before]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
    return Used(wall, sum(times.values()), peak, own, process.returncode)
