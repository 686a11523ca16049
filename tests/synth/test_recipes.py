"""The recipes for captions pass their own check; the small one runs from end to end."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.runner.recipes import load
from curate.sources.url_pairs import UrlPairs
from curate.synth.captioners import named

CAPTIONS = [
    *("blip2_captions", "capfilt", "capsfusion", "hard_negatives", "laclip", "laion_coco", "llava_instruct", "nguyen_mix"),
    *("preference", "recap", "text_rich", "translate", "veclip"),
]


@pytest.mark.parametrize("name", CAPTIONS)
def test_recipes_are_sound(name, tmp_path, monkeypatch):
    monkeypatch.setattr("curate.synth.score.Scored.weights", lambda self: {"weights": self.model})
    monkeypatch.setattr("curate.filters.clip_embed.ClipEmbed.weights", lambda self: {"weights": self.model})
    monkeypatch.setattr("curate.synth.captioners.local.Coca.weights", lambda self: self.model)
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"url": ["http://a/b.jpg"], "text": ["a dog"]}), file)
    recipe = load(name).build(UrlPairs(str(file))).check()
    assert recipe.fingerprint and recipe.record()["steps"]
    moved = load(name).build(UrlPairs(str(file)), seed=1)
    assert moved.fingerprint != recipe.fingerprint


@pytest.mark.parametrize(
    "name, kind, model",
    [
        ("small", "Small", "small"),
        ("coca:coca_ViT-B-32:x.pt", "Coca", "coca_ViT-B-32:x.pt"),
        ("caption:a/b", "ImageToText", "a/b"),
        ("chat:a/b", "ChatVlm", "a/b"),
        ("text:a/b", "ChatText", "a/b"),
        ("vllm:a/b", "Vllm", "a/b"),
        ("http://127.0.0.1:1/v1#a/b", "Endpoint", "a/b"),
    ],
)
def test_captioners_by_name(name, kind, model):
    assert (type(named(name)).__name__, named(name).model) == (kind, model)


@pytest.mark.parametrize("name", ["smal", "chat", "http://127.0.0.1/v1"])
def test_names_that_are_none(name):
    with pytest.raises(RecipeError, match="captioner"):
        named(name)
