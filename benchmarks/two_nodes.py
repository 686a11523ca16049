"""Two Ray nodes, the driver as a submitted job, one node killed in the middle: the same data set, and what a second node costs.

    python -m benchmarks.two_nodes [--pictures N]

Each node lives in a network namespace of its own with an address of its own, a folder of its own for Ray's files, and token
authentication; they see each other through a pair of virtual cables and share the disk. It needs root (for the namespaces) and
`ip`. Three runs over the same made pool of pictures, each through `ray job submit`: one node with two cores; two nodes with a
core each; the same again, where the second node is killed once a part has come through. All root hashes must be equal.
"""

import argparse
import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 6390

RECIPE = '''"""Pictures through rules that take some time."""

from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.caption_words import CaptionWords
from curate.filters.sharpness import Sharpness
from curate.filters.single_colour import SingleColour
from curate.recipe import Recipe, Shards


def recipe(source) -> Recipe:
    return Recipe(source, [CaptionWords(min=3), Fetch(), Sharpness(), SingleColour(), PerceptualHash()], [NearDedup()], shards=Shards(size=300))
'''


def pool(folder: Path, count: int) -> Path:
    """Tars of pictures with captions, 200 in each; every tenth picture comes twice."""
    rng, data = np.random.default_rng(0), b""
    for start in range(0, count, 200):
        with tarfile.open(folder / f"{start // 200:05d}.tar", "w") as tar:
            for i in range(start, min(start + 200, count)):
                if i % 10:
                    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)).resize(
                        (640, 480), Image.BICUBIC
                    )
                    out = io.BytesIO()
                    coarse.save(out, "JPEG", quality=90)
                    data = out.getvalue()
                for suffix, content in (("jpg", data), ("txt", f"picture number {i} of the pool".encode())):
                    member = tarfile.TarInfo(f"{i:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


@contextmanager
def namespaces() -> Iterator[list[str]]:
    """Two network namespaces joined by a pair of cables; they go when the work is done."""
    names = [f"curate-{os.getpid()}-{n}" for n in range(2)]
    ip = lambda *words: subprocess.run(["ip", *words], check=True)  # noqa: E731
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            f"cu{os.getpid()}a",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            f"cu{os.getpid()}b",
            "netns",
            names[1],
        )
        for name, address, end in zip(names, ADDRESSES, "ab"):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", f"cu{os.getpid()}{end}")
            for device in (f"cu{os.getpid()}{end}", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


class Node:
    """A Ray node in a namespace: `ray start --block` and all that it starts, in a process group of its own."""

    def __init__(self, namespace: str, address: str, cpus: int, folder: Path, head: bool, environment: dict[str, str]):
        folder.mkdir()
        where = (
            ["--head", f"--port={PORT}", "--include-dashboard=true", f"--dashboard-host={address}"]
            if head
            else [f"--address={ADDRESSES[0]}:{PORT}"]
        )
        command = [
            "ip",
            "netns",
            "exec",
            namespace,
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            f"--node-ip-address={address}",
            f"--num-cpus={cpus}",
            "--object-store-memory=200000000",
            *where,
            *([f"--temp-dir={folder}"] if head else []),
        ]
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "TMPDIR": str(folder)},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def kill(self) -> None:
        """At once, with everything it started."""
        with ExitStack() as stack:
            stack.callback(self.log.close)
            for pid in family(self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.wait(20)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = dict(zip(map(int, found[::2]), map(int, found[1::2])))
    mine = {pid}
    while more := {p for p, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sorted(mine)


def submitted(namespace: str, environment: dict[str, str], work: Path, tars: Path, out: Path) -> subprocess.Popen:
    """The driver as a job: `ray job submit` waits for it and passes its exit code on."""
    curate = [
        sys.executable,
        "-m",
        "curate.cli",
        "run",
        str(work / "pictures.py"),
        "--pool",
        str(tars),
        "-o",
        str(out),
        "--address",
        "auto",
        "--part-size",
        "100",
    ]
    command = [
        "ip",
        "netns",
        "exec",
        namespace,
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "job",
        "submit",
        "--address",
        f"http://{ADDRESSES[0]}:8265",
        "--working-dir",
        str(work),
        "--",
        *curate,
    ]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=work)


def ready(namespace: str, environment: dict[str, str], nodes: int) -> None:
    """Wait until the cluster and its job server answer."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        done = subprocess.run(
            [
                "ip",
                "netns",
                "exec",
                namespace,
                sys.executable,
                "-m",
                "ray.scripts.scripts",
                "status",
                "--address",
                f"{ADDRESSES[0]}:{PORT}",
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if len(re.findall(r"1 node_", done.stdout)) >= nodes:
            return
        time.sleep(1)
    raise SystemExit(f"no cluster of {nodes} nodes after 90 s: {done.stdout[-500:]}{done.stderr[-500:]}")


def once(names: list[str], cpus: tuple[int, ...], kill: bool, folder: Path, work: Path, tars: Path) -> dict:
    """One run on a cluster of its own; its root hash, seconds, and the attempts that were made again."""
    # The other namespace has its own loopback: nothing of Ray may be bound to it alone.
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": f"{ROOT}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    }
    folder.mkdir()
    nodes = []
    try:
        for n, count in enumerate(cpus):
            nodes.append(Node(names[n], ADDRESSES[n], count, folder / f"node{n}", n == 0, environment))
            ready(names[0], environment, n + 1)
        out, began = folder / "run", time.perf_counter()
        job = submitted(names[0], environment, work, tars, out)
        if kill:
            until = time.monotonic() + 120
            while time.monotonic() < until and job.poll() is None and not list(out.glob("parts/*/images.sharpness-*")):
                time.sleep(0.05)
            nodes[1].kill()
        said, _ = job.communicate(timeout=400)
        if job.returncode:
            raise SystemExit(f"the job failed:\n{said[-3000:]}")
        dataset, record = (json.loads((out / name).read_text()) for name in ("dataset.json", "recipe.json"))
        return {
            "root": dataset["root_hash"],
            "samples": dataset["samples"],
            "job": time.perf_counter() - began,
            "run": record["seconds"],
            "again": [r["error"] for r in record["retries"]],
            "went on after the kill": kill and not job.returncode,
        }
    finally:
        for node in nodes:
            node.kill()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=3000, help="in the pool")
    args = options.parse_args()
    if os.geteuid() or not shutil.which("ip"):
        print("two network namespaces need root and the command ip")
        return 2
    with tempfile.TemporaryDirectory(prefix="cu2-") as name, namespaces() as names:
        folder = Path(name)
        work, tars = folder / "work", folder / "pool"
        work.mkdir()
        tars.mkdir()
        (work / "pictures.py").write_text(RECIPE)
        pool(tars, args.pictures)
        made = {
            what: once(names, cpus, kill, folder / what, work, tars)
            for what, cpus, kill in (("one", (2,), False), ("two", (1, 1), False), ("killed", (1, 1), True))
        }
    for what, found in made.items():
        print(
            f"{what:<7} {found['samples']} samples, root hash {found['root'][:16]}, the run {found['run']:.1f} s, the job {found['job']:.1f} s, "
            f"attempts made again: {len(found['again'])}" + (f" ({found['again'][0]})" if found["again"] else "")
        )
    same = len({m["root"] for m in made.values()}) == 1
    print(
        f"root hashes {'equal' if same else 'DIFFER'}; two nodes take {made['two']['run'] / made['one']['run']:.2f} of one node's time on as many cores"
    )
    return 0 if same and made["killed"]["again"] else 1


if __name__ == "__main__":
    sys.exit(main())
