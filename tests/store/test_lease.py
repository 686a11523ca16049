"""One driver at a time holds a run; a dead one's lease is taken over."""

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time

import pytest

from curate.errors import PoolError, RecipeError
from curate.store import atomic, lease
from curate.store.atomic import Store


@pytest.fixture(autouse=True)
def looking_each_time(monkeypatch):
    """Look at the lease before each write, not once a second."""
    monkeypatch.setattr(atomic, "FRESH", 0.0)


def test_a_second_driver_is_refused_and_told_who_holds_it(tmp_path):
    store = Store(tmp_path)
    with (
        lease.held(store),
        pytest.raises(RecipeError, match=rf"another driver holds this run \(pid {os.getpid()} on {socket.gethostname()}"),
    ):
        with lease.held(store):
            pass
    with lease.held(store):
        pass


def test_the_lease_of_a_dead_driver_is_taken_over(tmp_path):
    code = f"from curate.store import lease; from curate.store.atomic import Store; import os\nwith lease.held(Store({str(tmp_path)!r})): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    store = Store(tmp_path)
    assert "000001.done" not in store.names("lease")
    with lease.held(store):
        assert "000002.json" in store.names("lease")


@pytest.fixture
def quick(monkeypatch):
    """Watch for a second, look often."""
    monkeypatch.setattr(lease, "STALE", 1.0)
    monkeypatch.setattr(lease, "LOOK", 0.02)


ELSEWHERE = {"host": "elsewhere", "pid": 1, "start": "7", "boot": "x", "began": 0, "nonce": "n"}


def test_a_silent_lease_of_another_machine_is_taken_over(tmp_path, quick):
    store = Store(tmp_path)
    store.commit_bytes("lease/000001.json", json.dumps(ELSEWHERE).encode())
    began = time.monotonic()
    with lease.held(store):
        assert time.monotonic() - began >= 1.0
        assert "000002.json" in store.names("lease")


def test_a_lease_of_another_machine_that_beats_is_not_taken_over_whatever_its_clock_says(tmp_path, quick):
    store, stop = Store(tmp_path), threading.Event()
    store.commit_bytes("lease/000001.json", json.dumps(ELSEWHERE).encode())
    beats = threading.Thread(target=_beats, args=(store, stop))
    beats.start()
    try:
        with pytest.raises(RecipeError, match="pid 1 on elsewhere"), lease.held(store):
            pass
    finally:
        stop.set()
        beats.join()


def _beats(store, stop):
    n = 0
    while not stop.wait(0.1):
        n += 1
        store.publish_bytes("lease/000001.beat", b"%d" % n)


def test_a_process_number_used_again_is_not_the_holder(tmp_path):
    store = Store(tmp_path)
    another = {**lease._self(), "start": "1"}  # this very process number, but of a process that started at another time
    store.commit_bytes("lease/000001.json", json.dumps(another).encode())
    with lease.held(store):
        assert "000002.json" in store.names("lease")


def test_a_lease_that_cannot_be_read_does_not_lock_the_run_for_ever(tmp_path):
    store = Store(tmp_path)
    store.commit_bytes("lease/000001.json", b"{")
    with lease.held(store):
        assert "000002.json" in store.names("lease")


def test_a_driver_or_worker_that_lost_its_lease_writes_nothing_more(tmp_path):
    store = Store(tmp_path)
    with lease.held(store):
        store.publish_bytes("ledger/a", b"mine")
        zombie = pickle.loads(pickle.dumps(store))  # as a worker gets it
        Store(tmp_path).commit_bytes("lease/000002.json", b"{}")
        for write in (
            lambda: zombie.publish_bytes("ledger/a", b"old"),
            lambda: zombie.remove("ledger/a"),
            lambda: zombie.commit_bytes("work/parts/x", b"old"),
            lambda: store.publish_bytes("ledger/a", b"old"),
        ):
            with pytest.raises(PoolError, match="another driver has taken this run over"):
                write()
        assert store.read("ledger/a") == b"mine" and not store.exists("work/parts/x")


