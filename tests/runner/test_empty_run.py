"""A run that keeps nothing is whole: `check` says so, and whatever looks at runs looks at it."""

import os
import subprocess
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from toys import recipe

from curate.balance.clusters import ClusterBalance
from curate.balance.image_based import ImageBased, NormSim
from curate.balance.prototypes import Prototypes
from curate.cli import main
from curate.fetch.stage import Fetch
from curate.filters.document_words import DocumentWords
from curate.recipe import Recipe, Shards
from curate.runner.driver import run as start
from curate.sources.web_pages import WebPages
from curate.stage import Stage
from curate.upkeep.check import check
from curate.view.run import open_run


@pytest.fixture(scope="module", params=["pairs", "pages", "ledger only", "one of two inputs is empty"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    (folder / "a.txt").write_text("110")
    (folder / "b.txt").write_text("0")
    (folder / "a.html").write_text("<html><body><article><p>Few words only here.</p></article></body></html>")
    built = recipe([folder / "a.txt"], score=2.0)
    if request.param == "pages":
        built = Recipe(WebPages([str(folder / "a.html")]), [DocumentWords(min=1000), Fetch()], [], shards=Shards())
    elif request.param == "ledger only":
        built.shards = None
    elif request.param != "pairs":
        built = recipe([folder / "*.txt"], words=100)
    start(built, str(folder / "run"), engine="local", part_size=50)
    return built, str(folder / "run")


def test_it_is_whole_also_after_a_repair(made):
    built, folder = made
    assert open_run(folder).dataset["samples"] == 0 and check(open_run(folder).store) == []
    assert start(built, folder, engine="local", part_size=50).counters == {}  # nothing to do
    again = start(built, folder, engine="local", part_size=50, repair=True)
    assert again.repaired == [] and check(again.store) == []
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["stats"],
        ["report"],
        ["show"],
        ["show", "--reason", "toy_words"],
        ["sql", "select * from shards"],
        ["sql", "select count(*) from images where kept"],
        ["gc"],
        ["annotate"],
        ["export", "--format", "datacomp-subset"],
    ],
    ids=" ".join,
)
def test_whatever_looks_at_runs_looks_at_it(made, command, tmp_path):
    built, folder = made
    if (built.samples == "documents" and command[0] == "annotate") or (command[-1] == "toy_words" and built.name != "toy"):
        pytest.skip("of pictures")
    out = ["-o", str(tmp_path / "out")] if command[0] in ("export", "annotate") else []
    assert main([command[0], folder, *command[1:], *out]) == 0
    assert {"README.md", "report.html"} <= set(os.listdir(folder)) and main(["check", folder]) == 0


def test_documents_are_exported_as_none(tmp_path):
    (tmp_path / "a.html").write_text("<html><body><p>x</p></body></html>")
    start(
        Recipe(WebPages([str(tmp_path / "a.html")]), [DocumentWords(min=1000), Fetch()], [], shards=Shards()),
        str(tmp_path / "run"),
        "local",
    )
    for form in ("obelics", "mint", "mmc4", "markdown", "openflamingo"):
        assert main(["export", str(tmp_path / "run"), "--format", form, "-o", str(tmp_path / form)]) == 0


@dataclass
class Vector(Stage):
    """An embedding."""

    reads = ("url",)

    def adds(self):
        return {"vector": pa.list_(pa.float16())}

    def run(self, live):
        return pa.table({"vector": pa.array([[1.0, 0.0]] * len(live), pa.list_(pa.float16()))})


def test_selectors_that_add_columns_do_so_to_no_rows(tmp_path):
    """As where a network is down, and every row falls before it has an embedding."""
    (tmp_path / "a.txt").write_text("110")
    np.save(file := str(tmp_path / "v.npy"), np.ones((2, 2), np.float32))
    built = recipe([tmp_path / "a.txt"], words=100)
    built.score.append(Vector())
    built.select = [
        ClusterBalance(total=3, column="vector", clusters=(2,)),
        Prototypes(column="vector", clusters=2),
        ImageBased(reference=file, column="vector", clusters=2),
        NormSim(target=file, column="vector", fraction=0.5),
    ]
    made = start(built, str(tmp_path / "run"), engine="local", part_size=50)
    assert made.dataset["samples"] == 0 and check(made.store) == []
    assert "cluster_balance_cluster" in made.sql("select * from images").columns
