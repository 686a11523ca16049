"""Atomic commits: whole or not at all, the first wins, faults name the file."""

import errno
import io
import json
import os
import stat
import tarfile
import tempfile
import threading

import pyarrow as pa
import pytest

from curate.errors import PoolError
from curate.store import lease
from curate.store.atomic import Store
from curate.store.payload import Parcel, tar_header
from curate.store.slices import read_slices


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(tmp_path / "run")
    return Store(f"memory://{tmp_path.name}-{request.node.name}/run")


def test_the_first_commit_wins_and_the_second_is_told(tmp_path):
    store = Store(tmp_path)
    assert store.commit_bytes("a/b", b"one") and not store.commit_bytes("a/b", b"two")
    assert store.read("a/b") == b"one"


def test_of_many_writers_at_once_one_commits(tmp_path):
    store, won = Store(tmp_path), []
    threads = [
        threading.Thread(target=lambda i=i: won.append(i) if store.commit_bytes("x", b"%d" % i) else None) for i in range(16)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == 1 and store.read("x") == b"%d" % won[0]


def test_publish_replaces(store):
    store.publish_bytes("a", b"one")
    store.publish_bytes("a", b"two")
    assert store.read("a") == b"two" and store.names("") == ["a"]


def test_names_are_sorted_and_private_files_are_not_listed(tmp_path):
    store = Store(tmp_path)
    with store.private("f/x") as path:
        path.write_bytes(b"half")
        store.commit_bytes("f/b", b"")
        store.commit_bytes("f/a", b"")
        assert store.names("f") == ["a", "b"]
    assert sorted(os.listdir(tmp_path / "f")) == ["a", "b"]
    assert store.names("nowhere") == []


def test_tables_come_back_with_their_types(store):
    table = pa.table({"s": pa.array(["x", None], pa.large_string()), "v": pa.array([[1.5, 2.0], None], pa.list_(pa.float16()))})
    store.publish_table("t.parquet", table)
    assert store.table("t.parquet").equals(table)
    assert store.table("t.parquet", ["s"]).column_names == ["s"]


def test_a_flipped_bit_in_a_table_is_named(tmp_path):
    store = Store(tmp_path)
    store.commit_table("t.parquet", pa.table({"s": ["some text"] * 100}))
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[30] ^= 1
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(PoolError, match=r"t\.parquet: cannot be read"):
        store.table("t.parquet")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoolError, match=r"file: cannot write here"):
        Store(tmp_path / "file").commit_bytes("x", b"")


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(PoolError, match=r"x: cannot write: No space left on device"):
        Store(tmp_path).commit_bytes("x", b"")
    assert os.listdir(tmp_path) == [".private"] and os.listdir(tmp_path / ".private") == []


