"""Models that ask for more GPUs together than there are, on Ray with a GPU that is only counted."""

from dataclasses import dataclass

import pytest
from toys import ToyScore, recipe

from curate.runner.driver import Driver
from curate.runner.engine import RayEngine
from curate.store.atomic import Store
from curate.view.progress import Quiet


@dataclass
class OnCard(ToyScore):
    gpus = 1
    min: float | None = 0.0


@pytest.fixture
def engine(monkeypatch):
    import ray

    start = ray.init
    monkeypatch.setattr(ray, "init", lambda **options: start(num_gpus=1, **options))
    engine = RayEngine(workers=2)
    yield engine
    engine.shutdown()


def test_two_models_take_turns_on_one_gpu(inputs, tmp_path, engine):
    made = recipe([inputs / "b.txt"], extra=[OnCard(name="one"), OnCard(name="two")]).check()
    engine.ship_user_code([made.source, *made.steps])
    done = Driver(made, Store(str(tmp_path / "run")), engine, 250, False, Quiet(), None, deadline=60).run()
    assert done.problems == [] and {c: int(done.counters[c]["computed"]) > 0 for c in ("one", "two")} == {
        "one": True,
        "two": True,
    }
