"""Tables with pictures in them: as datasets, img2dataset and LAION write them, whole and damaged."""

import hashlib
import json
from typing import ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as registry
from small_run import photo

from curate.errors import PoolError, RecipeError
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.image_tables import ImageTables
from curate.sources.url_pairs import UrlPairs
from curate.upkeep.check import check

N = 40


def huggingface(path):
    datasets = pytest.importorskip("datasets")
    rows = [{"image": {"bytes": photo(i), "path": f"{i}.jpg"}, "text": f"caption {i}", "n": i} for i in range(N)]
    made = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image(decode=False))
    made.to_parquet(str(path / "train-00000-of-00001.parquet"), batch_size=7)


def saved(path):
    datasets = pytest.importorskip("datasets")
    rows = [{"image": {"bytes": photo(i), "path": None}, "text": f"caption {i}", "n": i} for i in range(N)]
    datasets.Dataset.from_list(rows).save_to_disk(str(path / "saved"))


def img2dataset(path):
    rows = {
        "url": [f"http://a/{i}" for i in range(N)],
        "caption": [f"caption {i}" for i in range(N)],
        "jpg": [photo(i) for i in range(N)],
        "n": list(range(N)),
    }
    pq.write_table(pa.table(rows), path / "00000.parquet", row_group_size=11)


def lance(path):
    found = pytest.importorskip("lance")
    rows = {"image": [photo(i) for i in range(N)], "text": [f"caption {i}" for i in range(N)], "n": list(range(N))}
    found.write_dataset(pa.table(rows), str(path / "x.lance"), max_rows_per_file=13)


@pytest.mark.parametrize("writer", [huggingface, saved, img2dataset, lance])
def test_the_pictures_of_a_table_are_in_the_shards(writer, tmp_path):
    (tmp_path / "in").mkdir()
    writer(tmp_path / "in")
    where = tmp_path / "in" / ("x.lance" if writer is lance else "")
    recipe = Recipe(ImageTables(str(where)), [Fetch()], shards=Shards(size=100), name="x")
    made = run(recipe, str(tmp_path / "run"), engine="local", part_size=15)
    assert made.problems == [] and check(made.store) == []
    rows = made.sql("select text, source_n, sha256 from images where kept order by source_n").fetchall()
    assert rows == [(f"caption {i}", i, hashlib.sha256(photo(i)).hexdigest()) for i in range(N)]
    assert made.dataset["samples"] == N


def test_rows_without_a_picture_and_tables_that_have_none(tmp_path):
    path = tmp_path / "t.parquet"
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = [
        {"bytes": photo(1), "path": "1.jpg"},
        None,
        {"bytes": None, "path": "x"},
        {"bytes": b"x" * (21 << 20), "path": None},
    ]
    pq.write_table(pa.table({"image": pa.array(pictures, kind), "text": ["a caption", "b", "c", "d"]}), path)
    made = run(Recipe(ImageTables(str(path)), [Fetch()], name="x"), str(tmp_path / "run"), engine="local")
    reasons = [r for (r,) in made.sql("select drop_reason from images order by source_row").fetchall()]
    assert reasons == [None, "unpack:no_image", "unpack:no_image", "unpack:too_large"]
    pq.write_table(pa.table({"image": ["no bytes"], "text": ["a"]}), path)
    with pytest.raises(RecipeError, match=r"t\.parquet: no column 'img' for the picture"):
        list(ImageTables(str(path), image="img").read(str(path), 10))
    with pytest.raises(PoolError, match=r"t\.parquet: the pictures from row 0 on cannot be read: column 'image' holds string"):
        run(Recipe(ImageTables(str(path)), [Fetch()], name="x"), str(tmp_path / "none"), engine="local")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_may_be_one_json_array(tmp_path, indent, monkeypatch):
    rows = [{"url": f"http://a/{i}.jpg", "text": f"caption {i}\n]", "n": i, "in": {"a": [i]}} for i in range(3000)]
    path = tmp_path / "l.json"
    path.write_text(json.dumps([*rows, 5], indent=indent))
    (part,) = [p["images"] for p in UrlPairs(str(path)).read(str(path), 10_000)]
    assert part["text"].to_pylist() == [*(r["text"] for r in rows), None] and part["source_n"].to_pylist()[:3] == [0, 1, 2]
    assert part["drop_reason"].to_pylist()[-2:] == [None, "source:bad_row"]
    path.write_text(json.dumps(rows, indent=indent)[:-40])
    parts = UrlPairs(str(path)).read(str(path), 1000)
    with pytest.raises(PoolError, match=r"l\.json: cannot be read.*its element 2999 is no JSON"):
        list(parts)


class Hub(MemoryFileSystem):
    """What huggingface_hub's file system is for `hf://`, in memory."""

    protocol = ("hf",)
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("hf://", "memory://"))

    def unstrip_protocol(self, name):
        return "hf://" + name.lstrip("/")


def test_a_data_set_of_the_hub_is_read_by_the_parent_alone(tmp_path, monkeypatch):
    """The child, which has no token, asks for bytes."""
    monkeypatch.setitem(registry, "hf", Hub)
    (tmp_path / "in").mkdir()
    img2dataset(tmp_path / "in")
    with fsspec.open("hf://datasets/me/set/data/train.parquet", "wb") as f:
        f.write((tmp_path / "in/00000.parquet").read_bytes())
    source = ImageTables("hf://datasets/me/set")
    assert source.files() == ["hf://datasets/me/set/data/train.parquet"]
    made = run(Recipe(source, [Fetch()], name="x"), str(tmp_path / "run"), engine="local")
    assert made.problems == [] and made.dataset["samples"] == N
