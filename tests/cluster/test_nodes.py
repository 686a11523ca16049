"""Ray nodes with file systems of their own, a head without cores, pool and run on an S3-compatible server: every selector, files that the recipe
names on the driver's disk, and a node that dies while selectors are at work. The same root hash as that of one process."""

import time

import pytest

from tests.cluster.nodes import Cluster, can_have_own_mounts, drive, files, kill, pictures, port, s3, surroundings

pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

pytestmark = pytest.mark.skipif(not can_have_own_mounts(), reason="mount namespaces need root and the command unshare")


@pytest.mark.timeout(900)
def test_every_selector_on_nodes_that_share_no_disk(tmp_path):
    listed, number = files(tmp_path), port()
    environment = surroundings(number)
    with s3(tmp_path, number):
        fs = s3fs.S3FileSystem(endpoint_url=environment["AWS_ENDPOINT_URL"], key="x", secret="x")
        for bucket in ("pool", "runs"):
            fs.mkdir(bucket)
        pictures(fs, "pool")
        alone = drive(environment, listed, "s3://runs/alone", "local", "", 1 << 20)
        cluster = Cluster(tmp_path, environment)
        try:
            for _ in range(2):
                cluster.add()
            run = drive(environment, listed, "s3://runs/nodes", "ray", f"127.0.0.1:{cluster.port}", 170)
            until = time.monotonic() + 240
            while run.poll() is None and time.monotonic() < until:
                fs.invalidate_cache()
                if fs.exists("runs/nodes/work/exchange"):
                    break
                time.sleep(0.1)
            kill(cluster.nodes[1])  # while a selector is at work
            said, errors = run.communicate(timeout=600)
            assert run.returncode == 0, errors[-3000:]
            expected, trouble = alone.communicate(timeout=300)
            assert alone.returncode == 0, trouble[-3000:]
            # Ray may say something of the node that died.
            assert said.split()[-2:] == expected.split() and int(said.split()[-1]) > 10
            assert not fs.exists("runs/nodes/work/exchange"), "what lies between steps goes with the decision"
        finally:
            cluster.stop()