def test_a_file_that_lost_bytes_on_its_way_gets_no_name(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(PoolError, match="x: 4 bytes were written, the disk holds 2"), store.private("x") as path:
        path.write_bytes(b"ab")
        store.commit("x", path, 4)
    assert store.names("") == [] and os.listdir(tmp_path / ".private") == []


def test_a_file_that_cannot_be_removed_is_named(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("")
    monkeypatch.setattr(os, "unlink", lambda *a: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(PoolError, match="x: cannot be removed: Input/output error"):
        Store(tmp_path).remove("x")


def test_a_parcel_is_a_tar_and_its_slices_are_the_bytes(tmp_path):
    store, file = Store(tmp_path), io.BytesIO()
    parcel = Parcel(store, file)
    data = {"a.jpg": b"x" * 700, "b.png": b"", "c.webp": b"y" * 512}
    offsets = {name: parcel.add(name, d) for name, d in data.items()}
    parcel.close()
    (tmp_path / "work/parts").mkdir(parents=True)
    (tmp_path / "work/parts/p.tar").write_bytes(file.getvalue())
    with tarfile.open(tmp_path / "work/parts/p.tar") as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar} == data
    names = ["c.webp", "a.jpg"]
    found = read_slices(
        store, ["work/parts/p.tar", None, "work/parts/p.tar"], [offsets[names[0]], None, offsets[names[1]]], [512, None, 700]
    )
    assert found == [data["c.webp"], None, data["a.jpg"]]


def test_a_slice_past_the_end_is_named(tmp_path):
    (tmp_path / "work/parts").mkdir(parents=True)
    (tmp_path / "work/parts/p.tar").write_bytes(b"short")
    with pytest.raises(PoolError, match=r"p.tar: holds 3 bytes at 2, not 100"):
        read_slices(Store(tmp_path), ["work/parts/p.tar"], [2], [100])


def test_a_member_name_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        tar_header("x" * 101, 0)


def test_a_payload_that_is_gone_is_named_with_what_helps(tmp_path):
    with pytest.raises(PoolError, match=r"p.tar: missing; `curate run --repair`"):
        read_slices(Store(tmp_path), ["work/parts/p.tar"], [0], [1])
    (tmp_path / "recipe.json").write_text(json.dumps({"inputs": [{"path": str(tmp_path / "p.tar")}]}))
    with pytest.raises(PoolError, match=r"p.tar: missing$"):  # of the input
        read_slices(Store(tmp_path), [str(tmp_path / "p.tar")], [0], [1])


@pytest.mark.parametrize(
    "name",
    [
        "{0}/secret",
        "file://{0}/secret",
        "secret",
        "../{1}/secret",
        "work/parts/../secret",
        "work/parts/x/../../secret.tar",
        "work/parts/../secret.tar",
        "work/parts/./a.tar",
        "work/parts/a/b/c.tar",
        "work/parts//a.tar",
        "work/parts/a.tar\n",
        "http://127.0.0.1:1/latest/meta-data",
        "simplecache::http://127.0.0.1:1/x",
        "work/parts/a.tar::{0}/secret",
        "recipe.json",
        "",
    ],
)
def test_only_payloads_of_the_run_and_its_recorded_inputs_are_opened(tmp_path, name):
    """Whatever a row says: no file of this machine, no server, also not one like an input."""
    for there in ("secret", "secret.tar", "a.tar", "in.tar"):
        (tmp_path / there).write_bytes(b"SECRET")
    (tmp_path / "recipe.json").write_text(json.dumps({"inputs": [{"path": str(tmp_path / "in.tar")}]}))
    assert read_slices(Store(tmp_path), [str(tmp_path / "in.tar")], [0], [6]) == [b"SECRET"]
    with pytest.raises(PoolError, match=r"is neither a payload of .* nor one of its inputs, and is not opened"):
        read_slices(Store(tmp_path), [name.format(tmp_path, tmp_path.name)], [0], [6])


def test_what_dead_writers_left_is_swept_also_beside_an_object_store(store, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/other").write_text("of another program")
    with store.private("f/x") as path:
        path.write_bytes(b"half")
        store.sweep()
        assert not path.exists() and os.listdir(tmp_path / "tmp") == ["other"]


def test_a_record_is_read_or_named(store):
    store.publish_bytes("a.json", b'{"a": 1}')
    store.publish_bytes("b.json", b'{"a": ')
    assert store.json("a.json") == {"a": 1} and store.json("none.json") is None
    with pytest.raises(PoolError, match=r"b.json: damaged .*; `curate run --repair` makes it again"):
        store.json("b.json")


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(code, os.strerror(code))))
    store = Store(tmp_path)
    assert store.commit_bytes("a", b"one") and not store.commit_bytes("a", b"two")
    assert store.read("a") == b"one" and os.listdir(tmp_path / ".private") == []
    monkeypatch.setattr(lease, "SETTLE", 0)
    with lease.held(store):
        assert store.commit_bytes("b", b"")


def test_a_link_whose_answer_was_lost_is_ours(tmp_path, monkeypatch):
    link = os.link

    def lost(path, name):
        link(path, name)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", lost)
    assert Store(tmp_path).commit_bytes("a", b"one")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_folders(tmp_path, monkeypatch, code):
    def folders(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", folders)
    store = Store(tmp_path)
    assert store.commit_bytes("a", b"") and store.publish_bytes("b", b"") is None and store.remove("a") is None
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(PoolError, match="c: cannot write: Input/output error"):
        store.commit_bytes("c", b"")
