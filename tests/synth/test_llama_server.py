"""Rewriting, fusion, JSON, preference and several pictures through llama.cpp's server with a small language model: its words mean
little, its protocol, its token counts and its grammars are real."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synth import llama_server

import curate
from curate.recipe import Recipe
from curate.sources.url_pairs import UrlPairs
from curate.synth.caption import Rewrite
from curate.synth.captioners import Decoding, PendingRequest, RequestLoop, named
from curate.synth.preference import Prefer, Preference

pytestmark = pytest.mark.skipif(bool(llama_server.lacking()), reason=llama_server.lacking())

TEXTS = ["a red car in the snow", "two dogs on green grass"]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with llama_server.running(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def by(url, tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "kept"))
    return named(f"{url}#smollm2?price_in=1&price_out=2")


def test_texts_are_rewritten_fused_and_made_into_data_in_one_run(by, tmp_path):
    file, short = tmp_path / "pairs.parquet", Decoding(max_tokens=8)
    pq.write_table(pa.table({"url": [f"http://a.example/{i}" for i in range(len(TEXTS))], "text": TEXTS}), file)
    steps = [
        Rewrite(by, prompt="rewrite", decoding=short, name="other"),
        Rewrite(by, prompt="fuse", of={"text": "text", "synthetic": "caption_other"}, decoding=short, name="fused"),
        Rewrite(by, prompt="What is in: {text}?", decoding=Decoding(max_tokens=64, schema=SCHEMA), name="facts"),
    ]
    recipe = Recipe(UrlPairs(str(file), url="url", text="text"), score=steps, shards=None, name="real")
    made = curate.run(recipe, str(tmp_path / "run"), "local")
    rows = made.sql("select text, caption_other, caption_fused, caption_facts_data as data from images").fetchall()
    assert sorted(r[0] for r in rows) == TEXTS and all(r[1] and r[2] for r in rows)
    assert all(r[3]["colour"] in ("red", "green", "blue") for r in rows)
    ends = made.sql("select unnest([caption_other_made, caption_fused_made, caption_facts_made]) as m from images").fetchall()
    assert all(m["finish"] in ("stop", "length") and 0 < m["tokens"] <= 64 and m["tokens_in"] > 10 for (m,) in ends)
    assert made.recipe["spent"]["tokens"] == sum(m["tokens"] + m["tokens_in"] for (m,) in ends)
    assert made.recipe["spent"]["cost"] == pytest.approx(sum(m["tokens_in"] + 2 * m["tokens"] for (m,) in ends) / 1e6)


def test_a_picture_is_judged_in_both_orders(by):
    live = pa.table({"uid": ["a"], "caption_one": ["a red car"], "caption_two": ["a photo"]})
    one_or_two, pair = Decoding(max_tokens=8, schema={"enum": ["1", "2"]}), ("caption_one", "caption_two")
    for name in ("forward", "backward"):
        stage = Prefer(by, of=pair, swapped=name == "backward", decoding=one_or_two, name=name)
        stage.load()
        found = stage.run(live, [np.full((40, 50, 3), 200, np.uint8)])
        stage.close()
        live = live.append_column(name, found[name])
    said = live.select(["forward", "backward"]).to_pylist()[0]
    assert set(said.values()) <= {1, 2}
    (judged,) = Preference(of=pair, by=("forward", "backward")).run(live)["preference_pair"].to_pylist()
    assert judged["preferred"] == (said["forward"] if said["forward"] == said["backward"] else None)


def test_every_picture_is_seen_where_it_stands(by):
    dark, bright = (np.full((28, 28, 3), v, np.uint8) for v in (10, 240))
    contents = {"none": ("what",), "one": (dark, "what"), "two": (dark, "what", bright)}
    by.load()
    with RequestLoop(by, Decoding(max_tokens=4)) as asking:
        got = {g.key: g for g in asking.answers(PendingRequest(k, c, 1) for k, c in contents.items())}
    assert all(g.answer.finish in ("stop", "length") and g.answer.text for g in got.values())
    counts = [got[k].answer.tokens_in for k in contents]
    assert np.diff(counts).tolist() == [llama_server.PATCHES**2] * 2 and len(got["two"].pictures) == 2


def test_an_answer_that_is_cut_is_no_data(by):
    stage = Rewrite(by, prompt="What is in: {text}?", decoding=Decoding(max_tokens=2, schema=SCHEMA), name="cut")
    stage.load()
    found = stage.run(pa.table({"uid": ["a"], "text": TEXTS[:1]}))
    stage.close()
    (made,) = found["caption_cut_made"].to_pylist()
    assert (made["finish"], made["tokens"]) == ("length", 2) and found["caption_cut_data"].to_pylist() == [None]
