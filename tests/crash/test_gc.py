"""`curate gc` removes what nothing names, and never what something names: at random moments of runs that are killed."""

import json
import random
from pathlib import Path

import pytest
from forge import Forge, Scene, glob, wrong

from curate.errors import RecipeError
from curate.store import lease
from curate.store.atomic import Store
from curate.upkeep import gc
from curate.upkeep.check import check


def files(run: Path) -> set[str]:
    return {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and p.relative_to(run).parts[0] != "lease"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    forge = Forge()
    yield Scene(forge, tmp_path_factory.mktemp("gc"), False)
    forge.close()


def test_gc_at_random_moments_of_killed_runs_loses_nothing_and_costs_nothing(scene):
    seed = 9
    dice, work = random.Random(seed), scene.fresh()
    places = [p for p in scene.places if not p.startswith(("removed", "remove"))]
    committed: set[str] = set()
    for _ in range(12):
        scene.forge.run(work, spec=f"kill@{glob(dice.choice(places))}")
        before = files(work / "run")
        removed = set(gc.collect(Store(work / "run")))
        assert all(
            n.endswith(".tar") or n.startswith(("work/gathered/", "work/assigned/", "work/planned/")) for n in removed
        ), (seed, removed)
        assert files(work / "run") == {n for n in before - removed if not n.startswith(".private")}
        committed |= {n for n in files(work / "run") if n.startswith(("work/parts/", "work/inputs/", "ledger/", "shards/"))}
        assert committed <= files(work / "run") | {n for n in committed if n.startswith("shards/")}, seed
    assert "root" in scene.forge.run(work)
    gc.collect(Store(work / "run"))
    assert wrong(work / "run", scene.golden) == []


def test_gc_removes_garbage_and_a_second_run_after_it_has_nothing_to_do(scene):
    work = scene.fresh()
    scene.forge.run(work)
    run = work / "run"
    part = sorted((run / "work/parts").iterdir())[0]
    (part / f"{'0' * 32}.tar").write_bytes(bytes(10240))
    (run / ".private/half").write_text("half")
    (run / "shards/00009.tar").write_text("of an earlier plan")
    removed = gc.collect(Store(run))
    assert removed[f"work/parts/{part.name}/{'0' * 32}.tar"] == 10240 and "shards/00009.tar" in removed
    assert not list((run / ".private").iterdir()) and check(Store(run)) == []
    assert scene.forge.run(work)["computed"] == {}
    again = scene.forge.run(work, half=0.7)  # another bound: everything gathered is made again, nothing is computed
    assert set(again["computed"].values()) == {0}
    removed = gc.collect(Store(run))  # what was decided for the first one, and where it placed its samples
    assert {n.split("/")[1] for n in removed} >= {"decisions", "assigned"}
    decided = {made for _, made, _ in json.loads((run / "recipe.json").read_text())["decisions"]}
    assert {n.rpartition("/")[0] for n in files(run) if n.startswith("work/decisions/")} == decided
    dataset = json.loads((run / "dataset.json").read_text())
    assert {n.rpartition("/")[0] for n in files(run) if n.startswith("work/assigned/")} == {dataset["assigned"]}
    assert check(Store(run)) == []


def test_gc_beside_a_driver_is_refused(tmp_path):
    store = Store(tmp_path)
    with lease.held(store), pytest.raises(RecipeError, match="another driver holds this run"):
        gc.collect(Store(tmp_path))


def test_looking_removes_nothing(scene):
    work = scene.fresh()
    scene.forge.run(work)
    before = files(work / "run")
    assert gc.collect(Store(work / "run"), dry=True)
    assert files(work / "run") == before
