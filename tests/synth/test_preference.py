"""Pairs of answers and which is better; translations; questions for the words in a picture."""

import numpy as np
import pyarrow as pa
import pytest
from synth.writers import Parrot

from curate.errors import RecipeError
from curate.shard.formats.conversations import check
from curate.synth.caption import Caption, Translate
from curate.synth.captioners import Answer
from curate.synth.instruct import Transcribe
from curate.synth.preference import Prefer, Preference, choice

PAIR = ("caption_first", "caption_second")


class Judge(Parrot):
    """Takes the answer that is longer; of a red picture always the one shown first."""

    def prepare(self, image):
        self.first = bool(image[0, 0, 0] == 255)
        return super().prepare(image // 2)

    def write(self, requests, decoding):
        return [self.judged(r) for r in requests]

    def judged(self, request):
        first, second = (request.text.split(f"Answer {n}: ")[1].split("\n\n")[0] for n in (1, 2))
        red = request.pictures[0].data[0, 0, 0] == 127
        return Answer("1" if red or len(first) > len(second) else "The better answer is 2.", "stop")


def answers():
    return pa.table(
        {
            "uid": ["a", "b", "c", "d", "e"],
            "caption_first": ["a dog on grass", "dog", "a dog on grass", None, "dog"],
            "caption_second": ["dog", "a dog on grass", "dog", "dog", "dog"],
        }
    )


def test_what_both_orders_say_is_the_preference():
    grey, red = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 255, np.uint8)
    live, images = answers(), [grey, grey, red, grey, grey]
    for name, swapped in (("forward", False), ("backward", True)):
        stage = Prefer(Judge(), of=PAIR, swapped=swapped, name=name)
        stage.load()
        found = stage.run(live, images)
        assert found.column_names == list(stage.adds())
        live = live.append_column(name, found[name])
        stage.close()
    assert live["forward"].to_pylist() == [1, 2, 1, None, None] and live["backward"].to_pylist() == [1, 2, 2, None, None]
    pairs = Preference(of=PAIR, question="What is it?", by=("forward", "backward")).run(live)["preference_pair"].to_pylist()
    assert [p and p["preferred"] for p in pairs] == [1, 2, None, None, None]
    assert pairs[0] == {"question": "What is it?", "first": "a dog on grass", "second": "dog", "preferred": 1}
    assert (
        pairs[4]["first"] == pairs[4]["second"]
        and Preference(of=PAIR).run(live)["preference_pair"][0].as_py()["preferred"] is None
    )


@pytest.mark.parametrize(
    "text, better", [("1", 1), ("Answer 2.", 2), ("1 or 2", None), ("", None), (None, None), ("12", None), ("**2**", 2)]
)
def test_an_answer_names_one_of_the_two(text, better):
    assert choice(text) == better


def test_a_judgement_is_of_two_columns():
    with pytest.raises(RecipeError, match="two columns"):
        Prefer(Judge(), of=("caption_first",))


def test_english_stays_as_it_is():
    stage = Translate(Parrot(), name="english")
    stage.load()
    live = pa.table({"uid": ["a", "b", "c"], "text": ["a dog", "ein Hund", None], "language": ["en", "de", "en"]})
    found = stage.run(live)
    stage.close()
    texts = found["caption_english"].to_pylist()
    assert texts[0] == "a dog" and "Caption: ein Hund" in texts[1] and texts[2] is None
    assert [m["finish"] for m in found["caption_english_made"].to_pylist()] == ["same", "stop", "no_text"]


def test_a_prompt_beside_the_picture_may_have_texts_of_the_row():
    stage = Caption(Parrot(), prompt="is it {what}?", of={"what": "text"}, name="asked")
    assert stage.reads == ("image", "text")
    stage.load()
    live = pa.table({"uid": ["a", "b"], "text": ["a dog", None]})
    found = stage.run(live, [np.full((4, 4, 3), 100, np.uint8)] * 2)
    stage.close()
    assert found["caption_asked"][0].as_py().startswith("is it a dog? 100") and found["caption_asked"][1].as_py() is None


def test_words_in_a_picture_are_asked_for_in_several_ways():
    live = pa.table(
        {"uid": [f"u{i}" for i in range(40)], "ocr_area_text": ["WET <image> PAINT HERE"] * 38 + ["two words", None]}
    )
    turns = Transcribe().run(live)["ocr_area_text_turns"].to_pylist()
    assert turns[38:] == [None, None] and len({t[0]["value"] for t in turns[:38]}) > 2
    for each in turns[:38]:
        check({"id": "1", "image": "a.jpg", "conversations": each})
    assert turns[0][1] == {"from": "gpt", "value": "WET  PAINT HERE"}
