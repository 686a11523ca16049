"""Names of folders and files mean nothing: whatever is in them, just that file is read, and no column comes of it."""

import os
import tarfile

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toys

from curate.errors import PoolError
from curate.paths import filesystem, open_file, parquet
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.source import expand
from curate.sources.url_pairs import UrlPairs
from curate.sources.webdataset import WebDataset
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.view.run import open_run

ODD = [
    "x=1",
    "id=3",
    "run[1]",
    "[!a]",
    "run*",
    "**",
    "run?",
    "a::b",
    "simplecache::x",
    "new\nline",
    "a\tb",
    "it's",
    'a"b',
    "back\\slash",
    "{0..1}",
    "sp ace",
    "ünï日",
    "%41%2F",
    "~",
    "$HOME",
    "#a",
    "]x[",
    "http:",
    ".hidden",
    "uid=1,kept=false",
]


@pytest.mark.parametrize("name", ODD)
def test_duckdb_and_fsspec_read_just_that_file(tmp_path, name):
    for there in ("run1", "runx", "a", "b", name):
        folder = tmp_path / there / "sub=7"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"who": [there]}), folder / f"{name}.parquet")
    file = str(tmp_path / name / "sub=7" / f"{name}.parquet")
    found = duckdb.sql(f"from {parquet([file, file])}")
    assert found.columns == ["who"] and found.fetchall() == [(name,)] * 2
    with open_file(file) as f:
        assert pq.ParquetFile(f).read()["who"].to_pylist() == [name]
    assert expand(file) == UrlPairs(str(tmp_path / name / "sub=7")).files() == [file]


@pytest.mark.parametrize("name", ["x=1", "run[1]", "run*", "a::b", "q?", "new\nline", "it's"])
def test_object_stores_too(name):
    fs = fsspec.filesystem("memory")
    for there in ("run1", "run2", name):
        fs.pipe_file(f"/paths/{there}/a.parquet", b"")
        with fs.open(f"/paths/{there}/a.parquet", "wb") as f:
            pq.write_table(pa.table({"who": [there]}), f)
    con = duckdb.connect()
    con.register_filesystem(fs)
    url = f"memory://paths/{name}/a.parquet"
    found = con.sql(f"from {parquet([url])}")
    assert found.columns == ["who"] and found.fetchall() == [(name,)]
    assert filesystem(url)[1] == f"/paths/{name}/a.parquet" and expand(url) == [f"memory:///paths/{name}/a.parquet"]
    store = Store(f"memory://paths/{name}")
    store.commit_bytes("x", b"1")
    assert fs.cat_file(f"/paths/{name}/x") == b"1" and store.names("") == ["a.parquet", "x"]


@pytest.mark.parametrize("name", ["toy_score=0.9", "kept=false", "run[1]", "run?", "a::b", "new\nline", "uid=1"])
def test_a_run_in_a_folder_of_any_name_is_that_run(tmp_path, monkeypatch, name):
    """Also below a temporary folder of such a name, in which selectors keep what they compute."""
    (tmp_path / "t" / name).mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t" / name))
    (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / name / f"{name}.txt").write_text("40")
    made = {}
    for folder in (tmp_path / "run1", tmp_path / name / "run"):
        paths = [tmp_path / name / f"{name}.txt"] + ([] if name in str(folder) else [tmp_path / "more.txt"])
        (tmp_path / "more.txt").write_text("20")
        run(toys.recipe(paths, fails="ok", score=None, size=10), str(folder), engine="local", part_size=15)
        opened = open_run(str(folder))
        assert check(opened.store) == []
        made[folder] = opened.sql("select count(*), count(*) filter (kept) from images").fetchall()[0]
        assert not {"kept_1", "toy_score_1"} & set(opened.sql("from images limit 0").columns)
    assert made[tmp_path / name / "run"][0] == 40 and made[tmp_path / "run1"][0] == 60


def test_what_the_user_wrote_as_a_glob_is_one_below_folders_that_mean_themselves(tmp_path):
    for folder in ("run[1]", "run1", "deep/run[1]/x=1"):
        (tmp_path / folder).mkdir(parents=True)
        for n in ("a.csv", "b.csv", "c[2].csv", "c2.csv"):
            (tmp_path / folder / n).write_text("url,text\n")
    names = lambda *given: [os.path.relpath(f, tmp_path) for f in expand([f"{tmp_path}/{g}" for g in given])]  # noqa: E731
    assert names("run[1]/*.csv") == [f"run[1]/{n}" for n in ("a.csv", "b.csv", "c2.csv", "c[2].csv")]
    assert names("run1/c[2].csv") == ["run1/c[2].csv"] and names("run1/[ab].csv") == ["run1/a.csv", "run1/b.csv"]
    assert names("run?/a.csv") == ["run1/a.csv"] and names("deep/*/x=1/b.csv") == ["deep/run[1]/x=1/b.csv"]


def test_a_tar_with_braces_in_its_name_is_no_range(tmp_path):
    for name in ("{0..1}.tar", "0.tar", "1.tar"):
        tarfile.open(tmp_path / name, "w").close()
    assert WebDataset(f"{tmp_path}/{{0..1}}.tar").files() == [f"{tmp_path}/{{0..1}}.tar"]
    (tmp_path / "{0..1}.tar").unlink()
    assert WebDataset(f"{tmp_path}/{{0..1}}.tar").files() == [f"{tmp_path}/0.tar", f"{tmp_path}/1.tar"]


def test_names_that_are_no_utf8_are_refused_in_words_and_cost_one_file(tmp_path):
    odd = os.fsdecode(os.fsencode(str(tmp_path)) + b"/r\xffn")
    with pytest.raises(PoolError, match=r"r\\xffn: the name is not UTF-8; choose another folder"):
        Store(odd)
    with pytest.raises(PoolError, match=r"the name has a backslash and one of \*\?\[; choose another folder"):
        Store(tmp_path / "a\\b[1]")
    for name in (str(tmp_path / "in"), odd):
        os.mkdir(name)
    for file in (f"{tmp_path}/in/good.csv", os.fsdecode(os.fsencode(str(tmp_path)) + b"/in/b\xe9d.csv")):
        with open(file, "w") as f:
            f.write("url,text\nhttp://a/1,x\n")
    made = run(Recipe(UrlPairs(f"{tmp_path}/in"), shards=None, name="x"), str(tmp_path / "run"), engine="local")
    assert made.sql("select count(*) from images").fetchall() == [(1,)]
    assert made.problems == [f"{tmp_path}/in/b\\xe9d.csv: the name is not UTF-8; give the file another one"]
