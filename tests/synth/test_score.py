"""Sentence scores and the best of several, with a CLIP whose cosines are written down."""

import types

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.synth.score import BestOf, CaptionScore, origin

#: The first coordinate is the cosine with the picture (1, 0).
COSINES = {"A dog.": 0.5, "It is red.": 0.25, "raw": 0.125, "one": 0.375, "two": 0.75, "three": 0.375}


def loaded(stage):
    stage._clip = types.SimpleNamespace(
        encode_texts=lambda texts: np.array([[COSINES[t], np.sqrt(1 - COSINES[t] ** 2)] for t in texts], np.float32)
    )
    return stage


def live(**columns):
    n = len(next(iter(columns.values())))
    return pa.table({**columns, "clip_image": pa.array([[1.0, 0.0]] * n, pa.list_(pa.float16()))})


def test_mean_and_minimum_over_the_sentences():
    found = loaded(CaptionScore(of="caption_a")).run(live(caption_a=["A dog. It is red.", "one", None, ""]))
    assert found["caption_a_score"].to_pylist() == [0.375, 0.375, None, None]
    assert found["caption_a_score_min"].to_pylist() == [0.25, 0.375, None, None]


def test_the_best_of_all_with_where_they_are_from():
    stage = loaded(BestOf(of=("text", "caption_a_candidates"), keep=2))
    rows = live(text=["raw", "two", None], caption_a_candidates=[["one", "two", "three"], ["two", None], []])
    found = stage.run(rows).to_pylist()
    assert found[0] == {
        "caption_best": "two", "caption_best_score": 0.75, "caption_best_origin": "a",
        "caption_best_2": "one", "caption_best_2_score": 0.375, "caption_best_2_origin": "a",
    }  # fmt: skip
    assert (found[1]["caption_best_origin"], found[1]["caption_best_2"]) == ("raw", None)
    assert set(found[2].values()) == {None}
    assert stage.run(rows.slice(0, 1)).to_pylist() == found[:1]


def test_without_a_picture_there_is_no_score():
    rows = pa.table({"text": ["one", "two"], "clip_image": pa.array([[1.0, 0.0], None], pa.list_(pa.float16()))})
    assert loaded(CaptionScore(of="text")).run(rows)["text_score"].to_pylist() == [0.375, None]
    best = loaded(BestOf(of=("text",)))
    assert best.run(rows)["caption_best"].to_pylist() == ["one", None]
    assert best.run(rows.slice(1))["caption_best"].to_pylist() == [None]
    assert best.run(rows.slice(2)).num_rows == 0


def test_embeddings_of_another_model_are_an_error():
    rows = pa.table({"caption_a": ["one"], "clip_image": pa.array([[1.0, 0.0, 0.0]], pa.list_(pa.float16()))})
    with pytest.raises(RecipeError, match="same model"):
        loaded(CaptionScore(of="caption_a")).run(rows)
    with pytest.raises(RecipeError):
        BestOf(keep=0, of=("text",))


def test_origins():
    assert [origin(c) for c in ("text", "caption_coca", "caption_coca_candidates")] == ["raw", "coca", "coca"]
