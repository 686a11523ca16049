"""Every selector on one node, on two, and on two of which one is killed: the same data set, and what a second node costs.

    python -m benchmarks.two_nodes [--pictures N]

The nodes of tests/cluster: each a Ray node with a file system of its own (mount namespaces), a head without cores, pool and run on an
S3-compatible server, Ray's token authentication. Four runs over one made pool: in one process; on a node with two cores; on two nodes with
a core each; and so again, where the second node is killed while selectors are at work. All root hashes must be equal. It needs root.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import s3fs

from tests.cluster.nodes import Cluster, can_have_own_mounts, drive, files, kill, pictures, port, s3, surroundings

#: Rows of a chunk of the pool: some for each core, also of a small pool.
CHUNK = 500


def ended(run: Any) -> str:
    """What a driver printed last: root hash and samples."""
    said, errors = run.communicate(timeout=1800)
    if run.returncode:
        raise SystemExit(f"the run failed:\n{errors[-3000:]}")
    return " ".join(said.split()[-2:])


def on_nodes(fs: Any, folder: Path, environment: dict[str, str], listed: Path, name: str, cpus: tuple[int, ...]) -> str:
    """A run on nodes with these cores; one that is called `killed` loses its last node."""
    (folder / name).mkdir()
    cluster = Cluster(folder / name, environment)
    try:
        for cores in cpus:
            cluster.add(cores)
        run = drive(environment, listed, f"s3://runs/{name}", "ray", f"127.0.0.1:{cluster.port}", CHUNK)
        while name == "killed" and run.poll() is None:
            fs.invalidate_cache()
            if fs.exists(f"runs/{name}/work/exchange"):
                kill(cluster.nodes[-1])
                break
            time.sleep(0.1)
        return ended(run)
    finally:
        cluster.stop()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=2000, help="in the pool, in tars of 80")
    args = options.parse_args()
    if not can_have_own_mounts():
        print("mount namespaces need root and the command unshare")
        return 2
    with tempfile.TemporaryDirectory(prefix="cu2-") as name:
        folder, number = Path(name), port()
        listed, environment = files(folder), surroundings(number)
        with s3(folder, number):
            fs = s3fs.S3FileSystem(endpoint_url=environment["AWS_ENDPOINT_URL"], key="x", secret="x")
            for bucket in ("pool", "runs"):
                fs.mkdir(bucket)
            pictures(fs, "pool", args.pictures // 80 * 80)
            made = {"alone": ended(drive(environment, listed, "s3://runs/alone", "local", "", 1 << 20))}
            for what, cpus in (("one", (2,)), ("two", (1, 1)), ("killed", (1, 1))):
                made[what] = on_nodes(fs, folder, environment, listed, what, cpus)
            records = {what: json.loads(fs.cat(f"runs/{what}/recipe.json")) for what in made}
    for what, found in made.items():
        root, samples = found.split()
        print(f"{what:<7} {samples} samples, root hash {root[:16]}, the run {records[what]['seconds']:.1f} s")
    same = len(set(made.values())) == 1
    ratio = records["two"]["seconds"] / records["one"]["seconds"]
    print(f"root hashes {'equal' if same else 'DIFFER'}; two nodes take {ratio:.2f} of one node's time on as many cores")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
