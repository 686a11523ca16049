"""Reading one input file into parts: what goes wrong is told of the file."""

from dataclasses import dataclass

import pytest
from toys import Toy, images

from curate.score.ingest import ingest
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
    for name in store.names("inputs"):
        store.remove(f"inputs/{name}")
    store.publish_table(f"parts/{part}/source.images.parquet", images(path, range(3)))
    assert [p["rows"]["images"] for p in ingest(store, source, path, 5)["parts"]] == [3, 4]
