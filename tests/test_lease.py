"""One driver at a time holds a run; a dead one's lease is taken over."""

import json
import os
import socket
import subprocess
import sys

import pytest

from curate import lease
from curate.errors import RecipeError
from curate.store import Store


def test_a_second_driver_is_refused_and_told_who_holds_it(tmp_path):
    store = Store(tmp_path)
    with lease.held(store), pytest.raises(RecipeError, match=rf"another driver holds this run \(pid {os.getpid()} on {socket.gethostname()}"):
        with lease.held(store):
            pass
    with lease.held(store):
        pass


def test_the_lease_of_a_dead_driver_is_taken_over(tmp_path):
    code = f"from curate import lease; from curate.store import Store; import os\nwith lease.held(Store({str(tmp_path)!r})): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    store = Store(tmp_path)
    assert "000001.done" not in store.names("lease")
    with lease.held(store):
        assert "000002.json" in store.names("lease")


def test_a_silent_lease_of_another_machine_is_taken_over_and_a_fresh_one_is_not(tmp_path, monkeypatch):
    store = Store(tmp_path)
    other = {"host": "elsewhere", "pid": 1, "boot": "x", "began": 0}
    store.commit_bytes("lease/000001.json", json.dumps(other).encode())
    with lease.held(store):
        pass
    store.commit_bytes("lease/000003.json", json.dumps(other | {"began": lease.time.time()}).encode())
    with pytest.raises(RecipeError, match="pid 1 on elsewhere"), lease.held(store):
        pass
