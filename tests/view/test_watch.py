"""A run is watched through its progress.json, from another thread here, from anywhere in truth."""

import io
import json
import threading
import time
from dataclasses import dataclass

import pytest
from toys import ToyWords, recipe

from curate.errors import CurateError, PoolError
from curate.runner.driver import run as start
from curate.score.result import TaskResult
from curate.store.atomic import Store
from curate.view import watch as watching
from curate.view.display import Lines, display
from curate.view.progress import Published, Quiet
from curate.view.watch import watch


@dataclass
class Slow(ToyWords):
    """Words, some rows at a time as models have them."""

    def load(self) -> None:
        """Nothing is loaded."""

    def score(self, live):
        time.sleep(0.1)
        return super().score(live)


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
    assert "shards: 3/3" in out.getvalue() and "dropped: toy_words" in out.getvalue()


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
    assert out.getvalue().count("fetch: 10 of 10 rows") == 2


def test_a_rule_that_waits_for_the_fetch_before_it_has_its_own_pace():
    shown = Quiet()
    shown.begin("toy", "here")
    shown.stage("rule", 2, 1000)
    shown.stages["rule"].began -= 100
    shown.step("rule", TaskResult("p", {"rule": 500}, seconds={"rule": 0.5}))
    shown.restore(json.loads(json.dumps(shown.state())))
    assert shown.stages["rule"].pace(time.monotonic()) == 1000


def note(part: str, rows: int, of: int, seconds: float = 2.0) -> dict:
    return {"lane": "clip", "part": part, "stage": "clip", "rows": rows, "of": of, "seconds": seconds}


def test_rows_inside_a_part_are_seen_before_it_ends():
    """A model that is loaded, the rows that visits are through with, and nothing that comes too late."""
    out = io.StringIO()
    shown = Lines(out, every=0.0)
    shown.begin("toy", "here")
    shown.stage("clip", 4, 4000)
    shown.stages["clip"].began -= 10
    shown.within([{"lane": "clip", "loading": "ViT-L-14:openai (890 MB)"}])
    assert "loading model ViT-L-14:openai (890 MB), 10 s" in shown.stages["clip"].left(time.monotonic())
    shown.within([note("a", 250, 500), note("b", 100, 400), {"lane": "gone", "loading": "x"}])
    stage = shown.stages["clip"]
    assert stage.counted == "750 of 4,000 rows" and round(stage.pace(time.monotonic())) == round(350 / 4)
    assert stage.left(time.monotonic()).endswith(" s left")
    shown.step("clip", TaskResult("a", {"clip": 500}, seconds={"clip": 4.0}))
    shown.within([note("a", 400, 500)])  # sent before it ended
    assert stage.counted == "1,250 of 4,000 rows" and set(stage.inside) == {"b"}
    again = Quiet()
    again.restore(json.loads(json.dumps(shown.state())))
    assert again.stages["clip"].counted == "1,250 of 4,000 rows"
    shown.show()
    assert "clip: 1,250 of 4,000 rows · 100 rows/s · " in out.getvalue()


def test_a_reason_is_said_once():
    out = io.StringIO()
    shown = Lines(out)
    shown.begin("toy", "here")
    for name, dropped in (("words", {"words": 3}), ("clip", {"words": 3, "clip": 2}), ("last", {"words": 3, "clip": 2})):
        shown.stage(name, 1, 10)
        shown.step(name, TaskResult("p", {name: 10}, dropped=dropped))
    drops = [line.partition("dropped: ")[2] for line in out.getvalue().splitlines()[1:]]
    assert drops == ["words 3", "clip 2", ""]


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_visit_tells_how_far_it_is(engine, inputs, tmp_path, monkeypatch):
    """From the worker to the display, by either engine."""

    class Heard(Quiet):
        def within(self, notes):
            super().within(notes)
            heard.extend(notes)

    heard: list[dict] = []
    built = recipe([inputs / "*.txt"])
    built.score.insert(0, Slow())
    monkeypatch.setattr(Published.__init__, "__defaults__", (0.05, lambda: []))
    start(built, str(tmp_path / "run"), engine=engine, progress=Heard(), workers=1)
    mine = [n for n in heard if "slow" in n["lane"] and n.get("of")]
    assert mine and all(0 < n["rows"] <= n["of"] and n["stage"] for n in mine)


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
    assert len(states) > 3 and out.getvalue().count("near_dedup: 0/1 · running for 0 s, 0 of 1 part done") > 2
    told.stopped(KeyboardInterrupt())
    before = (store.json(Published.NAME), out.getvalue())
    time.sleep(0.1)
    assert (store.json(Published.NAME), out.getvalue()) == before and before[0]["state"] == "stopped: KeyboardInterrupt"
