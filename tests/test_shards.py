"""The plan, the trio of a shard, and the end: what is promised of them."""

import hashlib
import io
import json
import tarfile
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate import shards as S
from curate.errors import PoolError
from curate.schema import uid
from curate.store import Parcel, Store


def photo(n: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16 + n % 7, 16), (n * 37 % 256, n * 11 % 256, 90)).save(out, kind)
    return out.getvalue()


def ledger(store: Store, n: int = 25, parts: int = 3) -> pa.Table:
    """Kept rows of `n` images, parked in the payloads of `parts` parts."""
    rows = []
    for part in range(parts):
        name = f"parts/{part}.tar"
        with store.private(name) as path, open(path, "wb") as f:
            parcel = Parcel(store, f)
            for i in range(part, n, parts):
                kind = "PNG" if i % 5 == 0 else "JPEG"
                data, url, text = photo(i, kind), f"http://a.example/{i}", f"caption {i} ünï"
                offset = parcel.add(f"{i}.bin", data)
                rows.append({
                    "uid": uid(text, url), "url": url, "text": text, "score": i / 4, "mime": f"image/{kind.lower()}",
                    "sha256": hashlib.sha256(data).hexdigest(), "payload": name, "payload_offset": offset,
                    "payload_size": len(data), "fetched_at": "2026-01-01", "source_file": "/tmp/x", "source_row": i, "kept": True,
                    "vector": [0.5, 0.25],
                })
            parcel.close()
            f.flush()
            store.publish(name, path)
    return pa.Table.from_pylist(rows).set_column(
        len(rows[0]) - 1, "vector", pa.array([r["vector"] for r in rows], pa.list_(pa.float16())))


def planned(table: pa.Table, shards: S.Shards) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, f"{folder}/ledger.parquet")
        return S.plan(duckdb.connect().read_parquet(f"{folder}/ledger.parquet"), shards).to_arrow_table()


def write(store: Store, table: pa.Table, shards: S.Shards, plan: str = "p1") -> dict:
    made = planned(table, shards)
    count = len(set(made["shard"].to_pylist()))
    infos = [S.write_shard(store, made.filter(pa.compute.equal(made["shard"], i)), S.shard_name(i, count), plan, {"stages": {}}, shards)
             for i in range(count)]
    return S.finish(store, infos, {"recipe": "test"})


@pytest.mark.parametrize(("n", "size", "sizes"), [(0, 10, []), (1, 10, [1]), (10, 10, [10]), (11, 10, [6, 5]), (25, 10, [9, 8, 8])])
def test_sizes_are_equal_within_one(n, size, sizes):
    assert S.assign(n, size) == sizes


def test_names_sort_as_numbers():
    assert S.shard_name(42, 50) == "00042"
    assert S.shard_name(42, 100_001) == "000042"


def test_plan_does_not_depend_on_the_order_of_rows_and_places_everyone_once(tmp_path):
    table = ledger(Store(tmp_path))
    made = planned(table, S.Shards(size=10))
    turned = planned(table.take(list(range(len(table)))[::-1]), S.Shards(size=10))
    assert made.equals(turned)
    assert [made["shard"].to_pylist().count(i) for i in range(3)] == S.assign(25, 10)
    assert made["position"].to_pylist() == [*range(9), *range(8), *range(8)]
    assert sorted(made["key"].to_pylist()) == sorted(table["uid"].to_pylist())
    order = made["uid"].to_pylist()
    assert order == sorted(order, key=lambda u: hashlib.md5(f"{u}::0".encode()).hexdigest())
    assert order != planned(table, S.Shards(size=10, seed=1))["uid"].to_pylist()


def test_copies_repeat_a_sample_under_keys_of_their_own():
    table = pa.table({"uid": ["a", "b", "c"], "copies": pa.array([3, None, 1], pa.int32())})
    made = planned(table, S.Shards(size=2))
    assert sorted(made["key"].to_pylist()) == ["a", "a-2", "a-3", "b", "c"]
    assert made["shard"].to_pylist() == [0, 0, 1, 1, 2]


def test_an_empty_plan_is_an_empty_data_set(tmp_path):
    empty = pa.table({"uid": pa.array([], pa.large_string())})
    assert len(planned(empty, S.Shards())) == 0
    assert S.finish(Store(tmp_path), [])["samples"] == 0


