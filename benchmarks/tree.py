"""What a process and all below it use: CPU seconds and resident memory, read from /proc."""

import os
from pathlib import Path

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
