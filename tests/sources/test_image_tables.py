"""Tables with pictures in them: as datasets, img2dataset and LAION write them, whole and damaged."""

import hashlib
import json
import shutil

import fsspec.config
import hub_server
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfFileSystem
from object_server import server  # noqa: F401  a fixture
from small_run import photo

from curate.errors import PoolError, RecipeError
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.image_tables import ImageTables
from curate.sources.url_pairs import UrlPairs
from curate.store.atomic import Store
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


def test_a_lance_table_of_an_object_store_is_read_by_columns_and_ranges(tmp_path, monkeypatch, server):  # noqa: F811
    """The child that reads it has no credentials; the run's files have none either."""
    found, key = pytest.importorskip("lance"), "a-secret-of-the-store"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key)
    store = Store("s3://tables")
    store.fs.mkdir("tables")
    noise = np.random.default_rng(0)
    rows = {"image": [photo(i) for i in range(N)], "text": [f"caption {i}" for i in range(N)], "n": list(range(N))}
    wide = pa.table({**rows, "noise": [noise.bytes(1 << 17) for _ in range(N)]})
    made = found.write_dataset(wide, str(tmp_path / "x.lance"), max_rows_per_file=13)
    made.delete("n = 7")
    store.fs.put(str(tmp_path / "x.lance"), "tables/in/x.lance", recursive=True)
    server.clear()
    source = ImageTables("s3://tables/in", without=("noise",))
    assert source.files() == ["s3://tables/in/x.lance"]
    made = run(
        Recipe(source, [Fetch()], shards=Shards(size=100), name="x"), str(tmp_path / "run"), engine="local", part_size=15
    )
    kept = made.sql("select text, sha256 from images where kept order by source_n").fetchall()
    assert kept == [(f"caption {i}", hashlib.sha256(photo(i)).hexdigest()) for i in range(N) if i != 7]
    assert server.bytes < wide.nbytes / 2
    assert not [p for p in (tmp_path / "run").rglob("*") if p.is_file() and key.encode() in p.read_bytes()]


def test_a_folder_of_lance_tables_and_a_list_of_urls_in_one(tmp_path):
    found = pytest.importorskip("lance")
    lance(tmp_path)
    found.write_dataset(pa.table({"url": ["http://a/1"], "text": ["a"]}), str(tmp_path / "lists/y.lance"))
    assert ImageTables(str(tmp_path)).files() == [str(tmp_path / "lists/y.lance"), str(tmp_path / "x.lance")]
    for paths in (f"{tmp_path}/lists", f"{tmp_path}/lists/*.lance", f"{tmp_path}/lists/y.lance/"):
        [file] = UrlPairs(paths).files()
        (part,) = UrlPairs(paths).read(file, 10)
        assert part["images"]["url"].to_pylist() == ["http://a/1"]


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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with a data set of tables and one of other files, which it has converted to Parquet."""
    (tmp_path / "in").mkdir()
    img2dataset(tmp_path / "in")
    table = (tmp_path / "in/00000.parquet").read_bytes()
    files = {
        ("me/set", "main", "README.md"): b"a card",
        ("me/set", "main", "data/train.parquet"): table,
        ("me/files", "main", "1.jpg"): photo(1),
        ("me/files", "refs/convert/parquet", "default/train/0000.parquet"): table,
    }
    with hub_server.hub(files) as address:
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": address})
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        HfFileSystem.clear_instance_cache()
        yield address
    HfFileSystem.clear_instance_cache()


def test_a_data_set_of_the_hub_is_read_by_its_name(hub, tmp_path):
    """By its own client; the child that reads the table, which has no token, asks for bytes."""
    source = ImageTables("me/set")
    assert source.files() == ["hf://datasets/me/set/data/train.parquet"]
    assert ImageTables("me/set@main/data").files() == ["hf://datasets/me/set@main/data/train.parquet"]
    made = run(Recipe(source, [Fetch()], name="x"), str(tmp_path / "run"), engine="local")
    assert made.problems == [] and made.dataset["samples"] == N
    [known] = made.recipe["inputs"]
    assert known["hash"].startswith("blob_id:")
    assert run(Recipe(source, [Fetch()], name="x"), str(tmp_path / "run"), engine="local").counters == {}


def test_a_data_set_without_tables_is_read_as_the_hub_converted_it(hub):
    [file] = ImageTables("me/files").files()
    assert file == "hf://datasets/me/files@refs/convert/parquet/default/train/0000.parquet"
    (part,) = [p["images"] for p in ImageTables("me/files").read(file, 100)]
    assert part["text"].to_pylist() == [f"caption {i}" for i in range(N)]


def test_a_name_that_neither_the_disk_nor_the_hub_has(hub, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"me/none: is neither here nor a data set of http://127"):
        ImageTables("me/none").files()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    HfFileSystem.clear_instance_cache()
    with pytest.raises(RecipeError, match=r"me/set: is not here, and http://127.* cannot be asked"):
        ImageTables("me/set").files()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me").mkdir()
    shutil.copytree("in", "me/set")
    assert ImageTables("me/set").files() == [str(tmp_path / "me/set/00000.parquet")]
