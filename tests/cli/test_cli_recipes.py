"""Embeddings of a run become the file that a recipe asks for."""

import numpy as np
import pytest
from pictured import pool
from tiny import tiny_clip

from curate.balance.image_based import ImageBased
from curate.cli import main
from curate.view.run import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    pool(folder)
    model = tiny_clip(folder / "tiny")
    argv = [
        "run",
        "clip_score_top30",
        "--pool",
        f"{folder}/pool.tar",
        "--model",
        model,
        "-o",
        f"{folder}/run",
        "--engine",
        "local",
    ]
    assert main(argv) == 0
    return folder


def test_embeddings_are_those_of_the_ledger(run, capsys):
    out = run / "reference.npy"
    assert main(["embeddings", f"{run}/run", "-o", str(out)]) == 0
    rows = open_run(f"{run}/run").sql("select clip_image from images where kept order by uid").fetchall()
    found = np.load(out)
    assert found.dtype == np.float16 and found.shape == (len(rows), 32)
    assert np.array_equal(found, np.array([r[0] for r in rows], np.float16))
    assert f"{len(rows)} embeddings of 32 numbers" in capsys.readouterr().err
    ImageBased(reference=str(out)).preflight({"clip_image": 32})
    assert main(["embeddings", f"{run}/run", "-o", str(out), "--where", "true", "--column", "clip_text"]) == 0
    assert len(np.load(out)) > len(rows)


@pytest.mark.parametrize(
    "words, says",
    [
        (["--column", "clip_score"], "clip_score is no column of embeddings; there are: clip_image, clip_text"),
        (["--where", "false"], "no row has clip_image"),
    ],
)
def test_what_cannot_be_written_is_said(words, says, run, capsys):
    assert main(["embeddings", f"{run}/run", "-o", f"{run}/none.npy", *words]) == 2
    assert says in capsys.readouterr().err and not list(run.glob("*none.npy*"))
