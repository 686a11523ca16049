"""Reading one input file into parts: what goes wrong is told of the file."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from toys import Toy, ToyScore, images, recipe

from curate import source
from curate.runner.driver import run
from curate.score.ingest import ingest
from curate.source import file_identity
from curate.store.atomic import Store


@dataclass
class Faulty(Toy):
    """Gives one part, then raises."""

    fault: type[BaseException] = TypeError

    def read(self, file, part_size):
        yield {"images": images(file, range(part_size))}
        raise self.fault("no such thing")


def test_any_fault_of_a_source_is_the_file_s_and_the_parts_before_stay(tmp_path):
    (tmp_path / "a.txt").write_text("9")
    path = str(tmp_path / "a.txt")
    made = ingest(Store(tmp_path / "run"), Faulty((path,)), path, 5)
    assert made["error"] == f"{path}: cannot be read: TypeError: no such thing" and [p["rows"] for p in made["parts"]] == [
        {"images": 5}
    ]
    with pytest.raises(KeyboardInterrupt):
        ingest(Store(tmp_path / "run"), Faulty((path,), KeyboardInterrupt), path, 5)


def test_the_record_counts_what_is_committed(tmp_path):
    """A part of an interrupted reading stays, whatever is read the second time."""
    (tmp_path / "a.txt").write_text("9")
    path, store = str(tmp_path / "a.txt"), Store(tmp_path / "run")
    source = Toy((path,))
    part = ingest(store, source, path, 5)["parts"][0]["id"]
    for name in store.names("work/inputs"):
        store.remove(f"work/inputs/{name}")
    store.publish_table(f"work/parts/{part}/source.images.parquet", images(path, range(3)))
    assert [p["rows"]["images"] for p in ingest(store, source, path, 5)["parts"]] == [3, 4]


# ---- what an input is known by


def touched(path, seconds=5):
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))


def test_the_content_of_a_file_is_read_once(tmp_path, monkeypatch):
    path = str(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("9")
    first = file_identity(path)
    assert first["hash"] == f"sha256:{hashlib.sha256(b'9').hexdigest()}" and first["size"] == 1
    with monkeypatch.context() as m:
        m.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read"))
        assert file_identity(path, first) == first
    touched(path)
    again = file_identity(path, first)  # another version, and the same content
    assert again["hash"] == first["hash"] and again["version"] != first["version"]
    (tmp_path / "a.txt").write_text("8")
    assert file_identity(path, first)["hash"] != first["hash"]


def test_a_change_deep_inside_a_large_file_is_seen(tmp_path):
    path = tmp_path / "a.tar"
    with open(path, "wb") as f:
        f.truncate(300 << 20)
    before = file_identity(str(path))
    with open(path, "r+b") as f:
        f.seek(150 << 20)
        f.write(b"x")
    assert file_identity(str(path))["hash"] != before["hash"]


@pytest.mark.parametrize(
    "told, version",
    [
        ({"ETag": '"abc-2"'}, "etag:abc-2"),
        ({"generation": 7}, "generation:7"),
        ({"ETag": 'W/"abc"'}, ""),
        ({}, ""),
        ({"mtime": 1.5, "ino": 7}, "1.5-7"),
    ],
)
def test_the_version_of_a_file_is_that_of_its_store(told, version):
    assert source._version({"size": 1, "type": "file", **told}) == version


def test_a_folder_is_known_by_its_files(tmp_path):
    (tmp_path / "f/g").mkdir(parents=True)
    for name in ("a", "g/b"):
        (tmp_path / "f" / name).write_text(name)
    known = file_identity(str(tmp_path / "f"))
    assert known["files"] == 2 and known["hash"].startswith("folder:") and file_identity(str(tmp_path / "f"), known) == known
    (tmp_path / "f/g/b").write_text("c")
    touched(tmp_path / "f/g/b")
    assert file_identity(str(tmp_path / "f"), known)["hash"] != known["hash"]


@dataclass
class Changing(Toy):
    """Its file changes while it is read."""

    def read(self, file, part_size):
        yield {"images": images(file, range(part_size))}
        Path(file).write_text("8")
        touched(file)
        yield {"images": images(file, range(part_size))}


def test_a_file_that_changes_while_it_is_read_is_told_and_none_of_it_stays(tmp_path):
    path, store = tmp_path / "a.txt", Store(tmp_path / "run")
    path.write_text("9")
    made = ingest(store, Changing((str(path),)), str(path), 5)
    assert made["error"] == f"{path}: changed while it was read" and made["parts"] == []
    assert (
        store.names("work/inputs") == []
        and [n for p in store.names("work/parts") for n in store.names(f"work/parts/{p}")] == []
    )


def test_a_file_that_changes_under_a_run_is_told_at_its_end(inputs, tmp_path):
    built = recipe([inputs / "*.txt"])
    score = ToyScore.score

    class Meanwhile(ToyScore):
        def score(self, live):
            touched(inputs / "b.txt")
            return score(self, live)

    built.score[-1] = Meanwhile(name="toy_score", min=0.2)
    made = run(built, str(tmp_path / "run"), engine="local", part_size=500)
    assert [p for p in made.problems if "b.txt: has changed since it was read" in p] == made.problems != []
    assert made.recipe["changed"] == made.problems
    assert run(built, str(tmp_path / "run"), engine="local", part_size=500).problems == []  # only its time had changed
