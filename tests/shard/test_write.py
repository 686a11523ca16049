"""The plan, the trio of a shard, and the end: what is promised of them."""

import hashlib
import json
import tarfile
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import payload_rows, planned, write_shards

from curate.errors import PoolError
from curate.shard import write as S
from curate.shard.members import LEFT_OUT, SUFFIX, Members, Slice, to_json
from curate.store.atomic import Store
from curate.store.payload import Parcel


def ledger(store: Store, n: int = 25, parts: int = 3) -> pa.Table:
    """Rows of `n` images, all kept, each once."""
    return payload_rows(store, n, parts).drop_columns(["kept", "drop_reason", "drop_stage", "copies"])


def plan(table: pa.Table, how: S.Shards) -> pa.Table:
    return planned(table, how)


def write(store: Store, table: pa.Table, how: S.Shards, name: str = "p1") -> dict:
    return write_shards(store, plan(table, how), name, how=how)


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(0, 10, []), (1, 10, [1]), (10, 10, [10]), (11, 10, [6, 5]), (25, 10, [9, 8, 8])]
)
def test_sizes_are_equal_within_one(n, size, sizes):
    assert S.assign(n, size) == sizes


def test_names_sort_as_numbers():
    assert S.shard_name(42, 50) == "00042"
    assert S.shard_name(42, 100_001) == "000042"


def test_plan_does_not_depend_on_the_order_of_rows_and_places_everyone_once(tmp_path):
    table = ledger(Store(tmp_path))
    made = plan(table, S.Shards(size=10))
    turned = plan(table.take(list(range(len(table)))[::-1]), S.Shards(size=10))
    assert made.equals(turned)
    assert [made["shard"].to_pylist().count(i) for i in range(3)] == S.assign(25, 10)
    assert made["place"].to_pylist() == [*range(9), *range(8), *range(8)]
    assert sorted(made["key"].to_pylist()) == sorted(table["uid"].to_pylist())
    order = made["uid"].to_pylist()
    assert order == sorted(order, key=lambda u: hashlib.md5(f"{u}::0".encode()).hexdigest())
    assert order != plan(table, S.Shards(size=10, seed=1))["uid"].to_pylist()


def test_copies_repeat_a_sample_under_keys_of_their_own():
    table = pa.table({"uid": ["a", "b", "c"], "copies": pa.array([3, None, 1], pa.int32())})
    made = plan(table, S.Shards(size=2))
    assert sorted(made["key"].to_pylist()) == ["a", "a-2", "a-3", "b", "c"]
    assert made["shard"].to_pylist() == [0, 0, 1, 1, 2]


def test_an_empty_plan_is_an_empty_data_set(tmp_path):
    empty = pa.table({"uid": pa.array([], pa.large_string())})
    assert len(plan(empty, S.Shards())) == 0
    assert S.finish(Store(tmp_path), [])["samples"] == 0


def test_embeddings_stay_in_the_ledger_unless_asked_for(tmp_path):
    store = Store(tmp_path)
    write(store, ledger(store), S.Shards(size=10))
    assert "vector" not in pq.read_table(tmp_path / "shards/00000.parquet").column_names


def test_tar_sidecar_and_json_say_the_same(tmp_path):
    store = Store(tmp_path)
    table = ledger(store)
    dataset = write(store, table, S.Shards(size=10, embeddings=True))
    by_uid = {r["uid"]: r for r in table.to_pylist()}
    seen = []
    for name in ("00000", "00001", "00002"):
        info = json.loads(store.read(f"shards/{name}.json"))
        assert info["tar"]["sha256"] == hashlib.sha256(store.read(f"shards/{name}.tar")).hexdigest()
        assert info["parquet"]["sha256"] == hashlib.sha256(store.read(f"shards/{name}.parquet")).hexdigest()
        side = pq.read_table(tmp_path / f"shards/{name}.parquet")
        assert not set(side.column_names) & LEFT_OUT and "vector" in side.column_names
        with tarfile.open(tmp_path / f"shards/{name}.tar") as tar:
            members = tar.getmembers()
            assert all(m.mtime == 0 and m.isreg() for m in members)
            for i, key in enumerate(side["key"].to_pylist()):
                mine = members[3 * i : 3 * i + 3]
                assert all(m.name.split(".")[0] == key for m in mine)
                assert [m.name for m in mine] == sorted(m.name for m in mine)
                files = {m.name.split(".")[1]: tar.extractfile(m).read() for m in mine}
                row, meta = by_uid[key], json.loads(files["json"])
                image = files[SUFFIX[row["mime"]]]
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
    second = write(two, ledger(two, parts=4), S.Shards(size=10), name="another")
    assert first["root_hash"] == second["root_hash"]
    assert first["root_hash"] != write(two, ledger(two), S.Shards(size=10, seed=1), name="third")["root_hash"]


def test_a_shard_of_the_same_plan_is_left_alone_and_any_other_is_rewritten(tmp_path, monkeypatch):
    store = Store(tmp_path)
    table = ledger(store)
    write(store, table, S.Shards(size=10))
    written, real = [], S.write_tar
    monkeypatch.setattr(S, "write_tar", lambda *given: written.append(given) or real(*given))
    write(store, table, S.Shards(size=10))
    assert written == []
    (tmp_path / "shards/00001.tar").write_bytes(b"cut short")
    write(store, table, S.Shards(size=10))
    assert len(written) == 1
    write(store, table, S.Shards(size=10), name="p2")
    assert len(written) == 4


