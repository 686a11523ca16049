import io

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import PoolError, RecipeError
from curate.shard.export import datacomp_subset, export
from curate.store.atomic import Store
from tests.dedup.pool import uid


def test_the_records_and_their_order():
    uids = [uid(i) for i in range(100)] + [uid(3), "0" * 32, "f" * 32]
    found = np.load(io.BytesIO(datacomp_subset(uids)))
    assert found.dtype == np.dtype([("f0", "<u8"), ("f1", "<u8")]) and len(datacomp_subset(uids)) == 128 + 16 * len(uids)
    assert [f"{a:016x}{b:016x}" for a, b in found.tolist()] == sorted(uids)


def test_the_same_bytes_as_numpy_saves():
    uids = [uid(i) for i in range(10)]
    out = io.BytesIO()
    np.save(out, np.array(sorted((int(u[:16], 16), int(u[16:], 16)) for u in uids), np.dtype("u8,u8")))
    assert datacomp_subset(uids) == out.getvalue()
    assert len(np.load(io.BytesIO(datacomp_subset([])))) == 0


def test_other_names_are_refused():
    with pytest.raises(PoolError, match="photo-1"):
        datacomp_subset(["photo-1"])


def test_a_run_without_shards_is_exported_from_its_ledger(tmp_path):
    store = Store(tmp_path)
    rows = {"uid": [uid(0), uid(1), uid(2)], "kept": [True, False, True], "copies": pa.array([2, 1, None], pa.int32())}
    store.publish_table("ledger/images/000000.parquet", pa.table(rows))
    store.publish_table("ledger/images/000001.parquet", pa.table({"uid": [uid(3)], "kept": [True]}))
    dataset = {"shards": [], "samples": 3, "table": "images"}
    assert export(store, dataset, "datacomp-subset", str(tmp_path / "s.npy")) == 4
    assert (tmp_path / "s.npy").read_bytes() == datacomp_subset([uid(0), uid(0), uid(2), uid(3)])
    with pytest.raises(RecipeError, match="markdown is made of shards, and this run has none"):
        export(store, dataset | {"table": "documents"}, "markdown", str(tmp_path / "m"))


def test_an_export_is_whole_or_not_there_and_mixes_with_nothing(tmp_path):
    store = Store(tmp_path / "run")
    store.publish_table("ledger/images/000000.parquet", pa.table({"uid": [uid(0)], "kept": [True]}))
    dataset = {"shards": [], "samples": 1, "table": "images"}
    (tmp_path / "s.npy").write_bytes(b"earlier")
    store.publish_table("ledger/images/000001.parquet", pa.table({"uid": ["photo-1"], "kept": [True]}))
    with pytest.raises(PoolError, match="photo-1"):
        export(store, dataset, "datacomp-subset", str(tmp_path / "s.npy"))
    assert (tmp_path / "s.npy").read_bytes() == b"earlier"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.md").write_text("x")
    for place, said in (("full", "is a folder; this form is a file"), ("none/s.npy", "there is no folder")):
        with pytest.raises(RecipeError, match=said):
            export(store, dataset, "datacomp-subset", str(tmp_path / place))
    store.remove("ledger/images/000001.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="is a folder; this form is a file"):
        export(store, dataset, "datacomp-subset", str(tmp_path / "empty"))
    assert export(store, dataset, "datacomp-subset", str(tmp_path / "s.npy")) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full", "run", "s.npy"]
