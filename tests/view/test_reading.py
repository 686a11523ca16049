"""Readers see one state of a run: what changes under them is read again, and nothing of an earlier state gets into its folder."""

import json
import threading
import time

import pytest
from artefacts import holding
from toys import recipe

from curate.cli import main
from curate.errors import PoolError
from curate.removed import Removed, url_digest
from curate.runner.driver import run, write_pages
from curate.shard import export as exports
from curate.store import atomic, lease
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.upkeep.takedown import takedown
from curate.view import grid, reading, report
from curate.view.run import open_run


@pytest.fixture
def made(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "FRESH", 0.0)
    done = run(recipe([inputs / "b.txt"], fails="ok"), str(tmp_path / "run"), engine="local", part_size=200)
    return str(tmp_path / "run"), done.sql("select url from images where kept order by uid limit 1").fetchall()[0][0]


def take(folder, url):
    takedown(Store(folder), Removed(urls={url_digest(url)}), lambda: write_pages(open_run(folder)))


def once(act, calls=[]):  # noqa: B006
    """Do it the first time."""
    calls.clear()

    def first():
        if not calls:
            calls.append(1)
            act()

    return first


@pytest.mark.parametrize("command", [["report"], ["show"], ["sql", "select url from images where kept"], ["stats"]])
def test_a_takedown_while_a_reader_reads_leaves_nothing_of_it(made, monkeypatch, capsys, command):
    folder, url = made
    first = once(lambda: take(folder, url))
    real = grid.put

    def page(*args):
        first()  # the page is made, and about to be written
        return real(*args)

    for module in (grid, report):
        monkeypatch.setattr(module, "put", page)
    sql, stats = open_run(folder).__class__.sql, open_run(folder).__class__.stats
    monkeypatch.setattr(open_run(folder).__class__, "sql", lambda self, q: (sql(self, q), first())[0])
    monkeypatch.setattr(open_run(folder).__class__, "stats", lambda self: (stats(self), first())[0])
    assert main([command[0], folder, *command[1:]]) == 0
    said = capsys.readouterr().out
    assert url not in said and holding(folder, url.encode()) == [] and check(Store(folder)) == []
    if command == ["stats"]:
        kept = json.loads(Store(folder).read("recipe.json"))["rows"]["images"]["kept"]
        assert any(line.split()[:2] == ["kept", str(kept)] for line in said.splitlines())


def test_an_export_is_of_one_state(made, tmp_path, monkeypatch):
    folder, url = made
    first, real = once(lambda: take(folder, url)), exports.datacomp_subset
    monkeypatch.setattr(exports, "datacomp_subset", lambda uids: (real(uids), first())[0])
    assert main(["export", folder, "--format", "datacomp-subset", "-o", str(tmp_path / "s.npy")]) == 0
    assert open_run(folder).dataset["samples"] == exports.export(
        Store(folder), open_run(folder).dataset, "datacomp-subset", str(tmp_path / "again.npy")
    )
    assert (tmp_path / "s.npy").read_bytes() == (tmp_path / "again.npy").read_bytes()


def test_a_reader_waits_for_what_is_at_work_and_says_so_when_that_takes_long(made, monkeypatch):
    folder, _ = made
    monkeypatch.setattr(reading, "LOOK", 0.02)
    store, sums = Store(folder), Store(folder).read("SHA256SUMS")
    with lease.held(store):
        store.remove("SHA256SUMS")
        monkeypatch.setattr(reading, "WAIT", 0.1)
        with pytest.raises(PoolError, match=r"another driver holds this run .* it is at work"):
            reading.consistent([folder], lambda run: run.stats())
        monkeypatch.setattr(reading, "WAIT", 20)
        threading.Thread(target=lambda: (time.sleep(0.2), store.publish_bytes("SHA256SUMS", sums))).start()
        assert len(reading.consistent([folder], lambda run: run.stats())) > 2
    with pytest.raises(PoolError, match="changed each time"):
        reading.consistent([folder], lambda run: store.publish_bytes("SHA256SUMS", store.read("SHA256SUMS") + b"x"))


def test_what_was_left_by_a_driver_that_died_can_be_read(made):
    folder, _ = made
    store = Store(folder)
    store.remove("SHA256SUMS")
    store.commit_bytes("lease/000009.json", json.dumps({**lease._self(), "pid": 2**22 - 1, "start": "1"}).encode())
    assert len(reading.consistent([folder], lambda run: run.stats())) > 2


def test_an_error_of_the_reader_is_its_own(made):
    folder, _ = made
    calls = []

    def wrong(run):
        calls.append(run)
        raise PoolError("no such row")

    with pytest.raises(PoolError, match="no such row"):
        reading.consistent([folder], wrong)
    assert len(calls) == 1