def test_a_column_of_the_sidecar_alone_rewrites_no_tar_and_reads_no_payload(tmp_path, monkeypatch):
    store, table = Store(tmp_path), ledger(Store(tmp_path))
    how = S.Shards(size=10, model_scores={"images": ["clip"]})
    before = write(store, table, how)
    old = {n: (tmp_path / "shards" / n).stat().st_ino for n in store.names("shards")}
    monkeypatch.setattr(S, "slices", lambda store, wanted: iter([1 / 0 for _ in wanted]))
    more = table.append_column("clip", pa.array([0.5] * len(table), pa.float32()))
    after = write(store, more, how, name="p2")
    assert after["root_hash"] == before["root_hash"] and "clip" in store.fields("shards/00000.parquet").names
    new = {n: (tmp_path / "shards" / n).stat().st_ino for n in store.names("shards")}
    assert {n for n in new if new[n] == old[n]} == {f"0000{i}.tar" for i in range(3)}
    with pytest.raises(ZeroDivisionError):  # what the members have decides the tar
        write(store, more.append_column("words", pa.array([1] * len(table))), how, name="p3")


def test_shards_of_an_earlier_plan_are_removed(tmp_path):
    store = Store(tmp_path)
    table = ledger(store)
    write(store, table, S.Shards(size=5))
    write(store, table, S.Shards(size=20), name="p2")
    trios = [f"0000{i}.{k}" for i in (0, 1) for k in ("tar", "parquet", "json")]
    assert store.names("shards") == sorted([*trios, "sizes.json"])


def test_a_writer_killed_between_tar_and_json_leaves_no_json_that_lies(tmp_path, monkeypatch):
    store = Store(tmp_path)
    table = ledger(store)
    write(store, table, S.Shards(size=30))
    monkeypatch.setattr(Store, "publish_bytes", lambda self, name, data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(store, table, S.Shards(size=30, seed=1), name="p2")
    assert store.names("shards") == ["00000.parquet", "00000.tar", "sizes.json"]


@pytest.mark.parametrize("fault", ["missing", "short", "flipped"])
def test_bytes_that_are_not_those_recorded_stop_the_shard(tmp_path, fault):
    store = Store(tmp_path)
    table = ledger(store)
    path = tmp_path / "work/parts/1.tar"
    if fault == "missing":
        path.unlink()
    elif fault == "short":
        path.write_bytes(path.read_bytes()[:700])
    else:
        data = bytearray(path.read_bytes())
        data[520] ^= 1
        path.write_bytes(data)
    with pytest.raises(PoolError, match=r"work/parts/1\.tar.*uid [0-9a-f]{32}"):
        write(store, table, S.Shards(size=30))
    assert store.names("shards") == []
    if fault == "short":
        with pytest.raises(PoolError, match=r"work/parts/1\.tar: ends before byte"):
            write_shards(store, plan(table, S.Shards()), hashed=None)


def test_one_image_at_a_time_is_in_memory(tmp_path):
    store, big, count = Store(tmp_path), 1 << 20, 40
    rows = []
    with store.private("work/parts/big.tar") as path, open(path, "wb") as f:
        parcel = Parcel(store, f)
        for i in range(count):
            data = bytes([i]) * big
            rows.append(
                {
                    "uid": f"{i:032x}",
                    "text": "x",
                    "mime": "image/jpeg",
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "payload": "work/parts/big.tar",
                    "payload_offset": parcel.add(f"{i}.jpg", data),
                    "payload_size": big,
                }
            )
        f.flush()
        store.publish("work/parts/big.tar", path)
    table = plan(pa.Table.from_pylist(rows), S.Shards())
    tracemalloc.start()
    info = S.write_shard(store, table, "00000", "p")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert info["tar"]["bytes"] > count * big and peak < 5 * big


def test_names_need_not_be_known_beforehand(tmp_path):
    """Other kinds of samples bring their own function: here two images and a text, as a document would."""
    store = Store(tmp_path)
    table = ledger(store, 2)
    both = [Slice(r["payload"], r["payload_offset"], r["payload_size"], r["sha256"]) for r in table.to_pylist()]
    rows = pa.table({"uid": ["d" * 32], "key": ["d" * 32]})

    def document(row: dict, meta: dict, hashed: str | None) -> Members:
        return {"0.jpg": both[0], "1.png": both[1], "json": to_json(meta)}

    S.write_shard(store, rows, "00000", "p", members=document)
    with tarfile.open(tmp_path / "shards/00000.tar") as tar:
        assert tar.getnames() == [f"{'d' * 32}.{s}" for s in ("0.jpg", "1.png", "json")]
        assert [hashlib.sha256(tar.extractfile(m).read()).hexdigest() for m in tar.getmembers()[:2]] == [s.sha256 for s in both]


def test_json_has_no_nan_and_one_spelling():
    assert to_json({"b": float("nan"), "a": [1.0, float("inf")], "t": "é"}) == '{"a":[1.0,null],"b":null,"t":"é"}'.encode()


def test_the_chosen_text_is_the_caption_and_the_raw_text_stays_in_the_json(tmp_path):
    store = Store(tmp_path)
    table = ledger(store)
    chosen = pa.array([f"chosen {i}" if i % 2 else None for i in range(len(table))], pa.large_string())
    write(store, table.append_column("chosen_text", chosen), S.Shards(size=100, captions="chosen_text"))
    rows = {r["uid"]: (r["text"] or "", c) for r, c in zip(table.to_pylist(), chosen.to_pylist(), strict=True)}
    with tarfile.open(tmp_path / "shards/00000.tar") as tar:
        for member in tar:
            key, suffix = member.name.split(".")
            if suffix == "txt":
                assert tar.extractfile(member).read().decode() == (rows[key][1] or rows[key][0])
            elif suffix == "json":
                assert (json.load(tar.extractfile(member))["text"] or "") == rows[key][0]