def test_a_full_disk_at_the_end_does_not_lock_the_run(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with lease.held(store):
        monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    monkeypatch.undo()
    with lease.held(store):
        pass


def test_of_drivers_that_start_together_one_holds_the_run(tmp_path):
    code = (
        f"from curate.store import lease; from curate.errors import PoolError, RecipeError; from curate.store.atomic import Store; import time\n"
        f"try:\n  with lease.held(Store({str(tmp_path)!r})): print('held'); time.sleep(1.5)\nexcept RecipeError: print('refused')"
    )
    drivers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [d.communicate(timeout=60)[0].strip() for d in drivers]
    assert said.count("held") >= 1 and said.count("held") + said.count("refused") == 4
    if said.count("held") > 1:  # only one after another: each that held left its mark before the next came
        assert max(int(n.split(".")[0]) for n in os.listdir(tmp_path / "lease")) == said.count("held")


def test_a_driver_that_slept_looks_again_however_short_ago_it_looked_last(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "FRESH", 1.0)
    store, now = Store(tmp_path), [100.0]
    monkeypatch.setattr(atomic.time, "clock_gettime", lambda _: now[0])
    with lease.held(store):
        store.publish_bytes("ledger/a", b"mine")
        store.commit_bytes("lease/000002.json", b"{}")
        now[0] += 0.9
        store.publish_bytes("ledger/a", b"still mine")
        now[0] += 0.2
        with pytest.raises(PoolError, match="another driver has taken this run over"):
            store.publish_bytes("ledger/a", b"old")


def test_a_commit_that_appears_after_a_takeover_is_taken_back(tmp_path, monkeypatch):
    store = Store(tmp_path)
    link = os.link

    def frozen(path, name):
        link(path, name)
        Store(tmp_path).publish_bytes("lease/000002.json", b"{}")  # here the process was stopped, and went on later

    with lease.held(store):
        monkeypatch.setattr(os, "link", frozen)
        with pytest.raises(PoolError, match="another driver has taken this run over"):
            store.commit_bytes("work/parts/x", b"names what is gone")
        monkeypatch.undo()
        assert not store.exists("work/parts/x")


def test_a_driver_that_lost_its_lease_leaves_no_trace(tmp_path):
    """Neither progress nor private files nor the mark of its end."""
    store = Store(tmp_path)
    with lease.held(store):
        Store(tmp_path).commit_bytes("lease/000002.json", b"{}")
        before = sorted(map(str, tmp_path.rglob("*")))
        store.note("progress.json", b"{}")
        with pytest.raises(PoolError), store.private("x"):
            pass
    assert sorted(map(str, tmp_path.rglob("*"))) == before


@pytest.mark.parametrize("alive", [True, False])
def test_a_driver_that_the_system_hides_is_watched(tmp_path, quick, monkeypatch, alive):
    """/proc of other users is hidden on many shared machines: such a driver is neither dead nor refused for ever."""
    store = Store(tmp_path)
    monkeypatch.setattr(lease, "_look", lambda pid: None)
    holder = {**lease._self(), "start": "12345", "began": 0, "nonce": "n"}
    store.commit_bytes("lease/000001.json", json.dumps(holder).encode())
    stop = threading.Event()
    beats = threading.Thread(target=_beats, args=(store, stop))
    if alive:
        beats.start()
    try:
        if alive:
            with pytest.raises(RecipeError, match="another driver holds this run"), lease.held(store):
                pass
        else:
            with lease.held(store):
                assert "000002.json" in store.names("lease")
    finally:
        stop.set()
        if alive:
            beats.join()


def test_a_process_that_has_ended_is_dead_though_the_system_hides_others(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "_look", lambda pid: None)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert lease._started(child.pid) == "" and lease._started(os.getppid()) == lease.UNKNOWN
