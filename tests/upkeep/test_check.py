"""`curate check` and the independent checker both catch every way in which an output can be wrong."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import independent_checker
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import small_run

from curate.shard import write as shards
from curate.shard.members import to_json
from curate.store.atomic import Store
from curate.store.parquet import write_table
from curate.upkeep.check import check


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Path(small_run(tmp_path_factory.mktemp("made") / "run").root)


@pytest.fixture
def run(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "run"))


def caught(run: Path, *words: str) -> list[str]:
    """The faults that `check` tells of; each word is in one of them, and the second opinion is the same."""
    faults = check(Store(run))
    assert faults, "check found nothing"
    assert independent_checker.main(str(run)) == 1, faults
    for word in words:
        assert any(word in f for f in faults), (word, faults)
    return faults


def rehash(run: Path) -> None:
    """Make all hashes and lists agree with the files again, as somebody would who wants to deceive."""
    dataset = json.loads((run / "dataset.json").read_text())
    for entry in dataset["shards"]:
        for kind in ("tar", "parquet"):
            data = (run / f"shards/{entry['name']}.{kind}").read_bytes()
            entry[kind] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        info = json.loads((run / f"shards/{entry['name']}.json").read_text())
        (run / f"shards/{entry['name']}.json").write_text(json.dumps({**info, **entry}))
    (run / "dataset.json").write_text(json.dumps({**dataset, "root_hash": shards.root_hash(dataset["shards"])}))


def rewrite_tar(path: Path, change) -> None:
    """Write a tar anew, after `change` had its way with the list of [name, bytes]."""
    with tarfile.open(path) as tar:
        files = [[m.name, tar.extractfile(m).read()] for m in tar]
    change(files)
    with open(path, "wb") as f:
        for name, data in files:
            f.write(shards.tar_header(name, len(data)) + data + b"\0" * (-len(data) % 512))
        f.write(bytes(1024))


def edit_parquet(path: Path, change) -> None:
    write_table(path, change(pq.ParquetFile(path).read()))


def swap(files: list, ending: str) -> None:
    places = [i for i, (name, _) in enumerate(files) if name.endswith(ending)]
    files[places[0]][1], files[places[1]][1] = files[places[1]][1], files[places[0]][1]


def test_a_sound_run_has_no_faults(run):
    assert check(Store(run)) == []
    assert independent_checker.main(str(run)) == 0


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_flipped_bits(run, kind, at):
    path = run / f"shards/00001.{kind}"
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 4
    path.write_bytes(data)
    caught(run, f"shards/00001.{kind}: the SHA-256")


@pytest.mark.parametrize("kind", ["tar", "parquet", "json"])
@pytest.mark.parametrize("fault", ["short", "missing"])
def test_truncated_and_missing_files(run, kind, fault):
    path = run / f"shards/00001.{kind}"
    if fault == "missing":
        path.unlink()
        caught(run, f"shards/00001.{kind}: missing")
    else:
        path.write_bytes(path.read_bytes()[: -700 if kind != "json" else -20])
        caught(run, f"shards/00001.{kind}")


def test_files_that_do_not_belong_there(run):
    shutil.copy(run / "shards/00000.tar", run / "shards/00009.tar")
    caught(run, "shards/00009.tar: not a file of this data set")


@pytest.mark.parametrize(
    ("ending", "told"), [(".txt", "is not the caption"), (".json", "is not its row"), (".jpg", "is not the image of its row")]
)
def test_swapped_members_are_caught_although_every_hash_agrees(run, ending, told):
    rewrite_tar(run / "shards/00000.tar", lambda files: swap(files, ending))
    rehash(run)
    assert len([f for f in caught(run, told) if told in f]) == 2


def test_captions_swapped_in_tar_and_sidecar_are_caught_by_the_ledger(run):
    def turned(table: pa.Table) -> pa.Table:
        text = table["text"].to_pylist()
        text[0], text[1] = text[1], text[0]
        return table.set_column(table.column_names.index("text"), "text", pa.array(text, pa.large_string()))

    edit_parquet(run / "shards/00000.parquet", turned)
    rows = {r["key"]: r for r in pq.read_table(run / "shards/00000.parquet").to_pylist()}

    def follow(files: list) -> None:
        for each in files:
            key, ending = each[0].split(".")
            if ending == "txt":
                each[1] = rows[key]["text"].encode()
            elif ending == "json":
                each[1] = to_json({k: v for k, v in rows[key].items() if k != "vector"})

    rewrite_tar(run / "shards/00000.tar", follow)
    rehash(run)
    faults = caught(run, "2 samples have another text than their row")
    assert len(faults) == 1


def test_a_sample_too_few_or_twice_in_a_shard(run):
    path = run / "shards/00000.tar"
    rewrite_tar(path, lambda files: files.__delitem__(slice(0, 3)))
    rehash(run)
    caught(run, "shards/00000.tar: has")
    rewrite_tar(path, lambda files: files.__setitem__(slice(0, 0), files[:3]))
    rehash(run)
    caught(run, "shards/00000.tar: has")


def test_a_shard_that_is_a_copy_of_another(run):
    for kind in ("tar", "parquet"):
        shutil.copy(run / f"shards/00000.{kind}", run / f"shards/00001.{kind}")
    rehash(run)
    caught(run, "keys come more than once", "kept rows are not in the shards", "key or shard of")


def test_wrong_lists(run):
    sizes = run / "shards/sizes.json"
    sizes.write_text(sizes.read_text().replace("10", "11"))
    caught(run, "sizes.json")
    sizes.unlink()
    caught(run, "shards/sizes.json: missing")


def test_a_wrong_root_hash(run):
    dataset = json.loads((run / "dataset.json").read_text())
    (run / "dataset.json").write_text(json.dumps({**dataset, "root_hash": "0" * 64}))
    assert caught(run) == ["dataset.json: the root hash is not that of its shards"]
    (run / "dataset.json").unlink()
    caught(run, "dataset.json: missing")


def test_an_unfinished_run(run):
    record = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**record, "state": "running"}))
    assert check(Store(run)) == ["recipe.json: the run has not reached its end (state 'running')"]


def ledger(run: Path, change) -> None:
    edit_parquet(run / "ledger/images/000000.parquet", change)


def test_a_row_that_vanished_from_the_ledger(run):
    ledger(run, lambda t: t.slice(1))
    caught(run, "ledger/images: 29 rows, but the input has 30")


def test_a_row_with_two_outcomes_or_none(run):
    flipped = lambda t: t.set_column(t.column_names.index("kept"), "kept", pa.array([not v for v in t["kept"].to_pylist()]))  # noqa: E731
    ledger(run, flipped)
    caught(run, "neither kept nor dropped for a reason, or both", "samples are not kept rows")


def test_a_dropped_row_that_is_in_a_shard(run):
    def dropped(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        first = next(r for r in rows if r["kept"])
        first.update(kept=False, drop_reason="score", drop_stage="score", shard=None, key=None)
        return pa.Table.from_pylist(rows, schema=table.schema)

    ledger(run, dropped)
    caught(run, "samples are not kept rows of ledger/images", "recipe.json says")


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("shard", 77, "key or shard of 1 rows"),
        ("key", "x", "key or shard of 1 rows"),
        ("key", None, "no key or no shard"),
        ("place", -1, "not in the order of their places"),
        ("place", None, "not in the order of their places"),
        ("score", -1.0, "another score"),
    ],
)
def test_a_ledger_that_says_something_else_than_the_shards(run, column, value, told):
    def changed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        next(r for r in rows if r["kept"] and not r["copies"])[column] = value
        return pa.Table.from_pylist(rows, schema=table.schema)

    ledger(run, changed)
    caught(run, told)


def test_a_folder_that_is_no_run(tmp_path):
    assert check(Store(tmp_path))[0].startswith("recipe.json: missing")