def test_tar_sidecar_and_json_say_the_same(tmp_path):
    store = Store(tmp_path)
    table = ledger(store)
    dataset = write(store, table, S.Shards(size=10))
    by_uid = {r["uid"]: r for r in table.to_pylist()}
    seen = []
    for name in ("00000", "00001", "00002"):
        info = json.loads(store.read(f"shards/{name}.json"))
        assert info["tar"]["sha256"] == hashlib.sha256(store.read(f"shards/{name}.tar")).hexdigest()
        assert info["parquet"]["sha256"] == hashlib.sha256(store.read(f"shards/{name}.parquet")).hexdigest()
        side = pq.read_table(tmp_path / f"shards/{name}.parquet")
        assert not set(side.column_names) & S.LEFT_OUT and "vector" in side.column_names
        with tarfile.open(tmp_path / f"shards/{name}.tar") as tar:
            members = tar.getmembers()
            assert all(m.mtime == 0 and m.isreg() for m in members)
            for i, key in enumerate(side["key"].to_pylist()):
                mine = members[3 * i:3 * i + 3]
                assert all(m.name.split(".")[0] == key for m in mine)
                assert [m.name for m in mine] == sorted(m.name for m in mine)
                files = {m.name.split(".")[1]: tar.extractfile(m).read() for m in mine}
                row, meta = by_uid[key], json.loads(files["json"])
                image = files["png" if row["mime"] == "image/png" else "jpeg"[:1] + "pg"]
                assert hashlib.sha256(image).hexdigest() == row["sha256"]
                assert files["txt"].decode() == row["text"] == meta["text"]
                assert meta["score"] == row["score"] and "vector" not in meta and "payload" not in meta
                seen.append(key)
    assert sorted(seen) == sorted(by_uid)
    assert json.loads(store.read("shards/sizes.json")) == {"00000.tar": 9, "00001.tar": 8, "00002.tar": 8}
    assert dataset == json.loads(store.read("dataset.json")) and dataset["samples"] == 25


def test_the_same_rows_make_the_same_bytes_wherever_they_were_parked(tmp_path):
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    first = write(one, ledger(one, parts=3), S.Shards(size=10))
    second = write(two, ledger(two, parts=4), S.Shards(size=10), plan="another")
    assert first["root_hash"] == second["root_hash"]
    assert first["root_hash"] != write(two, ledger(two), S.Shards(size=10, seed=1), plan="third")["root_hash"]


def test_a_shard_of_the_same_plan_is_left_alone_and_any_other_is_rewritten(tmp_path, monkeypatch):
    store = Store(tmp_path)
    table = ledger(store)
    write(store, table, S.Shards(size=10))
    written = []
    monkeypatch.setattr(S, "write_tar", lambda store, path, samples, real=S.write_tar: (written.append(path), real(store, path, samples)))
    write(store, table, S.Shards(size=10))
    assert written == []
    (tmp_path / "shards/00001.tar").write_bytes(b"cut short")
    write(store, table, S.Shards(size=10))
    assert len(written) == 1
    write(store, table, S.Shards(size=10), plan="p2")
    assert len(written) == 4


def test_shards_of_an_earlier_plan_are_removed(tmp_path):
    store = Store(tmp_path)
    table = ledger(store)
    write(store, table, S.Shards(size=5))
    write(store, table, S.Shards(size=20), plan="p2")
    assert store.names("shards") == sorted([*(f"0000{i}.{k}" for i in (0, 1) for k in ("tar", "parquet", "json")), "sizes.json"])


@pytest.mark.parametrize("fault", ["missing", "short", "flipped"])
def test_bytes_that_are_not_those_recorded_stop_the_shard(tmp_path, fault):
    store = Store(tmp_path)
    table = ledger(store)
    path = tmp_path / "parts/1.tar"
    if fault == "missing":
        path.unlink()
    elif fault == "short":
        path.write_bytes(path.read_bytes()[:700])
    else:
        data = bytearray(path.read_bytes())
        data[600] ^= 1
        path.write_bytes(data)
    with pytest.raises(PoolError, match=r"parts/1\.tar.*uid [0-9a-f]{32}"):
        write(store, table, S.Shards(size=30))
    assert store.names("shards") == []


def test_json_has_no_nan_and_one_spelling():
    assert S.to_json({"b": float("nan"), "a": [1.0, float("inf")], "t": "é"}) == '{"a":[1.0,null],"b":null,"t":"é"}'.encode()
