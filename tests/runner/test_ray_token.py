"""Ray's token: closed to others, and needed to join a cluster; a cluster that Ray starts here listens on loopback only."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from curate.errors import RecipeError
from curate.runner import ray_token
from curate.runner.engine import RayEngine


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_token_s_file_is_closed_to_others_whoever_made_it(home):
    ray_token.before_start()
    made = home / ".ray/auth_token"
    assert made.stat().st_mode & 0o777 == 0o600 and len(made.read_text()) == 64
    made.chmod(0o644)  # as Ray makes it
    for call in (ray_token.before_start, lambda: ray_token.before_join("10.0.0.1:6379")):
        made.chmod(0o644)
        before = made.read_text()
        call()
        assert made.stat().st_mode & 0o777 == 0o600 and made.read_text() == before


def test_no_cluster_is_joined_without_a_token(home, monkeypatch):
    for address in ("10.0.0.1:6379", "auto", "ray://head:10001"):
        with pytest.raises(RecipeError, match="joined without a token"):
            RayEngine(address=address)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray_token.before_join("10.0.0.1:6379")
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 64)
    ray_token.before_join("10.0.0.1:6379")


START = """
import os, sys
os.umask(0o022)
from curate.runner.engine import RayEngine
engine = RayEngine(workers=1)
from ray._raylet import AuthenticationMode, get_authentication_mode
print(get_authentication_mode() == AuthenticationMode.TOKEN, engine.ray._private.worker._global_node.webui_url or "no dashboard")
session = engine.ray._private.worker._global_node.get_session_dir_path()
pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and session.encode() in open(f"/proc/{p}/cmdline", "rb").read()] if os.path.isdir("/proc") else []
inodes = set()
for pid in [*pids, os.getpid()]:
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
for table in ("tcp", "tcp6"):
    for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            print("listens", fields[1])
engine.shutdown()
"""


def test_a_cluster_started_here_has_a_token_no_dashboard_and_loopback_sockets(home):
    root = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # the path of a Unix socket has at most 107 bytes
        done = subprocess.run(
            [sys.executable, "-c", START],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=root,
            env={**os.environ, "PYTHONPATH": root, "RAY_TMPDIR": short},
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "True no dashboard", done.stderr
    heard = {line.split()[1].split(":")[0] for line in lines[1:]}
    assert heard and heard <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}, (
        lines
    )  # 127.0.0.1, ::1
    assert (home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600
