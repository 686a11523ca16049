"""Lists of domains and URLs."""

import pyarrow as pa
import pytest

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
    assert entries(text) == ["http://x.org/a", "evil.example"]
