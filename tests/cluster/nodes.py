"""Ray nodes with file systems of their own on one machine, an S3-compatible server, and a pool with a recipe of every selector: for the tests
and for benchmarks/two_nodes.py."""

import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def can_have_own_mounts() -> bool:
    if os.geteuid() or not shutil.which("unshare"):
        return False
    return not subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    ).returncode


#: A node whose /tmp and /dev/shm are its own: nothing of the driver's disk is there but the package.
NODE = """set -e
mount --bind "$CHECKOUT" /mnt
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /dev/shm
[ -d "$CHECKOUT" ] || { mkdir -p "$CHECKOUT"; mount --bind /mnt "$CHECKOUT"; }
mkdir -p /tmp/home /tmp/t
export HOME=/tmp/home TMPDIR=/tmp/t
cd /tmp/t
exec "$@"
"""


def port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = dict(zip(map(int, found[::2]), map(int, found[1::2])))
    mine = {pid}
    while more := {p for p, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sorted(mine)


def kill(process: subprocess.Popen) -> None:
    for pid in family(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(20)


class Cluster:
    """A head without cores, and nodes with some each."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment, self.port, self.nodes = folder, environment, port(), []
        self.ray = tempfile.mkdtemp(prefix="cu", dir="/tmp")  # the path of a socket is short
        head = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.ray}"]
        self.head = self._ray("127.0.0.1", 0, head, [])
        self._wait(1)

    def _ray(self, address: str, cpus: int, more: list[str], before: list[str]) -> subprocess.Popen:
        command = [*before, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={address}"]
        command += [f"--num-cpus={cpus}", "--object-store-memory=100000000", *more]
        with open(self.folder / f"ray-{address}.log", "wb") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def add(self, cpus: int = 1) -> None:
        address = f"127.0.0.{len(self.nodes) + 2}"
        self.nodes.append(
            self._ray(address, cpus, [f"--address=127.0.0.1:{self.port}"], ["unshare", "-m", "bash", "-c", NODE, "node"])
        )
        self._wait(len(self.nodes) + 1)

    def _wait(self, count: int) -> None:
        look = (
            "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        )
        until, found = time.monotonic() + 90, ""
        command = ["timeout", "30", sys.executable, "-c", look, f"127.0.0.1:{self.port}"]
        while time.monotonic() < until and all(p.poll() is None for p in (self.head, *self.nodes)):
            found = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout.strip()
            if found == str(count):
                return
            time.sleep(0.5)
        logs = "".join(p.read_text()[-800:] for p in self.folder.glob("ray-*.log"))
        self.stop()
        raise RuntimeError(f"no cluster of {count} nodes, but {found or 'none'}: {logs}")

    def stop(self) -> None:
        for process in (*self.nodes, self.head):
            if process.poll() is None:
                kill(process)
        shutil.rmtree(self.ray, ignore_errors=True)


@contextmanager
def s3(folder: Path, number: int) -> Iterator[str]:
    """moto's server as a process; its address."""
    with open(folder / "s3.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(number)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", number)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{number}"
    finally:
        kill(process)


def pictures(fs, bucket: str, count: int = 320) -> None:
    """Tars of 80 made pictures each, some of them twice, some nearly."""
    rng, data = np.random.default_rng(0), b""
    for start in range(0, count, 80):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for i in range(start, start + 80):
                if i % 8 or not i:
                    picture = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).resize(
                        (96, 72), Image.Resampling.BICUBIC
                    )
                buffer = io.BytesIO()
                picture.save(buffer, "JPEG", quality=90 if i % 16 else 60)
                data = buffer.getvalue()
                text = f"a {('cat', 'dog', 'tree')[i % 3]} with the number {i % 150}"
                for suffix, content in (("jpg", data), ("txt", text.encode())):
                    member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        fs.pipe_file(f"{bucket}/pool/{start // 80:05d}.tar", out.getvalue())


def files(folder: Path) -> Path:
    """What the recipe names by paths of the driver's disk, and the recipe."""
    np.save(folder / "r.npy", np.random.default_rng(0).normal(size=(40, 8))[:20].astype(np.float32))
    (folder / "synsets.txt").write_text("n00000001\nn00000002\n")
    for part in ("noun", "verb", "adj", "adv"):
        nouns = "cat n 1 0 1 1 00000001\ntree n 1 0 1 1 00000002\ndog n 1 0 1 1 00000003\n"
        (folder / f"index.{part}").write_text(nouns if part == "noun" else "")
        (folder / f"{part}.exc").write_text("")
    (folder / "set").mkdir()
    (folder / "set/a.txt").write_text("a cat with the number 3")
    (folder / "words.txt").write_text("cat\ndog\ntree\nnumber\n")
    (folder / "entries.txt").write_text("cat\ntree\nnumber 7\n")
    shutil.copy(HERE / "every_selector.py", folder)
    named = {
        "npy": "r.npy",
        "synsets": "synsets.txt",
        "wordnet": ".",
        "folder": "set",
        "entries": "entries.txt",
        "words": "words.txt",
    }
    (folder / "files.json").write_text(json.dumps({k: str(folder / v) for k, v in named.items()}))
    return folder / "files.json"


def surroundings(number: int) -> dict[str, str]:
    """The environment of drivers and nodes: a server of S3 at a port of this machine, and a token for Ray."""
    return os.environ | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{number}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "1000",  # a node that was killed is missed after some seconds
        "RAY_health_check_timeout_ms": "5000",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
        "PYTHONPATH": str(ROOT),
        "CHECKOUT": str(ROOT),
    }


def drive(environment: dict[str, str], listed: Path, out: str, engine: str, address: str, rows: int) -> subprocess.Popen:
    """A driver of tests/cluster/every_selector.py over the pool, in chunks of so many rows; it prints root hash and samples."""
    pool = "s3://pool/pool/*.tar"
    command = [sys.executable, str(HERE / "driver.py"), pool, out, engine, address, str(listed), str(rows)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
