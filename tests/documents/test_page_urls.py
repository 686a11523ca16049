"""Lists of page URLs: how they may look, and a reading that was interrupted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from page_web import serving

from curate.score.ingest import ingest
from curate.sources.page_urls import PageUrls, listed
from curate.store.atomic import Store


def test_a_list_as_text_and_as_parquet(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffhttp://a/1\n# no\nhttp://a/2\n".encode())
    assert listed(str(tmp_path / "a.txt")) == ["http://a/1", "http://a/2"]
    for values in (pa.array([b"http://a/1", None]), pa.array([7, None])):
        pq.write_table(pa.table({"url": values}), tmp_path / "a.parquet")
        assert listed(str(tmp_path / "a.parquet")) == ["http://a/1" if values.type == pa.binary() else "7", ""]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("place", ["000001/source.documents", "000001/source.images", "000002/source.texts"])
def test_a_reading_that_was_killed_goes_on_behind_its_whole_parts(tmp_path, monkeypatch, place):
    """The second time the pages have one image more, so that parts would end elsewhere."""

    def pages(images):
        return {f"/{i}.html": b"<p>page" + b"<img src=a.jpg>" * images for i in range(6)}

    files, store, commit = pages(2), Store(tmp_path / "run"), Store.commit_table
    with serving(files) as (address, hits):
        (tmp_path / "urls.txt").write_text("".join(f"{address}/{i}.html\n" for i in range(6)))
        source = PageUrls(str(tmp_path / "urls.txt"), allow_private=("127.0.0.0/8",), rate=0, robots=False)

        def dying(self, name, table):
            if place in name:
                raise Killed
            return commit(self, name, table)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Store, "commit_table", dying)
            ingest(store, source, source.paths, 4)
        files |= pages(3)
        made = ingest(store, source, source.paths, 4)
    whole = int(place[5])
    found = []
    for part in made["parts"]:
        tables = {t: store.table(f"work/parts/{part['id']}/source.{t}.parquet") for t in part["rows"]}
        assert part["rows"] == {t: len(rows) for t, rows in tables.items()}
        found += tables["documents"]["source_row"].to_pylist()
        each = 2 if made["parts"].index(part) < whole else 3
        assert len(tables["images"]) == each * len(tables["documents"])
    assert found == list(range(6))
    assert [hits[f"/{i}.html"] for i in range(2 * whole)] == [1] * 2 * whole  # these are not asked again


def test_the_ledger_says_what_came_of_asking_for_a_page(tmp_path):
    with serving({"/a.html": b"<p>page"}) as (address, _):
        (tmp_path / "urls.txt").write_text(f"{address}/a.html\n{address}/gone.html\n")
        source = PageUrls(str(tmp_path / "urls.txt"), allow_private=("127.0.0.0/8",), rate=0, robots=False)
        (part,) = source.read(source.paths, 100)
    documents = part["documents"]
    assert {f.name: f.type for f in documents.schema} == {**source.adds("documents"), "drop_reason": pa.large_string()}
    assert documents["drop_reason"].to_pylist() == [None, "page:http_404"]
    assert documents["http_status"].to_pylist() == [200, 404] and documents["fetched_at"].null_count == 0
