"""CLIP embeddings and their cosine, with a model of random weights."""

import numpy as np
import pyarrow as pa
import pytest
from laws import pixels
from tiny import tiny_clip

from curate.errors import RecipeError
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore


@pytest.fixture(scope="module")
def embed(tmp_path_factory):
    stage = ClipEmbed(model=tiny_clip(tmp_path_factory.mktemp("tiny")))
    stage.load()
    return stage


@pytest.fixture(scope="module")
def embedded(embed):
    return embed.run(pa.table({"text": pa.array(["a dog", None, "two cats"], pa.large_string())}), pixels(3, seed=0))


def test_embeddings_have_length_one_and_a_missing_caption_none(embedded):
    lengths = [
        [None if v is None else np.linalg.norm(np.asarray(v, float)) for v in column.to_pylist()] for column in embedded.columns
    ]
    assert embedded.column_names == ["clip_image", "clip_text"] and embedded.schema.types == [pa.list_(pa.float16())] * 2
    np.testing.assert_allclose([*lengths[0], lengths[1][0], lengths[1][2]], 1, atol=2e-3)
    assert lengths[1][1] is None


def test_an_alias_names_the_columns(embed):
    assert list(ClipEmbed(model=embed.model, name="clip_l14").adds()) == ["clip_l14_image", "clip_l14_text"]


def test_the_weights_are_part_of_the_identity(embed, tmp_path):
    other = ClipEmbed(model=tiny_clip(tmp_path, seed=1))
    assert embed.identity()["weights"].startswith("sha256:") and embed.identity()["weights"] != other.identity()["weights"]


def test_score_is_the_cosine_to_float16(embedded):
    scores = ClipScore().run(embedded)["clip_score"].to_pylist()
    a, b = (np.asarray(embedded[c][0].as_py(), np.float32) for c in embedded.column_names)
    assert scores[1] is None and scores[0] == float(np.float16(a @ b)) and -1 <= scores[2] <= 1
    assert ClipScore(min=-1).judge(pa.table({"clip_score": scores})).to_pylist() == [None, "clip_score", None]


def test_score_of_planted_vectors():
    def unit(*v):
        return np.asarray(v, np.float16)

    live = pa.table(
        {
            "clip_image": pa.array([unit(1, 0), unit(0, 1), None], pa.list_(pa.float16())),
            "clip_text": pa.array([unit(1, 0), unit(1, 0), unit(1, 0)], pa.list_(pa.float16())),
        }
    )
    assert ClipScore().score(live).to_pylist() == [1.0, 0.0, None]


def test_a_model_that_does_not_exist_is_refused_before_any_work():
    with pytest.raises(RecipeError, match="did you mean ViT-B-32"):
        ClipEmbed(model="ViT-B-33:laion2b_s34b_b79k").weights()
