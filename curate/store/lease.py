"""The lease: one driver at a time holds a run.

Holder n writes `lease/<n>.json` by exclusive create, beats in `lease/<n>.beat`, and ends with `lease/<n>.done`. The highest n
counts. A lease whose holder ended or died is taken over by creating n + 1; from then on the store writes nothing for holder n
or its workers (Store.fence). No clock decides: a holder on this machine is looked up by process id and start time, one
elsewhere, or one that the system hides, is dead when its beat has not changed while we watched for a minute.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from curate.errors import CurateError, RecipeError
from curate.store import atomic
from curate.store.atomic import Store

log = logging.getLogger(__name__)

#: Seconds between two beats; how long a holder elsewhere is watched for one; how often it is looked at.
BEAT, STALE, LOOK = 10, 60, 1
#: Of a process that runs, and of which it cannot be seen since when.
UNKNOWN = "running"
#: Seconds after which two drivers have seen each other's lease, on a store without exclusive create.
SETTLE = 2


@contextlib.contextmanager
def held(store: Store) -> Iterator[None]:
    """Hold the run while the block lasts; RecipeError if another driver does."""
    mine = _take(store)
    store.holder = mine
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(store, mine, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _end(store, mine)
        store.holder = None


def _take(store: Store) -> str:
    names = store.names("lease")
    taken = sorted(n[: -len(".json")] for n in names if n.endswith(".json"))
    died = bool(taken) and f"{taken[-1]}.done" not in names
    if died:
        refuse_if_alive(store, taken[-1])
    mine = f"{int(taken[-1]) + 1 if taken else 1:06d}"
    me = json.dumps({**_self(), "began": time.time(), "nonce": uuid.uuid4().hex}).encode()
    won = store.commit_bytes(f"lease/{mine}.json", me)
    if won and not store.exclusive:
        time.sleep(SETTLE)
        won = store.read(f"lease/{mine}.json") == me
    if died:
        time.sleep(atomic.FRESH)  # workers that outlive their driver look at the lease as often
    if not won:
        raise RecipeError(f"{store.url}: another driver has just taken this run; one at a time")
    for old in names:
        if not old.startswith(mine):
            store.remove(f"lease/{old}")
    return mine


def ended(store: Store) -> bool:
    """Whether the last holder of the run recorded that it ended."""
    names = store.names("lease")
    taken = sorted(n.removesuffix(".json") for n in names if n.endswith(".json"))
    return bool(taken) and f"{taken[-1]}.done" in names


def busy(store: Store) -> str | None:
    """Who holds the run, in words; None if nobody does."""
    names = store.names("lease")
    taken = sorted(n.removesuffix(".json") for n in names if n.endswith(".json"))
    if not taken or f"{taken[-1]}.done" in names:
        return None
    try:
        refuse_if_alive(store, taken[-1])
    except RecipeError as e:
        return str(e)
    return None


def _end(store: Store, mine: str) -> None:
    """Say that this holder has ended; on a full disk by removing its lease, which takes no space."""
    try:
        store.publish_bytes(f"lease/{mine}.done", b"")
    except CurateError as e:
        log.warning("%s", e)
        with contextlib.suppress(CurateError):
            store.remove(f"lease/{mine}.json")


def refuse_if_alive(store: Store, n: str) -> None:
    """RecipeError if the holder of lease `n`, which has not ended, is alive."""
    try:
        holder = json.loads(store.read(f"lease/{n}.json"))
        here = all(holder[k] == v for k, v in _self().items() if k not in ("pid", "start"))
        started = _started(holder["pid"]) if here else UNKNOWN
        alive = _beats(store, n, holder) if started == UNKNOWN else started == holder["start"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError) as e:
        log.warning("%s/lease/%s.json cannot be read (%s): taken for that of a dead driver", store.url, n, e)
        return
    if alive:
        raise RecipeError(
            f"{store.url}: another driver holds this run (pid {holder['pid']} on {holder['host']}); one at a time"
        )


def _beats(store: Store, n: str, holder: dict[str, Any]) -> bool:
    """Watch the beat of a holder that cannot be looked up: True as soon as it changes, False if it does not or the lease ends."""
    log.warning(
        "%s is held by pid %s on %s: watching for up to %d s whether it is alive",
        store.url,
        holder["pid"],
        holder["host"],
        STALE,
    )
    first, until = _last(store, n), time.monotonic() + STALE
    while time.monotonic() < until:
        time.sleep(LOOK)
        if store.exists(f"lease/{n}.done"):
            return False
        if _last(store, n) != first:
            return True
    return False


def _last(store: Store, n: str) -> bytes:
    try:
        return store.read(f"lease/{n}.beat")
    except FileNotFoundError:
        return b""


def _beat(store: Store, n: str, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        try:
            store.publish_bytes(f"lease/{n}.beat", uuid.uuid4().hex.encode())
        except (CurateError, OSError) as e:
            log.warning("lease %s: no beat: %s", n, e)


def _self() -> dict[str, Any]:
    """Who this process is: machine, boot and process namespace, number and start time (numbers are used again)."""
    return {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "start": _started(os.getpid())}


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks since boot; empty if it does not run, UNKNOWN if this cannot be seen: where there is
    no /proc, or where it hides the processes of other users."""
    fields = _look(pid)
    if fields is None:
        return UNKNOWN if _runs(pid) else ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _look(pid: int) -> list[str] | None:
    """What the kernel says of a process, from its state on; None if it says nothing."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _runs(pid: int) -> bool:
    """Whether there is a process of this number, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str:
    """This boot of this machine, and the namespace in which process numbers count."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
            return f"{f.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
