"""Ratings, and answers that are data: what follows the schema becomes columns, what does not costs its row and says so."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.synth.caption import Rewrite
from curate.synth.captioners import Answer, Decoding, Writer, named
from curate.synth.captioners.base import seen
from curate.synth.captioners.schema import arrow_type, validated, value
from curate.synth.vlm_score import AXES, VlmScore


@dataclass
class Says(Writer):
    """Says what `words` have for a word of the question."""

    engine = "says"
    gpus = 0

    def load(self):
        self.words, self.asked = {}, []

    def prepare(self, image):
        return seen(image)

    async def answer(self, request, decoding):
        self.asked.append(request)
        return Answer(next(a for w, a in self.words.items() if w in request.text), "stop", 7, 50, 0.25)


def rated(answers, stage):
    stage.load()
    stage.by.words = {f"row{i}.": a for i, a in enumerate(answers)}
    live = pa.table({"uid": [f"{i:032x}" for i in range(len(answers))], "text": [f"row{i}." for i in range(len(answers))]})
    images = [np.full((4, 4, 3), 9, np.uint8)] * len(answers)
    return stage.run(live, *([images] if stage.pictures else []))


@pytest.mark.parametrize("axis", AXES)
def test_each_axis_rates_and_keeps_by_its_bounds(axis):
    stage = VlmScore(Says(), axis, min=3, name=axis)
    found = rated(
        ['{"rating": 4}', '{"rating":2}', 'Sure! ```json\n{"rating": 5}\n```', "I give it 3.", "4 of 5", "none", "9"], stage
    )
    assert found[axis].to_pylist() == [4, 2, 5, 3, None, None, None]
    assert [r is None for r in stage.judge(found).to_pylist()] == [True, False, True, True, False, False, False]
    made = found[f"{axis}_made"].to_pylist()
    assert [m["finish"] for m in made] == ["stop"] * 4 + ["invalid"] * 3 and stage.spent(found) == (1.75, 7 * 57)
    assert [len(r.pictures) for r in stage.by.asked] == [int(axis in ("visual_dependency", "image_correspondence"))] * 7


def test_a_scale_of_ones_own_and_rows_that_are_not_asked():
    stage = VlmScore(Says(), "Is this a joke? {text}", scale=(0, 10), pictures=False, name="joke")
    stage.load()
    stage.by.words = {"row": '{"rating": 10}'}
    found = stage.run(pa.table({"uid": ["a", "b"], "text": ["row", None]}))
    assert found["joke"].to_pylist() == [10, None] and found["joke_made"][1]["finish"].as_py() == "no_text"
    with pytest.raises(RecipeError, match="scale 5 to 1"):
        VlmScore(Says(), scale=(5, 1))


SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"type": "string"},
        "things": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}},
        },
        "sure": {"type": "number"},
        "either": {"type": ["string", "integer"]},
    },
    "required": ["colour"],
}


def test_json_answers_become_a_struct():
    stage = Rewrite(Says(), prompt="about {text}", decoding=Decoding(schema=SCHEMA), name="facts")
    stage.load()
    good = {"colour": "réd", "things": [{"name": "dog", "count": 2.0}], "sure": 1, "either": 7}
    stage.by.words = {"one": "Here: " + json.dumps(good) + " Done.", "two": '{"things": []}', "three": '{"colour": "re'}
    found = stage.run(pa.table({"uid": ["a", "b", "c"], "text": ["one", "two", "three"]}))
    assert found.column_names == list(stage.adds()) == ["caption_facts", "caption_facts_made", "caption_facts_data"]
    assert found.schema.field("caption_facts_data").type == stage.adds()["caption_facts_data"]
    assert json.loads(found["caption_facts"][0].as_py()) == good
    assert found["caption_facts_data"][0].as_py() == {
        "colour": "réd",
        "things": [{"name": "dog", "count": 2}],
        "sure": 1.0,
        "either": "7",
    }
    assert found["caption_facts_data"].to_pylist()[1:] == [None, None]
    assert [m["finish"] for m in found["caption_facts_made"].to_pylist()] == ["stop", "invalid", "invalid"]


def test_a_cut_answer_is_of_its_length_and_a_refusal_stays_one():
    assert validated(Answer('{"colour": "r', "length"), SCHEMA).finish == "length"
    assert validated(Answer(None, "refused"), SCHEMA) == Answer(None, "refused")


def test_types_of_schemas_and_values_that_do_not_fit():
    kind = arrow_type(SCHEMA)
    assert value({"things": "none", "sure": None}, kind) == {"colour": None, "things": None, "sure": None, "either": None}
    assert arrow_type({"enum": [1, 2]}) == pa.large_string()
    with pytest.raises(RecipeError, match="the schema is none"):
        Rewrite(Says(), decoding=Decoding(schema={"type": "banana"}))
    assert Rewrite(Says()).identity()["decoding"].keys().isdisjoint({"schema"})


def test_parameters_of_writers_by_name():
    by = named("http://a/v1,http://b/v1#org/m?price_in=0.5&at_once=7")
    assert (by.model, by.urls, by.price_in, by.at_once) == ("org/m", ["http://a/v1", "http://b/v1"], 0.5, 7)
    assert named("vllm:org/m?tensor=2&images=3").gpus == 2
    with pytest.raises(RecipeError, match="no parameter prise"):
        named("http://a/v1#m?prise=3")
    with pytest.raises(RecipeError, match="at_once is a number"):
        named("http://a/v1#m?at_once=many")
