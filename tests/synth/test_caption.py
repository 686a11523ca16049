"""Caption and Rewrite: one bad picture costs one row, seeds come from the uid, and every text says where it came from."""

import numpy as np
import pyarrow as pa
import pytest
from synth.writers import Parrot

from curate.errors import RecipeError
from curate.synth.caption import Caption, Rewrite
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix


def live(n, **columns):
    return pa.table({"uid": [f"{i:032x}" for i in range(n)], **columns})


def pictures(n):
    return [np.full((8, 6, 3), 10 + i, np.uint8) for i in range(n)]


def loaded(stage):
    stage.load()
    return stage


def test_captions_of_pictures_with_their_provenance():
    stage = loaded(Caption(Parrot(), prompt="a {photo} of", name="parrot"))
    found = stage.run(live(3), pictures(3))
    assert found.column_names == ["caption_parrot", "caption_parrot_made"] == list(stage.adds())
    assert found["caption_parrot"][1].as_py().startswith("a {photo} of 11.0")
    made = found["caption_parrot_made"][0].as_py()
    assert (made["model"], made["finish"], made["tokens"], made["image_width"], made["image_height"]) == (
        "parrot",
        "stop",
        3,
        3,
        4,
    )
    assert len(made["image_sha256"]) == 64 and made["prompt"] == stage.provenance()["prompt"]["hash"]


def test_only_rows_for_which_mix_draws_the_text_are_captioned():
    rows = live(40, text=["r"] * 40)
    written = loaded(Caption(Parrot(), share=0.3, seed=5, name="a")).run(rows, pictures(40))
    every = loaded(Caption(Parrot(), seed=5, name="a")).run(rows, pictures(40))
    drawn = [Mix({"raw": 0.7, "a": 0.3}, seed=5).run(pa.table({**_columns(rows), **_columns(t)})) for t in (written, every)]
    assert drawn[0]["chosen_text"].equals(drawn[1]["chosen_text"])
    finish = [m["finish"] for m in written["caption_a_made"].to_pylist()]
    assert 0 < finish.count("stop") == drawn[0]["chosen_origin"].to_pylist().count("a") < 40 and set(finish) == {
        "stop",
        "not_drawn",
    }
    with pytest.raises(RecipeError, match="share is 0"):
        Caption(Parrot(), share=0)


def _columns(table):
    return dict(zip(table.column_names, table.columns))


def test_a_captioner_may_be_named():
    assert Caption("http://127.0.0.1:1/v1#m").by == named("http://127.0.0.1:1/v1#m")
    with pytest.raises(RecipeError, match="captioner nobody: there are small"):
        Caption("nobody")


def test_one_bad_picture_costs_one_row():
    images = pictures(20)
    images[3] = np.zeros((8, 6, 3), np.uint8)  # breaks the model
    images[11] = np.full((8, 6, 3), (255, 0, 0), np.uint8)  # cannot be prepared
    images[12] = "broken"  # could not be decoded
    stage = loaded(Caption(Parrot()))
    found = stage.run(live(20), images)
    finish = [m["finish"] for m in found[f"{stage.name}_made"].to_pylist()]
    assert [i for i, f in enumerate(finish) if f != "stop"] == [3, 11, 12]
    assert (finish[3], finish[11], finish[12]) == ("error", "bad_image", "bad_image")
    assert [t is None for t in found[stage.name].to_pylist()] == [f != "stop" for f in finish]


def test_a_model_that_fails_for_every_row_is_an_error_of_the_run():
    with pytest.raises(RuntimeError, match="fails for every row"):
        loaded(Caption(Parrot())).run(live(9), [np.zeros((4, 4, 3), np.uint8)] * 9)


def test_a_row_alone_gets_what_it_gets_among_others():
    stage = loaded(Caption(Parrot(), n=3, decoding=Decoding(temperature=1.0)))
    rows, images = live(20), pictures(20)
    whole = stage.run(rows, images)
    alone = stage.run(rows.slice(13, 1), images[13:14])
    assert whole.slice(13, 1).to_pylist() == alone.to_pylist()
    assert all(len(set(c)) == 3 for c in whole[stage.column].to_pylist())
    assert max(stage.by._calls) <= stage.by.batch


def test_the_seed_moves_the_draws_and_the_fingerprint():
    first, second = (loaded(Caption(Parrot(), seed=s)) for s in (0, 1))
    assert first.run(live(2), pictures(2))[first.name] != second.run(live(2), pictures(2))[second.name]
    assert first.identity() != second.identity()


def test_a_prompt_enters_the_identity_by_its_text():
    assert Caption(Parrot(), prompt="short").identity()["prompt"].startswith("Describe")
    with pytest.raises(RecipeError, match="there are none, short"):
        Caption(Parrot(), prompt="shorter")


def test_rewrite_fills_the_prompt_and_skips_rows_without_text():
    stage = loaded(
        Rewrite(Parrot(), prompt="join {text} with {synthetic}", of={"text": "text", "synthetic": "caption_a"}, name="fused")
    )
    assert stage.reads == ("text", "caption_a")
    found = stage.run(live(3, text=["x", "y", None], caption_a=["1", "", "3"]))
    assert found["caption_fused"][0].as_py().startswith("join x with 1")
    assert found["caption_fused"].to_pylist()[1:] == [None, None]
    assert found["caption_fused_made"][2].as_py()["finish"] == "no_text"


def test_rewrite_refuses_a_prompt_with_a_name_it_does_not_know():
    with pytest.raises(RecipeError, match="synthetic"):
        Rewrite(Parrot(), prompt="fuse", of={"text": "text"})


def test_candidates_need_a_temperature():
    with pytest.raises(RecipeError, match="all be the same"):
        Caption(Parrot(), n=2)
