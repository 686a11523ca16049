"""What is read of an object store: no more than is wanted, in few requests. An S3-compatible server on loopback counts."""

import numpy as np
import pyarrow as pa
import pytest
from object_server import server  # noqa: F401  a fixture

from curate.store.atomic import Store
from curate.store.slices import slices

MEBI = 1 << 20


@pytest.fixture
def store(server):  # noqa: F811
    store = Store(f"s3://reads-{np.random.default_rng().integers(1 << 40)}/run")
    store.fs.mkdir(store.root.split("/")[0])
    return store


def test_slices_of_a_payload_cost_their_bytes(server, store):  # noqa: F811
    data = np.random.default_rng(0).bytes(24 * MEBI)
    store.fs.pipe_file(store.inner("work/parts/a/0.tar"), data)
    wanted = [(n * 2 * MEBI + 777, 50_000) for n in range(12)] + [(23 * MEBI, 1000), (23 * MEBI + 1500, 1000)]
    server.clear()
    found = list(slices(store, [("work/parts/a/0.tar", at, size) for at, size in wanted]))
    assert found == [data[at : at + size] for at, size in wanted]
    assert server.bytes <= 1.1 * sum(size for _, size in wanted) and server.requests == len(wanted) - 1


def test_a_column_of_a_table_does_not_cost_the_table(server, store):  # noqa: F811
    rng = np.random.default_rng(0)
    wide = {f"c{n}": rng.random(100_000) for n in range(12)}
    store.publish_table("ledger/images/0.parquet", pa.table({"uid": np.arange(100_000), **wide}))
    size = store.fs.size(store.inner("ledger/images/0.parquet"))
    server.clear()
    assert len(store.table("ledger/images/0.parquet", ["c5"])) == 100_000
    assert size > 8 * MEBI and server.bytes < 3.2 * MEBI and server.requests <= 8
