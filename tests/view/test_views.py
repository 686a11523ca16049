"""The SQL of a run: the questions of a new user as they are asked first, averages of truth values, wide rows."""

import hashlib
import io

import duckdb
import pytest
from pictured import pictured
from PIL import Image
from small_run import small_run
from toys import recipe

from curate.cli import main
from curate.runner.driver import run as start
from curate.view import views
from curate.view.run import Run, open_run
from curate.view.samples import light


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("views")).store.url)


QUESTIONS = [
    "select count(*) from images",
    "select drop_reason, count(*) from images group by drop_reason order by 2 desc",
    "select * from funnel",
    "select avg(kept) from images",
    "select domain, count(*) as n, avg(kept) as share from images group by domain order by n desc",
    "select shard, count(*) from shards group by shard order by shard",
    "select * from duplicates",
    "select reason, count(*), avg(similarity) from duplicates group by reason",
    "select uid, octet_length(image(uid)) from images where kept limit 3",
    "select url, text from images where drop_reason = 'caption_words' limit 10",
    "select min(caption_words), max(caption_words), avg(caption_words) from images",
    "select quantile_cont(image_side, 0.5) from images where kept",
    "select source_language, avg(kept) from images group by 1",
    "select d.url, s.url from duplicates e join images d on d.uid = e.uid join images s on s.uid = e.survivor",
    "select i.uid from images i join shards s using (key) where i.kept and i.shard = s.shard",
    "describe images",
]


@pytest.mark.parametrize("query", QUESTIONS)
def test_the_questions_of_a_new_user_are_answered_as_they_are_asked(run, query, capsys):
    assert run.sql(query).fetchall()
    assert main(["sql", run.store.url, query]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 160


@pytest.mark.parametrize(
    ("query", "same_as"),
    [
        ("avg(kept)", "avg(kept::int)"),
        ("avg(KEPT)", "avg(kept::int)"),
        ("mean(kept)", "avg(kept::int)"),
        ("100 * avg(not kept)", "100 * avg((not kept)::int)"),
        ("avg(caption_words > 4)", "avg((caption_words > 4)::int)"),
        ("avg(kept) filter (caption_words > 2)", "avg(kept::int) filter (caption_words > 2)"),
        ("avg(kept), avg(caption_words)", "avg(kept::int), avg(caption_words)"),
        ("(select avg(kept) from images)", "(select avg(kept::int) from images)"),
        ("count(*) filter (kept), avg(i.kept)", "count(*) filter (kept), avg(i.kept::int)"),
    ],
)
def test_truth_values_average(run, query, same_as):
    assert run.sql(f"select {query} from images i").fetchall() == run.sql(f"select {same_as} from images i").fetchall()


def test_an_average_keeps_its_column_s_name_and_windows_and_order(run):
    assert run.sql("select avg(kept), avg(kept) as share, /* ü */ 1 + avg(kept) from images").columns == [
        "avg(kept)",
        "share",
        "(1 + avg(kept))",
    ]
    assert run.sql(
        "select url_site(url) d, avg(kept) from images group by d having avg(kept) > 0 order by avg(kept)"
    ).fetchall()
    assert run.sql("select avg(kept) over (partition by domain) from images").fetchall()


@pytest.mark.parametrize(
    "query", ["select avg(text) from images", "select bit_count(kept) from images", "select avg(nothing) from images"]
)
def test_another_mistake_is_still_told_as_duckdb_tells_it(run, query):
    with pytest.raises(duckdb.BinderException):
        run.sql(query)


def test_domains_and_shards_are_those_of_the_ledger(run):
    rows = run.sql("select domain, url from images").fetchall()
    assert {d for d, _ in rows} == {"host0.example", "host1.example", "host2.example"} and all(d in u for d, u in rows)
    joined = run.sql("select i.shard = s.shard, i.domain = s.domain from images i join shards s using (key)").fetchall()
    assert len(joined) == run.dataset["samples"] and set(joined) == {(True, True)}
    assert "domain" not in light(run)


def test_a_column_of_the_list_called_domain_is_no_domain_of_ours(tmp_path):
    con = duckdb.connect()
    views._view(con, "v", "(select 'http://a.example' as url, 'mine' as \"Domain\")")
    assert con.sql("select domain from v").fetchall() == [("mine",)]


def test_duplicates_say_why_and_edges_are_the_same(run):
    assert run.sql("select step, reason from duplicates").fetchall() == [("exact_dedup", "exact_dedup")]
    assert run.sql("select * exclude (reason) from duplicates").fetchall() == run.sql("from edges").fetchall()


def test_image_is_the_bytes_that_were_fetched(run):
    rows = run.sql("select image(uid), sha256, width from images where kept").fetchall()
    assert rows and all(hashlib.sha256(data).hexdigest() == sha for data, sha, _ in rows)
    assert all(Image.open(io.BytesIO(data)).width == width for data, _, width in rows)
    assert run.sql(
        "select image(i.uid) = image(images.uid) from images, images i where images.uid = i.uid and i.kept"
    ).fetchall()[0][0]
    uid = run.sql("select uid from images where kept limit 1").fetchall()[0][0]
    assert run.sql(f"select image('{uid}')").fetchall()[0][0] and run.sql("select image('none')").fetchall() == [(None,)]
    assert run.sql("select count(image(uid)) from images where payload is null").fetchall() == [(0,)]
    assert run.sql("select image(survivor) = image(uid) from duplicates").fetchall() in ([(True,)], [(None,)])


def test_views_of_runs_without_duplicates_samples_or_pictures(tmp_path):
    small = Run(small_run(tmp_path / "small"))
    assert small.sql("select * from duplicates").fetchall() == []
    assert small.sql("select shard, count(*) from shards group by 1 order by 1").fetchall() == [(0, 10), (1, 10), (2, 10)]
    (tmp_path / "a.txt").write_text("20")
    lists = recipe([tmp_path / "a.txt"], words=100)
    made = start(lists, str(tmp_path / "none"), "local")
    assert made.sql("select shard, uid from shards").fetchall() == [] and made.sql(
        "select avg(kept) from images"
    ).fetchall() == [(0.0,)]
    assert made.sql("select image(uid) from images limit 1").fetchall() == [(None,)]


def test_a_wide_row_stands_vertically(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ask = lambda query: (main(["sql", run.store.url, query]), capsys.readouterr().out)[1]  # noqa: E731
    one = ask("select * from images limit 1").splitlines()
    assert [line.split()[0] for line in one][:3] == ["uid", "source_file", "source_row"] and "──" not in "".join(one)
    two = ask("select * from images limit 2")
    assert "── row 1\n" in two and "── row 2\n" in two  # does not fit, with columns as narrow as they get
    assert "──" in ask("select uid, kept from images limit 1").splitlines()[1]  # fits
    assert "──" in ask("select uid, url, text from images limit 3").splitlines()[1]  # fits when cut
    assert " bytes>" in ask("select image(uid) from images where kept limit 1")
    assert ask("select repeat('x', 300) as a").splitlines()[1].startswith("─")  # one column is cut
