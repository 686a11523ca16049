"""In which precision models work: settled when a run begins, part of the fingerprint, and kept where the run goes on elsewhere."""

from dataclasses import dataclass

import pytest
from stand_in import StandIn, pool, recipe

from curate.fetch.stage import Fetch
from curate.preprocess import PREPARED
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.runner.engine import LocalEngine
from curate.runner.planning import describe
from curate.runner.preflight import settle
from curate.sources.webdataset import WebDataset


@dataclass
class Casts(StandIn):
    """Its model could work in bfloat16."""

    casts = True


def made(folder) -> Recipe:
    return Recipe(WebDataset([str(folder)]), [Fetch(), Casts(seconds=0, name="casts")], shards=None, name="casts")


def recorded(done) -> dict:
    return next(s for s in done.recipe["steps"] if s["step"] == "casts")


@pytest.mark.parametrize("first, then", [(1, 0), (0, 1)])
def test_a_run_goes_on_in_the_precision_in_which_it_was_begun(tmp_path, monkeypatch, caplog, first, then):
    folder = tmp_path / "pool"
    pool(folder, count=12)
    monkeypatch.setattr(LocalEngine, "gpus", first)
    before = run(made(folder), str(tmp_path / "run"), engine="local")
    pool(tmp_path / "more", count=6, tars=1)
    (tmp_path / "more/00000.tar").rename(folder / "00009.tar")
    monkeypatch.setattr(LocalEngine, "gpus", then)
    after = run(made(folder), str(tmp_path / "run"), engine="local")
    kind = "bfloat16" if first else "float32"
    assert recorded(before)["precision"] == recorded(after)["precision"] == kind
    assert after.counters["casts"]["reused"] == 12 and after.counters["casts"]["computed"] == 6
    assert f"casts goes on in {kind}, in which this run was begun" in caplog.text


def test_precision_and_what_a_model_sees_are_in_the_fingerprint(tmp_path):
    plain, card, cores = recipe(str(tmp_path)), made(tmp_path), made(tmp_path)
    settle(card, None, lambda: 1)
    settle(cores, None, lambda: 0)
    assert card.fingerprints["casts"] != cores.fingerprints["casts"] and card.fingerprint != cores.fingerprint
    assert card.steps[-1].identity()["pixels"] == PREPARED and "precision" not in plain.steps[-1].identity()
    settle(cores, {"steps": [{"step": "casts", "precision": "bfloat16"}]})
    assert cores.fingerprints == card.fingerprints


def test_a_plan_counts_what_a_run_on_a_card_has_done_and_says_who_works_where(tmp_path, monkeypatch):
    folder = tmp_path / "pool"
    pool(folder, count=4)
    monkeypatch.setattr(LocalEngine, "gpus", 1)
    run(made(folder), str(tmp_path / "run"), engine="local")
    said = describe(made(folder), str(tmp_path / "run"), 10_000)
    assert "2 of 2 parts" in next(line for line in said.splitlines() if line.startswith("casts"))
    assert "of decode + casts, decoding on " in said
