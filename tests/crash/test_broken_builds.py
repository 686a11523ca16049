"""Builds that are broken on purpose: each breaks one rule of the protocol, and `check`, the checker or the walk tells."""

import independent_checker
import numpy as np
import pyarrow as pa
import pytest
from forge import half_files, inputs, toy

from curate.errors import CurateError
from curate.runner.driver import run as start
from curate.score import task
from curate.shard import ledger
from curate.shard import plan as layout
from curate.store import atomic as store
from curate.upkeep.check import check


def run(folder):
    return start(toy(str(folder)), str(folder / "run"), engine="local", part_size=50)


def told(folder) -> bool:
    """Both opinions: they must agree that something is wrong."""
    mine, other = check(store.Store(folder / "run")), independent_checker.main(str(folder / "run"))
    assert bool(mine) == bool(other), (mine, other)
    return bool(mine)


@pytest.fixture
def folder(tmp_path):
    return inputs(tmp_path)


def test_the_sound_build_is_sound(folder):
    run(folder)
    assert not told(folder)


def test_a_lost_drop(folder, monkeypatch):
    """Rows of one reason vanish from the ledger: the driver itself counts, and stops."""
    sound = ledger._ledger_rows
    monkeypatch.setattr(
        ledger,
        "_ledger_rows",
        lambda *a: (t := sound(*a)).filter(pa.array([r != "toy_words" for r in t["drop_reason"].to_pylist()])),
    )
    with pytest.raises(CurateError, match=r"table images: 110 rows came in, the ledger accounts for \d+"):
        run(folder)
    assert not (folder / "run/dataset.json").exists()


def test_a_drop_that_is_forgotten_in_the_ledger(folder, monkeypatch):
    """The ledger says kept where the selector dropped."""
    sound = ledger._ledger_rows

    def forgetful(*args):
        table = sound(*args)
        reasons = table["drop_reason"].to_pylist()
        hit = [r == "toy_half" for r in reasons]
        for name, value in (("drop_reason", None), ("drop_stage", None), ("kept", True)):
            column = pa.array([value if h else v for h, v in zip(hit, table[name].to_pylist())], table.schema.field(name).type)
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    monkeypatch.setattr(ledger, "_ledger_rows", forgetful)
    run(folder)
    assert told(folder)


def test_a_file_named_without_its_hash(folder, monkeypatch):
    """A shard gets its name while the disk lost a byte of it: what was hashed is not what is there."""
    sound = store.Store.publish

    def careless(self, name, path, size=None):
        if name == "shards/00001.tar":
            data = bytearray(path.read_bytes())
            data[700] ^= 1
            path.write_bytes(data)
        sound(self, name, path, size)

    monkeypatch.setattr(store.Store, "publish", careless)
    run(folder)
    assert told(folder)


def test_a_commit_before_its_payload(folder, monkeypatch):
    """Columns that name a tar which was never made durable: the run cannot write its shards and says which file it lacks."""
    sound = store.Store.commit
    monkeypatch.setattr(
        store.Store, "commit", lambda self, name, path, size=None: name.endswith(".tar") or sound(self, name, path, size)
    )
    with pytest.raises(CurateError, match=r"work/parts/.*\.tar: cannot be read: No such file"):
        run(folder)
    assert not (folder / "run/dataset.json").exists()


def test_a_name_given_before_the_bytes_are_there(folder, monkeypatch):
    """No private file: a reader, or a crash, sees half of one."""
    seen: list[str] = []

    def open_to_all(self, name, table):
        path = folder / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PAR1 and then nothing yet")
        seen.extend(half_files(folder / "run", {}))
        path.unlink()
        return sound(self, name, table)

    sound = store.Store.commit_table
    monkeypatch.setattr(store.Store, "commit_table", open_to_all)
    run(folder)
    assert seen


def test_rows_that_lie_one_place_off(folder, monkeypatch):
    """Image and text come apart by one row."""
    sound = task.name_payload
    monkeypatch.setattr(task, "name_payload", lambda columns, tar: _turned(sound(columns, tar)))
    with pytest.raises(CurateError, match="are not those recorded"):
        run(folder)


def _turned(columns):
    at = columns["payload_offset"].to_numpy(zero_copy_only=False)
    full = np.flatnonzero(~np.isnan(at))
    at[full] = np.roll(at[full], 1)
    return columns.set_column(
        columns.column_names.index("payload_offset"), "payload_offset", pa.array(at, pa.int64(), from_pandas=True)
    )


def test_a_sample_twice(folder, monkeypatch):
    sound = layout.placed
    monkeypatch.setattr(layout, "placed", lambda *a: pa.concat_tables([rows := sound(*a), rows.slice(0, 1)]))
    run(folder)
    assert told(folder)
