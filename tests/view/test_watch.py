"""A run is watched through its progress.json, from another thread here, from anywhere in truth."""

import io
import json
import threading
import time

import pytest
from toys import recipe

from curate.errors import CurateError, PoolError
from curate.runner.driver import run as start
from curate.score.segment import Done
from curate.store.atomic import Store
from curate.view import watch as watching
from curate.view.progress import Lines, Published, Quiet, display
from curate.view.watch import watch


def test_a_watcher_sees_the_run_to_its_end(inputs, tmp_path):
    out, store = io.StringIO(), Store(tmp_path / "run")
    store.note(
        Published.NAME,
        json.dumps(
            {"state": "running", "name": "toy", "place": "here", "seconds": 0.0, "stages": [], "reasons": {}, "bytes": 0}
        ).encode(),
    )
    words = []
    thread = threading.Thread(target=lambda: words.append(watch(store, Lines(out, every=0.0), every=0.02)))
    thread.start()
    start(recipe([inputs / "*.txt"]), str(tmp_path / "run"), engine="local", part_size=250)
    thread.join(timeout=20)
    assert words and words[0].startswith("finished after")
    assert "shards: 3/3" in out.getvalue() and "dropped so far: toy_words" in out.getvalue()


def test_a_run_that_fails_says_so_to_its_watchers(inputs, tmp_path):
    (inputs / "a.txt").write_text("x")
    (inputs / "b.txt").write_text("y")
    with pytest.raises(CurateError):
        start(recipe([inputs / "*.txt"]), str(tmp_path / "run"), engine="local")
    assert watch(Store(tmp_path / "run"), Quiet()).startswith("stopped: ")


def test_a_second_run_tells_where_its_stages_end():
    out = io.StringIO()
    lines = Lines(out)
    for _ in range(2):
        lines.begin("toy", "here")
        lines.stage("fetch", 1, 10)
        lines.step("fetch", None)
    assert out.getvalue().count("fetch: 1/1") == 2


def test_a_rule_that_waits_for_the_fetch_before_it_has_its_own_pace():
    shown = Quiet()
    shown.begin("toy", "here")
    shown.stage("rule", 2, 1000)
    shown.stages["rule"].began -= 100
    shown.step("rule", Done("p", {"rule": 500}, seconds={"rule": 0.5}))
    shown.restore(json.loads(json.dumps(shown.state())))
    assert shown.stages["rule"].pace(time.monotonic()) == 1000


def test_the_terminal_is_given_back(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(ZeroDivisionError), display() as live:
        live.begin("toy", "here")
        raise ZeroDivisionError
    assert not live.display.is_started


def test_silence_is_told_from_work(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "SILENT", 0.05)
    store = Store(tmp_path)
    store.note(
        Published.NAME,
        json.dumps(
            {"state": "running", "name": "toy", "place": "", "seconds": 9.0, "stages": [], "reasons": {}, "bytes": 0}
        ).encode(),
    )
    assert watch(store, Quiet(), every=0.01).startswith("silent: no news")


def test_a_folder_without_a_run_has_nothing_to_watch(tmp_path):
    with pytest.raises(PoolError, match=r"no progress.json here"):
        watch(Store(tmp_path), Quiet())


def test_what_is_told_can_be_shown_again():
    one, other = Quiet(), Quiet()
    one.begin("toy", "here")
    one.stage("fetch", 4, 1000)
    one.step("fetch", None)
    other.restore(json.loads(json.dumps(one.state())))
    assert other.stages["fetch"].done == 1 and other.stages["fetch"].total == 4 and other.stages["fetch"].ended is None


def test_what_selectors_dropped_is_counted_once(inputs, tmp_path):
    """Parts go on after the first selector (`duplicate_uid`), and nothing is counted twice in a run that goes on."""
    for half in (0.5, 0.6):
        shown = Quiet()
        built = recipe([inputs / "*.txt"], fails="ok", half=half)
        made = start(built, str(tmp_path / "run"), engine="local", part_size=250, progress=shown)
        told = {r["reason"]: r["rows"] for r in made.stats().to_pylist() if r["reason"] != "kept"}
        fallen = {reason: n for reason, n in shown.reasons.items() if n}
        assert {"duplicate_uid", "toy_half"} < set(fallen) and fallen == told


def test_a_long_silence_of_the_run_is_told_as_time_that_passes(tmp_path):
    """A selector that takes minutes: who watches is told that the driver is at work, until it ends."""
    out, store = io.StringIO(), Store(tmp_path)
    told = Published(Lines(out, every=0.0), store, every=0.02)
    told.begin("toy", "here")
    told.stage("near_dedup", 1, 1000)
    states = set()
    for _ in range(200):
        states.add(store.json(Published.NAME)["seconds"])
        if len(states) > 3:
            break
        time.sleep(0.02)
    assert len(states) > 3 and out.getvalue().count("near_dedup: 0/1 · nothing yet after 0 s") > 2
    told.stopped(KeyboardInterrupt())
    before = (store.json(Published.NAME), out.getvalue())
    time.sleep(0.1)
    assert (store.json(Published.NAME), out.getvalue()) == before and before[0]["state"] == "stopped: KeyboardInterrupt"
