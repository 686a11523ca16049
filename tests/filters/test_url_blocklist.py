"""Lists of domains and URLs."""

import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.url_blocklist import UrlBlocklist, entries


def test_a_domain_means_all_below_it_and_nothing_beside_it(tmp_path):
    (tmp_path / "list.txt").write_text(
        "# adult\nexample.org  # all of it\n0.0.0.0 Ads.Example.net\nhttp://fine.org/one.jpg#x\n*.wild.com\n\n"
    )
    stage = UrlBlocklist(list=str(tmp_path / "list.txt"))
    stage.load()
    said = {
        "https://example.org/a.jpg": 1,
        "http://user@WWW.Example.org:8080/a": 1,
        "http://anexample.org/": 0,
        "https://example.org.evil/": 0,
        "http://ads.example.net": 1,
        "http://example.net/": 0,
        "http://fine.org/one.jpg#x": 1,
        "http://fine.org/two.jpg": 0,
        "https://a.wild.com/x": 1,
        "no url": 0,
        None: None,
    }
    live = pa.table({"url": pa.array(said, pa.large_string())})
    assert stage.run(live)["url_blocklist"].to_pylist() == list(said.values())
    assert stage.judge(stage.run(live)).to_pylist()[:3] == ["url_blocklist", "url_blocklist", None]


@pytest.mark.parametrize("more", ["", "http://fine.org/a%20b.jpg\n"])
def test_hosts_are_compared_as_fetch_asks_for_them(tmp_path, more):
    (tmp_path / "list.txt").write_text(f"bad.example\nmünchen.example\n{more}", "utf-8")
    stage = UrlBlocklist(list=str(tmp_path / "list.txt"))
    stage.load()
    said = {
        " http://bad.example/a.jpg": 1,
        "http://ｂａｄ.example/a.jpg": 1,
        "http://bad。example/a": 1,
        "HTTPS://BAD.example.?a": 1,
        "http://xn--mnchen-3ya.example/a": 1,
        "http://MÜNCHEN.example/a": 1,
        "http://bad.example@good.example/a": 0,
        "http://good.example/bad.example": 0,
        "http://fine.org/a b.jpg": int(bool(more)),
    }
    live = pa.table({"url": pa.array(said, pa.large_string())})
    assert stage.run(live)["url_blocklist"].to_pylist() == list(said.values())


def test_a_comment_begins_at_the_line_or_after_a_blank():
    text = "#a\n http://x.org/a#b # see https://list.example/why\n0.0.0.0 evil.example #https://a/b\n||ads.com^\n"
    assert entries(text.splitlines()) == (["//x.org/a", "evil.example"], ["4: '||ads.com^'"])


def test_a_list_as_a_stranger_saved_it(tmp_path, caplog):
    text = '\ufeffbad.example\r\n"worse.example"\r\n<https://fine.org:443/%41.jpg>\r\nfine.org/b.jpg\r\n[straße.de],\r\n||ads.com^\r\n'
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "list.txt").write_bytes(text.encode(encoding))
        stage = UrlBlocklist(list=str(tmp_path / "list.txt"))
        caplog.clear()
        stage.load()
        assert "list.txt: 1 lines are neither a domain nor a URL, first line 6: '||ads.com^'" in caplog.text
        said = {
            "http://bad.example/": 1,
            "http://www.worse.example./": 1,
            "http://fine.org/A.jpg": 1,
            "https://FINE.org/b.jpg#x": 1,
            "http://fine.org/c.jpg": 0,
            "http://straße.de/": 1,
            "http://xn--strae-oqa.de/": 1,
            "http://strasse.de/": 0,
        }
        assert stage.run(pa.table({"url": list(said)}))["url_blocklist"].to_pylist() == list(said.values())
    (tmp_path / "list.txt").write_text("||ads.com^\n")
    with pytest.raises(RecipeError, match=r"list\.txt: 1 lines are neither"):
        UrlBlocklist(list=str(tmp_path / "list.txt")).load()
