"""Each kind of file is declared, found, and verified by its own bytes."""

import hashlib
import random

import pyarrow as pa
import pytest

from curate.errors import PoolError
from curate.store import folder
from curate.store.atomic import Store
from curate.store.folder import KINDS, Role
from curate.store.parquet import CHECKSUM, write_table


def filled(tmp_path) -> Store:
    """One file of each kind of pattern that has a check of its own, and one of others."""
    store = Store(tmp_path / "run")
    for kind in KINDS:
        name = kind.pattern.replace("source.*", "source.images").replace("*", "x")
        if name.endswith(".parquet"):
            store.publish_table(name, pa.table({"a": list(range(50)), "s": ["word"] * 50}))
        elif name.endswith(".json"):
            store.publish_record(name, {"a": 1, "b": ["x", None, 0.1, "ü"]})
        elif name.endswith((".tar", ".npy")):
            digest = hashlib.sha256(b"bytes").hexdigest()[:32]
            store.publish_bytes(name.replace("x.tar", f"{digest}.tar").replace("x.npy", f"x-{digest}.npy"), b"bytes")
        elif kind.pattern == "work/assets/*":
            store.publish_bytes(f"work/assets/words-{hashlib.sha256(b'cat').hexdigest()[:32]}.txt", b"cat")
        else:
            store.publish_bytes(name, b"x")
    return store


def test_every_kind_is_found_by_its_role_and_all_of_it_is_whole(tmp_path):
    store = filled(tmp_path)
    found = [name for role in Role for name in folder.files(store, role)]
    there = sorted(str(p.relative_to(store.root)) for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert sorted(found) == there and len(set(found)) == len(found)
    assert list(folder.faults(store, *Role)) == []
    assert folder.top(*folder.EARLY) == {"lease", "progress.json", "removed", "verdicts", "work"}


@pytest.mark.parametrize("kind", [k for k in KINDS if k.fault], ids=lambda k: k.pattern)
def test_any_flipped_bit_and_any_cut_is_found(tmp_path, kind):
    store, dice = filled(tmp_path), random.Random(kind.pattern)
    name = next(n for n in folder.files(store, kind.role) if kind.matches(n) and folder.kind_of(n) is kind)
    path = tmp_path / "run" / name
    data = path.read_bytes()
    for trial in range(60):
        spoiled = bytearray(data)
        if trial % 4 == 3:
            del spoiled[dice.randrange(len(data)) :]
        else:
            spoiled[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled)
        assert [n for n, _ in folder.faults(store, kind.role)] == [name], trial
    path.unlink()
    assert folder.fault(store, name) == "missing"


@pytest.mark.parametrize("rows", [0, 1, 250_000])
def test_a_table_has_its_checksum_wherever_it_is_written(tmp_path, rows):
    store = Store(tmp_path)
    table = pa.table({"id": pa.array(range(rows), pa.int64())}, metadata={"curate": "note"})
    store.commit_table("work/parts/p/images.x-1.1.parquet", table)
    found = store.table("work/parts/p/images.x-1.1.parquet")
    assert found.equals(table) and found.schema.metadata == {b"curate": b"note"}
    store.publish_table(
        "work/parts/p/images.x-1.2.parquet", found
    )  # what was read is written again, with a checksum of its own
    assert list(folder.faults(store, Role.COMPUTED)) == []


def test_a_footer_that_changed_is_found_when_the_table_is_read(tmp_path):
    store = Store(tmp_path)
    store.commit_table("t.parquet", pa.table({"some_column": [1, 2]}))
    path = tmp_path / "t.parquet"
    path.write_bytes(path.read_bytes().replace(b"some_column", b"gone_column"))
    with pytest.raises(Exception, match=r"t.parquet: cannot be read: the checksum of its footer is wrong"):
        store.table("t.parquet")


def test_a_file_without_a_checksum_has_the_bytes_that_it_always_had(tmp_path):
    """The tables beside shards: their hashes are those that a data set is known by."""
    write_table(tmp_path / "t.parquet", pa.table({"a": [1]}), checksum=False)
    assert CHECKSUM not in (tmp_path / "t.parquet").read_bytes()


def test_names_that_are_no_file_of_a_run():
    assert all(
        folder.kind_of(n) is None for n in ("thesis.tex", "work/parts/p", "work/parts/p/q/r.tar", "ledger/other/x.parquet")
    )


@pytest.mark.parametrize(
    "name", ["edges/exact_dedup-1.parquet", "decisions/exact_dedup-1.parquet", "parts/x/source.images.parquet"]
)
def test_a_run_of_an_older_layout_is_refused_in_one_line(tmp_path, name):
    store = Store(tmp_path / "run")
    store.publish_bytes(name, b"")
    with pytest.raises(PoolError, match=r"run: a run of curate 0\.1, whose folder had another layout"):
        folder.refuse_older(store)


def test_what_is_there_is_not_built_again(tmp_path):
    store, built = Store(tmp_path), []
    name = "work/decisions/x-1/decision.json"
    for _ in range(2):
        assert folder.load_or_build(store, name, lambda: built.append(1) or {"rows": [3]})["rows"] == [3]
    assert built == [1] and folder.fault(store, name) == ""
    with pytest.raises(ValueError, match="halfway"):
        folder.load_or_build(store, "work/decisions/y-1/decision.json", lambda: (_ for _ in ()).throw(ValueError("halfway")))
    assert not store.exists("work/decisions/y-1/decision.json")
