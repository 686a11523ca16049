"""A model stage is a pipeline of its own: pictures are read and decoded while the model is at work, and it hardly waits."""

import threading
import time

import numpy as np
import pytest
import stand_in
from object_server import server  # noqa: F401  a fixture

from curate.errors import CurateError
from curate.runner.driver import run
from curate.score import segment
from curate.score.model import ModelPace, ModelThread
from curate.store.atomic import Store


def test_on_the_local_engine_the_model_hardly_waits(tmp_path):
    done = run(stand_in.recipe(stand_in.pool(tmp_path / "pool")), str(tmp_path / "run"), engine="local", part_size=128)
    pace = done.recipe["counters"]["stand_in"]
    assert stand_in.busy(done) > 0.75  # 0.97 on two cores of its own
    assert pace["computed"] == 512 and pace["batch"] == 64 and pace["cores"] >= 1 and pace["busy"] >= 512 * 0.004


def test_nor_where_each_request_for_pictures_takes_a_while(tmp_path, server):  # noqa: F811
    folder = stand_in.pool(tmp_path / "pool", count=384)
    store = Store(f"s3://pictures-{np.random.default_rng().integers(1 << 40)}/pool")
    store.fs.mkdir(store.root.split("/")[0])
    store.fs.put(folder, store.root, recursive=True)
    server.delay = 0.03
    done = run(stand_in.recipe(store.url, seconds=0.01), str(tmp_path / "run"), engine="local", part_size=96)
    assert stand_in.busy(done) > 0.7 and server.requests > 4 * 4
    assert "model waited" in (tmp_path / "run/report.html").read_text()


def test_values_hang_on_no_order_and_no_number_of_parts_under_way(tmp_path):
    made = stand_in.recipe(stand_in.pool(tmp_path / "pool", count=90), seconds=0)
    first, second = (run(made, str(tmp_path / f"run{n}"), engine="local", part_size=n) for n in (90, 20))
    values = [dict(r.sql("select uid, stand_in from images").fetchall()) for r in (first, second)]
    assert len(values[0]) == 90 and values[0] == values[1]


def test_a_run_that_is_stopped_ends_with_the_chunk_that_it_is_at(tmp_path, monkeypatch):
    made, seen, real = stand_in.recipe(stand_in.pool(tmp_path / "pool", count=300), seconds=0), [], stand_in.StandIn.run

    def stopping(self, live, images):
        seen.append(len(live))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(self, live, images)

    monkeypatch.setattr(stand_in.StandIn, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(made, str(tmp_path / "run"), engine="local", part_size=150)
    assert 2 <= len(seen) <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith(("decode", "model", "part"))]
    monkeypatch.undo()
    assert run(made, str(tmp_path / "run"), engine="local", part_size=150).dataset["samples"] == 300


def test_a_model_is_called_in_one_thread_and_its_waits_are_counted():
    model, pace, seen = ModelThread(), ModelPace(), []
    model.call(lambda: seen.append(threading.get_ident()), pace)
    time.sleep(0.05)
    threads = [threading.Thread(target=model.call, args=(lambda: seen.append(threading.get_ident()), pace)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.stop()
    assert len(seen) == 5 and len(set(seen)) == 1 and threading.get_ident() not in seen
    assert 0.05 <= pace.waited < 1 and pace.busy < pace.waited


def test_an_error_of_the_model_names_part_and_stage(tmp_path, monkeypatch):
    def fails(self, live, images):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(stand_in.StandIn, "run", fails)
    with pytest.raises(CurateError, match=r"stand_in, part .*out of memory"):
        run(stand_in.recipe(stand_in.pool(tmp_path / "pool", count=9), 0), str(tmp_path / "run"), engine="local")
    assert issubclass(segment.Stopped, CurateError)
