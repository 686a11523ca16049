"""The lease: one driver at a time holds a run.

Holder n writes `lease/<n>.json` by exclusive create, beats in `lease/<n>.beat`, and ends with `lease/<n>.done`. The highest n
counts. A lease whose holder ended, died on this machine, or has not beaten for a minute is taken over by creating n + 1.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator

from curate.errors import RecipeError
from curate.store import Store

#: Seconds between two beats, and without a beat until a lease is stale.
BEAT, STALE = 10, 60


@contextlib.contextmanager
def held(store: Store) -> Iterator[None]:
    """Hold the run while the block lasts; RecipeError if another driver does."""
    names = store.names("lease")
    taken = sorted(n[:-len(".json")] for n in names if n.endswith(".json"))
    if taken and f"{taken[-1]}.done" not in names:
        _refuse_if_alive(store, taken[-1], names)
    mine = f"{int(taken[-1]) + 1 if taken else 1:06d}"
    me = {"host": socket.gethostname(), "pid": os.getpid(), "boot": _boot(), "began": time.time()}
    if not store.commit_bytes(f"lease/{mine}.json", json.dumps(me).encode()):
        raise RecipeError(f"{store.url}: another driver has just taken this run; one at a time")
    for old in names:
        if not old.startswith(mine):
            store.remove(f"lease/{old}")
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(store, mine, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        store.publish_bytes(f"lease/{mine}.done", b"")


def _refuse_if_alive(store: Store, n: str, names: list[str]) -> None:
    holder = json.loads(store.read(f"lease/{n}.json"))
    here = holder["host"] == socket.gethostname() and holder["boot"] == _boot()
    if here and not _runs(holder["pid"]):
        return
    last = json.loads(store.read(f"lease/{n}.beat"))["at"] if f"{n}.beat" in names else holder["began"]
    silent = time.time() - last
    if here or silent < STALE:
        raise RecipeError(f"{store.url}: another driver holds this run (pid {holder['pid']} on {holder['host']}, "
                          f"last heard of {silent:.0f} s ago); one at a time")


def _beat(store: Store, n: str, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with contextlib.suppress(OSError):
            store.publish_bytes(f"lease/{n}.beat", json.dumps({"at": time.time()}).encode())


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        if os.path.isdir("/proc/self"):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return ""
