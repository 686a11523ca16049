"""The report: numbers that are those of the ledger, nothing that loads, nothing that escapes, and a browser that shows it."""

import html
import json
import re
from html.parser import HTMLParser

import duckdb
import pytest
from chromium import chromium, dom, needs_chromium
from markupsafe import escape
from pictured import EVIL, pictured
from PIL import Image

from curate.filters.document_words import DocumentWords
from curate.recipe import Recipe
from curate.runner.driver import run as start
from curate.sources.web_pages import WebPages
from curate.view import report
from curate.view.bounds import Bound
from curate.view.charts import HIGH, stacked
from curate.view.facts import Facts, bins
from curate.view.run import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pictured(tmp_path_factory.mktemp("report"))
    return open_run(str(tmp_path_factory.getbasetemp() / "report0" / "run"))


@pytest.fixture(scope="module")
def text(run):
    return run.store.read("report.html").decode()


class Reader(HTMLParser):
    """The elements of a page, and what it would load."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads, self.handlers, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [k for k, _ in attrs if k.startswith("on")]
        if tag == "a" and dict(attrs)["href"].startswith("http"):
            self.links.append(dict(attrs))
            return
        self.loads += [
            v for k, v in attrs if k in ("src", "href", "action", "srcset") and not (v or "").startswith(("data:", "#"))
        ]


def test_a_run_ends_with_its_report_and_its_card(run):
    assert {"report.html", "README.md", "croissant.json"} <= set(run.store.names(""))


def test_nothing_loads_and_no_text_becomes_markup(text):
    """The caption that would like to be markup is in the one pair of duplicates, so it is shown."""
    read = Reader()
    read.feed(text)
    assert read.loads == [] and read.handlers == [] and read.tags.count("script") == 1 and read.tags.count("img") > 20
    assert read.links and all(link["rel"] == "noopener noreferrer" for link in read.links)
    assert "default-src 'none'" in html.unescape(text) and escape(EVIL) in text


def test_what_is_shown_does_not_depend_on_the_order_in_which_rows_are_read(run):
    """Rows as near to a bound as each other, and equal in all but their uid, are drawn by a coin."""
    facts = Facts(run, 10**6)
    with facts.child:
        first = [[c.row["uid"] for c in side] for side in facts.near(Bound("caption_words", "caption_words", "min", 3.0), 4)]
        facts.con.execute(
            "create table mine as select * from images order by uid desc; drop view images; alter table mine rename to images"
        )
        assert [
            [c.row["uid"] for c in side] for side in facts.near(Bound("caption_words", "caption_words", "min", 3.0), 4)
        ] == first


def test_the_funnel_is_that_of_the_ledger(run, text):
    for reason, n in run.recipe["rows"]["images"].items():
        label = "kept" if reason == "kept" else f"−{n:,}"
        assert label in text
    assert "60" in text and all(
        heading in text
        for heading in ("Funnel", "Scores and thresholds", "At the thresholds", "Duplicates", "Make-up", "Recipe")
    )


def test_a_histogram_counts_every_row_once_on_the_right_side_of_its_bound(run):
    facts = Facts(run, 10**6)
    for column, rule, inside in (
        ("caption_words", "caption_words", "caption_words >= 3"),
        ("image_side", "image_side", "image_side >= 32"),
    ):
        h = facts.histogram("images", column)
        at = h.edges.index(next(b.value for b in h.bounds if b.rule == rule))
        total, passing = run.sql(f"select count({column}), count(*) filter ({inside}) from images").fetchall()[0]
        binned = [sum(bins_of) for bins_of in zip(h.kept, h.mine, h.other)]
        assert sum(binned) == total and sum(binned[at:]) == passing
        assert sum(h.kept) == run.sql("select count(*) from images where kept").fetchall()[0][0]


def test_an_upper_bound_keeps_the_value_it_names(run):
    edges = bins(0.0, 10.0, [Bound("x", "x", "max", 3.0)], whole=False)
    assert any(abs(e - 3.0) < 1e-9 for e in edges)
    assert bins(0, 10, [Bound("x", "x", "max", 3)], whole=True)[:5] == [0, 1, 2, 3, 4]


def test_the_axis_of_whole_numbers_begins_at_one():
    facts = object.__new__(Facts)
    facts.con, facts.steps = duckdb.connect(), []
    facts.con.execute("create table images as select unnest([0, 63]) as n, true as kept, null as drop_reason")
    facts.__dict__ |= {"bounds": [], "columns": {"images": {"n": "INTEGER"}}}
    assert facts.histogram("images", "n").low == 0


def test_pages_without_images(tmp_path):
    (tmp_path / "a.html").write_text("<html><body><p>Some words about nothing in particular.</p></body></html>")
    made = start(
        Recipe(WebPages(str(tmp_path / "a.html")), [DocumentWords(min=1)], shards=None), str(tmp_path / "run"), engine="local"
    )
    assert "report.html" in made.store.names("") and "Documents" in report.html_of(made)


def test_the_words_under_a_slider_come_from_numbers_only(text):
    data = [json.loads(html.unescape(m)) for m in re.findall(r'data-bins="([^"]*)"', text)]
    assert {d["setting"] for d in data} >= {"caption_words.min", "image_side.min"}
    assert len(data) >= 2 and all(len(d["edges"]) == len(d["kept"]) + 1 for d in data)


def test_a_large_run_is_sampled_and_says_so(run):
    assert "one part in 2" in report.html_of(run, rows=30) and "one part in" not in report.html_of(run)
    assert Facts(run, 30).sql("select count(*) from images").fetchall()[0][0] < 60 == Facts(run, 30).total["images"]


def test_one_spike_does_not_flatten_the_other_bins():
    chart = stacked([0, 1, 2, 3], [("k", [1000, 10, 5])])
    tall = [float(h) for h in re.findall(r'<rect[^>]*height="([0-9.]+)"', chart)]
    assert tall[0] == HIGH and tall[1] == pytest.approx(HIGH / 3, abs=0.1) and chart.count('class="cut"') == 1
    assert 'class="cut"' not in stacked([0, 1, 2], [("k", [2, 1])])


def test_a_reason_that_two_steps_gave_is_that_of_the_one_with_more_rows():
    facts = object.__new__(Facts)
    facts.con, facts.steps, facts.counts = duckdb.connect(), [{"step": "fetch"}], {"images": {"fetch:bad_url": 5, "kept": 1}}
    facts.con.execute("""create table images as select 'fetch:bad_url' as drop_reason,
        case when i < 2 then 'source' else 'fetch' end as drop_stage, false as kept from range(5) t(i)""")
    assert list(facts.rules("images")) == [("fetch", [("fetch:bad_url", 5)])]


@needs_chromium
@pytest.mark.parametrize(("name", "size"), [("wide", "1240,1600"), ("phone", "500,1600")])
def test_a_browser_shows_it(run, tmp_path, name, size):
    shot = tmp_path / f"{name}.png"
    chromium(f"--window-size={size}", f"--screenshot={shot}", url=f"file://{run.store.path('report.html')}", folder=tmp_path)
    image = Image.open(shot).convert("RGB")
    assert image.size == tuple(map(int, size.split(","))) and len(image.getcolors(1 << 24)) > 50


@needs_chromium
def test_its_script_runs_and_that_of_a_caption_does_not(run, tmp_path):
    shown = dom(run.store.path("report.html"), tmp_path)
    assert "<title>pictured: report</title>" in shown
    words = re.findall(r"<output>([^<]*)</output>", shown)
    assert len(words) >= 2 and all("rows pass" in w for w in words) and any("This is the threshold." in w for w in words)


def test_of_a_list_of_hundreds_of_columns_the_first_are_shown_and_those_that_steps_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.recipe import Recipe
    from curate.runner.driver import run as begin
    from curate.select.where import Where
    from curate.sources.url_pairs import UrlPairs

    base = {"url": [f"http://a/{i}" for i in range(4)], "text": ["x"] * 4}
    pq.write_table(pa.table({**base, **{f"c{i}": [1, 2, 3, 4] for i in range(80)}}), tmp_path / "l.parquet")
    recipe = Recipe(UrlPairs(str(tmp_path / "l.parquet")), [], [Where("source_c79", min=2)], shards=None, name="x")
    report = begin(recipe, str(tmp_path / "run"), engine="local").store.read("report.html").decode()
    assert "source_c49" in report and "source_c50" not in report and "source_c79" in report
